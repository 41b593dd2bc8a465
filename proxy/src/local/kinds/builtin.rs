//! The kinds that are there from the start.

use std::sync::Arc;

use super::cells::{self, Column};
use super::checks::{self, Checks, nothing};
use super::events::{self, Events};
use super::rules::{ConfigMaps, Namespaces, Plain, Reviews, Secrets};
use super::services::Services;
use super::workloads::{Claims, DaemonSets, Jobs, Nodes, Pods};
use super::{Kind, Rules, Scale, View};
use crate::local::crd::CustomResourceDefinitions;

const GATEWAY_API: &str = "gateway.networking.k8s.io";

struct Build(Kind);

type Check = fn(&checks::At<'_>);

fn access(name: &str, plural: &str) -> Build {
    kind("rbac.authorization.k8s.io", name, plural)
}

/// A question that is answered and not kept.
fn review(group: &str, name: &str) -> Build {
    kind(group, name, &format!("{}s", name.to_ascii_lowercase())).ephemeral().rules(Reviews)
}

fn kind(group: &str, name: &str, plural: &str) -> Build {
    Build(Kind {
        group: group.into(),
        versions: vec!["v1".into()],
        storage: "v1".into(),
        kind: name.into(),
        plural: plural.into(),
        singular: name.to_ascii_lowercase(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        has_status: false,
        has_generation: false,
        typed: true,
        ephemeral: false,
        columns: vec![Column::age()],
        selectable: Vec::new(),
        scale: None,
        answers_with_object: false,
        view: None,
        warning: None,
        terminating: false,
        rules: Arc::new(Plain),
        checks: None,
    })
}

pub(super) fn custom(group: &str, name: &str, plural: &str, singular: &str) -> Kind {
    let Build(made) = kind(group, name, plural).custom();
    Kind { versions: Vec::new(), singular: singular.into(), ..made }
}

/// A kind of the Gateway API: a custom resource to every client.
fn gateway_api(name: &str, plural: &str, short: &[&str]) -> Build {
    kind(GATEWAY_API, name, plural).custom().short(short).category("gateway-api").status().generation()
}

impl Build {
    fn custom(mut self) -> Self {
        self.0.typed = false;
        self
    }

    fn short(mut self, names: &[&str]) -> Self {
        self.0.short_names = names.iter().map(|&name| name.into()).collect();
        self
    }

    fn category(mut self, category: &str) -> Self {
        self.0.categories = vec![category.into()];
        self
    }

    fn cluster(mut self) -> Self {
        self.0.namespaced = false;
        self
    }

    fn status(mut self) -> Self {
        self.0.has_status = true;
        self
    }

    fn no_status(mut self) -> Self {
        self.0.has_status = false;
        self
    }

    fn generation(mut self) -> Self {
        self.0.has_generation = true;
        self
    }

    fn versions(mut self, versions: &[&str]) -> Self {
        self.0.versions = versions.iter().map(|&version| version.into()).collect();
        self
    }

    fn ephemeral(mut self) -> Self {
        self.0.ephemeral = true;
        self
    }

    fn columns(mut self, columns: Vec<Column>) -> Self {
        self.0.columns = columns;
        self
    }

    fn selectable(mut self, fields: &[&str]) -> Self {
        self.0.selectable = fields.iter().map(|&field| field.into()).collect();
        self
    }

    fn scale(mut self) -> Self {
        self.0.scale = Some(Scale::default());
        self
    }

    fn view(mut self, view: View) -> Self {
        self.0.view = Some(view);
        self
    }

    fn answers_with_object(mut self) -> Self {
        self.0.answers_with_object = true;
        self
    }

    fn warns(mut self, warning: &str) -> Self {
        self.0.warning = Some(warning.into());
        self
    }

    fn checks(mut self, object: Check, status: Check) -> Self {
        self.0.checks = Some(Checks { object, status });
        self
    }

    fn rules(mut self, rules: impl Rules + 'static) -> Self {
        self.0.rules = Arc::new(rules);
        self
    }
}

pub(super) fn kinds() -> impl Iterator<Item = Kind> {
    core().into_iter().chain(platform()).chain(gateway()).map(|build| build.0)
}

fn core() -> Vec<Build> {
    let event = |group| {
        kind(group, "Event", "events").short(&["ev"]).columns(cells::event()).selectable(&[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "reason",
            "type",
            "reportingComponent",
        ])
    };
    vec![
        kind("", "Namespace", "namespaces")
            .short(&["ns"])
            .cluster()
            .status()
            .columns(cells::namespace())
            .selectable(&["status.phase"])
            .rules(Namespaces),
        kind("", "Service", "services")
            .short(&["svc"])
            .category("all")
            .status()
            .answers_with_object()
            .columns(cells::service())
            .checks(nothing, checks::network::service_status)
            .selectable(&["spec.clusterIP", "spec.type"])
            .rules(Services),
        kind("", "Endpoints", "endpoints")
            .warns("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
            .short(&["ep"])
            .columns(cells::endpoints())
            .checks(checks::core::endpoints, nothing),
        kind("", "Secret", "secrets").columns(cells::secret()).selectable(&["type"]).rules(Secrets),
        kind("", "ConfigMap", "configmaps").short(&["cm"]).columns(cells::config_map()).rules(ConfigMaps),
        kind("", "Pod", "pods")
            .short(&["po"])
            .category("all")
            .status()
            .generation()
            .answers_with_object()
            .columns(cells::pod())
            .checks(checks::core::pod, nothing)
            .rules(Pods)
            .selectable(&[
                "spec.hostNetwork",
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "status.nominatedNodeName",
                "status.phase",
                "status.podIP",
                "status.podIPs",
            ]),
        event("").rules(Events),
        kind("", "PersistentVolumeClaim", "persistentvolumeclaims")
            .short(&["pvc"])
            .status()
            .rules(Claims)
            .checks(checks::core::claim, nothing)
            .columns(cells::persistent_volume_claim()),
        kind("", "ServiceAccount", "serviceaccounts")
            .answers_with_object()
            .short(&["sa"])
            .columns(cells::service_account()),
        kind("", "Node", "nodes")
            .short(&["no"])
            .cluster()
            .status()
            .columns(cells::node())
            .rules(Nodes)
            .checks(checks::core::node, nothing)
            .selectable(&["spec.unschedulable"]),
        event("events.k8s.io").rules(Events).view(events::view()),
    ]
}

fn platform() -> Vec<Build> {
    vec![
        kind("apps", "Deployment", "deployments")
            .short(&["deploy"])
            .category("all")
            .status()
            .generation()
            .scale()
            .checks(checks::apps::deployment, checks::apps::deployment_status)
            .columns(cells::deployment()),
        kind("apps", "ReplicaSet", "replicasets")
            .short(&["rs"])
            .category("all")
            .status()
            .generation()
            .scale()
            .checks(checks::apps::replica_set, checks::apps::replica_set_status)
            .columns(cells::replica_set()),
        kind("apps", "DaemonSet", "daemonsets")
            .short(&["ds"])
            .category("all")
            .status()
            .generation()
            .rules(DaemonSets)
            .checks(checks::apps::daemon_set, checks::apps::daemon_set_status)
            .columns(cells::daemon_set()),
        kind("apps", "StatefulSet", "statefulsets")
            .short(&["sts"])
            .category("all")
            .status()
            .scale()
            .generation()
            .checks(checks::apps::stateful_set, checks::apps::stateful_set_status)
            .columns(cells::stateful_set()),
        kind("batch", "Job", "jobs")
            .category("all")
            .status()
            .generation()
            .rules(Jobs)
            .checks(checks::apps::job, nothing)
            .columns(cells::job())
            .selectable(&["status.successful"]),
        kind("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
            .versions(&["v2"])
            .short(&["hpa"])
            .category("all")
            .status()
            .checks(checks::scaling::autoscaler, checks::scaling::autoscaler_status)
            .columns(cells::horizontal_pod_autoscaler()),
        kind("policy", "PodDisruptionBudget", "poddisruptionbudgets")
            .short(&["pdb"])
            .status()
            .generation()
            .checks(checks::scaling::pod_disruption_budget, checks::scaling::budget_status)
            .columns(cells::pod_disruption_budget()),
        kind("discovery.k8s.io", "EndpointSlice", "endpointslices")
            .generation()
            .columns(cells::endpoint_slice())
            .checks(checks::network::endpoint_slice, nothing),
        kind("networking.k8s.io", "Ingress", "ingresses")
            .short(&["ing"])
            .status()
            .generation()
            .checks(checks::network::ingress, checks::network::ingress_status)
            .columns(cells::ingress()),
        kind("networking.k8s.io", "IngressClass", "ingressclasses")
            .cluster()
            .generation()
            .checks(checks::network::ingress_class, nothing)
            .columns(cells::ingress_class()),
        kind("networking.k8s.io", "NetworkPolicy", "networkpolicies")
            .short(&["netpol"])
            .generation()
            .checks(checks::network::network_policy, nothing)
            .columns(cells::network_policy()),
        kind("coordination.k8s.io", "Lease", "leases").columns(cells::lease()).checks(checks::core::lease, nothing),
        access("Role", "roles").checks(checks::access::role, nothing).columns(cells::created_at()),
        access("RoleBinding", "rolebindings")
            .checks(checks::access::role_binding, nothing)
            .columns(cells::role_binding()),
        access("ClusterRole", "clusterroles")
            .cluster()
            .checks(checks::access::cluster_role, nothing)
            .columns(cells::created_at()),
        access("ClusterRoleBinding", "clusterrolebindings")
            .cluster()
            .checks(checks::access::cluster_role_binding, nothing)
            .columns(cells::role_binding()),
        review("authorization.k8s.io", "SelfSubjectAccessReview").cluster(),
        review("authorization.k8s.io", "SelfSubjectRulesReview").cluster(),
        review("authorization.k8s.io", "SubjectAccessReview").cluster(),
        review("authorization.k8s.io", "LocalSubjectAccessReview"),
        review("authentication.k8s.io", "SelfSubjectReview").cluster(),
        kind("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions")
            .short(&["crd", "crds"])
            .category("api-extensions")
            .cluster()
            .status()
            .generation()
            .rules(CustomResourceDefinitions)
            .columns(cells::created_at()),
    ]
}

fn gateway() -> Vec<Build> {
    vec![
        gateway_api("GatewayClass", "gatewayclasses", &["gc"]).cluster().columns(vec![
            Column::path("Controller", "string", ".spec.controllerName"),
            Column::path("Accepted", "string", ".status.conditions[?(@.type==\"Accepted\")].status"),
            Column::created(),
            Column::path("Description", "string", ".spec.description").wide(),
        ]),
        gateway_api("Gateway", "gateways", &["gtw"]).columns(vec![
            Column::path("Class", "string", ".spec.gatewayClassName"),
            Column::path("Address", "string", ".status.addresses[*].value"),
            Column::path("Programmed", "string", ".status.conditions[?(@.type==\"Programmed\")].status"),
            Column::created(),
        ]),
        gateway_api("HTTPRoute", "httproutes", &[]).columns(hostnames()),
        gateway_api("GRPCRoute", "grpcroutes", &[]).columns(hostnames()),
        gateway_api("TLSRoute", "tlsroutes", &[]).columns(vec![Column::created()]),
        gateway_api("TCPRoute", "tcproutes", &[]).columns(vec![Column::created()]),
        gateway_api("UDPRoute", "udproutes", &[]).columns(vec![Column::created()]),
        gateway_api("ListenerSet", "listenersets", &["lset"]).columns(vec![
            Column::path("Accepted", "string", ".status.conditions[?(@.type==\"Accepted\")].status"),
            Column::path("Programmed", "string", ".status.conditions[?(@.type==\"Programmed\")].status"),
            Column::created(),
        ]),
        gateway_api("BackendTLSPolicy", "backendtlspolicies", &["btlspolicy"]).columns(vec![Column::created()]),
        gateway_api("ReferenceGrant", "referencegrants", &["refgrant"])
            .no_status()
            .versions(&["v1", "v1beta1"])
            .columns(vec![Column::created()]),
    ]
}

fn hostnames() -> Vec<Column> {
    vec![Column::path("Hostnames", "string", ".spec.hostnames"), Column::created()]
}
