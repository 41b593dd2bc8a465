use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NAME: &str = "gwtop.dev/canary-test";

fn route(refs: &Value) -> Value {
    json!({
        "metadata": {
            "name": "app", "namespace": "shop", "uid": "u", "generation": 3, "resourceVersion": "17",
            "annotations": {"team": "a/b"},
        },
        "spec": {"hostnames": ["x.y"], "rules": [{"backendRefs": [{"name": "z", "port": 1}]}, {"backendRefs": refs}]},
        "status": {"parents": []},
    })
}

fn claimed(refs: &Value, steps: &[f64]) -> (Value, Pair, Record) {
    let mut route = route(refs);
    let pair = weights::pair(&route, Some(1), Some("v1"), Some("v2")).unwrap();
    let record = begin(&route, &pair, steps, None, ["id", "me", "cfg"]).unwrap();
    let claim = claim(&route, NAME, &record);
    json_patch::merge(&mut route, &claim);
    (route, pair, record)
}

fn apply(route: &mut Value, write: &Write) {
    json_patch::patch(route, &write.patch).unwrap();
    route["metadata"]["generation"] = json!(route["metadata"]["generation"].as_u64().unwrap() + 1);
}

fn weight(route: &Value, index: usize) -> Value {
    route["spec"]["rules"][1]["backendRefs"][index]["weight"].clone()
}

fn repair(route: &Value) -> Pair {
    weights::pair(route, Some(1), Some("v1"), Some("v2")).unwrap()
}

fn run(route: &mut Value, record: &mut Record, goal: Goal) -> Write {
    let write = write(route, NAME, &repair(route), record, goal).unwrap();
    apply(route, &write);
    if let Some(after) = &write.record {
        assert_eq!(record::text(route, NAME), Some(after.text().as_str()));
        *record = after.clone();
    } else {
        assert_eq!(record::text(route, NAME), None);
    }
    write
}

#[test]
fn a_step_changes_two_weights_and_the_annotation_and_a_rollback_all_of_it() {
    let refs = json!([{"name": "v1", "port": 80, "weight": 100}, {"name": "v2", "port": 80, "weight": 0}]);
    let (mut now, _, mut record) = claimed(&refs, &[5.0, 10.0]);
    let before = now.clone();
    run(&mut now, &mut record, Goal::Step(Stage::Weight(5.0)));
    let mut expected = before;
    expected["spec"]["rules"][1]["backendRefs"][0]["weight"] = json!(95);
    expected["spec"]["rules"][1]["backendRefs"][1]["weight"] = json!(5);
    expected["metadata"]["annotations"][NAME] = json!(record.text());
    expected["metadata"]["generation"] = json!(4);
    assert_eq!(now, expected);
    run(&mut now, &mut record, Goal::Stable);
    let mut original = route(&refs);
    original["metadata"]["generation"] = json!(5);
    assert_eq!(now, original);
}

#[test]
fn a_failed_canary_gets_nothing_and_a_stopped_one_what_it_had() {
    let refs = json!([{"name": "v1", "weight": 9}, {"name": "v2", "weight": 1}]);
    let (start, _, first) = claimed(&refs, &[20.0]);
    let (mut now, mut record) = (start.clone(), first.clone());
    run(&mut now, &mut record, Goal::Step(Stage::Weight(20.0)));
    run(&mut now, &mut record, Goal::Stable);
    assert_eq!((weight(&now, 0), weight(&now, 1)), (json!(10), json!(0)));
    let (mut now, mut record) = (start, first);
    run(&mut now, &mut record, Goal::Step(Stage::Weight(20.0)));
    run(&mut now, &mut record, Goal::Original);
    assert_eq!((weight(&now, 0), weight(&now, 1)), (json!(9), json!(1)));
}

#[test]
fn coarse_weights_are_multiplied_for_the_whole_rule_and_put_back() {
    let refs = json!([{"name": "v1"}, {"name": "v2", "weight": 1}, {"name": "v3", "weight": 2}]);
    let (mut now, _, mut record) = claimed(&refs, &[5.0]);
    let before = now.clone();
    run(&mut now, &mut record, Goal::Step(Stage::Weight(5.0)));
    let of = |index| weight(&now, index).as_u64().unwrap();
    assert_eq!(of(1) * 20, of(0) + of(1));
    assert_eq!(of(2), of(0) + of(1), "the third backend keeps its half");
    run(&mut now, &mut record, Goal::Original);
    assert_eq!(now["spec"], before["spec"]);
}

