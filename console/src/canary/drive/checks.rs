//! Asks what is to be well: probes, PromQL, endpoints, webhooks. Each with a time limit.

use std::{process::Stdio, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::{
    canary::{
        Settings,
        machine::PROBES,
        plan::{Check, Query, When},
    },
    cluster::read::{self, Failure},
    model::key::{Kind, ObjectKey},
    traffic::scrape::innermost,
};

/// What was learnt in one go.
#[derive(Debug, Clone, Default)]
pub(super) struct Round {
    /// Something is not well.
    pub(super) failed: Option<String>,
    /// Something could not be asked: not well, and not bad either.
    pub(super) missing: Option<String>,
    /// The canary can take no traffic.
    pub(super) broken: Option<String>,
}

pub(super) fn client(settings: &Settings) -> Result<reqwest::Client, String> {
    reqwest::Client::builder().timeout(settings.check_timeout).build().map_err(|error| error.to_string())
}

/// Several tries, as in the run itself: one lost packet is no verdict.
pub(super) async fn before(context: &Context) -> Result<(), String> {
    let mut last = String::new();
    for attempt in 0..PROBES {
        if attempt > 0 {
            tokio::time::sleep(context.settings.probe_every.min(Duration::from_secs(1))).await;
        }
        match probes(context).await {
            Ok(()) => return Ok(()),
            Err(why) => last = why,
        }
    }
    Err(format!("{PROBES} checks in a row failed: {last}"))
}

async fn probes(context: &Context) -> Result<(), String> {
    if context.settings.checks.is_empty() {
        return Ok(());
    }
    let http = client(&context.settings)?;
    let all = join_all(context.settings.checks.iter().map(|check| probe(context, &http, check))).await;
    all.into_iter().collect()
}

/// One check; only a 2xx answer, or an exit with 0, is well.
async fn probe(context: &Context, http: &reqwest::Client, check: &Check) -> Result<(), String> {
    let limit = context.settings.check_timeout;
    match check {
        Check::Url(url) => {
            let answer = http.get(url).send().await.map_err(|error| {
                if error.is_timeout() {
                    format!("{url} does not answer in time")
                } else {
                    format!("{url}: {}", innermost(&error))
                }
            })?;
            let status = answer.status();
            if status.is_success() { Ok(()) } else { Err(format!("{url} answers HTTP {status}")) }
        }
        Check::Service { namespace, name, port, path } => {
            let namespace = namespace.as_deref().unwrap_or(&context.settings.namespace);
            let target = port.as_ref().map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
            let url = format!("/api/v1/namespaces/{namespace}/services/{target}/proxy{path}");
            let request = http::Request::get(&url).body(Vec::new()).map_err(|error| format!("{check}: {error}"))?;
            match tokio::time::timeout(limit, context.connection.client.request_text(request)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("{check}: {}", innermost(&error))),
                Err(_) => Err(format!("{check} does not answer in time")),
            }
        }
        Check::Exec(command) => {
            let child = tokio::process::Command::new("sh")
                .args(["-c", command])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .map_err(|error| format!("{check}: {error}"))?;
            match tokio::time::timeout(limit, child.wait_with_output()).await {
                Ok(Ok(output)) if output.status.success() => Ok(()),
                Ok(Ok(output)) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    Err(format!("{check}: {}: {}", output.status, said.lines().last().unwrap_or_default()))
                }
                Ok(Err(error)) => Err(format!("{check}: {error}")),
                Err(_) => Err(format!("{check} does not end within {limit:?}")),
            }
        }
    }
}

/// The value of a query: `Ok(None)` if the server knows nothing by it.
async fn query(http: &reqwest::Client, server: &str, query: &Query) -> Result<Option<f64>, String> {
    let url = format!("{}/api/v1/query", server.trim_end_matches('/'));
    let url = reqwest::Url::parse_with_params(&url, [("query", &query.text)])
        .map_err(|error| format!("{server}: {error}"))?;
    let answer = http.get(url).send().await.map_err(|error| format!("{server}: {}", innermost(&error)))?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(|_| format!("{server} answers HTTP {status} without JSON"))?;
    value(&body).map_err(|why| format!("{server}: {why}"))
}

/// The single number of Prometheus' answer.
fn value(body: &Value) -> Result<Option<f64>, String> {
    if body["status"] != "success" {
        let why = body["error"].as_str().unwrap_or("the answer says neither success nor why not");
        return Err(why.to_owned());
    }
    let data = &body["data"];
    let sample = match data["resultType"].as_str() {
        Some("scalar") => &data["result"],
        Some("vector") => match data["result"].as_array().map(Vec::as_slice) {
            Some([]) => return Ok(None),
            Some([one]) => &one["value"],
            Some(several) => {
                return Err(format!("{} series instead of one number: aggregate them, as by sum()", several.len()));
            }
            None => return Err("a vector without a list".to_owned()),
        },
        other => return Err(format!("{} instead of a number", other.unwrap_or("nothing"))),
    };
    let number = sample.get(1).and_then(Value::as_str).and_then(|text| text.parse::<f64>().ok());
    // 0/0 is no value.
    Ok(number.filter(|number| !number.is_nan()))
}

