//! How Go writes what a kube-apiserver's messages quote: clients read these texts.

use serde_json::Value;
use serde_json::error::Category;

/// `%q`: in double quotes, escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What a decoder says of a kind that it does not have.
pub(super) fn unregistered(kind: &str, api_version: &str) -> String {
    format!(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
    )
}

/// `%U`: the code point.
pub(super) fn code_point(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

/// `%v`: maps as `map[key:value]`, lists as `[a b]`, text without quotes.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}:{}", shown(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// The word for a JSON value's type.
pub(super) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Why a body is not JSON.
pub(super) fn json_error(body: &[u8], error: &serde_json::Error) -> String {
    if error.classify() == Category::Eof {
        return "unexpected end of JSON input".to_owned();
    }
    let line = body.split(|&byte| byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    let found = rest.utf8_chunks().flat_map(|chunk| chunk.valid().chars()).next();
    let text = error.to_string();
    let place = [
        ("expected value", "looking for beginning of value"),
        ("expected ident", "in literal"),
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("key must be a string", "looking for beginning of object key string"),
        ("trailing comma", "looking for beginning of value"),
        ("trailing characters", "after top-level value"),
        ("invalid escape", "in string escape code"),
        ("control character", "in string literal"),
    ];
    match (found, place.iter().find(|(words, _)| text.starts_with(words))) {
        (Some(c), Some((_, place))) => format!("invalid character {} {place}", character(c)),
        _ => text,
    }
}

/// A character in single quotes.
fn character(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let text = quoted(&c.to_string());
            format!("'{}'", &text[1..text.len() - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(body: &str) -> String {
        json_error(body.as_bytes(), &serde_json::from_str::<Value>(body).unwrap_err())
    }

    #[test]
    fn values_are_written_as_go_writes_them() {
        assert_eq!(quoted("a\u{7}\"\n\u{1}é"), r#""a\a\"\n\x01é""#);
        assert_eq!(shown(&json!({"b": [1, "x", null], "a": {"t": true}})), "map[a:map[t:true] b:[1 x <nil>]]");
        assert_eq!(code_point('\u{7}'), "U+0007");
    }

    #[test]
    fn broken_json_is_told_as_go_tells_it() {
        assert_eq!(why("x"), "invalid character 'x' looking for beginning of value");
        assert_eq!(why(""), "unexpected end of JSON input");
        assert_eq!(why("{\"a\""), "unexpected end of JSON input");
        assert_eq!(why("{\"a\" 1}"), "invalid character '1' after object key");
        assert_eq!(why("{\"a\":1 2}"), "invalid character '2' after object key:value pair");
        assert_eq!(why("[1 2]"), "invalid character '2' after array element");
        assert_eq!(why("{a:1}"), "invalid character 'a' looking for beginning of object key string");
        assert_eq!(why("{}\n{}"), "invalid character '{' after top-level value");
    }
}
