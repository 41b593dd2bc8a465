//! A request that a rule has taken: to the response that is sent.

use std::{cell::Cell, pin::Pin, rc::Rc, time::Instant};

use http::{HeaderValue, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::Body;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::{Sleep, sleep_until};

use super::{
    answer,
    body::{RequestBody, ResponseBody},
    filter,
    forward::{self, Refusal, Way},
    http::Connection,
    mirror,
    record::Record,
    replay::Replay,
    request, tunnel,
    upstream::Lease,
};
use crate::{
    metrics::Failure,
    table::{Backend, Endpoints, Outcome, Redirect, Retry, Rule, Target, UpstreamProtocol},
};

const LATE: Refusal = (StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time\n");

/// A rule that takes a request.
#[derive(Clone, Copy)]
pub(super) struct Taken<'a> {
    pub rule: &'a Rule,
    /// Length of the path that the rule asks for.
    pub matched: usize,
    pub started: Instant,
}

pub(super) async fn take(
    connection: &Rc<Connection>,
    taken: Taken<'_>,
    mut parts: Parts,
    body: Incoming,
) -> Response<ResponseBody> {
    let begin = |series, parts: &Parts| connection.begin(series, taken.started, parts);
    match &taken.rule.outcome {
        Outcome::Respond(status, why) => answer::text(begin(&taken.rule.series, &parts), *status, why),
        Outcome::Redirect(redirect) => {
            redirected(connection, taken, redirect, &parts, begin(&taken.rule.series, &parts))
        }
        Outcome::Forward(backends) => {
            let Some(backend) = backends.pick(connection.shared.index) else {
                let record = begin(&taken.rule.series, &parts);
                return answer::text(record, StatusCode::INTERNAL_SERVER_ERROR, "this route has no backend\n");
            };
            let record = begin(&backend.series, &parts);
            match (&backend.redirect, &backend.target) {
                (Some(redirect), _) => {
                    let mut response = redirected(connection, taken, redirect, &parts, record);
                    filter::edit(response.headers_mut(), &backend.response_headers);
                    response
                }
                (None, Target::Fail(status, why)) => answer::text(record, *status, why),
                (None, Target::Endpoints(endpoints)) => {
                    // From here on the header is the truth.
                    let named = parts.uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
                    if let Some(Ok(named)) = named {
                        parts.headers.insert(header::HOST, named);
                    } else if parts.version < Version::HTTP_11 {
                        parts.headers.entry(header::HOST).or_insert(HeaderValue::from_static(""));
                    }
                    forwarded(connection, Step { taken, backend, endpoints }, parts, body, record).await
                }
            }
        }
    }
}

fn redirected(
    connection: &Connection,
    taken: Taken<'_>,
    redirect: &Redirect,
    parts: &Parts,
    record: Record,
) -> Response<ResponseBody> {
    let host = request::authority(parts).map(|authority| authority.host().into_owned()).unwrap_or_default();
    let port = connection.bind.address.port();
    let to = filter::location(redirect, connection.tls, &host, port, &parts.uri, taken.matched);
    let mut response = answer::empty(record, redirect.status);
    if let Ok(location) = HeaderValue::try_from(to) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    filter::edit(response.headers_mut(), &taken.rule.response_headers);
    response
}

/// Where a request goes on its way to an endpoint.
#[derive(Clone, Copy)]
struct Step<'a> {
    taken: Taken<'a>,
    backend: &'a Backend,
    endpoints: &'a Endpoints,
}

