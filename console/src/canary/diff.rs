//! What to commit after a run: a route's manifest as it was against as it is.

use serde_json::Value;

use crate::model::key::ObjectKey;

const CONTEXT: usize = 4;

/// Unified diff of the specs' rules, none where nothing changed.
pub fn unified<'a>(routes: impl Iterator<Item = (&'a ObjectKey, &'a Value, &'a Value)>) -> Option<String> {
    let mut text = String::new();
    for (key, found, now) in routes {
        let (old, new) = (manifest(found), manifest(now));
        if old == new {
            continue;
        }
        let name = format!("{}/{}/{}.yaml", key.kind.plural(), key.namespace, key.name);
        text.push_str(&format!("--- a/{name}\n+++ b/{name}\n"));
        text.push_str(&hunks(&old, &new));
    }
    (!text.is_empty()).then_some(text)
}

/// Line by line where only values changed: a swap of two weights is two changes, and not a
/// backend that moved.
fn hunks(old: &str, new: &str) -> String {
    let (old_lines, new_lines): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    if old_lines.len() != new_lines.len() {
        let diff = similar::TextDiff::from_lines(old, new);
        return diff.unified_diff().context_radius(CONTEXT).to_string();
    }
    let changed: Vec<usize> = (0..old_lines.len()).filter(|at| old_lines[*at] != new_lines[*at]).collect();
    let mut text = String::new();
    let mut rest = changed.as_slice();
    while let Some(first) = rest.first() {
        let mut count = 1;
        while rest.get(count).is_some_and(|next| next - rest[count - 1] <= 2 * CONTEXT) {
            count += 1;
        }
        let from = first.saturating_sub(CONTEXT);
        let to = (rest[count - 1] + CONTEXT + 1).min(old_lines.len());
        text.push_str(&format!("@@ -{0},{1} +{0},{1} @@\n", from + 1, to - from));
        for at in from..to {
            if old_lines[at] == new_lines[at] {
                text.push_str(&format!(" {}\n", old_lines[at]));
            } else {
                text.push_str(&format!("-{}\n+{}\n", old_lines[at], new_lines[at]));
            }
        }
        rest = &rest[count..];
    }
    text
}

/// The part of the manifest that a run changes, as YAML.
fn manifest(route: &Value) -> String {
    let part = serde_json::json!({"spec": {"rules": route.pointer("/spec/rules")}});
    serde_saphyr::to_string(&part).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::key::Kind;

    #[test]
    fn weights_alone_differ() {
        let route = |stable: u32, canary: u32| json!({"spec": {"rules": [{"backendRefs": [{"name": "v1", "weight": stable}, {"name": "v2", "weight": canary}]}]}});
        let key = ObjectKey::new(Kind::HttpRoute, "shop", "app");
        let diff = unified([(&key, &route(100, 0), &route(0, 100))].into_iter()).unwrap();
        let changed: Vec<&str> = diff.lines().filter(|line| line.starts_with(['+', '-'])).map(str::trim).collect();
        assert_eq!(changed.len(), 6, "{diff}");
        assert!(diff.contains("--- a/httproutes/shop/app.yaml"), "{diff}");
        assert!(changed.iter().any(|line| line.starts_with('+') && line.ends_with("weight: 100")), "{diff}");
        assert_eq!(unified([(&key, &route(1, 1), &route(1, 1))].into_iter()), None);
    }
}
