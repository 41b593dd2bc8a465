//! Says that we live, hears what operators say, and notices when the API does not answer.

use std::{sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::{
    canary::{Order, machine::Event},
    cluster::{
        lease,
        read::{self, Failure},
    },
    model::key::ObjectKey,
};

/// A lease that was not renewed for so long no longer protects from another run.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(20);
/// How often we look whether somebody has said something.
const LISTEN: std::time::Duration = std::time::Duration::from_secs(1);

/// What an operator leaves on the Lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::canary) struct Note {
    pub(in crate::canary) order: Order,
    pub(in crate::canary) by: String,
    /// Two orders that say the same are two.
    pub(in crate::canary) at: String,
}

pub(super) struct Beat {
    pub(super) route: ObjectKey,
    pub(super) lease: Option<String>,
    pub(super) old_order: Option<String>,
}

/// Renews the lease, or reads the route where there is no lease, until cancelled.
pub(super) fn spawn(context: &Arc<Context>, beat: Beat, sender: mpsc::Sender<Event>, cancel: CancellationToken) {
    let context = context.clone();
    tokio::spawn(async move {
        let Beat { route, lease, mut old_order } = beat;
        let mut last = Instant::now();
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LISTEN) => {}
                () = cancel.cancelled() => return,
            }
            if let Some(name) = &lease
                && let Ok(Some(seen)) = lease::look(&context.connection, &route.namespace, name).await
                && seen.order != old_order
            {
                old_order.clone_from(&seen.order);
                let note = seen.order.and_then(|text| serde_json::from_str::<Note>(&text).ok());
                if let Some(note) = note
                    && sender.send(Event::Told { order: note.order, by: note.by }).await.is_err()
                {
                    return;
                }
            }
            if renewed.elapsed() < lease::RENEW {
                continue;
            }
            renewed = Instant::now();
            let beat = match &lease {
                Some(name) => lease::renew(&context.connection, &route.namespace, name, &context.holder).await,
                None => read::get(&context.connection, &route).await.map(|_| true),
            };
            let event = match beat {
                Ok(true) => {
                    last = Instant::now();
                    Event::LeaseFresh
                }
                Ok(false) => Event::FenceLost(format!("the lease of {route} is another run's now")),
                Err(_) if last.elapsed() < SILENCE => continue,
                Err(Failure::Unknown(why)) => Event::Lost(why),
                Err(failure) => Event::LeaseStale(format!("cannot renew the lease: {failure}")),
            };
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
}
