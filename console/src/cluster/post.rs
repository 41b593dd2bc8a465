//! Kubernetes Events about an object.

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, api::PostParams};

use super::{
    connect::Connection,
    read::{Failure, resource, within},
    send::CANARY_MANAGER,
};
use crate::model::key::ObjectKey;

/// The most that the API takes.
const NOTE: usize = 1024;

pub struct News<'a> {
    pub about: &'a ObjectKey,
    pub uid: Option<&'a str>,
    pub reason: &'a str,
    pub note: &'a str,
    pub warning: bool,
    /// Who says it: one process.
    pub instance: &'a str,
}

/// Posts to `events.k8s.io/v1`.
pub async fn post(connection: &Connection, news: News<'_>) -> Result<(), Failure> {
    let now = Timestamp::now();
    let of = resource(connection, news.about.kind);
    let mut note = news.note.to_owned();
    while note.len() > NOTE {
        note.pop();
    }
    let mut instance = news.instance.to_owned();
    instance.truncate(instance.floor_char_boundary(128));
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", news.about.name, now.as_nanosecond())),
            namespace: Some(news.about.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        action: Some(news.reason.to_owned()),
        reason: Some(news.reason.to_owned()),
        note: Some(note),
        type_: Some(if news.warning { "Warning" } else { "Normal" }.to_owned()),
        reporting_controller: Some("gwtop.dev/canary".to_owned()),
        reporting_instance: Some(instance),
        regarding: Some(ObjectReference {
            api_version: Some(of.api_version),
            kind: Some(news.about.kind.name().to_owned()),
            namespace: Some(news.about.namespace.clone()),
            name: Some(news.about.name.clone()),
            uid: news.uid.map(str::to_owned),
            ..ObjectReference::default()
        }),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(connection.client.clone(), &news.about.namespace);
    let params = PostParams { field_manager: Some(CANARY_MANAGER.to_owned()), ..PostParams::default() };
    within(connection, api.create(&params, &event)).await.map(|_| ())
}
