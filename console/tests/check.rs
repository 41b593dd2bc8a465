//! `gwtop check`, `preflight` and `explain`: a case for every check, the outputs, and a live
//! Gateway.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use cases::CASES;
use gwtop::{
    check::{
        self, Options,
        catalogue::{self, CHECKS, Suite},
        collect::{self, kind_of},
        probe::{Expected, Got, Probe, Probed},
        seen::{Access, CRD, Item, REFERENCE_GRANT, SERVICE, Seen},
    },
    finding::{Finding, Object, Outcome, Ran, Report, Severity},
    migrate::command::Read,
    yaml,
};
use serde_json::{Value, json};

#[path = "check/cases.rs"]
mod cases;
#[path = "check/live.rs"]
mod live;
#[path = "common/serving.rs"]
mod serving;

const NOW: &str = "2026-08-01T00:00:00Z";

fn values(text: &str) -> Vec<Value> {
    yaml::documents(text).into_iter().map(|document| document.node.unwrap().value()).collect()
}

/// A cluster that has these objects and lets everything be read.
fn cluster(text: &str) -> Seen {
    let mut seen = Seen::at(NOW.parse().unwrap());
    seen.live = true;
    for check in CHECKS {
        check.needs.iter().for_each(|kind| seen.set_access(*kind, Access::Listed));
    }
    seen.set_access(kind_of("discovery.k8s.io", "EndpointSlice").unwrap(), Access::Listed);
    for value in values(text) {
        let (version, name) = (value["apiVersion"].as_str().unwrap(), value["kind"].as_str().unwrap());
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match kind_of(group, name) {
            Some(kind) => seen.put(kind, Item::live(value)),
            None => seen.others.push(Item::live(value)),
        }
    }
    seen
}

fn only(seen: &Seen, id: &str) -> Report {
    check::run(seen, &Options { only: vec![id.to_owned()], ..Options::default() })
}

fn told(report: &Report) -> Vec<String> {
    report.findings.iter().map(|one| format!("{} {}: {}", one.severity.word(), one.object, one.title)).collect()
}

/// Everything is well here.
const GOOD: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: any}
spec: {controllerName: example.test/any}
status:
  conditions: [{type: Accepted, status: "True"}, {type: SupportedVersion, status: "True"}]
  supportedFeatures: [{name: HTTPRouteMethodMatching}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: edge, generation: 2}
spec:
  gatewayClassName: any
  listeners:
  - {name: http, port: 80, protocol: HTTP, hostname: "*.a.test", allowedRoutes: {namespaces: {from: All}}}
