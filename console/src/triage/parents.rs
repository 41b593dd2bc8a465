//! From the route over its parents to the listeners that it is attached to.

use super::{
    Triage, Walk,
    chain::{Standing, Step, Trace},
    fixes, hostname,
    rules::{
        HOSTNAME_NO_MATCH, HOSTNAME_UNUSED, KIND_NOT_ALLOWED, NAMESPACE_NOT_ALLOWED, NAMESPACE_UNLABELLED, NO_PARENTS,
        PARENT_KIND, PARENT_MISSING, PARENT_TWICE, PORT_MISSING, PROTOCOL_MISMATCH, SECTION_MISSING, found,
    },
};
use crate::{
    finding::{Finding, Fix, Rule},
    model::{
        gateway::{From, Listener},
        key::{Kind, ObjectKey},
        topology::{Parent, Route},
    },
};

/// How a parent ended.
pub(super) enum Reach {
    /// Attached to these listeners.
    To(Vec<usize>),
    Broken,
    /// It cannot be told.
    Unknown,
}

impl Parent {
    /// The Gateway or ListenerSet that is named.
    pub fn key(&self) -> Option<ObjectKey> {
        let kind = [Kind::Gateway, Kind::ListenerSet].into_iter().find(|kind| kind.name() == self.kind)?;
        (self.group == kind.group()).then(|| ObjectKey::new(kind, &self.namespace, &self.name))
    }

    pub(super) fn field(&self) -> String {
        format!("spec.parentRefs[{}]", self.index)
    }
}

