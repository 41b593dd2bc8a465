//! The only writer of routes. Every write goes to the audit file, whatever became of it.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _};

use jiff::Timestamp;
use json_patch::Patch as JsonPatch;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    connect::Connection,
    read::{self, Failure, api, within},
};
use crate::{intent::plan::Plan, model::key::ObjectKey, settings::gwtop_state};

/// Who we are in `managedFields` when the operator stages a step.
pub const FIELD_MANAGER: &str = "gwtop";
/// Who we are in `managedFields` during an automatic canary.
pub const CANARY_MANAGER: &str = "gwtop-canary";

/// What became of a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Applied {
        resource_version: String,
        /// The object as the API answered it.
        object: Value,
    },
    /// The object is no longer what the plan was made from; nothing was written.
    Conflict(String),
    /// The API does not admit the change; nothing was written.
    Refused(String),
    /// No answer, and reading back did not tell whether the change was made.
    Unknown(String),
    /// Never got through to the API.
    Unreachable(String),
}

impl Outcome {
    const fn name(&self) -> &'static str {
        match self {
            Self::Applied { .. } => "applied",
            Self::Conflict(_) => "conflict",
            Self::Refused(_) => "refused",
            Self::Unknown(_) => "unknown",
            Self::Unreachable(_) => "unreachable",
        }
    }
}

/// Sends a plan. An answer that does not tell whether the change was made is resolved by
/// reading the object back.
pub async fn send(connection: &Connection, plan: &Plan) -> Outcome {
    let outcome = match patch_json(connection, &plan.target, FIELD_MANAGER, &plan.patch).await {
        Ok(object) => applied(object),
        Err(Failure::Conflict(why)) => Outcome::Conflict(why),
        // Also the code of a failed `test`; which of the two, only the object can tell.
        Err(Failure::Invalid(why)) => match read::get(connection, &plan.target).await {
            Ok(now) if !holds(&now, &plan.patch) => Outcome::Conflict(format!(
                "{} changed since it was read: look at it again before deciding ({why})",
                plan.target
            )),
            _ => Outcome::Refused(why),
        },
        Err(Failure::NotFound(why)) => Outcome::Conflict(format!("{} is gone: {why}", plan.target)),
        Err(Failure::Denied(why) | Failure::Rejected(why)) => Outcome::Refused(why),
        Err(Failure::Throttled { reason, .. }) => Outcome::Refused(format!("{reason}; try again")),
        Err(Failure::Unknown(why)) => match read::get(connection, &plan.target).await {
            Ok(now) if holds(&now, &plan.inverse) => applied(now),
            Ok(now) if holds(&now, &plan.patch) => Outcome::Refused(format!("{why}; read back: nothing was changed")),
            Ok(_) => Outcome::Unknown(why),
            Err(_) => Outcome::Unreachable(why),
        },
    };
    let entry = Audit {
        object: &plan.target,
        summary: &plan.summary,
        patch: &json!(plan.patch),
        inverse: &json!(plan.inverse),
        outcome: outcome.name(),
    };
    audit(connection, &entry);
    outcome
}

fn applied(object: Value) -> Outcome {
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    Outcome::Applied { resource_version: version.to_owned(), object }
}

/// Whether the patch would apply to this object.
fn holds(object: &Value, patch: &JsonPatch) -> bool {
    json_patch::patch(&mut object.clone(), patch).is_ok()
}

pub(crate) async fn patch_json(
    connection: &Connection,
    key: &ObjectKey,
    manager: &str,
    patch: &JsonPatch,
) -> Result<Value, Failure> {
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let patch: Patch<()> = Patch::Json(patch.clone());
    let object = within(connection, api(connection, key).patch(&key.name, &params, &patch)).await?;
    read::to_json(&object)
}

/// Whether the API would admit a patch; nothing is stored.
pub(crate) async fn rehearse(
    connection: &Connection,
    key: &ObjectKey,
    manager: &str,
    patch: &JsonPatch,
) -> Result<(), Failure> {
    let params = PatchParams { dry_run: true, field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let patch: Patch<()> = Patch::Json(patch.clone());
    within(connection, api(connection, key).patch(&key.name, &params, &patch)).await.map(|_| ())
}

/// An RFC 7396 merge; with `metadata.resourceVersion` in it, only on that version.
pub(crate) async fn patch_merge(
    connection: &Connection,
    key: &ObjectKey,
    manager: &str,
    patch: &Value,
) -> Result<Value, Failure> {
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let object = within(connection, api(connection, key).patch(&key.name, &params, &Patch::Merge(patch))).await?;
    read::to_json(&object)
}

pub(crate) struct Audit<'a> {
    pub(crate) object: &'a ObjectKey,
    pub(crate) summary: &'a str,
    pub(crate) patch: &'a Value,
    /// Null where undoing takes more than a patch.
    pub(crate) inverse: &'a Value,
    pub(crate) outcome: &'a str,
}

/// Appends one line to `$XDG_STATE_HOME/gwtop/audit.jsonl`. A full disk must not stop a
/// rollback: failing to write it is logged, not returned.
pub(crate) fn audit(connection: &Connection, entry: &Audit<'_>) {
    let who = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".to_owned());
    let line = json!({
        "schema": "gwtop.dev/audit/v1",
        "time": Timestamp::now().to_string(),
        "who": who,
        "context": connection.context,
        "cluster": connection.cluster_url,
        "object": {"kind": entry.object.kind.name(), "namespace": entry.object.namespace, "name": entry.object.name},
        "summary": entry.summary,
        "patch": entry.patch,
        "inverse": entry.inverse,
        "outcome": entry.outcome,
    });
    let path = gwtop_state().join("audit.jsonl");
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        let mut file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        // One write call: lines of two processes do not mix.
        file.write_all(format!("{line}\n").as_bytes())
    });
    if let Err(error) = written {
        tracing::error!(path = %path.display(), %error, "cannot write the audit file");
    }
}
