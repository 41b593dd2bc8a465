//! What a kube-apiserver 1.36 answers for the same objects, and the laws of merging.

use proptest::prelude::*;
use serde_json::json;

use super::walk::Changes;
use super::*;
use crate::local::kinds::Registry;

const NOW: &str = "2026-01-01T00:00:00Z";

fn schema() -> Value {
    let text = json!({"type": "string"});
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "a": text, "n": {"type": "integer"}, "b": {"type": "boolean"},
            "o": {"type": "object", "properties": {"x": text, "y": text}},
            "l": {"type": "array", "items": text},
            "s": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
            "m": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "p"],
                "items": {"type": "object", "properties": {
                    "k": text, "p": {"type": "string", "default": "TCP"}, "v": text, "w": text,
                }},
            },
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "labels": {"type": "object", "additionalProperties": text},
            "at": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"x": text, "y": text}},
        }},
        "status": {"type": "object", "properties": {"phase": text}},
    }})
}

/// The schema's shape with none of the objects' own fields, which matter to no law.
fn shape() -> Shape {
    Shape::of_object(Some(&schema()))
}

struct World {
    shape: Shape,
    ignored: Set,
    owners: Owners,
    object: Value,
}

impl World {
    fn new() -> Self {
        Self { shape: shape(), ignored: Set::default(), owners: Owners::default(), object: json!({}) }
    }

