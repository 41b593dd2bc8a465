//! How large and how deep an object may be.

use serde_json::Value;

/// Bytes of a body, and of an object as it is stored.
pub(super) const SIZE: usize = 3 << 20;
/// Levels of nesting. Less than what the JSON reader takes, so that what was stored can be read.
pub(super) const DEPTH: usize = 100;

/// Levels of nesting; a plain value has one.
pub(super) fn depth(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Counts what is written and keeps none of it.
#[derive(Default)]
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes of the value as JSON.
pub(super) fn size(value: &Value) -> usize {
    let mut count = Count::default();
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}
