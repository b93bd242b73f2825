//! The Engine's images as CRI images, and what CRI's image requests select and remove.
//!
//! One image is one message, whichever of its names or its id was asked for: the kubelet and critest
//! compare them. So nothing of the question goes into the answer.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ImageQuery, ImageReference};
use crate::Invalid;
use crate::answer::{ImageConfig, ImageEntry, ImageInspect};

/// What the Engine writes for a name or a tag that an image does not have.
const NONE: &str = "<none>";

/// The CRI image of a list entry.
///
/// A list does not tell the image's `USER`. `user` is what an inspect of the same id told; it never
/// changes for an id. `pinned` are the images the kubelet must not remove, see [`pinned_images`].
pub fn image_from_entry(entry: &ImageEntry, user: Option<&str>, pinned: &[ImageQuery]) -> cri::Image {
    let names = Names {
        tags: &entry.repo_tags,
        digests: &entry.repo_digests,
    };
    image(&entry.id, names, entry.size, user.unwrap_or_default(), pinned)
}

/// The CRI image of an inspect answer: equal to that of the list entry with the same user.
pub fn image_from_inspect(inspect: &ImageInspect, pinned: &[ImageQuery]) -> cri::Image {
    let names = Names {
        tags: &inspect.repo_tags,
        digests: &inspect.repo_digests,
    };
    image(&inspect.id, names, inspect.size, &inspect.config.user, pinned)
}

/// Reads the names or ids of the images that are to be pinned: the sandbox image.
///
/// # Errors
///
/// If one is neither a name nor an id.
pub fn pinned_images<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<ImageQuery>, Invalid> {
    names.into_iter().map(ImageQuery::parse).collect()
}

/// An image's names as the Engine tells them.
struct Names<'a> {
    tags: &'a [String],
    digests: &'a [String],
}

fn image(id: &str, names: Names<'_>, size: i64, user: &str, pinned: &[ImageQuery]) -> cri::Image {
    let (uid, username) = user_of(user);
    let mut image = cri::Image {
        id: id.to_owned(),
        repo_tags: names.tags.iter().filter(|name| is_tag(name)).cloned().collect(),
        repo_digests: names
            .digests
            .iter()
            .filter(|name| is_name(name))
            .cloned()
            .collect(),
        // CRI wants more than zero, also of an image that has no file in it.
        size: u64::try_from(size).unwrap_or(0).max(1),
        uid,
        username,
        spec: Some(cri::ImageSpec {
            image: id.to_owned(),
            ..cri::ImageSpec::default()
        }),
        pinned: false,
    };
    // The Engine's order differs between list and inspect and between its image stores.
    image.repo_tags.sort_unstable();
    image.repo_digests.sort_unstable();
    image.pinned = pinned.iter().any(|query| match_of(&image, query) != Match::No);
    image
}

fn is_tag(name: &str) -> bool {
    // containerd's store may list a pull by digest among the tags.
    is_name(name) && !name.contains('@')
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(NONE)
}

/// `USER` without its group, as a number where it is one.
///
/// `root` is told as if it were absent: the kubelet takes that for uid 0, while it cannot verify a name
/// against `runAsNonRoot`.
fn user_of(user: &str) -> (Option<cri::Int64Value>, String) {
    let name = user.split(':').next().unwrap_or_default();
    if name.is_empty() || name == "root" {
        return (None, String::new());
    }
    let digits = name.bytes().all(|b| b.is_ascii_digit());
    match name.parse() {
        Ok(value) if digits => (Some(cri::Int64Value { value }), String::new()),
        _ => (None, name.to_owned()),
    }
}

/// How an image answers to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    No,
    /// By its id, or the beginning of it.
    Id,
    /// By a name, which goes before the beginning of an id.
    Name,
}

fn match_of(image: &cri::Image, query: &ImageQuery) -> Match {
    let named = |name: &ImageReference| names_of(image).any(|own| own.same_image(name));
    match query {
        ImageQuery::Id(id) if image.id == *id => Match::Id,
        ImageQuery::Name(name) | ImageQuery::NameOrId { name, .. } if named(name) => Match::Name,
        ImageQuery::NameOrId { prefix, .. } if image.id.starts_with(prefix.as_str()) => Match::Id,
        _ => Match::No,
    }
}

/// The image's names. One that this code cannot read was not made by a pull and answers to no query.
fn names_of(image: &cri::Image) -> impl Iterator<Item = ImageReference> + '_ {
    let texts = image.repo_tags.iter().chain(&image.repo_digests);
    texts.filter_map(|text| ImageReference::parse(text).ok())
}