    fn context<T>(&mut self, run: impl FnOnce(Context<'_>, &mut Owners, &Value) -> T) -> T {
        let context = Context {
            shape: &self.shape,
            api_version: "v1",
            subresource: "",
            ignored: &self.ignored,
            now: NOW,
            nothing: &json!({}),
        };
        run(context, &mut self.owners, &self.object)
    }

    fn update(&mut self, manager: &str, spec: Value) {
        let new = json!({"spec": spec});
        self.context(|context, owners, live| context.update(owners, live, &new, manager));
        self.object = new;
    }

    /// Returns the paths in conflict. An empty `spec` is none.
    fn apply(&mut self, manager: &str, spec: Value, force: bool) -> Vec<String> {
        let config = if spec == json!({}) { spec } else { json!({"spec": spec}) };
        let before = self.owners.clone();
        match self.context(|context, owners, live| context.apply(owners, live, &config, manager, force)) {
            Ok(Some(new)) => self.object = new,
            Ok(None) => {}
            Err(conflicts) => {
                self.owners = before;
                return conflicts.iter().map(|conflict| set::shown(&conflict.path)).collect();
            }
        }
        Vec::new()
    }

    fn spec(&self) -> &Value {
        &self.object["spec"]
    }

    /// What each manager owns below `spec`.
    fn owned(&self, manager: &str) -> Value {
        let found = self.owners.0.iter().find(|(owner, _)| owner.manager == manager);
        found.map_or(Value::Null, |(_, owned)| owned.fields.to_json()["f:spec"].clone())
    }
}

fn created() -> World {
    let mut world = World::new();
    world.update(
        "curl",
        json!({
            "a": "x", "o": {"y": "dy"}, "s": ["i", "j"], "m": [{"k": "1", "p": "TCP", "v": "v"}], "l": ["1"],
            "free": {"z": {"y": 1}}, "at": {"x": "1"}, "labels": {"a": "b"},
        }),
    );
    world
}

#[test]
fn a_creator_owns_what_he_wrote() {
    let wanted = json!({
        ".": {}, "f:a": {}, "f:at": {}, "f:free": {".": {}, "f:z": {".": {}, "f:y": {}}}, "f:l": {},
        "f:labels": {".": {}, "f:a": {}},
        "f:m": {".": {}, "k:{\"k\":\"1\",\"p\":\"TCP\"}": {".": {}, "f:k": {}, "f:p": {}, "f:v": {}}},
        "f:o": {".": {}, "f:y": {}}, "f:s": {".": {}, "v:\"i\"": {}, "v:\"j\"": {}},
    });
    assert_eq!(created().owned("curl"), wanted);
}

#[test]
fn applied_fields_are_merged_by_the_schema() {
    let mut world = created();
    let config = json!({
        "free": {"k": {"b": 1}}, "o": {"x": "1"}, "m": [{"k": "1", "w": "w"}, {"k": "2"}], "s": ["k"], "at": {"x": "1"},
    });
    assert!(world.apply("q", config, false).is_empty());
    assert_eq!(world.spec()["m"], json!([{"k": "1", "p": "TCP", "v": "v", "w": "w"}, {"k": "2"}]));
    assert_eq!(world.spec()["s"], json!(["i", "j", "k"]));
    assert_eq!(world.spec()["free"], json!({"k": {"b": 1}, "z": {"y": 1}}));
    let wanted = json!({
        "f:at": {}, "f:free": {"f:k": {".": {}, "f:b": {}}},
        "f:m": {
            "k:{\"k\":\"1\",\"p\":\"TCP\"}": {".": {}, "f:k": {}, "f:w": {}},
            "k:{\"k\":\"2\",\"p\":\"TCP\"}": {".": {}, "f:k": {}},
        },
        "f:o": {"f:x": {}}, "f:s": {"v:\"k\"": {}},
    });
    assert_eq!(world.owned("q"), wanted);

    // What is applied no more goes, unless somebody else has it; what is empty is not a field.
    assert!(world.apply("q", json!({"free": {"k": {}}}), false).is_empty());
    assert_eq!(world.spec()["free"], json!({"k": null, "z": {"y": 1}}));
    assert_eq!(world.spec()["m"], json!([{"k": "1", "p": "TCP", "v": "v"}]));
    assert_eq!((&world.spec()["o"], &world.spec()["at"]), (&json!({"y": "dy"}), &json!({"x": "1"})));
    assert_eq!(world.owned("q"), json!({"f:free": {"f:k": {}}}));
    assert!(world.apply("q", json!({}), false).is_empty());
    assert_eq!((world.object, world.owners), (created().object, created().owners));
}

#[test]
fn fields_of_others_are_in_conflict_until_forced() {
    let mut world = created();
    let config = json!({"a": "y", "at": {"x": "2"}, "m": [{"k": "1", "v": "other"}]});
    let conflicts = world.apply("q", config.clone(), false);
    assert_eq!(conflicts, [".spec.a", ".spec.at", ".spec.m[k=\"1\",p=\"TCP\"].v"]);
    assert_eq!((&world.object, &world.owners), (&created().object, &created().owners));
    assert!(world.apply("q", config.clone(), true).is_empty());
    assert_eq!((&world.spec()["a"], &world.spec()["at"]), (&json!("y"), &json!({"x": "2"})));
    assert_eq!(world.owned("q")["f:a"], json!({}));
    assert_eq!(world.owned("curl").get("f:a"), None);
    // Whoever applies the same owns it as well, and nobody is in the way.
    assert!(world.apply("r", config, false).is_empty());
    assert_eq!(world.owned("r"), world.owned("q"));
}

#[test]
fn lists_keep_the_order_that_is_applied() {
    let list = |keys: &[&str]| json!({"s": keys});
    let mut world = World::new();
    world.apply("a", list(&["1", "2", "3"]), false);
    world.apply("b", list(&["x", "3", "y", "1"]), false);
    assert_eq!(world.spec()["s"], json!(["2", "x", "3", "y", "1"]));
    world.apply("a", list(&["1"]), false);
    assert_eq!(world.spec()["s"], json!(["x", "3", "y", "1"]));
}

#[test]
fn what_is_applied_has_to_fit_the_schema() {
    let why = |spec: Value| walk::check(&shape(), &json!({"spec": spec})).join("\n");
    assert_eq!(why(json!({"zz": 1})), ".spec.zz: field not declared in schema");
    assert_eq!(why(json!({"s": ["i", "i"]})), ".spec.s: duplicate entries for key [=\"i\"]");
    assert_eq!(
        why(json!({"m": [{"k": "1"}, {"k": "1", "p": "TCP"}]})),
        ".spec.m: duplicate entries for key [k=\"1\",p=\"TCP\"]"
    );
    assert_eq!(why(json!({"m": [1]})), ".spec.m: element 0: associative list with keys may not have non-map elements");
    assert_eq!(why(json!({"a": 2})), ".spec.a: expected string, got &value.valueUnstructured{Value:2}");
    assert_eq!(why(json!({"n": "x"})), ".spec.n: expected numeric (int or float), got string");
    assert_eq!(why(json!({"o": [1]})), ".spec.o: expected map, got &{[1]}");
    assert_eq!(why(json!({"b": "x", "l": 3})), ".spec.b: expected boolean, got &{x}\n.spec.l: expected list, got &{3}");
    assert_eq!(why(json!({"a": null, "free": {"anything": [1, {}]}})), "");
}

#[test]
fn too_many_updaters_become_one() {
    let mut world = World::new();
    for index in 0..12 {
        let mut spec = world.object["spec"].clone();
        spec["labels"][format!("l{index:02}")] = "1".into();
        world.update(&format!("m{index:02}"), spec);
    }
    assert_eq!(world.owners.0.len(), 10);
    let old = world.owned("ancient-changes");
    assert_eq!(old["f:labels"], json!({".": {}, "f:l00": {}, "f:l01": {}, "f:l02": {}}));
}

fn write(manager: &str, status: bool) -> Write {
    let kind = Registry::builtin().find("", "v1", "configmaps").unwrap();
    Write {
        shape: Arc::new(shape()),
        ignored: kinds::ignored(&kind, status),
        kind,
        version: "v1".into(),
        manager: manager.into(),
        subresource: if status { "status" } else { "" },
    }
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "uid": "u"}, "spec": spec})
}

