//! Everything as YAML and back: what is in one API can be put into another.

use std::collections::{BTreeSet, HashMap};

use kube::api::{ApiResource, DynamicObject, ListParams, PatchParams, PostParams};
use kube::discovery::{ApiCapabilities, Scope, verbs};
use kube::{Api, Client, Discovery};
use serde_json::{Map, Value};

use super::seed;

/// Objects a request, when listing.
const PAGE: u32 = 500;
/// What a server writes itself and a new one would not keep.
const SERVER_FIELDS: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

#[derive(Debug, thiserror::Error)]
pub enum PortableError {
    #[error("the API does not answer: {0}")]
    Api(#[from] kube::Error),
    #[error("no kind {0:?} is served: name it as `kubectl api-resources` does, such as httproutes or configmaps")]
    Kind(String),
    #[error("{0}")]
    Read(String),
}

/// What to export.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Plural, kind or `plural.group`; none is all but Events and Leases, which are of the moment.
    pub kinds: Vec<String>,
    /// One namespace's objects, or with `None` everything.
    pub namespace: Option<String>,
    /// Keep what the server wrote, status included.
    pub server_fields: bool,
}

/// What an import did with one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Configured,
    Unchanged,
}

/// Reads the selected objects, in the order of their kinds and names.
pub async fn export(client: &Client, selection: &Selection) -> Result<Vec<Value>, PortableError> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut served = resources(&discovery);
    served.sort_by_key(|(resource, _)| (rank(&resource.kind), resource.group.clone(), resource.plural.clone()));
    for wanted in &selection.kinds {
        if !served.iter().any(|(resource, _)| is_called(resource, wanted)) {
            return Err(PortableError::Kind(wanted.clone()));
        }
    }
    let mut all = Vec::new();
    for (resource, capabilities) in &served {
        let momentary = ["Event", "Lease"].contains(&resource.kind.as_str());
        let chosen = match selection.kinds.as_slice() {
            [] => !momentary,
            kinds => kinds.iter().any(|wanted| is_called(resource, wanted)),
        };
        let namespaced = capabilities.scope == Scope::Namespaced;
        if !chosen || !capabilities.supports_operation(verbs::LIST) || !(namespaced || selection.namespace.is_none()) {
            continue;
        }
        let api: Api<DynamicObject> = match &selection.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
            None => Api::all_with(client.clone(), resource),
        };
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = api.list(&params).await?;
            for object in page.items {
                let mut object =
                    serde_json::to_value(object).map_err(|error| PortableError::Read(error.to_string()))?;
                object["apiVersion"] = resource.api_version.as_str().into();
                object["kind"] = resource.kind.as_str().into();
                if !selection.server_fields {
                    strip(&mut object);
                }
                all.push(object);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(all)
}

/// The objects as documents of a YAML stream.
pub fn to_yaml(objects: &[Value]) -> Result<String, PortableError> {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        let yaml = serde_saphyr::to_string(&ordered(object)).map_err(|error| PortableError::Read(error.to_string()))?;
        text.push_str(&yaml);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

/// The objects of a stream of YAML or JSON documents, with those of lists taken out.
pub fn from_yaml(text: &str) -> Result<Vec<Value>, PortableError> {
    let mut all = Vec::new();
    for (before, document) in seed::split(text) {
        let object: Value = serde_saphyr::from_str(&document)
            .map_err(|error| PortableError::Read(format!("the document after line {before}: {error}")))?;
        match object {
            Value::Null => {}
            Value::Object(mut list)
                if list.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"))
                    && list.get("items").is_some_and(Value::is_array) =>
            {
                if let Some(Value::Array(items)) = list.remove("items") {
                    all.extend(items);
                }
            }
            object => all.push(object),
        }
    }
    Ok(all)
}

/// Writes the objects, owners before what they own. `told` hears of each; one that is refused
/// does not stop the others.
pub async fn import(
    client: &Client,
    objects: Vec<Value>,
    mut told: impl FnMut(&str, Result<Outcome, String>),
) -> Result<(), PortableError> {
    let mut left = objects;
    left.sort_by_key(|object| rank(object["kind"].as_str().unwrap_or_default()));
    let mut served = resources(&Discovery::new(client.clone()).run().await?);
    // Owners by what they are called; their uids are new ones here.
    let mut uids: HashMap<[String; 4], String> = HashMap::new();
    let mut waiting: BTreeSet<[String; 4]> = left.iter().map(name).collect();
    let mut definitions = false;
    while !left.is_empty() {
        let ready = |object: &Value| owners(object).all(|owner| !waiting.contains(&owner) || owner == name(object));
        // Circles of owners are broken by their first object.
        let next = left.iter().position(ready).unwrap_or(0);
        let mut object = left.remove(next);
        let called = name(&object);
        let shown = shown(&called);
        waiting.remove(&called);
        if rank(&called[1]) > rank("CustomResourceDefinition") && std::mem::take(&mut definitions) {
            served = resources(&Discovery::new(client.clone()).run().await?);
        }
        definitions |= called[1] == "CustomResourceDefinition";
        strip(&mut object);
        adopt(&mut object, &called[2], &uids);
        let written = match served.iter().find(|(found, _)| found.api_version == called[0] && found.kind == called[1]) {
            Some((resource, capabilities)) => write(client, resource, capabilities, object).await,
            None => Err(format!("this API does not serve {} {}", called[0], called[1])),
        };
        told(
            &shown,
            written.map(|(uid, outcome)| {
                uids.insert(called, uid);
                outcome
            }),
        );
    }
    Ok(())
}

async fn write(
    client: &Client,
    resource: &ApiResource,
    capabilities: &ApiCapabilities,
    object: Value,
) -> Result<(String, Outcome), String> {
    let object: DynamicObject = serde_json::from_value(object).map_err(|error| format!("is no object: {error}"))?;
    let name = object.metadata.name.clone().ok_or("has no name")?;
    let api: Api<DynamicObject> = match (&capabilities.scope, object.metadata.namespace.as_deref()) {
        (Scope::Namespaced, namespace) => {
            Api::namespaced_with(client.clone(), namespace.unwrap_or("default"), resource)
        }
        (Scope::Cluster, _) => Api::all_with(client.clone(), resource),
    };
    let told = |error: kube::Error| match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    };
    let uid = |object: &DynamicObject| object.metadata.uid.clone().unwrap_or_default();
    let Some(present) = api.get_opt(&name).await.map_err(told)? else {
        let made = api.create(&PostParams::default(), &object).await.map_err(told)?;
        return Ok((uid(&made), Outcome::Created));
    };
    let wanted = serde_json::to_value(&object).map_err(|error| error.to_string())?;
    let patch = kube::api::Patch::Merge(&wanted);
    let written = api.patch(&name, &PatchParams::default(), &patch).await.map_err(told)?;
    let same = written.metadata.resource_version == present.metadata.resource_version;
    Ok((uid(&written), if same { Outcome::Unchanged } else { Outcome::Configured }))
}

