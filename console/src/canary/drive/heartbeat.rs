//! Says that we live, and notices when the API does not.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    canary::machine::Event,
    cluster::{
        connect::Connection,
        lease,
        read::{self, Failure},
    },
    model::key::ObjectKey,
};

/// A lease that was not renewed for so long no longer protects from another run.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Renews the lease, or reads the route where there is no lease, until cancelled.
pub(super) fn spawn(
    connection: Connection,
    route: ObjectKey,
    lease: Option<String>,
    holder: String,
    cancel: CancellationToken,
) -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        let mut last = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(lease::RENEW) => {}
                () = cancel.cancelled() => return,
            }
            let beat = match &lease {
                Some(name) => lease::renew(&connection, &route.namespace, name, &holder).await,
                None => read::get(&connection, &route).await.map(|_| true),
            };
            let event = match beat {
                Ok(true) => {
                    last = Instant::now();
                    Event::LeaseFresh
                }
                Ok(false) => Event::FenceLost("the lease is another run's now".to_owned()),
                Err(_) if last.elapsed() < SILENCE => continue,
                Err(Failure::Unknown(why)) => Event::Lost(why),
                Err(failure) => Event::LeaseStale(format!("cannot renew the lease: {failure}")),
            };
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    receiver
}
