//! What is said of the fields of an Ingress that no route could say by itself.

use super::{
    annotation::{self, Standard},
    convert::Conversion,
    ingress::annotation_field,
    report::{Note, Outcome},
};

mod values;

pub fn annotate(all: &mut Conversion<'_>, at: usize) {
    let ingress = &all.input.ingresses[at];
    let mut notes = std::mem::take(&mut all.notes[at]);
    let routes = format!("routes of namespace {}", ingress.namespace);
    notes.add("metadata.name", Note::exact(routes.clone()));
    notes.add("metadata.namespace", Note::exact(routes.clone()));
    notes.add("spec.ingressClassName", Note::exact(format!("Gateway spec.gatewayClassName: {}", all.options.class())));
    notes.add(
        "metadata.annotations[\"kubernetes.io/ingress.class\"]",
        Note::exact(format!("Gateway spec.gatewayClassName: {}", all.options.class())),
    );
    notes.add(
        "metadata.labels",
        Note::new(
            Outcome::Dropped,
            "",
            "labels say nothing about requests",
            "put them on the routes if something selects by them",
        ),
    );
    for rule in &ingress.rules {
        let note = match rule.host.as_str() {
            "" => Note::exact("a listener without hostname"),
            host if host.starts_with('*') => Note::new(
                Outcome::Approximate,
                format!("hostname {host} of listeners and routes"),
                "ingress-nginx takes one label for the asterisk, the Gateway API any number",
                "add routes for deeper names if they must not be served",
            ),
            host => Note::exact(format!("hostname {host} of routes")),
        };
        notes.add(format!("{}.host", rule.field), note);
        if rule.paths.is_empty() {
            notes.add(
                rule.field.clone(),
                Note::new(Outcome::Dropped, "", "the rule has no path: nginx answers 404 or the default backend", ""),
            );
        }
    }
    if ingress.default_backend.is_some() {
        let used = all
            .nginx
            .servers
            .iter()
            .flat_map(|server| &server.locations)
            .any(|one| one.ingress == at && one.at.is_none());
        if !used {
            let field = if ingress.node.at(&["spec", "defaultBackend"]).is_some() {
                "spec.defaultBackend"
            } else {
                "spec.backend"
            };
            notes.add(
                field,
                Note::new(Outcome::Dropped, "", "every host of this Ingress has a rule for /", "remove it"),
            );
        } else if ingress.node.at(&["spec", "backend"]).is_some() {
            notes.add("spec.backend", Note::exact(routes));
        }
    }
    for tls in &ingress.tls {
        let used = all.nginx.servers.iter().any(|server| server.tls.is_some_and(|(of, _)| of == at));
        let note = match (&tls.secret, used) {
            (None, _) => Note::new(
                Outcome::Manual,
                "",
                "no Secret is named: nginx takes the controller's default certificate, which the Gateway API does not have",
                "name a Secret with a certificate for these hosts; until then they are served on HTTP only",
            ),
            (Some(_), _) if tls.hosts.is_empty() => Note::new(
                Outcome::Approximate,
                "HTTPS listeners of every host of this Ingress",
                "no host is named: nginx takes the certificate for the hosts that it is made out for",
                "check that the certificate has every host of the Ingress",
            ),
            (Some(_), true) => Note::exact("HTTPS listeners of these hosts"),
            (Some(_), false) => Note::new(
                Outcome::Dropped,
                "",
                "no rule has these hosts, or another Ingress named a certificate for them first",
                "check which certificate clients get",
            ),
        };
        notes.add(tls.field.clone(), note);
    }
    foreign(ingress, &mut notes);
    for (name, ..) in &ingress.annotations {
        let field = annotation_field(name);
        let note = match annotation::find(name) {
            None => Note::new(
                Outcome::Manual,
                "",
                "this annotation is not known: it may be newer, misspelled, or of another controller",
                "look up what it does; nothing of it is in the output",
            ),
            Some(one) => match one.standard {
                Standard::Tuning => {
                    Note::new(Outcome::Dropped, "", "tunes nginx itself: clients see no difference", "")
                }
                Standard::Missing => Note::new(Outcome::Manual, "", "the standard has no field for it", one.how),
                Standard::Protection => Note::new(
                    Outcome::Manual,
                    "",
                    "the standard has no field for it, and it protects the service: without it requests pass that were refused",
                    format!("{}; do not send traffic to the new route before", one.how),
                ),
                Standard::Converted => values::note(all, at, name),
            },
        };
        notes.add(field, note);
    }
    all.notes[at] = notes;
}

/// Annotations of other tools that watch Ingresses.
fn foreign(ingress: &super::ingress::Ingress, notes: &mut super::report::Notes) {
    let fields = ingress.node.at(&["metadata", "annotations"]).map(crate::yaml::Node::fields).unwrap_or_default();
    for (name, ..) in fields {
        let field = crate::yaml::join("metadata.annotations", name);
        let group = name.split('/').next().unwrap_or_default();
        let note = if group == "cert-manager.io" || group == "acme.cert-manager.io" || name == "kubernetes.io/tls-acme"
        {
            Note::new(
                Outcome::Manual,
                "Gateway metadata.annotations",
                "cert-manager makes the Certificate for the Ingress and deletes it with the Ingress",
                "put this annotation on the Gateway and wait for its Certificate before the Ingress is deleted",
            )
        } else if group == "external-dns.alpha.kubernetes.io" {
            Note::new(
                Outcome::Manual,
                "Gateway metadata.annotations",
                "external-dns reads the target from the Gateway and host names from the routes",
                "put a target on the Gateway, the rest on the routes, and let external-dns watch routes (--source=gateway-httproute)",
            )
        } else {
            continue;
        };
        notes.add(field, note);
    }
}
