//! Bodies in Kubernetes' protobuf encoding, which `kubectl create namespace` and its like send.
//!
//! A table says what the fields of a message are called; whatever a table does not know is
//! refused, so that nothing which a client sent is lost in silence.

use serde_json::{Map, Value, json};

use super::status::StatusError;

pub(super) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

#[derive(Clone, Copy)]
enum Type {
    Text,
    Bool,
    Number,
    /// A number that may be left out, so that 0 is one too.
    Optional,
    IntOrString,
    Texts,
    TextMap,
    BytesMap,
    One(&'static [Field]),
    Many(&'static [Field]),
}

type Field = (u64, &'static str, Type);

use Type::{Bool, BytesMap, IntOrString, Many, Number, One, Optional, Text, TextMap, Texts};

const METADATA: &[Field] = &[
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (5, "uid", Text),
    (6, "resourceVersion", Text),
    (7, "generation", Number),
    (11, "labels", TextMap),
    (12, "annotations", TextMap),
    (13, "ownerReferences", Many(OWNER)),
    (14, "finalizers", Texts),
];
const OWNER: &[Field] = &[
    (1, "kind", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "controller", Bool),
    (7, "blockOwnerDeletion", Bool),
];
const NAMED: &[Field] = &[(1, "name", Text)];
const SERVICE: &[Field] = &[
    (1, "ports", Many(PORT)),
    (2, "selector", TextMap),
    (3, "clusterIP", Text),
    (4, "type", Text),
    (5, "externalIPs", Texts),
    (7, "sessionAffinity", Text),
    (8, "loadBalancerIP", Text),
    (9, "loadBalancerSourceRanges", Texts),
    (10, "externalName", Text),
    (11, "externalTrafficPolicy", Text),
    (12, "healthCheckNodePort", Number),
    (13, "publishNotReadyAddresses", Bool),
    (17, "ipFamilyPolicy", Text),
    (18, "clusterIPs", Texts),
    (19, "ipFamilies", Texts),
    (22, "internalTrafficPolicy", Text),
];
const PORT: &[Field] = &[
    (1, "name", Text),
    (2, "protocol", Text),
    (3, "port", Number),
    (4, "targetPort", IntOrString),
    (5, "nodePort", Number),
    (6, "appProtocol", Text),
];
const ACCESS: &[Field] = &[
    (
        1,
        "resourceAttributes",
        One(&[
            (1, "namespace", Text),
            (2, "verb", Text),
            (3, "group", Text),
            (4, "version", Text),
            (5, "resource", Text),
            (6, "subresource", Text),
            (7, "name", Text),
        ]),
    ),
    (2, "nonResourceAttributes", One(&[(1, "path", Text), (2, "verb", Text)])),
];

/// Go clients send it in the group and version of what they delete.
const DELETE: &[Field] = &[
    (1, "gracePeriodSeconds", Optional),
    (2, "preconditions", One(&[(1, "uid", Text), (2, "resourceVersion", Text)])),
    (3, "orphanDependents", Bool),
    (4, "propagationPolicy", Text),
    (5, "dryRun", Texts),
];

const DEPLOYMENT: &[Field] = &[
    (1, "replicas", Optional),
    (2, "selector", One(&[(1, "matchLabels", TextMap)])),
    (3, "template", One(&[(1, "metadata", One(METADATA)), (2, "spec", One(POD))])),
    (4, "strategy", One(&[(1, "type", Text)])),
];
const POD: &[Field] = &[
    (2, "containers", Many(CONTAINER)),
    (3, "restartPolicy", Text),
    (6, "dnsPolicy", Text),
    (8, "serviceAccountName", Text),
];
const CONTAINER: &[Field] = &[
    (1, "name", Text),
    (2, "image", Text),
    (3, "command", Texts),
    (4, "args", Texts),
    (8, "resources", One(&[])),
    (6, "ports", Many(&[(1, "name", Text), (3, "containerPort", Number), (4, "protocol", Text)])),
];

fn table(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    Some(match (api_version, kind) {
        ("v1", "Namespace") => &[
            (1, "metadata", One(METADATA)),
            (2, "spec", One(&[(1, "finalizers", Texts)])),
            (3, "status", One(&[(1, "phase", Text)])),
        ],
        ("v1", "ConfigMap") => {
            &[(1, "metadata", One(METADATA)), (2, "data", TextMap), (3, "binaryData", BytesMap), (4, "immutable", Bool)]
        }
        ("v1", "Secret") => &[
            (1, "metadata", One(METADATA)),
            (2, "data", BytesMap),
            (3, "type", Text),
            (4, "stringData", TextMap),
            (5, "immutable", Bool),
        ],
        ("v1", "ServiceAccount") => &[
            (1, "metadata", One(METADATA)),
            (3, "imagePullSecrets", Many(NAMED)),
            (4, "automountServiceAccountToken", Bool),
        ],
        ("v1", "Service") => &[
            (1, "metadata", One(METADATA)),
            (2, "spec", One(SERVICE)),
            (3, "status", One(&[(1, "loadBalancer", One(&[]))])),
        ],
        ("apps/v1", "Deployment") => {
            &[(1, "metadata", One(METADATA)), (2, "spec", One(DEPLOYMENT)), (3, "status", One(&[]))]
        }
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => {
            &[(1, "metadata", One(METADATA)), (2, "spec", One(ACCESS)), (3, "status", One(&[]))]
        }
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => {
            &[(1, "metadata", One(METADATA)), (2, "spec", One(&[(1, "namespace", Text)])), (3, "status", One(&[]))]
        }
        (_, "DeleteOptions") => DELETE,
        _ => return None,
    })
}

/// Decodes an object in its envelope.
pub(super) fn decode(body: &[u8]) -> Result<Value, StatusError> {
    const ENVELOPE: &[Field] = &[(1, "type", One(&[(1, "apiVersion", Text), (2, "kind", Text)]))];
    let broken = |why: &str| {
        StatusError::bad_request(format!("the object provided is unrecognized (must be of type protobuf): {why}"))
    };
    let envelope = body.strip_prefix(MAGIC).ok_or_else(|| broken("it does not start with k8s"))?;
    let mut raw = None;
    let mut head = Map::new();
    for part in Parts(envelope) {
        let (number, part) = part.map_err(broken)?;
        match (number, part) {
            (1, part) => read(&mut head, ENVELOPE, 1, part).map_err(|why| broken(&why))?,
            (2, Part::Bytes(bytes)) => raw = Some(bytes),
            _ => {}
        }
    }
    let text = |field: &str| head.get("type").and_then(|named| named[field].as_str()).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let Some(fields) = table(&api_version, &kind) else {
        return Err(StatusError::unsupported_media_type(&["application/json", "application/yaml"]));
    };
    let mut object = message(fields, raw.unwrap_or_default()).map_err(|why| broken(&why))?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

fn message(fields: &[Field], bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let mut into = Map::new();
    for part in Parts(bytes) {
        let (number, part) = part?;
        read(&mut into, fields, number, part)?;
    }
    Ok(into)
}

/// Adds one field. Empty ones say nothing: Go writes them for whatever is not set.
fn read(into: &mut Map<String, Value>, fields: &[Field], number: u64, part: Part<'_>) -> Result<(), String> {
    let Some(&(_, name, kind)) = fields.iter().find(|(known, ..)| *known == number) else {
        return if part.is_empty() { Ok(()) } else { Err(format!("field {number} is not known to this server")) };
    };
    let value = match (kind, part) {
        (Text, Part::Bytes([])) | (Number, Part::Number(0)) => return Ok(()),
        (Text, Part::Bytes(bytes)) => text(bytes)?.into(),
        (Bool, Part::Number(number)) => (number != 0).into(),
        // Negative numbers are written as 64 bits in two's complement.
        (Number | Optional, Part::Number(number)) => number.cast_signed().into(),
        (IntOrString, Part::Bytes(bytes)) => {
            let parts = message(&[(1, "type", Number), (2, "number", Number), (3, "text", Text)], bytes)?;
            let get = |field: &str| parts.get(field).cloned();
            if get("type").is_some() {
                get("text").unwrap_or_else(|| "".into())
            } else {
                // The zero value stands for "not set".
                let Some(number) = get("number") else { return Ok(()) };
                number
            }
        }
        (Texts, Part::Bytes(bytes)) => return push(into, name, text(bytes)?.into()),
        (Many(fields), Part::Bytes(bytes)) => return push(into, name, Value::Object(message(fields, bytes)?)),
        (One(fields), Part::Bytes(bytes)) => Value::Object(message(fields, bytes)?),
        (TextMap | BytesMap, Part::Bytes(bytes)) => {
            let (mut key, mut value) = ("", &[][..]);
            for part in Parts(bytes) {
                match part? {
                    (1, Part::Bytes(bytes)) => key = text(bytes)?,
                    (2, Part::Bytes(bytes)) => value = bytes,
                    _ => return Err(format!("{name} is not a map")),
                }
            }
            let value = match kind {
                BytesMap => json!(k8s_openapi::ByteString(value.to_vec())),
                _ => text(value)?.into(),
            };
            if let Value::Object(map) = into.entry(name).or_insert_with(|| json!({})) {
                map.insert(key.to_owned(), value);
            }
            return Ok(());
        }
        _ => return Err(format!("{name} has the wrong wire type")),
    };
    into.insert(name.into(), value);
    Ok(())
}

fn push(into: &mut Map<String, Value>, name: &str, value: Value) -> Result<(), String> {
    if let Value::Array(items) = into.entry(name).or_insert_with(|| json!([])) {
        items.push(value);
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

enum Part<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Part<'_> {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Number(0) | Self::Bytes([]))
    }
}

/// The fields of a message, as they come.
struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or("it ends too early")?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number is too long")
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<(u64, Part<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let part = (|| {
            let tag = self.varint()?;
            let part = match tag & 7 {
                0 => Part::Number(self.varint()?),
                2 => {
                    let length = usize::try_from(self.varint()?).map_err(|_| "a length is too large")?;
                    let (bytes, rest) = self.0.split_at_checked(length).ok_or("it ends too early")?;
                    self.0 = rest;
                    Part::Bytes(bytes)
                }
                _ => return Err("it has an unknown wire type"),
            };
            Ok((tag >> 3, part))
        })();
        if part.is_err() {
            self.0 = &[];
        }
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A field with bytes, shorter than 128.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn envelope(kind: &str, raw: &[u8]) -> Vec<u8> {
        let named = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC, &field(1, &named), &field(2, raw), &field(3, b""), &field(4, b"")].concat()
    }

    #[test]
    fn objects_are_read_and_empty_fields_say_nothing() {
        let label = field(11, &[field(1, b"a"), field(2, b"b")].concat());
        let metadata = [field(1, b"x"), field(2, b""), vec![7 << 3, 0], field(8, b""), label].concat();
        let data = field(2, &[field(1, b"k"), field(2, b"\xff\x00")].concat());
        let object = decode(&envelope("Secret", &[field(1, &metadata), data].concat())).unwrap();
        let wanted = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "x", "labels": {"a": "b"}}, "data": {"k": "/wA="},
        });
        assert_eq!(object, wanted);
    }

    #[test]
    fn a_deletion_may_have_no_grace_at_all() {
        let preconditions = field(2, &field(1, b"u"));
        let options = decode(&envelope("DeleteOptions", &[&[1 << 3, 0], &preconditions[..]].concat())).unwrap();
        let wanted = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": "u"},
        });
        assert_eq!(options, wanted);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert_eq!(decode(&envelope("Gadget", b"")).unwrap_err().code(), 415);
        assert_eq!(decode(&envelope("Secret", &field(9, b"x"))).unwrap_err().code(), 400);
        assert_eq!(decode(b"{}").unwrap_err().code(), 400);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&envelope("Service", &bytes));
            let _ = decode(&[MAGIC, &bytes].concat());
        }
    }
}
