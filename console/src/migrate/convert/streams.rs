//! Everything that is no HTTPRoute: TLS passed on, gRPC, TLS to backends, the controller's
//! tcp-services and udp-services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Conversion, Made};
use crate::migrate::{
    gateways::{API, Wanted},
    ingress::{Backend, Ingress, PathKind, annotation_field},
    nginx::{Location, Server},
    paths::Said,
    report::{Entry, Note, Outcome},
    streams,
};

impl Conversion<'_> {
    pub(super) fn passthrough(&mut self, server: &Server, at: usize) {
        let ingress = &self.input.ingresses[at];
        let namespace = ingress.namespace.clone();
        let root = server
            .locations
            .iter()
            .find(|one| one.path == "/" && one.kind != PathKind::Exact)
            .or(server.locations.first());
        let reference = match root.map(|root| self.reference(root.ingress, &root.backend, &namespace)) {
            Some(Ok(reference)) => reference,
            other => {
                let why = other.and_then(Result::err).unwrap_or_else(|| "no path names a backend".to_owned());
                self.failed.push((at, "spec.rules".to_owned(), why.clone()));
                self.notes[at].add("spec.rules", Note::new(Outcome::Manual, "", why, "correct the backend"));
                return;
            }
        };
        let from = vec![self.source(at)];
        let parent = self.gateways.parent(Wanted::Passthrough, &server.host, 443, &namespace, None, &from[0]);
        let name = self.name("TLSRoute", &namespace, &ingress.name);
        let output = format!("TLSRoute {namespace}/{name}");
        for location in &server.locations {
            let note = if root.is_some_and(|root| std::ptr::eq(root, location)) {
                Note::exact(output.clone())
            } else {
                Note::new(
                    Outcome::Dropped,
                    "",
                    "TLS is passed on whole: nginx looks at no path of this host",
                    "remove it from the Ingress",
                )
            };
            self.notes[location.ingress].add(location.field.clone(), note);
        }
        self.notes[at].add(annotation_field("ssl-passthrough"), Note::exact(output));
        self.made.push(Made {
            value: json!({"apiVersion": API, "kind": "TLSRoute", "metadata": {"name": name, "namespace": namespace},
                "spec": {"parentRefs": [parent], "hostnames": [server.host], "rules": [{"backendRefs": [reference]}]}}),
            from,
        });
    }

    /// gRPC routes match by service and method, which are the path.
    pub(super) fn grpc_rule(&mut self, location: &Location, said: &Said) -> Result<Value, String> {
        let reference = self.reference(location.ingress, &location.backend, location.namespace(self.input))?;
        if location.rewrite.is_some() {
            return Err("a GRPCRoute rewrites no path".to_owned());
        }
        let path = said.matches.first().and_then(|path| path["value"].as_str()).unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').filter(|part| !part.is_empty()).collect();
        let matches = match parts.as_slice() {
            [] => return Ok(json!({"backendRefs": [reference]})),
            [service] => json!([{"method": {"type": "Exact", "service": service}}]),
            [service, method] => json!([{"method": {"type": "Exact", "service": service, "method": method}}]),
            _ => return Err(format!("{path:?} is no gRPC service and method")),
        };
        Ok(json!({"matches": matches, "backendRefs": [reference]}))
    }

    /// BackendTLSPolicies for Ingresses whose backends speak TLS and whose CA is named.
    pub(super) fn backend_policies(&mut self) {
        let mut done: BTreeSet<(String, String)> = BTreeSet::new();
        for at in 0..self.input.ingresses.len() {
            let ingress = &self.input.ingresses[at];
            if !matches!(ingress.annotation("backend-protocol"), Some("HTTPS" | "GRPCS" | "https" | "grpcs")) {
                continue;
            }
            let (Some(secret), Some(name), true) = (
                ingress.annotation("proxy-ssl-secret"),
                ingress.annotation("proxy-ssl-name"),
                ingress.annotation("proxy-ssl-verify") == Some("on"),
            ) else {
                continue;
            };
            let bundle = secret.rsplit('/').next().unwrap_or(secret).to_owned();
            let (namespace, hostname) = (ingress.namespace.clone(), name.to_owned());
            for service in services(ingress) {
                if !done.insert((namespace.clone(), service.clone())) {
                    continue;
                }
                let policy = self.name("BackendTLSPolicy", &namespace, &service);
                self.made.push(Made {
                    value: json!({"apiVersion": API, "kind": "BackendTLSPolicy", "metadata": {"name": policy, "namespace": namespace},
                        "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": service}],
                            "validation": {"hostname": hostname, "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": bundle}]}}}),
                    from: vec![self.source(at)],
                });
            }
        }
    }

    /// Routes for the controller's streams; their entries are made here, beside the Ingresses'.
    pub(super) fn streams(&mut self) {
        for stream in streams::of(self.input) {
            let Ok(to) = &stream.to else { continue };
            let wanted = if stream.udp { Wanted::Udp } else { Wanted::Tcp };
            let kind = if stream.udp { "UDPRoute" } else { "TCPRoute" };
            let from = format!("{}:{} {}", stream.file, stream.line, stream.object);
            let parent = self.gateways.parent(wanted, "", stream.port, &to.namespace, None, &from);
            let name = self.name(kind, &to.namespace, &format!("{}-{}", to.service, stream.port));
            self.made.push(Made {
                value: json!({"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": to.namespace},
                    "spec": {"parentRefs": [parent], "rules": [{"backendRefs": [{"name": to.service, "port": to.port}]}]}}),
                from: vec![from],
            });
        }
    }
}

/// Services that an Ingress names.
fn services(ingress: &Ingress) -> Vec<String> {
    let paths = ingress.rules.iter().flat_map(|rule| &rule.paths).map(|path| &path.backend);
    let mut all: Vec<String> = Vec::new();
    for backend in paths.chain(&ingress.default_backend) {
        if let Ok(Backend::Service { name, .. }) = backend
            && !all.contains(name)
        {
            all.push(name.clone());
        }
    }
    all
}

/// Entries of the ConfigMaps that hold streams.
pub fn entries(input: &crate::migrate::ingress::Input) -> Vec<Entry> {
    let made = streams::of(input).into_iter().map(|stream| {
        let kind = if stream.udp { "UDPRoute" } else { "TCPRoute" };
        let note = match &stream.to {
            Ok(to) if to.proxy_protocol => Note::new(
                Outcome::Manual,
                format!("{kind} {}/{}-{}", to.namespace, to.service, stream.port),
                "the standard has no PROXY protocol",
                "use a policy of the implementation",
            ),
            Ok(to) => Note::exact(format!("{kind} {}/{}-{}", to.namespace, to.service, stream.port)),
            Err(why) => Note::new(Outcome::Manual, "", why.clone(), "correct the entry"),
        };
        Entry {
            outcome: note.outcome,
            file: stream.file,
            line: stream.line,
            object: stream.object,
            field: stream.field,
            value: stream.value,
            output: note.output,
            reason: note.reason,
            todo: note.todo,
            counted: true,
        }
    });
    made.collect()
}
