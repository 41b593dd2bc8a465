//! Hostnames of listeners and routes, and what they have in common.

use std::collections::{BTreeMap, BTreeSet};

/// As the table keeps them: lower case, without the dot of an absolute name.
pub fn normal(hostname: &str) -> String {
    hostname.strip_suffix('.').unwrap_or(hostname).to_ascii_lowercase()
}

/// The hostnames on which a listener takes the requests of a route: of each pair that fits
/// the more specific one. Empty when nothing fits; the empty hostname is any host.
pub fn effective(listener: &str, route: &[String]) -> Vec<String> {
    if route.is_empty() {
        return vec![listener.to_owned()];
    }
    let mut all: Vec<_> = route.iter().filter_map(|hostname| common(listener, hostname)).map(str::to_owned).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn common<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    if takes(a, b) {
        Some(b)
    } else if takes(b, a) {
        Some(a)
    } else {
        None
    }
}

/// Whether every host of `narrow` is one of `wide`.
fn takes(wide: &str, narrow: &str) -> bool {
    wide.is_empty()
        || wide == narrow
        || wide.strip_prefix('*').is_some_and(|suffix| {
            suffix.starts_with('.') && narrow.strip_suffix(suffix).is_some_and(|label| !label.is_empty())
        })
}

/// Hostnames of a listener that routes of each kind have.
#[derive(Default)]
pub struct Held(BTreeMap<&'static str, BTreeSet<String>>);

impl Held {
    pub fn take(&mut self, kind: &'static str, hostnames: &[String]) {
        self.0.entry(kind).or_default().extend(hostnames.iter().cloned());
    }

    /// The kind that has one of `hostnames`, or a part of it, and is not `kind`.
    pub fn by_another(&self, kind: &str, hostnames: &[String]) -> Option<(&'static str, String)> {
        let others = self.0.iter().filter(|(other, _)| **other != kind);
        others.into_iter().find_map(|(other, held)| {
            let taken = hostnames.iter().find(|hostname| {
                // Most hosts are names in full: those need no look at all the others.
                let wide = hostname.is_empty() || hostname.starts_with('*');
                held.contains(*hostname)
                    || wider(hostname).any(|wider| held.contains(wider.as_str()))
                    || (wide && held.iter().any(|held| takes(hostname, held)))
            })?;
            Some((*other, taken.clone()))
        })
    }
}

/// Every hostname that takes all hosts of `hostname`, from the next wider one to any host.
fn wider(hostname: &str) -> impl Iterator<Item = String> + '_ {
    let labels = hostname.strip_prefix("*.").unwrap_or(hostname);
    let parents = std::iter::successors(labels.split_once('.'), |(_, rest)| rest.split_once('.'));
    parents.map(|(_, parent)| format!("*.{parent}")).chain([String::new()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_they_have_in_common() {
        for (listener, route, expected) in [
            ("", "a.com", Some("a.com")),
            ("a.com", "a.com", Some("a.com")),
            ("a.com", "b.com", None),
            ("*.com", "a.com", Some("a.com")),
            ("*.com", "b.a.com", Some("b.a.com")),
            ("*.a.com", "a.com", None),
            ("b.a.com", "*.a.com", Some("b.a.com")),
            ("*.a.com", "*.com", Some("*.a.com")),
            ("*.com", "*.a.com", Some("*.a.com")),
            ("*.a.com", "*.b.com", None),
            ("*.a.com", "xa.com", None),
        ] {
            assert_eq!(common(listener, route), expected, "{listener} and {route}");
        }
    }

    #[test]
    fn each_hostname_once() {
        let route = ["*.com", "a.com", "*.org"].map(str::to_owned);
        assert_eq!(effective("a.com", &route), ["a.com"]);
        assert_eq!(effective("", &route), ["*.com", "*.org", "a.com"]);
        assert_eq!(effective("a.net", &route), [""; 0]);
        assert_eq!(effective("a.net", &[]), ["a.net"]);
    }

    #[test]
    fn a_host_belongs_to_one_kind() {
        let mut held = Held::default();
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        held.take("HTTPRoute", &names(&["a.b.com", "*.org"]));
        for (hostname, taken) in [
            ("a.b.com", true),
            ("*.b.com", true),
            ("*.com", true),
            ("", true),
            ("x.org", true),
            ("y.x.org", true),
            ("*.x.org", true),
            ("org", false),
            ("b.com", false),
            ("c.b.com", false),
            ("*.a.b.com", false),
        ] {
            assert_eq!(held.by_another("GRPCRoute", &names(&[hostname])).is_some(), taken, "{hostname}");
            assert!(held.by_another("HTTPRoute", &names(&[hostname])).is_none(), "{hostname}");
        }
        held.take("HTTPRoute", &names(&[""]));
        assert!(held.by_another("GRPCRoute", &names(&["c.b.com"])).is_some());
    }
}
