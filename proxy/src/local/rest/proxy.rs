//! `pods/proxy` and `services/proxy`: the request goes on to the address that the Pod's status or
//! the Service's endpoints name, and its answer comes back as it is.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use serde_json::Value;

use super::super::kinds::Kind;
use super::super::store::Key;
use super::{Body, Bytes, Peer, Rest, StatusError, answer, upstream};

/// How long an address may take to answer; what it answers may take as long as it likes.
const ANSWERS: Duration = Duration::from_secs(60);
/// The label by which an EndpointSlice names its Service.
const SERVICE: &str = "kubernetes.io/service-name";

/// Whether objects of the kind can be spoken to through the API.
pub(in crate::local) fn has(kind: &Kind) -> bool {
    kind.group.is_empty() && ["pods", "services"].contains(&kind.plural.as_str())
}

/// What a path asks for: `/api/v1/namespaces/NAMESPACE/PLURAL/ID/proxy` and what follows.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    namespace: String,
    plural: &'static str,
    /// `[SCHEME:]NAME[:PORT]`.
    id: String,
    /// The path up to and with `proxy`, as it was sent.
    before: String,
    /// The rest of it, empty or with a slash in front.
    path: String,
}

impl Asked {
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix("/api/v1/namespaces/")?.splitn(5, '/');
        let (namespace, plural, id, proxy) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let plural = ["pods", "services"].into_iter().find(|known| *known == plural)?;
        if proxy != "proxy" {
            return None;
        }
        let rest = parts.next().map(|rest| format!("/{rest}")).unwrap_or_default();
        let before = path[..path.len() - rest.len()].to_owned();
        let plain = |text: &str| super::request::decode(text, false);
        Some(Self { namespace: plain(namespace)?, plural, id: plain(id)?, before, path: rest })
    }
}

/// Where a request goes.
#[derive(Debug, PartialEq)]
struct Place {
    address: SocketAddr,
    tls: bool,
}

/// Scheme, name and port of an id.
fn split(id: &str) -> Option<(&str, &str, &str)> {
    let parts: Vec<&str> = id.split(':').collect();
    match parts.as_slice() {
        [name] => Some(("", name, "")),
        [name, port] => Some(("", name, port)),
        [scheme @ ("" | "http" | "https"), name, port] => Some((scheme, name, port)),
        _ => None,
    }
}

impl Rest {
    pub(super) async fn proxied<B>(&self, request: Request<B>, asked: &Asked) -> Result<Response<Body>, StatusError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let known =
            [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
        if !known.contains(request.method()) {
            return Err(StatusError::method_not_allowed());
        }
        let place = if asked.plural == "pods" { self.pod(asked)? } else { self.service(asked)? };
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        if asked.path.is_empty() && [Method::GET, Method::HEAD].contains(request.method()) {
            // Links of a page relative to the root of what is asked need the slash.
            let mut moved = answer::empty(StatusCode::MOVED_PERMANENTLY);
            if let Ok(to) = HeaderValue::from_str(&format!("{}/{query}", asked.before)) {
                moved.headers_mut().insert(LOCATION, to);
            }
            return Ok(moved);
        }
        let path = if asked.path.is_empty() { "/" } else { &asked.path };
        let uri: Uri = format!("{path}{query}")
            .parse()
            .map_err(|error: http::uri::InvalidUri| StatusError::bad_request(error.to_string()))?;
        let request = passed_on(request, uri);
        let unreachable = |why: String| StatusError::unavailable(format!("error trying to reach service: {why}"));
        let sent = tokio::time::timeout(ANSWERS, upstream::send(place.address, place.tls, request)).await;
        let response = sent
            .map_err(|_| unreachable(format!("{} did not answer in {ANSWERS:?}", place.address)))?
            .map_err(unreachable)?;
        let (mut parts, body) = response.into_parts();
        let length = parts.headers.get(CONTENT_LENGTH).cloned();
        strip(&mut parts.headers);
        if let Some(length) = length {
            parts.headers.insert(CONTENT_LENGTH, length);
        }
        let location = parts.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        if let Some(Ok(location)) =
            location.map(|location| HeaderValue::from_str(&within(location, &asked.before, place.address)))
        {
            parts.headers.insert(LOCATION, location);
        }
        let cached = HeaderValue::from_static("no-cache, private");
        parts.headers.entry(http::header::CACHE_CONTROL).or_insert(cached);
        Ok(Response::from_parts(parts, answer::as_far_as_it_comes(body.into_data_stream())))
    }

