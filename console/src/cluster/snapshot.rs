//! Everything as it is now, in one list per kind: for commands that answer once.

use futures::future::join_all;
use jiff::Timestamp;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
};

use super::{
    connect::Connection,
    discover::{Served, learn_all, policies},
    read::{Failure, within},
    watch::{TLS_SECRETS, strip},
};
use crate::model::{
    key::Kind,
    store::{Change, Store},
};

/// How many objects one answer may have.
const PAGE: u32 = 1000;

/// All kinds, policies that are found among them. What cannot be seen is told in the store.
pub async fn everything(connection: &Connection) -> Store {
    let known = async { take(connection, &Kind::ALL).await };
    let (mut store, found) = tokio::join!(known, policies(connection));
    for change in lists(connection, &found.unwrap_or_default()).await {
        store.apply(change);
    }
    store
}

pub async fn take(connection: &Connection, kinds: &[Kind]) -> Store {
    let mut store = Store::default();
    store.at(Timestamp::now());
    for change in lists(connection, kinds).await {
        store.apply(change);
    }
    store
}

async fn lists(connection: &Connection, kinds: &[Kind]) -> Vec<Change> {
    let served = learn_all(connection, kinds).await;
    let calls = served.into_iter().map(|(kind, served)| async move {
        match served {
            Ok(Served::As(resource)) => list(connection, kind, &resource).await,
            Ok(Served::NotAtAll) => vec![Change::Missing(kind)],
            Err(failure) => vec![told(kind, failure)],
        }
    });
    join_all(calls).await.into_iter().flatten().collect()
}

async fn list(connection: &Connection, kind: Kind, resource: &ApiResource) -> Vec<Change> {
    let all: Api<DynamicObject> = Api::all_with(connection.client.clone(), resource);
    match pages(connection, kind, &all).await {
        Ok(change) => vec![change],
        Err(Failure::Denied(_)) if kind.namespaced() => {
            let namespace = connection.namespace.clone();
            let own: Api<DynamicObject> = Api::namespaced_with(connection.client.clone(), &namespace, resource);
            match pages(connection, kind, &own).await {
                Ok(change) => vec![Change::Narrowed(kind, namespace), change],
                Err(failure) => vec![told(kind, failure)],
            }
        }
        Err(failure) => vec![told(kind, failure)],
    }
}

async fn pages(connection: &Connection, kind: Kind, api: &Api<DynamicObject>) -> Result<Change, Failure> {
    let mut params = ListParams::default().limit(PAGE);
    if kind == Kind::Secret {
        params = params.fields(TLS_SECRETS);
    }
    let mut objects = Vec::new();
    loop {
        let page = within(connection, api.list(&params)).await?;
        objects.extend(page.items.into_iter().filter_map(|object| strip(kind, object)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(Change::Replace(kind, objects)),
        }
    }
}

fn told(kind: Kind, failure: Failure) -> Change {
    match failure {
        Failure::Denied(_) => Change::Forbidden(kind),
        Failure::NotFound(_) => Change::Missing(kind),
        other => Change::Lost(kind, other.to_string()),
    }
}
