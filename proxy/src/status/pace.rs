//! How often a count of routes is written: a thousand new routes are no reason for a thousand
//! writes to their Gateway. Pure.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::conditions::Current;
use crate::types::{
    gateway::{GatewayStatus, ListenerStatus},
    listenerset::ListenerSetStatus,
};

const FIRST: Duration = Duration::from_millis(100);
/// A count is never older than this.
const LAST: Duration = Duration::from_millis(800);
/// After this long without a write the next change is told at once.
const QUIET: Duration = Duration::from_secs(2);

/// The pauses double while counts keep changing.
#[derive(Debug, Default)]
pub struct Pace {
    last: Option<Instant>,
    wait: Duration,
    held: bool,
}

impl Pace {
    /// How long a write has to wait still; `None` when it may go, which is then taken as done.
    pub fn pause(&mut self, now: Instant) -> Option<Duration> {
        let next = self.last.map(|last| last + self.wait);
        if let Some(pause) = next.and_then(|next| next.checked_duration_since(now)).filter(|pause| !pause.is_zero()) {
            return Some(pause);
        }
        let quiet = self.last.is_none_or(|last| now.duration_since(last) > QUIET);
        self.wait = if quiet { FIRST } else { (self.wait * 2).min(LAST) };
        self.last = Some(now);
        None
    }

    /// Whether whoever waits is the first to do so.
    pub fn hold(&mut self) -> bool {
        !std::mem::replace(&mut self.held, true)
    }

    pub fn resumed(&mut self) {
        self.held = false;
    }
}

/// Whether a patch of the status changes nothing but how many routes are attached.
pub fn counts_only(current: &Current, patch: &Value) -> bool {
    fn uncounted(mut listeners: Vec<ListenerStatus>) -> Vec<ListenerStatus> {
        listeners.iter_mut().for_each(|listener| listener.attached_routes = 0);
        listeners
    }
    let new = &patch["status"];
    match current {
        Current::Gateway(gateway) => {
            let without = |status: GatewayStatus| GatewayStatus { listeners: uncounted(status.listeners), ..status };
            let new = serde_json::from_value(new.clone()).ok().map(without);
            new.is_some() && new == gateway.status.clone().map(without)
        }
        Current::ListenerSet(set) => {
            let without = |status: ListenerSetStatus| {
                let ListenerSetStatus { conditions, listeners } = status;
                ListenerSetStatus { conditions, listeners: uncounted(listeners) }
            };
            let new = serde_json::from_value(new.clone()).ok().map(without);
            new.is_some() && new == set.status.clone().map(without)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn ten_seconds_of_changes_are_few_writes_and_the_last_is_soon() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut written = Vec::new();
        for change in 0..1000 {
            let now = start + Duration::from_millis(10 * change);
            if pace.pause(now).is_none() {
                written.push(now);
            }
        }
        assert!(written.len() < 18, "{} writes", written.len());
        let (last, end) = (*written.last().unwrap(), start + Duration::from_secs(10));
        assert!(pace.pause(end).is_none_or(|pause| pause <= LAST) && end - last <= LAST * 2);
        assert_eq!(pace.pause(end + QUIET * 2), None);
        assert_eq!(pace.pause(end + QUIET * 2), Some(FIRST));
        assert!(pace.hold() && !pace.hold());
        pace.resumed();
        assert!(pace.hold());
    }

    #[test]
    fn a_condition_is_no_count() {
        let status = |count: i32, reason: &str| {
            json!({
                "addresses": [{ "type": "IPAddress", "value": "127.0.0.1" }],
                "conditions": [],
                "attachedListenerSets": null,
                "listeners": [{
                    "name": "http", "attachedRoutes": count, "supportedKinds": [],
                    "conditions": [{
                        "type": "Accepted", "status": "True", "reason": reason, "message": "",
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }],
                }],
            })
        };
        let gateway = json!({
            "metadata": { "name": "edge" },
            "spec": { "gatewayClassName": "gwproxy", "listeners": [] },
            "status": status(1, "Accepted"),
        });
        let current = Current::Gateway(Arc::new(serde_json::from_value(gateway).unwrap()));
        assert!(counts_only(&current, &json!({ "status": status(2, "Accepted") })));
        assert!(!counts_only(&current, &json!({ "status": status(2, "Other") })));
    }
}