status:
  addresses: [{type: IPAddress, value: 192.0.2.1}]
  conditions: [{type: Accepted, status: "True", observedGeneration: 2}, {type: Programmed, status: "True", observedGeneration: 2}]
  listeners:
  - {name: http, attachedRoutes: 1, conditions: [{type: Accepted, status: "True"}, {type: Conflicted, status: "False"}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop, generation: 1}
spec:
  parentRefs: [{name: web, namespace: edge}]
  hostnames: [x.a.test]
  rules:
  - matches: [{method: GET, path: {type: PathPrefix, value: /}}]
    backendRefs: [{name: cart, namespace: far, port: 80}]
status:
  parents:
  - parentRef: {name: web, namespace: edge}
    controllerName: example.test/any
    conditions: [{type: Accepted, status: "True", observedGeneration: 1}, {type: ResolvedRefs, status: "True"}]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: shop, namespace: far}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]
  to: [{group: "", kind: Service}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: far}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: far, labels: {kubernetes.io/service-name: cart}}
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: cart, namespace: far}
spec: {targetRefs: [{group: "", kind: Service, name: cart}]}
status: {ancestors: [{ancestorRef: {name: web}, conditions: [{type: Accepted, status: "True"}]}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: httproutes.gateway.networking.k8s.io, annotations: {gateway.networking.k8s.io/bundle-version: v1.6.1, gateway.networking.k8s.io/channel: standard}}
spec: {group: gateway.networking.k8s.io, names: {plural: httproutes, kind: HTTPRoute}, versions: [{name: v1, served: true}]}
status: {storedVersions: [v1]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gateways.gateway.networking.k8s.io, annotations: {gateway.networking.k8s.io/bundle-version: v1.6.1, gateway.networking.k8s.io/channel: standard}}
spec: {group: gateway.networking.k8s.io, names: {plural: gateways, kind: Gateway}, versions: [{name: v1, served: true}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gatewayclasses.gateway.networking.k8s.io, annotations: {gateway.networking.k8s.io/bundle-version: v1.6.1, gateway.networking.k8s.io/channel: standard}}
spec: {group: gateway.networking.k8s.io, names: {plural: gatewayclasses, kind: GatewayClass}, versions: [{name: v1, served: true}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: referencegrants.gateway.networking.k8s.io, annotations: {gateway.networking.k8s.io/bundle-version: v1.6.1, gateway.networking.k8s.io/channel: standard}}
spec: {group: gateway.networking.k8s.io, names: {plural: referencegrants, kind: ReferenceGrant}, versions: [{name: v1, served: true}]}
"#;

#[test]
fn nothing_is_found_where_everything_is_well() {
    for suite in [Suite::Check, Suite::Preflight] {
        let report = check::run(&cluster(GOOD), &Options { suite, ..Options::default() });
        assert_eq!(told(&report), Vec::<String>::new());
        let passed = |ran: &&Ran| ran.outcome == Outcome::Pass || ran.rule.id.starts_with("NET");
        let not_passed: Vec<_> = report.checks.iter().filter(|ran| !passed(ran)).collect();
        assert!(not_passed.is_empty(), "{not_passed:?}");
    }
}

#[test]
fn every_check_finds_its_fault() {
    let mut wrong = Vec::new();
    for (id, good, bad, expected) in CASES {
        let text = if good.is_empty() { format!("{GOOD}---\n{bad}") } else { GOOD.replacen(good, bad, 1) };
        assert!(good.is_empty() || GOOD.contains(good), "{id}: {good:?} is not in the good cluster");
        let report = only(&cluster(&text), id);
        let found = told(&report);
        let fits = found.len() == expected.len()
            && found.iter().zip(*expected).all(|(found, wanted)| found.starts_with(wanted));
        if !fits {
            wrong.push(format!("{id} {bad:?}:\n  found {found:#?}\n  not {expected:#?}"));
        }
        for finding in &report.findings {
            assert!(
                finding.severity <= catalogue::find(id).unwrap().rule.severity,
                "{id} says that it is never this grave"
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_check_has_a_case() {
    // Those with a test of their own, and the one that another command tells.
    let own = ["API001", "ING002", "NET001", "NET002", "PF007"];
    let cases: BTreeSet<_> = CASES.iter().map(|(id, ..)| *id).chain(own).collect();
    let all: BTreeSet<_> = CHECKS.iter().map(|check| check.rule.id).collect();
    assert_eq!(cases, all);
}

#[test]
fn what_may_not_be_read_is_unknown_and_never_passed() {
    for check in CHECKS {
        for kind in check.needs {
            let mut seen = cluster(GOOD);
            seen.set_access(*kind, Access::Denied("cannot list".to_owned()));
            let report = only(&seen, check.rule.id);
            let unknown =
                report.findings.iter().any(|one| one.severity == Severity::Unknown && one.object.kind == kind.1);
            assert!(unknown, "{} passes without {}: {:?}", check.rule.id, kind.1, told(&report));
            assert!(!matches!(report.checks[0].outcome, Outcome::Pass), "{}", check.rule.id);
            assert_ne!(check::command::exit(&report, Some(Severity::Error)) as u8, 0, "{}", check.rule.id);
        }
    }
}

#[test]
fn what_is_denied_is_not_missing() {
    let mut seen = cluster(&GOOD.replacen(
        "kind: HTTPRoute, namespace: shop}]\n  to",
        "kind: HTTPRoute, namespace: other}]\n  to",
        1,
    ));
    for (kind, id) in [(REFERENCE_GRANT, "REF001"), (SERVICE, "BE001")] {
        seen.set_access(kind, Access::Denied("cannot list".to_owned()));
        let errors = only(&seen, id).count(Severity::Error);
        assert_eq!(errors, 0, "{id}");
    }
}

#[test]
fn an_object_can_ask_to_be_left_alone() {
    let text = GOOD.replacen("spec: {ports: [{port: 80}]}", "spec: {ports: [{port: 80}], externalIPs: [192.0.2.7]}", 1);
    let ignored = text.replacen(
        "{name: cart, namespace: far}",
        "{name: cart, namespace: far, annotations: {gwtop.dev/ignore: \"XX1, pf005\"}}",
        1,
    );
    assert_eq!(only(&cluster(&text), "PF005").findings.len(), 1);
    assert_eq!(only(&cluster(&ignored), "PF005").findings.len(), 0);
}

#[test]
fn targets_and_versions_decide_how_grave_it_is() {
    let text = GOOD.replacen("spec: {ports: [{port: 80}]}", "spec: {ports: [{port: 80}], externalIPs: [192.0.2.7]}", 1);
    let of = |target| {
        let options = Options { only: vec!["PF005".to_owned()], target, ..Options::default() };
        check::run(&cluster(&text), &options).worst()
    };
    assert_eq!((of((1, 36)), of((1, 40))), (Some(Severity::Warning), Some(Severity::Error)));

    let mut seen = cluster(GOOD);
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "t", "annotations": {"gateway.networking.k8s.io/bundle-version": "v1.6.1"}},
        "spec": {"group": "gateway.networking.k8s.io", "names": {"plural": "tlsroutes", "kind": "TLSRoute"}}});
    seen.put(CRD, Item::live(crd));
    for (version, findings) in [((1, 30), 1), ((1, 31), 0)] {
        seen.version = Some(version);
        assert_eq!(only(&seen, "PF007").findings.len(), findings, "{version:?}");
    }
}

#[test]
fn certificates_are_read() {
    let now = jiff::Timestamp::now();
    let made = rcgen::generate_simple_self_signed(["x.a.test".to_owned()]).unwrap();
    let secret = |host: &str| {
        let mut seen = cluster(&GOOD.replacen(
            "protocol: HTTP, hostname: \"*.a.test\"",
            &format!("protocol: HTTPS, hostname: {host}, tls: {{certificateRefs: [{{name: c}}]}}"),
            1,
        ));
        let value = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c", "namespace": "edge"},
            "data": {"tls.crt": serde_json::to_value(k8s_openapi::ByteString(made.cert.pem().into_bytes())).unwrap()}});
        seen.put(kind_of("", "Secret").unwrap(), Item::live(value));
        seen.now = now;
        seen
    };
    assert_eq!(told(&only(&secret("x.a.test"), "TLS001")), Vec::<String>::new());
    assert_eq!(
        told(&only(&secret("y.a.test"), "TLS001")),
        ["error Gateway edge/web: listener http: its certificate is not for y.a.test"]
    );
    // The certificate of the test ends in the year 4096.
    let mut later = secret("x.a.test");
    later.now = "4095-12-15T00:00:00Z".parse().unwrap();
    assert_eq!(only(&later, "TLS001").findings[0].severity, Severity::Warning, "{:?}", told(&only(&later, "TLS001")));
    later.now = "4097-01-01T00:00:00Z".parse().unwrap();
    assert!(told(&only(&later, "TLS001"))[0].ends_with("has expired"));
    let mut denied =
        cluster(&GOOD.replacen("protocol: HTTP,", "protocol: HTTPS, tls: {certificateRefs: [{name: c}]},", 1));
    denied.denied.insert(("edge".to_owned(), "c".to_owned()), "forbidden".to_owned());
    assert_eq!(told(&only(&denied, "TLS001")), ["unknown Secret edge/c: it cannot be read"]);
}

#[test]
fn where_a_name_points_decides_about_a_host_that_is_served_twice() {
    let ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: old, namespace: shop}\nspec: {ingressClassName: nginx, rules: [{host: x.a.test}]}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}\n";
    for (points, severity, words) in [
        ("192.0.2.1", Severity::Info, "the Ingress can go"),
        ("192.0.2.9", Severity::Warning, "still points to the Ingress"),
        ("192.0.2.5", Severity::Warning, "points to neither"),
    ] {
        let mut seen = cluster(&format!("{GOOD}---\n{ingress}"));
        seen.names.insert("x.a.test".to_owned(), Ok([points.to_owned()].into()));
        let report = only(&seen, "ING002");
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].severity, severity);
        assert!(report.findings[0].title.contains(words), "{:?}", told(&report));
    }
}