#[test]
fn nothing_is_written_on_another_object_generation_record_or_weight() {
    let refs = json!([{"name": "v1", "weight": 100}, {"name": "v2", "weight": 0}]);
    let (now, pair, record) = claimed(&refs, &[5.0]);
    let write = write(&now, NAME, &pair, &record, Goal::Step(Stage::Weight(5.0))).unwrap();
    let edits: [fn(&mut Value); 5] = [
        |route| route["metadata"]["uid"] = json!("other"),
        |route| route["metadata"]["generation"] = json!(9),
        |route| route["metadata"]["annotations"][NAME] = json!("{}"),
        |route| route["spec"]["rules"][1]["backendRefs"][0]["weight"] = json!(99),
        |route| route["spec"]["rules"][1]["backendRefs"][1]["name"] = json!("v9"),
    ];
    for edit in edits {
        let mut other = now.clone();
        edit(&mut other);
        let untouched = other.clone();
        assert!(json_patch::patch(&mut other, &write.patch).is_err());
        assert_eq!(other, untouched);
    }
}

#[test]
fn the_record_follows_its_rule() {
    let refs = json!([{"name": "v1", "weight": 100}, {"name": "v2", "weight": 0}]);
    let mut now = route(&refs);
    now["spec"]["rules"][1]["name"] = json!("split");
    let pair = repair(&now);
    let name = record::annotation(&now, &pair);
    now["spec"]["rules"].as_array_mut().unwrap().insert(0, json!({"backendRefs": []}));
    now["spec"]["rules"][2]["backendRefs"].as_array_mut().unwrap().reverse();
    let found = record::resolve(&now, &name, "v1", "v2").unwrap();
    assert_eq!((found.rule, found.stable.index, found.canary.index), (2, 1, 0));
    now["spec"]["rules"][2]["backendRefs"].as_array_mut().unwrap().pop();
    assert!(record::resolve(&now, &name, "v1", "v2").is_err());
}

proptest! {
    #[test]
    fn no_walk_through_a_run_ever_leaves_the_pair_at_zero_or_moves_others(
        stable in 0_u64..300, canary in 0_u64..300, other in 0_u64..300,
        goals in prop::collection::vec(prop_oneof![
            (0.1_f64..=100.0).prop_map(|p| Goal::Step(Stage::Weight((p * 10.0).round() / 10.0))),
        ], 1..6),
        last in prop_oneof![Just(Goal::Stable), Just(Goal::Original), Just(Goal::Finish)],
    ) {
        prop_assume!(stable + canary > 0);
        let refs = json!([{"name": "v1", "weight": stable}, {"name": "o", "weight": other}, {"name": "v2", "weight": canary}]);
        let percents: Vec<f64> = goals.iter().map(|goal| if let Goal::Step(Stage::Weight(p)) = goal { *p } else { 0.0 }).collect();
        let (mut now, _, mut record) = claimed(&refs, &percents);
        let before = now.clone();
        let share = |route: &Value| {
            let weights: Vec<f64> = (0..3).map(|i| weight(route, i).as_f64().unwrap()).collect();
            (weights[1] / weights.iter().sum::<f64>(), weights[2] / (weights[0] + weights[2]) * 100.0)
        };
        let others = share(&now).0;
        for goal in goals {
            let write = run(&mut now, &mut record, goal);
            prop_assert!(write.stable + write.canary > 0);
            prop_assert!((share(&now).0 - others).abs() < 1e-9);
            if let Goal::Step(Stage::Weight(percent)) = goal {
                prop_assert!((share(&now).1 - percent).abs() <= 0.11);
            }
        }
        let reached = share(&now).1;
        let write = run(&mut now, &mut record, last);
        prop_assert!(write.stable + write.canary > 0);
        prop_assert!((share(&now).0 - others).abs() < 1e-9);
        match last {
            Goal::Original => prop_assert_eq!(&now["spec"], &before["spec"]),
            Goal::Finish => prop_assert!((share(&now).1 - reached).abs() < 1e-9),
            _ => prop_assert_eq!(share(&now).1, 0.0),
        }
    }
}
