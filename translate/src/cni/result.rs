//! What plugins print: the result of an `ADD`, and errors.

use std::{fmt, net::IpAddr};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Fields, Version, capabilities::address_and_prefix, raw};

mod convert;

pub use convert::convert;

/// The result of an `ADD`.
#[derive(Debug, Clone)]
pub struct Success {
    /// The document as the plugin printed it (with a `cniVersion`, should it lack one): the next
    /// plugin's `prevResult`.
    pub document: Box<RawValue>,
    /// The addresses of the pod's interface, in the plugin's order: the first is the pod's primary.
    pub addresses: Vec<IpAddr>,
}

/// Why a result cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResultError(String);

/// The fields that are looked at, of all versions.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parsed {
    interfaces: Option<Vec<Interface>>,
    ips: Option<Vec<Ip>>,
    // Versions 0.1.0 and 0.2.0.
    ip4: Option<OldIp>,
    ip6: Option<OldIp>,
}

#[derive(Deserialize)]
struct Interface {
    #[serde(default)]
    name: String,
    #[serde(default)]
    sandbox: Option<String>,
}

#[derive(Deserialize)]
struct Ip {
    address: String,
    interface: Option<i64>,
}

#[derive(Deserialize)]
struct OldIp {
    ip: String,
}

/// Reads the result of an `ADD` on `ifname` that was asked for in `version`.
///
/// # Errors
///
/// What is wrong with the document: no JSON, an unknown version, an address that is none, an
/// interface that is not listed.
pub fn parse(output: &str, version: Version, ifname: &str) -> Result<Success, ResultError> {
    if output.trim().is_empty() {
        return Err(ResultError("printed no result".to_owned()));
    }
    let mut fields: Fields = serde_json::from_str(output)
        .map_err(|cause| ResultError(format!("printed no JSON object: {cause}")))?;
    let document = match stated_version(&fields)? {
        Some(_) => RawValue::from_string(output.trim().to_owned())
            .map_err(|cause| ResultError(format!("printed no JSON object: {cause}")))?,
        None => {
            fields.insert("cniVersion".to_owned(), raw(&version.to_string()));
            raw(&fields)
        }
    };
    let addresses = addresses(&document, ifname)?;
    Ok(Success { document, addresses })
}

/// The addresses of the pod's interface in a result that has been accepted before.
///
/// A result may name other interfaces too. Those of `ifname`, or without an interface, are the
/// pod's; if there are none, those of any interface inside the pod; if there are none, all.
///
/// # Errors
///
/// As [`parse`].
pub fn addresses(document: &RawValue, ifname: &str) -> Result<Vec<IpAddr>, ResultError> {
    let parsed: Parsed = serde_json::from_str(document.get())
        .map_err(|cause| ResultError(format!("printed a result of another form: {cause}")))?;
    let interfaces = parsed.interfaces.unwrap_or_default();
    let mut ranked: Vec<(u8, IpAddr)> = Vec::new();
    for (index, ip) in parsed.ips.unwrap_or_default().iter().enumerate() {
        let address = address(&format!("ips[{index}].address"), &ip.address)?;
        let interface = match ip.interface {
            None => None,
            Some(number) => {
                let listed = usize::try_from(number)
                    .ok()
                    .and_then(|number| interfaces.get(number));
                Some(listed.ok_or_else(|| {
                    ResultError(format!(
                        "ips[{index}].interface: {number}, but {} interfaces are listed",
                        interfaces.len()
                    ))
                })?)
            }
        };
        let rank = match interface {
            None => 0,
            Some(interface) if interface.name == ifname => 0,
            Some(interface) if interface.sandbox.as_ref().is_some_and(|path| !path.is_empty()) => 1,
            Some(_) => 2,
        };
        ranked.push((rank, address));
    }
    for (field, old) in [("ip4.ip", &parsed.ip4), ("ip6.ip", &parsed.ip6)] {
        if let Some(old) = old {
            ranked.push((0, address(field, &old.ip)?));
        }
    }
    let best = ranked.iter().map(|(rank, _)| *rank).min();
    let mut addresses = Vec::new();
    for (rank, address) in ranked {
        if Some(rank) == best && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn address(field: &str, text: &str) -> Result<IpAddr, ResultError> {
    address_and_prefix(text)
        .map(|(address, _)| address)
        .ok_or_else(|| {
            ResultError(format!(
                "{field}: {text:?} is not an address with a prefix length"
            ))
        })
}

fn stated_version(fields: &Fields) -> Result<Option<Version>, ResultError> {
    let text: Option<String> = match fields.get("cniVersion") {
        None => None,
        Some(value) => serde_json::from_str(value.get())
            .map_err(|_| ResultError(format!("cniVersion: {value} is not a string")))?,
    };
    text.filter(|text| !text.is_empty())
        .map(|text| {
            Version::parse(&text).map_err(|cause| ResultError(format!("cniVersion: {text:?} {cause}")))
        })
        .transpose()
}

/// The document that a plugin prints when it fails.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PluginError {
    /// The specification's number for the kind of error; 0 is unknown.
    #[serde(default)]
    pub code: u64,
    /// What happened.
    pub msg: String,
    /// More about it.
    #[serde(default)]
    pub details: Option<String>,
}

impl PluginError {
    /// "The container is unknown": nothing has to be cleaned up.
    pub const UNKNOWN_CONTAINER: u64 = 3;

    /// Reads what a failed plugin printed; `None` if it is no such document.
    pub fn parse(output: &str) -> Option<Self> {
        serde_json::from_str(output).ok()
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if let Some(details) = self.details.as_deref().filter(|details| !details.is_empty()) {
            write!(f, "; {details}")?;
        }
        write!(f, " (code {})", self.code)
    }
}

#[cfg(test)]
mod tests;
