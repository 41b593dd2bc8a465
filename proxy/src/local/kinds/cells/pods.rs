//! Pods: what their containers say together.

use serde_json::Value;

use super::{Column, list, or, read, text};
use crate::local::table::age;

pub(in super::super) fn pod() -> Vec<Column> {
    vec![
        read("Ready", "string", |o| {
            let state = Told::of(o);
            format!("{}/{}", state.ready, state.containers).into()
        }),
        read("Status", "string", |o| Told::of(o).reason.into()),
        read("Restarts", "string", |o| {
            let state = Told::of(o);
            match state.last_restart {
                Some(time) if state.restarts > 0 => format!("{} ({} ago)", state.restarts, age(&time)).into(),
                _ => state.restarts.to_string().into(),
            }
        }),
        Column::age(),
        read("IP", "string", |o| or(&o["status"]["podIP"], "<none>")).wide(),
        read("Node", "string", |o| or(&o["spec"]["nodeName"], "<none>")).wide(),
        read("Nominated Node", "string", |o| or(&o["status"]["nominatedNodeName"], "<none>")).wide(),
        read("Readiness Gates", "string", |o| {
            let gates = list(&o["spec"]["readinessGates"]);
            let open = gates.iter().filter(|gate| condition(o, &text(&gate["conditionType"])) == Some("True"));
            if gates.is_empty() { "<none>".into() } else { format!("{}/{}", open.count(), gates.len()).into() }
        })
        .wide(),
    ]
}

/// A Pod as its row shows it.
#[derive(Default)]
struct Told {
    ready: usize,
    containers: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<String>,
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = list(&pod["status"]["conditions"]);
    conditions.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}

/// How a container ended, where it does not say why.
fn ending(terminated: &Value) -> String {
    match (text(&terminated["reason"]), terminated["signal"].as_i64().unwrap_or(0)) {
        (reason, _) if !reason.is_empty() => reason,
        (_, 0) => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        (_, signal) => format!("Signal:{signal}"),
    }
}

impl Told {
    fn of(pod: &Value) -> Self {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let reason = text(if status["reason"].is_null() { &status["phase"] } else { &status["reason"] });
        let mut told = Self { containers: list(&spec["containers"]).len(), reason, ..Self::default() };
        let gated = list(&status["conditions"])
            .iter()
            .any(|condition| condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated");
        if gated {
            told.reason = "SchedulingGated".into();
        }
        let initializing = told.initial(spec, status);
        if !initializing || condition(pod, "Initialized") == Some("True") {
            told.regular(pod);
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            let ended = ["Succeeded", "Failed"].contains(&status["phase"].as_str().unwrap_or_default());
            if status["reason"] == "NodeLost" {
                told.reason = "Unknown".into();
            } else if !ended {
                told.reason = "Terminating".into();
            }
        }
        told
    }

    fn count_restarts(&mut self, container: &Value) {
        self.restarts += container["restartCount"].as_i64().unwrap_or(0);
        let time = container["lastState"]["terminated"]["finishedAt"].as_str().map(str::to_owned);
        self.last_restart = self.last_restart.take().max(time);
    }

    /// Looks at what runs before the containers; returns whether that is still going on.
    fn initial(&mut self, spec: &Value, status: &Value) -> bool {
        let specs = list(&spec["initContainers"]);
        let stays = |name: &Value| specs.iter().any(|spec| spec["name"] == *name && spec["restartPolicy"] == "Always");
        self.containers += specs.iter().filter(|spec| spec["restartPolicy"] == "Always").count();
        let mut of_those_that_stay = 0;
        for (index, container) in list(&status["initContainerStatuses"]).iter().enumerate() {
            let before = self.restarts;
            self.count_restarts(container);
            let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
            let stays = stays(&container["name"]);
            if stays {
                of_those_that_stay += self.restarts - before;
            }
            if terminated["exitCode"] == 0 {
                continue;
            }
            if stays && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            let why = text(&waiting["reason"]);
            self.reason = if !terminated.is_null() {
                format!("Init:{}", ending(terminated))
            } else if !why.is_empty() && why != "PodInitializing" {
                format!("Init:{why}")
            } else {
                format!("Init:{index}/{}", specs.len())
            };
            return true;
        }
        // The others have ended: how often they were begun says nothing any more.
        self.restarts = of_those_that_stay;
        false
    }

    fn regular(&mut self, pod: &Value) {
        let mut runs = false;
        for container in list(&pod["status"]["containerStatuses"]).iter().rev() {
            self.count_restarts(container);
            let (state, waits) = (&container["state"], text(&container["state"]["waiting"]["reason"]));
            if !waits.is_empty() {
                self.reason = waits;
            } else if !state["terminated"].is_null() {
                self.reason = ending(&state["terminated"]);
            } else if container["ready"] == true && !state["running"].is_null() {
                runs = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && runs {
            let ready = condition(pod, "Ready") == Some("True");
            self.reason = if ready { "Running" } else { "NotReady" }.into();
        }
    }
}

/// What a Pod's row says besides its cells.
pub(in crate::local) fn conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match pod["status"]["phase"].as_str()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(serde_json::json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}
