//! The loop: what the watches bring, to a table that serves, to what status says about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::retry::Retry;
use crate::{
    compile::{Memory, Verdicts, compile},
    metrics::{ListenerLabels, Registry},
    provision::host,
    resources::{
        Changes, Effect, Set,
        cluster::{self, Seen, Synced},
    },
    serve::{BindError, DataPlane},
    status::{
        conditions::{BindFailure, BindFailures, with_sockets},
        infrastructure::propagate,
        write::{Wanted, write},
    },
    types::Key,
};

/// Changes that come together are compiled together: after this long without another one …
const IDLE: Duration = Duration::from_millis(2);
/// … but never later than this after the first.
const AT_MOST: Duration = Duration::from_millis(20);
/// With this long since the last table, a change is compiled at once.
const REST: Duration = Duration::from_millis(5);
/// How long a change of status waits for others before it is looked at.
const STATUS: Duration = Duration::from_millis(25);
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

pub struct Control {
    pub client: Client,
    pub controller: String,
    pub pool: IpNet,
    pub metrics_url: String,
    pub registry: Arc<Registry>,
    pub data_plane: DataPlane,
    /// After every swap of the table.
    pub on_applied: Box<dyn Fn() + Send + Sync>,
}

/// What is known between two changes.
#[derive(Default)]
struct State {
    set: Set,
    synced: Synced,
    /// Changes that no table has yet.
    pending: Option<Instant>,
    generation: u64,
    verdicts: Arc<Verdicts>,
    applied: Option<Instant>,
    failures: BindFailures,
    serving: BTreeMap<Key, (Vec<IpAddr>, BTreeSet<u16>)>,
    memory: Memory,
    retry: Retry,
}

impl Control {
    /// Until cancelled; then what is in flight has `grace` to finish.
    pub async fn run(self, cancel: CancellationToken, grace: Duration) {
        let (changes, mut inbox) = mpsc::channel(1024);
        let watches = cluster::watch(&self.client, &changes);
        let (tell, wanted) = watch::channel(Arc::new(Wanted::default()));
        let infrastructure = tokio::spawn(propagate(self.client.clone(), wanted.clone()));
        let writer = tokio::spawn(write(self.client.clone(), self.controller.clone(), wanted));
        let mut state = State::default();
        let mut again: Option<Instant> = None;
        let mut status_due: Option<Instant> = None;
        loop {
            let (effect, told) = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                seen = inbox.recv() => match seen {
                    Some(seen) => (state.gather(seen, &mut inbox).await, false),
                    None => break,
                },
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => (Effect::Config, false),
                () = sleep_until(status_due.unwrap_or_else(Instant::now)), if status_due.is_some() => {
                    (Effect::Status, true)
                }
            };
            if effect == Effect::None || !state.synced.complete() {
                continue;
            }
            if effect == Effect::Status && !told {
                // Mostly what was written here a moment ago: a table has precedence.
                status_due.get_or_insert_with(|| Instant::now() + STATUS);
                continue;
            }
            if effect == Effect::Config {
                self.apply(&mut state).await;
                state.retry.tried(&state.failures, Instant::now());
                again = state.retry.due().into_iter().chain(state.next_expiry()).min();
            }
            let wanted = Wanted {
                set: state.set.clone(),
                verdicts: Arc::clone(&state.verdicts),
                failures: state.failures.clone(),
                metrics_url: Some(self.metrics_url.clone()),
            };
            // The writer lives as long as this loop.
            tell.send_replace(Arc::new(wanted));
            status_due = None;
            if effect == Effect::Config {
                state.report();
            }
        }
        drop(watches);
        writer.abort();
        infrastructure.abort();
        self.data_plane.shutdown(grace).await;
    }

    async fn apply(&self, state: &mut State) {
        state.generation += 1;
        let addresses = host::assign(&state.set, self.pool, &self.controller);
        // The other control thread goes on while this one computes.
        let compiled = tokio::task::block_in_place(|| {
            let State { set, generation, memory, .. } = state;
            memory.now = Timestamp::now().as_second();
            let compiled = compile(set, &addresses, &self.registry, &self.controller, *generation, memory);
            set.changes = Changes::default();
            compiled
        });
        let outcomes = self.data_plane.apply(compiled.table).await;
        if let Some(since) = state.pending.take() {
            self.registry.config_applied(since.elapsed());
        }
        let failures = outcomes.into_iter().filter_map(|(socket, outcome)| {
            let error = outcome.err()?;
            if !state.failures.contains_key(&socket) {
                warn!(%socket, "{error}");
            }
            Some((socket, failure(&error)))
        });
        state.failures = failures.collect::<BindFailures>();
        state.verdicts = Arc::new(compiled.verdicts);
        state.applied = Some(Instant::now());
        self.registry.set_accepted_routes(accepted_routes(&state.verdicts));
        (self.on_applied)();
        debug!(generation = state.generation, "table applied");
    }
}