#[test]
fn entries_that_a_client_sends_are_taken_reset_or_left() {
    let entry = json!({
        "manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:a": {}}},
    });
    let mut old = object(json!({"a": "1"}));
    write("creator", false).update(None, &old.clone(), &mut old);
    assert_eq!(old["metadata"]["managedFields"][0]["manager"], "creator");
    let managers = |entries: Value| -> Vec<String> {
        let (mut sent, mut new) = (old.clone(), object(json!({"a": "1", "n": 1})));
        sent["metadata"]["managedFields"] = entries;
        write("z", false).update(Some(&old), &sent, &mut new);
        let entries = new["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["manager"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(managers(json!([entry])), ["x", "z"]);
    assert!(managers(json!([{}])).is_empty());
    assert!(managers(json!([])).is_empty());
    let with = |field: &str, value: Value| {
        let mut broken = entry.clone();
        broken[field] = value;
        json!([broken])
    };
    for left in [
        json!(null),
        with("operation", json!("Foo")),
        with("fieldsType", json!("FieldsV2")),
        with("apiVersion", json!("")),
        with("fieldsV1", json!({"bad": 1})),
        with("time", json!("yesterday")),
    ] {
        assert_eq!(managers(left.clone()), ["creator", "z"], "{left}");
    }
    assert_eq!(managers(with("apiVersion", json!("v9"))), ["z"]);
}

#[test]
fn a_write_that_changes_nothing_leaves_the_times() {
    let mut old = object(json!({"a": "1"}));
    write("creator", false).update(None, &old.clone(), &mut old);
    old["metadata"]["managedFields"][0]["time"] = NOW.into();
    let config = object(json!({"a": "1"}));
    let first = write("q", false).apply(Some(&old), &config, false).unwrap();
    let mut live = old.clone();
    settle(Some(&old), &mut live, first.managed_fields);
    assert_eq!(
        live["metadata"]["managedFields"][0],
        json!({
            "manager": "q", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:a": {}}},
        })
    );
    let again = write("q", false).apply(Some(&live), &config, true).unwrap();
    let mut same = live.clone();
    settle(Some(&live), &mut same, again.managed_fields);
    assert_eq!(same, live);
}

#[test]
fn kubectl_takes_over_what_its_annotation_says() {
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let mut old = object(json!({"a": "1", "n": 2}));
    let last = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "spec": {"a": "1", "n": 1}});
    old["metadata"]["annotations"] = json!({annotation: last.to_string()});
    write("kubectl-client-side-apply", false).update(None, &old.clone(), &mut old);
    let config = |spec| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "spec": spec});
    let taken = write("kubectl", false).apply(Some(&old), &config(json!({"a": "9"})), false).unwrap().object;
    assert_eq!(taken["spec"], json!({"a": "9", "n": 2}));
    let text = taken["metadata"]["annotations"][annotation].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), config(json!({"a": "9"})));
    // Changed since: not kubectl's any more.
    let error = write("kubectl", false).apply(Some(&old), &config(json!({"n": 9})), false).err().unwrap();
    assert_eq!(
        error.message(),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .spec.n"
    );
    let error = write("other", false).apply(Some(&old), &config(json!({"a": "9"})), false).err().unwrap();
    assert_eq!(
        error.to_value()["details"]["causes"],
        json!([{
            "reason": "FieldManagerConflict", "field": ".spec.a",
            "message": "conflict with \"kubectl-client-side-apply\" using v1",
        }])
    );
}

/// Lists and maps have at least so many entries.
fn spec(least: usize) -> impl Strategy<Value = Value> {
    let text = || prop_oneof![Just(json!("1")), Just(json!("2"))];
    let pair = move || prop::collection::btree_map("[xy]", text(), least..3).prop_map(|map| json!(map));
    let keys = prop::collection::btree_map("[12]", text(), least..3)
        .prop_map(|map| map.into_iter().map(|(k, v)| json!({"k": k, "v": v})).collect::<Value>());
    let free = prop::collection::btree_map("[xy]", pair(), least..3).prop_map(|map| json!(map));
    let set = prop::collection::btree_set("[123]", least..4).prop_map(|set| json!(set));
    let field = |name: &'static str, value: BoxedStrategy<Value>| {
        prop::option::of(value).prop_map(move |value| value.map(|value| (name.to_owned(), value)))
    };
    (
        field("a", text().boxed()),
        field("o", pair().boxed()),
        field("l", set.clone().boxed()),
        field("s", set.boxed()),
        field("m", keys.boxed()),
        field("free", free.boxed()),
        field("at", pair().boxed()),
    )
        .prop_map(|(a, o, l, s, m, free, at)| Value::Object([a, o, l, s, m, free, at].into_iter().flatten().collect()))
}

