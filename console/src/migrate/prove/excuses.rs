//! What the report says that accounts for a difference. Each excuse is for one kind of difference
//! of one location: a difference of another kind beside it stays without a reason.

use gwproxy::prove::Answer;

use super::{Compiled, bare, base, same};
use crate::migrate::{
    Migration,
    ingress::{Backend, PathKind},
    nginx::{Location, Reply, Request, Server, normalised},
    paths::{self, Refused},
};

const QUERY: &str = "the Gateway API keeps the query of the request, nginx drops it here";
const TIDIED: &str =
    "nginx decodes and tidies the path before it looks for a location; the Gateway API compares it as it came";
const ONE_LABEL: &str = "ingress-nginx takes one label for the asterisk, the Gateway API any number";
const NO_CERTIFICATE: &str = "no certificate is named, so the Gateway serves HTTP only";
const FORCED: &str = "force-ssl-redirect without a certificate is left to whoever ends TLS";

pub(super) fn excuse(
    migration: &Migration,
    compiled: &Compiled,
    server: &Server,
    request: &Request,
    nginx: &Reply,
    gateway: &Answer,
) -> Option<String> {
    let path = request.target.split('?').next().unwrap_or_default();
    let clean = normalised(path)?;
    let asked = |request: &Request| (migration.nginx.ask(&migration.input, request), compiled.ask(request));
    // Whether another form of the request goes well, or not well for a known reason.
    let understood = |other: &Request| {
        let (nginx, gateway) = asked(other);
        same(&nginx, &gateway) || excuse(migration, compiled, server, other, &nginx, &gateway).is_some()
    };
    if clean != path && understood(&Request { target: request.target.replacen(path, &clean, 1), ..request.clone() }) {
        return Some(TIDIED.to_owned());
    }
    if let Some(suffix) = server.host.strip_prefix('*')
        && request.host.strip_suffix(suffix).is_some_and(|labels| labels.contains('.'))
    {
        // With one label, as nginx knows the host.
        let label = request.host.split('.').next().unwrap_or_default();
        let one = Request { host: format!("{label}{suffix}"), ..request.clone() };
        if understood(&one) {
            return Some(ONE_LABEL.to_owned());
        }
    }
    let same_by_tls = format!("https://{}{}", request.host, request.target);
    let to_https = |reply: &Reply| matches!(reply, Reply::Redirect { location, .. } if *location == same_by_tls);
    if let Some((at, tls)) = server.tls
        && migration.input.ingresses[at].tls[tls].secret.is_none()
    {
        let unserved = request.tls && matches!(gateway, Answer::Nothing | Answer::NotFound);
        if unserved || (!request.tls && to_https(nginx)) {
            return Some(NO_CERTIFICATE.to_owned());
        }
    }
    // The app root is answered before any location is looked for.
    let located = if server.app_root.is_some() && clean == "/" {
        None
    } else {
        migration.nginx.location(&migration.input, &request.host, &clean)
    };
    if server.tls.is_none() && !request.tls && to_https(nginx) && located.is_some_and(|one| one.force_ssl_redirect) {
        return Some(FORCED.to_owned());
    }
    if let (Reply::Redirect { status: 307 | 308, location }, Answer::Redirect { status: 301, location: to, .. }) =
        (nginx, gateway)
        && !migration.options.profile.code_308
        && bare(location) == bare(to)
    {
        return Some(format!("{} has no 307 and 308: 301 takes their place", migration.options.profile.name));
    }
    if let (Reply::Redirect { status, location }, Answer::Redirect { status: other, location: to, .. }) =
        (nginx, gateway)
        && status == other
        && to.split_once('?').is_some_and(|(to, query)| {
            bare(to) == bare(location) && request.target.split_once('?').is_some_and(|(_, own)| own == query)
        })
    {
        return Some(QUERY.to_owned());
    }
    server
        .locations
        .iter()
        .find_map(|one| of_location(migration, compiled, server, one, located, request, path, gateway))
}

