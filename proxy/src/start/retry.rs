//! When to try sockets again that could not be opened.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use crate::{
    status::conditions::{BindFailure, BindFailures},
    table::Socket,
};

const FIRST: Duration = Duration::from_millis(250);
const LAST: Duration = Duration::from_secs(30);

/// A port that is taken may be free in a moment, or never: the waits double for as long as the
/// same sockets fail.
#[derive(Debug, Default)]
pub struct Retry {
    failing: BTreeSet<Socket>,
    wait: Duration,
    due: Option<Instant>,
}

impl Retry {
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// After every attempt to open what the table wants.
    pub fn tried(&mut self, failures: &BindFailures, now: Instant) {
        // Certificates get better by a new Secret only, which is a change of its own.
        let failed = failures.iter().filter(|(_, failure)| !matches!(failure, BindFailure::Certificate(_)));
        let failing: BTreeSet<_> = failed.map(|(socket, _)| *socket).collect();
        if failing.is_empty() {
            *self = Self::default();
        } else if failing != self.failing {
            *self = Self { failing, wait: FIRST, due: Some(now + FIRST) };
        } else if self.due.is_none_or(|due| due <= now) {
            self.wait = (self.wait * 2).min(LAST);
            self.due = Some(now + self.wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_while_the_same_sockets_fail() {
        let socket = |port: u16| Socket::from(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        let failures = |ports: &[u16]| -> BindFailures {
            ports.iter().map(|port| (socket(*port), BindFailure::Unavailable("taken".to_owned()))).collect()
        };
        let start = Instant::now();
        let mut retry = Retry::default();
        retry.tried(&failures(&[80]), start);
        assert_eq!(retry.due(), Some(start + FIRST));
        // A change of configuration in between tries too, and does not put the next try off.
        retry.tried(&failures(&[80]), start + FIRST / 2);
        assert_eq!(retry.due(), Some(start + FIRST));
        let second = start + FIRST;
        retry.tried(&failures(&[80]), second);
        assert_eq!(retry.due(), Some(second + FIRST * 2));
        let mut now = second;
        for _ in 0..20 {
            now = retry.due().unwrap();
            retry.tried(&failures(&[80]), now);
        }
        assert_eq!(retry.due(), Some(now + LAST));
        retry.tried(&failures(&[80, 81]), now);
        assert_eq!(retry.due(), Some(now + FIRST), "another socket has a first try of its own");
        retry.tried(&failures(&[]), now);
        assert_eq!(retry.due(), None);
        let certificate = BindFailures::from([(socket(443), BindFailure::Certificate("bad".to_owned()))]);
        retry.tried(&certificate, now);
        assert_eq!(retry.due(), None);
    }
}
