use super::*;

const GOOD: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: any
  listeners:
  - { name: http, port: 80, protocol: HTTP }
  - { name: db, port: 3306, protocol: TCP }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { ports: [{ port: 80 }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r }
spec:
  parentRefs: [{ name: edge, sectionName: http }]
  rules: [{ backendRefs: [{ name: web, port: 80 }] }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: none-of-our-business }
";

fn of(texts: &[&str]) -> Report {
    let texts: Vec<_> = texts.iter().enumerate().map(|(at, text)| (format!("{at}.yaml"), (*text).to_owned())).collect();
    examine(&texts, "127.0.64.0/24".parse().unwrap()).unwrap()
}

fn bad(report: &Report) -> Vec<(String, &str, &str)> {
    let rows = report.rows.iter().filter(|row| !row.good);
    rows.map(|row| (format!("{} {}", row.kind, row.name), row.condition, row.reason)).collect()
}

#[test]
fn good_manifests_are_valid_without_cluster_namespace_or_class() {
    let report = of(&[GOOD]);
    assert!(report.is_valid(), "{}", report.table());
    assert_eq!(report.notes, ["GatewayClass any is not in the manifests and is taken to be gwproxy's"]);
    assert!(report.rows.iter().all(|row| row.condition != "Programmed"), "nothing is served here");
    assert_eq!(report.json()["valid"], true);
    assert_eq!(report.json()["objects"].as_array().unwrap().len(), 3);
}

#[test]
fn verdicts_are_those_that_the_api_would_show() {
    let bad_route = "
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: { name: t }
spec:
  parentRefs: [{ name: edge, sectionName: http }, { name: edge, sectionName: db }]
  rules: [{ backendRefs: [{ name: gone, port: 80 }] }]
";
    let report = of(&[GOOD, bad_route]);
    let route = "TCPRoute t".to_owned();
    assert_eq!(
        bad(&report),
        [
            (route.clone(), "Accepted", "NotAllowedByListeners"),
            (route.clone(), "ResolvedRefs", "BackendNotFound"),
            (route, "ResolvedRefs", "BackendNotFound"),
        ]
    );
    assert!(!report.is_valid());
    let table = report.table();
    assert!(table.contains("BAD  TCPRoute") && table.contains("no Service \"gone\""), "{table}");
    assert!(table.ends_with("3 problems\n"), "{table}");
}

#[test]
fn what_the_api_refuses_is_a_problem_and_its_neighbours_are_looked_at() {
    let refused = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: wrong }
spec:
  parentRefs: [{ name: edge }]
  rules: [{ matchs: [], backendRefs: [{ name: web }] }]
---
not: [yaml
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: lost }
spec: { parentRefs: [{ name: nowhere }] }
";
    let report = of(&[refused, GOOD]);
    let text = report.problems.join("\n");
    for part in
        ["unknown field", "HTTPRoute default/wrong", "0.yaml:9: unclosed", "HTTPRoute default/lost names no parent"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(report.rows.iter().any(|row| row.name == "r"));
    assert!(!report.is_valid());
}
