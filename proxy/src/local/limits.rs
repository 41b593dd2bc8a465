//! How large and how deep an object may be.

use std::time::Duration;

use serde_json::Value;

/// Bytes of a body, and of an object as it is stored.
pub(super) const SIZE: usize = 3 << 20;
/// Levels of nesting. Less than what the JSON reader takes, so that what was stored can be read.
pub(super) const DEPTH: usize = 100;

/// Bytes of a request's head.
pub(super) const HEADERS: usize = 1 << 20;

/// How long the server waits for whom, and for how many.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a client's part of the TLS handshake.
    pub handshake: Duration,
    /// For the head of a request, and for a sign of life between requests.
    pub headers: Duration,
    /// For a body to arrive.
    pub body: Duration,
    /// For a client to read on.
    pub stall: Duration,
    /// Connections at once; above it, the one that idles longest makes way.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { handshake: minute / 6, headers: minute / 2, body: minute, stall: minute, connections: 2048 }
    }
}

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
