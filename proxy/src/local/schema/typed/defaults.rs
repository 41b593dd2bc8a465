//! What a kube-apiserver fills in where a core kind says nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// One definition a line: its name after `io.k8s.api.`, then its defaults.
///
/// - `field=value`: JSON, or a bare word; what an object lacks is filled in at every depth
/// - `?other=value`: only where another field is so; `?other`: only where it is there
const DEFAULTS: &str = r#"
apps.v1.DaemonSetSpec revisionHistoryLimit=10
apps.v1.DaemonSetUpdateStrategy type=RollingUpdate rollingUpdate={"maxSurge":0,"maxUnavailable":1}?type=RollingUpdate
apps.v1.DeploymentSpec progressDeadlineSeconds=600 replicas=1 revisionHistoryLimit=10
apps.v1.DeploymentStrategy type=RollingUpdate rollingUpdate={"maxSurge":"25%","maxUnavailable":"25%"}?type=RollingUpdate
apps.v1.ReplicaSetSpec replicas=1
apps.v1.RollingUpdateStatefulSetStrategy partition=0
apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy whenDeleted=Retain whenScaled=Retain
apps.v1.StatefulSetSpec persistentVolumeClaimRetentionPolicy={} podManagementPolicy=OrderedReady replicas=1 revisionHistoryLimit=10 updateStrategy={"type":"RollingUpdate","rollingUpdate":{}}?!updateStrategy.type
autoscaling.v2.HorizontalPodAutoscalerBehavior scaleUp={"stabilizationWindowSeconds":0,"selectPolicy":"Max","policies":[{"type":"Pods","value":4,"periodSeconds":15},{"type":"Percent","value":100,"periodSeconds":15}]} scaleDown={"selectPolicy":"Max","policies":[{"type":"Percent","value":100,"periodSeconds":15}]}
autoscaling.v2.HorizontalPodAutoscalerSpec minReplicas=1 metrics=[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]
batch.v1.JobSpec completions=1?!parallelism parallelism=1 backoffLimit=2147483647?backoffLimitPerIndex backoffLimit=6 completionMode=NonIndexed suspend=false podReplacementPolicy=Failed?podFailurePolicy podReplacementPolicy=TerminatingOrFailed manualSelector=false
batch.v1.PodFailurePolicyOnPodConditionsPattern status=True
core.v1.AzureDiskVolumeSource cachingMode=ReadWrite kind=Shared fsType=ext4 readOnly=false
core.v1.ConfigMapVolumeSource defaultMode=420
core.v1.Container terminationMessagePath=/dev/termination-log terminationMessagePolicy=File
core.v1.ContainerPort protocol=TCP
core.v1.DownwardAPIVolumeSource defaultMode=420
core.v1.EndpointPort protocol=TCP
core.v1.EphemeralContainer terminationMessagePath=/dev/termination-log terminationMessagePolicy=File
core.v1.GRPCAction service=""
core.v1.HTTPGetAction path=/ scheme=HTTP
core.v1.HostPathVolumeSource type=""
core.v1.ISCSIVolumeSource iscsiInterface=default
core.v1.ObjectFieldSelector apiVersion=v1
core.v1.PersistentVolumeClaim status={"phase":"Pending"}
core.v1.PersistentVolumeClaimSpec volumeMode=Filesystem
core.v1.Pod spec={"enableServiceLinks":true}?spec
core.v1.PodSpec dnsPolicy=ClusterFirst restartPolicy=Always schedulerName=default-scheduler securityContext={} terminationGracePeriodSeconds=30
core.v1.Probe failureThreshold=3 periodSeconds=10 successThreshold=1 timeoutSeconds=1
core.v1.ProjectedVolumeSource defaultMode=420
core.v1.RBDVolumeSource keyring=/etc/ceph/keyring pool=rbd user=admin
core.v1.ScaleIOVolumeSource fsType=xfs storageMode=ThinProvisioned
core.v1.Secret type=Opaque
core.v1.SecretVolumeSource defaultMode=420
core.v1.ServiceAccountTokenProjection expirationSeconds=3600
discovery.v1.EndpointPort name="" protocol=TCP
networking.v1.IngressClassParametersReference scope=Cluster
networking.v1.NetworkPolicyPort protocol=TCP
networking.v1.NetworkPolicySpec policyTypes=["Ingress","Egress"]?egress policyTypes=["Ingress"]
rbac.v1.RoleRef apiGroup=rbac.authorization.k8s.io
rbac.v1.Subject apiGroup=rbac.authorization.k8s.io?kind=User apiGroup=rbac.authorization.k8s.io?kind=Group
"#;

/// The defaults of one struct, in the order in which they are filled in.
#[derive(Debug, Default)]
pub(super) struct Defaults(Vec<Default_>);

#[derive(Debug)]
struct Default_ {
    field: String,
    value: Value,
    when: When,
}

#[derive(Debug)]
enum When {
    Always,
    Is(String, Value),
    Has(String),
    HasNot(String),
}

/// Defaults by the name of the definition.
pub(super) fn all() -> BTreeMap<String, Defaults> {
    let lines = DEFAULTS.lines().filter_map(|line| line.split_once(' '));
    let read = |(name, words): (&str, &str)| {
        (format!("io.k8s.api.{name}"), Defaults(words.split(' ').filter_map(Default_::read).collect()))
    };
    lines.map(read).collect()
}

