//! What is wrong with an object, how that is known and what to do: one type for every command and
//! screen, with its outputs. Pure.

pub mod github;
pub mod human;
pub mod junit;
pub mod markdown;
pub mod sarif;

use std::fmt;

use serde::Serialize;

use crate::model::key::ObjectKey;

/// From harmless to grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    /// It could not be looked at, which is never a pass.
    Unknown,
    Warning,
    Error,
}

impl Severity {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// What stands before the word, so that colour is not needed.
    pub const fn glyph(self) -> &'static str {
        match self {
            Self::Info => "·",
            Self::Unknown => "?",
            Self::Warning => "!",
            Self::Error => "✗",
        }
    }
}

/// Any object of Kubernetes, also of kinds that the console does not watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Object {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
}

impl Object {
    pub fn new(
        group: impl Into<String>,
        kind: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { group: group.into(), kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl From<&ObjectKey> for Object {
    fn from(key: &ObjectKey) -> Self {
        Self::new(key.kind.group(), key.kind.name(), &key.namespace, &key.name)
    }
}

/// `Kind namespace/name`, `Kind name` where there is no namespace, `Kind` for a whole cluster.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        match (self.namespace.is_empty(), self.name.is_empty()) {
            (_, true) => Ok(()),
            (true, false) => write!(f, " {}", self.name),
            (false, false) => write!(f, " {}/{}", self.namespace, self.name),
        }
    }
}

/// One link of the chain from what is seen to its cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Where it was read: an object and a path in it, a request, a file.
    pub from: String,
    /// What stood there.
    pub says: String,
}

impl Evidence {
    pub fn new(from: impl Into<String>, says: impl Into<String>) -> Self {
        Self { from: from.into(), says: says.into() }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// What to do, as an order.
    pub text: String,
    /// A manifest to apply, or a command to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// RFC 6902 patch of the finding's object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<json_patch::Patch>,
}

impl Fix {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    #[must_use]
    pub fn with_manifest(mut self, manifest: impl Into<String>) -> Self {
        self.manifest = Some(manifest.into());
        self
    }

    #[must_use]
    pub fn with_patch(mut self, patch: json_patch::Patch) -> Self {
        self.patch = Some(patch);
        self
    }
}

/// A line of a file, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: String,
    pub line: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub id: &'static str,
    pub severity: Severity,
    pub object: Object,
    /// Path in the object; empty where all of it is meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong, in one line.
    pub title: String,
    /// From what is seen to its cause.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Finding {
    pub fn new(id: &'static str, severity: Severity, object: impl Into<Object>, title: impl Into<String>) -> Self {
        Self {
            id,
            severity,
            object: object.into(),
            field: String::new(),
            title: title.into(),
            evidence: Vec::new(),
            fix: None,
            place: None,
        }
    }

    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    #[must_use]
    pub fn evidence(mut self, from: impl Into<String>, says: impl Into<String>) -> Self {
        self.evidence.push(Evidence::new(from, says));
        self
    }

    #[must_use]
    pub fn fix(mut self, fix: impl Into<Fix>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    #[must_use]
    pub fn place(mut self, file: impl Into<String>, line: u32) -> Self {
        self.place = Some(Place { file: file.into(), line });
        self
    }

    /// What the finding is known by from run to run: neither its words nor its line are part of it.
    pub fn fingerprint(&self) -> String {
        let gap = if self.field.is_empty() { "" } else { " " };
        format!("{} {}{gap}{}", self.id, self.object, self.field)
    }

    /// Where the page of all checks speaks of it.
    pub fn docs(&self) -> String {
        anchor(self.id)
    }
}

pub fn anchor(id: &str) -> String {
    let page = if id.starts_with("GWT") { "findings" } else { "checks" };
    format!("docs/{page}.md#{}", id.to_ascii_lowercase())
}

impl From<&str> for Fix {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Fix {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// A kind of finding: what `explain` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub id: &'static str,
    /// The gravest that it gives.
    pub severity: Severity,
    /// What is checked, in one line.
    pub title: &'static str,
    /// What it means for traffic, and how it comes about.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
}

/// How a rule ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome", content = "reason")]
pub enum Outcome {
    Pass,
    Fail,
    /// Not asked for, or there is nothing that it could be asked of.
    Skip(String),
    /// It could not be found out.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ran {
    #[serde(rename = "id", serialize_with = "id_of")]
    pub rule: &'static Rule,
    #[serde(flatten)]
    pub outcome: Outcome,
}

fn id_of<S: serde::Serializer>(rule: &&'static Rule, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(rule.id)
}

/// Findings, gravest first, with what was run to get them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub checks: Vec<Ran>,
}

impl Report {
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Gravest first, then by id and object, so that output is the same from run to run.
    pub fn sort(&mut self) {
        self.findings.sort_by(|a, b| {
            (b.severity, a.id, &a.object, &a.field, &a.title).cmp(&(a.severity, b.id, &b.object, &b.field, &b.title))
        });
        self.findings.dedup();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) static RULE: Rule = Rule {
        id: "RT002",
        severity: Severity::Error,
        title: "Routes are accepted",
        why: "A route that is refused serves nothing.",
        fix: "Read the condition's message.",
    };

    pub(crate) fn report() -> Report {
        let of = |name: &str| Object::new("gateway.networking.k8s.io", "HTTPRoute", "shop", name);
        let mut report = Report {
            findings: vec![
                Finding::new("RT003", Severity::Warning, of("a"), "no listener has this host"),
                Finding::new("RT002", Severity::Error, of("b"), "refused: <no> \"grant\"")
                    .field("spec.rules[0].backendRefs[0]")
                    .evidence("HTTPRoute shop/b status.parents[0]", "ResolvedRefs=False\nRefNotPermitted")
                    .fix(Fix::new("add a ReferenceGrant").with_manifest("kind: ReferenceGrant\n"))
                    .place("app.yaml", 12),
            ],
            checks: vec![Ran { rule: &RULE, outcome: Outcome::Fail }],
        };
        report.sort();
        report
    }

    #[test]
    fn the_gravest_comes_first_and_a_fingerprint_does_not_hold_words() {
        let report = report();
        assert_eq!(report.worst(), Some(Severity::Error));
        let prints: Vec<_> = report.findings.iter().map(Finding::fingerprint).collect();
        assert_eq!(prints, ["RT002 HTTPRoute shop/b spec.rules[0].backendRefs[0]", "RT003 HTTPRoute shop/a"]);
        assert_eq!(report.findings[0].docs(), "docs/checks.md#rt002");
    }

    #[test]
    fn json_has_what_a_pipeline_asks_for() {
        let value = serde_json::to_value(report()).unwrap();
        assert_eq!(value["findings"][0]["object"]["kind"], "HTTPRoute");
        assert_eq!(value["findings"][0]["place"]["line"], 12);
        assert_eq!(value["checks"][0], serde_json::json!({"id": "RT002", "outcome": "fail"}));
    }
}
