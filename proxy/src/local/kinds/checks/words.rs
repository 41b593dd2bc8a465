//! Rules about single texts. Each returns what is wrong with one.

use std::net::IpAddr;

use crate::local::names;

pub(super) const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

pub(super) fn label(text: &str) -> Vec<String> {
    names::label(text).err().into_iter().collect()
}

pub(super) fn subdomain(text: &str) -> Vec<String> {
    names::subdomain(text).err().into_iter().collect()
}

/// A host, whose first part may be `*`.
pub(super) fn host(text: &str) -> Vec<String> {
    if !text.contains('*') {
        return subdomain(text);
    }
    let rest = text.strip_prefix("*.").unwrap_or_default();
    if names::subdomain(rest).is_ok() { Vec::new() } else { vec![WILDCARD.into()] }
}

pub(super) fn label_value(text: &str) -> Vec<String> {
    names::value(text).err().into_iter().collect()
}

pub(super) fn qualified(text: &str) -> Vec<String> {
    names::qualified(text).err().into_iter().collect()
}

pub(super) fn path_segment(text: &str) -> Vec<String> {
    names::path_segment(text).err().into_iter().collect()
}

pub(super) fn data_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 253 {
        wrong.push("must be no more than 253 characters".to_owned());
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        wrong.push(super::super::rules::DATA_KEY.to_owned());
    }
    wrong
}

/// An environment variable's name: anything that can be printed, but for `=`.
pub(super) fn variable(text: &str) -> Vec<String> {
    const WORDS: &str =
        "a valid environment variable name must consist only of printable ASCII characters other than '='";
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        return Vec::new();
    }
    vec![WORDS.into()]
}

pub(in super::super) fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 15 {
        wrong.push("must be no more than 15 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)");
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens");
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen");
    }
    wrong.into_iter().map(str::to_owned).collect()
}

pub(super) const ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

pub(super) fn address(text: &str) -> Vec<String> {
    if text.parse::<IpAddr>().is_ok() { Vec::new() } else { vec![ADDRESS.into()] }
}

/// An address where traffic may go to. A kube-apiserver refuses loopback too; here that is where
/// the backends of a gateway on one host are.
pub(super) fn endpoint(text: &str) -> Vec<String> {
    let Ok(address) = text.parse::<IpAddr>() else { return vec!["must be a valid IP address".into()] };
    let (link, many) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] & 0xff0f == 0xff02),
    };
    let mut wrong = Vec::new();
    if address.is_unspecified() {
        wrong.push(format!("may not be unspecified ({text})"));
    }
    if link {
        wrong.push("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned());
    }
    if many {
        wrong.push("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned());
    }
    wrong
}

/// A network and how many of its bits count.
pub(super) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
}

/// The first bits of an address.
pub(super) fn prefix(address: IpAddr, bits: u8) -> u128 {
    let (number, length) = match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    number.checked_shr(length - u32::from(bits)).unwrap_or(0)
}
