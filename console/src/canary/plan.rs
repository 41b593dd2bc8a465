//! Where a run goes: routes, stages, checks. Pure.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::model::key::Kind;

/// A route as the operator names it: `[KIND/][NAMESPACE/]NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRef {
    pub kind: Kind,
    pub namespace: Option<String>,
    pub name: String,
}

impl RouteRef {
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a route: write it as NAME, NAMESPACE/NAME or grpcroute/NAMESPACE/NAME");
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(bad());
        }
        let (kind, rest) = match parts.split_first() {
            Some((first, rest)) if !rest.is_empty() => match Kind::route(first) {
                Some(kind) => (kind, rest),
                None => (Kind::HttpRoute, parts.as_slice()),
            },
            _ => (Kind::HttpRoute, parts.as_slice()),
        };
        let (namespace, name) = match rest {
            [name] => (None, *name),
            [namespace, name] => (Some((*namespace).to_owned()), *name),
            _ => return Err(bad()),
        };
        Ok(Self { kind, namespace, name: name.to_owned() })
    }
}

/// What the canary is exposed to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stage {
    /// Copies of requests, whose answers nobody sees.
    Mirror,
    /// Requests that carry the header.
    Header,
    /// Percent of the pair's traffic.
    Weight(f64),
}

impl Stage {
    pub fn percent(self) -> Option<f64> {
        match self {
            Self::Weight(percent) => Some(percent),
            Self::Mirror | Self::Header => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mirror => f.write_str("mirror"),
            Self::Header => f.write_str("header"),
            Self::Weight(percent) => write!(f, "{} %", short(*percent)),
        }
    }
}

/// A share with as many decimals as it needs, three at most.
pub fn short(percent: f64) -> String {
    let text = format!("{percent:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub stage: Stage,
    /// How long it is observed at least.
    pub interval: Duration,
    /// A person has to say that it goes on after it.
    pub approve: bool,
}

/// What to do about weights that somebody else wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnDrift {
    /// End without writing.
    Stop,
    /// Go on from there.
    Adopt,
    /// Write ours again.
    Reassert,
}

/// What to do when the metrics are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnMetricsLoss {
    /// Wait for them, as long as --hold says.
    Hold,
    /// Roll back.
    Rollback,
    /// Go on by the checks alone.
    Probe,
}

/// `Name: value`, as it is written in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub name: String,
    pub value: String,
}

impl Header {
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a header: write it as 'X-Canary: true'");
        let (name, value) = text.split_once(':').ok_or_else(bad)?;
        let (name, value) = (name.trim(), value.trim());
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || value.is_empty() || !name.chars().all(token) || !value.is_ascii() {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Something that must be well before and during each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    Url(String),
    /// Through the API server: nothing but the kubeconfig is needed.
    Service {
        namespace: Option<String>,
        name: String,
        port: Option<String>,
        path: String,
    },
    /// A command of the shell; it must end with 0.
    Exec(String),
}

impl Check {
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(command) = text.strip_prefix("exec:") {
            return match command.trim() {
                "" => Err("--check exec: names no command: write it as 'exec:COMMAND'".to_owned()),
                command => Ok(Self::Exec(command.to_owned())),
            };
        }
        if let Some(service) = text.strip_prefix("service:") {
            let bad = || format!("--check {text:?}: write it as service:[NAMESPACE/]NAME[:PORT]//PATH");
            let (who, path) =
                service.split_once("//").map_or((service, String::new()), |(who, path)| (who, path.to_owned()));
            let (namespace, rest) =
                who.split_once('/').map_or((None, who), |(namespace, rest)| (Some(namespace.to_owned()), rest));
            let (name, port) = rest.split_once(':').map_or((rest, None), |(name, port)| (name, Some(port.to_owned())));
            let plain = |part: &str| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
            };
            if !plain(name)
                || namespace.as_deref().is_some_and(|namespace| !plain(namespace))
                || port.as_deref().is_some_and(|port| !plain(port))
            {
                return Err(bad());
            }
            return Ok(Self::Service { namespace, name: name.to_owned(), port, path: format!("/{path}") });
        }
        let url = reqwest::Url::parse(text).map_err(|error| format!("--check {text:?}: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("--check {text:?}: it is http://, https://, service: or exec:"));
        }
        Ok(Self::Url(text.to_owned()))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Service { name, port: Some(port), path, .. } => write!(f, "service {name}:{port}{path}"),
            Self::Service { name, path, .. } => write!(f, "service {name}{path}"),
            Self::Exec(command) => write!(f, "`{command}`"),
        }
    }
}

/// A PromQL expression with limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub name: String,
    pub text: String,
    pub max: Option<f64>,
    pub min: Option<f64>,
}

