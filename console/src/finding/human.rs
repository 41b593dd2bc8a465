//! Findings for people.

use super::{Finding, Outcome, Report, Severity};

/// One finding with its chain and its fix.
pub fn finding(one: &Finding) -> String {
    let place = one.place.as_ref().map(|place| format!(" ({}:{})", place.file, place.line)).unwrap_or_default();
    let mut text = format!("{} {:<7} {}  {}{place}\n", one.severity.glyph(), one.severity.word(), one.id, one.object);
    text += &format!("  {}\n", one.title);
    if !one.field.is_empty() {
        text += &format!("    at    {}\n", one.field);
    }
    for evidence in &one.evidence {
        text += &format!("    {}: {}\n", evidence.from, indented(&evidence.says, 6));
    }
    if let Some(fix) = &one.fix {
        text += &format!("    fix   {}\n", indented(&fix.text, 10));
        if let Some(manifest) = &fix.manifest {
            text += &format!("          {}\n", indented(manifest.trim_end(), 10));
        }
        if let Some(patch) = &fix.patch {
            text += &format!("          {}\n", serde_json::to_string(patch).unwrap_or_default());
        }
    }
    text
}

/// Everything, and how many of each.
pub fn document(report: &Report) -> String {
    let mut text: String = report.findings.iter().map(|one| finding(one) + "\n").collect();
    let count = |severity| report.count(severity);
    let ended = |wanted: fn(&Outcome) -> bool| report.checks.iter().filter(|ran| wanted(&ran.outcome)).count();
    text += &format!(
        "{} errors, {} warnings, {} unknown, {} notes; {} checks passed, {} failed, {} unknown, {} skipped\n",
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Unknown),
        count(Severity::Info),
        ended(|outcome| *outcome == Outcome::Pass),
        ended(|outcome| *outcome == Outcome::Fail),
        ended(|outcome| matches!(outcome, Outcome::Unknown(_))),
        ended(|outcome| matches!(outcome, Outcome::Skip(_))),
    );
    text
}

fn indented(text: &str, by: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(by)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_finding_reads_from_what_is_seen_to_the_fix() {
        let text = super::document(&super::super::tests::report());
        let expected = "✗ error   RT002  HTTPRoute shop/b (app.yaml:12)
  refused: <no> \"grant\"
    at    spec.rules[0].backendRefs[0]
    HTTPRoute shop/b status.parents[0]: ResolvedRefs=False
      RefNotPermitted
    fix   add a ReferenceGrant
          kind: ReferenceGrant

! warning RT003  HTTPRoute shop/a
  no listener has this host

1 errors, 1 warnings, 0 unknown, 0 notes; 0 checks passed, 1 failed, 0 unknown, 0 skipped
";
        assert_eq!(text, expected);
    }
}