#[test]
fn an_answer_has_to_be_the_right_one() {
    let probe = |expected| Probe {
        gateway: Object::new("gateway.networking.k8s.io", "Gateway", "edge", "web"),
        listener: "http".to_owned(),
        address: "192.0.2.1".to_owned(),
        port: 80,
        tls: false,
        host: "x.a.test".to_owned(),
        target: "/".to_owned(),
        headers: Vec::new(),
        expected,
    };
    let got = |status, location: Option<&str>| Got {
        status,
        location: location.map(str::to_owned),
        shape: "s".to_owned(),
        certificate: None,
    };
    let redirect = || Expected::Redirect(301, "https://x.a.test/".to_owned());
    let backend = || Expected::Backend("shop/cart rule 0".to_owned());
    for (expected, got, severity) in [
        (redirect(), Ok(got(301, Some("https://x.a.test:443/"))), None),
        (redirect(), Ok(got(302, Some("https://x.a.test/"))), Some(Severity::Error)),
        (redirect(), Ok(got(301, Some("https://y.a.test/"))), Some(Severity::Error)),
        (redirect(), Ok(got(200, None)), Some(Severity::Error)),
        (Expected::NoRule, Ok(got(404, None)), None),
        (Expected::NoRule, Ok(got(200, None)), Some(Severity::Warning)),
        (backend(), Ok(got(200, None)), None),
        (backend(), Ok(got(404, None)), None),
        (backend(), Ok(got(503, None)), Some(Severity::Error)),
        (Expected::Status(500), Ok(got(500, None)), None),
        (Expected::Status(500), Ok(got(404, None)), Some(Severity::Error)),
        (backend(), Err("refused".to_owned()), Some(Severity::Error)),
    ] {
        let mut seen = cluster(GOOD);
        let what = format!("{expected:?} {got:?}");
        seen.probes = Some(vec![Probed { probe: probe(expected), got }]);
        assert_eq!(only(&seen, "NET001").worst(), severity, "{what}");
    }
    // A 404 that looks like the one where no rule is.
    let mut seen = cluster(GOOD);
    let all = [backend(), Expected::NoRule].map(|expected| Probed { probe: probe(expected), got: Ok(got(404, None)) });
    seen.probes = Some(all.to_vec());
    assert_eq!(only(&seen, "NET001").worst(), Some(Severity::Warning));
}

