//! Samples out of the Prometheus text format.
//!
//! prometheus-parse splits the lines that it is sure to split well. It drops names with a
//! colon, cuts label values at `,`, `=` and `}`, and leaves escapes in: such lines go to
//! `sample`, which follows the format's grammar.

use prometheus_parse::LineInfo;

#[cfg(test)]
mod tests;

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    /// In the order of the text.
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl Sample {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// All samples of a scrape. A line that cannot be read is left out, as Prometheus' own
/// `_bucket`, `_sum` and `_count` series stay what they are.
pub fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        None
    } else if plain(line) {
        by_crate(line)
    } else {
        sample(line)
    }
}

/// Whether nothing in the line is beyond prometheus-parse: word characters, then at most
/// one brace pair in which every `=` and `,` separates.
fn plain(line: &str) -> bool {
    let name = line.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let Some(rest) = line.get(name..) else { return false };
    if name == 0 || !line.is_ascii() || line.as_bytes()[0].is_ascii_digit() {
        return false;
    }
    if rest.starts_with(' ') {
        return !rest.contains(['{', '#']);
    }
    let Some((labels, value)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { return false };
    value.starts_with(' ')
        && !value.contains(['{', '}', '"', '#'])
        && labels.split(',').all(|pair| {
            pair.split_once("=\"").and_then(|(name, rest)| Some((name, rest.strip_suffix('"')?))).is_some_and(
                |(name, value)| {
                    !name.is_empty()
                        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                        && !value.contains(['"', '\\', '=', '{'])
                },
            )
        })
}

fn by_crate(line: &str) -> Option<Sample> {
    let LineInfo::Sample { metric_name, labels, value, .. } = LineInfo::parse(line) else { return None };
    let labels = labels
        .into_iter()
        .flat_map(|labels| labels.split(','))
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    Some(Sample { name: metric_name.to_owned(), labels, value: number(value)? })
}

/// Go's spelling of floats.
fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

/// One sample line by the grammar of the format; timestamp and exemplar are left aside.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    let value = number(rest.split_whitespace().next()?)?;
    Some(Sample { name: name.to_owned(), labels, value })
}

type Labels = Vec<(String, String)>;

/// The labels after `{`, and what follows `}`.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.push((name.trim().to_owned(), value));
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
}

/// The text up to the closing quote, unescaped, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            _ => value.push(c),
        }
    }
    None
}
