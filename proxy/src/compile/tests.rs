//! Golden cases: `tests/compile/NAME.in.yaml` on top of `base.yaml` gives `NAME.out.yaml`.
//! `UPDATE_GOLDEN=1` writes the outputs anew.

use std::{fs, path::Path, sync::Arc};

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::{
    contract::CONTROLLER_NAME,
    table::route::{Found, RequestHead},
};

mod dump;
mod fuzz;
mod memory;

/// 2026-06-01.
const NOW: i64 = 1_780_272_000;

/// Annotation of a case: the reason why a Gateway gets no address, or `none` for no answer yet.
const PROBLEM: &str = "test/address-problem";

/// PEM that the cases name by `${CERT}`, `${KEY}` and `${OTHER_KEY}`.
fn pem(text: &str) -> String {
    if !text.contains("${") {
        return text.to_owned();
    }
    let made = rcgen::generate_simple_self_signed(["example.com".to_owned()]).expect("rcgen makes a certificate");
    let other = rcgen::KeyPair::generate().expect("rcgen makes a key");
    let quoted = |pem: String| pem.replace('\n', "\\n");
    let mut ended = rcgen::CertificateParams::new(["ended.com".to_owned()]).expect("rcgen takes the name");
    ended.not_before = rcgen::date_time_ymd(2020, 1, 1);
    ended.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let ended_key = rcgen::KeyPair::generate().expect("rcgen makes a key");
    let ended = ended.self_signed(&ended_key).expect("rcgen makes a certificate");
    text.replace("${CERT}", &quoted(made.cert.pem()))
        .replace("${ENDED_CERT}", &quoted(ended.pem()))
        .replace("${ENDED_KEY}", &quoted(ended_key.serialize_pem()))
        .replace("${KEY}", &quoted(made.signing_key.serialize_pem()))
        .replace("${OTHER_KEY}", &quoted(other.serialize_pem()))
}

fn read<T: DeserializeOwned>(value: &Value) -> Arc<T> {
    Arc::new(T::deserialize(value).unwrap_or_else(|error| panic!("{error} in {value}")))
}

fn add(set: &mut Set, value: &Value) {
    let metadata = |field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (key, name) = (Key::new(metadata("namespace"), metadata("name")), metadata("name"));
    match value["kind"].as_str().unwrap_or_default() {
        "GatewayClass" => drop(set.classes.insert(name, read(value))),
        "Gateway" => drop(set.gateways.insert(key, read(value))),
        "ListenerSet" => drop(set.listener_sets.insert(key, read(value))),
        "HTTPRoute" => drop(set.http_routes.insert(key, read(value))),
        "GRPCRoute" => drop(set.grpc_routes.insert(key, read(value))),
        "BackendTLSPolicy" => drop(set.backend_tls_policies.insert(key, read(value))),
        "ConfigMap" => drop(set.config_maps.insert(key, read(value))),
        "TLSRoute" => drop(set.tls_routes.insert(key, read(value))),
        "TCPRoute" => drop(set.tcp_routes.insert(key, read(value))),
        "UDPRoute" => drop(set.udp_routes.insert(key, read(value))),
        "ReferenceGrant" => drop(set.grants.insert(key, read(value))),
        "Namespace" => drop(set.namespaces.insert(name, read(value))),
        "Service" => drop(set.services.insert(key, read(value))),
        "EndpointSlice" => drop(set.endpoint_slices.insert(key, read(value))),
        "Secret" => drop(set.secrets.insert(key, read(value))),
        other => panic!("test cases know no kind {other}"),
    }
}

fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}"));
    all.into_iter().filter(|value| !value.is_null()).collect()
}

fn set_of(texts: &[&str]) -> Set {
    let mut set = Set::default();
    for text in texts {
        documents(&pem(text)).iter().for_each(|value| add(&mut set, value));
    }
    set
}

fn addresses_of(set: &Set) -> Addresses {
    let mut addresses = Addresses::new();
    for (at, (key, gateway)) in set.gateways.iter().enumerate() {
        let problem = gateway.metadata.annotations.as_ref().and_then(|all| all.get(PROBLEM)).map(String::as_str);
        let wanted = gateway.spec.addresses.first().and_then(|address| address.value.parse().ok());
        let pooled = IpAddr::from([127, 0, 64, u8::try_from(at + 1).expect("few Gateways")]);
        let reason = match problem {
            None => {
                addresses.insert(key.clone(), Ok(vec![wanted.unwrap_or(pooled)]));
                continue;
            }
            Some("none") => continue,
            Some("UnsupportedAddress") => verdict::reason::UNSUPPORTED_ADDRESS,
            Some(_) => verdict::reason::ADDRESS_NOT_USABLE,
        };
        addresses.insert(key.clone(), Err(AddressProblem { reason, message: "as the case says".to_owned() }));
    }
    addresses
}

fn compiled(set: &Set) -> Compiled {
    compile(set, &addresses_of(set), &Registry::new(1), CONTROLLER_NAME, 1, &mut Memory::at(NOW))
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile")
}

