//! What a run leaves on the route, so that whoever comes next can tell where it stood.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{plan::Header, verdict::Saved};
use crate::intent::weights::{self, Backend, Pair, Refusal};

pub const VERSION: u32 = 1;
const PREFIX: &str = "gwtop.dev/canary-";

/// The annotation's value; written in the same patch as the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub v: u32,
    pub id: String,
    /// Grows with every write of a run.
    pub seq: u64,
    /// Grows with every holder.
    pub fence: u64,
    pub holder: String,
    pub phase: Phase,
    /// Percent of the canary.
    pub percent: f64,
    /// Every backend of the rule, as the run found it and as it wrote it last.
    pub refs: Vec<Ref>,
    /// What the original weights were multiplied by.
    pub scale: u64,
    pub stable: String,
    pub canary: String,
    pub settings: String,
    /// What stands on the route beside the weights: `mirror` or `header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// The rule had filters of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub filters: bool,
    /// What the rollout has shown so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Saved>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Claimed, no weight written yet.
    Claimed,
    Stepping,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ref {
    #[serde(rename = "ref")]
    pub identity: String,
    pub orig: Option<u64>,
    pub last: u64,
}

impl Record {
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a record has only string keys")
    }

    pub fn last(&self, backend: &Backend) -> Option<u64> {
        self.find(backend).map(|reference| reference.last)
    }

    pub fn find(&self, backend: &Backend) -> Option<&Ref> {
        let identity = backend.identity();
        self.refs.iter().find(|reference| reference.identity == identity)
    }

    /// What stable and canary shared before any run touched them.
    pub fn total(&self) -> u64 {
        let of = |identity: &str| {
            self.refs.iter().find(|reference| reference.identity == identity).map_or(0, |r| r.orig.unwrap_or(1))
        };
        of(&self.stable) + of(&self.canary)
    }
}

/// The first half of FNV-1a: stable across versions, which the standard library's hash is not.
pub fn hash8(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{:08x}", (hash >> 32) as u32 ^ hash as u32)
}

/// The annotation of a rule and a pair. It follows the rule when others are added before it.
pub fn annotation(route: &Value, pair: &Pair) -> String {
    let rule = route.pointer(&format!("/spec/rules/{}", pair.rule));
    let own = |field: &str| rule.and_then(|rule| rule.get(field)).filter(|value| !value.is_null());
    let rule = own("name").or_else(|| own("matches")).map(Value::to_string).unwrap_or_default();
    format!("{PREFIX}{}", hash8(&format!("{rule} {} {}", pair.stable.identity(), pair.canary.identity())))
}

/// Every record on a route: annotation and text.
pub fn all(route: &Value) -> impl Iterator<Item = (&str, &str)> {
    let annotations = route.pointer("/metadata/annotations").and_then(Value::as_object);
    annotations
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .filter_map(|(name, text)| Some((name.as_str(), text.as_str()?)))
}

/// Text of an annotation.
pub fn text<'a>(route: &'a Value, annotation: &str) -> Option<&'a str> {
    route.get("metadata")?.get("annotations")?.get(annotation)?.as_str()
}

/// The rule that carries the pair now, wherever edits have moved it to.
pub fn resolve(route: &Value, annotation_name: &str, stable: &str, canary: &str) -> Result<Pair, Refusal> {
    let mut last = Refusal::NoPair;
    for rule in 0..weights::rule_count(route) {
        match exact(route, rule, stable, canary) {
            Ok(pair) if annotation(route, &pair) == annotation_name => return Ok(pair),
            Ok(_) => {}
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}

fn exact(route: &Value, rule: usize, stable: &str, canary: &str) -> Result<Pair, Refusal> {
    let refs = weights::backends(route, rule)?;
    let find = |identity: &str| {
        refs.iter().find(|backend| backend.identity() == identity).cloned().ok_or_else(|| Refusal::NoSuchBackend {
            rule,
            name: identity.to_owned(),
            names: refs.iter().map(Backend::identity).collect::<Vec<_>>().join(", "),
        })
    };
    Ok(Pair { rule, stable: find(stable)?, canary: find(canary)? })
}
