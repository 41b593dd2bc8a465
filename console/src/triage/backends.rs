//! From the rule over its backends to their endpoints.

use super::{
    Triage, Walk,
    chain::{Standing, Step, Trace},
    fixes,
    rules::{
        ALL_WEIGHTS_ZERO, BACKEND_KIND, BACKEND_TLS_ASKED, BACKEND_TWICE, ENDPOINT_PORT, EXTERNAL_NAME, MIRROR_BROKEN,
        NO_BACKENDS, NO_ENDPOINTS, NONE_READY, NOT_GRANTED, POOL_MISSING, POOL_PICKER, PORT_PROTOCOL, PORT_UNKNOWN,
        PORT_UNSET, SERVICE_MISSING, SOME_NOT_READY, found,
    },
};
use crate::{
    finding::{Finding, Severity},
    model::{
        key::Kind,
        neighbours::{Service, ServicePort},
        topology::{Backend, Reference, Route, Rule},
    },
};

/// Filters that answer by themselves.
const ANSWERS: [&str; 2] = ["RequestRedirect", "ExtensionRef"];

impl Backend {
    fn reference(&self) -> Reference {
        Reference {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

impl Triage<'_> {
    pub(super) fn rules(&self, route: &Route, trace: &mut Trace, walk: &mut Walk) {
        for (index, rule) in route.rules.iter().enumerate() {
            let field = format!("spec.rules[{index}]");
            trace.ok(Step::Rule, || {
                let matches = if rule.matches.is_empty() { "/*".to_owned() } else { rule.matches.join(" or ") };
                (field.clone(), matches)
            });
            self.rule(route, rule, &field, trace, walk);
            for (position, backend) in rule.backends.iter().enumerate() {
                let field = format!("{field}.backendRefs[{position}]");
                let same = |other: &Backend| {
                    (&other.group, &other.kind, &other.namespace) == (&backend.group, &backend.kind, &backend.namespace)
                        && (&other.name, other.port) == (&backend.name, backend.port)
                };
                if rule.backends[..position].iter().any(same) {
                    let title = format!("{} is named twice in the rule", backend.name);
                    let finding = found(&BACKEND_TWICE, &route.key, title).field(&field).fix(BACKEND_TWICE.fix);
                    trace.finding(Step::Backend, &field, &finding);
                    walk.findings.push(finding);
                    continue;
                }
                let finding = self.backend(route, backend, trace, walk);
                if let Some((step, mut finding)) = finding {
                    // Nobody is sent to a backend of weight zero.
                    if backend.weight == 0 && finding.severity == Severity::Error {
                        finding.severity = Severity::Warning;
                    }
                    let finding = finding.field(&field);
                    trace.finding(step, format!("{}/{}", backend.namespace, backend.name), &finding);
                    walk.findings.push(finding);
                }
            }
            for mirror in &rule.mirrors {
                if let Some((_, cause)) = self.backend(route, mirror, &mut Trace::off(), walk)
                    && cause.severity == Severity::Error
                {
                    let finding = found(&MIRROR_BROKEN, &route.key, format!("copies go nowhere: {}", cause.title));
                    let mut finding = finding.field(format!("{field}.filters"));
                    finding.fix = cause.fix;
                    trace.finding(Step::Backend, format!("mirror {}/{}", mirror.namespace, mirror.name), &finding);
                    walk.findings.push(finding);
                }
            }
        }
    }

    fn rule(&self, route: &Route, rule: &Rule, field: &str, trace: &mut Trace, walk: &mut Walk) {
        let finding = if rule.backends.is_empty() {
            if rule.filters.iter().any(|filter| ANSWERS.contains(&filter.as_str())) {
                return;
            }
            found(&NO_BACKENDS, &route.key, "the rule sends requests nowhere").field(field).fix(NO_BACKENDS.fix)
        } else if rule.backends.iter().all(|backend| backend.weight == 0) {
            found(&ALL_WEIGHTS_ZERO, &route.key, "all weights of the rule are zero")
                .field(field)
                .fix(ALL_WEIGHTS_ZERO.fix)
        } else {
            return;
        };
        trace.finding(Step::Rule, field, &finding);
        walk.findings.push(finding);
    }

    /// The first thing that is wrong on the way to a backend.
    fn backend(&self, route: &Route, backend: &Backend, trace: &mut Trace, walk: &mut Walk) -> Option<(Step, Finding)> {
        let of = backend.reference();
        let name = format!("{}/{}", of.namespace, of.name);
        let service = of.kind == "Service" && of.group.is_empty();
        let pool = of.kind == Kind::InferencePool.name() && of.group.starts_with("inference.networking.");
        if of.namespace != route.key.namespace {
            match self.grant(route.key.kind, &route.key.namespace, &of) {
                Ok(Some(grant)) => {
                    walk.used.insert(grant.key.clone());
                    trace.ok(Step::Grant, || (format!("ReferenceGrant {}", grant.key), format!("permits {name}")));
                }
                Ok(None) => {
                    let title = format!(
                        "namespace {} does not permit {}s of {} to send to {}",
                        of.namespace,
                        route.key.kind.name(),
                        route.key.namespace,
                        of.name
                    );
                    let grants = self.grants.get(of.namespace.as_str()).map_or(0, Vec::len);
                    let finding = found(&NOT_GRANTED, &route.key, title)
                        .evidence(
                            format!("Namespace {}", of.namespace),
                            format!("has {grants} ReferenceGrants, none for this"),
                        )
                        .fix(fixes::grant(route.key.kind, &route.key.namespace, &of));
                    return Some((Step::Grant, finding));
                }
                Err(()) => trace.hop(Step::Grant, Standing::Unknown, || {
                    (name.clone(), format!("ReferenceGrants of namespace {} cannot be seen", of.namespace))
                }),
            }
        }
        if service {
            self.service(route, backend, trace)
        } else if pool {
            self.pool(route, &of, trace)
        } else {
            let title = format!("{} {name} cannot be judged here", of.kind);
            Some((Step::Backend, found(&BACKEND_KIND, &route.key, title).fix(BACKEND_KIND.fix)))
        }
    }

    fn pool(&self, route: &Route, of: &Reference, trace: &mut Trace) -> Option<(Step, Finding)> {
        let name = format!("{}/{}", of.namespace, of.name);
        let Some(pool) = self.store.pool(&of.namespace, &of.name) else {
            let title = format!("InferencePool {name} does not exist");
            let seen = self.store.sees(Kind::InferencePool, &of.namespace);
            return seen.then(|| (Step::Backend, found(&POOL_MISSING, &route.key, title).fix(POOL_MISSING.fix)));
        };
        trace.ok(Step::Backend, || (format!("InferencePool {name}"), "exists".to_owned()));
        let picker = pool.picker.as_ref().filter(|picker| picker.kind == "Service")?;
        if self.store.service(&picker.namespace, &picker.name).is_none()
            && self.store.sees(Kind::Service, &picker.namespace)
        {
            let title = format!(
                "Service {}/{}, which picks endpoints of InferencePool {name}, does not exist",
                picker.namespace, picker.name
            );
            return Some((Step::Endpoints, found(&POOL_PICKER, &route.key, title).fix(POOL_PICKER.fix)));
        }
        None
    }

    fn service(&self, route: &Route, backend: &Backend, trace: &mut Trace) -> Option<(Step, Finding)> {
        let (namespace, key) = (&backend.namespace, &route.key);
        let name = || format!("{namespace}/{}", backend.name);
        let Some(service) = self.store.service(namespace, &backend.name) else {
            if !self.store.sees(Kind::Service, namespace) {
                trace.hop(Step::Service, Standing::Unknown, || {
                    (name(), format!("Services of namespace {namespace} cannot be seen"))
                });
                return None;
            }
            let finding = found(&SERVICE_MISSING, key, format!("Service {} does not exist", name()));
            let all = || self.store.services().map(|of| &of.key);
            let near =
                fixes::meant(&backend.name, all().filter(|of| of.namespace == *namespace).map(|of| of.name.as_str()));
            let elsewhere = all().find(|of| of.name == backend.name);
            let finding = match (near, elsewhere) {
                (Some(near), _) => finding.fix(format!("set the name to {near}, if that was meant")),
                (None, Some(of)) => finding
                    .evidence(format!("Service {of}"), "has this name, in another namespace")
                    .fix(format!("set the backendRef's namespace to {}, and have it granted there", of.namespace)),
                (None, None) => finding.fix(SERVICE_MISSING.fix),
            };
            return Some((Step::Service, finding));
        };
        let ports = || {
            let all = service.ports.iter().map(|of| format!("{}/{}", of.port, of.protocol));
            format!("ports {}", all.collect::<Vec<_>>().join(", "))
        };
        let from = || format!("Service {} spec", name());
        if service.kind == "ExternalName" {
            let to = service.external_name.as_deref().unwrap_or_default();
            let title = format!("Service {} only points to the name {to}", name());
            return Some((
                Step::Service,
                found(&EXTERNAL_NAME, key, title).evidence(from(), "type ExternalName").fix(EXTERNAL_NAME.fix),
            ));
        }
        if backend.port == 0 {
            let title = format!("the reference to Service {} has no port", name());
            return Some((Step::Service, found(&PORT_UNSET, key, title).evidence(from(), ports()).fix(PORT_UNSET.fix)));
        }
        let Some(port) = service.ports.iter().find(|of| of.port == backend.port) else {
            let title = format!("Service {} has no port {}", name(), backend.port);
            let targeted = service.ports.iter().find(|of| of.target.as_deref() == Some(&backend.port.to_string()));
            let fix = match (targeted, service.ports.as_slice()) {
                (Some(of), _) => format!("{} is its targetPort: use port {}", backend.port, of.port),
                (None, [only]) => format!("use port {}", only.port),
                _ => PORT_UNKNOWN.fix.to_owned(),
            };
            return Some((Step::Service, found(&PORT_UNKNOWN, key, title).evidence(from(), ports()).fix(fix)));
        };
        let datagrams = key.kind == Kind::UdpRoute;
        // One number may serve both.
        let fits = |of: &ServicePort| of.port == backend.port && (of.protocol == "UDP") == datagrams;
        if !service.ports.iter().any(fits) {
            let title = format!("port {} of Service {} is {}", port.port, name(), port.protocol);
            return Some((
                Step::Service,
                found(&PORT_PROTOCOL, key, title).evidence(from(), ports()).fix(PORT_PROTOCOL.fix),
            ));
        }
        trace.ok(Step::Service, || (format!("Service {}", name()), format!("has port {}", port.port)));
        self.endpoints(route, service, port, trace).or_else(|| self.backend_tls(route, service, port, trace))
    }

    fn endpoints(
        &self,
        route: &Route,
        service: &Service,
        port: &ServicePort,
        trace: &mut Trace,
    ) -> Option<(Step, Finding)> {
        let (key, of) = (&route.key, &service.key);
        let Some((ready, total)) = self.store.ready(&of.namespace, &of.name) else {
            trace.hop(Step::Endpoints, Standing::Unknown, || (of.to_string(), "endpoints cannot be seen".to_owned()));
            return None;
        };
        let selector = || {
            if service.selector.is_empty() {
                return "has no selector: its EndpointSlices are made by hand or by another controller".to_owned();
            }
            let labels = service.selector.iter().map(|(name, value)| format!("{name}={value}"));
            format!("selects pods with {}", labels.collect::<Vec<_>>().join(","))
        };
        let from = format!("Service {of}");
        let finding = if total == 0 {
            found(&NO_ENDPOINTS, key, format!("Service {of} has no endpoints"))
                .evidence(from, selector())
                .fix(NO_ENDPOINTS.fix)
        } else if ready == 0 {
            let title = format!("none of the {total} endpoints of Service {of} is ready");
            found(&NONE_READY, key, title).evidence(from, selector()).fix(NONE_READY.fix)
        } else if !self.has_port(service, port) {
            let target = port.target.as_deref().unwrap_or_default();
            let title = format!("no endpoint of Service {of} has its port {}", port.port);
            let name = if port.name.is_empty() { "unnamed" } else { &port.name };
            let says = format!("port {} ({name}) goes to targetPort {target}", port.port);
            found(&ENDPOINT_PORT, key, title).evidence(from, says).fix(ENDPOINT_PORT.fix)
        } else if ready < total {
            let title = format!("{ready} of {total} endpoints of Service {of} are ready");
            found(&SOME_NOT_READY, key, title).fix(SOME_NOT_READY.fix)
        } else {
            trace.ok(Step::Endpoints, || (format!("Service {of}"), format!("{ready} of {total} endpoints are ready")));
            return None;
        };
        Some((Step::Endpoints, finding))
    }

    /// Slices name their ports as the Service does.
    fn has_port(&self, service: &Service, port: &ServicePort) -> bool {
        let mut slices =
            self.store.endpoints(&service.key.namespace, &service.key.name).filter(|slice| slice.total > 0);
        // Slices without any port stand for all ports.
        slices.any(|slice| slice.ports.is_empty() || slice.ports.contains(&port.name))
    }

    fn backend_tls(
        &self,
        route: &Route,
        service: &Service,
        port: &ServicePort,
        trace: &mut Trace,
    ) -> Option<(Step, Finding)> {
        let of = &service.key;
        let policies = self.policies.get(&("Service", of.namespace.as_str(), of.name.as_str()));
        let mut policies = policies.into_iter().flatten().filter(|policy| policy.key.kind == Kind::BackendTlsPolicy);
        let applies = |policy: &&&crate::model::policy::Policy| {
            policy.targets.iter().any(|target| {
                target.of.name == of.name && target.section.as_ref().is_none_or(|section| *section == port.name)
            })
        };
        if let Some(policy) = policies.find(applies) {
            trace.ok(Step::Tls, || (format!("BackendTLSPolicy {}", policy.key), format!("TLS to Service {of}")));
            return None;
        }
        let http = matches!(route.key.kind, Kind::HttpRoute | Kind::GrpcRoute);
        if http
            && port.app_protocol.as_deref() == Some("https")
            && self.store.sees(Kind::BackendTlsPolicy, &of.namespace)
        {
            let title = format!("port {} of Service {of} speaks HTTPS, and no BackendTLSPolicy says so", port.port);
            let finding = found(&BACKEND_TLS_ASKED, &route.key, title);
            return Some((
                Step::Tls,
                finding.evidence(format!("Service {of}"), "appProtocol: https").fix(BACKEND_TLS_ASKED.fix),
            ));
        }
        None
    }
}
