//! A compilation that remembers the one before gives what one gives that remembers nothing.

use super::*;
use crate::resources::change::{Change, Op};

const LISTENERS: [&str; 3] = ["", "*.example.com", "a.example.com"];
const HOSTS: [&str; 5] = ["a.example.com", "b.example.com", "*.example.com", "x.org", ""];

/// One object of few that there can be, so that a sequence comes back to the same ones.
#[derive(Clone, Debug)]
enum Step {
    Gateway {
        at: usize,
        listener: usize,
        all: bool,
        sets: bool,
    },
    ListenerSet {
        at: usize,
        hostname: usize,
    },
    Route {
        kind: usize,
        at: usize,
        spec: RouteSpec,
    },
    Service {
        at: usize,
        port: u16,
        annotated: bool,
    },
    Endpoints {
        at: usize,
        of: usize,
        addresses: u8,
    },
    Grant {
        shop: bool,
    },
    Policy {
        at: usize,
        valid: bool,
    },
    Namespace {
        label: bool,
    },
    Delete {
        kind: usize,
        at: usize,
    },
    /// Nothing but a note on a route.
    Status {
        at: usize,
    },
    /// A watch that starts over: all objects of the kind at once, one of them left out.
    Again {
        without: usize,
    },
}

#[derive(Clone, Debug)]
struct RouteSpec {
    created: u8,
    parents: Vec<usize>,
    hosts: Vec<usize>,
    paths: Vec<usize>,
    backends: Vec<usize>,
    mirror: bool,
    broken: bool,
}

fn route_specs() -> impl Strategy<Value = RouteSpec> {
    (
        0..4u8,
        prop::collection::vec(0..4usize, 1..3),
        prop::collection::vec(0..HOSTS.len() - 1, 0..3),
        prop::collection::vec(0..3usize, 1..3),
        prop::collection::vec(0..4usize, 0..3),
        any::<bool>(),
        prop::bool::weighted(0.15),
    )
        .prop_map(|(created, parents, hosts, paths, backends, mirror, broken)| RouteSpec {
            created,
            parents,
            hosts,
            paths,
            backends,
            mirror,
            broken,
        })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..2usize, 0..LISTENERS.len(), any::<bool>(), any::<bool>())
            .prop_map(|(at, listener, all, sets)| Step::Gateway { at, listener, all, sets }),
        1 => (0..2usize, 0..HOSTS.len()).prop_map(|(at, hostname)| Step::ListenerSet { at, hostname }),
        12 => (0..5usize, 0..4usize, route_specs()).prop_map(|(kind, at, spec)| Step::Route { kind, at, spec }),
        2 => (0..3usize, 79..82u16, any::<bool>())
            .prop_map(|(at, port, annotated)| Step::Service { at, port, annotated }),
        3 => (0..4usize, 0..3usize, 0..3u8).prop_map(|(at, of, addresses)| Step::Endpoints { at, of, addresses }),
        1 => any::<bool>().prop_map(|shop| Step::Grant { shop }),
        1 => (0..2usize, any::<bool>()).prop_map(|(at, valid)| Step::Policy { at, valid }),
        1 => any::<bool>().prop_map(|label| Step::Namespace { label }),
        4 => (0..9usize, 0..4usize).prop_map(|(kind, at)| Step::Delete { kind, at }),
        1 => (0..4usize).prop_map(|at| Step::Status { at }),
        1 => (0..4usize).prop_map(|without| Step::Again { without }),
    ]
}

const ROUTES: [Kind; 5] = [Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute, Kind::UdpRoute];

