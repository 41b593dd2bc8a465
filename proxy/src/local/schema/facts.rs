//! What the generated types do not say of the core kinds: how lists and maps merge, which
//! structs are always written, and defaults that a schema can express.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// One definition a line: its name after `io.k8s.api.`, then its facts.
///
/// - `*`: the whole of it is replaced at once
/// - `field[a,b]`: a list of entries known by their keys `a` and `b`; `field[]`: a set
/// - `~key`: strategic merge knows entries by this one key; `!strategy`: and merges so; `-`: not at all
/// - `@`: a map or list that is replaced at once
/// - `{}`: a struct that is written even when nothing is in it; `+`: any other field
/// - `?`: required, but what is absent is not written as an empty value
/// - `=value`: the default
pub(super) const FACTS: &str = "
apps.v1.DaemonSetSpec selector? updateStrategy{}
apps.v1.DaemonSetStatus conditions[type]
apps.v1.DeploymentSpec selector? strategy!retainKeys{}
apps.v1.DeploymentStatus conditions[type]
apps.v1.ReplicaSetSpec selector? template{}
apps.v1.ReplicaSetStatus conditions[type]
apps.v1.StatefulSetSpec selector? serviceName= updateStrategy{}
apps.v1.StatefulSetStatus availableReplicas+=0 conditions[type]
authentication.v1.SelfSubjectReviewStatus userInfo{}
authentication.v1.TokenReviewStatus user{}
autoscaling.v1.CrossVersionObjectReference *
autoscaling.v1.ScaleSpec replicas=0
autoscaling.v2.HorizontalPodAutoscalerStatus conditions[type]
batch.v1.JobStatus conditions~type!merge
batch.v1.PodFailurePolicyOnExitCodesRequirement values[]-
batch.v1.UncountedTerminatedPods failed[]- succeeded[]-
core.v1.ConfigMapEnvSource name=
core.v1.ConfigMapKeySelector * name=
core.v1.ConfigMapProjection name=
core.v1.ConfigMapVolumeSource name=
core.v1.Container env[name] ports[containerPort,protocol]~containerPort resources{} volumeDevices[devicePath] volumeMounts[mountPath]
core.v1.ContainerPort protocol=TCP
core.v1.ContainerRestartRuleOnExitCodes operator? values[]-
core.v1.ContainerStatus allocatedResourcesStatus[name] lastState{} state{} volumeMounts[mountPath]
core.v1.EndpointAddress *
core.v1.EndpointPort *
core.v1.EphemeralContainer env[name] ports[containerPort,protocol]~containerPort resources{} volumeDevices[devicePath] volumeMounts[mountPath]
core.v1.Event reportingComponent= reportingInstance= source{}
core.v1.FileKeySelector *
core.v1.HTTPGetAction port?
core.v1.LocalObjectReference * name=
core.v1.NamespaceStatus conditions[type]
core.v1.NodeDaemonEndpoints kubeletEndpoint{}
core.v1.NodeRuntimeHandler name=
core.v1.NodeSelector *
core.v1.NodeSelectorTerm *
core.v1.NodeSpec podCIDRs[]
core.v1.NodeStatus addresses[type] conditions[type] daemonEndpoints{} nodeInfo{}
core.v1.ObjectFieldSelector *
core.v1.ObjectReference *
core.v1.PersistentVolumeClaimSpec resources{}
core.v1.PersistentVolumeClaimStatus conditions[type]
core.v1.PodSpec containers[name] ephemeralContainers[name] hostAliases[ip] imagePullSecrets[name] initContainers[name] nodeSelector@ resourceClaims[name]!merge,retainKeys schedulingGates[name] topologySpreadConstraints[topologyKey,whenUnsatisfiable]~topologyKey volumes[name]!merge,retainKeys
core.v1.PodStatus conditions[type] hostIPs~ip!merge podIPs[ip] resourceClaimStatuses[name]!merge,retainKeys
core.v1.PodTemplate template{}
core.v1.PodTemplateSpec spec{}
core.v1.ReplicationControllerSpec replicas=1 selector@
core.v1.ReplicationControllerStatus conditions[type]
core.v1.ResourceFieldSelector *
core.v1.ResourceRequirements claims[name]-
core.v1.ResourceStatus resources[resourceID]-
core.v1.ScopeSelector *
core.v1.SecretEnvSource name=
core.v1.SecretKeySelector * name=
core.v1.SecretProjection name=
core.v1.SecretReference *
core.v1.ServiceAccount secrets[name]
core.v1.ServicePort protocol=TCP
core.v1.ServiceSpec ports[port,protocol]~port selector@
core.v1.ServiceStatus conditions[type] loadBalancer{}
core.v1.TCPSocketAction port?
core.v1.TopologySelectorTerm *
core.v1.TypedLocalObjectReference *
discovery.v1.Endpoint addresses[]- conditions{}
discovery.v1.EndpointPort *
events.v1.Event deprecatedSource{} eventTime? regarding{}
events.v1.EventSeries lastObservedTime?
networking.v1.HTTPIngressPath pathType?
networking.v1.IPAddressSpec parentRef?
networking.v1.IngressServiceBackend port{}
networking.v1.IngressStatus loadBalancer{}
networking.v1.NetworkPolicySpec podSelector{}
networking.v1.ServiceBackendPort *
networking.v1.ServiceCIDRStatus conditions[type]
node.v1.Scheduling nodeSelector@
policy.v1.PodDisruptionBudgetSpec selector!replace
policy.v1.PodDisruptionBudgetStatus conditions[type] currentHealthy+=0 desiredHealthy+=0 disruptionsAllowed+=0 expectedPods+=0
rbac.v1.RoleRef * apiGroup=
rbac.v1.Subject *
storage.v1.CSIDriverSpec volumeLifecycleModes[]-
storage.v1.CSINodeSpec drivers[name]
/apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionStatus acceptedNames{} conditions[type]-
/apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps x-kubernetes-validations[rule]
/apimachinery.pkg.apis.meta.v1.Condition lastTransitionTime?
/apimachinery.pkg.apis.meta.v1.LabelSelector *
/apimachinery.pkg.apis.meta.v1.ObjectMeta finalizers[] ownerReferences[uid]
/apimachinery.pkg.apis.meta.v1.OwnerReference *
";

