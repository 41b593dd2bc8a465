//! Findings as workflow commands of GitHub Actions: they show beside the lines of a change.

use super::{Report, Severity};

pub fn document(report: &Report) -> String {
    let mut text = String::new();
    for one in &report.findings {
        let command = match one.severity {
            Severity::Error => "error",
            Severity::Warning | Severity::Unknown => "warning",
            Severity::Info => "notice",
        };
        let mut properties = Vec::new();
        if let Some(place) = &one.place {
            properties.push(format!("file={}", property(&place.file)));
            properties.push(format!("line={}", place.line.max(1)));
        }
        properties.push(format!("title={}", property(&format!("{} {}", one.id, one.object))));
        let mut message = one.title.clone();
        for evidence in &one.evidence {
            message += &format!("\n{}: {}", evidence.from, evidence.says);
        }
        if let Some(fix) = &one.fix {
            message += &format!("\nFix: {}", fix.text);
        }
        text += &format!("::{command} {}::{}\n", properties.join(","), data(&message));
    }
    text
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_annotation_is_one_line_with_its_file() {
        let text = super::document(&super::super::tests::report());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("::error file=app.yaml,line=12,title=RT002 HTTPRoute shop/b::refused"), "{text}");
        assert!(lines[0].contains("%0A"), "{text}");
        assert_eq!(super::property("a:b,c%"), "a%3Ab%2Cc%25");
    }
}
