//! Whatever a Set holds, it compiles: objects of all cases thrown together, fields lost,
//! values swapped.

use super::*;

/// All objects of all cases.
fn pool() -> Vec<Value> {
    let mut all = documents(&base());
    for entry in fs::read_dir(folder()).expect("the folder of cases is there") {
        let path = entry.expect("an entry of the folder").path();
        if path.to_string_lossy().ends_with(".in.yaml") {
            all.extend(documents(&fs::read_to_string(&path).expect("a case is text")));
        }
    }
    all
}

/// Changes the value that `way` leads to.
fn mutate(value: &mut Value, way: &[usize], to: &Value) {
    let Some((step, rest)) = way.split_first() else {
        *value = to.clone();
        return;
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let name = fields.keys().nth(step % fields.len()).expect("an index below the length").clone();
            if rest.is_empty() && to.is_null() {
                fields.remove(&name);
            } else if let Some(inner) = fields.get_mut(&name) {
                mutate(inner, rest, to);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let at = step % items.len();
            if rest.is_empty() && to.is_null() {
                items.remove(at);
            } else {
                mutate(&mut items[at], rest, to);
            }
        }
        other => *other = to.clone(),
    }
}

/// Like [`add`], but an object that cannot even be read is left out, as the watches do.
fn try_add(set: &mut Set, value: &Value) {
    let name = |field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (key, name) = (Key::new(name("namespace"), name("name")), name("name"));
    macro_rules! keep {
        ($map:expr, $key:expr) => {
            if let Ok(object) = serde_json::from_value(value.clone()) {
                $map.insert($key, Arc::new(object));
            }
        };
    }
    match value["kind"].as_str() {
        Some("GatewayClass") => keep!(set.classes, name),
        Some("Gateway") => keep!(set.gateways, key),
        Some("HTTPRoute") => keep!(set.http_routes, key),
        Some("GRPCRoute") => keep!(set.grpc_routes, key),
        Some("BackendTLSPolicy") => keep!(set.backend_tls_policies, key),
        Some("ConfigMap") => keep!(set.config_maps, key),
        Some("ReferenceGrant") => keep!(set.grants, key),
        Some("Namespace") => keep!(set.namespaces, name),
        Some("Service") => keep!(set.services, key),
        Some("EndpointSlice") => keep!(set.endpoint_slices, key),
        Some("Secret") => keep!(set.secrets, key),
        _ => {}
    }
}

fn values() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        Value::Null,
        serde_json::json!(""),
        serde_json::json!("*"),
        serde_json::json!("*."),
        serde_json::json!("/"),
        serde_json::json!("(["),
        serde_json::json!("app"),
        serde_json::json!("é\u{0}"),
        serde_json::json!(0),
        serde_json::json!(65535),
        serde_json::json!(4_294_967_295u32),
        serde_json::json!(-1),
        serde_json::json!([]),
        serde_json::json!({}),
    ])
}

proptest! {
    #[test]
    fn never_panics(
        picked in prop::collection::vec(any::<prop::sample::Index>(), 5..40),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::collection::vec(0usize..20, 1..9), values()),
            0..20,
        ),
    ) {
        thread_local!(static POOL: Vec<Value> = pool());
        let mut objects: Vec<Value> = POOL.with(|pool| {
            let base = pool.iter().take(10);
            base.chain(picked.iter().map(|index| index.get(pool))).cloned().collect()
        });
        for (which, way, to) in &changes {
            let at = which.index(objects.len());
            mutate(&mut objects[at], way, to);
        }
        let mut set = Set::default();
        objects.iter().for_each(|value| try_add(&mut set, value));
        let once = compiled(&set);
        // Pure: the same again gives the same.
        prop_assert_eq!(dump::dump(&once), dump::dump(&compiled(&set)));
        for (key, gateway) in &once.verdicts.gateways {
            prop_assert_eq!(gateway.listeners.len(), set.gateways[key].spec.listeners.len());
        }
        for host in ["", "example.com", "a.example.com", "*."] {
            for path in ["", "/", "/a/b", "*"] {
                taker(&once, host, path);
            }
        }
    }
}
