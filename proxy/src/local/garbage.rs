//! Takes away objects none of whose owners exists: what a deletion leaves behind goes with it in
//! its transaction, but an object may also be born an orphan.

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::store::{Key, Unreachable};
use super::verbs::Resources;

/// Looks at every object once and at every change until told to stop.
pub(super) async fn collect(resources: Resources, stop: CancellationToken) {
    let mut news = resources.store.subscribe();
    let mut seen = 0;
    loop {
        news.borrow_and_update();
        let (suspects, revision) = match resources.store.changes(seen) {
            Ok((events, revision)) => {
                let living = events.iter().filter(|event| !event.deleted && is_owned(&event.object));
                (living.map(|event| event.key.clone()).collect::<Vec<Key>>(), revision)
            }
            Err(Unreachable::Compacted { .. } | Unreachable::Future { .. }) => {
                (resources.store.keys(is_owned), resources.store.revision())
            }
        };
        seen = revision;
        for key in suspects {
            if let Err(error) = resources.collect_orphan(key).await {
                tracing::debug!("an object without owners stays: {error}");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = news.changed() => if changed.is_err() { return },
        }
    }
}

fn is_owned(object: &Value) -> bool {
    object["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty())
}
