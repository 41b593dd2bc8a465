//! Converted annotations: what became of this value in this Ingress.

use crate::migrate::{
    convert::{Conversion, snippet_of},
    report::{Note, Outcome},
};

pub fn note(all: &Conversion<'_>, at: usize, name: &str) -> Note {
    let ingress = &all.input.ingresses[at];
    let value = ingress.annotation(name).unwrap_or_default();
    let routes = format!("HTTPRoutes of namespace {}", ingress.namespace);
    let exact = |what: &str| Note::exact(format!("{routes}: {what}"));
    let approximate = |what: &str, reason: &str, todo: &str| {
        Note::new(Outcome::Approximate, format!("{routes}: {what}"), reason, todo)
    };
    let dropped = |reason: &str| Note::new(Outcome::Dropped, "", reason, "remove it");
    let manual = |reason: String, todo: &str| Note::new(Outcome::Manual, "", reason, todo);
    let own = || {
        all.nginx
            .servers
            .iter()
            .flat_map(|server| server.locations.iter().map(move |one| (server, one)))
            .filter(|(_, one)| one.ingress == at)
    };
    match name {
        "rewrite-target" => {
            if own().all(|(_, one)| one.rewrite.is_none()) {
                return Note::new(
                    Outcome::Exact,
                    "",
                    "the target is the path itself, which nginx takes for no rewrite: nothing is rewritten",
                    "",
                );
            }
            let failed =
                all.failed.iter().find(|(of, field, _)| *of == at && own().any(|(_, one)| one.field == *field));
            match failed {
                Some((.., why)) => manual(why.clone(), "see the path concerned"),
                None => exact("URLRewrite"),
            }
        }
        "use-regex" => match own().any(|(server, _)| server.regex) {
            true => exact("paths of every Ingress of the host are expressions"),
            false => Note::new(Outcome::Exact, "", "false is what nginx does anyway", ""),
        },
        "ssl-redirect" | "force-ssl-redirect" => {
            let tls = own().any(|(server, _)| server.tls.is_some());
            match (ingress.flag(name), tls) {
                (Some(true), true) => exact("RequestRedirect to https on the HTTP listener"),
                (Some(true), false) if name == "force-ssl-redirect" => manual(
                    "no certificate is named for these hosts: TLS ends before the controller, and the Gateway cannot tell such requests from others".to_owned(),
                    "redirect where TLS ends, or name a certificate",
                ),
                (Some(_), _) => Note::new(Outcome::Exact, "", "the routes do as nginx did: no redirect", ""),
                (None, _) => dropped("the value is neither true nor false: nginx ignores it"),
            }
        }
        "permanent-redirect" | "temporal-redirect" => {
            let failed = all.failed.iter().find(|(of, ..)| *of == at);
            match failed {
                Some((.., why)) => manual(why.clone(), "write the redirect by hand"),
                None if value.ends_with("$request_uri") => exact("RequestRedirect"),
                None => approximate(
                    "RequestRedirect",
                    "the Gateway API keeps the query of the request, nginx drops it here",
                    "nothing, unless the target minds a query",
                ),
            }
        }
        "permanent-redirect-code" | "temporal-redirect-code" => match value {
            "301" | "302" | "303" | "307" | "308" => exact("RequestRedirect statusCode"),
            _ => approximate(
                "RequestRedirect statusCode",
                "the Gateway API has the codes 301, 302, 303, 307 and 308 only",
                "choose one of them",
            ),
        },
        "canary" | "canary-weight" | "canary-weight-total" | "canary-by-header" | "canary-by-header-value" => {
            if !ingress.on("canary") {
                return dropped("the Ingress is no canary, so nginx does not look at it");
            }
            let used = all
                .nginx
                .servers
                .iter()
                .flat_map(|server| &server.locations)
                .flat_map(|one| &one.canaries)
                .any(|one| one.ingress == at);
            if used {
                exact("weights and header matches")
            } else {
                dropped("no other Ingress has this host and path, so nginx ignores this canary")
            }
        }
        "canary-by-cookie" | "canary-by-header-pattern" => approximate(
            "header match by RegularExpression",
            "matching headers by expression is up to the implementation",
            "try it on the implementation",
        ),
        "enable-cors" if !ingress.on("enable-cors") => Note::new(Outcome::Exact, "", "off, as without it", ""),
        name if name == "enable-cors" || name.starts_with("cors-") => {
            if !ingress.on("enable-cors") {
                return dropped("enable-cors is not on, so nginx does not look at it");
            }
            if all.options.profile.cors {
                exact("filters[].cors")
            } else {
                manual(
                    format!("{} does not have the CORS filter", all.options.profile.name),
                    "let the service answer preflights, or choose another implementation",
                )
            }
        }
        "backend-protocol" => match value.to_ascii_uppercase().as_str() {
            "HTTP" | "AUTO_HTTP" => Note::new(Outcome::Exact, "", "what backends speak anyway", ""),
            "GRPC" => Note::exact(format!("GRPCRoutes of namespace {}", ingress.namespace)),
            "HTTPS" | "GRPCS" if tls_to_backend(ingress) => {
                Note::exact(format!("BackendTLSPolicies of namespace {}", ingress.namespace))
            }
            "HTTPS" | "GRPCS" => manual(
                "nginx does not verify the backend's certificate, a BackendTLSPolicy always does, and no CA is named"
                    .to_owned(),
                "put the CA into a ConfigMap (key ca.crt) and write a BackendTLSPolicy; until then the backend is spoken to without TLS",
            ),
            _ => manual(format!("no standard backend speaks {value}"), "put an HTTP server before it"),
        },
        "proxy-ssl-secret" if tls_to_backend(ingress) => approximate(
            "BackendTLSPolicy caCertificateRefs",
            "a BackendTLSPolicy reads the CA from a ConfigMap, and client certificates belong to the Gateway",
            "copy ca.crt of the Secret into a ConfigMap of the same name",
        ),
        "proxy-ssl-name" | "proxy-ssl-server-name" | "proxy-ssl-verify" | "proxy-ssl-secret" => {
            if tls_to_backend(ingress) {
                exact("BackendTLSPolicy")
            } else {
                dropped(
                    "no BackendTLSPolicy is made: it takes backend-protocol HTTPS, proxy-ssl-verify on, proxy-ssl-secret and proxy-ssl-name",
                )
            }
        }
        "configuration-snippet" | "server-snippet" => match snippet_of(value) {
            Ok(filters) if filters.is_empty() => Note::new(Outcome::Exact, "", "empty", ""),
            Ok(_) => approximate(
                "header modifiers",
                "nginx adds headers to some statuses only and to those of its own answers too",
                "compare the headers of a live answer",
            ),
            Err(line) => manual(
                format!("the snippet does more than set fixed headers: {line}"),
                "say it with filters, let the service do it, or use a policy of the implementation",
            ),
        },
        "mirror-target" => match crate::migrate::convert::mirror_of(ingress) {
            Some(_) => exact("RequestMirror"),
            None => manual(
                "the target is no Service of this namespace".to_owned(),
                "make a Service for it and add a RequestMirror",
            ),
        },
        "x-forwarded-prefix" => match own().any(|(_, one)| one.rewrite.is_some()) {
            true => exact("RequestHeaderModifier"),
            false => dropped("nothing is rewritten, so nginx does not set the header"),
        },
        "server-alias" => exact("hostnames and listeners"),
        "app-root" if value.starts_with('/') => Note::exact(""),
        "app-root" => dropped("the value is no path: nginx ignores it"),
        "from-to-www-redirect" if !ingress.on(name) => Note::new(Outcome::Exact, "", "off, as without it", ""),
        "from-to-www-redirect" => {
            let used = all.nginx.servers.iter().any(|server| server.www_of.as_ref().is_some_and(|(of, _)| *of == at));
            if used {
                exact("a route of the other name")
            } else {
                dropped("the other name has rules of its own, so nginx makes no redirect")
            }
        }
        "ssl-passthrough" if !ingress.on(name) => Note::new(Outcome::Exact, "", "off, as without it", ""),
        _ => exact(name),
    }
}

fn tls_to_backend(ingress: &crate::migrate::ingress::Ingress) -> bool {
    ingress.annotation("proxy-ssl-secret").is_some()
        && ingress.annotation("proxy-ssl-name").is_some()
        && ingress.annotation("proxy-ssl-verify") == Some("on")
}