impl Triage<'_> {
    pub(super) fn parents(&self, route: &Route, trace: &mut Trace, walk: &mut Walk) {
        if route.parents.is_empty() {
            let finding = found(&NO_PARENTS, &route.key, "the route names no parent, so that nothing serves it");
            trace.finding(Step::Parent, "spec.parentRefs", &finding);
            walk.findings.push(finding.field("spec.parentRefs"));
        }
        let mut complete = true;
        let mut last = None;
        for parent in &route.parents {
            // Several controllers may have answered for one parentRef.
            if last.replace(parent.index) == Some(parent.index) {
                continue;
            }
            let same = |other: &&Parent| {
                other.index < parent.index
                    && (&other.kind, &other.namespace, &other.name) == (&parent.kind, &parent.namespace, &parent.name)
                    && (&other.section, other.port) == (&parent.section, parent.port)
            };
            if let Some(first) = route.parents.iter().find(same) {
                let title = format!("{} is named twice", parent.label());
                let finding = found(&PARENT_TWICE, &route.key, title).field(parent.field());
                trace.finding(Step::Parent, parent.field(), &finding);
                walk.findings.push(finding.evidence(first.field(), first.label()));
                continue;
            }
            match self.reach(route, parent, trace, &mut walk.findings) {
                Reach::To(listeners) => {
                    if let Some(key) = parent.key() {
                        walk.attached.extend(listeners.into_iter().map(|at| (key.clone(), at)));
                    }
                }
                Reach::Broken => {}
                Reach::Unknown => complete = false,
            }
        }
        if complete && !walk.attached.is_empty() {
            self.unused_hostnames(route, trace, walk);
        }
    }

    /// The way to one parent. Says what is found, whoever hears it.
    pub(super) fn reach(
        &self,
        route: &Route,
        parent: &Parent,
        trace: &mut Trace,
        findings: &mut Vec<Finding>,
    ) -> Reach {
        let mut broken = |trace: &mut Trace, step: Step, finding: Finding| {
            let finding = if finding.field.is_empty() { finding.field(parent.field()) } else { finding };
            trace.finding(step, parent.label(), &finding);
            findings.push(finding);
            Reach::Broken
        };
        let Some(key) = parent.key() else {
            if parent.kind == "Service" && parent.group.is_empty() {
                trace.hop(Step::Parent, Standing::Note, || {
                    (parent.label(), "a Service: the route belongs to a mesh, and no Gateway serves it".to_owned())
                });
            } else {
                let title = format!("what {} {} does with the route cannot be judged", parent.kind, parent.label());
                broken(trace, Step::Parent, found(&PARENT_KIND, &route.key, title));
            }
            return Reach::Unknown;
        };
        let Some((listeners, _)) = self.store.listeners(&key) else {
            if !self.store.sees(key.kind, &key.namespace) {
                let title = format!("{}s of namespace {} cannot be seen", key.kind.name(), key.namespace);
                trace.hop(Step::Parent, Standing::Unknown, || (parent.label(), title));
                return Reach::Unknown;
            }
            return broken(trace, Step::Parent, self.no_parent(route, parent, &key));
        };
        trace.ok(Step::Parent, || (format!("{} {key}", key.kind.name()), "exists".to_owned()));
        if trace.is_on() {
            self.way_of_parent(&key, trace, findings);
        }
        self.listeners(route, parent, &key, listeners, trace, findings)
    }

    fn no_parent(&self, route: &Route, parent: &Parent, key: &ObjectKey) -> Finding {
        let title = format!("{} {key} does not exist", key.kind.name());
        let finding = found(&PARENT_MISSING, &route.key, title);
        let all: Vec<&ObjectKey> = match key.kind {
            Kind::Gateway => self.store.gateways().map(|of| &of.key).collect(),
            _ => self.store.listener_sets().map(|of| &of.key).collect(),
        };
        let elsewhere = all.iter().find(|of| of.name == key.name);
        let near =
            fixes::meant(&key.name, all.iter().filter(|of| of.namespace == key.namespace).map(|of| of.name.as_str()));
        match (elsewhere, near) {
            (Some(of), _) => finding
                .evidence(format!("{} {of}", of.kind.name()), "has this name, in another namespace")
                .fix(format!("set {}.namespace to {}", parent.field(), of.namespace)),
            (None, Some(name)) => finding.fix(format!("set {}.name to {name}, if that was meant", parent.field())),
            (None, None) => finding.fix(PARENT_MISSING.fix),
        }
    }

    /// Narrows the listeners down by each condition in turn; the first that leaves none is the cause.
    fn listeners(
        &self,
        route: &Route,
        parent: &Parent,
        key: &ObjectKey,
        listeners: &[Listener],
        trace: &mut Trace,
        findings: &mut Vec<Finding>,
    ) -> Reach {
        let mut left: Vec<usize> = (0..listeners.len()).collect();
        let broken = |rule: &'static Rule, title: String, were: &[usize], why: &dyn Fn(&Listener) -> String| {
            let mut finding = found(rule, &route.key, title).field(parent.field());
            for listener in were.iter().take(8).filter_map(|at| listeners.get(*at)) {
                let from = format!("{} {key} listener {}", key.kind.name(), listener.name);
                finding = finding.evidence(from, why(listener));
            }
            finding
        };
        let mut end = |trace: &mut Trace, step, finding: Finding| {
            trace.finding(step, format!("{} {}", parent.label(), step.word()), &finding);
            findings.push(finding);
            Reach::Broken
        };
        macro_rules! narrow {
            ($step:expr, $keep:expr, $finding:expr) => {{
                let keep = $keep;
                let before = left.clone();
                left.retain(|at| keep(&listeners[*at]));
                if left.is_empty() {
                    let make = $finding;
                    let finding: Finding = make(&before);
                    return end(trace, $step, finding);
                }
            }};
        }
        if let Some(section) = &parent.section {
            narrow!(Step::Listener, |of: &Listener| of.name == *section, |were: &[usize]| {
                let title = format!("{key} has no listener named {section}");
                let near = fixes::meant(section, listeners.iter().map(|of| of.name.as_str()));
                let fix = near.map_or_else(
                    || SECTION_MISSING.fix.to_owned(),
                    |near| format!("set {}.sectionName to {near}, if that was meant", parent.field()),
                );
                broken(&SECTION_MISSING, title, were, &|of| format!("{} on port {}", of.protocol, of.port)).fix(fix)
            });
        }
        if let Some(port) = parent.port {
            narrow!(Step::Listener, |of: &Listener| of.port == port, |were: &[usize]| {
                let title = format!("no listener of {key} that could be meant is on port {port}");
                broken(&PORT_MISSING, title, were, &|of| format!("is on port {}", of.port)).fix(PORT_MISSING.fix)
            });
        }
        narrow!(Step::Listener, |of: &Listener| carries(of, route.key.kind), |were: &[usize]| {
            let title = format!("no listener of {key} that could be meant carries {}s", route.key.kind.name());
            broken(&PROTOCOL_MISMATCH, title, were, &|of| {
                let mode = of.tls.as_ref().map_or_else(String::new, |tls| format!(", TLS {}", tls.mode));
                format!("protocol {}{mode}", of.protocol)
            })
            .fix(PROTOCOL_MISMATCH.fix)
        });
        narrow!(Step::Listener, |of: &Listener| allows_kind(of, route.key.kind), |were: &[usize]| {
            let title = format!("no listener of {key} that could be meant allows {}s", route.key.kind.name());
            broken(&KIND_NOT_ALLOWED, title, were, &|of| {
                let kinds: Vec<_> = of.kinds.iter().map(|(_, kind)| kind.as_str()).collect();
                format!("allowedRoutes.kinds is {}", kinds.join(", "))
            })
            .fix(KIND_NOT_ALLOWED.fix)
        });
        let namespace = &route.key.namespace;
        let labels = self.store.labels(namespace);
        let admits = |of: &Listener| of.allowed.admits(&key.namespace, namespace, labels);
        if left.iter().all(|at| admits(&listeners[*at]).is_none()) {
            if self.store.sees(Kind::Namespace, "") {
                let finding = found(&NAMESPACE_UNLABELLED, &route.key, format!("namespace {namespace} does not exist"));
                return end(trace, Step::Listener, finding.field("metadata.namespace").fix(NAMESPACE_UNLABELLED.fix));
            }
            trace.hop(Step::Listener, Standing::Unknown, || {
                (
                    parent.label(),
                    format!("the listener asks for labels, and those of namespace {namespace} cannot be seen"),
                )
            });
            return Reach::Unknown;
        }
        narrow!(Step::Listener, |of: &Listener| admits(of) == Some(true), |were: &[usize]| {
            let title = format!("no listener of {key} that could be meant lets in namespace {namespace}");
            let finding = broken(&NAMESPACE_NOT_ALLOWED, title, were, &|of| match &of.allowed {
                From::Selector(selector) => format!("asks for namespaces with {selector}"),
                From::Same => format!("lets in namespace {} only", key.namespace),
                _ => "lets nobody in".to_owned(),
            });
            let had = labels.map_or_else(
                || "none".to_owned(),
                |labels| labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(","),
            );
            finding
                .evidence(format!("Namespace {namespace} labels"), had)
                .fix(self.let_in(key, namespace, were, listeners))
        });
        narrow!(
            Step::Hostname,
            |of: &Listener| !named(of) || hostname::any(of.hostname.as_deref(), &route.hostnames),
            |were: &[usize]| {
                let title = format!("no hostname of the route is one of {key}");
                broken(&HOSTNAME_NO_MATCH, title, were, &|of| {
                    format!("hostname {}", of.hostname.as_deref().unwrap_or("*"))
                })
                .evidence(format!("{} {} spec.hostnames", route.key.kind.name(), route.key), route.hostnames.join(", "))
                .fix(hostname_fix(route, were, listeners))
            }
        );
        for at in &left {
            let listener = &listeners[*at];
            trace.ok(Step::Listener, || {
                let host = listener.hostname.as_deref().unwrap_or("*");
                let says = format!("{} {} {host} fits: kind, namespace and hostname", listener.protocol, listener.port);
                (format!("{key}#{}", listener.name), says)
            });
            if trace.is_on() {
                self.way_of_listener(key, listener, trace, findings);
            }
        }
        Reach::To(left)
    }

    fn let_in(&self, key: &ObjectKey, namespace: &str, were: &[usize], listeners: &[Listener]) -> Fix {
        let labels = self.store.labels(namespace);
        let add = were.iter().find_map(|at| match &listeners[*at].allowed {
            // Nobody can set that label: it is the namespace's name.
            From::Selector(selector) => selector
                .missing(labels?)
                .filter(|add| !add.iter().any(|label| label.starts_with("kubernetes.io/metadata.name="))),
            _ => None,
        });
        match (add, were.first()) {
            (Some(labels), _) => fixes::label(namespace, &labels),
            (None, Some(at)) => Fix::new(format!(
                "let the namespace in at the {} {key}, spec.listeners[{at}].allowedRoutes",
                key.kind.name()
            ))
            .with_manifest(format!(
                "allowedRoutes:\n  namespaces:\n    from: Selector\n    selector:\n      matchLabels:\n        \
                 kubernetes.io/metadata.name: {namespace}\n"
            )),
            (None, None) => Fix::new(NAMESPACE_NOT_ALLOWED.fix),
        }
    }

    fn unused_hostnames(&self, route: &Route, trace: &mut Trace, walk: &mut Walk) {
        for (index, host) in route.hostnames.iter().enumerate() {
            let served = walk.attached.iter().any(|(key, at)| {
                let listener = self.store.listeners(key).and_then(|(all, _)| all.get(*at));
                listener.is_some_and(|of| !named(of) || hostname::intersect(of.hostname.as_deref(), host).is_some())
            });
            if !served {
                let finding = found(&HOSTNAME_UNUSED, &route.key, format!("no listener serves {host}"));
                let finding = finding.field(format!("spec.hostnames[{index}]")).fix(HOSTNAME_UNUSED.fix);
                trace.finding(Step::Hostname, host, &finding);
                walk.findings.push(finding);
            }
        }
    }
}