impl Query {
    /// `--query name=EXPR` and the limits, `name=NUMBER` each.
    pub fn all(queries: &[String], max: &[String], min: &[String]) -> Result<Vec<Self>, String> {
        let named = |text: &str, flag: &str| {
            text.split_once('=')
                .map(|(name, rest)| (name.trim().to_owned(), rest.trim().to_owned()))
                .filter(|(name, rest)| !name.is_empty() && !rest.is_empty())
                .ok_or_else(|| format!("{flag} {text:?}: write it as NAME=…"))
        };
        let mut all = Vec::new();
        for query in queries {
            let (name, text) = named(query, "--query")?;
            if all.iter().any(|known: &Self| known.name == name) {
                return Err(format!("--query: two are called {name}"));
            }
            all.push(Self { name, text, max: None, min: None });
        }
        for (limits, flag, most) in [(max, "--query-max", true), (min, "--query-min", false)] {
            for limit in limits {
                let (name, number) = named(limit, flag)?;
                let number: f64 = number
                    .parse()
                    .ok()
                    .filter(|number: &f64| number.is_finite())
                    .ok_or_else(|| format!("{flag} {limit:?}: {number:?} is not a number"))?;
                let Some(query) = all.iter_mut().find(|query| query.name == name) else {
                    return Err(format!("{flag} {limit:?}: no --query is called {name}"));
                };
                *(if most { &mut query.max } else { &mut query.min }) = Some(number);
            }
        }
        match all.iter().find(|query| query.max.is_none() && query.min.is_none()) {
            Some(query) => {
                Err(format!("--query {0}: say what is well with --query-max {0}=NUMBER or --query-min", query.name))
            }
            None => Ok(all),
        }
    }

    /// Whether a value is well, and if not why.
    pub fn judge(&self, value: f64) -> Result<(), String> {
        let over = self.max.filter(|max| value > *max).map(|max| format!("{} is {value}, more than {max}", self.name));
        let under = self.min.filter(|min| value < *min).map(|min| format!("{} is {value}, less than {min}", self.name));
        over.or(under).map_or(Ok(()), Err)
    }
}

/// When a webhook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Before the first write; only a 2xx answer lets the run begin.
    Pre,
    /// Before each step; only a 2xx answer lets it be taken.
    Step,
    /// After a run that ended well.
    Post,
    /// After a rollback.
    Rollback,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub when: When,
    pub url: String,
}

impl Webhook {
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("--webhook {text:?}: write it as pre=URL, step=URL, post=URL or rollback=URL");
        let (when, url) = text.split_once('=').ok_or_else(bad)?;
        let when = match when {
            "pre" => When::Pre,
            "step" => When::Step,
            "post" => When::Post,
            "rollback" => When::Rollback,
            _ => return Err(bad()),
        };
        Ok(Self { when, url: address(url, "--webhook")? })
    }
}

/// A URL, or the variable that holds one: what is secret does not belong on a command line.
pub fn address(text: &str, flag: &str) -> Result<String, String> {
    let value = match text.strip_prefix("env:") {
        Some(name) => std::env::var(name).map_err(|_| format!("{flag} {text}: the variable {name} is not set"))?,
        None => text.to_owned(),
    };
    match reqwest::Url::parse(&value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(value),
        // A secret is not repeated.
        _ => Err(format!("{flag}: not an http:// or https:// URL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_named_as_for_kubectl() {
        let of = |text: &str| {
            RouteRef::parse(text).map(|route| (route.kind.plural(), route.namespace.unwrap_or_default(), route.name))
        };
        let is = |kind, namespace: &str, name: &str| Ok((kind, namespace.to_owned(), name.to_owned()));
        assert_eq!(of("app"), is("httproutes", "", "app"));
        assert_eq!(of("shop/app"), is("httproutes", "shop", "app"));
        assert_eq!(of("grpcroute/app"), is("grpcroutes", "", "app"));
        assert_eq!(of("TCPRoutes/shop/db"), is("tcproutes", "shop", "db"));
        for bad in ["", "/", "a/", "a/b/c", "x/shop/db/z"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn checks_are_addresses_services_or_commands() {
        assert_eq!(Check::parse("https://x/healthz"), Ok(Check::Url("https://x/healthz".to_owned())));
        assert_eq!(Check::parse("exec:./smoke.sh 5"), Ok(Check::Exec("./smoke.sh 5".to_owned())));
        assert_eq!(
            Check::parse("service:shop/app-v2:http//healthz?deep=1"),
            Ok(Check::Service {
                namespace: Some("shop".to_owned()),
                name: "app-v2".to_owned(),
                port: Some("http".to_owned()),
                path: "/healthz?deep=1".to_owned()
            })
        );
        for bad in ["ftp://x", "exec:", "service:", "service:a b", "healthz"] {
            assert!(Check::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn queries_have_a_name_and_a_limit() {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let all = Query::all(&texts(&["lag=max(lag{a=\"b\"})"]), &texts(&["lag=5"]), &[]).unwrap();
        assert_eq!(all[0].text, "max(lag{a=\"b\"})");
        assert!(all[0].judge(5.0).is_ok() && all[0].judge(5.1).is_err());
        for (queries, max) in [
            (&["lag"][..], &[][..]),
            (&["a=b"], &[]),
            (&["a=b"], &["c=1"]),
            (&["a=b"], &["a=x"]),
            (&["a=b", "a=c"], &["a=1"]),
        ] {
            assert!(Query::all(&texts(queries), &texts(max), &[]).is_err(), "{queries:?} {max:?}");
        }
    }

    #[test]
    fn shares_keep_the_decimals_they_need() {
        assert_eq!([50.0, 0.1, 0.125, 99.95].map(short), ["50", "0.1", "0.125", "99.95"]);
    }
}
