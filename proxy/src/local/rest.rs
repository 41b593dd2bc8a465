//! The REST protocol: from an HTTP request to a verb and back.

mod accept;
mod answer;
mod body;
mod gzip;
pub(super) mod log;
mod options;
pub(super) mod proxy;
mod request;
mod upstream;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::accept::{Accept, Shape};
use self::body::{Decoded, decode};
use self::request::{Params, Path, Resource};
use super::auth::Auth;
use super::discovery::Form;
use super::go;
use super::limits::{Limits, SIZE};
use super::managed::{self, Scaling};
use super::patch::Patch;
use super::selector::Selector;
use super::status::StatusError;
use super::store::{Snapshot, Unreachable};
use super::table;
use super::verbs::{Collected, DeleteOptions, FieldValidation, Resources, Target, Written, as_version};
use super::watch::{self, Start};
use super::{discovery, openapi};

/// How long a list waits for a revision that does not exist yet.
const FRESH: std::time::Duration = std::time::Duration::from_secs(3);

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) std::net::IpAddr);

pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// Answers every request of the API.
#[derive(Clone)]
pub(super) struct Rest {
    pub(super) resources: Resources,
    pub(super) auth: Arc<Auth>,
    /// Ends the watches when the server stops.
    pub(super) stop: CancellationToken,
    pub(super) limits: Limits,
}

