//! The head of a request: whom it is for, and what may not travel on.

use std::{borrow::Cow, cell::Cell};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts};

pub(super) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The authority that a request names: as it was sent, and where its port begins.
pub(super) struct Authority<'a> {
    pub text: &'a str,
    host: usize,
}

impl<'a> Authority<'a> {
    /// Lower case, without port.
    pub(super) fn host(&self) -> Cow<'a, str> {
        let host = &self.text[..self.host];
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        }
    }
}

/// Where the request wants to go, or what is wrong with how it says so.
pub(super) fn authority(parts: &Parts) -> Result<Authority<'_>, &'static str> {
    let mut named = parts.headers.get_all(header::HOST).iter();
    let text = match (parts.uri.authority(), named.next()) {
        (_, Some(_)) if named.next().is_some() => return Err("the request has more than one Host header"),
        // In absolute form the target wins over the header (RFC 9112, 3.2.2).
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().map_err(|_| "the Host header is not a host name")?,
        (None, None) if parts.version == Version::HTTP_10 => "",
        (None, None) => return Err("the request has no Host header"),
    };
    let host = match text.rfind(':') {
        Some(colon) if !text[colon..].contains(']') => {
            if !text[colon + 1..].bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("the port of the Host header is not a number");
            }
            colon
        }
        _ => text.len(),
    };
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:%!$&'()*+,;=".contains(&byte);
    if !text.bytes().all(valid) {
        return Err("the Host header is not a host name");
    }
    Ok(Authority { text, host })
}

/// Whether the client asks to switch protocols, and to what.
pub(super) fn upgrade(parts: &Parts) -> Option<HeaderValue> {
    let wanted = parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && tokens(&parts.headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    parts.headers.get(header::UPGRADE).filter(|_| wanted).cloned()
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Removes what concerns one connection only (RFC 9110, 7.6.1).
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        // Never what the proxy itself relies on, however oddly a sender lists it.
        let listed: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
            .filter(|token| !token.eq_ignore_ascii_case("close") && !token.eq_ignore_ascii_case("keep-alive"))
            .filter_map(|token| token.parse().ok())
            .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH && *name != X_FORWARDED_FOR)
            .collect();
        for name in listed {
            if name != header::TE {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    if headers.contains_key(header::TE) {
        let trailers = tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
        headers.remove(header::TE);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &header::TRANSFER_ENCODING, &header::UPGRADE] {
        headers.remove(name);
    }
}

/// Adds the peer to the way that the request has come.
pub(super) fn forwarded(headers: &mut HeaderMap, peer: &HeaderValue, tls: bool) {
    let mut before = headers.get_all(&X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).peekable();
    let way = if before.peek().is_none() {
        None
    } else {
        let mut way = Vec::with_capacity(64);
        for one in before {
            way.extend_from_slice(one);
            way.extend_from_slice(b", ");
        }
        way.extend_from_slice(peer.as_bytes());
        HeaderValue::from_bytes(&way).ok()
    };
    headers.insert(&X_FORWARDED_FOR, way.unwrap_or_else(|| peer.clone()));
    headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(if tls { "https" } else { "http" }));
}

/// Request ids: unique, not secret. A random start per worker, then a bijective mix of a count.
pub(super) struct Ids {
    seed: u64,
    count: Cell<u64>,
}

impl Ids {
    pub(super) fn new() -> Self {
        let (seed, count) = uuid::Uuid::new_v4().as_u64_pair();
        Self { seed, count: Cell::new(count) }
    }

    pub(super) fn next(&self) -> HeaderValue {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.count.set(self.count.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let mut mixed = self.count.get();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let mut text = [0; 32];
        for (at, byte) in self.seed.to_be_bytes().into_iter().chain(mixed.to_be_bytes()).enumerate() {
            text[2 * at] = HEX[usize::from(byte >> 4)];
            text[2 * at + 1] = HEX[usize::from(byte & 15)];
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}
