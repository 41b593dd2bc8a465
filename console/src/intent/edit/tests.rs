use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::key::Kind;

fn route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "cart", "namespace": "shop", "uid": "u", "generation": 3, "resourceVersion": "9",
            "labels": {"team": "a"}},
        "spec": {"hostnames": ["a.test", "b.test"], "rules": [{"backendRefs": [{"name": "v1", "port": 80, "weight": 1}]}]},
        "status": {"parents": []},
    })
}

fn key() -> ObjectKey {
    ObjectKey::new(Kind::HttpRoute, "shop", "cart")
}

fn edited(from: &str, to: &str) -> Result<Plan, Wrong> {
    let before = text(&route()).unwrap();
    assert!(before.contains(from), "{before}");
    plan(&key(), &route(), &before.replace(from, to))
}

#[test]
fn what_is_the_servers_is_not_offered() {
    let text = text(&route()).unwrap();
    for hidden in ["status", "uid", "generation", "resourceVersion"] {
        assert!(!text.contains(hidden), "{text}");
    }
    assert!(text.contains("team: a"));
}

#[test]
fn a_plan_changes_what_the_text_changed_and_can_be_taken_back() {
    let plan = edited("weight: 1", "weight: 7").unwrap();
    let mut object = route();
    json_patch::patch(&mut object, &plan.patch).unwrap();
    assert_eq!(object["spec"]["rules"][0]["backendRefs"][0]["weight"], 7);
    assert_eq!(object["status"], route()["status"]);
    // The server counts on; what was written is still there.
    object["metadata"]["generation"] = 4.into();
    json_patch::patch(&mut object, &undo(&plan).patch).unwrap();
    object["metadata"]["generation"] = 3.into();
    assert_eq!(object, route());
    let changed: Vec<_> = plan.diff.iter().filter(|line| line.change != Change::Same).collect();
    assert_eq!(changed.len(), 2, "{changed:?}");
}

#[test]
fn a_route_that_moved_is_not_written_and_what_was_written_over_is_not_undone() {
    let plan = edited("weight: 1", "weight: 7").unwrap();
    let mut moved = route();
    moved["metadata"]["generation"] = 4.into();
    assert!(json_patch::patch(&mut moved, &plan.patch).is_err());
    let mut object = route();
    json_patch::patch(&mut object, &plan.patch).unwrap();
    object["spec"]["rules"][0]["backendRefs"][0]["weight"] = 8.into();
    assert!(json_patch::patch(&mut object, &plan.inverse).is_err());
}

#[test]
fn wrong_texts_name_their_line() {
    for (from, to, line, word) in [
        ("name: cart", "name: other", Some("metadata.name"), "metadata.name"),
        ("kind: HTTPRoute", "kind: Gateway", Some("kind"), "kind"),
        ("weight: 1", "weight: 1", None, "nothing is changed"),
    ] {
        let wrong = edited(from, to).unwrap_err();
        assert!(wrong.why.contains(word), "{wrong:?}");
        let text = text(&route()).unwrap().replace(from, to);
        assert_eq!(wrong.line, line.and_then(|field| line_of(&text, field)), "{wrong:?}");
    }
    let broken = plan(&key(), &route(), "metadata:\n  name: [cart\n").unwrap_err();
    assert!(broken.line.is_some(), "{broken:?}");
    assert!(plan(&key(), &route(), "a: 1\n---\nb: 2\n").is_err());
    assert!(plan(&key(), &route(), "").is_err());
}

#[test]
fn an_errors_field_is_found_in_the_text() {
    let text = text(&route()).unwrap();
    let message =
        "HTTPRoute.gateway.networking.k8s.io \"cart\" is invalid: spec.rules[0].backendRefs[0].port: Invalid value: 0";
    let line = place(&text, message).unwrap();
    assert!(text.lines().nth(line).unwrap().contains("port: 80"), "{line}\n{text}");
    assert_eq!(place(&text, "it is not permitted"), None);
}

proptest! {
    #[test]
    fn any_edit_is_made_exactly_and_undone_exactly(
        hosts in proptest::collection::vec("[a-z]{1,3}\\.test", 0..5),
        weights in proptest::collection::vec(0u64..9, 0..4),
        label in proptest::option::of("[a-z]{1,4}"),
    ) {
        let mut wanted = route();
        wanted["spec"]["hostnames"] = json!(hosts);
        let backends: Vec<_> = weights.iter().map(|weight| json!({"name": format!("v{weight}"), "weight": weight})).collect();
        wanted["spec"]["rules"][0]["backendRefs"] = json!(backends);
        match label {
            Some(label) => wanted["metadata"]["labels"]["team"] = label.into(),
            None => { wanted["metadata"].as_object_mut().unwrap().remove("labels"); }
        }
        match plan(&key(), &route(), &text(&wanted).unwrap()) {
            Ok(plan) => {
                let mut object = route();
                json_patch::patch(&mut object, &plan.patch).unwrap();
                prop_assert_eq!(&object, &wanted);
                json_patch::patch(&mut object, &plan.inverse).unwrap();
                prop_assert_eq!(object, route());
            }
            Err(wrong) => prop_assert_eq!(wanted, route(), "{:?}", wrong),
        }
    }

    #[test]
    fn any_text_is_a_plan_or_refused(text in "[ a-z:\\-\\[\\]{}\n#'\"|>&*!%0-9]{0,80}") {
        let _ = plan(&key(), &route(), &text);
    }
}
