//! A `coordination.k8s.io` Lease: tells the living from the dead, and numbers its holders.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    connect::Connection,
    read::{Failure, within},
    send::CANARY_MANAGER,
};

/// How long a holder that says nothing counts as living.
pub const DURATION: Duration = Duration::from_secs(30);
/// How often a holder renews.
pub const RENEW: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// Ours; each change of holder has a higher token. `order`: what an earlier run was told.
    Held { fence: u64, order: Option<String> },
    /// Somebody else's, and alive.
    Taken { holder: String, until: String },
}

/// What operators tell a run, and what a run tells: annotations, since the Lease is what
/// all of them may write.
pub const ORDER: &str = "gwtop.dev/canary-order";
pub const STATE: &str = "gwtop.dev/canary-state";
pub const ARGUMENTS: &str = "gwtop.dev/canary-arguments";
/// Two renewals: a holder whose clock is not ours shows by them that it lives.
const SILENCE: Duration = Duration::from_secs(2 * RENEW.as_secs() + 2);

/// Host, process and process namespace: enough to see that a holder on this machine died.
pub fn identity() -> String {
    format!("{}/{}/{}", hostname(), std::process::id(), pid_namespace())
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

fn pid_namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

/// Whether a holder certainly runs no more: same machine, same process namespace, no such process.
fn died_here(holder: &str) -> bool {
    let mut parts = holder.split('/');
    let (Some(host), Some(pid), Some(namespace)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    !namespace.is_empty()
        && host == hostname()
        && namespace == pid_namespace()
        && Path::new("/proc/self/stat").exists()
        && pid.parse::<u32>().is_ok_and(|pid| {
            // The state follows the name, which may hold anything; a zombie runs no more either.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
            matches!(state, None | Some('Z' | 'X'))
        })
}

fn api(connection: &Connection, namespace: &str) -> Api<Lease> {
    Api::namespaced(connection.client.clone(), namespace)
}

fn params() -> PostParams {
    PostParams { field_manager: Some(CANARY_MANAGER.to_owned()), ..PostParams::default() }
}

fn expiry(spec: &LeaseSpec) -> Option<Timestamp> {
    let MicroTime(renewed) = spec.renew_time.as_ref().or(spec.acquire_time.as_ref())?;
    let seconds = u64::try_from(spec.lease_duration_seconds?).ok()?;
    renewed.checked_add(Duration::from_secs(seconds)).ok()
}

fn free(spec: &LeaseSpec, now: Timestamp) -> bool {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    holder.is_empty() || died_here(holder) || expiry(spec).is_none_or(|expiry| expiry < now)
}

/// Takes the Lease if nobody living holds it. Two that try at once: the API lets one through.
pub async fn acquire(
    connection: &Connection,
    namespace: &str,
    name: &str,
    holder: &str,
    at_least: u64,
) -> Result<Acquired, Failure> {
    let api = api(connection, namespace);
    let now = Timestamp::now();
    let mut existing = match within(connection, api.get(name)).await {
        Ok(lease) => Some(lease),
        Err(Failure::NotFound(_)) => None,
        Err(failure) => return Err(failure),
    };
    if let Some(lease) = existing.as_mut()
        && lease
            .spec
            .as_ref()
            .is_some_and(|spec| spec.holder_identity.as_deref() != Some(holder) && doubtful(spec, now))
    {
        // Its times are by another clock: only its silence tells.
        let seen = lease.metadata.resource_version.clone();
        let deadline = tokio::time::Instant::now() + SILENCE;
        let mut spoke = false;
        while !spoke && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_secs(1)).await;
            *lease = within(connection, api.get(name)).await?;
            spoke = lease.metadata.resource_version != seen;
        }
        let spec = lease.spec.as_ref();
        let left = spec.is_none_or(|spec| spec.holder_identity.as_deref().unwrap_or_default().is_empty());
        if spoke && !left {
            let holder = spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
            return Ok(Acquired::Taken { holder, until: "it ends".to_owned() });
        }
        if let Some(spec) = lease.spec.as_mut() {
            spec.holder_identity = None;
        }
    }
    let now = Timestamp::now();
    let order = existing.as_ref().and_then(|lease| lease.metadata.annotations.as_ref()?.get(ORDER).cloned());
    let spec = existing.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let previous = spec.holder_identity.as_deref().unwrap_or_default();
    if previous != holder && !free(&spec, now) {
        let until = expiry(&spec).map_or_else(|| "it ends".to_owned(), |expiry| expiry.to_string());
        return Ok(Acquired::Taken { holder: previous.to_owned(), until });
    }
    let transitions = u64::try_from(spec.lease_transitions.unwrap_or_default()).unwrap_or_default();
    let fence = if previous == holder { transitions } else { transitions + 1 }.max(at_least);
    let written = LeaseSpec {
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(DURATION.as_secs() as i32),
        lease_transitions: Some(i32::try_from(fence).unwrap_or(i32::MAX)),
        ..LeaseSpec::default()
    };
    let outcome = match existing {
        Some(mut lease) => {
            lease.spec = Some(written);
            within(connection, api.replace(name, &params(), &lease)).await
        }
        None => {
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(written) };
            within(connection, api.create(&params(), &lease)).await
        }
    };
    match outcome {
        Ok(_) => Ok(Acquired::Held { fence, order }),
        Err(Failure::Conflict(_)) => Ok(Acquired::Taken {
            holder: "another process that started at the same moment".to_owned(),
            until: "it ends".to_owned(),
        }),
        Err(failure) => Err(failure),
    }
}

