//! Which route, which pair, from where: everything before the first write.

use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    canary::{
        Settings,
        machine::{PROBES, Reason, Start},
        patch,
        record::{self, Phase, Record},
    },
    cluster::{
        connect::Connection,
        read::{self, Failure},
    },
    exit::Exit,
    intent::{
        plan::short,
        weights::{self, Pair, Refusal},
    },
    model::key::{Kind, ObjectKey},
    traffic::scrape::{self, innermost},
};

/// Ends a run before anything was written.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) exit: Exit,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::usage(refusal.to_string())
    }
}

/// A run that may begin.
pub(super) struct Ready {
    pub(super) key: ObjectKey,
    pub(super) route: Value,
    pub(super) annotation: String,
    pub(super) pair: Pair,
    pub(super) record: Record,
    /// Somebody's record is on the route.
    pub(super) inherited: bool,
    pub(super) start: Start,
}

fn unreachable(connection: &Connection, failure: &Failure) -> Refused {
    Refused { exit: Exit::Unreachable, message: format!("the API at {}: {failure}", connection.cluster_url) }
}

pub(super) async fn preflight(
    connection: &Connection,
    settings: &Settings,
    run: &str,
    holder: &str,
) -> Result<Ready, Refused> {
    settings.validate().map_err(Refused::usage)?;
    let route = match &settings.route {
        Some(name) => named(connection, settings, name).await?,
        None => candidate(connection, settings).await?,
    };
    let key = crate::intent::plan::target(&route)?;
    let pair = weights::pair(&route, settings.rule, settings.stable.as_deref(), settings.canary.as_deref())?;
    let annotation = record::annotation(&route, &pair);
    let steps = settings.steps();
    let mut start = None;
    let (record, inherited) = match record::text(&route, &annotation) {
        Some(text) => {
            let record = inherit(&key, &pair, text)?;
            start = Some(take_up(&key, &record, settings, &steps)?);
            (record, true)
        }
        None if settings.rollback => {
            return Err(Refused::usage(format!("{key}: no run has left a canary on this rule: nothing to roll back")));
        }
        None => {
            fresh(&key, &pair, settings)?;
            (patch::begin(&route, &pair, &steps, run, holder, &settings.fingerprint())?, false)
        }
    };
    if !settings.no_metrics && !matches!(start, Some(Start::Undo(_))) {
        metrics(connection, settings).await?;
    }
    let start = match start {
        Some(start @ Start::Undo(_)) => start,
        start => match probes(settings).await {
            Ok(()) => start.unwrap_or_else(|| Start::Fresh {
                step: first(&steps, pair.percent()),
                live: pair.canary.effective() > 0,
            }),
            Err(why) if pair.canary.effective() > 0 && !settings.dry_run => Start::Undo(Reason::Failed(why)),
            Err(why) => return Err(Refused::usage(format!("{why}; nothing was written"))),
        },
    };
    Ok(Ready { key, route, annotation, pair, record, inherited, start })
}

async fn named(connection: &Connection, settings: &Settings, name: &str) -> Result<Value, Refused> {
    let key = ObjectKey::new(Kind::HttpRoute, &settings.namespace, name);
    match read::get(connection, &key).await {
        Ok(route) => Ok(route),
        Err(Failure::NotFound(_)) => {
            let there = read::list(connection, Kind::HttpRoute, Some(&settings.namespace), None).await;
            let names: Vec<String> = there.unwrap_or_default().iter().filter_map(name_of).collect();
            let there =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            Err(Refused::usage(format!("no HTTPRoute {name} in namespace {}: {there}", settings.namespace)))
        }
        Err(failure) => Err(unreachable(connection, &failure)),
    }
}

fn name_of(route: &Value) -> Option<String> {
    Some(route.pointer("/metadata/name")?.as_str()?.to_owned())
}

async fn candidate(connection: &Connection, settings: &Settings) -> Result<Value, Refused> {
    let routes = read::list(connection, Kind::HttpRoute, Some(&settings.namespace), None)
        .await
        .map_err(|failure| unreachable(connection, &failure))?;
    let mut found: Vec<Value> = routes
        .into_iter()
        .filter(|route| {
            (0..weights::rule_count(route))
                .any(|rule| weights::backends(route, rule).is_ok_and(|backends| backends.len() > 1))
        })
        .collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Refused::usage(format!(
            "no HTTPRoute in namespace {} has a rule with two backends: name another namespace with -n, or add the canary's backendRef",
            settings.namespace
        ))),
        _ => {
            let names: Vec<String> = found.iter().filter_map(name_of).collect();
            Err(Refused::usage(format!(
                "several HTTPRoutes in namespace {} could be meant: {}; name one, as in `gwtop canary {}/{}`",
                settings.namespace,
                names.join(", "),
                settings.namespace,
                names.first().map_or("NAME", String::as_str)
            )))
        }
    }
}

