//! Roles and who has them.

use super::{At, words};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(in super::super) fn role(object: &At<'_>) {
    rules(object, true);
}

pub(in super::super) fn cluster_role(object: &At<'_>) {
    rules(object, false);
    let aggregation = object.at("aggregationRule");
    if aggregation.is_set() {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        aggregation.at("clusterRoleSelectors").required(why);
        aggregation.each("clusterRoleSelectors").iter().for_each(At::selector);
    }
}

fn rules(object: &At<'_>, namespaced: bool) {
    for rule in object.each("rules") {
        rule.at("verbs").required("verbs must contain at least one value");
        let paths = rule.at("nonResourceURLs");
        if !paths.is_empty() {
            if namespaced {
                paths.invalid("namespaced rules cannot apply to non-resource URLs");
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|field| !rule.at(field).is_empty()) {
                paths.invalid("rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        rule.at("apiGroups").required("resource rules must supply at least one api group");
        rule.at("resources").required("resource rules must supply at least one resource");
    }
}

pub(in super::super) fn role_binding(object: &At<'_>) {
    binding(object, &["Role", "ClusterRole"], true);
}

pub(in super::super) fn cluster_role_binding(object: &At<'_>) {
    binding(object, &["ClusterRole"], false);
}

fn binding(object: &At<'_>, kinds: &[&str], namespaced: bool) {
    let role = object.at("roleRef");
    if role.at("apiGroup").text() != GROUP {
        role.at("apiGroup").unsupported(&[GROUP]);
    }
    if !kinds.contains(&role.at("kind").text()) {
        role.at("kind").unsupported(kinds);
    }
    if role.at("name").required("") {
        role.at("name").text_is(words::path_segment);
    }
    for subject in object.each("subjects") {
        let (kind, group) = (subject.at("kind"), subject.at("apiGroup"));
        subject.at("name").required("");
        match kind.text() {
            "ServiceAccount" => {
                if !subject.at("name").is_empty() {
                    subject.at("name").text_is(words::subdomain);
                }
                if !group.is_empty() {
                    group.unsupported(&[""]);
                }
                if !namespaced {
                    subject.at("namespace").required("");
                }
            }
            "User" | "Group" if group.text() != GROUP => group.unsupported(&[GROUP]),
            "User" | "Group" => {}
            _ => kind.unsupported(&["ServiceAccount", "User", "Group"]),
        }
    }
    if object.is_update() && role.value != role.old {
        role.invalid_struct(&["APIGroup", "Kind", "Name"], "cannot change roleRef");
    }
}
