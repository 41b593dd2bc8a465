//! Findings as JUnit's XML: a test case for each check that passed or was left out, and one for
//! each finding.

use super::{Outcome, Report, Severity};

pub fn document(report: &Report, suite: &str) -> String {
    let (mut cases, mut tests, mut failures, mut skipped) = (String::new(), 0, 0, 0);
    for one in &report.findings {
        tests += 1;
        let name = escaped(&format!("{} {}", one.object, one.title));
        let mut text = String::new();
        for evidence in &one.evidence {
            text += &format!("{}: {}\n", evidence.from, evidence.says);
        }
        if let Some(fix) = &one.fix {
            text += &format!("Fix: {}\n", fix.text);
        }
        let file = one
            .place
            .as_ref()
            .map(|place| format!(" file=\"{}\" line=\"{}\"", escaped(&place.file), place.line))
            .unwrap_or_default();
        cases += &format!("    <testcase classname=\"{}\" name=\"{name}\"{file}>\n", one.id);
        if one.severity == Severity::Info {
            cases += &format!("      <system-out>{}</system-out>\n", escaped(&text));
        } else {
            failures += 1;
            cases += &format!(
                "      <failure type=\"{}\" message=\"{}\">{}</failure>\n",
                one.severity.word(),
                escaped(&one.title),
                escaped(&text)
            );
        }
        cases += "    </testcase>\n";
    }
    for ran in &report.checks {
        let name = escaped(ran.rule.title);
        match &ran.outcome {
            Outcome::Pass => {
                tests += 1;
                cases += &format!("    <testcase classname=\"{}\" name=\"{name}\"/>\n", ran.rule.id);
            }
            Outcome::Skip(why) => {
                tests += 1;
                skipped += 1;
                cases += &format!(
                    "    <testcase classname=\"{}\" name=\"{name}\"><skipped message=\"{}\"/></testcase>\n",
                    ran.rule.id,
                    escaped(why)
                );
            }
            // Their findings are there.
            Outcome::Fail | Outcome::Unknown(_) => {}
        }
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" skipped=\"{skipped}\">\n{cases}  </testsuite>\n</testsuites>\n",
        escaped(suite)
    )
}

/// XML has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Ran, tests};
    use super::*;

    #[test]
    fn a_finding_is_a_failure_and_a_pass_is_a_case() {
        let mut report = tests::report();
        report.checks = [Outcome::Pass, Outcome::Skip("no <file>".to_owned()), Outcome::Fail]
            .into_iter()
            .map(|outcome| Ran { rule: &tests::RULE, outcome })
            .collect();
        let text = document(&report, "gwtop check");
        assert!(text.contains("tests=\"4\" failures=\"2\" skipped=\"1\""), "{text}");
        assert!(text.contains("message=\"refused: &lt;no&gt; &quot;grant&quot;\""), "{text}");
        assert!(text.contains("file=\"app.yaml\" line=\"12\""), "{text}");
        assert!(text.contains("<skipped message=\"no &lt;file&gt;\"/>"), "{text}");
        assert_eq!(escaped("a\u{1}b\n"), "a\u{fffd}b&#10;");
    }
}
