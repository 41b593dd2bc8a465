//! Certificates that listeners name.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::Value;
use x509_parser::prelude::{GeneralName, Pem, X509Certificate};

use super::seen::{GATEWAY, Item, LISTENER_SET, SECRET, Seen, list, text};
use crate::finding::{Finding, Object, Severity};

const SOON_DAYS: i64 = 30;

/// What matters of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Certificate {
    /// The first one of a PEM text: the one that a server shows.
    pub fn of_pem(pem: &[u8]) -> Result<Self, String> {
        let pem = Pem::iter_from_buffer(pem).find_map(|one| one.ok().filter(|one| one.label == "CERTIFICATE"));
        let pem = pem.ok_or("it holds no certificate in PEM")?;
        Self::of_der(&pem.contents)
    }

    pub fn of_der(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|error| error.to_string())?;
        let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|error| error.to_string());
        Ok(Self {
            names: names(&parsed),
            not_before: time(parsed.validity().not_before.timestamp())?,
            not_after: time(parsed.validity().not_after.timestamp())?,
        })
    }

    /// As clients compare: an asterisk is one label.
    pub fn is_for(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host) || covers(name, host))
    }
}

fn covers(pattern: &str, host: &str) -> bool {
    let Some(suffix) = pattern.strip_prefix("*.") else { return false };
    host.split_once('.')
        .is_some_and(|(label, rest)| !label.is_empty() && label != "*" && rest.eq_ignore_ascii_case(suffix))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
                16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// Secrets that listeners of a Gateway or ListenerSet name: listener, field, namespace, name.
pub fn named(holder: &Item) -> impl Iterator<Item = (&Value, String, &str, &str)> {
    holder.list("/spec/listeners").iter().enumerate().flat_map(move |(at, listener)| {
        list(listener, "/tls/certificateRefs").iter().enumerate().filter_map(move |(of, reference)| {
            let kind = reference.get("kind").and_then(Value::as_str).unwrap_or("Secret");
            let namespace = reference.get("namespace").and_then(Value::as_str).unwrap_or_else(|| holder.namespace());
            let field = format!("spec.listeners[{at}].tls.certificateRefs[{of}]");
            (kind == "Secret").then(|| (listener, field, namespace, text(reference, "name")))
        })
    })
}

pub(super) fn valid(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for holder in seen.of(GATEWAY).iter().chain(seen.of(LISTENER_SET)) {
        for (listener, field, namespace, name) in named(holder) {
            let told = |severity, title: String| {
                holder.finding("TLS001", severity, &field, format!("listener {}: {title}", text(listener, "name")))
            };
            let of = format!("Secret {namespace}/{name}");
            if let Some(why) = seen.denied.get(&(namespace.to_owned(), name.to_owned())) {
                let object = Object::new("", "Secret", namespace, name);
                found.push(
                    Finding::new("TLS001", Severity::Unknown, object, "it cannot be read")
                        .evidence("the API server", why.clone())
                        .fix("allow get of this Secret"),
                );
                continue;
            }
            let Some(secret) = seen.get(SECRET, namespace, name) else {
                if seen.unknown(SECRET) {
                    continue;
                }
                let severity = if seen.live { Severity::Error } else { Severity::Info };
                let whereabouts = if seen.live { "does not exist" } else { "is not among the files" };
                found.push(told(severity, format!("{of} {whereabouts}")).fix("make the Secret, or name another"));
                continue;
            };
            let pem = secret_data(&secret.value, "tls.crt");
            let read = pem.ok_or_else(|| "it has no tls.crt".to_owned()).and_then(|pem| Certificate::of_pem(&pem));
            let certificate = match read {
                Ok(certificate) => certificate,
                Err(why) => {
                    found.push(
                        told(Severity::Error, format!("the certificate of {of} cannot be read")).evidence(&of, why),
                    );
                    continue;
                }
            };
            let days = (certificate.not_after.as_second() - seen.now.as_second()).div_euclid(86_400);
            let ends = format!("notAfter {}", certificate.not_after);
            if certificate.not_after <= seen.now {
                found.push(
                    told(Severity::Error, "its certificate has expired".to_owned())
                        .evidence(&of, ends)
                        .fix("renew the certificate"),
                );
            } else if certificate.not_before > seen.now {
                let begins = format!("notBefore {}", certificate.not_before);
                found.push(told(Severity::Error, "its certificate is not valid yet".to_owned()).evidence(&of, begins));
            } else if days < SOON_DAYS {
                found.push(
                    told(Severity::Warning, format!("its certificate ends in {days} days"))
                        .evidence(&of, ends)
                        .fix("renew the certificate"),
                );
            }
            let host = text(listener, "hostname");
            // Of several certificates the one that fits is shown.
            let any = named(holder).filter(|(other, ..)| text(other, "name") == text(listener, "name")).any(
                |(_, _, namespace, name)| {
                    let pem =
                        seen.get(SECRET, namespace, name).and_then(|secret| secret_data(&secret.value, "tls.crt"));
                    pem.and_then(|pem| Certificate::of_pem(&pem).ok())
                        .is_some_and(|one| one.is_for(host) || one.names.iter().any(|name| name == host))
                },
            );
            if !host.is_empty() && !any {
                found.push(
                    told(Severity::Error, format!("its certificate is not for {host}"))
                        .evidence(&of, format!("made out for {}", certificate.names.join(", ")))
                        .fix(format!("use a certificate for {host}")),
                );
            }
        }
    }
    found
}

fn secret_data(secret: &Value, name: &str) -> Option<Vec<u8>> {
    if let Some(text) = secret["stringData"][name].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    serde_json::from_value::<ByteString>(secret["data"][name].clone()).ok().map(|bytes| bytes.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_is_one_label() {
        let of = |names: &[&str]| Certificate {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::UNIX_EPOCH,
        };
        assert!(of(&["*.a.test"]).is_for("x.a.test") && of(&["A.test"]).is_for("a.test"));
        assert!(!of(&["*.a.test"]).is_for("a.test") && !of(&["*.a.test"]).is_for("x.y.a.test"));
    }
}
