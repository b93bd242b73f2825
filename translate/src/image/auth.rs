//! Registry credentials: from CRI, and from the host's own Docker configuration.
//!
//! The kubelet sends the credentials of a pod's pull secrets along with a pull. The sandbox image is
//! pulled by the daemon itself, with what the host's `config.json` holds for its registry.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE};
use serde::{Deserialize, Serialize};

use super::ImageReference;
use crate::Invalid;

/// The key under which Docker keeps the default registry's credentials.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The names the default registry goes by.
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
/// What a credential helper says instead of a user name when its secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Docker's own tools write the padding, others leave it away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Credentials for one registry, in the words of the Engine's `X-Registry-Auth`.
///
/// Its debug form shows no secret.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct RegistryAuth {
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    password: String,
    serveraddress: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    identitytoken: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    registrytoken: String,
}

impl RegistryAuth {
    /// The value of the `X-Registry-Auth` header.
    ///
    /// The Engine decodes the URL-safe alphabet with padding, and takes what it cannot decode for no
    /// credentials without a word.
    pub fn header(&self) -> String {
        // Serialising a struct of strings cannot fail; an empty header means no credentials.
        serde_json::to_vec(self).map_or_else(|_| String::new(), |json| URL_SAFE.encode(json))
    }

    /// The registry as Docker keys it: the host, or the default registry's URL.
    pub fn server_address(&self) -> &str {
        &self.serveraddress
    }
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

/// What to send along with a pull of `reference`, given the credentials of its request.
///
/// Credentials that state another registry are left out, as containerd does: they are not this
/// registry's to see. Where none is stated (the kubelet states none) they are for the registry the
/// image comes from, and are labelled so: an Engine with containerd's image store sends unlabelled
/// ones to the default registry only.
///
/// # Errors
///
/// Names `auth.auth` if that is not base64 of `user:password`. The value is not repeated.
pub fn registry_auth(
    auth: Option<&cri::AuthConfig>,
    reference: &ImageReference,
) -> Result<Option<RegistryAuth>, Invalid> {
    let Some(auth) = auth else { return Ok(None) };
    if !auth.server_address.is_empty() && registry_of(&auth.server_address) != reference.domain() {
        return Ok(None);
    }
    let entry = Entry {
        username: auth.username.clone(),
        password: auth.password.clone(),
        auth: auth.auth.clone(),
        identitytoken: auth.identity_token.clone(),
        registrytoken: auth.registry_token.clone(),
    };
    entry.credentials(reference.domain(), "auth.auth")
}

/// Where the host keeps its credentials for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostCredentials {
    /// It has none.
    Absent,
    /// In the configuration itself.
    Inline(RegistryAuth),
    /// A program has them: run it with the argument `get`, write `server` to its stdin, give its stdout
    /// to [`helper_answer`].
    Helper {
        /// The program's name, to be found in `PATH`.
        program: String,
        /// The registry as the program knows it.
        server: String,
    },
}

/// A Docker client's `config.json`, as far as it holds credentials.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

impl Entry {
    fn credentials(self, domain: &str, field: &str) -> Result<Option<RegistryAuth>, Invalid> {
        let (username, password) = if self.username.is_empty() && !self.auth.is_empty() {
            decode_pair(&self.auth, field)?
        } else {
            (self.username, self.password)
        };
        let found = RegistryAuth {
            username,
            password,
            serveraddress: server_key(domain),
            identitytoken: self.identitytoken,
            registrytoken: self.registrytoken,
        };
        let secrets = [
            &found.username,
            &found.password,
            &found.identitytoken,
            &found.registrytoken,
        ];
        Ok(secrets.iter().any(|secret| !secret.is_empty()).then_some(found))
    }
}