/// Whether only watching can tell if the holder lives: it is silent by our clock, or its
/// clock is ahead of ours, and it is not a process of this machine.
fn doubtful(spec: &LeaseSpec, now: Timestamp) -> bool {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() || died_here(holder) {
        return false;
    }
    let ahead = now.checked_add(DURATION + RENEW).unwrap_or(Timestamp::MAX);
    expiry(spec).is_none_or(|expiry| expiry < now || expiry > ahead)
}

/// A Lease as those who do not hold it see it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub name: String,
    pub namespace: String,
    pub holder: String,
    /// By our clock.
    pub alive: bool,
    pub order: Option<String>,
    pub state: Option<String>,
    pub arguments: Option<String>,
}

impl From<Lease> for Seen {
    fn from(lease: Lease) -> Self {
        let spec = lease.spec.unwrap_or_default();
        let annotations = lease.metadata.annotations.unwrap_or_default();
        let text = |name: &str| annotations.get(name).cloned();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        Self {
            alive: !free(&spec, Timestamp::now()),
            holder,
            order: text(ORDER),
            state: text(STATE),
            arguments: text(ARGUMENTS),
            name: lease.metadata.name.unwrap_or_default(),
            namespace: lease.metadata.namespace.unwrap_or_default(),
        }
    }
}