fn route(kind: Kind, at: usize, spec: &RouteSpec) -> Value {
    let parents = spec.parents.iter().map(|parent| match parent {
        0 => serde_json::json!({ "name": "g0", "namespace": "shop" }),
        1 => serde_json::json!({ "name": "g1", "namespace": "shop" }),
        2 => serde_json::json!({ "name": "g0", "namespace": "shop", "sectionName": "http" }),
        _ => serde_json::json!({ "kind": "ListenerSet", "name": "s0", "namespace": "shop" }),
    });
    let parents = parents.map(|mut parent| {
        parent["group"] = crate::types::GROUP.into();
        parent["kind"] = parent.get("kind").cloned().unwrap_or("Gateway".into());
        parent
    });
    let parents: Vec<_> = parents.collect();
    let backends: Vec<_> = spec
        .backends
        .iter()
        .enumerate()
        .map(|(weight, of)| serde_json::json!({ "name": format!("app{of}"), "namespace": "shop", "port": 80, "weight": weight + 1 }))
        .collect();
    let hosts: Vec<_> = spec.hosts.iter().map(|host| HOSTS[*host]).collect();
    let mirror = serde_json::json!([{
        "type": "RequestMirror",
        "requestMirror": { "backendRef": { "name": "app2", "namespace": "shop", "port": 80 } },
    }]);
    let filters = if spec.mirror { mirror } else { serde_json::json!([]) };
    let rules: Vec<_> = match kind {
        Kind::HttpRoute => {
            let path = |path: &usize| match (path, spec.broken) {
                (0, true) => serde_json::json!({ "path": { "type": "RegularExpression", "value": "([" } }),
                (0, false) => serde_json::json!({ "path": { "type": "RegularExpression", "value": "/r.*" } }),
                (1, _) => serde_json::json!({ "path": { "type": "Exact", "value": "/e" } }),
                _ => serde_json::json!({ "path": { "type": "PathPrefix", "value": format!("/p{at}") } }),
            };
            let rule = |one| serde_json::json!({ "matches": [path(one)], "filters": filters, "backendRefs": backends });
            spec.paths.iter().map(rule).collect()
        }
        Kind::GrpcRoute => vec![serde_json::json!({ "filters": filters, "backendRefs": backends })],
        _ => vec![serde_json::json!({ "backendRefs": backends }); if spec.broken { 2 } else { 1 }],
    };
    // Half of them come from another namespace, which needs a grant and to be let in.
    serde_json::json!({
        "metadata": {
            "name": format!("r{at}"),
            "namespace": if at.is_multiple_of(2) { "shop" } else { "apps" },
            "creationTimestamp": format!("2026-01-0{}T00:00:00Z", spec.created + 1),
        },
        "spec": { "parentRefs": parents, "hostnames": hosts, "rules": rules },
    })
}

fn gateway(at: usize, listener: usize, all: bool, sets: bool) -> Value {
    let from = if all { "All" } else { "Same" };
    let selector = serde_json::json!({ "from": "Selector", "selector": { "matchLabels": { "team": "a" } } });
    let namespaces = if all || at == 0 { serde_json::json!({ "from": from }) } else { selector };
    let allowed = serde_json::json!({ "namespaces": namespaces });
    let hostname = LISTENERS[listener];
    let hostname = if hostname.is_empty() { Value::Null } else { hostname.into() };
    serde_json::json!({
        "metadata": { "name": format!("g{at}"), "namespace": "shop" },
        "spec": {
            "gatewayClassName": "gwproxy",
            "allowedListeners": { "namespaces": { "from": if sets { "All" } else { "None" } } },
            "listeners": [
                { "name": "http", "port": 80, "protocol": "HTTP", "hostname": hostname, "allowedRoutes": allowed },
                { "name": "more", "port": 81, "protocol": "HTTP", "allowedRoutes": allowed },
                { "name": "tls", "port": 443, "protocol": "TLS", "tls": { "mode": "Passthrough" }, "allowedRoutes": allowed },
                { "name": "tcp", "port": 5432, "protocol": "TCP", "allowedRoutes": allowed },
                { "name": "udp", "port": 53, "protocol": "UDP", "allowedRoutes": allowed },
            ],
        },
    })
}

fn object<T: DeserializeOwned>(value: Value) -> Op<T> {
    Op::Apply(read(&value))
}

