//! Policies: whatever attaches to other objects by `targetRef` or `targetRefs`.

use serde_json::Value;

use super::{
    health::{Condition, Health, Verdict, judge},
    json::{created, generation, list, text, text_at},
    key::ObjectKey,
    topology::Reference,
};

#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub key: ObjectKey,
    pub targets: Vec<Target>,
    pub ancestors: Vec<Ancestor>,
    /// Conditions that are not about an ancestor: older kinds have only these.
    pub conditions: Vec<Condition>,
    /// Of a BackendTLSPolicy.
    pub validation: Option<Validation>,
    pub generation: i64,
    pub created: Option<jiff::Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub of: Reference,
    pub section: Option<String>,
}

/// What a controller says of the policy as seen from one Gateway, class or Service.
#[derive(Debug, Clone, PartialEq)]
pub struct Ancestor {
    pub of: Reference,
    pub controller: String,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    pub hostname: String,
    pub authorities: Vec<Reference>,
    /// `wellKnownCACertificates`.
    pub well_known: Option<String>,
}

impl Policy {
    pub fn read(key: ObjectKey, object: &Value) -> Self {
        let one = object.pointer("/spec/targetRef").filter(|target| target.is_object());
        let targets = list(object, "/spec/targetRefs").iter().chain(one).map(|target| Target {
            of: Reference::read(target, "", "", &key.namespace),
            section: text_at(target, "/sectionName"),
        });
        let ancestors = list(object, "/status/ancestors").iter().map(|ancestor| Ancestor {
            of: Reference::read(
                ancestor.get("ancestorRef").unwrap_or(&Value::Null),
                "gateway.networking.k8s.io",
                "Gateway",
                &key.namespace,
            ),
            controller: text(ancestor, "controllerName"),
            conditions: Condition::all(Some(ancestor)),
        });
        let validation = object.pointer("/spec/validation").filter(|of| of.is_object()).map(|of| Validation {
            hostname: text(of, "hostname"),
            authorities: list(of, "/caCertificateRefs")
                .iter()
                .map(|of| Reference::read(of, "", "ConfigMap", &key.namespace))
                .collect(),
            well_known: text_at(of, "/wellKnownCACertificates").filter(|name| !name.is_empty()),
        });
        Self {
            targets: targets.collect(),
            ancestors: ancestors.collect(),
            conditions: Condition::all(object.get("status")),
            validation,
            generation: generation(object),
            created: created(object),
            key,
        }
    }

    pub fn verdict(&self) -> Verdict {
        let of = |conditions: &Vec<Condition>| match conditions.iter().find(|condition| condition.kind == "Accepted") {
            // The controllers of policies write further conditions whose sense is their own.
            Some(accepted) => accepted.verdict(self.generation),
            None => judge(conditions, self.generation),
        };
        let own = (!self.conditions.is_empty()).then_some(&self.conditions);
        let all = self.ancestors.iter().map(|ancestor| &ancestor.conditions).chain(own);
        let worst = all.map(of).reduce(Verdict::worse).unwrap_or_else(|| Verdict::new(Health::Unknown, "NoStatus"));
        if worst.health == Health::Ok { Verdict::new(Health::Ok, "") } else { worst }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::key::Kind;

    #[test]
    fn one_target_or_several_are_the_same() {
        let key = || ObjectKey::new(Kind::BackendTlsPolicy, "shop", "tls");
        let target = json!({"group": "", "kind": "Service", "name": "cart", "sectionName": "https"});
        let one = Policy::read(key(), &json!({"spec": {"targetRef": target}}));
        let several = Policy::read(key(), &json!({"spec": {"targetRefs": [target]}}));
        assert_eq!(one.targets, several.targets);
        assert_eq!(one.targets[0].of.namespace, "shop");
        assert_eq!(one.verdict().reason, "NoStatus");
    }
}
