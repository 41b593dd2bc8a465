//! Every check: what `explain` tells, and the page of all checks.

use super::seen::{self, Kind};
use crate::finding::{Rule, Severity};

/// Which command runs a check unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    Check,
    Preflight,
}

#[derive(Debug)]
pub struct Check {
    pub rule: Rule,
    pub suite: Suite,
    /// Kinds that it cannot do without: where one is denied, the check is unknown.
    pub needs: &'static [Kind],
    /// Whether files alone can answer.
    pub offline: bool,
}

const fn check(
    id: &'static str,
    severity: Severity,
    needs: &'static [Kind],
    offline: bool,
    [title, why, fix]: [&'static str; 3],
) -> Check {
    Check { rule: Rule { id, severity, title, why, fix }, suite: Suite::Check, needs, offline }
}

const fn preflight(
    id: &'static str,
    severity: Severity,
    needs: &'static [Kind],
    offline: bool,
    words: [&'static str; 3],
) -> Check {
    Check { suite: Suite::Preflight, ..check(id, severity, needs, offline, words) }
}

use Severity::{Error, Warning};
use seen::{
    BACKEND_TLS_POLICY, CRD, DAEMON_SET, DEPLOYMENT, GATEWAY, GATEWAY_CLASS, GRPC_ROUTE, HELM_RELEASE, HTTP_ROUTE,
    INGRESS, INGRESS_CLASS, REFERENCE_GRANT, SECRET, SERVICE, TCP_ROUTE, TLS_ROUTE, UDP_ROUTE,
};

const ROUTES_AND_GATEWAYS: &[Kind] = &[GATEWAY, HTTP_ROUTE, GRPC_ROUTE, TLS_ROUTE, TCP_ROUTE, UDP_ROUTE];

pub static CHECKS: &[Check] = &[
    check(
        "API001",
        Error,
        &[],
        true,
        [
            "Manifests can be read, and the API would take them",
            "An object that is no YAML, has an unknown field or breaks a rule of its schema is refused by the API server, or the field is dropped without a word. Only files are checked: what is in a cluster was taken.",
            "Correct the field that the finding names.",
        ],
    ),
    check(
        "GWC001",
        Error,
        &[GATEWAY_CLASS, GATEWAY],
        true,
        [
            "GatewayClasses exist and are accepted",
            "A Gateway whose class is missing, or is not accepted by a controller, is served by nobody: no controller will ever write its status.",
            "Install the implementation that makes the class, or correct spec.gatewayClassName of the Gateway.",
        ],
    ),
    check(
        "GWC002",
        Warning,
        &[GATEWAY_CLASS],
        false,
        [
            "The implementation supports the version of the Gateway API that is installed",
            "SupportedVersion=False says that the controller was not made for the installed CRDs: it may serve, and may ignore fields.",
            "Install the CRDs of the bundle version that the implementation names, or upgrade the implementation.",
        ],
    ),
    check(
        "GW001",
        Error,
        &[GATEWAY],
        false,
        [
            "Gateways are accepted, programmed and have an address",
            "Without Programmed=True nothing is served by the data plane; without an address in status nobody can reach it. The address in spec is only a wish.",
            "Read the condition's message. AddressNotAssigned and an empty status.addresses mostly mean that no load balancer hands out addresses.",
        ],
    ),
    check(
        "GW002",
        Error,
        &[GATEWAY],
        false,
        [
            "Listeners are accepted, programmed, resolved and without conflicts",
            "A listener that is not programmed, or conflicts with another of the same port, takes no connection, whatever the Gateway as a whole says. OverlappingTLSConfig is a warning: a client may get the other listener's certificate.",
            "Read the condition's message: a missing certificate, two listeners that cannot share a port, a kind of route that the protocol does not allow.",
        ],
    ),
    check(
        "GW003",
        Warning,
        &[GATEWAY],
        false,
        [
            "Every listener has routes",
            "A listener to which no route is attached answers 404 to everything.",
            "Attach a route (parentRefs, hostnames and the listener's allowedRoutes have to fit), or remove the listener.",
        ],
    ),
    check(
        "GW004",
        Warning,
        ROUTES_AND_GATEWAYS,
        false,
        [
            "Status speaks of the newest generation",
            "A condition whose observedGeneration is behind metadata.generation was written before the last change: whatever it says is of the past. It is normal for a moment after a change, and otherwise means that the controller hangs.",
            "Wait a moment and check again; then look at the controller's log.",
        ],
    ),
    check(
        "TLS001",
        Error,
        &[GATEWAY, SECRET],
        true,
        [
            "Certificates are there, valid, and made out for the listener's host",
            "A listener whose Secret is missing, expired or made out for another name breaks every client's handshake. A certificate that ends within 30 days is a warning.",
            "Renew the certificate, or name the right Secret in certificateRefs. With cert-manager look at the Certificate: `kubectl describe certificate`.",
        ],
    ),
    check(
        "RT001",
        Error,
        ROUTES_AND_GATEWAYS,
        true,
        [
            "Every parent of a route exists and has answered",
            "A parentRef that no controller has answered in status.parents is attached to nothing: the Gateway does not exist, or its controller does not know this kind of route.",
            "Correct the name and namespace of the parentRef, and check that the Gateway's class has a controller (GWC001).",
        ],
    ),
    check(
        "RT002",
        Error,
        &[HTTP_ROUTE, GRPC_ROUTE, TLS_ROUTE, TCP_ROUTE, UDP_ROUTE],
        false,
        [
            "Routes are accepted and their references resolve",
            "Accepted=False: the route serves nothing at that parent. ResolvedRefs=False: requests that go to the unresolved backend get 500.",
            "By reason: NotAllowedByListeners: allow the route's namespace or kind in allowedRoutes; NoMatchingListenerHostname: let hostnames and a listener's hostname fit; NoMatchingParent: correct sectionName or port; RefNotPermitted: add a ReferenceGrant; BackendNotFound: correct the Service; InvalidKind and UnsupportedProtocol: refer to a kind or protocol that the implementation knows.",
        ],
    ),
    check(
        "RT003",
        Warning,
        ROUTES_AND_GATEWAYS,
        true,
        [
            "Routes are taken whole, and a listener fits them",
            "PartiallyInvalid=True: some rules were left out. A route that no listener of its parent fits by name, port, host, kind or namespace is never asked.",
            "Correct the rules that the message names; let sectionName, port, hostnames and allowedRoutes fit.",
        ],
    ),
    check(
        "RT004",
        Warning,
        ROUTES_AND_GATEWAYS,
        true,
        [
            "Every rule can be reached, and its features are supported",
            "A match that an older route, or an earlier rule, has too is never asked: the older wins. A feature that the class does not list in supportedFeatures may be ignored or refused.",
            "Remove one of the two rules. For a feature: use another implementation, or do without it.",
        ],
    ),
    check(
        "REF001",
        Error,
        &[GATEWAY, REFERENCE_GRANT, HTTP_ROUTE],
        true,
        [
            "References to other namespaces are granted",
            "A route's backend or a listener's certificate in another namespace needs a ReferenceGrant there; without it the backend answers 500 and the listener is not programmed. A grant that nothing uses is told as a note: it opens a door for nobody.",
            "Apply the grant that the finding prints, in the namespace of what is referred to.",
        ],
    ),
    check(
        "BE001",
        Error,
        &[SERVICE, HTTP_ROUTE],
        true,
        [
            "Backends exist, have the port, and have ready endpoints",
            "A Service or port that is missing answers 500. Without a ready endpoint requests get 503; that is a warning, because it may be meant.",
            "Correct the name or port of the backendRef; for endpoints: `kubectl get pods` with the Service's selector.",
        ],
    ),
    check(
        "POL001",
        Warning,
        &[BACKEND_TLS_POLICY, SERVICE],
        true,
        [
            "Policies have a target and are accepted",
            "A policy whose target does not exist, or that is not accepted, does nothing: with a BackendTLSPolicy, connections to the backend are then not what was asked for.",
            "Correct targetRefs, or read the condition's message.",
        ],
    ),
    check(
        "ING001",
        Error,
        &[INGRESS, HTTP_ROUTE],
        true,
        [
            "No Ingress of the migrated class is left",
            "A host that only an Ingress serves goes dark with its controller: an error. An Ingress whose hosts routes serve too is a leftover: a warning. Ingresses of an ACME solver come and go: a note.",
            "`gwtop migrate` makes routes of it; delete it once its traffic has moved.",
        ],
    ),
    check(
        "ING002",
        Warning,
        &[INGRESS, HTTP_ROUTE, GATEWAY],
        false,
        [
            "Hosts that are served twice: where their name points",
            "While Ingress and route serve the same host, DNS alone decides who gets traffic. The finding says whether the name points to the Gateway, to the Ingress, to both or elsewhere.",
            "Move the DNS record when the new way is proven; delete the Ingress after that.",
        ],
    ),
    check(
        "NET001",
        Error,
        &[GATEWAY, HTTP_ROUTE],
        false,
        [
            "Listeners answer as the routes say",
            "Each HTTP and HTTPS listener with an address is asked for every host and rule, with Host and SNI, and the answer is compared with what the routes say: a redirect with its Location, 404 where no rule fits, no 5xx where a backend serves. Any answer is not enough: a 404 of the wrong server is one too.",
            "Compare the evidence: refused connections are the address or a firewall; a wrong certificate or a 404 of a served path is another server, or a Gateway that was not programmed.",
        ],
    ),
    check(
        "NET002",
        Error,
        &[],
        false,
        [
            "Both ends of a migration answer alike",
            "`gwtop migrate --live OLD NEW` sends the same safe requests to both and compares status, headers and body. Told by that command alone.",
            "Read both answers: one of the two has a rule that the other lacks.",
        ],
    ),
    preflight(
        "PF001",
        Error,
        &[DEPLOYMENT, DAEMON_SET, INGRESS, INGRESS_CLASS],
        false,
        [
            "ingress-nginx is gone",
            "ingress-nginx is archived: no release, no fix of a vulnerability will come. The old annotation for the class, and none or two default IngressClasses, are warnings: who serves such an Ingress is chance.",
            "Migrate (`gwtop migrate`), then remove the controller.",
        ],
    ),
    preflight(
        "PF002",
        Error,
        &[CRD],
        false,
        [
            "CRDs of the Gateway API are there, of one bundle, and serve the versions in use",
            "CRDs of different bundle versions or channels do not fit each other. A manifest of a version that is not served cannot be applied again: since 1.6 the standard channel does not serve v1alpha2 of TCPRoute, UDPRoute and TLSRoute, nor v1alpha3 of BackendTLSPolicy.",
            "Install one bundle as a whole; rewrite manifests to v1.",
        ],
    ),
    preflight(
        "PF003",
        Error,
        &[CRD],
        false,
        [
            "No object is stored in a version that goes away",
            "status.storedVersions lists versions that objects may still be stored in. A CRD that drops one of them is refused by the API server, and objects could no longer be read.",
            "Write every object once in the new version (kubectl get -o json | kubectl replace -f -), then remove the old version from status.storedVersions.",
        ],
    ),
    preflight(
        "PF004",
        Error,
        &[HELM_RELEASE],
        true,
        [
            "Nothing uses an API that the target release does not have",
            "The API server answers every served version of an object, so that a read never shows which one a client uses. It is looked for in files, in Helm's releases, in last-applied annotations, in managedFields, and in the server's own metric of requested deprecated APIs.",
            "Rewrite the manifest to the version that the finding names; for Helm upgrade the chart, or use its mapkubeapis plugin, before the cluster is upgraded.",
        ],
    ),
    preflight(
        "PF005",
        Error,
        &[SERVICE],
        true,
        [
            "No Service uses externalIPs",
            "Service.spec.externalIPs is deprecated since 1.36. kube-proxy ignores it by default from 1.40 on, which makes it an error for such a target, and it goes away in 1.43.",
            "Use a Service of type LoadBalancer, or a Gateway with an address.",
        ],
    ),
    preflight(
        "PF006",
        Warning,
        &[CRD, HTTP_ROUTE],
        false,
        [
            "No experimental field is used where standard CRDs are installed",
            "Standard CRDs drop experimental fields when an object is written: what the manifest says is not what is there. It is looked for in files and last-applied annotations.",
            "Install the experimental channel, or remove the field.",
        ],
    ),
    preflight(
        "PF007",
        Warning,
        &[CRD],
        false,
        [
            "The cluster is new enough for the CRDs",
            "The CRDs of 1.6 have rules that a Kubernetes before 1.31 cannot evaluate (TLSRoute).",
            "Upgrade Kubernetes, or stay with an older bundle.",
        ],
    ),
];

pub fn find(id: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.rule.id.eq_ignore_ascii_case(id))
}

/// What `gwtop explain` prints.
pub fn explain(check: &Check) -> String {
    let rule = &check.rule;
    let kinds: Vec<_> = check.needs.iter().map(|(_, kind)| *kind).collect();
    format!(
        "{}Reads: {}\nFiles alone can answer: {}\nLeave out for one object: annotation {}: {}\n",
        told(rule, &format!("gwtop {}", command(check.suite))),
        if kinds.is_empty() { "nothing of the cluster".to_owned() } else { kinds.join(", ") },
        if check.offline { "yes" } else { "no" },
        super::IGNORE,
        rule.id,
    )
}

/// A rule for people, with who runs it.
pub fn told(rule: &Rule, by: &str) -> String {
    let severity = rule.severity.word();
    format!("{} ({severity}): {}\n\n{}\n\nFix: {}\n\nRun by: {by}\n", rule.id, rule.title, rule.why, rule.fix)
}

fn command(suite: Suite) -> &'static str {
    match suite {
        Suite::Check => "check",
        Suite::Preflight => "preflight",
    }
}

/// The table and the sections of the page of all checks.
pub fn markdown() -> String {
    let mut text = String::from("| Id | Gravest | Command | Checks | Files alone |\n|---|---|---|---|---|\n");
    for check in CHECKS {
        let Rule { id, severity, title, .. } = check.rule;
        text += &format!(
            "| [{id}](#{}) | {} | {} | {title} | {} |\n",
            id.to_ascii_lowercase(),
            severity.word(),
            command(check.suite),
            if check.offline { "yes" } else { "no" }
        );
    }
    for check in CHECKS {
        let Rule { id, title, why, fix, .. } = check.rule;
        text += &format!("\n### {id}\n\n**{title}.** {why}\n\n{fix}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_found_whatever_the_case() {
        let ids: BTreeSet<_> = CHECKS.iter().map(|check| check.rule.id).collect();
        assert_eq!(ids.len(), CHECKS.len());
        assert_eq!(find("pf005").unwrap().rule.id, "PF005");
        assert!(explain(find("RT002").unwrap()).contains("RefNotPermitted"));
    }
}
