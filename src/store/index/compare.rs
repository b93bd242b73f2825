//! What is remembered, beside what a list has.

use std::collections::HashMap;

use translate::{
    answer::{ContainerEntry, ImageEntry},
    labels,
};

use super::{Index, Key};

/// Something that is remembered otherwise than the Engine has it, and the generation that is remembered.
type Suspect = (Key, Option<u64>);

impl Index {
    pub(in crate::store) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// The containers that are not as a list made after `generation` has them, and that nothing has named since.
    pub(in crate::store) fn suspects(&self, generation: u64, entries: &[ContainerEntry]) -> Vec<Suspect> {
        let state = self.lock();
        let mut listed: HashMap<_, _> = entries.iter().map(|entry| (entry.id.as_str(), entry)).collect();
        let sandboxes = state.sandboxes.iter();
        let sandboxes = sandboxes.map(|(id, slot)| (id, slot.generation, &slot.view.inspect));
        let containers = state.containers.iter();
        let containers = containers.map(|(id, slot)| (id, slot.generation, &slot.view.inspect));
        let mut suspects = Vec::new();
        for (id, seen, inspect) in sandboxes.chain(containers) {
            let same = listed.remove(id.as_str()).is_some_and(|entry| {
                same_state(&entry.state, &inspect.state.status) && entry.names.contains(&inspect.name)
            });
            if !same && seen <= generation {
                suspects.push((Key::Object(id.clone()), Some(seen)));
            }
        }
        // Some have the label, and are no containers of ours.
        let unknown = listed.values().filter(|entry| {
            let name = entry.names.first().map_or("", String::as_str);
            labels::read_container(name, &entry.labels).is_some()
                || labels::read_sandbox(name, &entry.labels).is_some()
        });
        suspects.extend(unknown.map(|entry| (Key::Object(entry.id.clone()), None)));
        suspects.retain(|(key, _)| state.is_clean(key));
        suspects
    }

    /// The images, if they are not as a list has them. Images without a name are left out: of one that is built without
    /// any the Engine says nothing.
    pub(in crate::store) fn suspect_images(
        &self,
        generation: u64,
        entries: &[ImageEntry],
    ) -> Option<Suspect> {
        let (seen, images) = self.images()?;
        let mut listed: Vec<_> = entries
            .iter()
            .map(|entry| translate::image::image_from_entry(entry, None, &[]))
            .map(names)
            .collect();
        let mut remembered: Vec<_> = images.iter().cloned().map(names).collect();
        for list in [&mut listed, &mut remembered] {
            list.retain(|(_, tags, digests)| !tags.is_empty() || !digests.is_empty());
            list.sort_unstable();
        }
        let clean = self.lock().is_clean(&Key::Images);
        (clean && seen <= generation && listed != remembered).then_some((Key::Images, Some(seen)))
    }

    /// The generation of what is remembered, if nothing was said of it since: `Some(None)` is "nothing".
    pub(in crate::store) fn remembers(&self, key: &Key) -> Option<Option<u64>> {
        let state = self.lock();
        if !state.is_clean(key) {
            return None;
        }
        Some(match key {
            Key::Images => state.images.as_ref().map(|slot| slot.generation),
            Key::Object(id) => {
                let container = state.containers.get(id).map(|slot| slot.generation);
                container.or_else(|| state.sandboxes.get(id).map(|slot| slot.generation))
            }
        })
    }
}

/// What is over stays so for CRI while the Engine removes it, of which no event tells.
fn same_state(listed: &str, remembered: &str) -> bool {
    let is_over = |state| matches!(state, "exited" | "dead" | "removing");
    listed == remembered || is_over(listed) && is_over(remembered)
}

fn names(image: cri::Image) -> (String, Vec<String>, Vec<String>) {
    (image.id, image.repo_tags, image.repo_digests)
}