fn hostname_fix(route: &Route, were: &[usize], listeners: &[Listener]) -> String {
    let hosts: Vec<&str> = were.iter().filter_map(|at| listeners[*at].hostname.as_deref()).collect();
    let slip = route.hostnames.iter().find_map(|host| Some((host, fixes::meant(host, hosts.iter().copied())?)));
    // The domain itself is what a wildcard leaves out.
    let bare = route.hostnames.iter().find(|host| hosts.iter().any(|of| of.strip_prefix("*.") == Some(host.as_str())));
    match (slip, bare) {
        (_, Some(bare)) => format!("*.{bare} does not stand for {bare} itself: add a listener with hostname {bare}"),
        (Some((host, near)), None) => format!("change {host} to {near}, if that was meant"),
        (None, None) => format!("use a hostname within {}, or add a listener for it", hosts.join(" or ")),
    }
}

/// Whether hostnames mean anything to the listener.
fn named(listener: &Listener) -> bool {
    !matches!(listener.protocol.as_str(), "TCP" | "UDP")
}

/// Whether a protocol carries a kind of route. Protocols of implementations' own carry whatever
/// they say.
pub(super) fn carries(listener: &Listener, kind: Kind) -> bool {
    let terminates = listener.tls.as_ref().is_none_or(|tls| tls.mode != "Passthrough");
    match listener.protocol.as_str() {
        "HTTP" | "HTTPS" => matches!(kind, Kind::HttpRoute | Kind::GrpcRoute),
        "TLS" => kind == Kind::TlsRoute || (kind == Kind::TcpRoute && terminates),
        "TCP" => kind == Kind::TcpRoute,
        "UDP" => kind == Kind::UdpRoute,
        _ => true,
    }
}

fn allows_kind(listener: &Listener, kind: Kind) -> bool {
    listener.kinds.is_empty() || listener.kinds.iter().any(|(group, name)| group == kind.group() && name == kind.name())
}
