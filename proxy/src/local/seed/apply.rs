//! Manifests against the API, as an ordinary client: server-side apply, and prune.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use http::{Method, Request};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList};
use kube::{Client, Error};
use serde_json::{Value, json};

use super::{
    FOLDER, LAST_APPLIED, MANIFEST, Problem,
    merge::three_way,
    read::{self, Document, Files},
};

const MANAGER: &str = "gwtop-manifests";
/// Somebody else may write between our read and our write.
const ATTEMPTS: usize = 5;

/// What an object is called in the API, whatever version it is written in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    group: String,
    kind: String,
    namespace: String,
    name: String,
}

#[derive(Clone, Debug)]
struct Resource {
    base: String,
    plural: String,
    namespaced: bool,
}

impl Resource {
    fn collection(&self, namespace: &str) -> String {
        if self.namespaced {
            format!("{}/namespaces/{namespace}/{}", self.base, self.plural)
        } else {
            format!("{}/{}", self.base, self.plural)
        }
    }
}

/// Applies all files; what no file holds any more is pruned.
pub(super) async fn folder(client: &Client, folder: &str, files: &Files) -> Vec<Problem> {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    // Files that could not be read to their end may still hold what is live.
    let mut broken = BTreeSet::new();
    for (file, content) in files {
        let (found, wrong) = match content {
            Ok(content) => read::parse(file, content),
            Err(reason) => (Vec::new(), vec![Problem::of_file(file, reason)]),
        };
        if !wrong.is_empty() {
            broken.insert(file.clone());
        }
        documents.extend(found);
        problems.extend(wrong);
    }
    documents.sort_by_key(|document| rank(&document.kind));

    let mut api = Api { client, folder, resources: HashMap::new() };
    let mut wanted = BTreeMap::<Id, String>::new();
    let mut waiting = Vec::new();
    for document in &documents {
        let id = api.id(document).await;
        let place = format!("{}:{}", document.file, document.line);
        if let Some(first) = wanted.get(&id) {
            problems.push(document.problem(None, format!("this object is already in {first}; that one is used")));
            continue;
        }
        wanted.insert(id, place);
        if api.apply(document).await.is_err() {
            waiting.push(document);
        }
    }
    // A namespace or a kind may have come with a later document.
    api.resources.retain(|_, resource| resource.is_some());
    for document in waiting {
        if let Err(wrong) = api.apply(document).await {
            problems.extend(wrong);
        }
    }
    if let Err(error) = api.prune(&wanted, &broken).await {
        let message = format!("objects of removed files were not looked for: {}", reason(&error));
        problems.push(Problem { transient: true, ..Problem::of_file("", message) });
    }
    problems
}

/// Kinds that others need come first; the order in which they are pruned is the reverse.
fn rank(kind: &str) -> usize {
    const ORDER: [&str; 9] = [
        "Namespace",
        "CustomResourceDefinition",
        "GatewayClass",
        "Secret",
        "ConfigMap",
        "Service",
        "EndpointSlice",
        "ReferenceGrant",
        "Gateway",
    ];
    ORDER.iter().position(|first| *first == kind).unwrap_or(ORDER.len())
}

struct Api<'a> {
    client: &'a Client,
    folder: &'a str,
    resources: HashMap<(String, String), Option<Resource>>,
}

