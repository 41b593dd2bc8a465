//! A `coordination.k8s.io` Lease: tells the living from the dead, and numbers its holders.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, api::PostParams};

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
    /// Ours; each change of holder has a higher token.
    Held { fence: u64 },
    /// Somebody else's, and alive.
    Taken { holder: String, until: String },
}

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
    let existing = match within(connection, api.get(name)).await {
        Ok(lease) => Some(lease),
        Err(Failure::NotFound(_)) => None,
        Err(failure) => return Err(failure),
    };
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
        Ok(_) => Ok(Acquired::Held { fence }),
        Err(Failure::Conflict(_)) => Ok(Acquired::Taken {
            holder: "another process that started at the same moment".to_owned(),
            until: "it ends".to_owned(),
        }),
        Err(failure) => Err(failure),
    }
}

/// Says that we live. `Ok(false)`: the Lease is somebody else's now.
pub async fn renew(connection: &Connection, namespace: &str, name: &str, holder: &str) -> Result<bool, Failure> {
    let api = api(connection, namespace);
    let mut lease = match within(connection, api.get(name)).await {
        Ok(lease) => lease,
        Err(Failure::NotFound(_)) => return Ok(false),
        Err(failure) => return Err(failure),
    };
    let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(holder)) else {
        return Ok(false);
    };
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    match within(connection, api.replace(name, &params(), &lease)).await {
        Ok(_) => Ok(true),
        // Somebody wrote in between: the next renewal sees who.
        Err(Failure::Conflict(_)) => Ok(true),
        Err(failure) => Err(failure),
    }
}

/// Gives the Lease back: the next run need not wait. The transitions count stays, so that
/// tokens never repeat.
pub async fn release(connection: &Connection, namespace: &str, name: &str, holder: &str) -> Result<(), Failure> {
    let api = api(connection, namespace);
    let mut lease = within(connection, api.get(name)).await?;
    if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(holder)) {
        spec.holder_identity = None;
        within(connection, api.replace(name, &params(), &lease)).await?;
    }
    Ok(())
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
}
