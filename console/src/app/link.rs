//! What a cluster says, as events: connected for ever if need be, watched and scraped.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Connect;
use crate::{
    cluster::{
        connect::{ConnectError, Connection, ping},
        watch,
    },
    event::{Event, Link},
    traffic::scrape,
};

const LONGEST_WAIT: Duration = Duration::from_secs(10);
const PING: Duration = Duration::from_secs(5);
const SCRAPE: Duration = Duration::from_secs(1);

/// Where a link tells what it hears, and for how long it is wanted.
pub(super) struct Ways {
    pub events: mpsc::Sender<Event>,
    pub connections: mpsc::Sender<Connection>,
    pub cancel: CancellationToken,
}

/// The console's end of a link, which ends with it.
pub(super) struct Wire {
    pub inbox: mpsc::Receiver<Event>,
    pub connected: mpsc::Receiver<Connection>,
    _wanted: DropGuard,
}

impl Wire {
    pub(super) fn new() -> (Self, Ways) {
        let (events, inbox) = mpsc::channel(1024);
        let (connections, connected) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        (Self { inbox, connected, _wanted: cancel.clone().drop_guard() }, Ways { events, connections, cancel })
    }
}

/// Connects, for ever if need be, then passes on what watches and scrapes say.
pub(super) async fn link(connect: Connect, context: Option<String>, metrics_urls: Vec<String>, ways: Ways) {
    let Ways { events, connections, cancel } = ways;
    let mut wait = Duration::from_millis(500);
    let connection = loop {
        let making = async {
            let connection = connect(context.clone()).await?;
            ping(&connection).await.map(|()| connection)
        };
        let made = tokio::select! {
            () = cancel.cancelled() => return,
            made = making => made,
        };
        match made {
            Ok(connection) => break connection,
            Err(error) => {
                if events.send(Event::Link(Link::Down(first_line(&error)))).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(wait.mul_f64(spread())) => {}
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    };
    let up = Link::Up { context: connection.context.clone(), url: connection.cluster_url.clone() };
    let _ = connections.send(connection.clone()).await;
    let _ = events.send(Event::Link(up.clone())).await;
    let mut changes = watch::spawn(&connection, &cancel);
    let mut scrapes = scrape::follow(&connection, metrics_urls, SCRAPE, cancel.clone());
    let mut standing = watch_over(connection.clone(), up, cancel.clone());
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            Some(change) = changes.recv() => Event::Change(change),
            Some(scrape) = scrapes.recv() => Event::Scrape(scrape),
            Some(link) = standing.recv() => Event::Link(link),
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Around 1: consoles that lost the same API at the same moment must not all come back at one.
fn spread() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    0.75 + 0.5 * (random as f64 / u64::MAX as f64)
}

/// Asks the API now and then whether it is there: a watch that hears nothing looks the same
/// whether the API is idle or gone.
fn watch_over(connection: Connection, up: Link, cancel: CancellationToken) -> mpsc::Receiver<Link> {
    let (tell, standing) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut due = tokio::time::interval(PING);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = due.tick() => {}
            }
            let link = match ping(&connection).await {
                Ok(()) => up.clone(),
                Err(error) => Link::Down(first_line(&error)),
            };
            if tell.send(link).await.is_err() {
                return;
            }
        }
    });
    standing
}

fn first_line(error: &ConnectError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