impl Api<'_> {
    async fn id(&mut self, document: &Document) -> Id {
        let resource = self.resource(document).await.ok().flatten();
        let namespaced = resource.is_none_or(|resource| resource.namespaced);
        let namespace = if namespaced { document.namespace.as_deref().unwrap_or("default") } else { "" };
        Id {
            group: document.group().to_owned(),
            kind: document.kind.clone(),
            namespace: namespace.to_owned(),
            name: document.name.clone(),
        }
    }

    /// `None`: no such kind is served.
    async fn resource(&mut self, document: &Document) -> Result<Option<Resource>, Error> {
        let key = (document.api_version.clone(), document.kind.clone());
        if let Some(known) = self.resources.get(&key) {
            return Ok(known.clone());
        }
        let found = match self.resources_of(&document.api_version).await {
            Ok(found) => found,
            Err(Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => return Err(error),
        };
        let found = found.into_iter().find(|(kind, _)| *kind == document.kind).map(|(_, resource)| resource);
        self.resources.insert(key, found.clone());
        Ok(found)
    }

    async fn resources_of(&self, api_version: &str) -> Result<Vec<(String, Resource)>, Error> {
        let base =
            if api_version.contains('/') { format!("/apis/{api_version}") } else { format!("/api/{api_version}") };
        let list: APIResourceList = self.send(Method::GET, &base, None).await?;
        Ok(list
            .resources
            .into_iter()
            .filter(|resource| !resource.name.contains('/') && resource.verbs.iter().any(|verb| verb == "list"))
            .map(|found| {
                let resource = Resource { base: base.clone(), plural: found.name, namespaced: found.namespaced };
                (found.kind, resource)
            })
            .collect())
    }

    async fn apply(&mut self, document: &Document) -> Result<(), Vec<Problem>> {
        let resource = match self.resource(document).await {
            Ok(Some(resource)) => resource,
            Ok(None) => {
                let message = format!(
                    "the API serves no kind {} in {}; correct it, or register its CustomResourceDefinition first",
                    document.kind, document.api_version
                );
                return Err(vec![document.problem(Some("kind"), message)]);
            }
            Err(error) => return Err(problems(document, &error)),
        };
        let namespace = document.namespace.as_deref().unwrap_or("default");
        let mut wanted = document.object.clone();
        if resource.namespaced {
            wanted["metadata"]["namespace"] = json!(namespace);
        } else if let Some(metadata) = wanted["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        let path = format!("{}/{}", resource.collection(namespace), document.name);
        for _ in 1..ATTEMPTS {
            match self.write(document, &path, &wanted).await {
                Err(Error::Api(status)) if status.code == 409 => {}
                written => return written.map_err(|error| problems(document, &error)),
            }
        }
        let written = self.write(document, &path, &wanted).await;
        written.map_err(|error| problems(document, &error))
    }

    /// Server-side apply of what the file names. What it did not change since it was applied last
    /// is said as it is live, so that it overwrites nobody: lists without keys are one field.
    async fn write(&self, document: &Document, path: &str, wanted: &Value) -> Result<(), Error> {
        let live = match self.send::<Value>(Method::GET, path, None).await {
            Ok(live) => Some(live),
            Err(Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(error),
        };
        let (last, ours) = live
            .as_ref()
            .map_or((Value::Null, true), |live| (last_applied(live), annotation(live, MANIFEST).is_some()));
        let mut told = vec![(LAST_APPLIED, wanted.to_string())];
        if ours {
            told.push((MANIFEST, document.file.clone()));
            told.push((FOLDER, self.folder.to_owned()));
        }
        let as_told = |live: &Value| {
            last == *wanted
                && told.iter().all(|(key, value)| *key == LAST_APPLIED || annotation(live, key) == Some(value))
        };
        if live.as_ref().is_some_and(as_told) {
            return Ok(());
        }
        let mut config = match &live {
            Some(live) => named(&three_way(&last, wanted, live), wanted),
            None => wanted.clone(),
        };
        if let Some(live) = &live {
            // Whoever writes meanwhile is not overwritten either: it is read again.
            config["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        }
        let annotations = &mut config["metadata"]["annotations"];
        if !annotations.is_object() {
            *annotations = json!({});
        }
        for (key, value) in told {
            annotations[key] = json!(value);
        }
        let path = format!("{path}?fieldManager={MANAGER}&force=true&fieldValidation=Strict");
        let written: Value = self.send(Method::PATCH, &path, Some(&config)).await?;
        let version = written["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        tracing::info!(file = document.file, kind = document.kind, name = document.name, version, "manifest applied");
        Ok(())
    }

    /// Deletes what came from this folder and is in none of its files any more.
    async fn prune(&self, wanted: &BTreeMap<Id, String>, broken: &BTreeSet<String>) -> Result<(), Error> {
        let groups: APIGroupList = self.send(Method::GET, "/apis", None).await?;
        let mut versions = vec![(String::new(), "v1".to_owned())];
        versions.extend(groups.groups.into_iter().filter_map(|group| {
            let version = group.preferred_version.or_else(|| group.versions.into_iter().next())?;
            Some((group.name, version.group_version))
        }));
        let mut gone = Vec::new();
        for (group, version) in versions {
            for (kind, resource) in self.resources_of(&version).await? {
                let path = format!("{}/{}", resource.base, resource.plural);
                for object in self.list(&path).await? {
                    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
                    let id = Id {
                        group: group.clone(),
                        kind: kind.clone(),
                        namespace: text("namespace"),
                        name: text("name"),
                    };
                    let from_here = annotation(&object, FOLDER) == Some(self.folder)
                        && annotation(&object, MANIFEST).is_some_and(|file| !broken.contains(file));
                    if from_here && !wanted.contains_key(&id) && object["metadata"]["deletionTimestamp"].is_null() {
                        gone.push((
                            id,
                            format!("{}/{}", resource.collection(&text("namespace")), text("name")),
                            text("uid"),
                        ));
                    }
                }
            }
        }
        gone.sort_by_key(|(id, ..)| std::cmp::Reverse(rank(&id.kind)));
        for (id, path, uid) in gone {
            let options = json!({
                "apiVersion": "v1", "kind": "DeleteOptions",
                "propagationPolicy": "Background", "preconditions": { "uid": uid },
            });
            match self.send::<Value>(Method::DELETE, &path, Some(&options)).await {
                Ok(_) => tracing::info!(kind = id.kind, namespace = id.namespace, name = id.name, "manifest removed"),
                // Gone already, or replaced by another object of the same name.
                Err(Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn list(&self, path: &str) -> Result<Vec<Value>, Error> {
        let (mut items, mut more) = (Vec::new(), String::new());
        loop {
            let mut page: Value = self.send(Method::GET, &format!("{path}?limit=500{more}"), None).await?;
            if let Value::Array(page) = page["items"].take() {
                items.extend(page);
            }
            match page["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => more = format!("&continue={}", encoded(token)),
                _ => return Ok(items),
            }
        }
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let content = if method == Method::PATCH { "application/apply-patch+yaml" } else { "application/json" };
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(http::header::CONTENT_TYPE, content);
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        self.client.request(request.body(body).map_err(Error::HttpError)?).await
    }
}

/// Of the object only the fields that the file names; lists stay whole.
fn named(object: &Value, file: &Value) -> Value {
    match (object, file) {
        (Value::Object(object), Value::Object(file)) => {
            let both = file.iter().filter_map(|(key, file)| Some((key.clone(), named(object.get(key)?, file))));
            Value::Object(both.collect())
        }
        _ => object.clone(),
    }
}

fn encoded(token: &str) -> String {
    token.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

fn annotation<'v>(object: &'v Value, key: &str) -> Option<&'v str> {
    object["metadata"]["annotations"][key].as_str()
}

fn last_applied(live: &Value) -> Value {
    annotation(live, LAST_APPLIED).and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
}

fn reason(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// What the API said against a document, field by field where it says so.
fn problems(document: &Document, error: &Error) -> Vec<Problem> {
    let Error::Api(status) = error else {
        return vec![Problem {
            transient: true,
            ..document.problem(None, format!("the API could not be asked: {error}"))
        }];
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut found: Vec<_> = causes
        .filter(|cause| !cause.field.is_empty() && cause.field != "<nil>")
        .map(|cause| document.problem(Some(&cause.field), cause.message.clone()))
        .collect();
    if found.is_empty() {
        // `strict decoding error: unknown field "spec.foo", unknown field "spec.bar"`
        let unknown = status.message.split("unknown field \"").skip(1).filter_map(|rest| rest.split_once('"'));
        found.extend(
            unknown.map(|(field, _)| document.problem(Some(field), format!("{} has no such field", document.kind))),
        );
    }
    if found.is_empty() {
        let no_namespace = status.code == 404 && document.kind != "Namespace" && status.message.contains("namespaces");
        let namespace = document.namespace.as_deref().unwrap_or("default");
        found.push(if no_namespace {
            let message = format!("there is no namespace {namespace:?}; add a manifest of it or create it");
            // Someone may create it any time.
            Problem { transient: true, ..document.problem(Some("metadata.namespace"), message) }
        } else {
            Problem { transient: matches!(status.code, 409 | 429 | 500..), ..document.problem(None, reason(error)) }
        });
    }
    found
}