/// Finds the credentials for the registry `domain` in the text of a Docker client's `config.json`.
///
/// A helper named for the registry comes first, then the general helper, then what the file holds:
/// Docker's own order.
///
/// # Errors
///
/// Names the key in the file that cannot be used. No value of the file is repeated.
pub fn host_credentials(config_json: &str, domain: &str) -> Result<HostCredentials, Invalid> {
    let config: ConfigFile = parse(config_json, "config.json")?;
    let named = config.cred_helpers.unwrap_or_default();
    if let Some((key, helper)) = best_key(&named, domain) {
        return asked_of(helper, domain, &format!("credHelpers[{key:?}]"));
    }
    if let Some(helper) = config.creds_store.filter(|name| !name.is_empty()) {
        return asked_of(&helper, domain, "credsStore");
    }
    let mut auths = config.auths.unwrap_or_default();
    let Some(key) = best_key(&auths, domain).map(|(key, _)| key.to_owned()) else {
        return Ok(HostCredentials::Absent);
    };
    let entry = auths.remove(&key).flatten().unwrap_or_default();
    let found = entry.credentials(domain, &format!("auths[{key:?}].auth"))?;
    Ok(found.map_or(HostCredentials::Absent, HostCredentials::Inline))
}

/// Reads what a credential helper printed for the registry `domain`; `None` if it has nothing.
///
/// # Errors
///
/// Names the helper's answer if it is not the expected JSON. The answer is not repeated.
pub fn helper_answer(stdout: &str, domain: &str) -> Result<Option<RegistryAuth>, Invalid> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(default)]
        username: String,
        secret: String,
    }
    // Every helper says this text, on stdout, with a failing exit status.
    if stdout.trim() == "credentials not found in native keychain" {
        return Ok(None);
    }
    let answer: Answer = parse(stdout, "the credential helper's answer")?;
    let entry = if answer.username == TOKEN_USER {
        Entry {
            identitytoken: answer.secret,
            ..Entry::default()
        }
    } else {
        Entry {
            username: answer.username,
            password: answer.secret,
            ..Entry::default()
        }
    };
    entry.credentials(domain, "Username")
}

fn asked_of(helper: &str, domain: &str, field: &str) -> Result<HostCredentials, Invalid> {
    // The name becomes part of a program's name, so it must not be a way to another directory.
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if helper.is_empty() || !helper.bytes().all(plain) {
        return Err(Invalid::new(
            field,
            format!("{helper:?} is no credential helper's name: only letters, digits, '-', '_' and '.' are"),
        ));
    }
    Ok(HostCredentials::Helper {
        program: format!("docker-credential-{helper}"),
        server: server_key(domain),
    })
}

/// The entry for a registry: the key Docker would write first, then any other spelling of it.
fn best_key<'a, T>(entries: &'a BTreeMap<String, T>, domain: &str) -> Option<(&'a str, &'a T)> {
    entries
        .get_key_value(&server_key(domain))
        .or_else(|| entries.get_key_value(domain))
        .or_else(|| entries.iter().find(|(key, _)| registry_of(key) == domain))
        .map(|(key, value)| (key.as_str(), value))
}

/// The key for a registry: its host, but a URL for the default one.
fn server_key(domain: &str) -> String {
    if HUB_HOSTS.contains(&domain) {
        HUB_KEY
    } else {
        domain
    }
    .to_owned()
}

/// The registry that a key or a server address means, in the spelling of an image's domain.
fn registry_of(address: &str) -> &str {
    let address = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .unwrap_or(address);
    let host = address.split('/').next().unwrap_or(address);
    if HUB_HOSTS.contains(&host) {
        HUB_HOSTS[0]
    } else {
        host
    }
}

fn decode_pair(auth: &str, field: &str) -> Result<(String, String), Invalid> {
    let wrong = || Invalid::new(field, "is not base64 of user:password");
    let bytes = BASE64.decode(auth.trim()).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let (user, password) = text.split_once(':').ok_or_else(wrong)?;
    // Docker pads passwords with NUL in some old files and cuts them again.
    Ok((user.to_owned(), password.trim_matches('\0').to_owned()))
}

/// Parses JSON; of the parser's error only the place is told, because its text may quote a secret.
fn parse<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, Invalid> {
    serde_json::from_str(text).map_err(|error| {
        let kind = if error.is_data() {
            "an unexpected value"
        } else {
            "no valid JSON"
        };
        Invalid::new(
            what,
            format!("{kind} at line {}, column {}", error.line(), error.column()),
        )
    })
}

#[cfg(test)]
mod tests;
