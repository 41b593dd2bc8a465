//! What is kept of a run for those who were not there: Markdown, or JSON.

use std::{fmt::Write as _, fs, io, path::Path};

use serde_json::json;

use super::{Transition, plan::short};

/// JSON for a path that ends so, Markdown otherwise.
pub fn write(path: &Path, said: &[Transition]) -> io::Result<()> {
    let text = if path.extension().is_some_and(|extension| extension == "json") {
        let report = json!({"schema": "gwtop.dev/canary-report/v1", "finished": said.last().and_then(|last| last.finished), "transitions": said});
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        markdown(said)
    };
    fs::write(path, text)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

pub fn markdown(said: &[Transition]) -> String {
    let Some(last) = said.last() else { return String::new() };
    let mut text = format!("# Canary of {}\n\n", last.route);
    let outcome = last.finished.map_or_else(String::new, |exit| format!(" (exit {})", exit as u8));
    let _ = writeln!(text, "**{}**{outcome}: {}\n", last.phase, last.message);
    let _ = writeln!(text, "- run {} on context {}", last.run, last.context);
    let _ = writeln!(text, "- rule {}: {} to {}", last.rule, last.stable, last.canary);
    if let Some(first) = said.first() {
        let _ = writeln!(text, "- from {} to {}", first.time, last.time);
    }
    text.push_str("\n| time | phase | step | weight | canary requests | errors | evidence against | what |\n|---|---|---|---|---|---|---|---|\n");
    for line in said {
        let evidence = line.evidence.as_ref();
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
        let _ = writeln!(
            text,
            "| {} | {} | {}/{} | {} % | {} | {} | {} | {} |",
            line.time.strftime("%H:%M:%S"),
            line.phase,
            line.step,
            line.steps,
            short(line.weight),
            figure(evidence.map(|evidence| evidence.canary_requests)),
            figure(evidence.map(|evidence| evidence.canary_errors)),
            evidence.map_or_else(|| "-".to_owned(), |evidence| format!("{:.0} %", evidence.against * 100.0)),
            cell(&line.message)
        );
    }
    if let Some(diff) = &last.diff {
        let _ = write!(text, "\nTo commit, or the next sync undoes it:\n\n```diff\n{diff}```\n");
    }
    text
}
