//! What may be known of a Secret: which keys it has, and its certificate's dates and names.
//! The data itself goes no further than [`reduce`].

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use x509_parser::{
    extensions::GeneralName,
    pem::Pem,
    prelude::{FromDer as _, X509Certificate},
};

use super::{
    json::{strings, text},
    key::ObjectKey,
};

/// The Secret without its data: what watches pass on.
pub fn reduce(secret: &Value) -> Value {
    let data = secret.get("data").and_then(Value::as_object);
    let keys: Vec<&str> = data.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let mut metadata = secret.get("metadata").cloned().unwrap_or_default();
    if let Some(fields) = metadata.as_object_mut() {
        // `kubectl apply` copies the data into an annotation.
        fields.remove("annotations");
        fields.remove("managedFields");
    }
    let mut reduced = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": text(secret, "type"), "keys": keys,
    });
    if let Some(chain) = data.and_then(|data| data.get("tls.crt")) {
        reduced["certificate"] = certificate(chain).unwrap_or_else(|problem| json!({"problem": problem}));
    }
    reduced
}

fn certificate(chain: &Value) -> Result<Value, String> {
    let chain: ByteString = serde_json::from_value(chain.clone()).map_err(|_| "tls.crt is not base64".to_owned())?;
    let pem = Pem::iter_from_buffer(&chain.0)
        .next()
        .ok_or("tls.crt holds no PEM certificate")?
        .map_err(|error| format!("tls.crt: {error}"))?;
    let (_, leaf) =
        X509Certificate::from_der(&pem.contents).map_err(|error| format!("tls.crt is no certificate: {error}"))?;
    let names = leaf.subject_alternative_name().ok().flatten().map(|names| &names.value.general_names);
    let names: Vec<&str> = names
        .into_iter()
        .flatten()
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None })
        .collect();
    let time = |seconds: i64| Timestamp::from_second(seconds).ok().map(|time| time.to_string());
    Ok(json!({
        "notBefore": time(leaf.validity().not_before.timestamp()),
        "notAfter": time(leaf.validity().not_after.timestamp()),
        "dnsNames": names,
        "issuer": leaf.issuer().to_string(),
    }))
}

#[derive(Debug, Clone, PartialEq)]
pub struct Secret {
    pub key: ObjectKey,
    pub kind: String,
    /// Names of what it holds.
    pub keys: Vec<String>,
    pub certificate: Option<Result<Certificate, String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    pub not_before: Option<Timestamp>,
    pub not_after: Option<Timestamp>,
    pub names: Vec<String>,
    pub issuer: String,
}

impl Secret {
    /// Out of what [`reduce`] left.
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        let certificate = object.get("certificate").map(|of| match of.get("problem").and_then(Value::as_str) {
            Some(problem) => Err(problem.to_owned()),
            None => Ok(Certificate {
                not_before: text(of, "notBefore").parse().ok(),
                not_after: text(of, "notAfter").parse().ok(),
                names: strings(of, "/dnsNames"),
                issuer: text(of, "issuer"),
            }),
        });
        Self { kind: text(object, "type"), keys: strings(object, "/keys"), certificate, key }
    }
}

impl Certificate {
    /// Whole days until it ends; negative when it has.
    pub fn days_left(&self, now: Timestamp) -> Option<i64> {
        let seconds = self.not_after?.as_second() - now.as_second();
        Some(seconds.div_euclid(86_400))
    }

    /// Whether a client that asks for this host gets a certificate that it can accept. A listener
    /// for `*.example.com` is covered by a name for exactly that.
    pub fn covers(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.names.iter().any(|name| {
            let name = name.to_ascii_lowercase();
            name == host
                || name.strip_prefix("*.").is_some_and(|suffix| {
                    host.split_once('.').is_some_and(|(label, rest)| rest == suffix && label != "*")
                })
        })
    }
}
