//! Classes, Gateways, ListenerSets and their listeners: addresses, conflicts, certificates.

use std::collections::{BTreeSet, HashMap};

use super::{
    Triage, Used,
    chain::{Step, Trace},
    fixes,
    parents::carries,
    rules::{
        CERTIFICATE_ENDED, CERTIFICATE_ENDS, CERTIFICATE_GRANT, CERTIFICATE_HOST, CERTIFICATE_MISSING,
        CERTIFICATE_UNUSABLE, CLASS_MISSING, CLASS_REFUSED, CLASS_SILENT, COUNT_DIFFERS, GATEWAY_NO_ADDRESS,
        GATEWAY_NOT_PROGRAMMED, GATEWAY_REFUSED, GATEWAY_SILENT, GATEWAY_STALE, LISTENER_CONFLICT, LISTENER_KINDS,
        LISTENER_NO_CERTIFICATE, LISTENER_PASSTHROUGH, LISTENER_REFUSED, LISTENER_UNUSED, SELECTOR_EMPTY,
        SET_NO_PARENT, SET_NOT_ALLOWED, SET_REFUSED, found,
    },
};
use crate::{
    finding::Finding,
    model::{
        gateway::{From, Gateway, Listener, ListenerSet},
        health::Condition,
        key::{Kind, ObjectKey},
        topology::Reference,
    },
};

/// Days before its end from which a certificate is worth a word.
const SOON: i64 = 14;

pub(super) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

pub(super) fn refused<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    condition(conditions, kind).filter(|condition| condition.status == "False")
}

pub(super) fn said(condition: &Condition) -> String {
    let colon = if condition.message.is_empty() { "" } else { ": " };
    format!("{}={} {}{colon}{}", condition.kind, condition.status, condition.reason, condition.message)
}

/// The conditions of a holder as evidence of a finding.
pub(super) fn with(finding: Finding, from: &str, condition: &Condition) -> Finding {
    finding.evidence(from, said(condition))
}

