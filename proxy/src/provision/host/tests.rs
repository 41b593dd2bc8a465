use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

const CONTROLLER: &str = "gwtop.dev/gwproxy";

fn set(gateways: Vec<Value>) -> Set {
    let mut set = Set::default();
    for (name, controller) in [("ours", CONTROLLER), ("theirs", "example.com/other")] {
        let class = json!({ "metadata": { "name": name }, "spec": { "controllerName": controller } });
        set.classes.insert(name.to_owned(), Arc::new(serde_json::from_value(class).unwrap()));
    }
    for gateway in gateways {
        let gateway: Gateway = serde_json::from_value(gateway).unwrap();
        set.gateways.insert(gateway.key(), Arc::new(gateway));
    }
    set
}

/// `age` orders by creation: a higher one is younger.
fn gateway(name: &str, age: u32, addresses: Value, has: Value) -> Value {
    json!({
        "metadata": { "namespace": "infra", "name": name, "creationTimestamp": format!("2026-01-01T00:00:{age:02}Z") },
        "spec": {
            "gatewayClassName": "ours",
            "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
            "addresses": addresses,
        },
        "status": { "addresses": has },
    })
}

fn any(name: &str, age: u32) -> Value {
    gateway(name, age, json!([]), json!([]))
}

fn of(addresses: &Addresses, name: &str) -> String {
    match &addresses[&Key::new("infra", name)] {
        Ok(addresses) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(problem) => format!("{}: {}", problem.reason, problem.message),
    }
}

fn assigned(gateways: Vec<Value>, pool: &str) -> Addresses {
    assign(&set(gateways), pool.parse().unwrap(), CONTROLLER)
}

#[test]
fn each_gateway_has_an_address_and_only_ours_have() {
    let mut foreign = any("foreign", 0);
    foreign["spec"]["gatewayClassName"] = json!("theirs");
    let mut orphan = any("orphan", 0);
    orphan["spec"]["gatewayClassName"] = json!("nobody");
    let addresses = assigned(vec![any("b", 1), any("a", 2), foreign, orphan], "127.0.64.0/24");
    assert_eq!(addresses.len(), 2);
    assert_eq!(of(&addresses, "b"), "127.0.64.1", "older first");
    assert_eq!(of(&addresses, "a"), "127.0.64.2");
}

#[test]
fn an_address_stays_with_its_gateway() {
    let has = json!([{ "type": "IPAddress", "value": "127.0.64.7" }]);
    let addresses = assigned(vec![any("old", 1), gateway("kept", 2, json!([]), has.clone())], "127.0.64.0/24");
    assert_eq!(of(&addresses, "old"), "127.0.64.1");
    assert_eq!(of(&addresses, "kept"), "127.0.64.7");
    // Unless the pool moved, or an older Gateway has it.
    assert_eq!(of(&assigned(vec![gateway("kept", 2, json!([]), has.clone())], "127.0.65.0/24"), "kept"), "127.0.65.1");
    let both = vec![gateway("first", 1, json!([]), has.clone()), gateway("second", 2, json!([]), has)];
    let addresses = assigned(both, "127.0.64.0/24");
    assert_eq!(of(&addresses, "first"), "127.0.64.7");
    assert_eq!(of(&addresses, "second"), "127.0.64.1");
}

#[test]
fn an_exhausted_pool_names_itself_and_the_way_out() {
    let addresses = assigned(vec![any("a", 1), any("b", 2), any("c", 3)], "127.0.64.0/30");
    assert_eq!(of(&addresses, "b"), "127.0.64.2");
    let problem = of(&addresses, "c");
    assert!(problem.starts_with("AddressNotAssigned: "), "{problem}");
    assert!(problem.contains("127.0.64.0/30") && problem.contains("--address-pool"), "{problem}");
}

#[test]
fn named_addresses_are_taken_as_they_are() {
    let named = |value: &str| json!([{ "type": "IPAddress", "value": value }]);
    let addresses = assigned(
        vec![
            gateway("one", 1, named("10.1.2.3"), json!([])),
            gateway("same-port", 2, named("10.1.2.3"), json!([])),
            gateway("typo", 3, named("10.1.2.333"), json!([])),
            gateway("everywhere", 4, named("0.0.0.0"), json!([])),
            gateway("dns", 5, json!([{ "type": "Hostname", "value": "a.example" }]), json!([])),
            gateway("whichever", 6, json!([{ "type": "IPAddress" }]), json!([])),
            gateway("in-pool", 7, named("127.0.64.1"), json!([])),
        ],
        "127.0.64.0/24",
    );
    assert_eq!(of(&addresses, "one"), "10.1.2.3");
    assert_eq!(of(&addresses, "same-port"), "AddressNotUsable: port 80 of 10.1.2.3 belongs to Gateway infra/one");
    assert!(of(&addresses, "typo").starts_with("AddressNotUsable: "));
    assert!(of(&addresses, "everywhere").starts_with("AddressNotUsable: "));
    assert!(of(&addresses, "dns").starts_with("UnsupportedAddress: "));
    assert_eq!(of(&addresses, "in-pool"), "127.0.64.1");
    assert_eq!(of(&addresses, "whichever"), "127.0.64.2", "what is named is not given away");
}

#[test]
fn named_addresses_are_shared_by_ports() {
    let named = json!([{ "value": "10.1.2.3" }]);
    let mut other = gateway("other", 2, named.clone(), json!([]));
    other["spec"]["listeners"][0]["port"] = json!(8080);
    let addresses = assigned(vec![gateway("one", 1, named, json!([])), other], "127.0.64.0/24");
    assert_eq!(of(&addresses, "one"), of(&addresses, "other"));
}

#[test]
fn an_address_out_of_the_pool_is_not_shared() {
    let has = json!([{ "value": "127.0.64.1" }]);
    let named = gateway("named", 2, has.clone(), json!([]));
    let addresses = assigned(vec![gateway("kept", 1, json!([]), has), named], "127.0.64.0/24");
    assert_eq!(of(&addresses, "kept"), "127.0.64.1");
    assert!(of(&addresses, "named").starts_with("AddressNotUsable: "));
}

#[test]
fn hosts_of_a_pool() {
    let all = |pool: &str| hosts(pool.parse().unwrap()).map(|address| address.to_string()).collect::<Vec<_>>();
    let class_c = all("127.0.64.0/24");
    assert_eq!((class_c.len(), class_c[0].as_str(), class_c[253].as_str()), (254, "127.0.64.1", "127.0.64.254"));
    assert_eq!(all("127.0.64.9/32"), ["127.0.64.9"]);
    assert_eq!(all("127.0.64.8/31"), ["127.0.64.8", "127.0.64.9"]);
    assert_eq!(all("fd00::/126"), ["fd00::1", "fd00::2", "fd00::3"]);
}
