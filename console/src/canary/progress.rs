//! What a terminal shows of a run under way. Pure: figures in, lines out.

use std::time::Duration;

use super::{plan::short, verdict::Evidence};

/// The figures between two transitions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    pub route: String,
    pub phase: &'static str,
    /// Every step's name, and which one it is.
    pub steps: Vec<String>,
    pub step: usize,
    pub stable: (String, u64),
    pub canary: (String, u64),
    pub evidence: Option<Evidence>,
    /// How long the step is observed, and how long it is to be.
    pub observed: Option<(Duration, Duration)>,
}

fn bar(share: f64, room: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * room as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(room - full))
}

fn seconds(p99: Option<f64>) -> String {
    p99.and_then(|p99| Duration::try_from_secs_f64(p99).ok()).map_or_else(|| "-".to_owned(), |p99| format!("{p99:.1?}"))
}

fn rate(errors: f64, requests: f64) -> String {
    if requests > 0.0 { format!("{:.2} %", errors * 100.0 / requests) } else { "-".to_owned() }
}

/// At most this wide; the terminal does not wrap what it has to overwrite.
pub fn lines(progress: &Progress, width: usize) -> Vec<String> {
    let room = width.saturating_sub(70).clamp(8, 30);
    let steps = progress.steps.iter().enumerate().map(|(at, name)| match at.cmp(&progress.step) {
        std::cmp::Ordering::Less => format!("✔ {name}"),
        std::cmp::Ordering::Equal => format!("▶ {name}"),
        std::cmp::Ordering::Greater => format!("· {name}"),
    });
    let mut lines = vec![
        format!("{}  {}", progress.route, progress.phase),
        // The current step stays in sight however many there are.
        steps.skip(progress.step.saturating_sub(3)).collect::<Vec<_>>().join("  "),
    ];
    if let Some((observed, interval)) = progress.observed {
        let share = observed.as_secs_f64() / interval.as_secs_f64().max(0.001);
        let text = format!("{:.0} s of {:.0} s", observed.as_secs_f64(), interval.as_secs_f64());
        lines.push(format!("step      {} {text}", bar(share, room)));
    }
    let total = (progress.stable.1 + progress.canary.1).max(1) as f64;
    let evidence = progress.evidence.clone().unwrap_or_default();
    let observed = evidence.observed_percent.map_or_else(|| "-".to_owned(), |percent| format!("{} %", short(percent)));
    for (role, (name, weight), requests, errors, p99, note) in [
        (
            "stable",
            &progress.stable,
            evidence.stable_requests,
            evidence.stable_errors,
            evidence.stable_p99_seconds,
            String::new(),
        ),
        (
            "canary",
            &progress.canary,
            evidence.canary_requests,
            evidence.canary_errors,
            evidence.canary_p99_seconds,
            format!("  observed {observed}"),
        ),
    ] {
        let share = *weight as f64 / total;
        lines.push(format!(
            "{role:<9} {} {name} {weight}{note}  {requests:.0} requests, {} errors, p99 {}",
            bar(share, room),
            rate(errors, requests),
            seconds(p99)
        ));
    }
    if progress.evidence.is_some() {
        let needed = match evidence.needed_requests {
            0 => "enough requests seen".to_owned(),
            needed => format!("about {needed} more requests"),
        };
        lines.push(format!("passes    {} {needed}", bar(evidence.towards, room)));
        lines.push(format!(
            "fails     {} {:.0} % of a rollback",
            bar(evidence.against, room),
            evidence.against * 100.0
        ));
    }
    lines.into_iter().map(|line| line.chars().take(width.saturating_sub(1)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        Progress {
            route: "shop/app".to_owned(),
            phase: "Observe",
            steps: ["5 %", "25 %", "100 %"].map(str::to_owned).to_vec(),
            step: 1,
            stable: ("app-v1".to_owned(), 75),
            canary: ("app-v2".to_owned(), 25),
            evidence: Some(Evidence {
                canary_requests: 200.0,
                canary_errors: 1.0,
                canary_p99_seconds: Some(0.025),
                stable_requests: 600.0,
                observed_percent: Some(25.0),
                needed_requests: 159,
                against: 0.25,
                towards: 0.5,
                ..Evidence::default()
            }),
            observed: Some((Duration::from_secs(30), Duration::from_secs(60))),
        }
    }

    #[test]
    fn a_step_in_the_middle() {
        let text = lines(&progress(), 120).join("\n");
        let expected = "\
shop/app  Observe
✔ 5 %  ▶ 25 %  · 100 %
step      ███████████████░░░░░░░░░░░░░░░ 30 s of 60 s
stable    ███████████████████████░░░░░░░ app-v1 75  600 requests, 0.00 % errors, p99 -
canary    ████████░░░░░░░░░░░░░░░░░░░░░░ app-v2 25  observed 25 %  200 requests, 0.50 % errors, p99 25.0ms
passes    ███████████████░░░░░░░░░░░░░░░ about 159 more requests
fails     ████████░░░░░░░░░░░░░░░░░░░░░░ 25 % of a rollback";
        assert_eq!(text, expected);
    }

    #[test]
    fn narrow_terminals_and_nothing_known_yet() {
        for width in [0, 1, 10, 40] {
            for progress in [progress(), Progress::default()] {
                assert!(lines(&progress, width).iter().all(|line| line.chars().count() < width.max(1)));
            }
        }
    }
}