fn inherit(key: &ObjectKey, pair: &Pair, text: &str) -> Result<Record, Refused> {
    let record: Record = serde_json::from_str(text)
        .map_err(|error| Refused::usage(format!("{key} carries a canary's record that cannot be read ({error}): remove the annotation by hand once its weights are right")))?;
    if record.v != record::VERSION {
        return Err(Refused::usage(format!(
            "{key} carries a canary's record of version {}: use the gwtop that wrote it",
            record.v
        )));
    }
    for backend in [&pair.stable, &pair.canary] {
        let last = record.last(backend);
        if last != Some(backend.effective()) {
            return Err(Refused {
                exit: Exit::Conflict,
                message: format!(
                    "{key}: run {} left {backend} at weight {}, now it is {}: someone else changed it; nothing was written. Put the weights right and remove the record",
                    record.id,
                    last.map_or_else(|| "none".to_owned(), |last| last.to_string()),
                    backend.effective()
                ),
            });
        }
    }
    Ok(record)
}

fn take_up(key: &ObjectKey, record: &Record, settings: &Settings, steps: &[f64]) -> Result<Start, Refused> {
    if settings.rollback {
        return Ok(Start::Undo(Reason::Operator(format!("run {} undone by the operator", record.id))));
    }
    if record.settings != settings.fingerprint() && !settings.take_over {
        return Err(Refused::usage(format!(
            "{key}: run {} with other settings left the canary at {} %; nothing was written. Repeat it with its own settings, add --take-over to go on with these, or --rollback to undo it",
            record.id,
            short(record.percent)
        )));
    }
    let step = first(steps, record.percent);
    let at_it = steps.get(step).is_some_and(|percent| (percent - record.percent).abs() < 0.05);
    Ok(if record.phase == Phase::Stepping && at_it {
        Start::Resume { step }
    } else {
        Start::Fresh { step, live: record.percent > 0.0 }
    })
}

/// The first step that does not go back.
fn first(steps: &[f64], percent: f64) -> usize {
    steps.iter().position(|step| *step >= percent - 0.05).unwrap_or(steps.len() - 1)
}

fn fresh(key: &ObjectKey, pair: &Pair, settings: &Settings) -> Result<(), Refused> {
    let bare: Vec<_> =
        [&pair.stable, &pair.canary].into_iter().filter(|b| b.weight.is_none()).map(ToString::to_string).collect();
    if !bare.is_empty() && !settings.adopt {
        return Err(Refused::usage(format!(
            "{key}: {} has no weight, which means 1: the canary already gets {} %. Set the weights in the manifest, or add --adopt to go on from there",
            bare.join(" and "),
            short(pair.percent())
        )));
    }
    let last = settings.steps().last().copied().unwrap_or(settings.max);
    if pair.percent() > last + 0.05 {
        return Err(Refused::usage(format!(
            "{key}: {} already gets {} %, more than --max {}: raise --max",
            pair.canary,
            short(pair.percent()),
            short(last)
        )));
    }
    Ok(())
}

async fn metrics(connection: &Connection, settings: &Settings) -> Result<(), Refused> {
    let sources = scrape::discover(connection, &settings.metrics_urls)
        .await
        .map_err(|failure| unreachable(connection, &failure))?;
    if sources.is_empty() {
        let otherwise = if settings.check.is_some() {
            "or --no-metrics to judge by --check alone"
        } else {
            "or --no-metrics with --check URL"
        };
        return Err(Refused::usage(format!(
            "no metrics found: neither a Gateway that names its metrics nor pods of one; nothing was written. Give --metrics-url URL, {otherwise}"
        )));
    }
    Ok(())
}

pub(super) fn client(settings: &Settings) -> Result<reqwest::Client, String> {
    reqwest::Client::builder().timeout(settings.check_timeout).build().map_err(|error| error.to_string())
}

/// Several tries, as in the run itself: one lost packet is no verdict.
pub(super) async fn probes(settings: &Settings) -> Result<(), String> {
    let Some(url) = &settings.check else { return Ok(()) };
    let http = client(settings)?;
    let mut last = String::new();
    for attempt in 0..PROBES {
        if attempt > 0 {
            tokio::time::sleep(settings.probe_every.min(Duration::from_secs(1))).await;
        }
        match probe(&http, url).await {
            Ok(()) => return Ok(()),
            Err(why) => last = why,
        }
    }
    Err(format!("{PROBES} checks in a row failed: {last}"))
}

/// One probe; only a 2xx answer is well.
pub(super) async fn probe(http: &reqwest::Client, url: &str) -> Result<(), String> {
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

/// Probes until cancelled.
pub(super) fn probing(
    settings: &Settings,
    cancel: CancellationToken,
) -> tokio::sync::mpsc::Receiver<Result<(), String>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let (Some(url), Ok(http)) = (settings.check.clone(), client(settings)) else { return receiver };
    let every = settings.probe_every.max(Duration::from_millis(50));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = cancel.cancelled() => return,
            }
            if sender.send(probe(&http, &url).await).await.is_err() {
                return;
            }
        }
    });
    receiver
}