async fn forwarded(
    connection: &Rc<Connection>,
    step: Step<'_>,
    mut parts: Parts,
    incoming: Incoming,
    mut record: Record,
) -> Response<ResponseBody> {
    let Step { taken: Taken { rule, matched, started }, backend, endpoints } = step;
    let shared = &connection.shared;
    let upgrade = request::upgrade(&parts).filter(|_| endpoints.protocol == UpstreamProtocol::Http1);
    let client = upgrade.as_ref().and_then(|_| parts.extensions.remove::<OnUpgrade>());

    request::strip_hop_by_hop(&mut parts.headers);
    // The client was told to continue when its body was asked for.
    parts.headers.remove(header::EXPECT);
    request::forwarded(&mut parts.headers, &connection.peer, connection.tls);
    if !parts.headers.contains_key(&request::X_REQUEST_ID) {
        parts.headers.insert(&request::X_REQUEST_ID, shared.ids.next());
    }
    record.forwarded(&parts.headers);
    filter::edit(&mut parts.headers, &rule.request_headers);
    filter::edit(&mut parts.headers, &backend.request_headers);
    if let Some(rewrite) = &backend.rewrite {
        filter::rewrite(rewrite, &mut parts.uri, &mut parts.headers, matched);
    }

    let mut body = if incoming.is_end_stream() {
        RequestBody::Empty
    } else {
        let bytes = Rc::new(Cell::new(0));
        record.request_bytes = Some(Rc::clone(&bytes));
        RequestBody::Stream { incoming, bytes, copies: Vec::new() }
    };
    for mirror in rule.mirrors.iter().chain(&backend.mirrors).filter(|mirror| mirror::chosen(mirror)) {
        record.mirrored();
        let sender = mirror::start(mirror, &parts, &body, connection);
        if let (Some(sender), RequestBody::Stream { copies, .. }) = (sender, &mut body) {
            copies.push(sender);
        }
    }
    if let (Some(protocol), Some(_)) = (upgrade, &client) {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    }

    let request = forward::addressed(Request::from_parts(parts, body), endpoints.protocol);
    let mut way = Way { endpoints, tls: backend.tls.as_ref(), ends: &connection.ends, refused: Vec::new() };
    let whole = rule.timeouts.request.map(|limit| started + limit);
    let sent = match &rule.retry {
        None => {
            let until = sooner(whole, rule.timeouts.backend_request.map(|limit| started + limit));
            match until {
                None => forward::send(request, &mut way, &mut record, true).await.map(|answer| (answer, None)),
                Some(until) => Box::pin(before(until, request, &mut way, &mut record, true)).await,
            }
        }
        Some(retry) => {
            let limits = Limits { whole, each: rule.timeouts.backend_request };
            Box::pin(again_and_again(request, &mut way, &mut record, retry, limits)).await
        }
    };
    let ((response, lease), deadline) = match sent {
        Ok(answer) => answer,
        Err((status, why)) => return answer::text(record, status, why),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let edits = [&rule.response_headers, &backend.response_headers];
        return tunnel::switched(connection, response, client, record, edits);
    }
    record.code = response.status().as_u16();
    let (mut head, incoming) = response.into_parts();
    head.version = Version::HTTP_11;
    request::strip_hop_by_hop(&mut head.headers);
    filter::edit(&mut head.headers, &rule.response_headers);
    filter::edit(&mut head.headers, &backend.response_headers);
    Response::from_parts(head, ResponseBody::Upstream { incoming, lease: Some(lease), deadline, record, whole: false })
}

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// The head of a response, the connection that its body comes on, and the end of its time.
type Answered = ((Response<Incoming>, Lease), Option<Pin<Box<Sleep>>>);

/// With a deadline, which the body of the response has to keep too.
async fn before(
    until: Instant,
    request: Request<RequestBody>,
    way: &mut Way<'_>,
    record: &mut Record,
    patient: bool,
) -> Result<Answered, Refusal> {
    let mut deadline = Box::pin(sleep_until(until.into()));
    let sent = tokio::select! {
        biased;
        sent = forward::send(request, way, record, patient) => Some(sent),
        () = deadline.as_mut() => None,
    };
    match sent {
        Some(sent) => sent.map(|answer| (answer, Some(deadline))),
        None => {
            record.failed(Failure::Timeout);
            Err(LATE)
        }
    }
}

#[derive(Clone, Copy)]
struct Limits {
    whole: Option<Instant>,
    /// For each attempt.
    each: Option<std::time::Duration>,
}

/// As often as the route says, or as its time allows.
async fn again_and_again(
    mut request: Request<RequestBody>,
    way: &mut Way<'_>,
    record: &mut Record,
    retry: &Retry,
    limits: Limits,
) -> Result<Answered, Refusal> {
    let body = std::mem::replace(request.body_mut(), RequestBody::Empty);
    let replay = (!body.is_empty()).then(|| Replay::new(body));
    let mut backoff = retry.backoff;
    for attempt in 0..=retry.attempts {
        let body = replay.as_ref().map_or(RequestBody::Empty, Replay::reader);
        let copy = forward::head(&request, body);
        let until = sooner(limits.whole, limits.each.map(|limit| Instant::now() + limit));
        let sent = match until {
            None => forward::send(copy, way, record, false).await.map(|answer| (answer, None)),
            Some(until) => before(until, copy, way, record, false).await,
        };
        let asks_for_more = match &sent {
            Ok(((response, _), _)) => retry.codes.contains(&response.status().as_u16()),
            Err(_) => true,
        };
        let last = attempt == retry.attempts || !replay.as_ref().is_none_or(Replay::is_whole);
        if !asks_for_more || last {
            return sent;
        }
        // Endpoints that refused may have come back; others are asked first.
        if way.refused.len() >= way.endpoints.addresses.entries().count() {
            way.refused.clear();
        }
        drop(sent);
        let next = Instant::now() + backoff;
        if let Some(whole) = limits.whole.filter(|whole| *whole <= next) {
            sleep_until(whole.into()).await;
            record.failed(Failure::Timeout);
            return Err(LATE);
        }
        sleep_until(next.into()).await;
        backoff = backoff.saturating_mul(2).min(retry.backoff.saturating_mul(8));
        record.retried();
    }
    Err(LATE)
}