#[allow(clippy::too_many_arguments, reason = "all of one question")]
fn of_location(
    migration: &Migration,
    compiled: &Compiled,
    server: &Server,
    location: &Location,
    located: Option<&Location>,
    request: &Request,
    path: &str,
    gateway: &Answer,
) -> Option<String> {
    let start = base(&location.path).trim_end_matches('/');
    let lower = path.to_ascii_lowercase();
    let rest = lower.strip_prefix(&start.to_ascii_lowercase())?;
    let here = located.is_some_and(|one| std::ptr::eq(one, location));
    let said = match paths::say(server, location) {
        Err(Refused::Manual { reason, .. }) => return here.then_some(reason),
        Err(Refused::Shadowed(_)) => return None,
        Ok(said) => said,
    };
    // The request may have come to another location's rule, or to none.
    let others = || server.locations.iter().filter(|one| !std::ptr::eq(*one, location));
    let elsewhere = || {
        if matches!(gateway, Answer::Nothing | Answer::NotFound) {
            return !others().any(|one| is_prefix(server, one, path));
        }
        others().any(|one| speaks_for(migration, server, one, gateway))
    };
    let applies = |reason: &&'static str| match *reason {
        paths::CASE => here && !path.starts_with(start) && elsewhere(),
        paths::WHOLE_WORDS => here && !rest.is_empty() && !rest.starts_with('/') && elsewhere(),
        // The prefix takes the bare path too: what it does there is what it does below.
        paths::BARE => {
            let below = Request { target: request.target.replacen(path, &format!("{path}/"), 1), ..request.clone() };
            let same_rule = rule(gateway).is_some() && rule(gateway) == rule(&compiled.ask(&below));
            rest.is_empty() && !here && same_rule && speaks_for(migration, server, location, gateway)
        }
        // Where several take the path, which comes first is not said: gwproxy's order is one of several.
        paths::ANY_EXPRESSION => {
            let takes = |one: &&Location| one.pattern().is_ok_and(|pattern| pattern.is_match(path));
            here && others().filter(takes).any(|one| speaks_for(migration, server, one, gateway))
        }
        _ => false,
    };
    if let Some(reason) = said.differs.into_iter().find(applies) {
        return Some(reason.to_owned());
    }
    // A rule that could not be made leaves its requests to nobody, or to a wider rule.
    if here {
        let ingress = &migration.input.ingresses[location.ingress];
        let of = format!(" {} {}", ingress.key(), location.field);
        return migration.failed.iter().find(|(place, _)| place.ends_with(&of)).map(|(_, why)| why.clone());
    }
    None
}

/// Whether the location's rule is a PathPrefix that takes the path.
fn is_prefix(server: &Server, location: &Location, path: &str) -> bool {
    let prefix = location.path.trim_end_matches('/');
    let whole = path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    whole
        && location.kind != PathKind::Exact
        && base(&location.path) == location.path
        && paths::say(server, location).is_ok()
}

/// Whether the answer can be that of the location.
fn speaks_for(migration: &Migration, server: &Server, location: &Location, answer: &Answer) -> bool {
    let ingresses = &migration.input.ingresses;
    match (answer, &location.backend) {
        (Answer::Forward(forward), own) => {
            let canaries = location.canaries.iter().map(|one| (&ingresses[one.ingress].namespace, &one.backend));
            let mut backends = canaries.chain([(&ingresses[location.ingress].namespace, own)]);
            backends.any(|(namespace, backend)| {
                let Ok(Backend::Service { name, port }) = backend else { return false };
                let name = format!("{namespace}/{name}:{port}");
                forward.to.iter().any(|choice| choice.backend.as_deref() == Ok(name.as_str()))
            })
        }
        (Answer::Redirect { status, .. }, _) => match &location.redirect {
            Some((own, _)) => own == status,
            None => {
                let to_https = location.force_ssl_redirect || (location.ssl_redirect && server.tls.is_some());
                to_https && *status == migration.nginx.settings.http_redirect_code
            }
        },
        (Answer::Respond { .. } | Answer::Nothing | Answer::NotFound, backend) => backend.is_err(),
    }
}

/// The rule that answers.
fn rule(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Nothing | Answer::NotFound => None,
        Answer::Redirect { rule, .. } | Answer::Respond { rule, .. } => Some(rule),
        Answer::Forward(forward) => Some(&forward.rule),
    }
}
