//! Metrics of other implementations, and what they can tell apart.
//!
//! | implementation | series | tells apart |
//! |---|---|---|
//! | Envoy Gateway, a backendRef of the rule has a filter | cluster `…/rule/N/backend/M` | backends of a rule |
//! | Envoy Gateway otherwise | cluster `…/rule/N` | rules only: no canary can be judged by it |
//! | Istio | `istio_requests_total` of the gateway's side | Services, whichever route they are reached by |

use super::{
    parse::Sample,
    series::{Class, Scope, What},
};
use crate::model::key::{Kind, ObjectKey};

/// What to change where one series stands for all backends of a rule.
pub const ONE_CLUSTER: &str = "Envoy Gateway makes one cluster for the whole rule; give a backendRef of the rule a filter (a responseHeaderModifier that adds a header will do), which makes it one cluster a backend";

/// What a sample of another implementation counts, and towards what.
pub(super) fn read(sample: &Sample) -> Option<(What, Vec<Scope>)> {
    match sample.name.as_str() {
        "envoy_cluster_upstream_rq_xx" => {
            let class = match sample.label("envoy_response_code_class")? {
                "5" => Class::Server,
                "4" => Class::Client,
                _ => Class::Fine,
            };
            Some((What::Request(class), cluster(sample.label("envoy_cluster_name")?)?))
        }
        "envoy_cluster_upstream_rq_time_bucket" => {
            Some((bucket(sample)?, cluster(sample.label("envoy_cluster_name")?)?))
        }
        "istio_requests_total" => {
            let class = match sample.label("response_code")?.bytes().next()? {
                // A connection that broke before an answer has 0.
                b'5' | b'0' => Class::Server,
                b'4' => Class::Client,
                _ => Class::Fine,
            };
            Some((What::Request(class), service(sample)?))
        }
        "istio_request_duration_milliseconds_bucket" => Some((bucket(sample)?, service(sample)?)),
        _ => None,
    }
}

/// A bound in milliseconds.
fn bucket(sample: &Sample) -> Option<What> {
    let bound: f64 = sample.label("le")?.parse().ok()?;
    Some(What::Bucket(bound / 1000.0))
}

/// `httproute/NAMESPACE/NAME/rule/N` or `httproute/NAMESPACE/NAME/rule/N/backend/M`.
fn cluster(name: &str) -> Option<Vec<Scope>> {
    let parts: Vec<&str> = name.split('/').collect();
    let (kind, namespace, route, rule, rest) = match parts.as_slice() {
        [kind, namespace, route, "rule", rule, rest @ ..] => (kind, namespace, route, rule, rest),
        _ => return None,
    };
    let key = ObjectKey::new(Kind::route(kind)?, *namespace, *route);
    let rule: usize = rule.parse().ok()?;
    let mut scopes = vec![Scope::Total, Scope::Route(key.clone()), Scope::Rule(key.clone(), rule)];
    match rest {
        ["backend", index] => scopes.push(Scope::ArmAt(key, rule, index.parse().ok()?)),
        [] => scopes.push(Scope::Blended(key, rule)),
        _ => return None,
    }
    Some(scopes)
}

/// Only what the client's side reports: the server's side would count the same requests again.
fn service(sample: &Sample) -> Option<Vec<Scope>> {
    if sample.label("reporter") != Some("source") {
        return None;
    }
    let namespace = sample.label("destination_service_namespace")?;
    Some(vec![Scope::Total, Scope::Service(namespace.to_owned(), sample.label("destination_service_name")?.to_owned())])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::traffic::{Arm, parse::parse, scrape::Scrape, series::Traffic};

    fn seen(texts: [&str; 2]) -> Traffic {
        let (mut traffic, start) = (Traffic::default(), Instant::now());
        for (at, text) in texts.iter().enumerate() {
            let at = start + Duration::from_secs(at as u64 * 5);
            traffic.apply(Scrape { at, source: "a".to_owned(), samples: Ok(parse(text)) });
        }
        traffic
    }

    fn arm(backend: &str) -> Arm {
        Arm {
            route: ObjectKey::new(Kind::HttpRoute, "shop", "app"),
            rule: 0,
            backend_namespace: "shop".to_owned(),
            backend: backend.to_owned(),
            backend_port: 80,
        }
    }

    #[test]
    fn a_cluster_per_backend_tells_them_apart() {
        let text = |ok: u32, failed: u32| {
            format!(
                "envoy_cluster_upstream_rq_xx{{envoy_response_code_class=\"2\",envoy_cluster_name=\"httproute/shop/app/rule/0/backend/1\"}} {ok}\n\
                 envoy_cluster_upstream_rq_xx{{envoy_response_code_class=\"5\",envoy_cluster_name=\"httproute/shop/app/rule/0/backend/1\"}} {failed}\n\
                 envoy_cluster_upstream_rq_time_bucket{{le=\"250\",envoy_cluster_name=\"httproute/shop/app/rule/0/backend/1\"}} {ok}\n"
            )
        };
        let traffic = seen([&text(10, 1), &text(30, 3)]);
        let counts = traffic.counts_at(&arm("v2"), 1).unwrap();
        assert_eq!((counts.requests, counts.errors), (22.0, 2.0));
        assert_eq!(counts.buckets, [(0.25, 20.0)]);
        assert_eq!(traffic.counts_at(&arm("v1"), 0), None);
        assert_eq!(traffic.blended(&arm("v2").route, 0), None);
        assert!(traffic.route(&arm("v2").route).is_some(), "the console shows it too");
    }

    #[test]
    fn a_cluster_per_rule_does_not_and_says_what_to_change() {
        let text = "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"httproute/shop/app/rule/0\"} 5\n";
        let traffic = seen([text, text]);
        assert_eq!(traffic.counts_at(&arm("v2"), 1), None);
        assert!(traffic.blended(&arm("v2").route, 0).unwrap().contains("filter"));
        assert_eq!(traffic.blended(&arm("v2").route, 1), None);
    }

    #[test]
    fn istio_tells_services_apart_and_is_counted_on_one_side() {
        let text = |count: u32| {
            ["source", "destination"].map(|reporter| format!(
                "istio_requests_total{{reporter=\"{reporter}\",destination_service_namespace=\"shop\",destination_service_name=\"v2\",response_code=\"503\"}} {count}\n"
            )).concat()
        };
        let traffic = seen([&text(1), &text(4)]);
        let counts = traffic.counts_at(&arm("v2"), 1).unwrap();
        assert_eq!((counts.requests, counts.errors), (3.0, 3.0));
    }
}
