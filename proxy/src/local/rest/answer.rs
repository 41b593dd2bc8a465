//! HTTP responses.

use std::convert::Infallible;

use bytes::Bytes;
use futures::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY, WARNING};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;

use super::super::openapi::Document;
use super::accept::Accept;
use super::{Body, StatusError};

const JSON: &str = "application/json";
/// What one response warns of at most.
const WARNINGS: usize = 20;

fn full(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

pub(super) fn empty(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = code;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

pub(super) fn text(code: u16, text: &'static str) -> Response<Body> {
    full(code, "text/plain; charset=utf-8", text)
}

pub(super) fn json(code: u16, value: &Value) -> Response<Body> {
    full(code, JSON, value.to_string())
}

/// What `meta.k8s.io` says in its old version: the same under another name.
fn in_beta(value: &mut Value) {
    const NEW: &str = "meta.k8s.io/v1";
    if value["apiVersion"] == NEW {
        value["apiVersion"] = "meta.k8s.io/v1beta1".into();
    }
    for row in value.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten() {
        if row["object"]["apiVersion"] == NEW {
            row["object"]["apiVersion"] = "meta.k8s.io/v1beta1".into();
        }
    }
    for item in value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        if item["apiVersion"] == NEW {
            item["apiVersion"] = "meta.k8s.io/v1beta1".into();
        }
    }
}

pub(super) fn encode(code: u16, accept: Accept, value: &Value) -> Response<Body> {
    if accept.beta {
        let mut value = value.clone();
        in_beta(&mut value);
        return encode(code, Accept { beta: false, ..accept }, &value);
    }
    if accept.yaml {
        match serde_saphyr::to_string(value) {
            Ok(yaml) => return full(code, "application/yaml", yaml),
            Err(error) => return failure(&StatusError::internal(error), Accept { yaml: false, ..accept }),
        }
    }
    json(code, value)
}

pub(super) fn failure(error: &StatusError, accept: Accept) -> Response<Body> {
    encode(error.code(), accept, &error.to_value())
}

/// A document that clients may keep: they ask again with its hash.
pub(super) fn document(document: &Document, kept: &HeaderMap, content_type: &'static str) -> Response<Body> {
    let tag = format!("\"{}\"", document.hash);
    let known = kept.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let same = known.flat_map(|value| value.split(',')).any(|value| value.trim() == tag);
    let mut response = if same { full(304, content_type, "") } else { full(200, content_type, document.body.clone()) };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

pub(super) fn discovery(value: &Value, version: Option<&str>, kept: &HeaderMap) -> Response<Body> {
    let kind = match version {
        Some("v2") => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Some(_) => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        None => {
            let mut response = json(200, value);
            response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
            return response;
        }
    };
    document(&Document::new(value), kept, kind)
}

pub(super) fn warn(response: &mut Response<Body>, warnings: impl Iterator<Item = String>) {
    for warning in warnings.take(WARNINGS) {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

/// A body that another server sends; where it breaks off, this one ends.
pub(super) fn as_far_as_it_comes<E: Send + 'static>(
    data: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Body {
    use futures::{StreamExt, future};
    let frames = data.take_while(|data| future::ready(data.is_ok())).filter_map(|data| future::ready(data.ok()));
    StreamBody::new(frames.map(|data| Ok::<_, Infallible>(Frame::data(data)))).boxed_unsync()
}

pub(super) fn stream(lines: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    use futures::StreamExt;
    let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(line)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
