//! From a definition to the kinds that are served: one for each version, since each may have its
//! own columns and subresources.

use std::cmp::Reverse;

use serde_json::Value;

use super::{list, text};
use crate::local::kinds::{Column, Kind, Scale};

/// The schemas by version, the stored one's first.
pub(super) fn schemas(crd: &Value) -> Vec<(String, Value)> {
    let mut versions: Vec<&Value> = list(&crd["spec"]["versions"]).iter().collect();
    versions.sort_by_key(|version| version["storage"] != true);
    let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
    versions.iter().map(|version| (text(&version["name"]).to_owned(), schema(version))).collect()
}

/// The kinds by served version, the preferred one first.
pub(super) fn kinds(crd: &Value) -> Vec<(String, Kind)> {
    let spec = &crd["spec"];
    let names = &crd["status"]["acceptedNames"];
    let all = list(&spec["versions"]);
    let storage = all.iter().find(|version| version["storage"] == true).map_or("", |version| text(&version["name"]));
    let mut served: Vec<&Value> = all.iter().filter(|version| version["served"] == true).collect();
    served.sort_by_key(|version| priority(text(&version["name"])));
    let versions: Vec<String> = served.iter().map(|version| text(&version["name"]).to_owned()).collect();
    let words = |value: &Value| list(value).iter().map(|word| text(word).to_owned()).collect::<Vec<_>>();
    let of = |version: &&Value| {
        let name = text(&version["name"]);
        let deprecated = version["deprecated"] == true;
        let warning = format!("{}/{name} {} is deprecated", text(&spec["group"]), text(&names["kind"]));
        let kind = Kind {
            versions: versions.clone(),
            storage: storage.into(),
            short_names: words(&names["shortNames"]),
            categories: words(&names["categories"]),
            namespaced: spec["scope"] == "Namespaced",
            has_status: !version["subresources"]["status"].is_null(),
            has_generation: true,
            columns: columns(version),
            selectable: selectable(version),
            warning: deprecated.then(|| version["deprecationWarning"].as_str().map_or(warning, str::to_owned)),
            scale: scale(&version["subresources"]["scale"]),
            terminating: !crd["metadata"]["deletionTimestamp"].is_null(),
            ..Kind::custom(text(&spec["group"]), text(&names["kind"]), text(&names["plural"]), text(&names["singular"]))
        };
        (name.to_owned(), kind)
    };
    served.iter().map(of).collect()
}

fn scale(scale: &Value) -> Option<Scale> {
    let path = |field: &str| text(&scale[field]).to_owned();
    let paths = Scale {
        spec_replicas: path("specReplicasPath"),
        status_replicas: path("statusReplicasPath"),
        selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
    };
    (!scale.is_null()).then_some(paths)
}

fn columns(version: &Value) -> Vec<Column> {
    let listed = list(&version["additionalPrinterColumns"]);
    if listed.is_empty() {
        return vec![Column::created()];
    }
    let column = |column: &Value| {
        let mut made = Column::path(text(&column["name"]), text(&column["type"]), text(&column["jsonPath"]));
        made.priority = column["priority"].as_i64().unwrap_or(0);
        made
    };
    listed.iter().map(column).collect()
}

fn selectable(version: &Value) -> Vec<String> {
    let fields = list(&version["selectableFields"]).iter();
    fields.map(|field| text(&field["jsonPath"]).trim_start_matches('.').to_owned()).collect()
}

/// Kubernetes' order of versions: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then all others
/// by name.
pub(in crate::local) fn priority(version: &str) -> (u8, Reverse<(u64, u64)>, String) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u64 = rest[..end].parse().ok()?;
        let (rank, minor) = match &rest[end..] {
            "" => (0, 0),
            rest if rest.starts_with("beta") => (1, rest[4..].parse().ok()?),
            rest if rest.starts_with("alpha") => (2, rest[5..].parse().ok()?),
            _ => return None,
        };
        Some((rank, Reverse((major, minor)), String::new()))
    };
    parse().unwrap_or_else(|| (3, Reverse((0, 0)), version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_kubernetes_order() {
        let mut versions = ["foo1", "v1alpha1", "v10", "v1beta2", "v2", "v1beta10", "foo10", "v1", "v3beta1"];
        versions.sort_by_key(|version| priority(version));
        assert_eq!(versions, ["v10", "v2", "v1", "v3beta1", "v1beta10", "v1beta2", "v1alpha1", "foo1", "foo10"]);
    }
}
