//! Which routes, which pair, from where: everything before the first write.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Context, checks,
    target::{Target, lease_name},
};
use crate::{
    canary::{
        Settings,
        machine::{Reason, Start},
        owners, patch,
        plan::{RouteRef, Stage, Step, When, short},
        record::{self, Phase, Record},
    },
    cluster::{
        connect::Connection,
        discover, lease,
        read::{self, Failure},
    },
    exit::Exit,
    intent::weights::{self, Pair, Refusal},
    model::key::{Kind, ObjectKey},
    traffic::{scrape, series::Traffic},
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
    pub(super) targets: Vec<Target>,
    pub(super) start: Start,
}

fn unreachable(connection: &Connection, failure: &Failure) -> Refused {
    Refused { exit: Exit::Unreachable, message: format!("the API at {}: {failure}", connection.cluster_url) }
}

pub(super) async fn preflight(context: &Arc<Context>) -> Result<Ready, Refused> {
    let settings = &context.settings;
    let mut routes = Vec::new();
    for route in &settings.routes {
        let found = named(&context.connection, settings, route).await?;
        if routes.contains(&found) {
            return Err(Refused::usage(format!("{} is named twice", route.name)));
        }
        routes.push(found);
    }
    if routes.is_empty() {
        routes.push(candidate(&context.connection, settings).await?);
    }
    let mut targets = Vec::new();
    for route in routes {
        targets.push(target(context, route).await?);
    }
    let inherited: Vec<&Target> = targets.iter().filter(|target| target.inherited).collect();
    if settings.rollback && inherited.is_empty() {
        return Err(Refused::usage(format!(
            "{}: no run has left a canary on this rule: nothing to roll back",
            targets[0].key
        )));
    }
    let start = match inherited.first() {
        Some(first) if settings.rollback => {
            Some(Start::Undo(Reason::Operator(format!("run {} undone by the operator", first.record.id))))
        }
        Some(_) => match begun(&context.connection, &inherited).await {
            Some(reason) => Some(Start::Undo(reason)),
            None => Some(take_up(settings, &targets)?),
        },
        None => None,
    };
    let undo = matches!(start, Some(Start::Undo(_)));
    if undo {
        targets.retain(|target| target.inherited);
    }
    // What is to be undone is not judged any more.
    if !settings.no_metrics && !undo {
        metrics(&context.connection, settings, &targets).await?;
    }
    let start = match start {
        Some(start @ Start::Undo(_)) => start,
        start => begin(context, &targets, start).await?,
    };
    Ok(Ready { targets, start })
}

/// Why the earlier run was going back when it died. Whatever it looks like now, its verdict
/// stands: it must not be given more traffic on the strength of another minute.
async fn begun(connection: &Connection, inherited: &[&Target]) -> Option<Reason> {
    for target in inherited {
        let name = lease_name(&target.key.name, &target.annotation);
        // Without Leases nothing more is known than what the record says.
        let Ok(Some(seen)) = lease::look(connection, &target.key.namespace, &name).await else { continue };
        let state: Value = seen.state.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        if state["run"] != json!(target.record.id) {
            continue;
        }
        if let Ok(reason) = serde_json::from_value(state["rollback"].clone()) {
            return Some(reason);
        }
    }
    None
}

/// Everything that could refuse a run once the routes are known; none of it writes.
async fn begin(context: &Arc<Context>, targets: &[Target], start: Option<Start>) -> Result<Start, Refused> {
    let settings = &context.settings;
    let live = targets.iter().any(|target| target.pair.canary.effective() > 0);
    if !settings.force {
        for target in targets.iter().filter(|target| !target.inherited) {
            let owners = owners::owners(&target.found);
            if let Some(owner) = owners.first() {
                return Err(Refused::usage(format!(
                    "{} is written by {} ({}), which would put the weights back in the middle of the run: {}; or add --force. Nothing was written",
                    target.key, owner.name, owner.seen, owner.recipe
                )));
            }
        }
    }
    for target in targets {
        let canary = &target.pair.canary;
        let namespace = canary.namespace.as_ref().unwrap_or(&target.key.namespace);
        let service = ObjectKey::new(Kind::Service, namespace, &canary.name);
        if checks::ready(context, &service).await == Some(0) && canary.effective() == 0 {
            return Err(Refused::usage(format!(
                "{}: Service {service} has no ready endpoint: its share would get 503; nothing was written",
                target.key
            )));
        }
    }
    if settings.dry_run.is_none() {
        let body = json!({"schema": crate::canary::SCHEMA, "run": context.run, "phase": "Preflight",
            "route": targets.iter().map(|target| target.key.to_string()).collect::<Vec<_>>().join(",")});
        checks::webhooks(context, When::Pre, &body)
            .await
            .map_err(|why| Refused::usage(format!("{why}; nothing was written")))?;
    }
    match checks::before(context).await {
        Ok(()) => Ok(start
            .unwrap_or_else(|| Start::Fresh { step: first(&settings.plan(), targets[0].pair.percent(), live), live })),
        Err(why) if live && settings.dry_run.is_none() => Ok(Start::Undo(Reason::Failed(why))),
        Err(why) => Err(Refused::usage(format!("{why}; nothing was written"))),
    }
}