impl Rest {
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let accept = Accept::of(request.headers());
        // OpenAPI v3 is kept by clients under its hash, and served as it is.
        let gzip = gzip::wanted(request.headers()) && !request.uri().path().starts_with("/openapi/v3");
        let response = match self.try_answer(request, accept).await {
            Ok(response) => response,
            Err(error) => answer::failure(&error, accept),
        };
        if gzip { gzip::compressed(response).await } else { response }
    }

    async fn try_answer<B>(&self, request: Request<B>, accept: Accept) -> Result<Response<Body>, StatusError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        self.auth.check_host(&request)?;
        if let Some(asked) = proxy::Asked::of(request.uri().path()) {
            self.auth.check_token(request.headers())?;
            return self.proxied(request, &asked).await;
        }
        let path = Path::parse(request.uri().path())?;
        self.auth.check_token(request.headers())?;
        let params = Params::parse(request.uri().query().unwrap_or_default());
        match path {
            Path::Unknown => Ok(answer::text(404, "404 page not found\n")),
            Path::Resource(resource) => {
                let Resource { group, version, plural, .. } = &resource;
                let warning =
                    self.resources.registry.find(group, version, plural).and_then(|kind| kind.warning.clone());
                let answer = self.resource(request, accept, resource, &params).await;
                let mut response = answer.unwrap_or_else(|error| answer::failure(&error, accept));
                answer::warn(&mut response, warning.into_iter());
                Ok(response)
            }
            _ if request.method() != Method::GET => Err(StatusError::method_not_allowed()),
            Path::Version => Ok(answer::json(200, &discovery::version())),
            Path::OpenApi(path) => match openapi::document(&self.resources, &path) {
                Some(document) => Ok(answer::document(&document, request.headers(), "application/json")),
                None => Ok(answer::text(404, "404 page not found\n")),
            },
            Path::Discovery(path) => {
                let form = match accept.shape {
                    Shape::Discovery(version) => Form::Aggregated(version),
                    _ => Form::Plain,
                };
                match discovery::document(&self.resources.registry, &path, form) {
                    Some((document, aggregated)) => {
                        let version = match form {
                            Form::Aggregated(version) if aggregated => Some(version),
                            _ => None,
                        };
                        Ok(answer::discovery(&document, version, request.headers()))
                    }
                    None => Ok(answer::text(404, "404 page not found\n")),
                }
            }
        }
    }

    async fn resource<B>(
        &self,
        request: Request<B>,
        accept: Accept,
        resource: Resource,
        params: &Params,
    ) -> Result<Response<Body>, StatusError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let Resource { group, version, plural, namespace, name, subresource, watch } = resource;
        let found = self.resources.registry.find(&group, &version, &plural);
        if found.is_none() && !self.resources.registry.serves(&group, &version) {
            return Ok(answer::text(404, "404 page not found\n"));
        }
        let named = name.as_deref().is_none_or(|name| !name.contains('/'));
        let Some(kind) = found.filter(|kind| named && (kind.namespaced || namespace.is_none())) else {
            return Err(StatusError::no_resource());
        };
        if let Some(name) = name.as_deref().filter(|name| [".", ".."].contains(name) || name.contains('%')) {
            let why =
                if name.contains('%') { "may not contain '%'".to_owned() } else { format!("may not be '{name}'") };
            return Err(StatusError::bad_request(format!("Name parameter invalid: {name:?}: {why}")));
        }
        if let (Some("log"), Some(name), true) = (subresource.as_deref(), &name, log::has(&kind)) {
            if request.method() != Method::GET {
                return Err(StatusError::method_not_allowed());
            }
            let target = Target { kind: kind.clone(), version, namespace: namespace.unwrap_or_default() };
            return self.log(&target, name, params).await;
        }
        if let (Some("scale"), Some(name), true) = (subresource.as_deref(), &name, kind.scale.is_some()) {
            let target = Target { kind: kind.clone(), version, namespace: namespace.unwrap_or_default() };
            return self.scale(request, accept, &target, name, params).await;
        }
        let status = match subresource.as_deref() {
            None => false,
            Some("status") if kind.has_status => true,
            Some(_) => return Err(StatusError::no_resource()),
        };
        if !accept.acceptable {
            return Err(StatusError::not_acceptable());
        }
        let everywhere = kind.namespaced && namespace.is_none();
        let target = Target { kind: kind.clone(), version, namespace: namespace.unwrap_or_default() };
        let method = request.method().clone();
        let agent = agent(&request);
        if kind.ephemeral && method != Method::POST {
            return Err(StatusError::method_not_allowed());
        }
        let watching = watch || params.is_true("watch");
        match (method, name) {
            (Method::GET, None) if watching => self.watch(&target, accept, params, None).await,
            (Method::GET, None) => self.list(&target, accept, params).await,
            // Whoever asks for one object gets that, whatever the query says.
            (Method::GET, Some(name)) if watch && !everywhere => self.watch(&target, accept, params, Some(name)).await,
            (Method::GET, Some(name)) => {
                if everywhere {
                    return Err(StatusError::no_resource());
                }
                if let Some(revision) = params.get_options()? {
                    self.await_revision(revision).await?;
                }
                let object = self.resources.get(&target, &name)?;
                self.one(200, &target, accept, params, &object)
            }
            // Reviews may be created without a namespace; whatever is stored needs one.
            (Method::POST, None) if !everywhere => {
                let options = params.write_options("CreateOptions", false, &agent)?;
                let content = content_type(&request);
                let Decoded { value: body, duplicates } =
                    decode(&content, &kind.kind, &read(request, self.limits.body).await?)?;
                check_duplicates(&target, &duplicates, params)?;
                let written = self.resources.create(&target, body, options).await?;
                self.written(201, &target, accept, params, &written).map(|answer| warned(answer, duplicates, params))
            }
            (Method::PUT, Some(name)) if !everywhere => {
                let options = params.write_options("UpdateOptions", false, &agent)?;
                let content = content_type(&request);
                let Decoded { value: body, duplicates } =
                    decode(&content, &kind.kind, &read(request, self.limits.body).await?)?;
                check_duplicates(&target, &duplicates, params)?;
                let written = self.resources.update(&target, &name, status, body, options).await?;
                self.written(200, &target, accept, params, &written).map(|answer| warned(answer, duplicates, params))
            }
            (Method::PATCH, Some(name)) if !everywhere => {
                let content = content_type(&request);
                Patch::check_type(&kind, &content)?;
                let body = read(request, self.limits.body).await?;
                let options = params.write_options("PatchOptions", Patch::is_apply(&content), &agent)?;
                let patch = Patch::parse(&content, &body, options.validation == FieldValidation::Strict);
                let written = self.resources.patch(&target, &name, status, patch, options).await?;
                let code = if written.created { 201 } else { 200 };
                self.written(code, &target, accept, params, &written)
            }
            (Method::DELETE, Some(name)) if !everywhere && !status => {
                let options = delete_options(request, params, self.limits.body).await?;
                let gone = self.resources.delete(&target, &name, options).await?;
                Ok(answer::encode(200, accept, &gone))
            }
            (Method::DELETE, None) if !everywhere => {
                let selector = self.selector(&target, params, None)?;
                let options = delete_options(request, params, self.limits.body).await?;
                let unselected = selector == Selector::default();
                let limit = params.page()?.limit.unwrap_or(usize::MAX);
                let Collected { gone, left } =
                    self.resources.delete_collection(&target, selector, limit, options).await?;
                let revision = self.resources.store.revision();
                let mut metadata = json!({"resourceVersion": revision.to_string()});
                if let (1.., Some(last)) = (left, gone.last()) {
                    let last = kind.key(&target.namespace, last["metadata"]["name"].as_str().unwrap_or_default());
                    metadata["continue"] = options::continuation(revision, &last, false).into();
                    if unselected {
                        metadata["remainingItemCount"] = left.into();
                    }
                }
                self.many(&target, accept, params, metadata, &gone)
            }
            _ => Err(StatusError::method_not_allowed()),
        }
    }

    async fn scale<B>(
        &self,
        request: Request<B>,
        accept: Accept,
        target: &Target,
        name: &str,
        params: &Params,
    ) -> Result<Response<Body>, StatusError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let (agent, content) = (agent(&request), content_type(&request));
        let scale = match *request.method() {
            Method::GET => self.resources.scale_of(target, name)?,
            Method::PUT => {
                let options = params.write_options("UpdateOptions", false, &agent)?;
                let body = decode(&content, "Scale", &read(request, self.limits.body).await?)?.value;
                self.resources.set_scale(target, name, options, Scaling::Updated, move |_| Ok(body)).await?
            }
            Method::PATCH => {
                let applies = Patch::is_apply(&content);
                Patch::check_type(&target.kind, &content)?;
                let body = read(request, self.limits.body).await?;
                let options = params.write_options("PatchOptions", applies, &agent)?;
                let patch = Patch::parse(&content, &body, options.validation == FieldValidation::Strict);
                let scaling = if applies { Scaling::Applied { force: options.force } } else { Scaling::Updated };
                let change = move |old: Value| {
                    if let Some(config) = patch.applied() {
                        return Ok(config.clone());
                    }
                    let mut new = patch.patched(&managed::Shape::Any, old.clone())?;
                    // A patch that does not speak of the revision does not insist on one.
                    if new["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"] {
                        new["metadata"]["resourceVersion"] = Value::Null;
                    }
                    Ok(new)
                };
                self.resources.set_scale(target, name, options, scaling, change).await?
            }
            _ => return Err(StatusError::method_not_allowed()),
        };
        Ok(answer::encode(200, accept, &scale))
    }

    fn selector(&self, target: &Target, params: &Params, name: Option<&str>) -> Result<Selector, StatusError> {
        let mut fields = params.get("fieldSelector").to_owned();
        if let Some(name) = name {
            if !fields.is_empty() {
                fields.push(',');
            }
            fields.push_str("metadata.name=");
            fields.push_str(name);
        }
        Selector::parse(&target.kind, params.get("labelSelector"), &fields)
    }

    /// Waits a moment for a revision that another answer has promised.
    async fn await_revision(&self, revision: u64) -> Result<(), StatusError> {
        let store = &self.resources.store;
        match tokio::time::timeout(FRESH, store.reached(revision)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(StatusError::revision_too_large(revision, store.revision())),
        }
    }

    async fn list(&self, target: &Target, accept: Accept, params: &Params) -> Result<Response<Body>, StatusError> {
        let kind = &target.kind;
        let selector = self.selector(target, params, None)?;
        let mut page = params.page()?;
        if let Some((namespace, _)) = &mut page.after
            && namespace.is_empty()
        {
            namespace.clone_from(&target.namespace);
        }
        if let Some(revision) = page.at.or(page.not_older) {
            self.await_revision(revision).await?;
        }
        let within = (!target.namespace.is_empty()).then_some(target.namespace.as_str());
        let Snapshot { revision, items } =
            self.resources.store.list(kind.stored().0, kind.stored().1, within, page.at).map_err(|why| match why {
                Unreachable::Future { current } => StatusError::revision_too_large(page.at.unwrap_or(0), current),
                Unreachable::Compacted { .. } => StatusError::expired(page.too_old()),
            })?;
        let mut left = items
            .into_iter()
            .filter(|(key, _)| page.after.as_ref().is_none_or(|(ns, name)| (&key.namespace, &key.name) > (ns, name)))
            .filter(|(key, object)| selector.matches(key, object));
        let limit = page.limit.unwrap_or(usize::MAX);
        let mut shown = Vec::new();
        let mut last = None;
        for (key, object) in left.by_ref().take(limit) {
            shown.push(object);
            last = Some(key);
        }
        let remaining = left.count();
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if let (1.., Some(last)) = (remaining, last) {
            metadata["continue"] =
                options::continuation(revision, &last, kind.namespaced && target.namespace.is_empty()).into();
            if selector == Selector::default() {
                metadata["remainingItemCount"] = remaining.into();
            }
        }
        self.many(target, accept, params, metadata, &shown)
    }

    fn many(
        &self,
        target: &Target,
        accept: Accept,
        params: &Params,
        metadata: Value,
        shown: &[Arc<Value>],
    ) -> Result<Response<Body>, StatusError> {
        let answer = match accept.shape {
            Shape::Table => {
                let include = params.include()?;
                let rows = shown.iter().map(|object| self.row(target, object, include)).collect();
                table::table(metadata, table::columns(&target.kind), rows)
            }
            Shape::Partial => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "items": shown.iter().map(|object| table::partial(object)).collect::<Vec<_>>(),
            }),
            _ => list_of(target, metadata, shown.iter().map(|object| item(target, object)).collect()),
        };
        Ok(answer::encode(200, accept, &answer))
    }

    fn row(&self, target: &Target, object: &Value, include: table::Include) -> Value {
        match include {
            table::Include::Object => {
                table::row(&target.kind, &as_version(object, &target.kind, &target.version), include)
            }
            _ => table::row(&target.kind, object, include),
        }
    }

    async fn watch(
        &self,
        target: &Target,
        accept: Accept,
        params: &Params,
        name: Option<String>,
    ) -> Result<Response<Body>, StatusError> {
        let selector = self.selector(target, params, name.as_deref())?;
        let (start, timeout) = params.watch_options()?;
        if let Start::Listed(revision) = start {
            self.await_revision(revision).await?;
        }
        let stream = watch::Watch {
            store: self.resources.store.clone(),
            target: target.clone(),
            selector,
            start,
            bookmarks: params.is_true("allowWatchBookmarks"),
            timeout,
            shape: match accept.shape {
                Shape::Table => watch::Shape::Table(params.include()?),
                Shape::Partial => watch::Shape::Partial,
                _ => watch::Shape::Object,
            },
            stop: self.stop.clone(),
            stall: self.limits.stall,
        };
        Ok(answer::stream(stream.run()))
    }

    fn written(
        &self,
        code: u16,
        target: &Target,
        accept: Accept,
        params: &Params,
        written: &Written,
    ) -> Result<Response<Body>, StatusError> {
        let mut response = self.one(code, target, accept, params, &written.object)?;
        if params.get("fieldValidation") != "Ignore" {
            answer::warn(&mut response, written.unknown.iter().map(|path| format!("unknown field {path:?}")));
        }
        Ok(response)
    }

    fn one(
        &self,
        code: u16,
        target: &Target,
        accept: Accept,
        params: &Params,
        object: &Value,
    ) -> Result<Response<Body>, StatusError> {
        let object = as_version(object, &target.kind, &target.version);
        let shaped = match accept.shape {
            Shape::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let rows = vec![table::row(&target.kind, &object, params.include()?)];
                table::table(metadata, table::columns(&target.kind), rows)
            }
            Shape::Partial => table::partial(&object),
            _ => object,
        };
        Ok(answer::encode(code, accept, &shaped))
    }
}