#[test]
fn files_have_their_lines_and_take_the_place_of_the_clusters_objects() {
    let manifest = "# a comment\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n  name: cart\n  namespace: shop\nspec:\n  parentRefs:\n  - name: web\n    namespace: edge\n  rules:\n  - backendRefs:\n    - name: gone\n      port: 80\n    nonsense: 1\n---\nno: [yaml\n";
    let mut read = Read::default();
    read.text("app.yaml", manifest);
    let mut seen = cluster(GOOD);
    collect::files(&mut seen, read, "default", false);
    let at = |report: &Report| report.findings.iter().map(|one| one.place.as_ref().unwrap().line).collect::<Vec<_>>();
    let report = only(&seen, "BE001");
    assert_eq!(told(&report), ["error HTTPRoute shop/cart: Service shop/gone does not exist"]);
    assert_eq!(at(&report), [13]);
    let report = only(&seen, "API001");
    assert_eq!(report.findings.len(), 2, "{:?}", told(&report));
    let lines: BTreeSet<_> = at(&report).into_iter().collect();
    assert!(lines.contains(&15) && lines.iter().any(|line| *line >= 17), "{lines:?}");
}

#[test]
fn the_page_has_every_check_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.md");
    let page = fs::read_to_string(&path).unwrap();
    let made = catalogue::markdown();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let (before, _) = page.split_once("| Id |").unwrap_or((&page, ""));
        fs::write(&path, format!("{before}{made}")).unwrap();
        return;
    }
    assert!(page.ends_with(&made), "docs/checks.md is of another version: UPDATE_GOLDEN=1 writes it anew");
}

