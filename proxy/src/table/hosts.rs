//! Values by hostname: exact, wildcard (`*.example.com`), or any host.

use std::{collections::HashMap, sync::Arc};

/// Longest name DNS allows, and so the longest that any hostname here can take.
const LONGEST_NAME: usize = 253;

/// Exact names win over wildcards, longer wildcards over shorter ones, all over the catch-all.
/// A wildcard stands for one label or more, never for none.
#[derive(Debug, Clone)]
pub struct HostMap<T> {
    exact: HashMap<Arc<str>, T>,
    /// By the part after `*.`.
    wildcard: HashMap<Arc<str>, T>,
    any: Option<T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: None }
    }
}

impl<T> HostMap<T> {
    /// `hostname` is lower case; empty means any host.
    pub fn insert(&mut self, hostname: &str, value: T) -> Option<T> {
        if hostname.is_empty() {
            self.any.replace(value)
        } else if let Some(suffix) = hostname.strip_prefix("*.") {
            self.wildcard.insert(suffix.into(), value)
        } else {
            self.exact.insert(hostname.into(), value)
        }
    }

    /// The value of this very hostname.
    pub fn remove(&mut self, hostname: &str) -> Option<T> {
        if hostname.is_empty() {
            self.any.take()
        } else if let Some(suffix) = hostname.strip_prefix("*.") {
            self.wildcard.remove(suffix)
        } else {
            self.exact.remove(hostname)
        }
    }

    /// Every value whose hostname takes `host` (lower case, no port), most specific first.
    /// The dot that ends an absolute name is no part of it.
    pub fn find<'a, 'h>(&'a self, host: &'h str) -> impl Iterator<Item = &'a T> + use<'a, 'h, T> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let named = (host.len() <= LONGEST_NAME).then_some(host);
        let parents = named
            .filter(|_| !self.wildcard.is_empty())
            .and_then(parent)
            .into_iter()
            .flat_map(|first| std::iter::successors(Some(first), |rest| parent(rest)));
        let exact = named.and_then(|host| self.exact.get(host));
        exact.into_iter().chain(parents.filter_map(|suffix| self.wildcard.get(suffix))).chain(&self.any)
    }

    /// With the hostname of each value, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (String, &T)> {
        let mut all: Vec<_> = (self.any.iter().map(|value| (String::new(), value)))
            .chain(self.wildcard.iter().map(|(suffix, value)| (format!("*.{suffix}"), value)))
            .chain(self.exact.iter().map(|(host, value)| (host.to_string(), value)))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.into_iter()
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }
}

/// The name without its first label, where that label and a rest are there.
fn parent(host: &str) -> Option<&str> {
    host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(hostnames: &[&'static str]) -> HostMap<&'static str> {
        let mut map = HostMap::default();
        for &hostname in hostnames {
            assert!(map.insert(hostname, hostname).is_none(), "{hostname} twice");
        }
        map
    }

    fn found(map: &HostMap<&'static str>, host: &str) -> Vec<&'static str> {
        map.find(host).copied().collect()
    }

    #[test]
    fn most_specific_first() {
        let map = map(&["", "*.com", "*.example.com", "www.example.com", "example.com"]);
        assert_eq!(found(&map, "www.example.com"), ["www.example.com", "*.example.com", "*.com", ""]);
        assert_eq!(found(&map, "a.b.example.com"), ["*.example.com", "*.com", ""]);
        assert_eq!(found(&map, "example.com"), ["example.com", "*.com", ""]);
        assert_eq!(found(&map, "com"), [""]);
        assert_eq!(found(&map, ""), [""]);
        assert_eq!(found(&map, "10.0.0.1"), [""]);
    }

    #[test]
    fn a_wildcard_needs_a_label() {
        let map = map(&["*.example.com"]);
        assert_eq!(found(&map, "example.com"), [""; 0]);
        assert_eq!(found(&map, ".example.com"), [""; 0]);
        assert_eq!(found(&map, "badexample.com"), [""; 0]);
        assert_eq!(found(&map, "x.example.com"), ["*.example.com"]);
    }

    #[test]
    fn an_absolute_name_is_the_same_name() {
        let map = map(&["*.example.com", "a.example.com"]);
        assert_eq!(found(&map, "a.example.com."), ["a.example.com", "*.example.com"]);
    }

    #[test]
    fn a_name_longer_than_dns_allows_meets_only_the_catch_all() {
        let map = map(&["", "*.example.com"]);
        let host = format!("{}example.com", "a.".repeat(200));
        assert_eq!(found(&map, &host), [""]);
    }

    #[test]
    fn names_come_back_as_inserted() {
        let hostnames = ["", "*.example.com", "a.example.com"];
        let map = map(&hostnames);
        assert_eq!(map.iter().map(|(host, _)| host).collect::<Vec<_>>(), hostnames);
        assert!(map.iter().all(|(host, value)| host == *value));
    }
}
