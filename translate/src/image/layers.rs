//! How much room unpacked layers take, of which several images share the lower ones.

use std::collections::{HashMap, hash_map::Entry};

use crate::answer::{HistoryEntry, ImageInspect};

/// An image's layers, the lowest first: the digest of each, and the bytes that it takes unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers(Vec<(String, u64)>);

impl Layers {
    /// The layers of an image. Its history begins with the last step, and has steps that made no layer: they take
    /// nothing, while a layer takes one directory at least.
    pub fn of(inspect: &ImageInspect, history: &[HistoryEntry]) -> Self {
        let sizes = history
            .iter()
            .rev()
            .filter_map(|step| u64::try_from(step.size).ok());
        let sizes = sizes.filter(|size| *size > 0);
        Self(inspect.root_fs.layers.iter().cloned().zip(sizes).collect())
    }
}

/// The bytes of all layers of these images. A layer is the same one only on the same layers.
pub fn unpacked_bytes<'a>(images: impl IntoIterator<Item = &'a Layers>) -> u64 {
    let mut bytes = 0u64;
    let mut places: HashMap<(usize, &str), usize> = HashMap::new();
    for image in images {
        let mut below = 0;
        for (digest, size) in &image.0 {
            let next = places.len() + 1;
            below = match places.entry((below, digest)) {
                Entry::Occupied(place) => *place.get(),
                Entry::Vacant(place) => {
                    bytes = bytes.saturating_add(*size);
                    *place.insert(next)
                }
            };
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::RootFs;

    fn image(layers: &[&str], history: &[i64]) -> Layers {
        let inspect = ImageInspect {
            root_fs: RootFs {
                layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
                ..RootFs::default()
            },
            ..ImageInspect::default()
        };
        let history: Vec<_> = history.iter().map(|size| HistoryEntry { size: *size }).collect();
        Layers::of(&inspect, &history)
    }

    #[test]
    fn layers_have_the_sizes_of_the_steps_that_made_them() {
        let layers = image(&["base", "top"], &[0, 7, 0, 100, 0]);
        assert_eq!(layers.0, [("base".into(), 100), ("top".into(), 7)]);
        // An image that is not unpacked takes no room.
        assert_eq!(image(&["base"], &[0]).0, []);
        assert_eq!(image(&["base"], &[-1]).0, []);
        assert_eq!(image(&[], &[5]).0, []);
    }

    #[test]
    fn shared_layers_count_once() {
        let one = image(&["base", "one"], &[1, 100]);
        let two = image(&["base", "two", "one"], &[1, 20, 100]);
        assert_eq!(unpacked_bytes([&one]), 101);
        assert_eq!(unpacked_bytes([&one, &one]), 101);
        // `one` lies on other layers here.
        assert_eq!(unpacked_bytes([&one, &two]), 122);
        assert_eq!(unpacked_bytes([]), 0);
    }
}
