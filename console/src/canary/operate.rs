//! What operators do to runs that are under way elsewhere, or that died: look, tell, take up,
//! clear away. A living run is told through its Lease; a dead one is undone from here.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    OnInterrupt, Order, Settings,
    command::{self, Output},
    drive::{heartbeat::Note, target::lease_name},
    plan::{RouteRef, short},
    record::{self, Record},
};
use crate::{
    cluster::{
        connect::Connection,
        discover, lease,
        read::{self, Failure},
    },
    exit::Exit,
    model::key::{Kind, ObjectKey},
};

const LOOK: Duration = Duration::from_millis(500);
/// How long a silent run is waited for to be taken up before `status -w` gives up on it.
const ORPHANED: Duration = Duration::from_secs(60);

/// A run as its route and its Lease show it.
#[derive(Debug, Clone)]
pub struct Standing {
    pub key: ObjectKey,
    /// None once the run has ended.
    pub record: Option<Record>,
    pub rule: Option<usize>,
    pub lease: Option<lease::Seen>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    schema: &'static str,
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    rule: Option<usize>,
    alive: bool,
    holder: &'a str,
    orphaned: bool,
    record: Option<&'a Record>,
    state: Option<Value>,
}

impl Standing {
    fn alive(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.alive)
    }

    fn orphaned(&self) -> bool {
        self.record.is_some() && !self.alive()
    }

    /// What the run said last.
    fn state(&self) -> Option<Value> {
        serde_json::from_str(self.lease.as_ref()?.state.as_ref()?).ok()
    }

    fn finished(&self) -> Option<Exit> {
        let code = self.state()?.get("finished")?.as_u64()?;
        Exit::ALL.into_iter().find(|exit| u64::from(*exit as u8) == code)
    }

    fn shown(&self) -> Shown<'_> {
        Shown {
            schema: "gwtop.dev/canary-status/v1",
            kind: self.key.kind.name(),
            namespace: &self.key.namespace,
            name: &self.key.name,
            rule: self.rule,
            alive: self.alive(),
            holder: self.lease.as_ref().map_or("", |lease| &lease.holder),
            orphaned: self.orphaned(),
            record: self.record.as_ref(),
            state: self.state(),
        }
    }

    fn line(&self) -> String {
        let state = self.state().unwrap_or_default();
        let text = |field: &str| state[field].as_str().unwrap_or_default().to_owned();
        let percent =
            self.record.as_ref().map_or_else(|| "-".to_owned(), |record| format!("{} %", short(record.percent)));
        let word = match (self.alive(), &self.record) {
            (true, _) => text("phase"),
            (false, Some(_)) => "ORPHANED".to_owned(),
            (false, None) => format!("ended: {}", text("phase")),
        };
        let hint = if self.orphaned() {
            format!(
                "its run died; `gwtop canary resume {0}` takes it up, `gwtop canary rollback {0}` undoes it",
                self.key
            )
        } else {
            text("message")
        };
        format!("{:<12} {:<32} {word:<14} {percent:>7}  {hint}", self.key.kind.name(), self.key.to_string())
    }
}

/// Runs of a namespace or of all, the named one alone if there is one.
pub async fn standing(
    connection: &Connection,
    namespace: Option<&str>,
    route: Option<&RouteRef>,
) -> Result<Vec<Standing>, Failure> {
    let kinds: Vec<Kind> = route.map_or_else(|| Kind::ROUTES.to_vec(), |route| vec![route.kind]);
    let mut found = Vec::new();
    for kind in kinds {
        let served = kind == Kind::HttpRoute || discover::learn(connection, kind).await?;
        if !served {
            continue;
        }
        for object in read::list(connection, kind, namespace, None).await? {
            let metadata = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            let key = ObjectKey::new(kind, metadata("namespace"), metadata("name"));
            if route.is_some_and(|route| route.name != key.name) {
                continue;
            }
            for (annotation, text) in record::all(&object) {
                let Ok(known) = serde_json::from_str::<Record>(text) else { continue };
                let rule = record::resolve(&object, annotation, &known.stable, &known.canary).ok();
                let lease = match lease::look(connection, &key.namespace, &lease_name(&key.name, annotation)).await {
                    Ok(lease) => lease,
                    Err(Failure::Denied(_)) => None,
                    Err(failure) => return Err(failure),
                };
                found.push(Standing { key: key.clone(), record: Some(known), rule: rule.map(|pair| pair.rule), lease });
            }
        }
    }
    Ok(found)
}

