//! Server-side apply: an object is made, or changed, by the fields that somebody wants it to have.

use serde_json::Value;

use super::check::{check_name, check_uid, decode};
use super::{Resources, Target, WriteOptions, Written, check_type, name_of, without};
use crate::local::managed::Applied;
use crate::local::status::StatusError;
use crate::local::store::Txn;

impl Resources {
    pub(super) async fn apply(
        &self,
        target: &Target,
        name: &str,
        status: bool,
        config: Value,
        options: WriteOptions,
    ) -> Result<Written, StatusError> {
        check_config(target, &config)?;
        let (this, target, own) = (self.clone(), target.clone(), target);
        let dry_run = options.dry_run;
        let key = target.kind.key(&target.namespace, name);
        let change = move |txn: &mut Txn<'_>| {
            let kind = &target.kind;
            let old = txn.get(&key);
            if status && old.is_none() {
                return Err(StatusError::not_found(kind, &key.name));
            }
            let write = this.write(&target, status, &options);
            let Applied { mut object, managed_fields } = write.apply(old.as_deref(), &config, options.force)?;
            check_name(&object, &key.name)?;
            check_type(&target, &object)?;
            if let Some(old) = old {
                check_uid(kind, &object, &old["metadata"]["uid"])?;
                decode(&*this.admit, &target, &mut object, &options)?;
                return this.replace_in(txn, &target, &key, status, object, Some(managed_fields), &options);
            }
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            if !uid.is_empty() {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(StatusError::conflict(kind, name_of(&object), &why));
            }
            // Whoever applies says what he wants, not what he saw.
            without(&mut object["metadata"], "resourceVersion");
            this.create_in(txn, &target, object, Some(managed_fields), &options)
        };
        self.write_all(own, dry_run, change).await
    }
}

/// An object is applied as what the URL says it is, and owners cannot be applied.
fn check_config(target: &Target, config: &Value) -> Result<(), StatusError> {
    let text = |field: &str| config[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version != target.kind.api_version(&target.version) || kind != target.kind.kind {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        return Err(StatusError::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")));
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(StatusError::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}
