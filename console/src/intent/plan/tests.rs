use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn route(backends: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "app", "namespace": "shop", "uid": "u-1", "generation": 4},
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "rules": [
                {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": backends},
                {"backendRefs": [{"name": "lonely", "port": 80}]},
            ],
        },
    })
}

fn two() -> Value {
    route(&json!([{"name": "v1", "port": 80, "weight": 95}, {"name": "v2", "port": 80, "weight": 5}]))
}

fn applied(route: &Value, patch: &Patch) -> Value {
    let mut patched = route.clone();
    json_patch::patch(&mut patched, patch).expect("the patch applies to what it was made from");
    patched
}

#[test]
fn only_the_two_weights_change_and_the_inverse_undoes_it() {
    let before = two();
    let plan = weights(&before, 0, "v1", "v2", 10.0).unwrap();
    let after = applied(&before, &plan.patch);
    let mut expected = before.clone();
    expected["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(90);
    expected["spec"]["rules"][0]["backendRefs"][1]["weight"] = json!(10);
    assert_eq!(after, expected);
    assert_eq!(applied(&after, &plan.inverse), before);
    assert_eq!(plan.target.to_string(), "shop/app");
    let changed: Vec<_> =
        plan.diff.iter().filter(|line| line.change != Change::Same).map(|line| line.text.trim()).collect();
    assert_eq!(changed, ["weight: 95", "weight: 90", "weight: 5", "weight: 10"]);
}

#[test]
fn a_patch_fails_on_anything_but_what_was_read() {
    let plan = weights(&two(), 0, "v1", "v2", 10.0).unwrap();
    let mut weight = two();
    weight["spec"]["rules"][0]["backendRefs"][1]["weight"] = json!(6);
    let mut order = two();
    order["spec"]["rules"][0]["backendRefs"].as_array_mut().unwrap().reverse();
    let mut recreated = two();
    recreated["metadata"]["uid"] = json!("u-2");
    for other in [weight, order, recreated] {
        let mut patched = other.clone();
        assert!(json_patch::patch(&mut patched, &plan.patch).is_err());
        assert_eq!(patched, other, "a failed patch leaves everything as it was");
    }
}

#[test]
fn absent_weights_are_tested_through_the_whole_reference() {
    let before = route(&json!([{"name": "v1", "port": 80}, {"name": "v2", "port": 80}]));
    let plan = weights(&before, 0, "v1", "v2", 5.0).unwrap();
    let after = applied(&before, &plan.patch);
    let weight = |index: usize| after["spec"]["rules"][0]["backendRefs"][index]["weight"].as_u64().unwrap();
    assert_eq!(weight(1) * 20, weight(0) + weight(1));
    assert_eq!(applied(&after, &plan.inverse), before);
    let mut raced = before;
    raced["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(1);
    assert!(json_patch::patch(&mut raced, &plan.patch).is_err());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let refused = |rule, stable, canary, percent| weights(&two(), rule, stable, canary, percent).unwrap_err();
    assert!(matches!(refused(7, "v1", "v2", 5.0), Refusal::NoSuchRule { rule: 7, rules: 2 }));
    assert!(matches!(refused(1, "v1", "v2", 5.0), Refusal::OneBackend { rule: 1, backends: 1 }));
    assert!(matches!(refused(0, "v1", "v3", 5.0), Refusal::NoSuchBackend { .. }));
    assert!(matches!(refused(0, "v1", "v1", 5.0), Refusal::SameBackend(_)));
    assert!(matches!(refused(0, "v1", "v2", 101.0), Refusal::Percent(_)));
    assert!(matches!(refused(0, "v1", "v2", f64::NAN), Refusal::Percent(_)));
    let zero = route(&json!([{"name": "v1", "weight": 0}, {"name": "v2", "weight": 0}]));
    assert!(matches!(weights(&zero, 0, "v1", "v2", 5.0), Err(Refusal::AllZero(..))));
    let three = route(&json!([{"name": "v1", "weight": 1}, {"name": "v2", "weight": 1}, {"name": "v3", "weight": 1}]));
    assert!(matches!(weights(&three, 0, "v1", "v2", 5.0), Err(Refusal::Resolution { .. })));
    assert!(matches!(weights(&json!({}), 0, "v1", "v2", 5.0), Err(Refusal::NoRules)));
}

#[test]
fn the_same_name_on_two_ports_needs_the_port() {
    let same = route(&json!([{"name": "v", "port": 80, "weight": 9}, {"name": "v", "port": 81, "weight": 1}]));
    assert!(matches!(weights(&same, 0, "v", "v:81", 5.0), Err(Refusal::Ambiguous { .. })));
    assert!(weights(&same, 0, "v:80", "v:81", 20.0).is_ok());
}

proptest! {
    #[test]
    fn the_sum_never_changes_and_others_stay(stable in 0_u64..2000, canary in 0_u64..2000, other in 0_u64..9, percent in 0.0_f64..=100.0) {
        let before = route(&json!([
            {"name": "v1", "weight": stable}, {"name": "other", "weight": other}, {"name": "v2", "weight": canary},
        ]));
        let Ok(plan) = weights(&before, 0, "v1", "v2", percent) else {
            return Ok(());
        };
        let after = applied(&before, &plan.patch);
        let refs = &after["spec"]["rules"][0]["backendRefs"];
        let (s, c) = (refs[0]["weight"].as_u64().unwrap(), refs[2]["weight"].as_u64().unwrap());
        prop_assert_eq!(s + c, stable + canary);
        prop_assert!(s + c > 0);
        prop_assert_eq!(&refs[1], &before["spec"]["rules"][0]["backendRefs"][1]);
        prop_assert!((c as f64 * 100.0 / (s + c) as f64 - percent).abs() <= 0.1);
        prop_assert_eq!(applied(&after, &plan.inverse), before);
    }
}
