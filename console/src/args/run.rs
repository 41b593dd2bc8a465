//! From the command line of `gwtop canary`, and its plan file, to the settings of a run.

use std::{ffi::OsString, fs, path::Path};

use gwtop::canary::{
    Settings,
    plan::{self, Check, Header, Query, RouteRef, Webhook},
};
use serde_json::Value;

use super::{Global, canary::Run};

/// Flags that hold for one machine, or for one moment, or that hold a secret.
const NOT_KEPT: [&str; 15] = [
    "--kubeconfig",
    "--context",
    "--cluster",
    "--user",
    "--namespace",
    "-n",
    "--metrics-url",
    "--request-timeout",
    "--plan",
    "--notify",
    "--webhook",
    "--webhook-secret-file",
    "--report",
    "--output",
    "-o",
];
const SWITCHES: [&str; 4] = ["--take-over", "--yes", "-y", "--readonly"];

pub(crate) fn settings(global: &Global, args: Run, default_namespace: &str) -> Result<Settings, String> {
    let routes = args.routes.iter().map(|text| RouteRef::parse(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(flag) = &global.namespace
        && let Some(given) = routes.iter().filter_map(|route| route.namespace.as_ref()).find(|given| *given != flag)
    {
        return Err(format!("the route is in namespace {given}, --namespace says {flag}: leave one of them out"));
    }
    let secret = match &args.webhook_secret_file {
        Some(file) => Some(
            fs::read_to_string(file)
                .map_err(|error| format!("--webhook-secret-file {}: {error}", file.display()))?
                .trim()
                .to_owned(),
        ),
        None => None,
    };
    let settings = Settings {
        routes,
        step: args.step,
        steps: args.steps,
        max: args.max,
        promote: args.promote,
        interval: args.interval,
        soak: args.soak,
        approve_at: args.approve_at,
        header: args.header.as_deref().map(Header::parse).transpose()?,
        mirror: args.mirror,
        checks: args.checks.iter().map(|text| Check::parse(text)).collect::<Result<_, _>>()?,
        check_timeout: args.check_timeout,
        probe_every: args.check_every,
        queries: Query::all(&args.queries, &args.query_max, &args.query_min)?,
        prometheus_url: args.prometheus_url.map(|url| plan::address(&url, "--prometheus-url")).transpose()?,
        webhooks: args.webhooks.iter().map(|text| Webhook::parse(text)).collect::<Result<_, _>>()?,
        webhook_secret: secret,
        notify: args.notify.iter().map(|url| plan::address(url, "--notify")).collect::<Result<_, _>>()?,
        report: args.report,
        max_error_rate: args.max_error_rate,
        max_p99: args.max_p99,
        min_requests: args.min_requests,
        alpha: args.alpha,
        beta: args.beta,
        dispersion: args.dispersion,
        metrics_urls: global.metrics_urls.clone(),
        no_metrics: args.no_metrics,
        scrape_every: args.scrape_every,
        rule: args.rule,
        stable: args.stable,
        canary: args.canary,
        adopt: args.adopt,
        take_over: args.take_over,
        force: args.force,
        rollback: args.rollback,
        dry_run: args.dry_run,
        on_drift: args.on_drift,
        on_metrics_loss: args.on_metrics_loss,
        hold: args.hold,
        converge: args.converge,
        drain: args.drain,
        rollback_deadline: args.rollback_deadline,
        api_deadline: args.api_deadline,
        ..Settings::new(global.namespace.clone().unwrap_or_else(|| default_namespace.to_owned()), None)
    };
    settings.validate()?;
    Ok(settings)
}

/// Where the flags of `canary` begin in a command line.
fn after_canary(line: &[OsString]) -> Option<usize> {
    let mut previous_takes_value = false;
    for (at, word) in line.iter().enumerate().skip(1) {
        let Some(word) = word.to_str() else { continue };
        if word == "canary" && !previous_takes_value {
            return Some(at + 1);
        }
        previous_takes_value = word.starts_with('-') && !word.contains('=') && word != "--readonly";
    }
    None
}

/// The command line with a plan file's flags before its own, so that its own win.
pub(crate) fn expand(line: &[OsString], file: &Path) -> Result<Vec<OsString>, String> {
    let flags = flags(file).map_err(|why| format!("plan {}: {why}", file.display()))?;
    let at = after_canary(line).unwrap_or(line.len());
    let mut expanded: Vec<OsString> = line[..at].to_vec();
    expanded.extend(flags.into_iter().map(OsString::from));
    expanded.extend(line[at..].iter().cloned());
    Ok(expanded)
}

fn flags(file: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let value: Value = if file.extension().is_some_and(|extension| extension == "toml") {
        toml::from_str(&text).map_err(|error| error.to_string())?
    } else {
        serde_saphyr::from_str(&text).map_err(|error| error.to_string())?
    };
    let Value::Object(entries) = value else { return Err("not a list of flags and values".to_owned()) };
    let mut flags = Vec::new();
    let mut routes = Vec::new();
    for (name, value) in entries {
        let values = match value {
            Value::Array(values) if values.iter().all(Value::is_number) => {
                vec![Value::String(values.iter().map(Value::to_string).collect::<Vec<_>>().join(","))]
            }
            Value::Array(values) => values,
            Value::Bool(false) => Vec::new(),
            Value::Bool(true) => {
                flags.push(format!("--{name}"));
                continue;
            }
            value => vec![value],
        };
        for value in values {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                _ => return Err(format!("{name}: a flag has a text, a number, true or false, or a list of those")),
            };
            match name.as_str() {
                "route" | "routes" => routes.push(text),
                "plan" => return Err("a plan cannot name another".to_owned()),
                _ => flags.push(format!("--{name}={text}")),
            }
        }
    }
    flags.extend(routes);
    Ok(flags)
}

/// What another machine needs to go on with the run: the flags after `canary` without those
/// that are of this machine only.
pub(crate) fn kept(line: &[OsString], settings: &Settings) -> Vec<String> {
    let Some(at) = after_canary(line) else { return Vec::new() };
    let mut kept = Vec::new();
    let mut words = line[at..].iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or_default();
        if SWITCHES.contains(&name) {
            continue;
        }
        if NOT_KEPT.contains(&name) {
            if !word.contains('=') {
                words.next();
            }
            continue;
        }
        kept.push(word.to_owned());
    }
    kept.push(format!("--namespace={}", settings.namespace));
    kept.extend(settings.metrics_urls.iter().map(|url| format!("--metrics-url={url}")));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    fn texts(line: &[OsString]) -> Vec<&str> {
        line.iter().filter_map(|word| word.to_str()).collect()
    }

    #[test]
    fn plans_are_flags_that_the_command_line_overrides() {
        let folder = tempfile::tempdir().unwrap();
        let (toml, yaml) = (folder.path().join("plan.toml"), folder.path().join("plan.yaml"));
        fs::write(&toml, "steps = [0.5, 5]\npromote = true\nadopt = false\ncheck = [\"exec:true\"]\nroute = \"a\"\n")
            .unwrap();
        fs::write(&yaml, "steps: [0.5, 5]\npromote: true\nadopt: false\ncheck: ['exec:true']\nroute: a\n").unwrap();
        for file in [toml, yaml] {
            let expanded = expand(&line("gwtop -n canary canary --interval 1m"), &file).unwrap();
            let mut words = texts(&expanded);
            assert_eq!(words[..4], ["gwtop", "-n", "canary", "canary"]);
            assert_eq!(words[words.len() - 2..], ["--interval", "1m"]);
            let middle = &mut words[4..8];
            middle.sort_unstable();
            assert_eq!(middle, ["--check=exec:true", "--promote", "--steps=0.5,5", "a"]);
        }
    }

    #[test]
    fn what_is_of_this_machine_or_secret_is_not_kept() {
        let settings = Settings::new("shop", None);
        let kept = kept(
            &line(
                "gwtop --context x canary app --step 5 -n shop --notify https://secret --plan p.toml -o json --promote",
            ),
            &settings,
        );
        assert_eq!(kept, ["app", "--step", "5", "--promote", "--namespace=shop"]);
    }
}