impl Triage<'_> {
    pub(super) fn classes(&self, into: &mut Vec<Finding>) {
        for class in self.store.classes() {
            // A class that nobody uses disturbs nobody.
            if self.store.gateways().any(|gateway| gateway.class == class.key.name) {
                into.extend(self.class(&class.key.name));
            }
        }
    }

    fn class(&self, name: &str) -> Option<Finding> {
        let class = self.store.class(name)?;
        match condition(&class.conditions, "Accepted") {
            Some(accepted) if accepted.status == "False" => {
                let title = format!("{} refuses the class: {}", class.controller, accepted.reason);
                Some(
                    with(found(&CLASS_REFUSED, &class.key, title), "status.conditions", accepted)
                        .fix(CLASS_REFUSED.fix),
                )
            }
            Some(accepted) if accepted.status == "True" => None,
            _ => {
                let title = format!("controller {} has not taken the class up", class.controller);
                Some(found(&CLASS_SILENT, &class.key, title).field("spec.controllerName").fix(CLASS_SILENT.fix))
            }
        }
    }

    /// Whether somebody could have written a status for this Gateway.
    pub(super) fn controller_of(&self, gateway: &Gateway) -> Option<&str> {
        let class = self.store.class(&gateway.class)?;
        condition(&class.conditions, "Accepted")
            .is_some_and(|accepted| accepted.status == "True")
            .then_some(class.controller.as_str())
    }

    pub(super) fn gateway(&self, gateway: &Gateway, into: &mut Vec<Finding>, used: &mut Used) {
        into.extend(self.gateway_itself(gateway));
        self.conflicts(gateway, into);
        for (index, listener) in gateway.listeners.iter().enumerate() {
            self.listener(&gateway.key, index, listener, into, used);
        }
    }

    fn gateway_itself(&self, gateway: &Gateway) -> Vec<Finding> {
        let mut all = Vec::new();
        let key = &gateway.key;
        if self.store.class(&gateway.class).is_none() {
            if self.store.sees(Kind::GatewayClass, "") {
                let near = fixes::meant(&gateway.class, self.store.classes().map(|class| class.key.name.as_str()));
                let fix = near.map_or_else(
                    || CLASS_MISSING.fix.to_owned(),
                    |near| format!("set spec.gatewayClassName to {near}, if that was meant"),
                );
                let title = format!("GatewayClass {} does not exist", gateway.class);
                all.push(found(&CLASS_MISSING, key, title).field("spec.gatewayClassName").fix(fix));
            }
            return all;
        }
        let accepted = condition(&gateway.conditions, "Accepted");
        let stale = gateway.conditions.iter().find(|condition| condition.is_stale(gateway.generation));
        if let Some(accepted) = refused(&gateway.conditions, "Accepted") {
            let title = format!("the controller refuses the Gateway: {}", accepted.reason);
            all.push(with(found(&GATEWAY_REFUSED, key, title), "status.conditions", accepted).fix(GATEWAY_REFUSED.fix));
        } else if accepted.is_none_or(|accepted| accepted.status != "True") {
            if let Some(controller) = self.controller_of(gateway) {
                let title = format!("{controller} has said nothing about the Gateway");
                all.push(found(&GATEWAY_SILENT, key, title).fix(GATEWAY_SILENT.fix));
            }
        } else if let Some(programmed) =
            condition(&gateway.conditions, "Programmed").filter(|programmed| programmed.status != "True")
        {
            let title = format!("the Gateway is not programmed: {}", programmed.reason);
            let finding = found(&GATEWAY_NOT_PROGRAMMED, key, title).fix(GATEWAY_NOT_PROGRAMMED.fix);
            all.push(with(finding, "status.conditions", programmed));
        } else if gateway.addresses.is_empty() {
            let title = "the Gateway has no address";
            all.push(found(&GATEWAY_NO_ADDRESS, key, title).field("status.addresses").fix(GATEWAY_NO_ADDRESS.fix));
        }
        if let Some(condition) = stale {
            let observed = condition.observed_generation.unwrap_or_default();
            let title = format!("{} speaks of generation {observed}, now {}", condition.kind, gateway.generation);
            all.push(with(found(&GATEWAY_STALE, key, title), "status.conditions", condition).fix(GATEWAY_STALE.fix));
        }
        all
    }

    /// Listeners of the Gateway and of its sets, each pair that cannot be told apart.
    fn conflicts(&self, gateway: &Gateway, into: &mut Vec<Finding>) {
        let sets = self.store.listener_sets().filter(|set| set.parent == gateway.key && self.lets_in(gateway, set));
        let own = gateway.listeners.iter().enumerate().map(|(at, listener)| (&gateway.key, at, listener));
        let mut by_port: HashMap<u64, Vec<(&ObjectKey, usize, &Listener)>> = HashMap::new();
        let of_sets = sets.flat_map(|set| set.listeners.iter().enumerate().map(|(at, of)| (&set.key, at, of)));
        for (key, at, listener) in own.chain(of_sets) {
            let before = by_port.entry(listener.port).or_default();
            if let Some((other, _, first)) = before.iter().find(|(_, _, first)| conflict(first, listener)) {
                let host = listener.hostname.as_deref().unwrap_or("*");
                let why = if family(&listener.protocol) == family(&first.protocol) {
                    format!("hostname {host}")
                } else {
                    format!("protocols {} and {}", first.protocol, listener.protocol)
                };
                let title =
                    format!("listeners {} and {} share port {} with {why}", first.name, listener.name, listener.port);
                let finding = found(&LISTENER_CONFLICT, key, title).field(format!("spec.listeners[{at}]"));
                into.push(
                    finding
                        .evidence(
                            format!("{} {other}", other.kind.name()),
                            format!("listener {} was first", first.name),
                        )
                        .fix(LISTENER_CONFLICT.fix),
                );
            }
            before.push((key, at, listener));
        }
    }

    fn listener(&self, key: &ObjectKey, index: usize, listener: &Listener, into: &mut Vec<Finding>, used: &mut Used) {
        let field = format!("spec.listeners[{index}]");
        let mut tell = |finding: Finding| into.push(finding);
        let carried = |kind: &(String, String)| Kind::route(&kind.1).is_none_or(|kind| carries(listener, kind));
        if let Some((_, kind)) = listener.kinds.iter().find(|kind| !carried(kind)) {
            let title = format!("listener {} with protocol {} allows {kind}s", listener.name, listener.protocol);
            tell(
                found(&LISTENER_KINDS, key, title)
                    .field(format!("{field}.allowedRoutes.kinds"))
                    .fix(LISTENER_KINDS.fix),
            );
        }
        if let From::Selector(selector) = &listener.allowed
            && self.store.sees(Kind::Namespace, "")
            && !self.store.namespaces().any(|(_, labels)| selector.matches(labels))
        {
            let title = format!("no namespace has what listener {} asks for: {selector}", listener.name);
            tell(
                found(&SELECTOR_EMPTY, key, title)
                    .field(format!("{field}.allowedRoutes.namespaces"))
                    .fix(SELECTOR_EMPTY.fix),
            );
        }
        for kind in ["Accepted", "Programmed", "Conflicted"] {
            let Some(condition) = condition(&listener.conditions, kind) else { continue };
            let bad = if kind == "Conflicted" { "True" } else { "False" };
            if condition.status == bad {
                let title = format!("listener {} is not served: {}", listener.name, condition.reason);
                tell(
                    with(found(&LISTENER_REFUSED, key, title), "status.listeners", condition)
                        .field(&field)
                        .fix(LISTENER_REFUSED.fix),
                );
                break;
            }
        }
        into.extend(self.certificates(key, &field, listener, used));
    }

    fn certificates(&self, key: &ObjectKey, field: &str, listener: &Listener, used: &mut Used) -> Vec<Finding> {
        let mut all = Vec::new();
        let mode = listener.tls.as_ref().map_or("", |tls| tls.mode.as_str());
        if listener.protocol == "HTTPS" && mode == "Passthrough" {
            let title = format!("listener {} passes TLS through, but HTTPS has to end it", listener.name);
            all.push(
                found(&LISTENER_PASSTHROUGH, key, title)
                    .field(format!("{field}.tls.mode"))
                    .fix(LISTENER_PASSTHROUGH.fix),
            );
        }
        let ends = listener.protocol == "HTTPS" || (listener.protocol == "TLS" && mode == "Terminate");
        let certificates = listener.tls.as_ref().map_or(&[][..], |tls| &tls.certificates);
        if ends && mode != "Passthrough" && certificates.is_empty() {
            let title = format!("listener {} ends TLS without a certificate", listener.name);
            all.push(
                found(&LISTENER_NO_CERTIFICATE, key, title)
                    .field(format!("{field}.tls"))
                    .fix(LISTENER_NO_CERTIFICATE.fix),
            );
        }
        for (index, of) in certificates.iter().enumerate() {
            let field = format!("{field}.tls.certificateRefs[{index}]");
            all.extend(self.certificate(key, listener, of, used).map(|finding| finding.field(field)));
        }
        all
    }

    fn certificate(&self, key: &ObjectKey, listener: &Listener, of: &Reference, used: &mut Used) -> Option<Finding> {
        if of.kind != "Secret" || !of.group.is_empty() {
            return None;
        }
        if of.namespace != key.namespace {
            match self.grant(key.kind, &key.namespace, of) {
                Ok(Some(grant)) => {
                    used.insert(grant.key.clone());
                }
                Ok(None) => {
                    let title =
                        format!("Secret {}/{} is not granted to listener {}", of.namespace, of.name, listener.name);
                    return Some(found(&CERTIFICATE_GRANT, key, title).fix(fixes::grant(key.kind, &key.namespace, of)));
                }
                Err(()) => {}
            }
        }
        let name = format!("{}/{}", of.namespace, of.name);
        let from = format!("Secret {name}");
        let Some(secret) = self.store.secret(&of.namespace, &of.name) else {
            // Only Secrets of the type for certificates are watched.
            let title = format!("there is no Secret {name} of type kubernetes.io/tls for listener {}", listener.name);
            return self
                .store
                .sees(Kind::Secret, &of.namespace)
                .then(|| found(&CERTIFICATE_MISSING, key, title).fix(CERTIFICATE_MISSING.fix));
        };
        let certificate = match &secret.certificate {
            Some(Ok(certificate)) if secret.keys.iter().any(|name| name == "tls.key") => certificate,
            other => {
                let says = match other {
                    Some(Err(problem)) => problem.clone(),
                    Some(Ok(_)) => "it has no tls.key".to_owned(),
                    None => "it has no tls.crt".to_owned(),
                };
                let title = format!("Secret {name} of listener {} holds no usable certificate", listener.name);
                return Some(
                    found(&CERTIFICATE_UNUSABLE, key, title).evidence(from, says).fix(CERTIFICATE_UNUSABLE.fix),
                );
            }
        };
        let names = || format!("names {}, issued by {}", certificate.names.join(", "), certificate.issuer);
        let days = self.now.and_then(|now| certificate.days_left(now));
        let end = certificate.not_after.map_or_else(String::new, |end| end.to_string());
        if let (Some(now), Some(begin)) = (self.now, certificate.not_before)
            && now < begin
        {
            let title = format!("the certificate of listener {} is not valid before {begin}", listener.name);
            return Some(found(&CERTIFICATE_ENDED, key, title).evidence(from, names()).fix(CERTIFICATE_ENDED.fix));
        }
        match days {
            Some(days) if days < 0 => {
                let title = format!("the certificate of listener {} ended {} days ago, on {end}", listener.name, -days);
                Some(found(&CERTIFICATE_ENDED, key, title).evidence(from, names()).fix(CERTIFICATE_ENDED.fix))
            }
            Some(days) if days < SOON => {
                let title = format!("the certificate of listener {} ends in {days} days, on {end}", listener.name);
                Some(found(&CERTIFICATE_ENDS, key, title).evidence(from, names()).fix(CERTIFICATE_ENDS.fix))
            }
            _ => {
                let host = listener.hostname.as_deref()?;
                if certificate.covers(host) {
                    return None;
                }
                let title = format!("the certificate of listener {} does not cover {host}", listener.name);
                Some(found(&CERTIFICATE_HOST, key, title).evidence(from, names()).fix(CERTIFICATE_HOST.fix))
            }
        }
    }

    pub(super) fn lets_in(&self, gateway: &Gateway, set: &ListenerSet) -> bool {
        let labels = self.store.labels(&set.key.namespace);
        gateway.allowed_listeners.admits(&gateway.key.namespace, &set.key.namespace, labels) != Some(false)
    }

    pub(super) fn listener_set(&self, set: &ListenerSet, into: &mut Vec<Finding>, used: &mut Used) {
        into.extend(self.set_itself(set));
        for (index, listener) in set.listeners.iter().enumerate() {
            self.listener(&set.key, index, listener, into, used);
        }
    }

    fn set_itself(&self, set: &ListenerSet) -> Option<Finding> {
        let Some(gateway) = self.store.gateway(&set.parent) else {
            let title = format!("Gateway {} does not exist", set.parent);
            return self
                .store
                .sees(Kind::Gateway, &set.parent.namespace)
                .then(|| found(&SET_NO_PARENT, &set.key, title).field("spec.parentRef").fix(SET_NO_PARENT.fix));
        };
        if !self.lets_in(gateway, set) {
            let title = format!("Gateway {} takes no listeners from namespace {}", gateway.key, set.key.namespace);
            let says = match &gateway.allowed_listeners {
                From::None => "from: None, which is the default".to_owned(),
                From::Same => "from: Same".to_owned(),
                From::Selector(selector) => format!("asks for namespaces with {selector}"),
                From::All => "from: All".to_owned(),
            };
            let fix = crate::finding::Fix::new("open the Gateway for that namespace").with_manifest(format!(
                "spec:\n  allowedListeners:\n    namespaces:\n      from: Selector\n      selector:\n        matchLabels:\n          \
                 kubernetes.io/metadata.name: {}\n",
                set.key.namespace
            ));
            let from = format!("Gateway {} spec.allowedListeners.namespaces", gateway.key);
            return Some(
                found(&SET_NOT_ALLOWED, &set.key, title).field("spec.parentRef").evidence(from, says).fix(fix),
            );
        }
        for kind in ["Accepted", "Programmed"] {
            let condition = condition(&set.conditions, kind);
            if condition.is_none() && self.controller_of(gateway).is_none() {
                return None;
            }
            if condition.is_none_or(|condition| condition.status != "True") {
                let says = condition.map_or_else(|| "nothing is said about it".to_owned(), said);
                let title = format!("the ListenerSet is not {}", kind.to_lowercase());
                let finding = found(&SET_REFUSED, &set.key, title);
                return Some(finding.evidence("status.conditions", says).fix(SET_REFUSED.fix));
            }
        }
        None
    }

    /// What hangs on each listener, against what its controller counts.
    pub(super) fn counts(
        &self,
        key: &ObjectKey,
        attached: &HashMap<(&ObjectKey, usize), u64>,
        into: &mut Vec<Finding>,
    ) {
        let Some((listeners, generation)) = self.store.listeners(key) else { return };
        // Routes that cannot be seen cannot be counted.
        let blind = Kind::ROUTES.into_iter().any(|kind| self.store.narrowed(kind).is_some() || !known(self, kind));
        for (index, listener) in listeners.iter().enumerate() {
            let found_here = attached.get(&(key, index)).copied().unwrap_or_default();
            let field = format!("spec.listeners[{index}]");
            if blind {
                continue;
            }
            let says = listener.attached;
            if found_here == 0 && says.unwrap_or_default() == 0 {
                let title = format!("nothing is attached to listener {}", listener.name);
                into.push(found(&LISTENER_UNUSED, key, title).field(field).fix(LISTENER_UNUSED.fix));
            } else if let Some(says) = says.filter(|says| *says != found_here)
                && !listener.conditions.iter().any(|condition| condition.is_stale(generation))
            {
                let title =
                    format!("listener {} has {found_here} routes, and its controller counts {says}", listener.name);
                into.push(found(&COUNT_DIFFERS, key, title).field(field).fix(COUNT_DIFFERS.fix));
            }
        }
    }

    /// Hops of a parent that a route names: its class and what is said of it.
    pub(super) fn way_of_parent(&self, key: &ObjectKey, trace: &mut Trace, findings: &mut Vec<Finding>) {
        let mut gateway = key.clone();
        if let Some(set) = self.store.listener_set(key) {
            match self.set_itself(set) {
                Some(finding) => {
                    trace.finding(Step::Parent, format!("ListenerSet {key}"), &finding);
                    findings.push(finding);
                }
                None => trace.ok(Step::Parent, || {
                    (format!("ListenerSet {key}"), format!("adds its listeners to Gateway {}", set.parent))
                }),
            }
            gateway = set.parent.clone();
        }
        let Some(gateway) = self.store.gateway(&gateway) else { return };
        let subject = format!("GatewayClass {}", gateway.class);
        if let Some(finding) = self.class(&gateway.class) {
            trace.finding(Step::Class, subject, &finding);
            findings.push(finding);
        } else if let Some(class) = self.store.class(&gateway.class) {
            trace.ok(Step::Class, || (subject, format!("taken up by {}", class.controller)));
        }
        let own = self.gateway_itself(gateway);
        if own.is_empty() {
            trace.ok(Step::Gateway, || {
                (format!("Gateway {}", gateway.key), format!("programmed, at {}", gateway.addresses.join(", ")))
            });
        }
        for finding in own {
            trace.finding(Step::Gateway, format!("Gateway {}", gateway.key), &finding);
            findings.push(finding);
        }
    }

    /// Hops of a listener that a route is attached to.
    pub(super) fn way_of_listener(
        &self,
        key: &ObjectKey,
        listener: &Listener,
        trace: &mut Trace,
        findings: &mut Vec<Finding>,
    ) {
        let mut own = Vec::new();
        let (mut used, index) = (BTreeSet::new(), 0);
        let mut grants = Used::new();
        self.listener(key, index, listener, &mut own, &mut grants);
        if let Some(gateway) = self.store.gateway(key) {
            self.conflicts(gateway, &mut own);
            own.retain(|finding| {
                !finding.title.starts_with("listeners ") || finding.title.contains(&format!(" {} ", listener.name))
            });
        }
        let position =
            self.store.listeners(key).and_then(|(all, _)| all.iter().position(|of| of.name == listener.name));
        for mut finding in own {
            if let Some(at) = position {
                finding.field = finding.field.replacen("spec.listeners[0]", &format!("spec.listeners[{at}]"), 1);
            }
            let step = if finding.id >= "GWT011" && finding.id <= "GWT017" { Step::Tls } else { Step::Listener };
            if used.insert(finding.fingerprint() + &finding.title) {
                trace.finding(step, format!("{key}#{}", listener.name), &finding);
                findings.push(finding);
            }
        }
        if listener.tls.as_ref().is_some_and(|tls| !tls.certificates.is_empty()) {
            self.certificate_hops(key, listener, trace);
        }
    }

    fn certificate_hops(&self, key: &ObjectKey, listener: &Listener, trace: &mut Trace) {
        let mut unused = Used::new();
        for of in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            if self.certificate(key, listener, of, &mut unused).is_some() {
                continue;
            }
            let Some(Ok(certificate)) =
                self.store.secret(&of.namespace, &of.name).and_then(|secret| secret.certificate.as_ref())
            else {
                continue;
            };
            let days = self.now.and_then(|now| certificate.days_left(now));
            trace.ok(Step::Tls, || {
                let left = days.map_or_else(String::new, |days| format!(", {days} days left"));
                (
                    format!("Secret {}/{}", of.namespace, of.name),
                    format!("names {}{left}", certificate.names.join(", ")),
                )
            });
        }
    }
}

fn known(triage: &Triage<'_>, kind: Kind) -> bool {
    use crate::model::store::Feed;
    matches!(triage.store.feed(kind), Feed::Live | Feed::Missing)
}

/// Protocols that may share a port belong to one family.
fn family(protocol: &str) -> &str {
    match protocol {
        "HTTPS" | "TLS" => "TLS",
        other => other,
    }
}

fn conflict(a: &Listener, b: &Listener) -> bool {
    // UDP has ports of its own.
    if (a.protocol == "UDP") != (b.protocol == "UDP") {
        return false;
    }
    if family(&a.protocol) != family(&b.protocol) {
        return true;
    }
    if matches!(a.protocol.as_str(), "TCP" | "UDP") {
        return true;
    }
    a.hostname.as_deref().unwrap_or_default().eq_ignore_ascii_case(b.hostname.as_deref().unwrap_or_default())
}