fn base() -> String {
    fs::read_to_string(folder().join("base.yaml")).expect("base.yaml is there")
}

#[test]
fn golden_cases() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let base = base();
    let (mut cases, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(folder()).expect("the folder of cases is there") {
        let path = entry.expect("an entry of the folder").path();
        let Some(name) = path.to_str().and_then(|path| path.strip_suffix(".in.yaml")) else { continue };
        cases += 1;
        let case = fs::read_to_string(&path).expect("a case is text");
        let got = dump::dump(&compiled(&set_of(&[&base, &case])));
        let expected = format!("{name}.out.yaml");
        if update {
            fs::write(&expected, &got).expect("outputs can be written");
        } else if fs::read_to_string(&expected).ok().as_ref() != Some(&got) {
            wrong.push(format!("{expected} differs; got:\n{got}"));
        }
    }
    assert!(cases >= 25, "only {cases} cases found");
    assert!(wrong.is_empty(), "{}\nUPDATE_GOLDEN=1 accepts it", wrong.join("\n"));
}

/// Nothing that is wrong with one route changes what another gets, nor its verdict.
#[test]
fn a_bad_route_leaves_others_alone() {
    let base = base();
    let good = "
kind: HTTPRoute
metadata: {name: good, namespace: shop}
spec:
  parentRefs: [{name: gw}]
  hostnames: [good.example.com]
  rules: [{backendRefs: [{name: app, port: 80}]}]
";
    let alone = compiled(&set_of(&[&base, good]));
    for entry in fs::read_dir(folder()).expect("the folder of cases is there") {
        let path = entry.expect("an entry of the folder").path();
        if !path.to_string_lossy().contains("route-") || !path.to_string_lossy().ends_with(".in.yaml") {
            continue;
        }
        let case = fs::read_to_string(&path).expect("a case is text");
        let together = compiled(&set_of(&[&base, &case, good]));
        let key = Key::new("shop", "good");
        assert_eq!(together.verdicts.http_routes[&key], alone.verdicts.http_routes[&key], "{}", path.display());
        assert_eq!(taker(&together, "good.example.com", "/x").as_deref(), Some("shop/good"), "{}", path.display());
    }
}

/// Route that takes a request on the first socket.
fn taker(compiled: &Compiled, host: &str, path: &str) -> Option<String> {
    let address: std::net::SocketAddr = "127.0.64.1:80".parse().expect("an address");
    let headers = http::HeaderMap::new();
    let head = RequestHead { host, method: &http::Method::GET, path, query: None, headers: &headers };
    match compiled.table.bind(address)?.find(&head) {
        Found::Rule { found, .. } => Some(found.rule.route.key.to_string()),
        Found::NoRule(_) | Found::NoListener(_) => None,
    }
}

#[test]
fn thousands_of_routes_are_cheap() {
    let mut set = set_of(&[&base()]);
    let route: crate::types::HttpRoute = serde_json::from_value(serde_json::json!({
        "metadata": {"namespace": "shop"},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [
            {"matches": [{"path": {"value": "/x"}}], "backendRefs": [{"name": "app", "port": 80}]}]}
    }))
    .expect("a route");
    for at in 0..5000 {
        let mut route = route.clone();
        route.metadata.name = Some(format!("r{at}"));
        route.spec.hostnames = vec![format!("h{}.example.com", at % 50)];
        route.spec.rules[0].matches[0].path.as_mut().expect("a path").value = Some(format!("/p/{at}"));
        set.http_routes.insert(Key::new("shop", format!("r{at}")), Arc::new(route));
    }
    let started = std::time::Instant::now();
    let compiled = compiled(&set);
    // Unoptimised and on a busy machine it takes a fraction of this; quadratic work would not.
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "took {:?}", started.elapsed());
    assert_eq!(taker(&compiled, "h7.example.com", "/p/57/x").as_deref(), Some("shop/r57"));
    assert_eq!(taker(&compiled, "h8.example.com", "/p/57/x"), None);
    let listener = &compiled.verdicts.gateways[&Key::new("shop", "gw")].listeners[0];
    assert_eq!(listener.attached_routes, 5000);
}

#[test]
fn rules_share_the_endpoints_of_a_service_port() {
    let routes = "
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec:
  parentRefs: [{name: gw}]
  rules:
  - {matches: [{path: {value: /a}}], backendRefs: [{name: app, port: 80}]}
  - {matches: [{path: {value: /b}}], backendRefs: [{name: app, port: 80}]}
";
    let compiled = compiled(&set_of(&[&base(), routes]));
    let listener = compiled.table.binds[0].listeners.values().next().expect("one listener");
    let matches = listener.routes.values().next().expect("one hostname").matches();
    let endpoints: Vec<_> = matches
        .iter()
        .filter_map(|one| match &one.rule.outcome {
            crate::table::Outcome::Forward(picker) => match &picker.pick(0)?.target {
                crate::table::Target::Endpoints(endpoints) => Some(Arc::clone(endpoints)),
                crate::table::Target::Fail(..) => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(endpoints.len(), 2);
    assert!(Arc::ptr_eq(&endpoints[0], &endpoints[1]));
}