/// As `standing`, and runs that have ended but whose Lease still tells how.
async fn known(
    connection: &Connection,
    namespace: Option<&str>,
    route: Option<&RouteRef>,
) -> Result<Vec<Standing>, Failure> {
    let mut found = standing(connection, namespace, route).await?;
    let leases = match lease::list(connection, namespace).await {
        Ok(leases) => leases,
        Err(Failure::Denied(_) | Failure::NotFound(_)) => return Ok(found),
        Err(failure) => return Err(failure),
    };
    for lease in leases {
        let Some((name, _)) = lease.name.strip_prefix("gwtop-canary-").and_then(|rest| rest.rsplit_once('-')) else {
            continue;
        };
        let listed = found.iter().any(|standing| standing.lease.as_ref().is_some_and(|known| known.name == lease.name));
        if listed || lease.state.is_none() || route.is_some_and(|route| route.name != name) {
            continue;
        }
        let kind = route.map_or(Kind::HttpRoute, |route| route.kind);
        let key = ObjectKey::new(kind, &lease.namespace, name);
        found.push(Standing { key, record: None, rule: None, lease: Some(lease) });
    }
    Ok(found)
}

fn unreachable(failure: &Failure) -> Exit {
    eprintln!("gwtop: {failure}");
    Exit::Unreachable
}

/// Where the operator looks: the route's own namespace before the given one.
fn place<'a>(namespace: Option<&'a str>, route: Option<&'a RouteRef>) -> Option<&'a str> {
    route.and_then(|route| route.namespace.as_deref()).or(namespace)
}

/// `gwtop canary status`.
pub async fn status(
    connection: &Connection,
    namespace: Option<&str>,
    route: Option<&RouteRef>,
    json: bool,
    wait: bool,
) -> Exit {
    let namespace = place(namespace, route);
    let mut last = String::new();
    let mut orphaned: Option<tokio::time::Instant> = None;
    loop {
        let found = match known(connection, namespace, route).await {
            Ok(found) => found,
            Err(failure) if !wait => return unreachable(&failure),
            // A run may outlive an API that is away for a while.
            Err(failure) => {
                eprintln!("gwtop: {failure}");
                tokio::time::sleep(LOOK * 4).await;
                continue;
            }
        };
        let text = if json {
            let shown: Vec<Shown<'_>> = found.iter().map(Standing::shown).collect();
            if wait {
                shown.iter().map(|one| json!(one).to_string()).collect::<Vec<_>>().join("\n")
            } else {
                json!({"schema": "gwtop.dev/canary-status/v1", "items": shown}).to_string()
            }
        } else if found.is_empty() {
            "no canary".to_owned()
        } else {
            found.iter().map(Standing::line).collect::<Vec<_>>().join("\n")
        };
        if text != last {
            println!("{text}");
            last = text;
        }
        if !wait {
            return if found.iter().any(Standing::orphaned) { Exit::ProblemsFound } else { Exit::Ok };
        }
        let running: Vec<&Standing> = found.iter().filter(|one| one.record.is_some() || one.alive()).collect();
        match running.as_slice() {
            [] => {
                let ended = found.iter().filter_map(|one| Some((one.state()?["time"].to_string(), one.finished()?)));
                return match ended.max_by(|a, b| a.0.cmp(&b.0)) {
                    Some((_, exit)) => exit,
                    None => {
                        eprintln!("gwtop: no canary to wait for");
                        Exit::Usage
                    }
                };
            }
            // A run that was left with the canary live has ended, and its record stays.
            [one] if !one.alive() && one.finished().is_some() => return one.finished().unwrap_or(Exit::Detached),
            several if several.iter().all(|one| one.orphaned()) => {
                let since = *orphaned.get_or_insert_with(tokio::time::Instant::now);
                if since.elapsed() >= ORPHANED {
                    eprintln!("gwtop: the run died and nobody took it up within {ORPHANED:?}; the canary is live");
                    return Exit::Detached;
                }
            }
            _ => orphaned = None,
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The one run that is meant.
async fn the_one(connection: &Connection, namespace: Option<&str>, route: Option<&RouteRef>) -> Result<Standing, Exit> {
    let mut found =
        standing(connection, place(namespace, route), route).await.map_err(|failure| unreachable(&failure))?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let name = route.map_or_else(|| "in this namespace".to_owned(), |route| format!("on {}", route.name));
            eprintln!("gwtop: no canary {name}: nothing to do");
            Err(Exit::Usage)
        }
        _ => {
            let names: Vec<String> = found.iter().map(|one| one.key.to_string()).collect();
            eprintln!("gwtop: several canaries: {}; name one", names.join(", "));
            Err(Exit::Usage)
        }
    }
}

async fn tell(connection: &Connection, standing: &Standing, order: Order) -> Exit {
    let Some(lease) = &standing.lease else { return Exit::Usage };
    let by = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "an operator".to_owned());
    let note = Note { order, by, at: Timestamp::now().to_string() };
    let annotations = json!({lease::ORDER: json!(note).to_string()});
    match lease::annotate(connection, &lease.namespace, &lease.name, &annotations).await {
        Ok(()) => {
            eprintln!("gwtop: told the run of {} held by {}: {}", standing.key, lease.holder, json!(order));
            Exit::Ok
        }
        Err(failure) => unreachable(&failure),
    }
}

