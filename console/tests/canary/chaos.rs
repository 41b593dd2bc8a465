//! Stands between gwtop and the API, and spoils what it is told to.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What happens instead of an answer.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// This answer; the API never hears of the request.
    Answer(u16),
    /// No answer for longer than anyone waits.
    Hang,
    /// The connection breaks before the request gets through.
    DropBefore,
    /// The request is done, and the connection breaks before its answer.
    DropAfter,
    /// Somebody else edits the object just before the request gets through.
    EditBefore,
}

/// What `EditBefore` makes the only host name.
pub const EDITED: &str = "other.example";

struct Rule {
    fault: Fault,
    method: Method,
    path: String,
    /// How many are let through first.
    after: u32,
    times: u32,
}

pub struct Chaos {
    rules: Mutex<Vec<Rule>>,
    api: SocketAddr,
    http: reqwest::Client,
    /// How many requests were spoilt.
    pub spoilt: Mutex<u32>,
}

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

fn broken() -> std::io::Error {
    std::io::Error::other("broken on purpose")
}

impl Chaos {
    /// Whoever calls sends the credentials.
    pub async fn start(api: SocketAddr) -> (Arc<Self>, String) {
        let http = reqwest::Client::builder().danger_accept_invalid_certs(true).no_proxy().build().unwrap();
        let chaos = Arc::new(Self { rules: Mutex::default(), api, http, spoilt: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = chaos.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let chaos = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let chaos = chaos.clone();
                        async move { chaos.answer(request).await }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        (chaos, url)
    }

    /// The next requests with this method whose path ends so, that many times.
    pub fn spoil(&self, method: Method, path: &str, times: u32, fault: Fault) {
        self.spoil_after(0, method, path, times, fault);
    }

    /// As `spoil`, once so many went through.
    pub fn spoil_after(&self, after: u32, method: Method, path: &str, times: u32, fault: Fault) {
        self.rules.lock().unwrap().push(Rule { fault, method, path: path.to_owned(), after, times });
    }

    pub fn spare(&self) {
        self.rules.lock().unwrap().clear();
    }

    fn fault(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule =
            rules.iter_mut().find(|rule| rule.times > 0 && rule.method == *method && path.ends_with(&rule.path))?;
        if rule.after > 0 {
            rule.after -= 1;
            return None;
        }
        rule.times -= 1;
        *self.spoilt.lock().unwrap() += 1;
        Some(rule.fault)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, std::io::Error> {
        let fault = self.fault(request.method(), request.uri().path());
        match fault {
            Some(Fault::Answer(code)) => return Ok(status(code)),
            Some(Fault::Hang) => tokio::time::sleep(Duration::from_secs(3600)).await,
            Some(Fault::DropBefore) => return Err(broken()),
            Some(Fault::EditBefore) => self.edit(&request).await,
            Some(Fault::DropAfter) | None => {}
        }
        let answer = self.forward(request).await?;
        if let Some(Fault::DropAfter) = fault {
            return Err(broken());
        }
        Ok(answer)
    }

    async fn edit(&self, request: &Request<Incoming>) {
        let mut headers = request.headers().clone();
        for name in ["host", "content-length", "content-type"] {
            headers.remove(name);
        }
        let edit = serde_json::json!({"spec": {"hostnames": [EDITED]}}).to_string();
        let url = format!("https://{}{}", self.api, request.uri().path());
        let patch = self.http.patch(url).headers(headers).header("content-type", "application/merge-patch+json");
        let answer = patch.body(edit).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Answer, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| broken())?.to_bytes();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = parts.headers;
        headers.remove("host");
        let sent = self
            .http
            .request(parts.method, format!("https://{}{path}", self.api))
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(|_| broken())?;
        let mut answer = Response::builder().status(sent.status());
        for (name, value) in sent.headers() {
            if name != "transfer-encoding" && name != "content-length" {
                answer = answer.header(name, value);
            }
        }
        // A watch is passed on as it comes.
        let stream = futures::stream::unfold(sent, |mut sent| async {
            match sent.chunk().await {
                Ok(Some(bytes)) => Some((Ok(Frame::data(bytes)), sent)),
                Ok(None) => None,
                Err(_) => Some((Err(broken()), sent)),
            }
        });
        answer.body(StreamBody::new(stream.boxed()).boxed_unsync()).map_err(|_| broken())
    }
}

/// A `Status` as the API makes it.
fn status(code: u16) -> Answer {
    let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("spoilt with {code}"), "reason": "Spoilt", "code": code,
        "details": {"retryAfterSeconds": 1}});
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}
