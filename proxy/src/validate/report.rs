//! What validation found, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

/// Version of the JSON and YAML output.
const SCHEMA: &str = "gwtop.dev/validate/v1";

/// One condition of one object, or of one of its listeners or parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    /// The listener or the parent that it is about.
    pub of: Option<String>,
    pub condition: &'static str,
    pub status: bool,
    pub reason: &'static str,
    pub message: String,
    pub good: bool,
}

#[derive(Debug, Default)]
pub struct Report {
    /// What could not be read, or would be refused by the API.
    pub problems: Vec<String>,
    /// What was assumed.
    pub notes: Vec<String>,
    pub rows: Vec<Row>,
}

impl Report {
    pub fn is_valid(&self) -> bool {
        self.problems.is_empty() && self.rows.iter().all(|row| row.good)
    }

    pub fn json(&self) -> Value {
        let mut objects = BTreeMap::<(&str, &str, &str), BTreeMap<&str, Vec<Value>>>::new();
        for row in &self.rows {
            let of = objects.entry((row.kind, &row.namespace, &row.name)).or_default();
            of.entry(row.of.as_deref().unwrap_or_default()).or_default().push(json!({
                "type": row.condition,
                "status": if row.status { "True" } else { "False" },
                "reason": row.reason,
                "message": row.message,
                "good": row.good,
            }));
        }
        let objects = objects.into_iter().map(|((kind, namespace, name), of)| {
            let about = of.into_iter().map(|(of, conditions)| match of {
                "" => json!({ "conditions": conditions }),
                of => json!({ "of": of, "conditions": conditions }),
            });
            json!({ "kind": kind, "namespace": namespace, "name": name, "about": about.collect::<Vec<_>>() })
        });
        json!({
            "schema": SCHEMA,
            "valid": self.is_valid(),
            "problems": self.problems,
            "notes": self.notes,
            "objects": objects.collect::<Vec<_>>(),
        })
    }

    /// What is good in one line an object, what is not with its message.
    pub fn table(&self) -> String {
        let mut lines = Vec::new();
        for row in &self.rows {
            let namespace = if row.namespace.is_empty() { String::new() } else { format!("{}/", row.namespace) };
            let cells = [
                if row.good { "ok" } else { "BAD" }.to_owned(),
                row.kind.to_owned(),
                format!("{namespace}{}", row.name),
                row.of.clone().unwrap_or_else(|| "-".to_owned()),
                format!("{}={}", row.condition, if row.status { "True" } else { "False" }),
                row.reason.to_owned(),
            ];
            lines.push((cells, (!row.good).then_some(&row.message)));
        }
        let heads = ["", "KIND", "OBJECT", "OF", "CONDITION", "REASON"].map(str::to_owned);
        let mut widths = heads.each_ref().map(|head| head.chars().count());
        for (cells, _) in &lines {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let mut line = |cells: &[String; 6], message: Option<&String>| {
            let mut all = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                let _ = write!(all, "{cell:width$}  ");
            }
            let _ = writeln!(text, "{}", all.trim_end());
            if let Some(message) = message {
                let _ = writeln!(text, "     {message}");
            }
        };
        if !lines.is_empty() {
            line(&heads, None);
        }
        for (cells, message) in &lines {
            line(cells, *message);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        for problem in &self.problems {
            let _ = writeln!(text, "problem: {problem}");
        }
        let bad = self.rows.iter().filter(|row| !row.good).count() + self.problems.len();
        let _ = match bad {
            0 => writeln!(text, "valid"),
            1 => writeln!(text, "1 problem"),
            bad => writeln!(text, "{bad} problems"),
        };
        text
    }
}
