//! One request to one of a backend's endpoints, without losing it to a connection that died
//! between two requests.

use std::{net::SocketAddr, rc::Rc};

use http::{Request, Response, StatusCode, Uri, Version, header, uri};
use hyper::body::Incoming;

use super::{body::RequestBody, record::Record, upstream::Lease, worker::Shared};
use crate::{
    metrics::Failure,
    table::{Endpoints, UpstreamProtocol},
};

/// Sends of one request, the first included.
const ATTEMPTS: usize = 4;

/// What the client is told when no endpoint answered.
pub(super) type Refusal = (StatusCode, &'static str);

const UNREACHABLE: Refusal = (StatusCode::SERVICE_UNAVAILABLE, "no endpoint of the backend accepts connections\n");
const BROKEN: Refusal = (StatusCode::BAD_GATEWAY, "the backend closed the connection without a valid response\n");

/// The request's target and version as the endpoint's protocol wants them. The `host` header
/// is the truth until here.
pub(super) fn addressed(mut request: Request<RequestBody>, protocol: UpstreamProtocol) -> Request<RequestBody> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(path);
    match protocol {
        UpstreamProtocol::Http1 => *request.version_mut() = Version::HTTP_11,
        UpstreamProtocol::H2c => {
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
    address: SocketAddr,
    shared: &Rc<Shared>,
) -> Result<(Response<Incoming>, Option<Lease>), String> {
    match protocol {
        UpstreamProtocol::Http1 => {
            let mut sender = shared.pool.open_http1(address).await.map_err(|failure| failure.reason().to_owned())?;
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            Ok((response, Some(Lease { sender, address, shared: Rc::clone(shared) })))
        }
        UpstreamProtocol::H2c => {
            let (mut sender, _) = shared.pool.http2(address).await.map_err(|failure| failure.reason().to_owned())?;
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            Ok((response, None))
        }
    }
}

/// `request` is addressed already.
pub(super) async fn send(
    mut request: Request<RequestBody>,
    endpoints: &Endpoints,
    record: &mut Record,
) -> Result<(Response<Incoming>, Option<Lease>), Refusal> {
    let shared = Rc::clone(record.shared());
    let mut refused: Vec<SocketAddr> = Vec::new();
    let mut fresh = false;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            record.retried();
        }
        let Some(address) = choose(endpoints, &refused) else { return Err(UNREACHABLE) };
        record.endpoint(address);
        let sent = match endpoints.protocol {
            UpstreamProtocol::Http1 => http1(request, address, &shared, record, fresh).await,
            UpstreamProtocol::H2c => Box::pin(http2(request, address, &shared, record)).await,
        };
        match sent {
            Ok(answer) => return Ok(answer),
            Err((failure, back)) => {
                record.failed(failure);
                let connecting = matches!(failure, Failure::Connect | Failure::ConnectTimeout);
                match back {
                    Some(again) => request = *again,
                    None => return Err(BROKEN),
                }
                if connecting {
                    refused.push(address);
                } else {
                    // The others in the pool may have died with it.
                    fresh = true;
                }
                if attempt + 1 == ATTEMPTS {
                    return Err(if connecting { UNREACHABLE } else { BROKEN });
                }
            }
        }
    }
    Err(UNREACHABLE)
}

/// The picker's choice, unless it refused this request before.
fn choose(endpoints: &Endpoints, refused: &[SocketAddr]) -> Option<SocketAddr> {
    let picked = *endpoints.addresses.pick()?;
    if refused.contains(&picked) {
        return endpoints.addresses.entries().find(|address| !refused.contains(address)).copied();
    }
    Some(picked)
}

type Sent = Result<(Response<Incoming>, Option<Lease>), (Failure, Option<Box<Request<RequestBody>>>)>;

async fn http1(
    request: Request<RequestBody>,
    address: SocketAddr,
    shared: &Rc<Shared>,
    record: &Record,
    fresh: bool,
) -> Sent {
    let pooled = if fresh { None } else { shared.pool.idle(address) };
    let reused = pooled.is_some();
    let mut sender = match pooled {
        Some(sender) => sender,
        None => match Box::pin(shared.pool.open_http1(address)).await {
            Ok(sender) => {
                record.connected();
                sender
            }
            Err(failure) => return Err((failure, Some(Box::new(request)))),
        },
    };
    // An idle connection may end just as it is used. What is safe to repeat and has no body
    // is kept, to be sent again (RFC 9110, 9.2.2).
    let spare = (reused && request.method().is_idempotent() && request.body().is_empty()).then(|| head(&request));
    match sender.try_send_request(request).await {
        Ok(response) => Ok((response, Some(Lease { sender, address, shared: Rc::clone(shared) }))),
        Err(mut error) => {
            let again = error.take_message().map(Box::new).or(spare);
            Err((Failure::Reset, again))
        }
    }
}

fn head(request: &Request<RequestBody>) -> Box<Request<RequestBody>> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Box::new(copy)
}

async fn http2(request: Request<RequestBody>, address: SocketAddr, shared: &Rc<Shared>, record: &Record) -> Sent {
    let (mut sender, opened) = match shared.pool.http2(address).await {
        Ok(opened) => opened,
        Err(failure) => return Err((failure, Some(Box::new(request)))),
    };
    if opened {
        record.connected();
    }
    let spare = (!opened && request.method().is_idempotent() && request.body().is_empty()).then(|| head(&request));
    match sender.try_send_request(request).await {
        Ok(response) => Ok((response, None)),
        Err(mut error) => {
            let again = error.take_message().map(Box::new).or(spare);
            Err((Failure::Reset, again))
        }
    }
}
