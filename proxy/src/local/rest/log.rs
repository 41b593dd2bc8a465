//! `pods/log`: asked of the kubelet that the Pod's Node names, and passed on as it comes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty};
use serde_json::Value;

use super::super::kinds::Kind;
use super::request::Params;
use super::{Body, Bytes, Rest, StatusError, Target, answer, upstream};

/// How long a kubelet may take until it answers; the log itself may take as long as it likes.
const ANSWERS: Duration = Duration::from_secs(10);

/// What of the query is the kubelet's business.
const PASSED: [&str; 8] =
    ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

/// Whether objects of the kind have logs.
pub(in crate::local) fn has(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.plural == "pods"
}

impl Rest {
    pub(super) async fn log(
        &self,
        target: &Target,
        name: &str,
        params: &Params,
    ) -> Result<Response<Body>, StatusError> {
        let pod = self.resources.get(target, name)?;
        let container = container(&pod, name, params.get("container"))?;
        let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
            // A Pod that runs nowhere has said nothing.
            return Ok(answer::text(200, ""));
        };
        let nodes = self.resources.registry.resource("", "nodes").ok_or_else(StatusError::no_resource)?;
        let nodes = Target { kind: nodes, version: "v1".to_owned(), namespace: String::new() };
        let (address, port) = kubelet(&*self.resources.get(&nodes, node)?, node)?;
        let query = PASSED.iter().filter(|key| !params.get(key).is_empty()).map(|key| (key, params.get(key)));
        let query: Vec<String> = query.map(|(key, value)| format!("{key}={}", encode(value))).collect();
        let path = format!("/containerLogs/{}/{name}/{container}?{}", target.namespace, query.join("&"));
        let asked = tokio::time::timeout(ANSWERS, ask(address, port, &path)).await;
        let why = match asked {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(why)) => why,
            Err(_) => format!("it did not answer in {ANSWERS:?}"),
        };
        Err(StatusError::internal(format!("Get \"https://{address}:{port}{path}\": {why}")))
    }
}

fn container(pod: &Value, name: &str, asked: &str) -> Result<String, StatusError> {
    let of = |field: &str| -> Vec<String> {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
    };
    let mut names = of("containers");
    if asked.is_empty() {
        return match names.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(StatusError::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                names.join(" ")
            ))),
        };
    }
    names.extend(of("initContainers"));
    names.extend(of("ephemeralContainers"));
    names
        .into_iter()
        .find(|container| container == asked)
        .ok_or_else(|| StatusError::bad_request(format!("container {asked} is not valid for pod {name}")))
}

/// Where the Node's kubelet is. Only on this host: the API is that of one.
fn kubelet(node: &Value, name: &str) -> Result<(IpAddr, u16), StatusError> {
    let status = &node["status"];
    let mut addresses = status["addresses"].as_array().into_iter().flatten();
    let internal =
        addresses.find(|address| address["type"] == "InternalIP").and_then(|found| found["address"].as_str());
    let port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().and_then(|port| u16::try_from(port).ok());
    let address: Option<IpAddr> = internal.and_then(|address| address.parse().ok());
    match (address.filter(IpAddr::is_loopback), port.filter(|port| *port != 0)) {
        (Some(address), Some(port)) => Ok((address, port)),
        _ => Err(StatusError::internal(format!(
            "Node {name:?} has no kubelet on this host: its status needs an InternalIP that is loopback, and \
             daemonEndpoints.kubeletEndpoint.Port"
        ))),
    }
}

async fn ask(address: IpAddr, port: u16, path: &str) -> Result<Response<Body>, String> {
    let uri: Uri = path.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let request = Request::get(uri).header(header::HOST, "kubelet").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let (parts, body) = upstream::send(SocketAddr::new(address, port), true, request).await?.into_parts();
    let mut passed = Response::new(answer::as_far_as_it_comes(body.into_data_stream()));
    *passed.status_mut() = parts.status;
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        passed.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    Ok(passed)
}

fn encode(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