/// How many endpoints of a Service are ready; none where nobody can tell.
pub(super) async fn ready(context: &Context, service: &ObjectKey) -> Option<usize> {
    let label = format!("kubernetes.io/service-name={}", service.name);
    let slices =
        read::list(&context.connection, Kind::EndpointSlice, Some(&service.namespace), Some(&label)).await.ok()?;
    // Without a controller that makes slices there is nothing to count.
    if slices.is_empty() {
        return None;
    }
    let ready = |endpoint: &Value| endpoint.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
    let count = slices
        .iter()
        .filter_map(|slice| slice.get("endpoints")?.as_array())
        .flatten()
        .filter(|endpoint| ready(endpoint))
        .count();
    Some(count)
}

/// Asks everything now and then, until cancelled.
pub(super) fn spawn(
    context: &Arc<Context>,
    services: Vec<ObjectKey>,
    cancel: CancellationToken,
) -> mpsc::Receiver<Round> {
    let (sender, receiver) = mpsc::channel(8);
    let context = context.clone();
    let every = context.settings.probe_every.max(Duration::from_millis(50));
    tokio::spawn(async move {
        // Only a Service that was there can be missed.
        let mut known = vec![false; services.len()];
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = cancel.cancelled() => return,
            }
            let mut round = Round { failed: probes(&context).await.err(), ..Round::default() };
            if let (Some(server), Ok(http)) = (&context.settings.prometheus_url, client(&context.settings)) {
                let queries = &context.settings.queries;
                let values = join_all(queries.iter().map(|one| query(&http, server, one))).await;
                for (one, value) in queries.iter().zip(values) {
                    match value {
                        Ok(Some(value)) => round.failed = round.failed.or(one.judge(value).err()),
                        Ok(None) => round.missing = Some(format!("query {}: no data", one.name)),
                        Err(why) => round.missing = Some(format!("query {}: {why}", one.name)),
                    }
                }
            }
            for (service, known) in services.iter().zip(&mut known) {
                match read::get(&context.connection, service).await {
                    Ok(_) => *known = true,
                    Err(Failure::NotFound(_)) if *known => {
                        round.broken = Some(format!("Service {service} was deleted"));
                    }
                    Err(_) => {}
                }
                if ready(&context, service).await == Some(0) {
                    round.broken = Some(format!("Service {service} has no ready endpoint"));
                }
            }
            if sender.send(round).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Calls the webhooks of a moment; the first that does not answer 2xx is the error.
pub(super) async fn webhooks(context: &Context, when: When, body: &Value) -> Result<(), String> {
    let http = client(&context.settings)?;
    for hook in context.settings.webhooks.iter().filter(|hook| hook.when == when) {
        let name = format!("webhook {}", json!(when).as_str().unwrap_or_default());
        let mut body = body.clone();
        body["webhook"] = json!(when);
        let text = body.to_string();
        let mut request = http.post(&hook.url).header("content-type", "application/json");
        if let Some(secret) = &context.settings.webhook_secret {
            request = request.header("x-gwtop-signature-256", format!("sha256={}", sign(secret, &text)));
        }
        // The URL may hold a secret: it is not repeated.
        let answer = request.body(text).send().await.map_err(|error| format!("{name}: {}", innermost(&error)))?;
        if !answer.status().is_success() {
            return Err(format!("{name} answers HTTP {}", answer.status()));
        }
    }
    Ok(())
}

/// HMAC-SHA256 in hexadecimal.
fn sign(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn bodies_are_signed() {
        assert_eq!(
            sign("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn prometheus_answers() {
        let of = |result: Value, kind: &str| {
            value(&json!({"status": "success", "data": {"resultType": kind, "result": result}}))
        };
        assert_eq!(of(json!([{"metric": {}, "value": [1.5, "0.25"]}]), "vector"), Ok(Some(0.25)));
        assert_eq!(of(json!([1.5, "3"]), "scalar"), Ok(Some(3.0)));
        assert_eq!(of(json!([]), "vector"), Ok(None));
        assert_eq!(of(json!([1.5, "NaN"]), "scalar"), Ok(None));
        assert_eq!(of(json!([1.5, "+Inf"]), "scalar"), Ok(Some(f64::INFINITY)));
        assert!(of(json!([{"value": [1, "1"]}, {"value": [1, "2"]}]), "vector").is_err());
        assert!(of(json!([]), "matrix").is_err());
        assert_eq!(value(&json!({"status": "error", "error": "parse error"})), Err("parse error".to_owned()));
    }
}