/// `pause`, `step`, `promote`: only a living run can do these.
pub async fn order(connection: &Connection, namespace: Option<&str>, route: Option<&RouteRef>, order: Order) -> Exit {
    match the_one(connection, namespace, route).await {
        Ok(standing) if standing.alive() => tell(connection, &standing, order).await,
        Ok(standing) => {
            eprintln!("gwtop: {}", standing.line());
            Exit::Conflict
        }
        Err(exit) => exit,
    }
}

/// What `resume` has to do.
#[derive(Debug)]
pub enum Resumed {
    Told(Exit),
    /// The run died: this command line takes it up.
    Again(Vec<String>),
}

pub async fn resume(connection: &Connection, namespace: Option<&str>, route: Option<&RouteRef>) -> Resumed {
    let standing = match the_one(connection, namespace, route).await {
        Ok(standing) => standing,
        Err(exit) => return Resumed::Told(exit),
    };
    if standing.alive() {
        return Resumed::Told(tell(connection, &standing, Order::Resume).await);
    }
    let arguments = standing.lease.as_ref().and_then(|lease| lease.arguments.as_ref());
    match arguments.and_then(|text| serde_json::from_str::<Vec<String>>(text).ok()) {
        Some(arguments) => Resumed::Again(arguments),
        None => {
            eprintln!(
                "gwtop: how the run of {} was started is not known here: repeat its command line, or add --take-over to another",
                standing.key
            );
            Resumed::Told(Exit::Usage)
        }
    }
}

/// `rollback`: by the run itself if it lives, from here if it does not.
pub async fn rollback(
    connection: &Connection,
    namespace: Option<&str>,
    route: Option<&RouteRef>,
    output: Output,
) -> Exit {
    let standing = match the_one(connection, namespace, route).await {
        Ok(standing) => standing,
        Err(exit) => return exit,
    };
    if !standing.alive() {
        return undo(connection, &standing, output).await;
    }
    let standing_namespace = standing.key.namespace.clone();
    let told = tell(connection, &standing, Order::Rollback).await;
    if told != Exit::Ok {
        return told;
    }
    let named = RouteRef {
        kind: standing.key.kind,
        namespace: Some(standing.key.namespace.clone()),
        name: standing.key.name.clone(),
    };
    // A run whose Lease has not run out yet may be dead all the same.
    loop {
        tokio::time::sleep(LOOK).await;
        match self::standing(connection, Some(&standing_namespace), Some(&named)).await {
            Ok(found) => match found.first() {
                Some(one) if one.alive() => {}
                Some(one) => return undo(connection, one, output).await,
                None => break,
            },
            Err(failure) => eprintln!("gwtop: {failure}"),
        }
    }
    Box::pin(status(connection, None, Some(&named), output == Output::Json, true)).await
}

async fn undo(connection: &Connection, standing: &Standing, output: Output) -> Exit {
    let Some(record) = &standing.record else { return Exit::Usage };
    let settings = Settings {
        routes: vec![RouteRef {
            kind: standing.key.kind,
            namespace: Some(standing.key.namespace.clone()),
            name: standing.key.name.clone(),
        }],
        rule: standing.rule.map(|rule| rule.to_string()),
        stable: Some(record.stable.clone()),
        canary: Some(record.canary.clone()),
        rollback: true,
        ..Settings::new(&standing.key.namespace, None)
    };
    Box::pin(command::run(connection.clone(), settings, output, Some(OnInterrupt::Detach))).await
}

/// `gc`: what died is listed or undone, and what has ended is cleared away.
pub async fn gc(connection: &Connection, namespace: Option<&str>, rollback_expired: bool, output: Output) -> Exit {
    let found = match known(connection, namespace, None).await {
        Ok(found) => found,
        Err(failure) => return unreachable(&failure),
    };
    let mut worst = Exit::Ok;
    for one in &found {
        if one.orphaned() {
            if rollback_expired {
                let exit = undo(connection, one, output).await;
                if !matches!(exit, Exit::Ok | Exit::Stopped) {
                    worst = exit;
                }
            } else {
                println!("{}", one.line());
                worst = Exit::ProblemsFound;
            }
        } else if one.record.is_none()
            && !one.alive()
            && let Some(lease) = &one.lease
        {
            match lease::remove(connection, &lease.namespace, &lease.name).await {
                Ok(()) => eprintln!("gwtop: removed Lease {}/{} of an ended run", lease.namespace, lease.name),
                Err(Failure::NotFound(_)) => {}
                Err(failure) => worst = unreachable(&failure),
            }
        }
    }
    worst
}
