//! Answers that are compressed on the way.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};

use super::{Body, Bytes};

/// Answers up to this size are sent as they are: compressing them takes longer than sending them.
const WORTH: u64 = 128 << 10;

/// Whether a client asks for it, read as a kube-apiserver reads it: no weights, no stars.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim() == "gzip")
}

/// Compresses an answer that is there as a whole. Streams, and what came compressed, stay.
pub(super) async fn compressed(response: Response<Body>) -> Response<Body> {
    let large = response.body().size_hint().exact().is_some_and(|size| size > WORTH);
    if !large || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let (given, plain) = (bytes.clone(), bytes);
    // Others go on meanwhile.
    let packed = tokio::task::spawn_blocking(move || pack(&given)).await;
    let Ok(Ok(packed)) = packed else {
        return Response::from_parts(parts, Full::new(plain).boxed_unsync());
    };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, Full::new(packed).boxed_unsync())
}

fn pack(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}
