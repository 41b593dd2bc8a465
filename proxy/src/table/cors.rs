//! Who may read answers across origins: the CORS filter, made ready to be asked.

use http::HeaderValue;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    pub origins: Vec<Origin>,
    pub credentials: bool,
    pub methods: Allowed,
    pub headers: Allowed,
    pub expose: Option<HeaderValue>,
    pub max_age: HeaderValue,
}

/// An allowed origin. Hosts are lower case; a port that the scheme implies is left out, as
/// browsers do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Any,
    Exact(String),
    /// What stands before and after the wildcard, for example `https://` and `.example.com`.
    Wildcard(String, String),
}

/// A list of methods or headers, as the answer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    None,
    Any,
    These(HeaderValue),
}

impl Origin {
    /// `None` for what is no origin.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let origin = normal(text);
        let (scheme, host) = origin.split_once("://")?;
        if !matches!(scheme, "http" | "https") || host.is_empty() || host.contains('/') {
            return None;
        }
        Some(match origin.split_once('*') {
            None => Self::Exact(origin),
            Some((_, after)) if after.contains('*') => return None,
            Some((before, after)) => Self::Wildcard(before.to_owned(), after.to_owned()),
        })
    }
}

impl Cors {
    /// Whether pages of `origin`, as a browser names it, may read answers.
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        if self.origins == [Origin::Any] {
            return true;
        }
        let origin = normal(origin);
        self.origins.iter().any(|allowed| match allowed {
            Origin::Any => true,
            Origin::Exact(exact) => *exact == origin,
            Origin::Wildcard(before, after) => {
                let inner = origin.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
                // Only a host's own characters: a port is not part of what the wildcard stands for.
                inner.is_some_and(|host| !host.is_empty() && !host.contains([':', '/', '@']))
            }
        })
    }

    /// Any origin gets the same answer, so that caches need not tell them apart.
    pub fn is_public(&self) -> bool {
        !self.credentials && self.origins == [Origin::Any]
    }
}

fn normal(origin: &str) -> String {
    let mut origin = origin.to_ascii_lowercase();
    let implied = if origin.starts_with("https://") { ":443" } else { ":80" };
    if origin.ends_with(implied) {
        origin.truncate(origin.len() - implied.len());
    }
    origin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for (allowed, origin, expected) in [
            ("*", "https://a.com", true),
            ("*", "null", true),
            ("https://a.com", "https://a.com", true),
            ("https://a.com", "https://A.com", true),
            ("https://a.com", "https://a.com:443", true),
            ("https://a.com:443", "https://a.com", true),
            ("http://a.com:80", "http://a.com", true),
            ("https://a.com", "http://a.com", false),
            ("https://a.com", "https://a.com:8443", false),
            ("https://a.com:8443", "https://a.com:8443", true),
            ("https://*.a.com", "https://x.a.com", true),
            ("https://*.a.com", "https://y.x.a.com", true),
            ("https://*.a.com", "https://a.com", false),
            ("https://*.a.com", "https://.a.com", false),
            ("https://*.a.com", "https://evila.com", false),
            ("https://*.a.com", "https://evil.com:80/.a.com", false),
            ("https://*.a.com", "https://x.a.com.evil.com", false),
            ("https://*.a.com:8443", "https://x.a.com:8443", true),
            ("https://*.a.com:8443", "https://x.a.com", false),
            ("https://*", "https://x.a.com", true),
            ("https://*", "https://x.a.com:8443", false),
            ("https://*", "http://x.a.com", false),
        ] {
            let cors = Cors {
                origins: vec![Origin::parse(allowed).expect("an origin")],
                credentials: false,
                methods: Allowed::None,
                headers: Allowed::None,
                expose: None,
                max_age: HeaderValue::from_static("5"),
            };
            let origin = HeaderValue::from_str(origin).expect("a header's value");
            assert_eq!(cors.allows(&origin), expected, "{allowed} {origin:?}");
        }
        for text in ["", "a.com", "ftp://a.com", "https://", "https://a.com/x", "https://*.*.com"] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