/// What is served of each kind, in its best version.
fn resources(discovery: &Discovery) -> Vec<(ApiResource, ApiCapabilities)> {
    discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources).collect()
}

fn is_called(resource: &ApiResource, wanted: &str) -> bool {
    let (name, group) = wanted.split_once('.').map_or((wanted, None), |(name, group)| (name, Some(group)));
    let named = [&resource.plural, &resource.kind].iter().any(|own| own.eq_ignore_ascii_case(name));
    named && group.is_none_or(|group| group.eq_ignore_ascii_case(&resource.group))
}

/// What others need comes first.
fn rank(kind: &str) -> usize {
    let first = ["CustomResourceDefinition", "Namespace", "GatewayClass", "IngressClass", "ServiceAccount", "Secret"];
    first.iter().position(|known| *known == kind).unwrap_or(first.len())
}

/// `apiVersion`, kind, namespace and name.
fn name(object: &Value) -> [String; 4] {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    [text(&object["apiVersion"]), text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"])]
}

fn shown([_, kind, namespace, name]: &[String; 4]) -> String {
    if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
}

/// The owners, as they would be found among the objects: in the same namespace or in none.
fn owners(object: &Value) -> impl Iterator<Item = [String; 4]> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let listed = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    listed.flat_map(move |owner| {
        [namespace, ""].map(|namespace| {
            let [version, kind, name] = ["apiVersion", "kind", "name"].map(|field| owner[field].as_str());
            [version, kind, Some(namespace), name].map(|text| text.unwrap_or_default().to_owned())
        })
    })
}

/// Gives the owners their uids of here. An owner that did not come along is no owner here.
fn adopt(object: &mut Value, namespace: &str, uids: &HashMap<[String; 4], String>) {
    let Some(listed) = object["metadata"].get_mut("ownerReferences").and_then(Value::as_array_mut) else { return };
    listed.retain_mut(|owner| {
        let found = [namespace, ""].into_iter().find_map(|namespace| {
            let [version, kind, name] = ["apiVersion", "kind", "name"].map(|field| owner[field].as_str());
            uids.get(&[version, kind, Some(namespace), name].map(|text| text.unwrap_or_default().to_owned()))
        });
        found.is_some_and(|uid| {
            owner["uid"] = uid.as_str().into();
            true
        })
    });
    if listed.is_empty()
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.remove("ownerReferences");
    }
}

fn strip(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.remove("status");
    let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for field in SERVER_FIELDS {
        metadata.remove(field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        // Another folder's files did not make it.
        for annotation in [seed::MANIFEST, seed::FOLDER, seed::LAST_APPLIED] {
            annotations.remove(annotation);
        }
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// As people write them: what it is and how it is called before what it says.
fn ordered(object: &Value) -> Value {
    let Some(fields) = object.as_object() else { return object.clone() };
    let first = ["apiVersion", "kind", "metadata"];
    let head = first.iter().filter_map(|field| fields.get_key_value(*field));
    let rest = fields.iter().filter(|(field, _)| !first.contains(&field.as_str()));
    let all: Map<String, Value> = head.chain(rest).map(|(field, value)| (field.clone(), value.clone())).collect();
    Value::Object(all)
}
