//! Images: names in, Engine queries out; the Engine's answers in, CRI images out.
//!
//! CRI names an image by a string that may be a name or an id ([`ImageQuery`]); the Engine wants a
//! name and a tag, credentials in a header and a stream read to its end. Everything that can be
//! decided about that without asking anyone is decided here.

mod auth;
mod convert;
mod layers;
mod progress;
mod reference;

pub use auth::{HostCredentials, RegistryAuth, helper_answer, host_credentials, registry_auth};
pub use convert::{
    filter, find, image_from_entry, image_from_inspect, matches, pinned_images, removal, verbose_info,
};
pub use layers::{Layers, unpacked_bytes};
pub use progress::{
    ErrorDetail, Garbled, ProgressDetail, PullDecoder, PullFailure, PullMessage, PullProgress, WaitingFor,
    classify,
};
pub use reference::{ImageQuery, ImageReference, PullTarget};
