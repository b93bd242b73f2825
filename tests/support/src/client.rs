//! Clients of a CRI socket.

use std::path::{Path, PathBuf};

use cri::{image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient};
use tonic::transport::{Channel, Endpoint};

/// A client of the RuntimeService.
pub type Runtime = RuntimeServiceClient<Channel>;
/// A client of the ImageService.
pub type Images = ImageServiceClient<Channel>;

/// CRI's limit for one message.
const MAX_MESSAGE: usize = 16 << 20;

/// A CRI socket, whoever serves it.
pub struct Cri {
    socket: PathBuf,
}

impl Cri {
    /// The one at `socket`, which need not be there yet.
    pub fn at(socket: impl AsRef<Path>) -> Self {
        Self {
            socket: socket.as_ref().into(),
        }
    }

    /// A client of the RuntimeService, on a connection of its own.
    pub fn runtime(&self) -> Runtime {
        RuntimeServiceClient::new(self.channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// A client of the ImageService, on a connection of its own.
    pub fn images(&self) -> Images {
        ImageServiceClient::new(self.channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    fn channel(&self) -> Channel {
        // Connects at the first call, and again after the daemon has been started again.
        Endpoint::from_shared(format!("unix://{}", self.socket.display()))
            .unwrap()
            .connect_lazy()
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }
}
