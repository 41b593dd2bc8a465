//! `gwtop check`, `gwtop preflight` and `gwtop explain`: what is read, printed and returned.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::{Value, json};

use super::{
    Options,
    catalogue::{self, CHECKS, Suite},
    collect, run,
    seen::Seen,
};
use crate::{
    cluster::connect::Connection,
    exit::Exit,
    finding::{Finding, Report, Severity, github, human, junit, markdown, sarif},
    migrate::{command::Read, emit},
    triage::RULES,
};

const SCHEMA: &str = "gwtop.dev/check/v1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Text,
    Json,
    Yaml,
    Sarif,
    Junit,
    Markdown,
    Github,
}

/// What a run is asked for beside the checks themselves.
#[derive(Debug, Clone)]
pub struct Run {
    pub output: Output,
    /// None: findings never fail the run.
    pub fail_on: Option<Severity>,
    /// An earlier run's JSON: what it found is left out.
    pub baseline: Option<PathBuf>,
    pub files: Vec<PathBuf>,
    pub all_namespaces: bool,
    pub namespace: Option<String>,
    /// Whether hosts are looked up and listeners asked.
    pub network: bool,
}

pub async fn command(connection: Option<&Connection>, options: &Options, wanted: &Run) -> Exit {
    for id in options.only.iter().chain(&options.skip) {
        if !CHECKS.iter().any(|check| check.rule.id.get(..id.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(id)))
        {
            return usage(&format!("there is no check {id}; `gwtop explain` lists them"));
        }
    }
    let known = match wanted.baseline.as_ref().map(baseline).transpose() {
        Ok(known) => known.unwrap_or_default(),
        Err(why) => return usage(&why),
    };
    let mut read = Read::default();
    for path in &wanted.files {
        if let Err(why) = read.path(path) {
            return usage(&why);
        }
    }
    let mut seen = Seen::at(jiff::Timestamp::now());
    let own = wanted.namespace.clone().or_else(|| connection.map(|one| one.namespace.clone()));
    let own = own.unwrap_or_else(|| "default".to_owned());
    if let Some(connection) = connection {
        let namespace = (!wanted.all_namespaces).then_some(own.as_str());
        collect::cluster(&mut seen, connection, namespace).await;
        if options.runs("PF004") {
            collect::upgrade(&mut seen, connection, namespace).await;
        }
    }
    if !wanted.files.is_empty() {
        collect::files(&mut seen, read, &own, false);
    }
    if let Some(connection) = connection.filter(|_| wanted.network) {
        if options.runs("NET001") {
            collect::probe(&mut seen, connection.request_timeout).await;
        }
        if options.runs("ING002") {
            collect::names(&mut seen, options, connection.request_timeout).await;
        }
    }
    let mut report = run(&seen, options);
    let before = report.findings.len();
    let found: BTreeSet<String> = report.findings.iter().map(Finding::fingerprint).collect();
    report.findings.retain(|finding| !known.contains(&finding.fingerprint()));
    if wanted.baseline.is_some() {
        let fixed = known.iter().filter(|print| !found.contains(*print)).count();
        eprintln!(
            "gwtop: {} findings of the baseline are left out, {fixed} of it are gone",
            before - report.findings.len()
        );
    }
    let context = connection.map(|one| one.context.as_str());
    print!("{}", rendered(&report, options.suite, wanted.output, context));
    exit(&report, wanted.fail_on)
}

/// 1 for findings as grave as asked for, 8 where something could not be looked at.
pub fn exit(report: &Report, fail_on: Option<Severity>) -> Exit {
    let graver = |finding: &Finding| {
        fail_on.is_some_and(|least| finding.severity >= least && finding.severity != Severity::Unknown)
    };
    if report.findings.iter().any(graver) {
        Exit::ProblemsFound
    } else if report.count(Severity::Unknown) > 0 {
        Exit::Unreachable
    } else {
        Exit::Ok
    }
}

pub fn rendered(report: &Report, suite: Suite, output: Output, context: Option<&str>) -> String {
    let name = if suite == Suite::Check { "gwtop check" } else { "gwtop preflight" };
    match output {
        Output::Text => human::document(report),
        Output::Json => format!("{:#}\n", json(report, context)),
        Output::Yaml => emit::yaml(&json(report, context)),
        Output::Sarif => format!("{:#}\n", sarif::document(report, name)),
        Output::Junit => junit::document(report, name),
        Output::Markdown => markdown::document(report, name),
        Output::Github => github::document(report),
    }
}

fn json(report: &Report, context: Option<&str>) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    for (finding, one) in report.findings.iter().zip(value["findings"].as_array_mut().into_iter().flatten()) {
        one["fingerprint"] = finding.fingerprint().into();
        one["docs"] = finding.docs().into();
    }
    let mut all = json!({"schema": SCHEMA, "findings": value["findings"], "checks": value["checks"]});
    if let Some(context) = context {
        all["context"] = context.into();
    }
    all
}

fn baseline(path: &PathBuf) -> Result<BTreeSet<String>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let findings = value["findings"].as_array().filter(|_| value["schema"] == SCHEMA);
    let findings = findings.ok_or_else(|| format!("{} is no output of `gwtop check -o json`", path.display()))?;
    Ok(findings.iter().filter_map(|one| one["fingerprint"].as_str()).map(str::to_owned).collect())
}

/// Tells of one check, or lists all.
pub fn explain(id: Option<&str>) -> Exit {
    let Some(id) = id else {
        let rows: Vec<Vec<String>> = CHECKS
            .iter()
            .map(|check| {
                vec![check.rule.id.to_owned(), check.rule.severity.word().to_owned(), check.rule.title.to_owned()]
            })
            .chain(
                RULES
                    .iter()
                    .map(|rule| vec![rule.id.to_owned(), rule.severity.word().to_owned(), rule.title.to_owned()]),
            )
            .collect();
        print!("{}", crate::print::table(&["ID", "GRAVEST", "CHECKS"], &rows));
        return Exit::Ok;
    };
    match catalogue::find(id) {
        Some(check) => {
            print!("{}", catalogue::explain(check));
            Exit::Ok
        }
        None => match RULES.iter().find(|rule| rule.id.eq_ignore_ascii_case(id)) {
            Some(rule) => {
                print!("{}", catalogue::told(rule, "gwtop status, gwtop why, the console's findings"));
                Exit::Ok
            }
            None => usage(&format!("there is no check {id}; `gwtop explain` lists them")),
        },
    }
}

fn usage(why: &str) -> Exit {
    eprintln!("gwtop: {why}");
    Exit::Usage
}
