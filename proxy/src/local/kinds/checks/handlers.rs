//! Probes and lifecycle hooks.

use super::At;

const KINDS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

pub(super) fn lifecycle(container: &At<'_>) {
    for hook in ["postStart", "preStop"] {
        let hook = container.at("lifecycle").at(hook);
        if hook.is_set() {
            handler(&hook);
        }
    }
}

pub(super) fn probes(container: &At<'_>) {
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.at(field);
        if !probe.is_set() {
            continue;
        }
        handler(&probe);
        for number in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            probe.at(number).not_negative();
        }
        let (grace, successes) = (probe.at("terminationGracePeriodSeconds"), probe.at("successThreshold"));
        if grace.is_set() && grace.number() <= 0 {
            grace.invalid("must be greater than 0");
        }
        if field == "readinessProbe" {
            if grace.is_set() {
                grace.invalid("must not be set for readinessProbes");
            }
        } else if successes.number() != 1 {
            successes.invalid("must be 1");
        }
    }
}

fn handler(place: &At<'_>) {
    let given: Vec<(&str, At<'_>)> =
        KINDS.iter().map(|kind| (*kind, place.at(kind))).filter(|(_, at)| at.is_set()).collect();
    for (index, (kind, action)) in given.iter().enumerate() {
        match *kind {
            _ if index > 0 => action.forbidden("may not specify more than 1 handler type"),
            "exec" => {
                action.at("command").required("");
            }
            "httpGet" => {
                action.at("path").required("");
                port(&action.at("port"));
                action.at("scheme").word_if_set(&["HTTP", "HTTPS"]);
            }
            "tcpSocket" | "grpc" => port(&action.at("port")),
            _ => {}
        }
    }
    if given.is_empty() {
        place.missing("must specify a handler type");
    }
}

fn port(port: &At<'_>) {
    port.port();
}
