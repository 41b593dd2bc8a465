//! Paths and query parameters.

use super::StatusError;

#[derive(Debug, PartialEq)]
pub(super) enum Path {
    Version,
    /// The parts after `/openapi`.
    OpenApi(Vec<String>),
    /// `api`, `apis` and what follows, short of a resource.
    Discovery(Vec<String>),
    Resource(Resource),
    Unknown,
}

#[derive(Debug, PartialEq)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
    /// The old form of a watch, whose path says so.
    pub(super) watch: bool,
}

impl Path {
    pub(super) fn parse(path: &str) -> Result<Self, StatusError> {
        let parts = path.trim_matches('/').split('/').map(|part| decode(part, false)).collect::<Option<Vec<String>>>();
        let parts = parts.ok_or_else(|| StatusError::bad_request("the path is not valid UTF-8"))?;
        let words: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(match words.as_slice() {
            ["version"] => Self::Version,
            ["openapi", ..] => Self::OpenApi(parts[1..].to_vec()),
            ["api"] | ["api", _] | ["apis"] | ["apis", _] | ["apis", _, _] => Self::Discovery(parts),
            ["api", version, rest @ ..] => resource("", version, rest),
            ["apis", group, version, rest @ ..] => resource(group, version, rest),
            _ => Self::Unknown,
        })
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Path {
    let owned = |text: &&str| (*text).to_owned();
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        // `/namespaces/x` and `/namespaces/x/status` are of the namespace itself.
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest[0] != "status" => (Some(namespace), rest),
        _ => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some(name), None),
        [plural, name, subresource] => (plural, Some(name), Some(subresource)),
        _ => return Path::Unknown,
    };
    Path::Resource(Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: owned(plural),
        namespace: namespace.map(owned),
        name: name.map(owned),
        subresource: subresource.map(owned),
        watch,
    })
}

/// Decodes `%xx` and, in queries, `+`.
pub(super) fn decode(text: &str, plus: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if plus => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The query of a request.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(key, true)?, decode(value, true)?))
        });
        Self(pairs.collect())
    }

    /// The first value, or nothing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// A switch is on unless it says that it is off, even without a value.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.0.iter().any(|(key, value)| key == name && value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
