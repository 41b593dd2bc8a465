//! One watch per kind, told as changes. Never polls; heals itself for ever.

use std::{collections::HashSet, pin::pin, time::Duration};

use futures::StreamExt as _;
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    connect::Connection,
    discover::{Served, policies, remember, served},
};
use crate::model::{
    key::{Kind, ObjectKey},
    object::Object,
    secret,
    store::Change,
};

/// How long until a kind that is not served, or that is forbidden, is asked for again.
const AGAIN: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How often new kinds of policies are looked for.
const POLICIES: Duration = Duration::from_secs(60);

pub fn spawn(connection: &Connection, cancel: &CancellationToken) -> mpsc::Receiver<Change> {
    let (sender, receiver) = mpsc::channel(1024);
    for kind in Kind::ALL {
        begin(connection, kind, &sender, cancel);
    }
    tokio::spawn(look_for_policies(connection.clone(), sender, cancel.clone()));
    receiver
}

fn begin(connection: &Connection, kind: Kind, sender: &mpsc::Sender<Change>, cancel: &CancellationToken) {
    let (connection, sender, cancel) = (connection.clone(), sender.clone(), cancel.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = keep(connection, kind, sender) => {}
        }
    });
}

/// Kinds of policies come and go with implementations. A cluster that does not let them be found
/// is shown without.
async fn look_for_policies(connection: Connection, sender: mpsc::Sender<Change>, cancel: CancellationToken) {
    let mut watched = HashSet::new();
    let mut due = tokio::time::interval(POLICIES);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = sender.closed() => return,
            _ = due.tick() => {}
        }
        for kind in policies(&connection).await.unwrap_or_default() {
            if watched.insert(kind) {
                begin(&connection, kind, &sender, &cancel);
            }
        }
    }
}

async fn keep(connection: Connection, kind: Kind, changes: mpsc::Sender<Change>) {
    let mut wait = Duration::from_millis(500);
    while !changes.is_closed() {
        match served(&connection.client, kind).await {
            Ok(Served::As(resource)) => {
                wait = Duration::from_millis(500);
                remember(&connection, kind, resource.clone());
                if follow(&connection, kind, &resource, None, &changes).await.is_none() {
                    return;
                }
                tokio::time::sleep(AGAIN).await;
            }
            Ok(Served::NotAtAll) => {
                let _ = changes.send(Change::Missing(kind)).await;
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                let _ = changes.send(problem(kind, &error)).await;
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

/// Until nobody listens (none), or until the kind has to be looked up again. Who may not see all
/// namespaces sees the context's own.
async fn follow(
    connection: &Connection,
    kind: Kind,
    resource: &ApiResource,
    only: Option<&str>,
    changes: &mpsc::Sender<Change>,
) -> Option<()> {
    let api: Api<DynamicObject> = match only {
        Some(namespace) => Api::namespaced_with(connection.client.clone(), namespace, resource),
        None => Api::all_with(connection.client.clone(), resource),
    };
    let mut stream = pin!(kube::runtime::watcher(api, config(kind)).default_backoff());
    let mut list = Vec::new();
    while let Some(event) = stream.next().await {
        let change = match event {
            Ok(Event::Init) => {
                list.clear();
                Change::Loading(kind)
            }
            Ok(Event::InitApply(object)) => {
                list.extend(strip(kind, object));
                continue;
            }
            Ok(Event::InitDone) => {
                if let Some(namespace) = only {
                    changes.send(Change::Narrowed(kind, namespace.to_owned())).await.ok()?;
                }
                Change::Replace(kind, std::mem::take(&mut list))
            }
            Ok(Event::Apply(object)) => match strip(kind, object) {
                Some(object) => Change::Apply(kind, object),
                None => continue,
            },
            Ok(Event::Delete(object)) => {
                let namespace = object.metadata.namespace.unwrap_or_default();
                Change::Delete(ObjectKey::new(kind, namespace, object.metadata.name.unwrap_or_default()))
            }
            Err(error) => {
                let change = trouble(kind, &error);
                if matches!(change, Change::Forbidden(_)) && only.is_none() && kind.namespaced() {
                    let own = Some(connection.namespace.as_str());
                    return Box::pin(follow(connection, kind, resource, own, changes)).await;
                }
                let again = matches!(change, Change::Forbidden(_) | Change::Missing(_));
                changes.send(change).await.ok()?;
                if again {
                    return Some(());
                }
                continue;
            }
        };
        changes.send(change).await.ok()?;
    }
    Some(())
}

/// Of Secrets only those are asked for that hold a certificate.
fn config(kind: Kind) -> watcher::Config {
    let config = watcher::Config::default();
    if kind == Kind::Secret { config.fields(TLS_SECRETS) } else { config }
}

pub(super) const TLS_SECRETS: &str = "type=kubernetes.io/tls";

/// Who owns which field is of no use here and often the greater part of an object; the data of a
/// Secret is nobody's business.
pub(super) fn strip(kind: Kind, mut object: DynamicObject) -> Option<Object> {
    object.metadata.managed_fields = None;
    let object = serde_json::to_value(object).ok()?;
    Some(if kind == Kind::Secret { secret::reduce(&object) } else { object }.into())
}

fn trouble(kind: Kind, error: &watcher::Error) -> Change {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => problem(kind, error),
        other => Change::Lost(kind, other.to_string()),
    }
}

pub(super) fn problem(kind: Kind, error: &kube::Error) -> Change {
    match error {
        kube::Error::Api(status) if status.code == 403 => Change::Forbidden(kind),
        kube::Error::Api(status) if status.code == 404 => Change::Missing(kind),
        kube::Error::Api(status) => Change::Lost(kind, status.message.clone()),
        other => Change::Lost(kind, root(other)),
    }
}

/// The innermost cause says it shortest: "Connection refused".
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
