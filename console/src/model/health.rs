//! Conditions, whoever wrote them, to one state and the word for it. Never re-decides what a
//! controller decided; a reason nobody knows is shown as it stands.

use jiff::Timestamp;
use serde_json::Value;

/// From good to bad: the worst of several wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    Ok,
    /// The status speaks of an older generation of the object.
    Stale,
    /// No controller has said anything.
    Unknown,
    Degraded,
    Broken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub health: Health,
    /// The reason as the controller spells it.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub observed_generation: Option<i64>,
    pub since: Option<Timestamp>,
}

impl Health {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Stale => "Stale",
            Self::Unknown => "Unknown",
            Self::Degraded => "Degraded",
            Self::Broken => "Broken",
        }
    }

    pub const fn is_fault(self) -> bool {
        matches!(self, Self::Broken | Self::Degraded)
    }
}

impl Verdict {
    pub fn new(health: Health, reason: impl Into<String>) -> Self {
        Self { health, reason: reason.into() }
    }

    /// Of two, the worse; of two equal ones, the first.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.health > self.health { other } else { self }
    }
}

impl Condition {
    pub fn read(value: &Value) -> Self {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            kind: text("type"),
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
            observed_generation: value.get("observedGeneration").and_then(Value::as_i64),
            since: text("lastTransitionTime").parse().ok(),
        }
    }

    pub fn all(of: Option<&Value>) -> Vec<Self> {
        let conditions = of.and_then(|status| status.get("conditions")).and_then(Value::as_array);
        conditions.into_iter().flatten().map(Self::read).collect()
    }

    pub fn is_stale(&self, generation: i64) -> bool {
        self.observed_generation.is_some_and(|observed| observed < generation)
    }

    pub fn verdict(&self, generation: i64) -> Verdict {
        let health = match (self.kind.as_str(), self.status.as_str()) {
            ("Conflicted", "True") => Health::Broken,
            ("PartiallyInvalid" | "OverlappingTLSConfig", "True") => Health::Degraded,
            ("Conflicted" | "PartiallyInvalid" | "OverlappingTLSConfig", "False") => Health::Ok,
            ("Accepted" | "Programmed", "False") => Health::Broken,
            (_, "False") => Health::Degraded,
            (_, "Unknown") if matches!(self.kind.as_str(), "Accepted" | "Programmed" | "ResolvedRefs") => {
                Health::Unknown
            }
            _ if self.is_stale(generation) => Health::Stale,
            _ => Health::Ok,
        };
        let reason = if health == Health::Stale { "ObservedGenerationBehind" } else { &self.reason };
        Verdict::new(health, reason)
    }
}

/// One verdict of the conditions of one parent, listener or Gateway.
pub fn judge(conditions: &[Condition], generation: i64) -> Verdict {
    let verdicts = conditions.iter().map(|condition| condition.verdict(generation));
    let worst = verdicts.reduce(Verdict::worse).unwrap_or_else(|| Verdict::new(Health::Unknown, "NoStatus"));
    if worst.health == Health::Ok { Verdict::new(Health::Ok, "") } else { worst }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str, observed: i64) -> Condition {
        Condition::read(&json!({"type": kind, "status": status, "reason": reason, "observedGeneration": observed}))
    }

    #[test]
    fn the_worst_condition_speaks() {
        let all = [
            condition("Accepted", "True", "Accepted", 2),
            condition("ResolvedRefs", "False", "BackendNotFound", 2),
            condition("Example.com/Odd", "True", "Whatever", 2),
        ];
        assert_eq!(judge(&all, 2), Verdict::new(Health::Degraded, "BackendNotFound"));
        let refused = [condition("Accepted", "False", "VendorSaysNo", 2)];
        assert_eq!(judge(&refused, 2), Verdict::new(Health::Broken, "VendorSaysNo"));
    }

    #[test]
    fn stale_and_silent_are_not_ok() {
        assert_eq!(judge(&[condition("Accepted", "True", "Accepted", 1)], 2).health, Health::Stale);
        assert_eq!(judge(&[], 1), Verdict::new(Health::Unknown, "NoStatus"));
        assert_eq!(judge(&[condition("Conflicted", "False", "NoConflicts", 1)], 1).health, Health::Ok);
    }
}
