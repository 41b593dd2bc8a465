//! Which rule takes a request: the spec's precedence as one order.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};
use regex::Regex;

use super::{Bind, Listener, Rule};

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
#[derive(Debug, Clone)]
pub struct RouteMatch {
    pub path: PathMatcher,
    pub method: Option<Method>,
    pub headers: Vec<(HeaderName, ValueMatcher)>,
    pub query: Vec<(String, ValueMatcher)>,
    pub rule: Arc<Rule>,
    /// Age and name of the route, for ties: older first, then by `namespace/name`.
    pub seniority: (i64, String),
}

#[derive(Debug, Clone)]
pub enum PathMatcher {
    Exact(String),
    /// Without trailing slash; the empty prefix takes every path.
    Prefix(String),
    Regex(Regex),
}

#[derive(Debug, Clone)]
pub enum ValueMatcher {
    Exact(String),
    Regex(Regex),
}

#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    Rule {
        listener: &'a Arc<Listener>,
        found: &'a RouteMatch,
    },
    /// A listener takes the host, but no rule the request.
    NoRule(&'a Arc<Listener>),
    NoListener(&'a Bind),
}
