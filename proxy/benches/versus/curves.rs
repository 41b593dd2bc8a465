//! Curves of growth as SVG, out of the lines of JSON that the bench wrote.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use color_eyre::{
    Result,
    eyre::{WrapErr, eyre},
};
use serde_json::Value;

use crate::figures::median;

type Curve = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
/// File, title, and the workloads with what they stand for on the axis.
const CURVES: &[Curve] = &[
    (
        "routes",
        "routes in the table",
        &[("routes-1", "1"), ("routes-100", "100"), ("routes-5000", "5,000"), ("routes-50000", "50,000")],
    ),
    ("connections", "connections at a time", &[("connections-1", "1"), ("small", "32"), ("connections-512", "512")]),
    ("body", "bytes of the answer's body", &[("small", "100"), ("16k", "16 Ki"), ("1m", "1 Mi")]),
];
const COLOURS: [&str; 6] = ["#d0461b", "#2f7d32", "#1f5fa8", "#7b3fa0", "#777777", "#b08900"];
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;

pub fn draw(json: &Path, into: &Path) -> Result<()> {
    let text = fs::read_to_string(json).wrap_err_with(|| format!("cannot read {}", json.display()))?;
    // What was measured last counts.
    let mut measured = BTreeMap::<String, Vec<(String, f64)>>::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        let workload = line["workload"].as_str().ok_or_else(|| eyre!("a line without workload"))?;
        let mut points = Vec::new();
        for proxy in line["proxies"].as_array().into_iter().flatten().filter(|proxy| proxy["missing"].is_null()) {
            let rounds = proxy["rounds"].as_array().into_iter().flatten();
            let cpu: Vec<f64> = rounds.filter_map(|round| round["cpu_us"].as_f64()).filter(|cpu| *cpu > 0.0).collect();
            if !cpu.is_empty() {
                points.push((proxy["name"].as_str().unwrap_or_default().to_owned(), median(&cpu)));
            }
        }
        measured.insert(workload.to_owned(), points);
    }
    fs::create_dir_all(into)?;
    for (name, title, workloads) in CURVES {
        let there: Vec<_> = workloads.iter().filter(|(workload, _)| measured.contains_key(*workload)).collect();
        if there.len() < 2 {
            println!("{name}: fewer than two of its workloads were measured");
            continue;
        }
        let columns: Vec<(&str, &[(String, f64)])> =
            there.iter().map(|(workload, label)| (*label, measured[*workload].as_slice())).collect();
        let file = into.join(format!("{name}.svg"));
        fs::write(&file, picture(title, &columns)?)?;
        println!("{}", file.display());
    }
    Ok(())
}

/// Microseconds of processor time a request, on an axis of powers of ten.
fn picture(title: &str, columns: &[(&str, &[(String, f64)])]) -> Result<String> {
    let values = columns.iter().flat_map(|(_, points)| points.iter().map(|(_, cpu)| cpu.log10()));
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (at.min(low), at.max(high)));
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let right = WIDTH - 110.0;
    let bottom = HEIGHT - 50.0;
    let x = |at: usize| LEFT + 20.0 + (right - LEFT - 40.0) * at as f64 / (columns.len() - 1) as f64;
    let y = |cpu: f64| bottom - (bottom - TOP) * (cpu.log10() - low) / (high - low);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" fill=\"#222222\">CPU microseconds a request, by {title}</text>\n"
    );
    let mut decade = low;
    while decade <= high {
        let at = y(10f64.powf(decade));
        let label = 10f64.powf(decade);
        writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#dddddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#222222\">{label}</text>",
            LEFT - 6.0,
            at + 4.0
        )?;
        decade += 1.0;
    }
    for (at, (label, _)) in columns.iter().enumerate() {
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222222\">{label}</text>",
            x(at),
            bottom + 20.0
        )?;
    }
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in columns.iter().flat_map(|(_, points)| points.iter()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    for (index, name) in names.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut line = String::new();
        for (at, (_, points)) in columns.iter().enumerate() {
            if let Some((_, cpu)) = points.iter().find(|(known, _)| known == name) {
                let step = if line.is_empty() { 'M' } else { 'L' };
                write!(line, "{step}{:.1} {:.1}", x(at), y(*cpu))?;
                writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(at), y(*cpu))?;
            }
        }
        writeln!(svg, "<path d=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>")?;
        let down = TOP + 10.0 + 18.0 * index as f64;
        writeln!(
            svg,
            "<path d=\"M{:.1} {down:.1}h18\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222222\">{name}</text>",
            right + 8.0,
            right + 32.0,
            down + 4.0
        )?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}
