//! Findings as SARIF 2.1.0, for code review.

use serde_json::{Value, json};

use super::{Finding, Report, Severity, anchor};

pub fn document(report: &Report, tool: &str) -> Value {
    let rules: Vec<Value> = report
        .checks
        .iter()
        .map(|ran| {
            json!({
                "id": ran.rule.id,
                "shortDescription": {"text": ran.rule.title},
                "fullDescription": {"text": ran.rule.why},
                "help": {"text": format!("{}\n\n{}", ran.rule.fix, anchor(ran.rule.id))},
                "defaultConfiguration": {"level": level(ran.rule.severity)},
            })
        })
        .collect();
    let results: Vec<Value> = report.findings.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": tool, "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning | Severity::Unknown => "warning",
        Severity::Info => "note",
    }
}

fn result(one: &Finding) -> Value {
    let mut text = one.title.clone();
    for evidence in &one.evidence {
        text += &format!("\n{}: {}", evidence.from, evidence.says);
    }
    if let Some(fix) = &one.fix {
        text += &format!("\nFix: {}", fix.text);
    }
    let mut location = json!({"logicalLocations": [{
        "fullyQualifiedName": if one.field.is_empty() { one.object.to_string() } else { format!("{} {}", one.object, one.field) },
        "kind": "object",
    }]});
    if let Some(place) = &one.place {
        location["physicalLocation"] = json!({
            "artifactLocation": {"uri": place.file.replace('\\', "/")},
            "region": {"startLine": place.line.max(1)},
        });
    }
    json!({
        "ruleId": one.id,
        "level": level(one.severity),
        "message": {"text": text},
        "locations": [location],
        "partialFingerprints": {"finding/v1": one.fingerprint()},
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_result_names_its_rule_its_line_and_its_object() {
        let value = super::document(&super::super::tests::report(), "gwtop check");
        let run = &value["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "RT002");
        let result = &run["results"][0];
        assert_eq!(result["level"], "error");
        let location = &result["locations"][0];
        assert_eq!(location["physicalLocation"]["region"]["startLine"], 12);
        assert!(
            location["logicalLocations"][0]["fullyQualifiedName"].as_str().unwrap().starts_with("HTTPRoute shop/b")
        );
        // Nothing is said of a file where there is none.
        assert!(run["results"][1]["locations"][0].get("physicalLocation").is_none());
    }
}
