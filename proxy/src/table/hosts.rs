//! Values by hostname: exact, wildcard (`*.example.com`), or any host.

use std::collections::HashMap;

/// Exact names win over wildcards, longer wildcards over shorter ones, all over the catch-all.
#[derive(Debug)]
pub struct HostMap<T> {
    exact: HashMap<Box<str>, T>,
    /// By the part after `*.`.
    wildcard: HashMap<Box<str>, T>,
    any: Option<T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: None }
    }
}

impl<T> HostMap<T> {
    /// `hostname` is lower case; empty means any host.
    pub fn entry(&mut self, hostname: &str) -> &mut T
    where
        T: Default,
    {
        if hostname.is_empty() {
            self.any.get_or_insert_with(T::default)
        } else if let Some(suffix) = hostname.strip_prefix("*.") {
            self.wildcard.entry(suffix.into()).or_default()
        } else {
            self.exact.entry(hostname.into()).or_default()
        }
    }

    pub fn insert(&mut self, hostname: &str, value: T) -> Option<T> {
        if hostname.is_empty() {
            self.any.replace(value)
        } else if let Some(suffix) = hostname.strip_prefix("*.") {
            self.wildcard.insert(suffix.into(), value)
        } else {
            self.exact.insert(hostname.into(), value)
        }
    }

    /// Every value whose hostname takes `host` (lower case, no port), most specific first.
    pub fn find<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a T> + 'a {
        let wildcards = std::iter::successors(host.find('.').map(|dot| &host[dot + 1..]), |rest| {
            rest.find('.').map(|dot| &rest[dot + 1..])
        })
        .filter_map(|suffix| self.wildcard.get(suffix));
        self.exact.get(host).into_iter().chain(wildcards).chain(&self.any)
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.wildcard.values_mut()).chain(&mut self.any)
    }
}
