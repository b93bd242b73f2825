//! Several inspections at once, none of which keeps the others from being told.

use futures_util::{StreamExt, stream};
use tokio::time::timeout;
use tracing::debug;

use super::index::PATIENCE;
use crate::error::{Error, Result};

/// Inspections at a time.
pub(super) const PARALLEL: usize = 8;

/// What comes of these inspections, in their order. One that is refused, or takes long, is left out; an Engine that
/// cannot be reached is an error.
pub(super) async fn all<T>(inspections: impl Iterator<Item: Future<Output = Result<T>>>) -> Result<Vec<T>> {
    let limited = inspections.map(|inspection| timeout(PATIENCE, inspection));
    let mut ended = stream::iter(limited).buffered(PARALLEL);
    let mut seen = Vec::new();
    while let Some(inspected) = ended.next().await {
        match inspected {
            Ok(Ok(one)) => seen.push(one),
            Ok(Err(error)) if is_refused(&error) => debug!("left out: {error}"),
            Ok(Err(error)) => return Err(error),
            Err(_) => debug!("left out what the engine does not inspect within {PATIENCE:?}"),
        }
    }
    Ok(seen)
}

/// Whether the Engine answered, and only this object is at fault.
fn is_refused(error: &Error) -> bool {
    match error {
        Error::Engine(error) => error.status().is_some(),
        other => other.is_not_found(),
    }
}