fn change(step: &Step, set: &Set) -> Change {
    let shop = |name: String| Key::new("shop", name);
    match step {
        Step::Gateway { at, listener, all, sets } => Change::Gateway(object(gateway(*at, *listener, *all, *sets))),
        Step::ListenerSet { at, hostname } => Change::ListenerSet(object(serde_json::json!({
            "metadata": { "name": format!("s{at}"), "namespace": "shop" },
            "spec": {
                "parentRef": { "group": crate::types::GROUP, "kind": "Gateway", "name": "g0" },
                "listeners": [{
                    "name": "own", "port": 80, "protocol": "HTTP", "hostname": HOSTS[*hostname],
                    "allowedRoutes": { "namespaces": { "from": "All" } },
                }],
            },
        }))),
        Step::Route { kind, at, spec } => {
            Change::apply(ROUTES[*kind], route(ROUTES[*kind], *at, spec)).expect("a route can be read")
        }
        Step::Service { at, port, annotated } => Change::Service(object(serde_json::json!({
            "metadata": {
                "name": format!("app{at}"), "namespace": "shop",
                "annotations": if *annotated { serde_json::json!({ crate::contract::SEND_PROXY_ANNOTATION: "v2" }) } else { Value::Null },
            },
            "spec": { "ports": [
                { "name": "http", "port": port },
                { "name": "udp", "port": port, "protocol": "UDP" },
            ] },
        }))),
        Step::Endpoints { at, of, addresses } => Change::EndpointSlice(object(serde_json::json!({
            "metadata": {
                "name": format!("e{at}"), "namespace": "shop",
                "labels": { "kubernetes.io/service-name": format!("app{of}") },
            },
            "addressType": "IPv4",
            "endpoints": (0..*addresses).map(|one| serde_json::json!({ "addresses": [format!("10.0.{at}.{one}")] })).collect::<Vec<_>>(),
            "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }, { "name": "udp", "port": 8080, "protocol": "UDP" }],
        }))),
        Step::Grant { shop } => Change::ReferenceGrant(object(serde_json::json!({
            "metadata": { "name": "grant", "namespace": "shop" },
            "spec": {
                "from": ROUTES.map(|kind| serde_json::json!({
                    "group": crate::types::GROUP, "kind": kind.name(), "namespace": if *shop { "apps" } else { "other" },
                })),
                "to": [{ "group": "", "kind": "Service" }],
            },
        }))),
        Step::Policy { at, valid } => Change::BackendTlsPolicy(object(serde_json::json!({
            "metadata": { "name": format!("p{at}"), "namespace": "shop" },
            "spec": {
                "targetRefs": [{ "group": "", "kind": "Service", "name": "app1" }],
                "validation": {
                    "hostname": "app1.example.com",
                    "wellKnownCACertificates": if *valid { "System" } else { "Other" },
                },
            },
        }))),
        Step::Namespace { label } => Change::Namespace(object(serde_json::json!({
            "metadata": { "name": "apps", "labels": if *label { serde_json::json!({ "team": "a" }) } else { Value::Null } },
        }))),
        Step::Delete { kind, at } => {
            let namespace = if at.is_multiple_of(2) { "shop" } else { "apps" };
            let route = Key::new(namespace, format!("r{at}"));
            match kind {
                0 => Change::HttpRoute(Op::Delete(route)),
                1 => Change::GrpcRoute(Op::Delete(route)),
                2 => Change::TlsRoute(Op::Delete(route)),
                3 => Change::TcpRoute(Op::Delete(route)),
                4 => Change::UdpRoute(Op::Delete(route)),
                5 => Change::Service(Op::Delete(shop(format!("app{at}")))),
                6 => Change::EndpointSlice(Op::Delete(shop(format!("e{at}")))),
                7 => Change::ListenerSet(Op::Delete(shop(format!("s{at}")))),
                _ => Change::ReferenceGrant(Op::Delete(shop("grant".to_owned()))),
            }
        }
        Step::Status { at } => {
            let key = Key::new(if at.is_multiple_of(2) { "shop" } else { "apps" }, format!("r{at}"));
            match set.http_routes.get(&key) {
                Some(route) => {
                    let mut route = (**route).clone();
                    route.metadata.resource_version = Some("new".to_owned());
                    Change::HttpRoute(Op::Apply(Arc::new(route)))
                }
                None => Change::HttpRoute(Op::Delete(key)),
            }
        }
        Step::Again { without } => {
            let left = format!("r{without}");
            let stay = set.http_routes.values().filter(|route| route.key().name != left);
            Change::HttpRoute(Op::Replace { objects: stay.map(Arc::clone).collect(), unreadable: Vec::new() })
        }
    }
}

