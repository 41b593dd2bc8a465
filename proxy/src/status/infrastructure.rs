//! `spec.infrastructure` of Gateways: who looks for what belongs to a Gateway finds an object in
//! its namespace with its labels and annotations. On one host, where a Gateway is no Pod and no
//! Service, that is a ServiceAccount.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::ServiceAccount,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, ListParams, PostParams},
};
use tokio::{sync::watch, time::sleep};
use tracing::{debug, warn};

use super::write::Wanted;
use crate::{
    contract::STATUS_MANAGER,
    types::{GROUP, Gateway, Key},
};

#[cfg(test)]
mod tests;

/// Label of the Gateway API for what was made for a Gateway.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const US: &str = "gwproxy";
/// Longest name of an object.
const NAME_MOST: usize = 253;
/// Longest value of a label.
const LABEL_MOST: usize = 63;
const AGAIN: Duration = Duration::from_secs(5);

type Accounts = BTreeMap<Key, ServiceAccount>;

/// Runs until `wanted` closes.
pub async fn propagate(client: Client, mut wanted: watch::Receiver<Arc<Wanted>>) {
    // What is there, by what this process knows; made sure of once, since an earlier process may
    // have left something.
    let mut there: Option<Accounts> = None;
    loop {
        let accounts = accounts(&wanted.borrow_and_update());
        let known = match there.take() {
            Some(known) => Ok(known),
            // Before the first table nothing is known of the Gateways either.
            None if accounts.is_none() => Ok(BTreeMap::new()),
            None => match left(&client).await {
                // Who may not look may perhaps make.
                Err(Error::Api(status)) if status.code == 403 => Ok(BTreeMap::new()),
                left => left,
            },
        };
        let (now, complete) = match (known, accounts) {
            (Ok(known), Some(accounts)) => settle(&client, known, &accounts).await,
            (Ok(_), None) => {
                if wanted.changed().await.is_err() {
                    return;
                }
                continue;
            }
            (Err(why), _) => {
                debug!("cannot list what was made for Gateways: {why}");
                sleep(AGAIN).await;
                continue;
            }
        };
        there = Some(now);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = sleep(AGAIN), if !complete => {}
        }
    }
}

/// What there has to be; `None` before anything is known.
fn accounts(wanted: &Wanted) -> Option<Accounts> {
    let verdicts = &wanted.verdicts;
    let ours = verdicts.gateways.keys().filter_map(|key| wanted.set.gateways.get(key).map(|gateway| (key, gateway)));
    let accounts = ours.filter_map(|(key, gateway)| account(key, gateway));
    let accounts = accounts.map(|account| (key_of(&account.metadata), account)).collect();
    (!verdicts.classes.is_empty()).then_some(accounts)
}

fn key_of(metadata: &ObjectMeta) -> Key {
    Key::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn account(key: &Key, gateway: &Gateway) -> Option<ServiceAccount> {
    let infrastructure = gateway.spec.infrastructure.as_ref()?;
    if infrastructure.labels.is_empty() && infrastructure.annotations.is_empty() {
        return None;
    }
    let mut labels = infrastructure.labels.clone();
    labels.insert(GATEWAY_NAME.to_owned(), fitted(&key.name, LABEL_MOST));
    labels.insert(MANAGED_BY.to_owned(), US.to_owned());
    let owner = OwnerReference {
        api_version: format!("{GROUP}/v1"),
        kind: "Gateway".to_owned(),
        name: key.name.clone(),
        uid: gateway.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let metadata = ObjectMeta {
        namespace: Some(key.namespace.clone()),
        name: Some(fitted(&format!("{US}-{}", key.name), NAME_MOST)),
        labels: Some(labels),
        annotations: (!infrastructure.annotations.is_empty()).then(|| infrastructure.annotations.clone()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    Some(ServiceAccount { metadata, automount_service_account_token: Some(false), ..ServiceAccount::default() })
}

/// `name`, or as much of it as fits with a hash of the whole.
fn fitted(name: &str, most: usize) -> String {
    if name.len() <= most {
        return name.to_owned();
    }
    // FNV-1a: the same in every release and on every machine.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = format!("{hash:016x}");
    let mut end = most - hash.len() - 1;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{hash}", name[..end].trim_end_matches(['-', '.']))
}

/// What an earlier process made.
async fn left(client: &Client) -> Result<Accounts, Error> {
    let api = Api::<ServiceAccount>::all(client.clone());
    let ours = ListParams::default().labels(&format!("{MANAGED_BY}={US},{GATEWAY_NAME}"));
    let all = api.list(&ours).await?.items.into_iter();
    Ok(all.map(|account| (key_of(&account.metadata), account)).collect())
}

/// What is there afterwards, and whether that is what is wanted.
async fn settle(client: &Client, mut there: Accounts, wanted: &Accounts) -> (Accounts, bool) {
    let mut complete = true;
    let gone: Vec<_> = there.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
    for key in gone {
        let api = Api::<ServiceAccount>::namespaced(client.clone(), &key.namespace);
        match api.delete(&key.name, &DeleteParams::default()).await {
            Ok(_) => drop(there.remove(&key)),
            Err(Error::Api(status)) if status.code == 404 => drop(there.remove(&key)),
            Err(error) => {
                complete = false;
                warn!("ServiceAccount {key} of a Gateway that is gone stays: {error}");
            }
        }
    }
    for (key, account) in wanted {
        if there.get(key).is_some_and(|known| same(known, account)) {
            continue;
        }
        match make(client, key, account).await {
            Ok(()) => drop(there.insert(key.clone(), account.clone())),
            Err(why) => {
                complete = false;
                warn!("labels and annotations of spec.infrastructure are not told by ServiceAccount {key}: {why}");
            }
        }
    }
    (there, complete)
}

/// Whether it says the same to those who look.
fn same(one: &ServiceAccount, other: &ServiceAccount) -> bool {
    let told = |account: &ServiceAccount| {
        let ObjectMeta { labels, annotations, owner_references, .. } = account.metadata.clone();
        (labels.unwrap_or_default(), annotations.unwrap_or_default(), owner_references)
    };
    told(one) == told(other)
}

async fn make(client: &Client, key: &Key, account: &ServiceAccount) -> Result<(), String> {
    let api = Api::<ServiceAccount>::namespaced(client.clone(), &key.namespace);
    let parameters = PostParams { field_manager: Some(STATUS_MANAGER.to_owned()), ..PostParams::default() };
    let Some(current) = api.get_opt(&key.name).await.map_err(|error| error.to_string())? else {
        return api.create(&parameters, account).await.map(drop).map_err(|error| error.to_string());
    };
    let managed = current.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    if managed.map(String::as_str) != Some(US) {
        return Err("there is one that somebody else made; rename or remove it".to_owned());
    }
    let mut next = account.clone();
    next.metadata.resource_version = current.metadata.resource_version;
    api.replace(&key.name, &parameters, &next).await.map(drop).map_err(|error| error.to_string())
}
