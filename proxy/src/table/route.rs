//! Which rule takes a request: the spec's precedence as one order, and an index that gives
//! the same answer without looking at every rule.

use std::{
    cmp::{Ordering, Reverse},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use regex::{Regex, bytes::Regex as BytesRegex};

use super::{Bind, Listener, Rule};

mod index;
mod query;

pub use index::Routes;

/// What routing looks at.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// Lower case, without port.
    pub host: &'a str,
    pub method: &'a Method,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
}

/// One `matches` entry of a rule, with the rule that it leads to.
///
/// Its order is the spec's precedence: the smaller of two takes the request. Entries that
/// compare equal differ at most in values, never in rank.
#[derive(Debug, Clone)]
pub struct RouteMatch {
    pub path: PathMatcher,
    pub method: Option<Method>,
    pub headers: Vec<(HeaderName, ValueMatcher)>,
    pub query: Vec<(String, ValueMatcher)>,
    pub rule: Arc<Rule>,
    /// `creationTimestamp` of the route in seconds, for ties: older first.
    pub created: i64,
    /// Index in the rule's `matches`, the last tie.
    pub order: usize,
}

#[derive(Debug, Clone)]
pub enum PathMatcher {
    Exact(String),
    /// Without trailing slash; the empty prefix takes every path.
    Prefix(String),
    /// Anchored at both ends by whoever compiled it.
    Regex(Regex),
}

#[derive(Debug, Clone)]
pub enum ValueMatcher {
    Exact(String),
    /// Anchored at both ends by whoever compiled it. Over bytes: header values and decoded
    /// query values need not be UTF-8.
    Regex(BytesRegex),
}

#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    Rule {
        found: &'a RouteMatch,
    },
    /// A listener takes the host, but no rule the request.
    NoRule(&'a Arc<Listener>),
    NoListener(&'a Bind),
}

impl Bind {
    /// The listener with the most specific hostname has the request to itself (HTTP listener
    /// isolation). Within it the rules of the most specific hostname are asked first; less
    /// specific ones see what those did not match.
    pub fn find<'a>(&'a self, head: &RequestHead<'_>) -> Found<'a> {
        let Some(listener) = self.listeners.find(head.host).next() else {
            return Found::NoListener(self);
        };
        match listener.routes.find(head.host).find_map(|routes| routes.find(head)) {
            Some(found) => Found::Rule { found },
            None => Found::NoRule(listener),
        }
    }
}

impl RouteMatch {
    #[cfg(test)]
    pub fn matches(&self, head: &RequestHead<'_>) -> bool {
        self.path.matches(head.path) && self.matches_beside_path(head)
    }

    /// All conditions but the path, which the index has looked at already.
    fn matches_beside_path(&self, head: &RequestHead<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == head.method)
            && self.headers.iter().all(|(name, value)| value.matches_header(head.headers, name))
            && self.query.iter().all(|(name, value)| {
                head.query.and_then(|query| query::first(query, name)).is_some_and(|found| value.matches(&found))
            })
    }

    fn rank(&self) -> impl Ord + use<> {
        (self.path.rank(), self.method.is_none(), Reverse(self.headers.len()), Reverse(self.query.len()), self.created)
    }
}

impl Ord for RouteMatch {
    fn cmp(&self, other: &Self) -> Ordering {
        let (route, others) = (&self.rule.route, &other.rule.route);
        self.rank()
            .cmp(&other.rank())
            .then_with(|| slashed(&route.key).cmp(slashed(&others.key)))
            // Two kinds of route may share a name; the spec leaves their order open.
            .then_with(|| route.kind.cmp(others.kind))
            .then_with(|| route.rule.cmp(&others.rule))
            .then_with(|| self.order.cmp(&other.order))
    }
}

impl PartialOrd for RouteMatch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RouteMatch {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for RouteMatch {}

/// The bytes of `namespace/name`: the spec orders by this text, not by namespace and then name.
fn slashed(key: &crate::types::Key) -> impl Iterator<Item = u8> + '_ {
    key.namespace.bytes().chain(std::iter::once(b'/')).chain(key.name.bytes())
}

impl PathMatcher {
    /// A prefix as the spec reads it: by whole path elements, a trailing slash ignored.
    pub fn prefix(value: &str) -> Self {
        Self::Prefix(value.trim_end_matches('/').to_owned())
    }

    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                    || prefix.is_empty()
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }

    /// Smaller wins. The place of regular expressions is left to implementations: here they
    /// come after prefixes, longer patterns first, but before the prefix `/`, which every rule
    /// without a path has and which would otherwise leave a regular expression nothing.
    fn rank(&self) -> (u8, Reverse<usize>) {
        let (class, length) = match self {
            Self::Exact(_) => (0, 0),
            Self::Prefix(prefix) if prefix.is_empty() => (3, 0),
            Self::Prefix(prefix) => (1, prefix.chars().count()),
            Self::Regex(regex) => (2, regex.as_str().len()),
        };
        (class, Reverse(length))
    }
}

impl ValueMatcher {
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }

    /// A header sent several times counts as one with its values joined by commas.
    fn matches_header(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let mut values = headers.get_all(name).iter();
        let Some(first) = values.next() else { return false };
        match values.next() {
            None => self.matches(first.as_bytes()),
            Some(second) => self.matches(&joined(first, std::iter::once(second).chain(values))),
        }
    }
}

fn joined<'a>(first: &HeaderValue, rest: impl Iterator<Item = &'a HeaderValue>) -> Vec<u8> {
    let mut all = first.as_bytes().to_vec();
    for value in rest {
        all.push(b',');
        all.extend_from_slice(value.as_bytes());
    }
    all
}

#[cfg(test)]
mod tests;