impl Default_ {
    fn read(word: &str) -> Option<Self> {
        let (word, when) = word.split_once('?').map_or((word, ""), |(word, when)| (word, when));
        let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| text.into());
        let when = match (when.split_once('='), when.strip_prefix('!')) {
            (Some((field, text)), _) => When::Is(field.into(), value(text)),
            (None, Some(field)) => When::HasNot(field.into()),
            (None, None) if when.is_empty() => When::Always,
            (None, None) => When::Has(when.into()),
        };
        let (field, text) = word.split_once('=')?;
        Some(Self { field: field.into(), value: value(text), when })
    }
}

impl Defaults {
    pub(super) fn fill(&self, fields: &mut Map<String, Value>) {
        for Default_ { field, value, when } in &self.0 {
            let at = |path: &str| {
                let (first, rest) = path.split_once('.').map_or((path, ""), |(first, rest)| (first, rest));
                let found = fields.get(first)?;
                if rest.is_empty() { Some(found) } else { found.get(rest) }
            };
            let holds = match when {
                When::Always => true,
                When::Is(path, wanted) => at(path) == Some(wanted),
                When::Has(path) => at(path).is_some(),
                When::HasNot(path) => at(path).is_none(),
            };
            if holds {
                merge(fields.entry(field.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

fn merge(found: &mut Value, default: &Value) {
    match (&mut *found, default) {
        (Value::Null, _) => *found = default.clone(),
        (Value::Object(found), Value::Object(default)) => {
            for (field, default) in default {
                merge(found.entry(field.clone()).or_insert(Value::Null), default);
            }
        }
        _ => {}
    }
}

/// Defaults that are computed.
pub(super) fn compute(name: &str, fields: &mut Map<String, Value>) {
    match name {
        "Container" | "EphemeralContainer" => pull_policy(fields, "image", "imagePullPolicy"),
        "Volume" => volume(fields),
        "Service" => service(fields),
        "StatefulSetSpec" => {
            let claims = fields.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut);
            for claim in claims.into_iter().flatten() {
                claim["apiVersion"] = "v1".into();
                claim["kind"] = "PersistentVolumeClaim".into();
            }
        }
        "PodStatus" => {
            one_of_many(fields, "podIP", "podIPs");
            one_of_many(fields, "hostIP", "hostIPs");
        }
        "Pod" => pod(fields),
        "PodSpec" => {
            // The old name of the field goes along with the new one.
            let account = ["serviceAccountName", "serviceAccount"].iter().find_map(|field| fields.get(*field).cloned());
            if let Some(account) = account {
                fields.insert("serviceAccount".into(), account.clone());
                fields.insert("serviceAccountName".into(), account);
            }
        }
        "Job" => {
            let labels = fields.get("spec").map(|spec| spec["template"]["metadata"]["labels"].clone());
            if let (Some(labels @ Value::Object(_)), Some(metadata)) = (labels, fields.get_mut("metadata"))
                && metadata["labels"].as_object().is_none_or(Map::is_empty)
            {
                metadata["labels"] = labels;
            }
        }
        "NodeStatus" => {
            if let (Some(capacity), false) = (fields.get("capacity").cloned(), fields.contains_key("allocatable")) {
                fields.insert("allocatable".into(), capacity);
            }
        }
        _ => {}
    }
}

/// An image whose tag may move is pulled each time.
fn pull_policy(fields: &mut Map<String, Value>, image: &str, policy: &str) {
    let image = fields.get(image).and_then(Value::as_str).unwrap_or_default();
    let moves = match image.rsplit('/').next().unwrap_or_default() {
        _ if image.contains('@') => false,
        name => name.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest"),
    };
    // An image that is no name at all has no tag that could move.
    let named = image.bytes().all(|byte| byte.is_ascii_graphic());
    let wanted = if moves && named && !image.is_empty() { "Always" } else { "IfNotPresent" };
    fields.entry(policy).or_insert_with(|| wanted.into());
}

/// Fields that hold the same address, once as the first of several.
fn one_of_many(fields: &mut Map<String, Value>, one: &str, many: &str) {
    match (fields.get(one).cloned(), fields.get(many).map(|many| many[0]["ip"].clone())) {
        (Some(address), None) => {
            fields.insert(many.into(), json!([{"ip": address}]));
        }
        (None, Some(address @ Value::String(_))) => {
            fields.insert(one.into(), address);
        }
        _ => {}
    }
}

/// An address that a balancer gave is its own, unless it says that it passes connections on.
fn service(fields: &mut Map<String, Value>) {
    if fields.get("spec").is_none_or(|spec| spec["type"] != "LoadBalancer") {
        return;
    }
    let ingress = fields.get_mut("status").and_then(|status| status.pointer_mut("/loadBalancer/ingress"));
    for place in ingress.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        if place.contains_key("ip") {
            place.entry("ipMode").or_insert_with(|| "VIP".into());
        }
    }
}

fn volume(fields: &mut Map<String, Value>) {
    if fields.keys().all(|field| field == "name") {
        fields.insert("emptyDir".into(), json!({}));
    }
    if let Some(Value::Object(image)) = fields.get_mut("image") {
        pull_policy(image, "reference", "pullPolicy");
    }
}

fn pod(fields: &mut Map<String, Value>) {
    let Some(Value::Object(spec)) = fields.get_mut("spec") else { return };
    let host = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(limits @ Value::Object(_)) = container["resources"].get("limits").cloned() {
                merge(&mut container["resources"]["requests"], &limits);
            }
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                if host && port["hostPort"].is_null() {
                    port["hostPort"] = port["containerPort"].clone();
                }
            }
        }
    }
}
