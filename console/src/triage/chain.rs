//! The way of a route, hop by hop, with the first that is broken.

use serde::Serialize;

use crate::{
    finding::{Finding, Object, Severity},
    model::topology::Route,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    Route,
    Parent,
    Class,
    Gateway,
    Listener,
    Hostname,
    Tls,
    Controller,
    Rule,
    Backend,
    Grant,
    Service,
    Endpoints,
    Policy,
}

impl Step {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Parent => "parent",
            Self::Class => "class",
            Self::Gateway => "gateway",
            Self::Listener => "listener",
            Self::Hostname => "hostname",
            Self::Tls => "tls",
            Self::Controller => "controller",
            Self::Rule => "rule",
            Self::Backend => "backend",
            Self::Grant => "grant",
            Self::Service => "service",
            Self::Endpoints => "endpoints",
            Self::Policy => "policy",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Ok,
    /// Worth a look; it works nevertheless.
    Note,
    Warning,
    /// It could not be looked at.
    Unknown,
    Broken,
}

impl Standing {
    pub const fn glyph(self) -> &'static str {
        match self {
            Self::Ok => "✓",
            Self::Note => "·",
            Self::Warning => "!",
            Self::Unknown => "?",
            Self::Broken => "✗",
        }
    }

    pub const fn ascii(self) -> &'static str {
        match self {
            Self::Ok => "+",
            Self::Note => ".",
            Self::Warning => "!",
            Self::Unknown => "?",
            Self::Broken => "x",
        }
    }
}

impl From<Severity> for Standing {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Note,
            Severity::Unknown => Self::Unknown,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Broken,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hop {
    pub step: Step,
    pub standing: Standing,
    /// What is looked at: an object, or a field of the route.
    pub subject: String,
    pub says: String,
    /// The rule that is broken here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'static str>,
}

/// Collects hops, or nothing at all: then no text is made for them.
#[derive(Debug)]
pub struct Trace(Option<Vec<Hop>>);

impl Trace {
    pub(super) fn on() -> Self {
        Self(Some(Vec::new()))
    }

    pub(super) fn off() -> Self {
        Self(None)
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn hop(&mut self, step: Step, standing: Standing, about: impl FnOnce() -> (String, String)) {
        if let Some(hops) = &mut self.0 {
            let (subject, says) = about();
            hops.push(Hop { step, standing, subject, says, id: None });
        }
    }

    pub(super) fn ok(&mut self, step: Step, about: impl FnOnce() -> (String, String)) {
        self.hop(step, Standing::Ok, about);
    }

    pub(super) fn finding(&mut self, step: Step, subject: impl Into<String>, finding: &Finding) {
        if let Some(hops) = &mut self.0 {
            let (standing, says) = (finding.severity.into(), finding.title.clone());
            hops.push(Hop { step, standing, subject: subject.into(), says, id: Some(finding.id) });
        }
    }
}

/// Why a route is as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chain {
    pub route: Object,
    pub hostnames: Vec<String>,
    pub hops: Vec<Hop>,
    /// Position of the first hop that is broken: what to mend first.
    pub broken: Option<usize>,
    /// Of the route and of what its way leads over, gravest first, the first broken hop's before
    /// all others.
    pub findings: Vec<Finding>,
}

impl Chain {
    pub(super) fn new(route: &Route, trace: Trace, mut findings: Vec<Finding>) -> Self {
        let hops = trace.0.unwrap_or_default();
        let broken = hops.iter().position(|hop| hop.standing == Standing::Broken);
        let first = broken.and_then(|at| hops[at].id);
        findings.sort_by(|a, b| {
            let rank = |of: &Finding| (Some(of.id) != first, std::cmp::Reverse(of.severity), of.id);
            rank(a).cmp(&rank(b))
        });
        findings.dedup();
        Self { route: (&route.key).into(), hostnames: route.hostnames.clone(), hops, broken, findings }
    }

    /// The finding of the first broken hop.
    pub fn cause(&self) -> Option<&Finding> {
        let hop = &self.hops[self.broken?];
        self.findings.iter().find(|finding| Some(finding.id) == hop.id && finding.title == hop.says)
    }

    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}
