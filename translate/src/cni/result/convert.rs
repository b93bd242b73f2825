use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{ResultError, stated_version};
use crate::cni::{Fields, Version, raw};

/// The three forms that results have had.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Form {
    /// `ip4` and `ip6`, each with its routes.
    TwoIps,
    /// `ips` that name their family, `routes`, `interfaces`.
    NamedFamily,
    /// The same without the family.
    Current,
}

impl Form {
    fn of(version: Version) -> Self {
        if version < Version::V0_3_0 {
            Self::TwoIps
        } else if version < Version::V1_0_0 {
            Self::NamedFamily
        } else {
            Self::Current
        }
    }
}

/// The result in another version's form.
///
/// An attachment made with one configuration may have to be undone with another: plugins are
/// promised results in the version of the document they get. A result of that version is returned
/// as it is.
///
/// # Errors
///
/// A result that is not of the form of its own version.
pub fn convert(result: &RawValue, to: Version) -> Result<Box<RawValue>, ResultError> {
    let error = |cause: serde_json::Error| ResultError(format!("is not a result: {cause}"));
    let mut fields: Fields = serde_json::from_str(result.get()).map_err(error)?;
    let from = stated_version(&fields)?.unwrap_or(Version::V0_1_0);
    if from == to {
        return Ok(result.to_owned());
    }
    fields.insert("cniVersion".to_owned(), raw(&to.to_string()));
    match (Form::of(from), Form::of(to)) {
        (from, to) if from == to => {}
        (Form::TwoIps, to) => split_ips(&mut fields, to).map_err(error)?,
        (_, Form::TwoIps) => join_ips(&mut fields).map_err(error)?,
        (_, to) => name_families(&mut fields, to).map_err(error)?,
    }
    Ok(raw(&fields))
}

#[derive(Default, Serialize, Deserialize)]
struct OldIp {
    ip: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    routes: Option<Vec<Box<RawValue>>>,
}

fn take<'a, T: Deserialize<'a> + Default>(fields: &'a Fields, key: &str) -> serde_json::Result<T> {
    fields.get(key).map_or_else(
        || Ok(T::default()),
        |value| serde_json::from_str::<Option<T>>(value.get()).map(Option::unwrap_or_default),
    )
}

fn family(address: &str) -> &'static str {
    if address.contains(':') { "6" } else { "4" }
}

fn split_ips(fields: &mut Fields, to: Form) -> serde_json::Result<()> {
    let (mut ips, mut routes) = (Vec::new(), Vec::new());
    for key in ["ip4", "ip6"] {
        let Some(old) = take::<Option<OldIp>>(fields, key)? else {
            continue;
        };
        let mut ip = Fields::from([("address".to_owned(), raw(&old.ip))]);
        if let Some(gateway) = old.gateway {
            ip.insert("gateway".to_owned(), raw(&gateway));
        }
        if to == Form::NamedFamily {
            ip.insert("version".to_owned(), raw(&family(&old.ip)));
        }
        ips.push(ip);
        routes.extend(old.routes.unwrap_or_default());
        fields.remove(key);
    }
    fields.insert("ips".to_owned(), raw(&ips));
    fields.insert("routes".to_owned(), raw(&routes));
    Ok(())
}

/// The first address of each family is all that the old form has room for.
fn join_ips(fields: &mut Fields) -> serde_json::Result<()> {
    #[derive(Deserialize)]
    struct Ip {
        address: String,
        gateway: Option<String>,
    }
    #[derive(Deserialize)]
    struct Route {
        dst: String,
    }
    let ips: Vec<Ip> = take(fields, "ips")?;
    let routes: Vec<Box<RawValue>> = take(fields, "routes")?;
    for (key, wanted) in [("ip4", "4"), ("ip6", "6")] {
        let Some(ip) = ips.iter().find(|ip| family(&ip.address) == wanted) else {
            continue;
        };
        let mut own = Vec::new();
        for route in &routes {
            if family(&serde_json::from_str::<Route>(route.get())?.dst) == wanted {
                own.push(route.clone());
            }
        }
        let old = OldIp {
            ip: ip.address.clone(),
            gateway: ip.gateway.clone(),
            routes: (!own.is_empty()).then_some(own),
        };
        fields.insert(key.to_owned(), raw(&old));
    }
    for key in ["ips", "routes", "interfaces"] {
        fields.remove(key);
    }
    Ok(())
}

fn name_families(fields: &mut Fields, to: Form) -> serde_json::Result<()> {
    let mut ips: Vec<Fields> = take(fields, "ips")?;
    for ip in &mut ips {
        if to == Form::NamedFamily {
            let address: String = take(ip, "address")?;
            ip.insert("version".to_owned(), raw(&family(&address)));
        } else {
            ip.remove("version");
        }
    }
    if !ips.is_empty() {
        fields.insert("ips".to_owned(), raw(&ips));
    }
    Ok(())
}
