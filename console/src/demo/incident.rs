//! An incident to learn from, played on the demo and recorded: somebody renumbers the port of a
//! Service, a route that names the old number answers with 500, and is mended.

use std::{path::Path, time::Duration};

use color_eyre::eyre::{Result, WrapErr as _, bail};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::ground::{Ground, api};
use crate::{
    app::{AppOptions, record::record},
    exit::Exit,
};

const GATEWAY_API: &str = "gateway.networking.k8s.io";
/// All is well, then the Service changes; somebody finds out why; it is over.
const WELL: Duration = Duration::from_secs(20);
const BROKEN: Duration = Duration::from_secs(30);
const MENDED: Duration = Duration::from_secs(25);

pub(super) async fn play(ground: &Ground, options: AppOptions, file: &Path) -> Result<Exit> {
    // Routes that are broken from the beginning are another story.
    for (namespace, name) in [("payments", "refunds"), ("payments", "reports"), ("staging", "preview")] {
        let routes = api(&ground.connection, (GATEWAY_API, "v1", "HTTPRoute"), namespace);
        routes.delete(name, &DeleteParams::default()).await.wrap_err("clearing the stage")?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let story = async {
        tokio::time::sleep(WELL).await;
        let services = api(&ground.connection, ("", "v1", "Service"), "shop");
        let renumbered = json!([{ "op": "replace", "path": "/spec/ports/0/port", "value": 80 }]);
        services.patch("checkout", &PatchParams::default(), &json_patch(&renumbered)?).await?;
        tokio::time::sleep(BROKEN).await;
        let routes = api(&ground.connection, (GATEWAY_API, "v1", "HTTPRoute"), "shop");
        let follows = json!([
            { "op": "test", "path": "/spec/rules/0/backendRefs/0/name", "value": "checkout" },
            { "op": "replace", "path": "/spec/rules/0/backendRefs/0/port", "value": 80 },
        ]);
        routes.patch("storefront", &PatchParams::default(), &json_patch(&follows)?).await?;
        tokio::time::sleep(MENDED).await;
        Ok::<_, color_eyre::eyre::Report>(())
    };
    let (recorded, told) = tokio::join!(record(options, file, Some(WELL + BROKEN + MENDED)), story);
    told?;
    match recorded? {
        Exit::Ok => Ok(Exit::Ok),
        other => bail!("the recording ended with {other:?}"),
    }
}

fn json_patch(operations: &Value) -> Result<Patch<()>> {
    Ok(Patch::Json(serde_json::from_value(operations.clone())?))
}