impl State {
    /// When a certificate ends: that has to be told.
    fn next_expiry(&self) -> Option<Instant> {
        let seconds = u64::try_from(self.memory.next_expiry?.saturating_sub(self.memory.now)).ok()?;
        // Clocks may be set, and sleeps of years are refused.
        Some(Instant::now() + Duration::from_secs(seconds.saturating_add(1)).min(LONGEST_SLEEP))
    }

    /// Folds in `first` and what comes right behind it. A change after a while of rest is not
    /// held up; where one follows another, they are taken together.
    async fn gather(&mut self, first: Seen, inbox: &mut mpsc::Receiver<Seen>) -> Effect {
        let at_most = Instant::now() + AT_MOST;
        let was_complete = self.synced.complete();
        let rested = self.applied.is_some_and(|applied| applied.elapsed() > REST);
        let mut effect = self.fold(first);
        while let Ok(seen) = inbox.try_recv() {
            effect = effect.max(self.fold(seen));
        }
        while !rested && Instant::now() < at_most {
            match timeout_at(at_most.min(Instant::now() + IDLE), inbox.recv()).await {
                Ok(Some(seen)) => effect = effect.max(self.fold(seen)),
                Ok(None) | Err(_) => break,
            }
        }
        // The first complete picture is compiled, even if there is nothing in it.
        if !was_complete && self.synced.complete() { Effect::Config } else { effect }
    }

    fn fold(&mut self, seen: Seen) -> Effect {
        self.synced.saw(seen.change.kind());
        let effect = self.set.fold(seen.change);
        if effect == Effect::Config && self.pending.is_none_or(|since| seen.at < since) {
            self.pending = Some(seen.at);
        }
        effect
    }

    /// Says which Gateways got or lost their addresses.
    fn report(&mut self) {
        let mut serving = BTreeMap::new();
        for (key, verdict) in &self.verdicts.gateways {
            let verdict = with_sockets(verdict.clone(), &self.failures);
            let sockets = verdict.listeners.iter().flat_map(|listener| &listener.binds);
            let ports: BTreeSet<u16> = sockets
                .filter(|socket| !self.failures.contains_key(socket))
                .map(|socket| socket.address.port())
                .collect();
            if !verdict.addresses.is_empty() && !ports.is_empty() {
                serving.insert(key.clone(), (verdict.addresses, ports));
            }
        }
        for (key, (addresses, ports)) in &serving {
            if self.serving.get(key).is_none_or(|(had, on)| (had, on) != (addresses, ports)) {
                let list =
                    addresses.iter().flat_map(|ip| ports.iter().map(|port| SocketAddr::new(*ip, *port).to_string()));
                info!("Gateway {key} serves on {}", list.collect::<Vec<_>>().join(" "));
            }
        }
        for key in self.serving.keys().filter(|key| !serving.contains_key(*key)) {
            info!("Gateway {key} serves no more");
        }
        self.serving = serving;
    }
}

fn failure(error: &BindError) -> BindFailure {
    match error {
        BindError::NotLocal(_) => BindFailure::NotLocal,
        BindError::Certificate { reason, .. } => BindFailure::Certificate(reason.clone()),
        other => BindFailure::Unavailable(other.to_string()),
    }
}

fn accepted_routes(verdicts: &Verdicts) -> Vec<(ListenerLabels, u64)> {
    let gateways = verdicts.gateways.iter();
    let listeners = gateways.flat_map(|(key, gateway)| gateway.listeners.iter().map(move |listener| (key, listener)));
    listeners
        .map(|(key, listener)| {
            let labels = ListenerLabels {
                gateway_namespace: key.namespace.clone(),
                gateway: key.name.clone(),
                listener: listener.name.clone(),
            };
            (labels, u64::try_from(listener.attached_routes).unwrap_or_default())
        })
        .collect()
}
