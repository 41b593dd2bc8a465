//! The report for people, programs, code review and browsers.

use serde_json::{Value, json};

use super::{
    Migration,
    prove::Proof,
    report::{Entry, Outcome},
};

const SCHEMA: &str = "gwtop.dev/migrate/v1";

fn counted(migration: &Migration) -> impl Iterator<Item = &Entry> {
    migration.entries.iter().filter(|entry| entry.counted)
}

fn counts(migration: &Migration) -> [(Outcome, usize); 4] {
    [Outcome::Exact, Outcome::Approximate, Outcome::Manual, Outcome::Dropped]
        .map(|outcome| (outcome, migration.count(outcome)))
}

/// One line for each thing that somebody should know; all fields with `everything`.
pub fn text(migration: &Migration, proof: Option<&Proof>, everything: bool) -> String {
    let mut out = String::new();
    for entry in counted(migration).filter(|entry| everything || entry.outcome != Outcome::Exact) {
        let place = if entry.line == 0 { entry.object.clone() } else { format!("{}:{}", entry.file, entry.line) };
        out += &format!("{place}: {}: {} {}", entry.outcome.word(), entry.object, entry.field);
        if !entry.value.is_empty() {
            out += &format!(" = {:?}", entry.value);
        }
        out.push('\n');
        for (word, part) in [("why", &entry.reason), ("do", &entry.todo), ("in", &entry.output)] {
            if !part.is_empty() {
                out += &format!("    {word}: {part}\n");
            }
        }
    }
    for (place, why) in &migration.failed {
        out += &format!("left out: {place}: {why}\n");
    }
    for one in &migration.invalid {
        out += &format!("refused by the API: {one}\n");
    }
    if let Some(proof) = proof {
        out += &prove(proof);
    }
    let counts: Vec<_> =
        counts(migration).iter().map(|(outcome, count)| format!("{count} {}", outcome.word())).collect();
    out += &format!(
        "{} Ingresses, {} objects, fidelity {:.1} %: {}\n",
        migration.input.ingresses.len(),
        migration.objects.len(),
        100.0 * migration.fidelity(),
        counts.join(", ")
    );
    if migration.skipped > 0 {
        out += &format!("{} Ingresses of other classes were left alone (--ingress-class)\n", migration.skipped);
    }
    out
}

fn prove(proof: &Proof) -> String {
    let mut out = String::new();
    for (word, list) in [("differs", &proof.unexplained), ("differs as reported", &proof.explained)] {
        for one in list {
            out += &format!("{word}: {}\n    nginx:   {}\n    gateway: {}\n", one.request, one.nginx, one.gateway);
            if !one.why.is_empty() {
                out += &format!("    why: {}\n", one.why);
            }
        }
    }
    for problem in &proof.problems {
        out += &format!("the output would say: {problem}\n");
    }
    out += &format!(
        "proof: {} requests, {} answered alike, {} differ as reported, {} differ without a reason, {} not compared\n",
        proof.asked,
        proof.equal,
        proof.explained.len(),
        proof.unexplained.len(),
        proof.not_compared
    );
    out
}

pub fn json(migration: &Migration, proof: Option<&Proof>) -> Value {
    let failed: Vec<_> = migration.failed.iter().map(|(place, why)| json!({"place": place, "reason": why})).collect();
    let ingresses: Vec<_> = migration
        .fidelities()
        .into_iter()
        .map(|(name, fidelity)| json!({"object": name, "fidelity": fidelity}))
        .collect();
    let counts: serde_json::Map<_, _> =
        counts(migration).iter().map(|(outcome, count)| (outcome.word().to_owned(), json!(count))).collect();
    json!({
        "schema": SCHEMA,
        "fidelity": migration.fidelity(),
        "counts": counts,
        "ingresses": ingresses,
        "entries": migration.entries,
        "failed": failed,
        "invalid": migration.invalid,
        "proof": proof,
    })
}

/// SARIF 2.1.0: what is not exact, one rule for each outcome.
pub fn sarif(migration: &Migration) -> Value {
    let level = |outcome: Outcome| match outcome {
        Outcome::Manual => "error",
        Outcome::Approximate => "warning",
        Outcome::Exact | Outcome::Dropped => "note",
    };
    let results: Vec<_> = counted(migration)
        .filter(|entry| entry.outcome != Outcome::Exact)
        .map(|entry| {
            let mut text = format!("{} {}: {}", entry.object, entry.field, entry.reason);
            if !entry.todo.is_empty() {
                text += &format!(". {}", entry.todo);
            }
            json!({
                "ruleId": format!("migrate/{}", entry.outcome.word()),
                "level": level(entry.outcome),
                "message": {"text": text},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": entry.file},
                    "region": {"startLine": entry.line.max(1)}}}],
                "partialFingerprints": {"field/v1": format!("{} {}", entry.object, entry.field)},
            })
        })
        .collect();
    let rules: Vec<_> = [Outcome::Approximate, Outcome::Manual, Outcome::Dropped]
        .iter()
        .map(|outcome| json!({"id": format!("migrate/{}", outcome.word()), "shortDescription": {"text": format!("The field is {} in the Gateway API", outcome.word())}}))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": {"name": "gwtop migrate", "version": env!("CARGO_PKG_VERSION"), "rules": rules}}, "results": results}],
    })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A page that needs nothing else.
pub fn html(migration: &Migration, proof: Option<&Proof>) -> String {
    let mut out = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Ingress to Gateway API</title><style>\
         body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}\
         table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #8884}\
         code,pre{font:13px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}.exact{color:#2a7d46}.approximate{color:#9a6700}\
         .manual{color:#b3261e}.extension{color:#3056a0}.dropped{color:#6b6b6b}@media(prefers-color-scheme:dark){body{background:#16181d;color:#ddd}}\
         </style><h1>Ingress to Gateway API</h1>",
    );
    let counts: Vec<_> = counts(migration)
        .iter()
        .map(|(outcome, count)| format!("{count} <span class=\"{0}\">{0}</span>", outcome.word()))
        .collect();
    out += &format!(
        "<p>{} Ingresses, {} objects, fidelity <b>{:.1} %</b>: {}</p>",
        migration.input.ingresses.len(),
        migration.objects.len(),
        100.0 * migration.fidelity(),
        counts.join(", ")
    );
    for (place, why) in &migration.failed {
        out += &format!("<p class=\"manual\">left out: <code>{}</code>: {}</p>", escaped(place), escaped(why));
    }
    out += "<h2>Fields</h2><table><tr><th>Outcome</th><th>Where</th><th>Field</th><th>Why, and what to do</th><th>Output</th></tr>";
    for entry in counted(migration) {
        out += &format!(
            "<tr><td class=\"{0}\">{0}</td><td><code>{1}:{2}</code><br>{3}</td><td><code>{4}</code><br><code>{5}</code></td><td>{6}<br>{7}</td><td><code>{8}</code></td></tr>",
            entry.outcome.word(),
            escaped(&entry.file),
            entry.line,
            escaped(&entry.object),
            escaped(&entry.field),
            escaped(&entry.value),
            escaped(&entry.reason),
            escaped(&entry.todo),
            escaped(&entry.output)
        );
    }
    out += "</table>";
    if let Some(proof) = proof {
        out += &format!("<h2>Proof</h2><pre>{}</pre>", escaped(&prove(proof)));
    }
    out + "</html>\n"
}
