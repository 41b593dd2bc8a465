//! The API as a service: health, metrics, the audit log, tokens, certificates, export and import.

use kube::api::DeleteParams;

use super::super::portable::{self, Outcome, Selection};
use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_as_a_kube_apiserver_tells_it() {
    let home = Home::start().await;
    let get = async |path: &str| {
        let (code, text) = home.send("GET", path, &[], "").await;
        (code, text.as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(get("/livez").await, (200, "ok".into()));
    assert_eq!(get("/livez?verbose").await, (200, "[+]ping ok\n[+]log ok\nlivez check passed\n".into()));
    let ready = "[+]ping ok\n[+]log ok\n[+]storage ok\n[+]shutdown ok\nreadyz check passed\n";
    assert_eq!(get("/readyz?verbose").await, (200, ready.into()));
    let excluded = get("/readyz?verbose&exclude=storage").await.1;
    assert!(excluded.contains("[+]storage excluded: ok\n"), "{excluded}");
    assert_eq!(get("/readyz/storage").await, (200, "ok".into()));
    assert_eq!(get("/livez/nonsense").await, (404, "404 page not found\n".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_under_the_fields_own_names() {
    let home = Home::start().await;
    home.create_route("a", json!({})).await;
    assert_eq!(home.send("GET", &format!("{ROUTES}/none"), &[], "").await.0, 404);
    home.send("GET", "/apis/made-up/v1/things", &[], "").await;
    let (code, metrics) = home.send("GET", "/metrics", &[], "").await;
    let metrics = metrics.as_str().unwrap();
    assert_eq!(code, 200);
    let labels = r#"component="apiserver",dry_run="",group="gateway.networking.k8s.io",resource="httproutes",scope="resource",subresource="""#;
    for line in [
        format!(r#"apiserver_request_total{{code="201",{labels},verb="POST",version="v1"}} 1"#),
        format!(r#"apiserver_request_total{{code="404",{labels},verb="GET",version="v1"}} 1"#),
        format!(r#"apiserver_request_duration_seconds_bucket{{{labels},verb="POST",version="v1",le="+Inf"}} 1"#),
        r#"apiserver_current_inflight_requests{request_kind="mutating"} 0"#.into(),
        r#"apiserver_storage_objects{resource="httproutes.gateway.networking.k8s.io"} 1"#.into(),
        r#"apiserver_resource_objects{group="",resource="namespaces"} 4"#.into(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("made-up"), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok()), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_taken_at_once_and_the_old_one_refused() {
    let home = Home::start().await;
    let (before, kubeconfig) = (home.client.clone(), home.api.kubeconfig.clone());
    let ask = async |client: &Client| client.apiserver_version().await.is_ok();
    let own: Kubeconfig = serde_json::from_value(home.api.own.clone()).unwrap();
    let own = Config::from_custom_kubeconfig(own, &KubeConfigOptions::default()).await.unwrap();
    let own = Client::try_from(own).unwrap();
    assert!(ask(&before).await && ask(&own).await);
    assert!(rotate_token(&home.dir.path().join("data"), &kubeconfig).unwrap());
    assert!(!ask(&before).await, "the old token still works");
    let after = Client::try_from(config(&kubeconfig).await).unwrap();
    assert!(ask(&after).await && ask(&own).await);
    let elsewhere = rotate_token(home.dir.path(), &kubeconfig).unwrap_err().to_string();
    assert!(elsewhere.contains("has no token"), "{elsewhere}");
    // A token without its kubeconfig: the server catches up.
    rotate_token(&home.dir.path().join("data"), &home.dir.path().join("none")).unwrap();
    for _ in 0..200 {
        if ask(&Client::try_from(config(&kubeconfig).await).unwrap()).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the kubeconfig has the old token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_tells_who_did_what() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let audit = AuditOptions { path: path.clone(), max_size: 1 << 20, max_backups: 1 };
    let home = Home::start_as(dir, Service { audit: Some(audit), ..Service::default() }).await;
    home.create_route("a", json!({})).await;
    assert_eq!(home.send("GET", &format!("{ROUTES}/none"), &[("audit-id", "mine")], "").await.0, 404);
    let request = http::Request::get(format!("{ROUTES}?watch=true&timeoutSeconds=1")).body(Vec::new()).unwrap();
    let lines = futures::AsyncBufReadExt::lines(home.client.request_stream(request).await.unwrap());
    futures::StreamExt::collect::<Vec<_>>(lines).await;
    let Home { api, dir, client } = home;
    drop(client);
    api.stop().await;
    let text = std::fs::read_to_string(&path).unwrap();
    drop(dir);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |verb: &str, stage: &str| {
        let found = |event: &&Value| event["verb"] == verb && event["stage"] == stage;
        events.iter().find(found).unwrap_or_else(|| panic!("no {verb} {stage} in {text}"))
    };
    let created = find("create", "ResponseComplete");
    assert_eq!((&created["kind"], &created["apiVersion"]), (&json!("Event"), &json!("audit.k8s.io/v1")));
    assert_eq!(
        (&created["objectRef"]["resource"], &created["responseStatus"]["code"]),
        (&json!("httproutes"), &json!(201))
    );
    assert_eq!((&created["user"]["username"], &created["sourceIPs"]), (&json!("admin"), &json!(["127.0.0.1"])));
    let missed = find("get", "ResponseComplete");
    assert_eq!((&missed["auditID"], &missed["responseStatus"]["reason"]), (&json!("mine"), &json!("NotFound")));
    assert_eq!(find("watch", "ResponseStarted")["auditID"], find("watch", "ResponseComplete")["auditID"]);
    assert!(!text.contains("Bearer"), "no token in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_certificate_is_shown_and_the_kubeconfig_works_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["api.example".into()]).unwrap().self_signed(&pair).unwrap();
    let files = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    std::fs::write(&files.0, certificate.pem()).unwrap();
    std::fs::write(&files.1, pair.serialize_pem()).unwrap();
    let tls = TlsOptions { files: Some(files), names: vec!["api.example".into()] };
    let home = Home::start_as(dir, Service { tls, ..Service::default() }).await;
    assert!(home.client.apiserver_version().await.is_ok());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let stream = tokio::net::TcpStream::connect(home.api.address).await.unwrap();
    let name = "api.example".try_into().unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.unwrap();
    let token = std::fs::read_to_string(home.dir.path().join("data/token")).unwrap();
    let ask = |host: &str| {
        format!("GET /version HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
    };
    tokio::io::AsyncWriteExt::write_all(&mut stream, ask("api.example").as_bytes()).await.unwrap();
    let mut told = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut told).await;
    assert!(told.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&told));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_from_one_can_be_imported_into_another() {
    let home = Home::start().await;
    let (code, owner) = home
        .send(
            "POST",
            MAPS,
            &JSON,
            json!({"metadata": {"name": "z-owner"}, "data": {"text": "a: 1\n---\nb: \"2\"\n"}}).to_string(),
        )
        .await;
    assert_eq!(code, 201, "{owner}");
    let owned = json!({"metadata": {"name": "a-owned", "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "z-owner", "uid": owner["metadata"]["uid"]},
    ]}});
    assert_eq!(home.send("POST", MAPS, &JSON, owned.to_string()).await.0, 201);
    let namespace = json!({"metadata": {"name": "shop", "labels": {"team": "a"}}});
    assert_eq!(home.send("POST", "/api/v1/namespaces", &JSON, namespace.to_string()).await.0, 201);
    home.create_route("r", json!({"l": "1"})).await;
    let all = portable::export(&home.client, &Selection::default()).await.unwrap();
    let yaml = portable::to_yaml(&all).unwrap();
    for field in ["uid:", "resourceVersion", "creationTimestamp", "managedFields", "generation", "\nstatus"] {
        let owners = usize::from(field == "uid:");
        assert_eq!(yaml.matches(field).count(), owners, "{field} in\n{yaml}");
    }
    let read = portable::from_yaml(&yaml).unwrap();
    assert_eq!(read.len(), all.len());
    let list = json!({"apiVersion": "v1", "kind": "List", "items": all});
    assert_eq!(portable::from_yaml(&list.to_string()).unwrap().len(), all.len());

    let other = Home::start().await;
    let import = async || {
        let mut told = Vec::new();
        portable::import(&other.client, read.clone(), |object, outcome| told.push((object.to_owned(), outcome)))
            .await
            .unwrap();
        told
    };
    let told = import().await;
    assert!(told.iter().all(|(_, outcome)| outcome.is_ok()), "{told:?}");
    assert!(told.contains(&("HTTPRoute default/r".into(), Ok(Outcome::Created))), "{told:?}");
    let again = portable::export(&other.client, &Selection::default()).await.unwrap();
    let uids_apart = |mut objects: Vec<Value>| {
        for object in &mut objects {
            if let Some(owner) = object["metadata"].get_mut("ownerReferences") {
                owner[0]["uid"] = "other".into();
            }
        }
        objects
    };
    assert_eq!(uids_apart(again), uids_apart(all));
    let told = import().await;
    assert!(told.iter().all(|(_, outcome)| *outcome == Ok(Outcome::Unchanged)), "{told:?}");
    let maps: KubeApi<k8s_openapi::api::core::v1::ConfigMap> = KubeApi::default_namespaced(other.client.clone());
    maps.delete("z-owner", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a-owned").await.unwrap().is_none(), "the owner is the one of here");

    let routes = Selection { kinds: vec!["httproutes.gateway.networking.k8s.io".into()], ..Selection::default() };
    assert_eq!(portable::export(&home.client, &routes).await.unwrap().len(), 1);
    let none = Selection { kinds: vec!["nonsense".into()], ..Selection::default() };
    assert!(portable::export(&home.client, &none).await.unwrap_err().to_string().contains("nonsense"));
}
