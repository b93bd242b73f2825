//! The Engine's own networks.

use bollard::models::NetworkCreateRequest;
use serde::de::IgnoredAny;

use super::{Engine, EngineError, raw};

impl Engine {
    /// Creates a network unless there is one of that name.
    ///
    /// Looked for first: before 25.0 the Engine does not answer with a conflict of names, but complains of what else the two
    /// would share, in many words.
    pub async fn ensure_network(&self, request: NetworkCreateRequest) -> Result<(), EngineError> {
        let name = request.name.clone();
        if self.has_network(&name).await? {
            return Ok(());
        }
        let action = format!("create network {name}");
        let create = self.docker.create_network(request);
        match self.ask(&action, self.timeout, create).await {
            Ok(_) => Ok(()),
            // Another pod may have needed it at the same time.
            Err(_) if self.has_network(&name).await? => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn has_network(&self, name: &str) -> Result<bool, EngineError> {
        let path = format!("/networks/{}", raw::encode(name));
        match self
            .get::<IgnoredAny>(&path, &format!("inspect network {name}"))
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
