//! How much room images take: read from the filesystem, never by the Engine's `system df`, which
//! walks every layer.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use translate::facts::EngineFacts;

use super::{Images, unpacked::Unpacked};
use crate::{
    clock,
    error::{Error, Result},
};

/// How long a sum of sizes is good for where images are not remembered: what the kubelet does with it takes minutes.
const FRESH: Duration = Duration::from_secs(30);

/// Where a containerd of its own, not the Engine's, keeps its data.
const CONTAINERD_ROOT: &str = "/var/lib/containerd";

/// Where containerd keeps what it pulled, below its own directory.
const CONTENT: &str = "io.containerd.content.v1.content/blobs/sha256";

/// The last sum.
#[derive(Default)]
pub(super) struct Usage {
    last: Mutex<Option<Sum>>,
    unpacked: Unpacked,
}

#[derive(Clone, Copy)]
struct Sum {
    bytes: u64,
    when: Instant,
    /// The number of the images that it is of, where they are remembered.
    of: Option<u64>,
}

impl Sum {
    /// Whether nothing has changed since, as far as that can be known.
    fn is_fresh(&self, images: Option<u64>) -> bool {
        match images {
            Some(_) => self.of == images,
            None => self.when.elapsed() < FRESH,
        }
    }
}

impl Usage {
    /// The images are others than at the last sum.
    pub(super) fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What a filesystem holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsUsage {
    /// The store's directory.
    pub directory: PathBuf,
    /// Bytes that images take.
    pub bytes: u64,
    /// Inodes in use on the filesystem.
    pub inodes: u64,
}

impl Images {
    /// The filesystem that holds images and containers.
    pub async fn fs_info(&self) -> Result<cri::ImageFsInfoResponse> {
        let facts = match self.engine.last_facts() {
            // The filesystem is there whether the Engine is or not.
            Some(facts) => facts,
            None => self.engine.facts().await?,
        };
        let usage = self.fs_usage(&facts).await?;
        let filesystem = cri::FilesystemUsage {
            timestamp: clock::now(),
            fs_id: Some(cri::FilesystemIdentifier {
                mountpoint: usage.directory.to_string_lossy().into_owned(),
            }),
            used_bytes: Some(cri::UInt64Value { value: usage.bytes }),
            inodes_used: Some(cri::UInt64Value { value: usage.inodes }),
        };
        Ok(cri::ImageFsInfoResponse {
            image_filesystems: vec![filesystem.clone()],
            container_filesystems: vec![filesystem],
        })
    }

    /// The directory that images and writable layers are in.
    pub async fn directory(&self) -> Result<PathBuf> {
        let facts = match self.engine.last_facts() {
            Some(facts) => facts,
            None => self.engine.facts().await?,
        };
        Ok(store_directory(&facts))
    }

    async fn fs_usage(&self, facts: &EngineFacts) -> Result<FsUsage> {
        let directory = store_directory(facts);
        let last = *self.usage.last.lock().unwrap_or_else(PoisonError::into_inner);
        let of = self.store.images().await.map(|(number, _)| number);
        let bytes = match last {
            Some(sum) if sum.is_fresh(of) => sum.bytes,
            _ => {
                let bytes = self.used_bytes(facts).await?;
                let when = Instant::now();
                *self.usage.last.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Sum { bytes, when, of });
                bytes
            }
        };
        let stat = rustix::fs::statvfs(&directory).map_err(|error| {
            Error::host(format!("look at the filesystem of {}", directory.display()))(error.into())
        })?;
        Ok(FsUsage {
            directory,
            bytes,
            inodes: stat.f_files.saturating_sub(stat.f_ffree),
        })
    }

    /// Each layer once, however many images share it; where the files are not there that tell so, the sum of the
    /// images' sizes, in which shared layers count several times.
    async fn used_bytes(&self, facts: &EngineFacts) -> Result<u64> {
        let counted = if facts.containerd_store {
            // As they were pulled, and unpacked.
            let content = store_directory(facts).join(CONTENT);
            match summed(move || file_sizes(&content)).await {
                Some(pulled) => {
                    let images = self.sizes().await?;
                    let unpacked = self
                        .usage
                        .unpacked
                        .bytes(&self.engine, images.into_keys())
                        .await?;
                    Some(pulled.saturating_add(unpacked))
                }
                None => None,
            }
        } else {
            let layers = PathBuf::from(&facts.root_dir)
                .join("image")
                .join(&facts.storage_driver)
                .join("layerdb/sha256");
            summed(move || layer_sizes(&layers)).await
        };
        match counted {
            Some(bytes) => Ok(bytes),
            None => Ok(self.sizes().await?.into_values().sum()),
        }
    }

    /// The images' sizes, by id.
    async fn sizes(&self) -> Result<BTreeMap<String, u64>> {
        let images = match self.store.images().await {
            Some((_, images)) => images,
            None => Arc::new(self.store.look_at_images().await?),
        };
        Ok(images
            .iter()
            .map(|image| (image.id.clone(), image.size))
            .collect())
    }
}

/// What a walk over files has counted; `None` if it could not.
async fn summed(count: impl FnOnce() -> io::Result<u64> + Send + 'static) -> Option<u64> {
    tokio::task::spawn_blocking(count).await.ok()?.ok()
}

/// Where layers are kept.
fn store_directory(facts: &EngineFacts) -> PathBuf {
    if facts.containerd_store {
        let own = PathBuf::from(&facts.root_dir).join("containerd/daemon");
        // An Engine that starts a containerd of its own keeps that one's data below its own.
        let shared = [
            "/run/containerd/containerd.sock",
            "/var/run/containerd/containerd.sock",
        ];
        let managed = !shared.contains(&facts.containerd_address.as_str());
        for candidate in [own, CONTAINERD_ROOT.into()]
            .into_iter()
            .skip(usize::from(!managed))
        {
            if candidate.is_dir() {
                return candidate;
            }
        }
    }
    PathBuf::from(&facts.root_dir)
}

/// Sums the `size` files of the Engine's layer database: one for each layer, however many share it.
fn layer_sizes(directory: &Path) -> io::Result<u64> {
    let mut sum = 0u64;
    for entry in std::fs::read_dir(directory)? {
        // A layer that is being removed has no file any more.
        let Ok(text) = std::fs::read_to_string(entry?.path().join("size")) else {
            continue;
        };
        sum = sum.saturating_add(text.trim().parse().unwrap_or(0));
    }
    Ok(sum)
}

/// Sums the sizes of a directory's files.
fn file_sizes(directory: &Path) -> io::Result<u64> {
    let mut sum = 0u64;
    for entry in std::fs::read_dir(directory)? {
        // One that is being removed has none any more.
        if let Ok(metadata) = entry?.metadata() {
            sum = sum.saturating_add(metadata.len());
        }
    }
    Ok(sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_summed_once_each() {
        let root = std::env::temp_dir().join(format!("dockside-layers-{}", std::process::id()));
        for (name, size) in [("a", "100\n"), ("b", "23"), ("c", "garbage")] {
            std::fs::create_dir_all(root.join(name)).unwrap();
            std::fs::write(root.join(name).join("size"), size).unwrap();
        }
        std::fs::create_dir_all(root.join("being-removed")).unwrap();
        let sum = layer_sizes(&root).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(sum, 123);
    }
}
