//! Query parameters, decoded only where a rule asks for them.

use std::borrow::Cow;

/// The first value of the parameter `name`, decoded; borrowed when there is nothing to decode.
pub(super) fn first<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| decoded(key.as_bytes()).eq(name.bytes()))
        .map(|(_, value)| match value.contains(['%', '+']) {
            false => Cow::Borrowed(value.as_bytes()),
            true => Cow::Owned(decoded(value.as_bytes()).collect()),
        })
}

/// Percent escapes and `+` undone; an escape that is none stays as it is.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *text.get(at)?;
        let escaped = match byte {
            b'%' => text.get(at + 1).copied().and_then(hex).zip(text.get(at + 2).copied().and_then(hex)),
            _ => None,
        };
        at += if escaped.is_some() { 3 } else { 1 };
        Some(match escaped {
            Some((high, low)) => high << 4 | low,
            None if byte == b'+' => b' ',
            None => byte,
        })
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
