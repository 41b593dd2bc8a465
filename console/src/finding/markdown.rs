//! Findings as Markdown, for a comment on a change.

use super::{Report, Severity, anchor};

pub fn document(report: &Report, title: &str) -> String {
    let mut text = format!(
        "## {title}\n\n{} errors, {} warnings, {} unknown, {} notes.\n",
        report.count(Severity::Error),
        report.count(Severity::Warning),
        report.count(Severity::Unknown),
        report.count(Severity::Info)
    );
    if report.findings.is_empty() {
        return text;
    }
    text += "\n| Severity | Check | Object | What | Fix |\n|---|---|---|---|---|\n";
    for one in &report.findings {
        let mut what = one.title.clone();
        if !one.field.is_empty() {
            what += &format!("\n{}", one.field);
        }
        for evidence in &one.evidence {
            what += &format!("\n{}: {}", evidence.from, evidence.says);
        }
        let mut object = one.object.to_string();
        if let Some(place) = &one.place {
            object += &format!("\n{}:{}", place.file, place.line);
        }
        let fix = one.fix.as_ref().map(|fix| fix.text.as_str()).unwrap_or_default();
        text += &format!(
            "| {} {} | [{}]({}) | {} | {} | {} |\n",
            one.severity.glyph(),
            one.severity.word(),
            one.id,
            anchor(one.id),
            cell(&object),
            cell(&what),
            cell(fix)
        );
    }
    text
}

fn cell(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', "<br>")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_finding_is_one_row_whatever_it_says() {
        let text = super::document(&super::super::tests::report(), "gwtop check");
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| ✗") || line.starts_with("| !")).collect();
        assert_eq!(rows.len(), 2, "{text}");
        assert!(rows[0].contains("[RT002](docs/checks.md#rt002)") && rows[0].contains("&lt;no&gt;"), "{text}");
        assert_eq!(super::cell("a|b\n<c>"), "a\\|b<br>&lt;c&gt;");
    }
}
