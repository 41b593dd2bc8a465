//! One object, as the API sees it change.

use std::pin::pin;

use futures::StreamExt as _;
use kube::{
    Api,
    api::DynamicObject,
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    connect::Connection,
    read::{resource, to_json},
};
use crate::model::key::ObjectKey;

#[derive(Debug)]
pub enum Seen {
    Object(Value),
    Deleted,
    /// The watch broke; it is being taken up again.
    Trouble(String),
}

/// Watches one object until cancelled or until nobody listens. The watch heals itself.
pub fn follow(connection: &Connection, key: &ObjectKey, cancel: CancellationToken) -> mpsc::Receiver<Seen> {
    let (sender, receiver) = mpsc::channel(64);
    let resource = resource(connection, key.kind);
    let api: Api<DynamicObject> = Api::namespaced_with(connection.client.clone(), &key.namespace, &resource);
    let name = key.name.clone();
    tokio::spawn(async move {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut listed = false;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = cancel.cancelled() => return,
                () = sender.closed() => return,
            };
            let seen = match event {
                None => return,
                Some(Err(error)) => Some(Seen::Trouble(error.to_string())),
                Some(Ok(watcher::Event::Init)) => {
                    listed = false;
                    None
                }
                Some(Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object))) => {
                    // A server that knows no field selectors sends the neighbours too.
                    if object.metadata.name.as_deref() == Some(name.as_str()) {
                        listed = true;
                        to_json(&object).ok().map(Seen::Object)
                    } else {
                        None
                    }
                }
                Some(Ok(watcher::Event::InitDone)) => (!listed).then_some(Seen::Deleted),
                Some(Ok(watcher::Event::Delete(object))) => {
                    (object.metadata.name.as_deref() == Some(name.as_str())).then_some(Seen::Deleted)
                }
            };
            if let Some(seen) = seen
                && sender.send(seen).await.is_err()
            {
                return;
            }
        }
    });
    receiver
}
