//! The backends of a rule as they stand in a route's JSON, and arithmetic on their weights.

use std::fmt;

use serde_json::{Map, Value};

/// The largest weight that the Gateway API admits.
pub const MAX_WEIGHT: u64 = 1_000_000;

/// Why a change of weights is not even planned. Nothing was written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("the route has no rules: nothing to split")]
    NoRules,
    #[error("no rule {rule}: the route has rules 0 to {}", rules - 1)]
    NoSuchRule { rule: usize, rules: usize },
    #[error(
        "no rule is called {wanted:?} or matches it: the route has {rules}, and --rule takes an index from 0, a name, or a path"
    )]
    NoRuleCalled { wanted: String, rules: usize },
    #[error(
        "rule {rule} has {backends} backend(s): a canary needs two; add the canary's backendRef with weight 0 first"
    )]
    OneBackend { rule: usize, backends: usize },
    #[error("no rule of the route has two backends: add the canary's backendRef with weight 0 first")]
    NoPair,
    #[error("rules {0:?} all have several backends: say which with --rule")]
    SeveralRules(Vec<usize>),
    #[error("rule {rule} has {backends} backends ({names}): say which two with --stable and --canary")]
    SeveralBackends { rule: usize, backends: usize, names: String },
    #[error("rule {rule} has no backend {name:?}: it has {names}")]
    NoSuchBackend { rule: usize, name: String, names: String },
    #[error("{name:?} names more than one backend of rule {rule} ({names}): write it as namespace/name:port")]
    Ambiguous { rule: usize, name: String, names: String },
    #[error("stable and canary are both {0}: name two backends")]
    SameBackend(String),
    #[error(
        "{0} and {1} of the rule both have weight 0: they take no traffic that could be split; give the stable one a weight"
    )]
    AllZero(String, String),
    #[error("{0} % is not a share: it must lie between 0 and 100")]
    Percent(f64),
    #[error(
        "weights that sum to {total} cannot express {percent} % and the rule has other backends: multiply the rule's weights first"
    )]
    Resolution { total: u64, percent: f64 },
    #[error("the weights sum to {0}: the API admits at most 1000000 each")]
    TooLarge(u64),
    #[error("cannot read {0} of the route")]
    Unreadable(String),
}

/// One `backendRef` of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    pub index: usize,
    pub namespace: Option<String>,
    pub name: String,
    pub port: Option<u16>,
    /// Absent means 1.
    pub weight: Option<u64>,
}

impl Backend {
    pub fn effective(&self) -> u64 {
        self.weight.unwrap_or(1)
    }

    /// The reference without its position and weight.
    pub fn identity(&self) -> String {
        self.to_string()
    }

    /// `wanted` is `[namespace/]name[:port]`.
    fn is(&self, wanted: &str) -> bool {
        let (namespace, rest) = match wanted.split_once('/') {
            Some((namespace, rest)) => (Some(namespace), rest),
            None => (None, wanted),
        };
        let (name, port) = match rest.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (rest, None),
        };
        self.name == name
            && namespace.is_none_or(|namespace| self.namespace.as_deref() == Some(namespace))
            && port.is_none_or(|port| self.port.is_some_and(|own| own.to_string() == port))
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The two backends between which traffic is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub rule: usize,
    pub stable: Backend,
    pub canary: Backend,
}

impl Pair {
    /// What the two share; moving traffic between them leaves it as it is.
    pub fn total(&self) -> u64 {
        self.stable.effective() + self.canary.effective()
    }

    /// Share of the canary within the pair, in percent.
    pub fn percent(&self) -> f64 {
        percent_of(self.canary.effective(), self.total())
    }
}

pub fn percent_of(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { part as f64 * 100.0 / total as f64 }
}

fn rules(route: &Value) -> Result<&Vec<Value>, Refusal> {
    match route.pointer("/spec/rules").and_then(Value::as_array) {
        Some(rules) if !rules.is_empty() => Ok(rules),
        _ => Err(Refusal::NoRules),
    }
}

/// How many rules the route has.
pub fn rule_count(route: &Value) -> usize {
    rules(route).map_or(0, Vec::len)
}

pub fn backends(route: &Value, rule: usize) -> Result<Vec<Backend>, Refusal> {
    let rules = rules(route)?;
    let chosen = rules.get(rule).ok_or(Refusal::NoSuchRule { rule, rules: rules.len() })?;
    let Some(refs) = chosen.get("backendRefs").and_then(Value::as_array) else { return Ok(Vec::new()) };
    refs.iter()
        .enumerate()
        .map(|(index, reference)| {
            backend(index, reference)
                .ok_or_else(|| Refusal::Unreadable(format!("spec.rules[{rule}].backendRefs[{index}]")))
        })
        .collect()
}

fn backend(index: usize, reference: &Value) -> Option<Backend> {
    let reference: &Map<String, Value> = reference.as_object()?;
    let text = |field: &str| reference.get(field).and_then(Value::as_str).map(str::to_owned);
    let weight = match reference.get("weight") {
        None | Some(Value::Null) => None,
        Some(weight) => Some(weight.as_u64().filter(|weight| *weight <= MAX_WEIGHT)?),
    };
    let port = match reference.get("port") {
        None | Some(Value::Null) => None,
        Some(port) => Some(u16::try_from(port.as_u64()?).ok()?),
    };
    Some(Backend { index, namespace: text("namespace"), name: text("name")?, port, weight })
}