fn list_of(target: &Target, metadata: Value, items: Vec<Value>) -> Value {
    let kind = &target.kind;
    let mut list = json!({"kind": kind.list_kind(), "apiVersion": kind.api_version(&target.version)});
    list["metadata"] = metadata;
    list["items"] = Value::Array(items);
    list
}

/// An item of a list: kinds with a Go type do not repeat their kind there.
fn item(target: &Target, object: &Value) -> Value {
    let mut object = as_version(object, &target.kind, &target.version);
    if let (true, Some(object)) = (target.kind.typed, object.as_object_mut()) {
        object.remove("apiVersion");
        object.remove("kind");
    }
    object
}

fn content_type<B>(request: &Request<B>) -> String {
    let header = request.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    header.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Who writes where no field manager is named: the client's name in its `User-Agent`.
fn agent<B>(request: &Request<B>) -> String {
    let header = request.headers().get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
    header.unwrap_or_default().split('/').next().unwrap_or_default().to_owned()
}

async fn read<B>(request: Request<B>, within: std::time::Duration) -> Result<Bytes, StatusError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let mut body = std::pin::pin!(request.into_body());
    let mut read = Vec::new();
    let deadline = tokio::time::Instant::now() + within;
    loop {
        let next = tokio::time::timeout_at(deadline, body.as_mut().frame()).await;
        let Some(frame) = next.map_err(|_| StatusError::bad_request("the body did not arrive in time"))? else { break };
        let frame = frame.map_err(|error| StatusError::bad_request(format!("the body cannot be read: {error}")))?;
        if let Ok(data) = frame.into_data() {
            if read.len() + data.len() > SIZE {
                return Err(StatusError::too_large(SIZE));
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.into())
}

/// What was said twice is an error or a warning, as the client wants.
fn check_duplicates(target: &Target, duplicates: &[String], params: &Params) -> Result<(), StatusError> {
    if duplicates.is_empty() || params.get("fieldValidation") != "Strict" {
        return Ok(());
    }
    let yaml = if duplicates[0].starts_with("line ") { "yaml: unmarshal errors:\n  " } else { "" };
    let (kind, all) = (&target.kind.kind, duplicates.join(", "));
    Err(StatusError::bad_request(format!(
        "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {yaml}{all}",
        target.version
    )))
}

fn warned(mut answer: Response<Body>, duplicates: Vec<String>, params: &Params) -> Response<Body> {
    if params.get("fieldValidation") != "Ignore" {
        answer::warn(&mut answer, duplicates.into_iter());
    }
    answer
}

async fn delete_options<B>(
    request: Request<B>,
    params: &Params,
    within: std::time::Duration,
) -> Result<DeleteOptions, StatusError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let content = content_type(&request);
    let body = read(request, within).await?;
    let body = if body.is_empty() { Value::Null } else { decode(&content, "DeleteOptions", &body)?.value };
    let named = body["kind"].as_str().filter(|kind| !kind.is_empty() && *kind != "DeleteOptions");
    if let (Some(kind), Some(version)) = (named, body["apiVersion"].as_str()) {
        return Err(StatusError::bad_request(go::unregistered(kind, version)));
    }
    params.delete_options(&body)
}
