//! One request to one of a backend's endpoints, without losing it to a connection that died
//! between two requests.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use http::{Request, Response, StatusCode, Uri, Version, header, uri};
use hyper::body::Incoming;

use super::{
    body::RequestBody,
    proxy_protocol::Ends,
    record::Record,
    upstream::{Lease, Peer},
    worker::Shared,
};
use crate::{
    metrics::Failure,
    table::{Endpoints, UpstreamProtocol, UpstreamTls},
};

/// Sends of one request, the first included, that are made without being asked for: they repeat
/// nothing that an endpoint may have seen.
const SENDS: usize = 4;

/// What the client is told when no endpoint answered.
pub(super) type Refusal = (StatusCode, &'static str);

const UNREACHABLE: Refusal = (StatusCode::SERVICE_UNAVAILABLE, "no endpoint of the backend accepts connections\n");
const BROKEN: Refusal = (StatusCode::BAD_GATEWAY, "the backend closed the connection without a valid response\n");
const UNTRUSTED: Refusal = (StatusCode::BAD_GATEWAY, "no endpoint of the backend proves to be the right one\n");

/// The request's target and version as the endpoint's protocol wants them. The `host` header
/// is the truth until here.
pub(super) fn addressed(mut request: Request<RequestBody>, protocol: UpstreamProtocol) -> Request<RequestBody> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(path);
    match protocol {
        UpstreamProtocol::Http1 => *request.version_mut() = Version::HTTP_11,
        UpstreamProtocol::Http2 => {
            *request.version_mut() = Version::HTTP_2;
            let host = request.headers_mut().remove(header::HOST);
            let authority = host.and_then(|host| uri::Authority::try_from(host.as_bytes()).ok());
            parts.authority = Some(authority.unwrap_or_else(|| uri::Authority::from_static("localhost")));
            parts.scheme = Some(uri::Scheme::HTTP);
        }
    }
    // A path of a valid URI makes a valid URI again.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// On a connection of its own where the protocol does not share them.
pub(super) async fn once(
    request: Request<RequestBody>,
    protocol: UpstreamProtocol,
    peer: Peer,
    shared: &Rc<Shared>,
) -> Result<(Response<Incoming>, Lease), String> {
    match protocol {
        UpstreamProtocol::Http1 => {
            let mut sender = shared.pool.open_http1(&peer).await.map_err(|failure| failure.reason().to_owned())?;
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            Ok((response, Lease::Http1 { sender, peer, shared: Rc::clone(shared) }))
        }
        UpstreamProtocol::Http2 => {
            let (stream, _) = shared.pool.http2(&peer).await.map_err(|failure| failure.reason().to_owned())?;
            let response = stream.sender().send_request(request).await.map_err(|error| error.to_string())?;
            Ok((response, Lease::Http2(stream)))
        }
    }
}

/// Endpoints on the way of one request.
pub(super) struct Way<'a> {
    pub endpoints: &'a Endpoints,
    pub tls: Option<&'a Arc<UpstreamTls>>,
    pub ends: &'a Rc<Ends>,
    /// Those that did not take a connection from this request.
    pub refused: Vec<SocketAddr>,
}

impl Way<'_> {
    /// The picker's choice, unless it refused this request before.
    fn choose(&self, worker: usize) -> Option<SocketAddr> {
        let addresses = &self.endpoints.addresses;
        let picked = *addresses.pick(worker)?;
        if self.refused.contains(&picked) {
            return addresses.entries().find(|address| !self.refused.contains(address)).copied();
        }
        Some(picked)
    }
}

/// `request` is addressed already. With `patient`, an endpoint that takes no connection leads to
/// the next one; else that is an answer.
pub(super) async fn send(
    mut request: Request<RequestBody>,
    way: &mut Way<'_>,
    record: &mut Record,
    patient: bool,
) -> Result<(Response<Incoming>, Lease), Refusal> {
    let mut fresh = false;
    let mut refusal = UNREACHABLE;
    for attempt in 0..SENDS {
        if attempt > 0 {
            record.retried();
        }
        let Some(address) = way.choose(record.shared().index) else { return Err(refusal) };
        record.endpoint(address);
        let peer = Peer::new(address, way.tls, way.endpoints.proxy, way.ends);
        let sent = match way.endpoints.protocol {
            UpstreamProtocol::Http1 => http1(request, peer, record, fresh).await,
            UpstreamProtocol::Http2 => Box::pin(http2(request, peer, record)).await,
        };
        match sent {
            Ok(answer) => return Ok(answer),
            Err((failure, back)) => {
                record.failed(failure);
                match back {
                    Some(again) => request = *again,
                    None => return Err(BROKEN),
                }
                refusal = match failure {
                    Failure::Connect | Failure::ConnectTimeout => UNREACHABLE,
                    Failure::Tls => UNTRUSTED,
                    Failure::Reset | Failure::Timeout => BROKEN,
                };
                if matches!(failure, Failure::Reset | Failure::Timeout) {
                    // The others in the pool may have died with it.
                    fresh = true;
                } else {
                    way.refused.push(address);
                    if !patient {
                        return Err(refusal);
                    }
                }
            }
        }
    }
    Err(refusal)
}

type Sent = Result<(Response<Incoming>, Lease), (Failure, Option<Box<Request<RequestBody>>>)>;

async fn http1(request: Request<RequestBody>, peer: Peer, record: &Record, fresh: bool) -> Sent {
    let shared = record.shared();
    let pooled = if fresh { None } else { shared.pool.idle(&peer) };
    let reused = pooled.is_some();
    let mut sender = match pooled {
        Some(sender) => sender,
        None => match Box::pin(shared.pool.open_http1(&peer)).await {
            Ok(sender) => {
                record.connected();
                sender
            }
            Err(failure) => return Err((failure, Some(Box::new(request)))),
        },
    };
    // An idle connection may end just as it is used. What is safe to repeat and has no body
    // is kept, to be sent again (RFC 9110, 9.2.2).
    let spare = (reused && request.method().is_idempotent() && request.body().is_empty())
        .then(|| Box::new(head(&request, RequestBody::Empty)));
    match sender.try_send_request(request).await {
        Ok(response) => Ok((response, Lease::Http1 { sender, peer, shared: Rc::clone(shared) })),
        Err(mut error) => {
            let again = error.take_message().map(Box::new).or(spare);
            Err((Failure::Reset, again))
        }
    }
}

/// The same request with another body.
pub(super) fn head(request: &Request<RequestBody>, body: RequestBody) -> Request<RequestBody> {
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

async fn http2(request: Request<RequestBody>, peer: Peer, record: &Record) -> Sent {
    let (stream, opened) = match record.shared().pool.http2(&peer).await {
        Ok(opened) => opened,
        Err(failure) => return Err((failure, Some(Box::new(request)))),
    };
    if opened {
        record.connected();
    }
    let spare = (!opened && request.method().is_idempotent() && request.body().is_empty())
        .then(|| Box::new(head(&request, RequestBody::Empty)));
    match stream.sender().try_send_request(request).await {
        Ok(response) => Ok((response, Lease::Http2(stream))),
        Err(mut error) => {
            let again = error.take_message().map(Box::new).or(spare);
            Err((Failure::Reset, again))
        }
    }
}