/// One route, with what an earlier run may have left on it.
async fn target(context: &Arc<Context>, route: Value) -> Result<Target, Refused> {
    let settings = &context.settings;
    let key = crate::intent::plan::target(&route)?;
    let rule = match &settings.rule {
        Some(rule) => Some(weights::find_rule(&route, rule).map_err(|refusal| at(&key, &refusal))?),
        None => None,
    };
    let pair = weights::pair(&route, rule, settings.stable.as_deref(), settings.canary.as_deref())
        .map_err(|refusal| at(&key, &refusal))?;
    let annotation = record::annotation(&route, &pair);
    let (record, inherited) = match record::text(&route, &annotation) {
        Some(text) => (inherit(&key, &pair, text)?, true),
        None => {
            if !settings.rollback {
                fresh(&key, &route, &pair, settings)?;
            }
            let ids = [context.run.as_str(), &context.holder, &settings.fingerprint()];
            (patch::begin(&route, &pair, &settings.steps(), settings.header.as_ref(), ids)?, false)
        }
    };
    Ok(Target {
        context: context.clone(),
        key,
        annotation,
        found: route.clone(),
        route,
        pair,
        record,
        inherited,
        claimed: false,
        attempted: None,
        lease: None,
        old_order: None,
        counted: Default::default(),
        evidence: None,
        notes: Vec::new(),
    })
}

fn at(key: &ObjectKey, refusal: &Refusal) -> Refused {
    Refused::usage(format!("{key}: {refusal}"))
}

async fn named(connection: &Connection, settings: &Settings, route: &RouteRef) -> Result<Value, Refused> {
    let namespace = route.namespace.as_ref().unwrap_or(&settings.namespace);
    let kind = route.kind;
    if kind != Kind::HttpRoute
        && !discover::learn(connection, kind).await.map_err(|failure| unreachable(connection, &failure))?
    {
        return Err(Refused::usage(format!("the cluster serves no version of {} that can be written", kind.name())));
    }
    match read::get(connection, &ObjectKey::new(kind, namespace, &route.name)).await {
        Ok(mut object) => {
            object["kind"] = json!(kind.name());
            Ok(object)
        }
        Err(Failure::NotFound(_)) => {
            let there = read::list(connection, kind, Some(namespace), None).await;
            let names: Vec<String> = there.unwrap_or_default().iter().filter_map(name_of).collect();
            let there =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            Err(Refused::usage(format!("no {} {} in namespace {namespace}: {there}", kind.name(), route.name)))
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

fn take_up(settings: &Settings, targets: &[Target]) -> Result<Start, Refused> {
    let plan = settings.plan();
    let mut at_it = true;
    let mut step = plan.len() - 1;
    for target in targets {
        let Target { key, record, inherited, .. } = target;
        if *inherited && record.settings != settings.fingerprint() && !settings.take_over {
            return Err(Refused::usage(format!(
                "{key}: run {} with other settings left the canary at {} %; nothing was written. Repeat it with its own settings, add --take-over to go on with these, or --rollback to undo it",
                record.id,
                short(record.percent)
            )));
        }
        let stood = match record.stage.as_deref() {
            Some("mirror") => plan.iter().position(|step| step.stage == Stage::Mirror),
            Some("header") => plan.iter().position(|step| step.stage == Stage::Header),
            _ => None,
        };
        // A fresh claim that never wrote begins from the front.
        let begun = record.phase == Phase::Stepping;
        let here = stood.unwrap_or_else(|| first(&plan, record.percent, begun || record.percent > 0.0));
        at_it &= begun && plan.get(here).is_some_and(|step| target.stands_at(step.stage));
        step = step.min(here);
    }
    let live = targets.iter().any(|target| target.record.percent > 0.0);
    Ok(if at_it { Start::Resume { step } } else { Start::Fresh { step, live } })
}

/// The first step that does not go back. `live`: users have seen the canary already.
fn first(plan: &[Step], percent: f64, live: bool) -> usize {
    if !live {
        return 0;
    }
    let at_least = |step: &Step| step.stage.percent().is_some_and(|at| at >= percent - 0.005);
    plan.iter().position(at_least).unwrap_or(plan.len() - 1)
}

fn fresh(key: &ObjectKey, route: &Value, pair: &Pair, settings: &Settings) -> Result<(), Refused> {
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
    let rule = route.pointer(&format!("/spec/rules/{}", pair.rule));
    if settings.mirror && rule.is_some_and(|rule| patch::extra::mirror(rule, &pair.canary).is_some()) {
        return Err(Refused::usage(format!("{key}: the rule mirrors to {} already: leave out --mirror", pair.canary)));
    }
    if let Some(header) = &settings.header
        && patch::extra::header_rule(route, &pair.canary, header).is_some()
    {
        return Err(Refused::usage(format!(
            "{key}: a rule gives {} {} to {} already: leave out --header",
            header.name, header.value, pair.canary
        )));
    }
    Ok(())
}

async fn metrics(connection: &Connection, settings: &Settings, targets: &[Target]) -> Result<(), Refused> {
    let sources = scrape::discover(connection, &settings.metrics_urls)
        .await
        .map_err(|failure| unreachable(connection, &failure))?;
    if sources.is_empty() {
        let otherwise = if !settings.checks.is_empty() {
            "or --no-metrics to judge by --check alone"
        } else {
            "or --no-metrics with --check URL"
        };
        return Err(Refused::usage(format!(
            "no metrics found: neither a Gateway that names its metrics nor pods of one; nothing was written. Give --metrics-url URL, {otherwise}"
        )));
    }
    // What could never tell the two apart is better said before users see the canary.
    let http = checks::client(settings).map_err(Refused::usage)?;
    let mut traffic = Traffic::default();
    for source in &sources {
        traffic.apply(scrape::fetch(&http, source).await);
    }
    for target in targets {
        if let Some(how) = traffic.blended(&target.key, target.pair.rule)
            && target.counts(&traffic, &target.pair.stable).is_none()
        {
            return Err(Refused::usage(format!(
                "{}: the metrics do not tell {} from {}: {how}; or judge by --no-metrics with --check. Nothing was written",
                target.key, target.pair.canary, target.pair.stable
            )));
        }
    }
    Ok(())
}
