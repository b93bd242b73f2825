//! The Engine's own networks.

use bollard::models::NetworkCreateRequest;

use super::{Engine, EngineError};

impl Engine {
    /// Creates a network; one of that name that exists already will do.
    pub async fn ensure_network(&self, request: NetworkCreateRequest) -> Result<(), EngineError> {
        let action = format!("create network {}", request.name);
        let create = self.docker.create_network(request);
        match self.ask(&action, self.timeout, create).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