/// Nothing, and what holds nothing, are the same to whoever reads them.
fn said(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), said(value)));
            let fields: serde_json::Map<_, _> = fields.filter(|(_, value)| !value.is_null()).collect();
            if fields.is_empty() { Value::Null } else { Value::Object(fields) }
        }
        Value::Array(items) if items.is_empty() => Value::Null,
        other => other.clone(),
    }
}

/// All fields, and those that are there with nothing in them.
fn fields_of(world: &World) -> Set {
    let written = Changes::between(&world.shape, &json!({}), &world.object);
    walk::fields(&world.shape, &world.object).union(&written.added).union(&written.modified)
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(base in spec(0), config in spec(0), force in any::<bool>()) {
        let mut world = World::new();
        world.update("u", base);
        world.apply("a", config.clone(), force);
        let once = (world.object.clone(), world.owners.clone());
        world.apply("a", config, force);
        prop_assert_eq!((world.object, world.owners), once);
    }

    #[test]
    fn what_is_applied_by_force_is_there_and_owned(base in spec(0), config in spec(0)) {
        let mut world = World::new();
        world.update("u", base);
        world.apply("a", config.clone(), true);
        let wanted = walk::fields(&world.shape, &json!({"spec": config}));
        prop_assert!(wanted.difference(&walk::fields(&world.shape, &world.object)).paths().iter()
            .all(|path| path.len() == 1 || said(&config).is_null() || !wanted.has(&path[0])));
        let merged = merge::merge(&world.shape, &world.object, &json!({"spec": config}));
        prop_assert_eq!(said(&merged), said(&world.object));
    }

    #[test]
    fn what_one_applied_and_takes_back_leaves_what_others_own(base in spec(1), config in spec(1)) {
        let mut world = World::new();
        world.update("u", base);
        prop_assume!(!said(&world.object).is_null());
        let before = (said(&world.object), world.owned("u"));
        if world.apply("a", config, false).is_empty() {
            world.apply("a", json!({}), false);
            let left = fields_of(&world);
            let mine = world.owners.0.iter().find(|(owner, _)| owner.manager == "u").map(|(_, owned)| owned.fields.clone());
            prop_assert!(mine.unwrap_or_default().difference(&left).is_empty());
            prop_assert_eq!((said(&world.object), world.owned("u")), before);
        }
    }

    #[test]
    fn owners_share_a_field_only_where_they_agree(base in spec(0), one in spec(0), other in spec(0), force in any::<bool>()) {
        let mut world = World::new();
        world.update("u", base);
        world.apply("a", one.clone(), force);
        let applied = world.apply("b", other.clone(), force).is_empty();
        let of = |config: &Value| walk::fields(&world.shape, &json!({"spec": config}));
        let shared = of(&one).intersection(&of(&other));
        let both = |set: &Set| {
            let fields = |name: &str| world.owners.0.iter().find(|(owner, _)| owner.manager == name)
                .map(|(_, owned)| owned.fields.clone()).unwrap_or_default();
            fields("a").intersection(&fields("b")).intersection(set)
        };
        if applied {
            let differ = Changes::between(&world.shape, &json!({"spec": one}), &json!({"spec": other}));
            prop_assert!(both(&differ.modified.intersection(&shared)).is_empty());
        }
    }

    #[test]
    fn owned_fields_are_fields_of_the_object(writes in prop::collection::vec((0..3, spec(0), any::<bool>()), 1..6)) {
        let mut world = World::new();
        for (who, spec, applied) in writes {
            if applied {
                world.apply(&format!("a{who}"), spec, true);
            } else {
                world.update(&format!("u{who}"), spec);
                let there = fields_of(&world);
                for owned in world.owners.0.values().filter(|owned| owned.time.is_some()) {
                    prop_assert!(owned.fields.difference(&there).paths().iter().all(|path| path.len() < 3), "{:?}", owned);
                }
            }
            prop_assert!(world.owners.0.values().all(|owned| !owned.fields.is_empty()));
            prop_assert_eq!(&Owners::read(&world.owners.write()).unwrap(), &world.owners);
        }
    }
}
