use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// Answers every connection with these bytes.
async fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/metrics")
}

#[tokio::test]
async fn every_source_is_reported_whether_it_answers_or_not() {
    let good = server("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\na 1\nb 2\n").await;
    let bad = server("HTTP/1.1 503 no\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    let closed = "http://127.0.0.1:1/metrics".to_owned();
    let cancel = CancellationToken::new();
    let sources = [&good, &bad, &closed].into_iter().cloned().map(Source::Url).collect();
    let mut scrapes = spawn(sources, Duration::from_millis(100), cancel.clone());
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..6 {
        let scrape = tokio::time::timeout(Duration::from_secs(5), scrapes.recv()).await.unwrap().unwrap();
        seen.insert(scrape.source, scrape.samples);
    }
    assert_eq!(seen[&good].as_ref().unwrap().len(), 2);
    assert!(seen[&bad].as_ref().unwrap_err().contains("503"));
    assert!(seen[&closed].is_err());
    cancel.cancel();
    while tokio::time::timeout(Duration::from_secs(5), scrapes.recv()).await.unwrap().is_some() {}
}

#[test]
fn the_metrics_port_of_a_pod_is_found_by_name() {
    let pod = serde_json::json!({"spec": {"containers": [
        {"ports": [{"name": "http", "containerPort": 80}]},
        {"ports": [{"name": "http-metrics", "containerPort": 9090}]},
    ]}});
    assert_eq!(metrics_port(&pod), Some(9090));
    assert_eq!(metrics_port(&serde_json::json!({"spec": {}})), None);
}