    fn stored(&self, plural: &str, namespace: &str, name: &str) -> Result<std::sync::Arc<Value>, StatusError> {
        let found = self.resources.store.get(&Key::new("", plural, namespace, name));
        found.ok_or_else(|| StatusError::not_found_named("", plural, name))
    }

    fn pod(&self, asked: &Asked) -> Result<Place, StatusError> {
        let (scheme, name, port) =
            split(&asked.id).ok_or_else(|| StatusError::bad_request(format!("invalid pod request {:?}", asked.id)))?;
        let pod = self.stored("pods", &asked.namespace, name)?;
        let of_containers = |wanted: &dyn Fn(&Value) -> bool| {
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            let ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
            let mut ports = ports.filter(|port| wanted(port)).filter_map(|port| port["containerPort"].as_u64());
            ports.next().and_then(|port| u16::try_from(port).ok())
        };
        let address = permitted(pod["status"]["podIP"].as_str().unwrap_or_default())?;
        let port = match port {
            "" => of_containers(&|_| true).unwrap_or(80),
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse().map_err(|_| {
                StatusError::unavailable(format!("error trying to reach service: address {number}: invalid port"))
            })?,
            name => of_containers(&|port| port["name"] == name).ok_or_else(|| {
                StatusError::unavailable(format!("error trying to reach service: lookup tcp/{name}: unknown port"))
            })?,
        };
        Ok(Place { address: SocketAddr::new(address, port), tls: scheme == "https" })
    }

    fn service(&self, asked: &Asked) -> Result<Place, StatusError> {
        let (scheme, name, port) = split(&asked.id)
            .ok_or_else(|| StatusError::bad_request(format!("invalid service request {:?}", asked.id)))?;
        let service = self.stored("services", &asked.namespace, name)?;
        let mut port = port.to_owned();
        if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number is the Service's; the endpoints know the port by its name.
            let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
            let number: u64 = port.parse().unwrap_or(0);
            let found = ports.find(|found| found["port"].as_u64() == Some(number)).ok_or_else(|| {
                StatusError::unavailable(format!("no service port {port} found for service {name:?}"))
            })?;
            port = found["name"].as_str().unwrap_or_default().to_owned();
        }
        let mut any = false;
        let mut found = Vec::new();
        let slices = self.resources.store.list("discovery.k8s.io", "endpointslices", Some(&asked.namespace), None);
        for (_, slice) in slices.iter().flat_map(|snapshot| &snapshot.items) {
            if slice["metadata"]["labels"][SERVICE] != name {
                continue;
            }
            any = true;
            let endpoints = slice["endpoints"].as_array().into_iter().flatten();
            let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"].as_bool() != Some(false));
            let addresses = ready.flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten());
            pair(&slice["ports"], &port, addresses.filter_map(Value::as_str), &mut found);
        }
        if let Ok(endpoints) = self.stored("endpoints", &asked.namespace, name) {
            any = true;
            for subset in endpoints["subsets"].as_array().into_iter().flatten() {
                let addresses = subset["addresses"].as_array().into_iter().flatten();
                pair(&subset["ports"], &port, addresses.filter_map(|address| address["ip"].as_str()), &mut found);
            }
        }
        if !any {
            return Err(StatusError::not_found_named("", "services", name));
        }
        let mut seed = [0; 8];
        let _ = getrandom::fill(&mut seed);
        let pick = usize::try_from(u64::from_le_bytes(seed) % (found.len().max(1) as u64)).unwrap_or(0);
        let address = *found
            .get(pick)
            .ok_or_else(|| StatusError::unavailable(format!("no endpoints available for service {:?}", asked.id)))?;
        Ok(Place { address, tls: scheme == "https" })
    }
}

/// The addresses with the port of this name, if there is one.
fn pair<'a>(ports: &Value, name: &str, addresses: impl Iterator<Item = &'a str>, found: &mut Vec<SocketAddr>) {
    let mut ports = ports.as_array().into_iter().flatten();
    let Some(port) = ports.find(|port| port["name"].as_str().unwrap_or_default() == name) else { return };
    let Some(port) = port["port"].as_u64().and_then(|port| u16::try_from(port).ok()) else { return };
    found.extend(addresses.filter_map(|address| permitted(address).ok()).map(|address| SocketAddr::new(address, port)));
}

/// Not what would reach this host's link or nobody; loopback is where a local API's endpoints are.
fn permitted(address: &str) -> Result<IpAddr, StatusError> {
    let address: Option<IpAddr> = address.parse().ok();
    let refused = |address: &IpAddr| {
        address.is_unspecified()
            || address.is_multicast()
            || match address {
                IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
                IpAddr::V6(v6) => {
                    v6.is_unicast_link_local()
                        || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_link_local() || v4.is_unspecified())
                }
            }
    };
    address.filter(|address| !refused(address)).ok_or_else(|| StatusError::bad_request("address not allowed"))
}