/// None if there is no such Lease.
pub async fn look(connection: &Connection, namespace: &str, name: &str) -> Result<Option<Seen>, Failure> {
    match within(connection, api(connection, namespace).get(name)).await {
        Ok(lease) => Ok(Some(lease.into())),
        Err(Failure::NotFound(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// All Leases of a namespace, or of all.
pub async fn list(connection: &Connection, namespace: Option<&str>) -> Result<Vec<Seen>, Failure> {
    let api: Api<Lease> = match namespace {
        Some(namespace) => api(connection, namespace),
        None => Api::all(connection.client.clone()),
    };
    Ok(within(connection, api.list(&ListParams::default())).await?.items.into_iter().map(Seen::from).collect())
}

/// Writes an annotation of the Lease, and nothing else of it.
pub async fn annotate(
    connection: &Connection,
    namespace: &str,
    name: &str,
    annotations: &serde_json::Value,
) -> Result<(), Failure> {
    let params = PatchParams { field_manager: Some(CANARY_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    within(connection, api(connection, namespace).patch(name, &params, &patch)).await.map(|_| ())
}

/// Removes a Lease that nobody holds.
pub async fn remove(connection: &Connection, namespace: &str, name: &str) -> Result<(), Failure> {
    within(connection, api(connection, namespace).delete(name, &DeleteParams::default())).await.map(|_| ())
}

/// One patch that only the holder's Lease admits. `Ok(false)`: it is somebody else's.
async fn as_holder(
    connection: &Connection,
    namespace: &str,
    name: &str,
    holder: &str,
    then: serde_json::Value,
) -> Result<bool, Failure> {
    let operations = json!([{"op": "test", "path": "/spec/holderIdentity", "value": holder}, then]);
    let Ok(patch) = serde_json::from_value(operations) else { return Ok(false) };
    let params = PatchParams { field_manager: Some(CANARY_MANAGER.to_owned()), ..PatchParams::default() };
    match within(connection, api(connection, namespace).patch(name, &params, &Patch::Json::<()>(patch))).await {
        Ok(_) => Ok(true),
        Err(Failure::NotFound(_)) => Ok(false),
        // Somebody wrote at the same moment: who, only the Lease tells.
        Err(Failure::Conflict(_) | Failure::Invalid(_)) => {
            Ok(look(connection, namespace, name).await?.is_some_and(|seen| seen.holder == holder))
        }
        Err(failure) => Err(failure),
    }
}

/// Says that we live. `Ok(false)`: the Lease is somebody else's now.
pub async fn renew(connection: &Connection, namespace: &str, name: &str, holder: &str) -> Result<bool, Failure> {
    let then = json!({"op": "add", "path": "/spec/renewTime", "value": MicroTime(Timestamp::now())});
    as_holder(connection, namespace, name, holder, then).await
}

/// Gives the Lease back: the next run need not wait. The transitions count stays, so that
/// tokens never repeat.
pub async fn release(connection: &Connection, namespace: &str, name: &str, holder: &str) -> Result<(), Failure> {
    let then = json!({"op": "remove", "path": "/spec/holderIdentity"});
    as_holder(connection, namespace, name, holder, then).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: &str, age: u64) -> LeaseSpec {
        let renewed = Timestamp::now().checked_sub(Duration::from_secs(age)).unwrap();
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(renewed)),
            lease_duration_seconds: Some(30),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_free_when_its_holder_is_silent_or_certainly_dead() {
        let now = Timestamp::now();
        assert!(!free(&spec("elsewhere/1/4026531836", 5), now));
        assert!(free(&spec("elsewhere/1/4026531836", 31), now));
        assert!(free(&spec("", 0), now));
        assert!(!free(&spec(&identity(), 0), now));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = format!("{}/{}/{}", hostname(), child.id(), pid_namespace());
        // Ended, and not yet waited for by its parent.
        for _ in 0..500 {
            if free(&spec(&dead, 0), now) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(free(&spec(&dead, 0), now));
        child.wait().unwrap();
        assert!(free(&spec(&dead, 0), now));
        let elsewhere = dead.replace(&hostname(), "another-machine");
        assert!(!free(&spec(&elsewhere, 0), now));
    }

    /// A clock that jumps must neither take a lease from the living nor keep it for the dead.
    #[test]
    fn times_by_another_clock_are_not_believed() {
        let now = Timestamp::now();
        let elsewhere = "elsewhere/1/4026531836";
        assert!(!doubtful(&spec(elsewhere, 5), now));
        assert!(doubtful(&spec(elsewhere, 3600), now), "silent, or its clock is behind");
        let mut ahead = spec(elsewhere, 0);
        ahead.renew_time = Some(MicroTime(now.checked_add(Duration::from_secs(3600)).unwrap()));
        assert!(doubtful(&ahead, now));
        assert!(!doubtful(&spec("", 3600), now));
    }
}
