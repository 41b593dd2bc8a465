//! Answers of our own.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};

use super::{body::ResponseBody, record::Record};
use crate::table::{Cors, cors::Allowed};

/// Whether the client is one of gRPC, which looks for errors in another place.
pub(super) fn is_grpc(parts: &Parts) -> bool {
    parts.version == Version::HTTP_2
        && parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|type_| type_.as_bytes().starts_with(b"application/grpc"))
}

/// An answer that the metrics count under `status`, whatever form the client gets it in.
pub(super) fn text(mut record: Record, status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    record.code = status.as_u16();
    if record.grpc {
        return grpc(record, status, text);
    }
    let mut response = Response::new(ResponseBody::Text { text: Some(Bytes::from_static(text.as_bytes())), record });
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Trailers without a body before them, as clients of gRPC expect an error.
fn grpc(record: Record, status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    const INTERNAL: &str = "13";
    const UNAVAILABLE: &str = "14";
    let code = match status.as_u16() {
        400 => INTERNAL,
        401 => "16",
        403 => "7",
        404 | 405 => "12",
        429 | 421 => UNAVAILABLE,
        504 => "4",
        // Also where the route itself is not valid: the spec asks for it.
        _ => UNAVAILABLE,
    };
    let mut response = Response::new(ResponseBody::Text { text: None, record });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(code));
    headers.insert("grpc-message", HeaderValue::from_static(text.trim_ascii_end()));
    response
}

/// An answer without a body.
pub(super) fn empty(mut record: Record, status: StatusCode) -> Response<ResponseBody> {
    record.code = status.as_u16();
    let mut response = Response::new(ResponseBody::Text { text: None, record });
    *response.status_mut() = status;
    response
}

/// A browser that asks before it sends the request proper.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a browser may send. An origin that is not allowed hears nothing, which it takes for a no.
pub(super) fn preflight(
    record: Record,
    cors: &Cors,
    origin: &HeaderValue,
    request: &HeaderMap,
) -> Response<ResponseBody> {
    let mut response = empty(record, StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    share(headers, cors, origin);
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return response;
    }
    let asked = |list: &Allowed, name| match list {
        Allowed::None => None,
        Allowed::These(value) => Some(value.clone()),
        // With credentials a browser would take the wildcard for a name.
        Allowed::Any if cors.credentials => request.get(name).cloned(),
        Allowed::Any => Some(HeaderValue::from_static("*")),
    };
    if let Some(methods) = asked(&cors.methods, header::ACCESS_CONTROL_REQUEST_METHOD) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Some(names) = asked(&cors.headers, header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, cors.max_age.clone());
    response
}

/// Says who may read the response. What the backend says about it gives way to the route.
pub(super) fn share(headers: &mut HeaderMap, cors: &Cors, origin: &HeaderValue) {
    headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    if cors.is_public() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if !cors.allows(origin) {
            return;
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    if cors.credentials {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Some(expose) = &cors.expose {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
    }
}
