use proptest::prelude::*;

use super::*;

fn one(text: &str) -> Sample {
    let mut samples = parse(text);
    assert_eq!(samples.len(), 1, "{text}");
    samples.remove(0)
}

#[test]
fn what_the_crate_would_lose_is_kept() {
    assert_eq!(one(r#"job:rate{a="b"} 1"#).name, "job:rate");
    assert_eq!(one(r#"m{path="/a,b=c}"} 2"#).label("path"), Some("/a,b=c}"));
    assert_eq!(one(r#"m{a="q\"\\\n",b="x"} 2"#).labels, [("a".into(), "q\"\\\n".into()), ("b".into(), "x".into())]);
    assert_eq!(one(r#"m{a="1", b="2"} 3"#).label("b"), Some("2"));
    assert_eq!(one("m{} 4").value, 4.0);
    assert_eq!(one(r#"m {a="1",} 5"#).label("a"), Some("1"));
    assert_eq!(one(r#"m_bucket{le="1"} 5 # {trace="x}"} 0.4 1.2"#).value, 5.0);
    assert_eq!(one(r#"m{le="+Inf"} +Inf"#).value, f64::INFINITY);
    assert!(one("m NaN").value.is_nan());
}

#[test]
fn a_histogram_keeps_its_series_apart() {
    let text = "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 0.5\nh_count 4 1700000000000\n";
    let names: Vec<_> = parse(text).into_iter().map(|sample| (sample.name, sample.value)).collect();
    assert_eq!(
        names,
        [("h_bucket".into(), 3.0), ("h_bucket".into(), 4.0), ("h_sum".into(), 0.5), ("h_count".into(), 4.0)]
    );
}

#[test]
fn a_broken_line_costs_only_itself() {
    let names: Vec<_> =
        parse("a 1\nb{x=\"} 2\n{} 3\n9c 4\nd{x} 5\ne one\nf 6\r\n\n").into_iter().map(|sample| sample.name).collect();
    assert_eq!(names, ["a", "f"]);
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

proptest! {
    #[test]
    fn any_sample_comes_back_as_it_was_written(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,12}",
        labels in prop::collection::btree_map("[a-z_][a-z0-9_]{0,6}", r#"[ -~\né語\\"]{0,10}"#, 0..4),
        value in -1e9_f64..1e9,
        timestamp in prop::option::of(0_i64..2_000_000_000_000),
    ) {
        let inside: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let mut line = format!("{name}{{{}}} {value}", inside.join(","));
        if let Some(timestamp) = timestamp {
            line.push_str(&format!(" {timestamp}"));
        }
        let sample = one(&line);
        prop_assert_eq!(sample.name, name);
        prop_assert_eq!(sample.labels, labels.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(sample.value, value);
    }

    #[test]
    fn both_parsers_agree_on_plain_lines(
        name in "[a-z_][a-z0-9_]{0,12}",
        labels in prop::collection::btree_map("[a-z_][a-z0-9_]{0,6}", "[a-zA-Z0-9/ .:-]{0,10}", 1..4),
        value in 0_u64..1_000_000,
    ) {
        let inside: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let line = format!("{name}{{{}}} {value}", inside.join(","));
        prop_assert!(plain(&line));
        prop_assert_eq!(by_crate(&line), sample(&line));
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        parse(&text);
    }
}