/// The image that ImageStatus or RemoveImage means, by the Engine's rules: a name goes before the beginning
/// of an id, and the beginning of several ids means none of them.
pub fn find<'a>(
    images: impl IntoIterator<Item = &'a cri::Image>,
    query: &ImageQuery,
) -> Option<&'a cri::Image> {
    let mut by_id = None;
    let mut ambiguous = false;
    for image in images {
        match match_of(image, query) {
            Match::Name => return Some(image),
            Match::Id => ambiguous |= by_id.replace(image).is_some(),
            Match::No => {}
        }
    }
    by_id.filter(|_| !ambiguous)
}

/// The images that a list request selects: `None` for all.
///
/// # Errors
///
/// Names `filter.image.image` if that is neither a name nor an id.
pub fn filter(filter: Option<&cri::ImageFilter>) -> Result<Option<ImageQuery>, Invalid> {
    let text = filter
        .and_then(|filter| filter.image.as_ref())
        .map_or("", |spec| spec.image.as_str());
    if text.is_empty() {
        return Ok(None);
    }
    ImageQuery::parse(text)
        .map(Some)
        .map_err(|wrong| wrong.within("filter"))
}

/// Whether a list request for `query` selects the image.
///
/// Unlike for ImageStatus, a name without tag and digest selects every image of its repository: so the
/// Engine's own filter and cri-dockerd understand it.
pub fn matches(image: &cri::Image, query: &ImageQuery) -> bool {
    match_of(image, query) != Match::No
        || match query {
            ImageQuery::Name(name) | ImageQuery::NameOrId { name, .. } => {
                name.tag().is_none()
                    && name.digest().is_none()
                    && names_of(image).any(|own| own.same_repository(name))
            }
            ImageQuery::Id(_) => false,
        }
}

/// What the Engine must be asked to delete, in this order, for the image to be gone whichever of its names
/// was given: every tag, every digest, then the id.
///
/// A step may find nothing left, because the last tag takes its repository's digests along and the last
/// name takes the image. Deleting the id alone would be refused as long as it has several names.
pub fn removal(inspect: &ImageInspect) -> Vec<String> {
    let named =
        |names: &[String]| -> Vec<String> { names.iter().filter(|name| is_name(name)).cloned().collect() };
    let mut steps = named(&inspect.repo_tags);
    steps.extend(named(&inspect.repo_digests));
    steps.push(inspect.id.clone());
    steps
}

/// The `info` map of a verbose ImageStatus: the image's configuration in the words of the OCI image
/// specification, in the place where containerd's clients look for it.
pub fn verbose_info(inspect: &ImageInspect) -> BTreeMap<String, String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Info<'a> {
        image_spec: OciImage<'a>,
    }
    let info = Info {
        image_spec: OciImage::of(inspect),
    };
    // Text and maps of text always serialise; if they did not, there would be nothing to tell.
    serde_json::to_string(&info)
        .map(|json| BTreeMap::from([("info".to_owned(), json)]))
        .unwrap_or_default()
}

/// An OCI image configuration: lower case outside, the Engine's case inside.
#[derive(Serialize)]
struct OciImage<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    created: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    architecture: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
    os: &'a str,
    config: OciConfig<'a>,
    rootfs: OciRootFs<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OciConfig<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: &'a BTreeMap<String, serde_json::Value>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    env: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    volumes: &'a BTreeMap<String, serde_json::Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    working_dir: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stop_signal: &'a str,
}

#[derive(Serialize)]
struct OciRootFs<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    diff_ids: &'a [String],
}

impl<'a> OciImage<'a> {
    fn of(inspect: &'a ImageInspect) -> Self {
        Self {
            created: &inspect.created,
            author: &inspect.author,
            architecture: &inspect.architecture,
            variant: &inspect.variant,
            os: &inspect.os,
            config: OciConfig::of(&inspect.config),
            rootfs: OciRootFs {
                kind: &inspect.root_fs.kind,
                diff_ids: &inspect.root_fs.layers,
            },
        }
    }
}

impl<'a> OciConfig<'a> {
    fn of(config: &'a ImageConfig) -> Self {
        Self {
            user: &config.user,
            exposed_ports: &config.exposed_ports,
            env: &config.env,
            entrypoint: &config.entrypoint,
            cmd: &config.cmd,
            volumes: &config.volumes,
            working_dir: &config.working_dir,
            labels: &config.labels,
            stop_signal: &config.stop_signal,
        }
    }
}

#[cfg(test)]
mod tests;
