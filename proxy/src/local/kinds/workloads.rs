//! What a cluster adds to Pods, to what makes them and to where they run.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::rules::{entry, text};
use super::{Kind, Rules};
use crate::local::admit::FieldError;
use crate::local::status::StatusError;
use crate::local::store::Txn;

pub(super) struct Pods;

/// Seconds a Pod takes to go when neither it nor the client says.
const POD_GRACE: u64 = 30;
/// Taints which every Pod tolerates for a while.
const TOLERATED: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const TOLERATED_SECONDS: u64 = 300;

impl Rules for Pods {
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        let class = quality(&object["spec"]);
        let name = text(&object["metadata"]["name"]).to_owned();
        if old.is_none() {
            let status = entry(object, "status");
            status.insert("phase".into(), "Pending".into());
            status.insert("qosClass".into(), class.into());
        }
        let spec = entry(object, "spec");
        if old.is_none() {
            let priority = match text(spec.get("priorityClassName").unwrap_or(&Value::Null)) {
                "system-node-critical" => 2_000_001_000,
                "system-cluster-critical" => 2_000_000_000,
                "" => 0,
                class => {
                    let why = format!("no PriorityClass with name {class} was found");
                    return Err(
                        StatusError::forbidden(format!("pods {name:?} is forbidden: {why}")).naming("pods", &name)
                    );
                }
            };
            spec.entry("priority").or_insert_with(|| priority.into());
            spec.entry("preemptionPolicy").or_insert_with(|| "PreemptLowerPriority".into());
        }
        TOLERATED.iter().for_each(|key| tolerate(spec, key));
        Ok(Vec::new())
    }

    /// A Pod that runs somewhere goes when its node says so, or at once when asked for.
    fn grace(&self, object: &Value, asked: Option<u64>) -> Option<u64> {
        let runs = !text(&object["spec"]["nodeName"]).is_empty();
        let ended = ["Succeeded", "Failed"].contains(&text(&object["status"]["phase"]));
        if !runs || ended {
            return Some(0);
        }
        Some(asked.or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_u64()).unwrap_or(POD_GRACE))
    }
}

fn tolerate(spec: &mut Map<String, Value>, key: &str) {
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Value::Array(tolerations) = tolerations else { return };
    let held = tolerations.iter().any(|toleration| {
        let effect = text(&toleration["effect"]);
        let own = text(&toleration["key"]);
        (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
    });
    if !held {
        tolerations.push(json!({
            "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED_SECONDS,
        }));
    }
}

/// How much of its resources a Pod is promised.
fn quality(spec: &Value) -> &'static str {
    let listed = |field: &str| spec[field].as_array().into_iter().flatten();
    let containers: Vec<&Value> =
        listed("containers").chain(listed("initContainers")).map(|container| &container["resources"]).collect();
    let named = |list: &Value| -> BTreeSet<String> {
        let entries = list.as_object().into_iter().flatten();
        entries
            .filter(|(name, value)| ["cpu", "memory"].contains(&name.as_str()) && *value != "0")
            .map(|(name, _)| name.clone())
            .collect()
    };
    let nothing =
        |resources: &&Value| named(&resources["requests"]).is_empty() && named(&resources["limits"]).is_empty();
    if containers.iter().all(nothing) {
        return "BestEffort";
    }
    let promised = |resources: &&Value| {
        let same = |name: &str| resources["requests"][name] == resources["limits"][name];
        named(&resources["limits"]).len() == 2 && same("cpu") && same("memory")
    };
    if containers.iter().all(promised) { "Guaranteed" } else { "Burstable" }
}

/// A cluster also holds a claim back from its deletion while a Pod uses it; nobody here would let
/// it go again.
pub(super) struct Claims;

impl Rules for Claims {
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        if old.is_none() {
            entry(object, "status").insert("phase".into(), "Pending".into());
        }
        Ok(Vec::new())
    }
}

pub(super) struct Jobs;

impl Rules for Jobs {
    /// A Job knows its Pods by labels of its own, unless it says how.
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        if old.is_some() || object["spec"]["manualSelector"] == true {
            return Ok(Vec::new());
        }
        let (name, uid) = (object["metadata"]["name"].clone(), object["metadata"]["uid"].clone());
        let same = object["metadata"]["labels"] == object["spec"]["template"]["metadata"]["labels"];
        let labels = entry(entry_of(object, &["spec", "template", "metadata"]), "labels");
        for prefix in ["", "batch.kubernetes.io/"] {
            labels.insert(format!("{prefix}controller-uid"), uid.clone());
            labels.insert(format!("{prefix}job-name"), name.clone());
        }
        let labels = labels.clone();
        if same {
            object["metadata"]["labels"] = labels.into();
        }
        let selector = entry(entry_of(object, &["spec", "selector"]), "matchLabels");
        selector.insert("batch.kubernetes.io/controller-uid".into(), uid);
        Ok(Vec::new())
    }
}

/// The object at this path, made where it is missing.
fn entry_of<'a>(object: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(object, |at, field| {
        entry(at, field);
        &mut at[*field]
    })
}

pub(super) struct DaemonSets;

/// How often the template has changed, as old clients look for it.
const GENERATION: &str = "deprecated.daemonset.template.generation";

impl Rules for DaemonSets {
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        let before = old.and_then(|old| text(&old["metadata"]["annotations"][GENERATION]).parse::<u64>().ok());
        let changed = old.is_none_or(|old| old["spec"]["template"] != object["spec"]["template"]);
        let generation = before.unwrap_or(0) + u64::from(changed);
        entry(&mut object["metadata"], "annotations").insert(GENERATION.into(), generation.to_string().into());
        Ok(Vec::new())
    }
}

pub(super) struct Nodes;

impl Rules for Nodes {
    /// A new Node is not ready for Pods until somebody says so.
    fn prepare(
        &self,
        _kind: &Kind,
        _txn: &Txn<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<FieldError>, StatusError> {
        if old.is_some() {
            return Ok(Vec::new());
        }
        let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
        let taints = entry(object, "spec").entry("taints").or_insert_with(|| json!([]));
        if let Value::Array(taints) = taints
            && !taints.iter().any(|found| found["key"] == taint["key"] && found["effect"] == taint["effect"])
        {
            taints.push(taint);
        }
        Ok(Vec::new())
    }
}
