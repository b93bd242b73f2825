//! The Engine's own networks.

use bollard::models::NetworkCreateRequest;
use serde::de::IgnoredAny;

use super::{Engine, EngineError, raw};

impl Engine {
    /// Creates a network unless there is one of that name. Not to be called twice at a time.
    ///
    /// Looked for first: before 25.0 the Engine does not answer with a conflict of names, but complains of what else the two
    /// would share, in many words, and that also of one that is not made yet.
    pub async fn ensure_network(&self, request: NetworkCreateRequest) -> Result<(), EngineError> {
        let name = request.name.clone();
        if self.has_network(&name).await? {
            return Ok(());
        }
        let create = self.docker.create_network(request);
        match self
            .ask(&format!("create network {name}"), self.timeout, create)
            .await
        {
            Err(error) if !error.is_conflict() => Err(error),
            _ => Ok(()),
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