/// Marks a struct that is written even when it is empty; never leaves this server.
pub(super) const ALWAYS: &str = "x-always";
/// Marks a required field that stays absent.
pub(super) const POINTER: &str = "x-pointer";

pub(super) fn apply(definitions: &mut BTreeMap<String, Value>) {
    for line in FACTS.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let name = match words.next().unwrap_or_default() {
            name if name.starts_with('/') => format!("io.k8s.{}", &name[1..]),
            name => format!("io.k8s.api.{name}"),
        };
        // A kind of which nothing here speaks is not generated.
        let Some(definition) = definitions.get_mut(&name) else { continue };
        for word in words {
            if word == "*" {
                definition["x-kubernetes-map-type"] = "atomic".into();
                continue;
            }
            let (field, facts) = field_of(word);
            if let Some(Value::Object(field)) = definition["properties"].get_mut(field) {
                note(field, facts);
            }
        }
    }
}

/// The field of which a word speaks, and what it says.
pub(super) fn field_of(word: &str) -> (&str, &str) {
    word.split_at(word.find(['[', '~', '!', '@', '{', '+', '?', '=']).unwrap_or(word.len()))
}

fn note(field: &mut Map<String, Value>, facts: &str) {
    let mut rest = facts;
    let (mut merge, mut strategy, mut patch) = (None, None, true);
    while let Some(mark) = rest.chars().next() {
        let after = &rest[1..];
        let stop = |text: &str| text.find(['~', '!', '{', '-']).unwrap_or(text.len());
        rest = match mark {
            '[' => {
                let (keys, after) = after.split_once(']').unwrap_or((after, ""));
                if keys.is_empty() {
                    field.insert("x-kubernetes-list-type".into(), "set".into());
                } else {
                    let keys: Vec<&str> = keys.split(',').collect();
                    merge = keys.first().map(|&key| key.to_owned());
                    field.insert("x-kubernetes-list-type".into(), "map".into());
                    field.insert("x-kubernetes-list-map-keys".into(), json!(keys));
                }
                strategy = Some("merge".to_owned());
                after
            }
            '~' => {
                let end = stop(after);
                merge = Some(after[..end].to_owned());
                &after[end..]
            }
            '!' => {
                let end = stop(after);
                strategy = Some(after[..end].to_owned());
                &after[end..]
            }
            '-' => {
                patch = false;
                after
            }
            '@' => {
                field.insert("x-kubernetes-map-type".into(), "atomic".into());
                after
            }
            '{' => {
                field.insert(ALWAYS.into(), true.into());
                &after[1..]
            }
            '+' => {
                field.insert(ALWAYS.into(), true.into());
                after
            }
            '?' => {
                field.insert(POINTER.into(), true.into());
                after
            }
            '=' => {
                let default = after.parse::<i64>().map_or_else(|_| Value::from(after), Value::from);
                field.insert("default".into(), default);
                ""
            }
            _ => "",
        };
    }
    if patch {
        if let Some(merge) = merge {
            field.insert("x-kubernetes-patch-merge-key".into(), merge.into());
        }
        if let Some(strategy) = strategy {
            field.insert("x-kubernetes-patch-strategy".into(), strategy.into());
        }
    }
}