/// Class, Gateways and Services, so that most sequences are about something.
fn start() -> Set {
    let mut set = Set::default();
    set.classes.insert(
        "gwproxy".to_owned(),
        read(&serde_json::json!({ "metadata": { "name": "gwproxy" }, "spec": { "controllerName": CONTROLLER_NAME } })),
    );
    for at in 0..2 {
        set.gateways.insert(Key::new("shop", format!("g{at}")), read(&gateway(at, 0, true, true)));
    }
    for at in 0..2 {
        set.fold(change(&Step::Service { at, port: 80, annotated: false }, &set.clone()));
        set.fold(change(&Step::Endpoints { at, of: at, addresses: 2 }, &set.clone()));
    }
    set
}

/// Compiles as the control loop does.
fn remembering(set: &mut Set, registry: &Registry, memory: &mut Memory) -> Compiled {
    let compiled = compile(set, &addresses_of(set), registry, CONTROLLER_NAME, 1, memory);
    set.changes = crate::resources::Changes::default();
    compiled
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn remembering_changes_nothing(batches in prop::collection::vec(prop::collection::vec(steps(), 1..4), 1..25)) {
        let (registry, mut memory, mut set) = (Registry::new(1), Memory::at(NOW), start());
        remembering(&mut set, &registry, &mut memory);
        for batch in &batches {
            for step in batch {
                let change = change(step, &set);
                set.fold(change);
            }
            let incremental = remembering(&mut set, &registry, &mut memory);
            let fresh = compiled(&set);
            prop_assert_eq!(&incremental.verdicts, &fresh.verdicts);
            prop_assert_eq!(dump::dump(&incremental), dump::dump(&fresh));
        }
    }
}

fn http_route(at: usize, host: &str, app: usize) -> Value {
    serde_json::json!({
        "metadata": { "name": format!("r{at}"), "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": {
            "parentRefs": [{ "group": crate::types::GROUP, "kind": "Gateway", "name": "g0", "sectionName": "http" }],
            "hostnames": [host],
            "rules": [{ "backendRefs": [{ "name": format!("app{app}"), "port": 80 }] }],
        },
    })
}

/// The first Gateway's listener for HTTP.
fn listener(compiled: &Compiled) -> Arc<crate::table::Listener> {
    let bind = compiled.table.bind(std::net::SocketAddr::from(([127, 0, 64, 1], 80))).expect("a socket");
    Arc::clone(bind.listeners.values().next().expect("a listener"))
}

fn rules(compiled: &Compiled) -> BTreeMap<String, Arc<crate::table::Routes>> {
    listener(compiled).routes.iter().map(|(host, routes)| (host, Arc::clone(routes))).collect()
}

/// Not compiled again means: the very same object.
#[test]
fn a_change_leaves_the_rules_of_others_alone() {
    let (registry, mut memory, mut set) = (Registry::new(1), Memory::at(NOW), start());
    for at in 0..50 {
        let route = http_route(at, &format!("r{at}.example.com"), at % 2);
        set.fold(Change::HttpRoute(object(route)));
    }
    let before = rules(&remembering(&mut set, &registry, &mut memory));
    let same = |after: &BTreeMap<String, Arc<crate::table::Routes>>| {
        before.iter().filter(|(host, routes)| after.get(*host).is_some_and(|now| Arc::ptr_eq(now, routes))).count()
    };
    set.fold(Change::HttpRoute(object(http_route(7, "r7.example.com", 0))));
    let after = rules(&remembering(&mut set, &registry, &mut memory));
    assert_eq!((after.len(), same(&after)), (50, 49));
    // Endpoints of one Service: only the routes that name it.
    set.fold(change(&Step::Endpoints { at: 0, of: 0, addresses: 1 }, &set.clone()));
    let after = rules(&remembering(&mut set, &registry, &mut memory));
    assert_eq!((after.len(), same(&after)), (50, 24));
    // A status is no change at all: even the listener is the same.
    let one = listener(&remembering(&mut set, &registry, &mut memory));
    set.fold(change(&Step::Status { at: 2 }, &set.clone()));
    assert!(Arc::ptr_eq(&one, &listener(&remembering(&mut set, &registry, &mut memory))));
    // A Gateway concerns them all.
    set.fold(Change::Gateway(object(gateway(0, 1, true, true))));
    assert_eq!(same(&rules(&remembering(&mut set, &registry, &mut memory))), 0);
}
