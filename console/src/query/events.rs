//! `gwtop events`: what happened to Gateways, routes and what they stand on, oldest first.

use std::pin::pin;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event as Seen},
    },
};
use serde_json::{Value, json};

use super::{Output, Scope, age, print as out, yaml};
use crate::{
    cluster::{connect::Connection, read},
    exit::Exit,
    model::key::{Kind, ObjectKey},
    print,
};

#[derive(Debug, Clone)]
pub struct Event {
    pub at: Option<Timestamp>,
    object: Value,
}

impl Event {
    /// None for events of objects that are none of gwtop's business.
    pub(super) fn read(object: Value) -> Option<Self> {
        let of = object["involvedObject"]["kind"].as_str().unwrap_or_default();
        let known = Kind::parse(of).is_some_and(|kind| !matches!(kind, Kind::Namespace | Kind::Secret));
        let at = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
        let at = at.iter().find_map(|pointer| object.pointer(pointer)?.as_str()?.parse().ok());
        (known || of == "Pod").then_some(Self { at, object })
    }

    fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn is_of(&self, key: &ObjectKey) -> bool {
        self.text("/involvedObject/kind") == key.kind.name()
            && self.text("/involvedObject/name") == key.name
            && self.text("/involvedObject/namespace") == key.namespace
    }

    fn row(&self, now: Timestamp, namespaces: bool) -> Vec<String> {
        let mut row = Vec::new();
        if namespaces {
            row.push(self.text("/metadata/namespace").to_owned());
        }
        let count = self.object.pointer("/series/count").or_else(|| self.object.get("count")).and_then(Value::as_u64);
        let times = count.filter(|count| *count > 1).map(|count| format!(" (x{count})")).unwrap_or_default();
        row.extend([
            age(self.at, now),
            self.text("/type").to_owned(),
            self.text("/reason").to_owned(),
            format!("{}/{}", self.text("/involvedObject/kind").to_lowercase(), self.text("/involvedObject/name")),
            format!("{}{times}", self.text("/message").trim()),
        ]);
        row
    }
}

const HEADER: [&str; 6] = ["NAMESPACE", "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];

pub(super) fn table(events: &[Event], now: Timestamp, namespaces: bool) -> String {
    let rows: Vec<_> = events.iter().map(|event| event.row(now, namespaces)).collect();
    print::table(if namespaces { &HEADER } else { &HEADER[1..] }, &rows)
}

fn api(connection: &Connection, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Event"), "events");
    match namespace {
        Some(namespace) => Api::namespaced_with(connection.client.clone(), namespace, &resource),
        None => Api::all_with(connection.client.clone(), &resource),
    }
}

/// Events of one object, oldest first. Who may not read them is shown none.
pub async fn of(connection: &Connection, key: &ObjectKey) -> Vec<Event> {
    let namespace = if key.namespace.is_empty() { "default" } else { &key.namespace };
    let mut all = read::events(connection, Some(namespace)).await.unwrap_or_default();
    all.retain(|object| object["involvedObject"]["name"] == key.name.as_str());
    let mut events: Vec<Event> = all.into_iter().filter_map(Event::read).filter(|event| event.is_of(key)).collect();
    events.sort_by_key(|event| event.at);
    events
}

pub async fn run(connection: &Connection, scope: &Scope, of: Option<&ObjectKey>, output: Output) -> Exit {
    if scope.watch {
        return follow(connection, scope, of, output).await;
    }
    let all = match read::events(connection, scope.namespace.as_deref()).await {
        Ok(all) => all,
        Err(failure) => {
            eprintln!("gwtop: cannot list events at {}: {failure}", connection.cluster_url);
            return Exit::Unreachable;
        }
    };
    let mut events: Vec<Event> = all.into_iter().filter_map(Event::read).collect();
    events.retain(|event| of.is_none_or(|key| event.is_of(key)));
    events.sort_by_key(|event| event.at);
    let now = Timestamp::now();
    let objects = || events.iter().map(|event| event.object.clone()).collect::<Vec<_>>();
    let list = || json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects()});
    out(&match output {
        Output::Json => super::json(&list()),
        Output::Yaml => yaml(&list()),
        Output::Jsonl => events.iter().map(|event| format!("{}\n", event.object)).collect(),
        Output::Name => events.iter().map(|event| format!("event/{}\n", event.text("/metadata/name"))).collect(),
        Output::Text | Output::Wide if events.is_empty() => {
            "no events of Gateways, routes or their backends\n".to_owned()
        }
        Output::Text | Output::Wide => table(&events, now, scope.namespace.is_none()),
    });
    Exit::Ok
}

/// One line an event, as they come, until nobody reads.
async fn follow(connection: &Connection, scope: &Scope, of: Option<&ObjectKey>, output: Output) -> Exit {
    use std::io::Write as _;
    let api = api(connection, scope.namespace.as_deref());
    let mut stream = pin!(kube::runtime::watcher(api, watcher::Config::default()).default_backoff());
    loop {
        let object = match stream.next().await {
            Some(Ok(Seen::InitApply(object) | Seen::Apply(object))) => object,
            Some(Err(error)) => {
                eprintln!("gwtop: {error}; trying again");
                continue;
            }
            Some(Ok(_)) => continue,
            None => return Exit::Ok,
        };
        let Some(event) = serde_json::to_value(object).ok().and_then(Event::read) else { continue };
        if of.is_some_and(|key| !event.is_of(key)) {
            continue;
        }
        let line = match output {
            Output::Text | Output::Wide => event.row(Timestamp::now(), scope.namespace.is_none()).join("  "),
            _ => event.object.to_string(),
        };
        if writeln!(std::io::stdout(), "{line}").is_err() {
            return Exit::Ok;
        }
    }
}