/// The request as the other server gets it: never with the token of this one.
fn passed_on<B>(request: Request<B>, uri: Uri) -> Request<http_body_util::combinators::UnsyncBoxBody<Bytes, Broken>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let (mut parts, body) = request.into_parts();
    let original = parts.uri;
    parts.uri = uri;
    parts.version = http::Version::HTTP_11;
    let length = parts.headers.get(CONTENT_LENGTH).cloned();
    strip(&mut parts.headers);
    parts.headers.remove(AUTHORIZATION);
    if !parts.headers.contains_key(HOST)
        && let Some(Ok(host)) = original.authority().map(|authority| HeaderValue::from_str(authority.as_str()))
    {
        parts.headers.insert(HOST, host);
    }
    if let Ok(path) = HeaderValue::from_str(original.path()) {
        parts.headers.insert(HeaderName::from_static("x-forwarded-uri"), path);
    }
    if let Some(Peer(peer)) = parts.extensions.remove::<Peer>() {
        let name = HeaderName::from_static("x-forwarded-for");
        let before = parts.headers.get(&name).and_then(|value| value.to_str().ok());
        let all = before.map_or_else(|| peer.to_string(), |before| format!("{before}, {peer}"));
        if let Ok(value) = HeaderValue::from_str(&all) {
            parts.headers.insert(name, value);
        }
    }
    parts.extensions.clear();
    if body.is_end_stream() {
        return Request::from_parts(parts, Empty::new().map_err(|never| match never {}).boxed_unsync());
    }
    if let Some(length) = length {
        parts.headers.insert(CONTENT_LENGTH, length);
    }
    Request::from_parts(parts, body.map_err(|error| Broken(error.to_string())).boxed_unsync())
}

#[derive(Debug, thiserror::Error)]
#[error("the body of the request broke off: {0}")]
struct Broken(String);

/// Takes out what concerns one connection only.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let always = [
        CONNECTION,
        CONTENT_LENGTH,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in named.iter().chain(&always) {
        headers.remove(name);
    }
}

/// A redirect of the other server, as a path below this one's.
fn within(location: &str, before: &str, address: SocketAddr) -> String {
    let path = match location.split_once("://") {
        Some((_, rest)) => {
            let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            match rest[..at] == address.to_string() {
                true => &rest[at..],
                false => return location.to_owned(),
            }
        }
        None => location,
    };
    if !path.starts_with('/') || path.starts_with("//") || path.starts_with(before) {
        return location.to_owned();
    }
    format!("{before}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_and_not_decoded() {
        let asked = Asked::of("/api/v1/namespaces/a/services/https:s:web/proxy/x%2Fy//z").unwrap();
        assert_eq!((asked.plural, asked.id.as_str(), asked.path.as_str()), ("services", "https:s:web", "/x%2Fy//z"));
        assert_eq!(asked.before, "/api/v1/namespaces/a/services/https:s:web/proxy");
        assert_eq!(Asked::of("/api/v1/namespaces/a/pods/p/proxy").unwrap().path, "");
        assert_eq!(Asked::of("/api/v1/namespaces/a/pods/p/proxy/").unwrap().path, "/");
        for other in ["/api/v1/namespaces/a/pods/p/log", "/api/v1/pods/p/proxy", "/api/v1/namespaces/a/nodes/p/proxy"] {
            assert_eq!(Asked::of(other), None, "{other}");
        }
    }

    #[test]
    fn redirects_stay_below_the_proxy() {
        let address = "127.0.0.1:80".parse().unwrap();
        for (from, to) in [
            ("/a?b=c", "/p/a?b=c"),
            ("http://127.0.0.1:80/a", "/p/a"),
            ("a/b", "a/b"),
            ("http://other.example/a", "http://other.example/a"),
            ("//other.example/a", "//other.example/a"),
            ("/p/a", "/p/a"),
        ] {
            assert_eq!(within(from, "/p", address), to, "{from}");
        }
    }

    #[test]
    fn addresses_of_nobody_are_not_asked() {
        for refused in ["", "0.0.0.0", "169.254.169.254", "224.0.0.1", "fe80::1", "::ffff:169.254.1.1", "x"] {
            assert!(permitted(refused).is_err(), "{refused}");
        }
        assert!(permitted("127.0.0.1").is_ok() && permitted("10.0.0.1").is_ok());
    }
}
