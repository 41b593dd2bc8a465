//! What a compilation gave, as text that a reviewer can read.

use std::fmt::Write as _;

use super::*;
use crate::table::{
    Backend, Endpoints, HeaderEdits, Mirror, Outcome, Roots, Rule, Target, UpstreamTls,
    route::{PathMatcher, RouteMatch, ValueMatcher},
};

pub(super) fn dump(compiled: &Compiled) -> String {
    let mut out = String::new();
    verdicts(&mut out, &compiled.verdicts).expect("writing to a String cannot fail");
    table(&mut out, &compiled.table).expect("writing to a String cannot fail");
    out
}

fn conditions(out: &mut String, indent: &str, all: &[Verdict]) -> std::fmt::Result {
    for one in all {
        let status = if one.status { "True" } else { "False" };
        writeln!(out, "{indent}- {}: {status} {}, {:?}", one.type_, one.reason, one.message)?;
    }
    Ok(())
}

fn verdicts(out: &mut String, all: &Verdicts) -> std::fmt::Result {
    writeln!(out, "classes:")?;
    for (name, class) in &all.classes {
        writeln!(out, "  {name}:")?;
        conditions(out, "  ", &class.conditions)?;
    }
    writeln!(out, "gateways:")?;
    for (key, gateway) in &all.gateways {
        writeln!(out, "  {key}:\n    addresses: {:?}\n    conditions:", gateway.addresses)?;
        conditions(out, "    ", &gateway.conditions)?;
        if let Some(count) = gateway.attached_listener_sets {
            writeln!(out, "    attachedListenerSets: {count}")?;
        }
        listeners(out, &gateway.listeners)?;
    }
    if !all.listener_sets.is_empty() {
        writeln!(out, "listenerSets:")?;
    }
    for (key, set) in &all.listener_sets {
        writeln!(out, "  {key}:\n    conditions:")?;
        conditions(out, "    ", &set.conditions)?;
        listeners(out, &set.listeners)?;
    }
    writeln!(out, "routes:")?;
    let routes = all.routes().into_iter().flat_map(|(kind, routes)| routes.iter().map(move |one| (kind, one)));
    for (kind, (key, route)) in routes {
        let kind = if kind == Kind::HttpRoute { String::new() } else { format!("{kind} ") };
        writeln!(out, "  {kind}{key}:")?;
        for one in &route.parents {
            let parent = &one.parent;
            let namespace = parent.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
            let section = parent.section_name.as_ref().map(|name| format!(" section {name}")).unwrap_or_default();
            let port = parent.port.map(|port| format!(" port {port}")).unwrap_or_default();
            let kind = if parent.kind == "Gateway" { "" } else { "ListenerSet " };
            writeln!(out, "    parent {kind}{namespace}{}{section}{port}:", parent.name)?;
            conditions(out, "    ", &one.conditions)?;
        }
    }
    if !all.policies.is_empty() {
        writeln!(out, "policies:")?;
    }
    for (key, policy) in &all.policies {
        writeln!(out, "  {key}:")?;
        for one in &policy.ancestors {
            writeln!(out, "    ancestor {}/{}:", one.ancestor.namespace.as_deref().unwrap_or(""), one.ancestor.name)?;
            conditions(out, "    ", &one.conditions)?;
        }
    }
    Ok(())
}

fn listeners(out: &mut String, all: &[ListenerVerdict]) -> std::fmt::Result {
    for listener in all {
        let kinds: Vec<_> = listener.supported_kinds.iter().map(|kind| kind.kind.as_str()).collect();
        writeln!(out, "    listener {}:", listener.name)?;
        writeln!(out, "      kinds: {kinds:?}\n      attachedRoutes: {}", listener.attached_routes)?;
        writeln!(out, "      binds: {:?}", listener.binds)?;
        conditions(out, "      ", &listener.conditions)?;
    }
    Ok(())
}

fn table(out: &mut String, table: &Table) -> std::fmt::Result {
    writeln!(out, "table:")?;
    for bind in &table.binds {
        writeln!(out, "  {} {:?}:", bind.socket(), bind.protocol)?;
        if bind.accept_proxy {
            writeln!(out, "    begins with a PROXY header")?;
        }
        for (hostname, listener) in bind.listeners.iter() {
            let secrets: Vec<_> =
                listener.tls.iter().flat_map(|tls| &tls.certificates).map(|one| one.secret.to_string()).collect();
            let mut tls = if secrets.is_empty() { String::new() } else { format!(" tls {secrets:?}") };
            if let Some(clients) = listener.tls.as_ref().and_then(|tls| tls.clients.as_ref()) {
                let count = clients.bundles.len();
                write!(tls, " clients by {count} bundles, required {}", clients.required)?;
            }
            writeln!(out, "    listener {}/{} {hostname:?}{tls}:", listener.gateway, listener.name)?;
            for (hostname, stream) in listener.streams.iter() {
                let id = &stream.route;
                writeln!(out, "      stream {hostname:?}:\n        {} {}", id.kind, id.key)?;
                for (weight, one) in stream.backends.weighted() {
                    let target = target(&one.target);
                    writeln!(out, "          backend {}:{} weight {weight}: {target}", one.key, one.port)?;
                    upstream_tls(out, "            ", one.tls.as_deref())?;
                }
            }
            for (hostname, routes) in listener.routes.iter() {
                writeln!(out, "      host {hostname:?}:")?;
                for one in routes.matches() {
                    let id = &one.rule.route;
                    writeln!(out, "      - {}\n        rule {} {}", matched(one), id.key, id.rule)?;
                    rule(out, &one.rule)?;
                }
            }
        }
    }
    Ok(())
}

