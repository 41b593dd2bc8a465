//! What the API server would say to files.

use std::sync::LazyLock;

use gwproxy::local::{Admit as _, schema::Schemas};

use super::seen::{GATEWAY_API, Seen};
use crate::finding::{Finding, Object, Severity};

pub(super) fn refused(seen: &Seen) -> Vec<Finding> {
    static SCHEMAS: LazyLock<Option<Schemas>> = LazyLock::new(|| Schemas::new().ok());
    let mut found: Vec<Finding> = seen
        .broken
        .iter()
        .map(|(file, line, why)| {
            Finding::new("API001", Severity::Error, Object::new("", "File", "", file), "a document cannot be read")
                .evidence("the reader", why.clone())
                .place(file.clone(), (*line).max(1))
        })
        .collect();
    let Some(schemas) = &*SCHEMAS else { return found };
    for item in seen.all().filter(|item| item.file.is_some()) {
        let (version, kind) = (item.text("/apiVersion"), item.text("/kind"));
        if version != format!("{GATEWAY_API}/v1") || schemas.schema(GATEWAY_API, kind).is_none() {
            continue;
        }
        let mut object = item.value.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        let admitted = schemas.admit(GATEWAY_API, kind, &mut object, None);
        for error in admitted.errors {
            found.push(item.finding("API001", Severity::Error, &error.field, error.message).fix("correct the field"));
        }
        for field in admitted.unknown {
            let title = format!("{kind} has no field {field}: the API server drops it");
            found.push(item.finding("API001", Severity::Warning, &field, title).fix("correct its name, or remove it"));
        }
    }
    found
}