fn names(backends: &[Backend]) -> String {
    backends.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The pair that is meant: by default the rule that has several backends, its first backend
/// as stable and the other of two as canary.
pub fn pair(route: &Value, rule: Option<usize>, stable: Option<&str>, canary: Option<&str>) -> Result<Pair, Refusal> {
    let rule = match rule {
        Some(rule) => rule,
        None => sole_rule(route)?,
    };
    let refs = backends(route, rule)?;
    if refs.len() < 2 {
        return Err(Refusal::OneBackend { rule, backends: refs.len() });
    }
    let several = || Refusal::SeveralBackends { rule, backends: refs.len(), names: names(&refs) };
    let (stable, canary) = match (stable, canary) {
        (Some(stable), Some(canary)) => (find(&refs, rule, stable)?, find(&refs, rule, canary)?),
        _ if refs.len() > 2 => return Err(several()),
        (Some(stable), None) => {
            let stable = find(&refs, rule, stable)?;
            (stable, &refs[1 - stable.index])
        }
        (None, Some(canary)) => {
            let canary = find(&refs, rule, canary)?;
            (&refs[1 - canary.index], canary)
        }
        (None, None) => (&refs[0], &refs[1]),
    };
    if stable.index == canary.index {
        return Err(Refusal::SameBackend(stable.to_string()));
    }
    Ok(Pair { rule, stable: stable.clone(), canary: canary.clone() })
}

fn sole_rule(route: &Value) -> Result<usize, Refusal> {
    let count = rules(route)?.len();
    let mut several = Vec::new();
    for rule in 0..count {
        if backends(route, rule)?.len() > 1 {
            several.push(rule);
        }
    }
    match several.as_slice() {
        [rule] => Ok(*rule),
        [] if count == 1 => Err(Refusal::OneBackend { rule: 0, backends: backends(route, 0)?.len() }),
        [] => Err(Refusal::NoPair),
        _ => Err(Refusal::SeveralRules(several)),
    }
}

fn find<'a>(refs: &'a [Backend], rule: usize, wanted: &str) -> Result<&'a Backend, Refusal> {
    let mut found = refs.iter().filter(|backend| backend.is(wanted));
    match (found.next(), found.next()) {
        (Some(backend), None) => Ok(backend),
        (None, _) => Err(Refusal::NoSuchBackend { rule, name: wanted.to_owned(), names: names(refs) }),
        (Some(_), Some(_)) => Err(Refusal::Ambiguous { rule, name: wanted.to_owned(), names: names(refs) }),
    }
}

/// Stable's and canary's weight for a share of the canary; they sum to `total`, and a share
/// that is neither 0 nor 100 leaves each of the two something.
pub fn split(total: u64, percent: f64) -> (u64, u64) {
    let wanted = (total as f64 * percent / 100.0).round() as u64;
    let canary = if percent <= 0.0 {
        0
    } else if percent >= 100.0 {
        total
    } else {
        wanted.clamp(1, total.saturating_sub(1).max(1))
    };
    (total.saturating_sub(canary), canary.min(total))
}

/// Whether weights that sum to `total` come close to the share: a twentieth of a percent point,
/// or a twentieth of what the smaller side gets, if that is less.
pub fn expressible(total: u64, percent: f64) -> bool {
    let tolerance = (percent.min(100.0 - percent) / 20.0).clamp(1e-4, 0.05);
    (percent_of(split(total, percent).1, total) - percent).abs() <= tolerance
}

/// The smallest factor on a rule's weights with which every share is expressible, as far as
/// the API's limit of a weight allows.
pub fn scale(total: u64, largest: u64, shares: &[f64]) -> u64 {
    let limit = (MAX_WEIGHT / total.max(largest).max(1)).max(1);
    (1..=limit).find(|factor| shares.iter().all(|share| expressible(total * factor, *share))).unwrap_or(limit)
}

/// The rule that is meant: its index, its `name`, the path of one of its matches, or the
/// `service/method` of one.
pub fn find_rule(route: &Value, wanted: &str) -> Result<usize, Refusal> {
    let rules = rules(route)?;
    if let Ok(index) = wanted.parse::<usize>() {
        return if index < rules.len() {
            Ok(index)
        } else {
            Err(Refusal::NoSuchRule { rule: index, rules: rules.len() })
        };
    }
    let text =
        |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let matches = |rule: &Value| {
        rule.get("matches").and_then(Value::as_array).into_iter().flatten().any(|one| {
            let method = format!("{}/{}", text(one, "/method/service"), text(one, "/method/method"));
            text(one, "/path/value") == wanted || method == wanted
        })
    };
    let mut found = (0..rules.len()).filter(|index| text(&rules[*index], "/name") == wanted);
    if let Some(index) = found.next() {
        return Ok(index);
    }
    let found: Vec<usize> = (0..rules.len()).filter(|index| matches(&rules[*index])).collect();
    match found.as_slice() {
        [index] => Ok(*index),
        [] => Err(Refusal::NoRuleCalled { wanted: wanted.to_owned(), rules: rules.len() }),
        several => Err(Refusal::SeveralRules(several.to_vec())),
    }
}