fn gwtop(args: &[&str]) -> (i32, String, String) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gwtop"))
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .env("XDG_STATE_HOME", home.path().join("state"))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn exit_codes_and_outputs_are_those_of_a_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.yaml");
    fs::write(&file, "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {externalIPs: [192.0.2.1]}\n").unwrap();
    let file = file.to_str().unwrap();
    let preflight = |more: &[&str]| gwtop(&[&["preflight", "--offline", "-f", file], more].concat());
    assert_eq!(preflight(&[]).0, 0);
    assert_eq!(preflight(&["--fail-on", "warning"]).0, 1);
    assert_eq!(preflight(&["--target", "1.40"]).0, 1);
    assert_eq!(preflight(&["--target", "1.40", "--fail-on", "never"]).0, 0);
    assert_eq!(preflight(&["--target", "1.40", "--skip", "PF005"]).0, 0);
    assert_eq!(preflight(&["--target", "1.40", "--only", "PF004"]).0, 0);
    assert_eq!(preflight(&["--only", "XX1"]).0, 2);
    assert_eq!(preflight(&["--target", "soon"]).0, 2);
    assert_eq!(gwtop(&["check", "-f", "/nowhere/at/all", "--offline"]).0, 2);
    assert_eq!(gwtop(&["check"]).0, 8);

    let json = preflight(&["-o", "json"]).1;
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["findings"][0]["fingerprint"], "PF005 Service default/s spec.externalIPs");
    assert!(preflight(&["-o", "yaml"]).1.contains("id: PF005"));
    assert!(preflight(&["-o", "github"]).1.starts_with("::warning file="));
    assert!(preflight(&["-o", "junit"]).1.contains("<failure type=\"warning\""));
    assert!(preflight(&["-o", "markdown"]).1.contains("| ! warning | [PF005]"));
    let sarif: Value = serde_json::from_str(&preflight(&["-o", "sarif"]).1).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"], 4);

    // What an earlier run found does not fail this one.
    let baseline = folder.path().join("baseline.json");
    fs::write(&baseline, json).unwrap();
    let known = preflight(&["--target", "1.40", "--baseline", baseline.to_str().unwrap()]);
    assert_eq!(known.0, 0, "{}", known.1);
    assert!(known.2.contains("1 findings of the baseline are left out"), "{}", known.2);
}

#[test]
fn explain_tells_of_every_check() {
    let (code, list, _) = gwtop(&["explain"]);
    assert_eq!(code, 0);
    for check in CHECKS {
        assert!(list.contains(check.rule.id));
    }
    assert!(gwtop(&["explain", "rt002"]).1.contains("NotAllowedByListeners"));
    assert_eq!(gwtop(&["explain", "nothing"]).0, 2);
}

#[test]
fn a_finding_never_hides_behind_another() {
    let mut report = Report::default();
    for name in ["b", "a", "a"] {
        report.findings.push(Finding::new("X", Severity::Error, Object::new("", "K", "n", name), "t"));
    }
    report.sort();
    assert_eq!(report.findings.len(), 2);
}

#[test]
fn a_fleet_has_a_phase_for_every_ingress() {
    use gwtop::migrate::progress::{Phase, rows, summary};
    let ingress = |name: &str, host: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{ingressClassName: nginx, rules: [{{host: {host}}}]}}\n"
        )
    };
    let pending = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: p, namespace: shop}\nspec: {parentRefs: [{name: web, namespace: edge}], hostnames: [p.a.test]}\n";
    let text = format!(
        "{GOOD}{pending}{}{}{}{}",
        ingress("a", "dark.test"),
        ingress("b", "p.a.test"),
        ingress("c", "x.a.test"),
        ingress("d", "x.a.test")
    );
    let of = |points: &str| {
        let mut seen = cluster(&text);
        seen.names.insert("x.a.test".to_owned(), Ok([points.to_owned()].into()));
        rows(&seen, &Options::default(), &["shop/e".to_owned()].into())
    };
    let phases = |points| of(points).into_iter().map(|row| (row.ingress, row.phase)).collect::<Vec<_>>();
    let all = |third| {
        [("a", Phase::Waiting), ("b", Phase::Deployed), ("c", third), ("d", third), ("e", Phase::Deleted)]
            .map(|(name, phase)| (format!("shop/{name}"), phase))
            .to_vec()
    };
    assert_eq!(phases("192.0.2.9"), all(Phase::Both));
    assert_eq!(phases("192.0.2.1"), all(Phase::Shifted));
    assert!(summary(&of("192.0.2.1")).contains("3 of 5 moved"), "{}", summary(&of("192.0.2.1")));
}