fn value(matcher: &ValueMatcher) -> String {
    match matcher {
        ValueMatcher::Exact(value) => format!("={value:?}"),
        ValueMatcher::Regex(regex) => format!("~{:?}", regex.as_str()),
    }
}

fn matched(one: &RouteMatch) -> String {
    let mut text = match &one.path {
        PathMatcher::Exact(path) => format!("exact {path}"),
        PathMatcher::Prefix(prefix) => format!("prefix {prefix}/"),
        PathMatcher::Regex(regex) => format!("regex {regex}"),
    };
    if let Some(method) = &one.method {
        write!(text, " method {method}").expect("writing to a String cannot fail");
    }
    for (name, matcher) in &one.headers {
        write!(text, " header {name}{}", value(matcher)).expect("writing to a String cannot fail");
    }
    for (name, matcher) in &one.query {
        write!(text, " query {name}{}", value(matcher)).expect("writing to a String cannot fail");
    }
    text
}

fn edits(out: &mut String, indent: &str, what: &str, edits: &HeaderEdits) -> std::fmt::Result {
    if edits.set.is_empty() && edits.add.is_empty() && edits.remove.is_empty() {
        return Ok(());
    }
    writeln!(out, "{indent}{what} set {:?} add {:?} remove {:?}", edits.set, edits.add, edits.remove)
}

fn endpoints(endpoints: &Endpoints) -> String {
    let all: Vec<_> = endpoints.addresses.entries().map(ToString::to_string).collect();
    format!("{:?} {}", endpoints.protocol, all.join(" "))
}

fn mirrors(out: &mut String, indent: &str, mirrors: &[Mirror]) -> std::fmt::Result {
    for one in mirrors {
        let share = (one.numerator, one.denominator);
        writeln!(out, "{indent}mirror {}/{} to {}: {}", share.0, share.1, one.backend, endpoints(&one.endpoints))?;
    }
    Ok(())
}

fn rule(out: &mut String, rule: &Rule) -> std::fmt::Result {
    let indent = "          ";
    edits(out, indent, "request headers", &rule.request_headers)?;
    edits(out, indent, "response headers", &rule.response_headers)?;
    mirrors(out, indent, &rule.mirrors)?;
    if let Some(cors) = &rule.cors {
        writeln!(out, "{indent}{cors:?}")?;
    }
    if let Some(retry) = &rule.retry {
        writeln!(out, "{indent}{retry:?}")?;
    }
    if rule.timeouts != crate::table::Timeouts::default() {
        writeln!(out, "{indent}timeouts {:?} {:?}", rule.timeouts.request, rule.timeouts.backend_request)?;
    }
    match &rule.outcome {
        Outcome::Redirect(to) => writeln!(
            out,
            "{indent}redirect {} scheme {:?} hostname {:?} port {:?} path {:?}",
            to.status.as_u16(),
            to.scheme,
            to.hostname,
            to.port,
            to.path
        ),
        Outcome::Respond(status, why) => writeln!(out, "{indent}respond {} {why:?}", status.as_u16()),
        Outcome::Forward(picker) => picker.weighted().try_for_each(|(weight, one)| backend(out, indent, weight, one)),
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::Endpoints(all) => {
            let proxy = all.proxy.map(|version| format!(" PROXY {version:?}")).unwrap_or_default();
            endpoints(all) + &proxy
        }
        Target::Fail(status, why) => format!("fail {} {why:?}", status.as_u16()),
    }
}

fn upstream_tls(out: &mut String, indent: &str, tls: Option<&UpstreamTls>) -> std::fmt::Result {
    let Some(settings) = tls.map(UpstreamTls::settings) else { return Ok(()) };
    let roots = match &settings.roots {
        Roots::System => "system".to_owned(),
        Roots::Pem(bundles) => format!("{} bundles", bundles.len()),
    };
    let client = settings.client.as_ref().map(|client| client.secret.to_string());
    let names = &settings.names;
    writeln!(out, "{indent}tls {} roots {roots} names {names:?} client {client:?}", settings.hostname)
}

fn backend(out: &mut String, indent: &str, weight: u64, one: &Backend) -> std::fmt::Result {
    writeln!(out, "{indent}backend {}:{} weight {weight}: {}", one.key, one.port, target(&one.target))?;
    let indent = &format!("{indent}  ");
    if let Some(to) = &one.redirect {
        writeln!(out, "{indent}redirect {} {:?} {:?}", to.status.as_u16(), to.hostname, to.path)?;
    }
    upstream_tls(out, indent, one.tls.as_deref())?;
    edits(out, indent, "request headers", &one.request_headers)?;
    edits(out, indent, "response headers", &one.response_headers)?;
    if let Some(rewrite) = &one.rewrite {
        writeln!(out, "{indent}rewrite hostname {:?} path {:?}", rewrite.hostname, rewrite.path)?;
    }
    mirrors(out, indent, &one.mirrors)
}
