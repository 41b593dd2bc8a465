//! The rules of one hostname, found by path.

use std::collections::HashMap;

use super::{PathMatcher, RequestHead, RouteMatch};

/// Matches of one hostname in order of precedence, with an index over their paths: what a
/// request costs depends on how many matches share its path, not on how many there are.
#[derive(Debug, Default)]
pub struct Routes {
    /// Best first.
    matches: Vec<RouteMatch>,
    exact: HashMap<Box<str>, Vec<u32>>,
    prefixes: HashMap<Box<str>, Vec<u32>>,
    /// Lengths in bytes of the prefixes that are there, longest first, without 0.
    prefix_lengths: Vec<usize>,
    regexes: Vec<u32>,
    catch_all: Vec<u32>,
}

impl Routes {
    pub fn new(mut matches: Vec<RouteMatch>) -> Self {
        matches.sort_unstable();
        let mut routes = Self::default();
        for (at, entry) in (0..).zip(&matches) {
            match &entry.path {
                PathMatcher::Exact(path) => routes.exact.entry(path.as_str().into()).or_default().push(at),
                PathMatcher::Prefix(prefix) if prefix.is_empty() => routes.catch_all.push(at),
                PathMatcher::Prefix(prefix) => {
                    routes.prefix_lengths.push(prefix.len());
                    routes.prefixes.entry(prefix.as_str().into()).or_default().push(at);
                }
                PathMatcher::Regex(_) => routes.regexes.push(at),
            }
        }
        routes.prefix_lengths.sort_unstable_by(|a, b| b.cmp(a));
        routes.prefix_lengths.dedup();
        routes.matches = matches;
        routes
    }

    /// Best first.
    pub fn matches(&self) -> &[RouteMatch] {
        &self.matches
    }

    /// The match that takes the request: the first of [`Self::matches`] that fits.
    pub fn find(&self, head: &RequestHead<'_>) -> Option<&RouteMatch> {
        let path = head.path;
        let fits = |at: &u32| {
            let entry = self.matches.get(*at as usize)?;
            entry.matches_beside_path(head).then_some(entry)
        };
        self.exact
            .get(path)
            .and_then(|all| all.iter().find_map(fits))
            .or_else(|| self.prefixes_of(path).find_map(|all| all.iter().find_map(fits)))
            .or_else(|| self.regexes.iter().find_map(|at| fits(at).filter(|entry| entry.path.matches(path))))
            .or_else(|| self.catch_all.iter().find_map(fits))
    }

    /// The prefixes that end where an element of `path` ends, longest first. Only lengths
    /// that exist are tried: a path of a thousand slashes costs no more than another.
    fn prefixes_of<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a [u32]> + 'a {
        let ends = |length: usize| length == path.len() || path.as_bytes().get(length) == Some(&b'/');
        self.prefix_lengths
            .iter()
            .filter(move |length| ends(**length))
            .filter_map(|length| self.prefixes.get(path.get(..*length)?))
            .map(Vec::as_slice)
    }
}
