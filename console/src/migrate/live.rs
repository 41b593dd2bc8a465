//! Two endpoints and the same requests: which are safe to send, and how their answers differ. Pure.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    Migration,
    nginx::Request,
    prove::{self, Compiled},
};
use crate::finding::{Finding, Object, Severity};

/// Where an old or a new proxy listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// An address, or a name of one.
    pub host: String,
    /// Port for plain requests; none where they are not to be sent.
    pub plain: Option<u16>,
    pub tls: Option<u16>,
}

impl Endpoint {
    /// `HOST` for ports 80 and 443, or a URL for one of them alone.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: write an address, or a URL such as http://192.0.2.1:8080");
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest.trim_end_matches('/')),
            Some(_) => return Err(wrong()),
            None => (None, text),
        };
        if rest.is_empty() || rest.contains('/') {
            return Err(wrong());
        }
        if let Ok(address) = rest.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
            return Ok(Self::of(address.to_string(), scheme, None));
        }
        if let Ok(address) = rest.parse::<SocketAddr>() {
            return Ok(Self::of(address.ip().to_string(), Some(scheme.unwrap_or("http")), Some(address.port())));
        }
        match rest.split_once(':') {
            Some((host, port)) => {
                let port = port.parse().map_err(|_| wrong())?;
                Ok(Self::of(host.to_owned(), Some(scheme.unwrap_or("http")), Some(port)))
            }
            None => Ok(Self::of(rest.to_owned(), scheme, None)),
        }
    }

    fn of(host: String, scheme: Option<&str>, port: Option<u16>) -> Self {
        let plain = (scheme != Some("https")).then(|| port.unwrap_or(80));
        let tls = (scheme != Some("http")).then(|| port.unwrap_or(443));
        Self { host, plain, tls }
    }

    pub fn port(&self, tls: bool) -> Option<u16> {
        if tls { self.tls } else { self.plain }
    }
}

/// What of an answer is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub length: usize,
    pub hash: u64,
}

/// Headers that belong to the connection, the proxy or the moment.
const OF_THE_PROXY: [&str; 14] = [
    "date",
    "server",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "via",
    "age",
    "x-request-id",
    "x-envoy-upstream-service-time",
    "alt-svc",
    "x-served-by",
    "proxy-connection",
    "trailer",
];

/// Whether a request changes nothing where it is sent.
pub fn is_safe(request: &Request) -> bool {
    matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS")
}

/// What differs: name of the part, what the old says, what the new says. `again` is the old one's
/// second answer: what it does not say twice is not compared.
pub fn differences(old: &Answer, again: &Answer, new: &Answer) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    if old.status != new.status {
        all.push(("status".to_owned(), old.status.to_string(), new.status.to_string()));
        return all;
    }
    // The page of an error or a redirect is the proxy's own.
    let served = (200..300).contains(&old.status);
    let names: std::collections::BTreeSet<&String> = old.headers.keys().chain(new.headers.keys()).collect();
    for name in names.into_iter().filter(|name| !OF_THE_PROXY.contains(&name.as_str())) {
        if name == "content-type" && !served {
            continue;
        }
        let of = |answer: &Answer| answer.headers.get(name).map(|value| comparable(name, value));
        if of(old) != of(new) && of(old) == of(again) {
            let told = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
            all.push((format!("header {name}"), told(of(old)), told(of(new))));
        }
    }
    if served && old.body != new.body && old.body == again.body {
        let told = |body: &Body| format!("{} bytes, hash {:016x}", body.length, body.hash);
        all.push(("body".to_owned(), told(&old.body), told(&new.body)));
    }
    all
}

fn comparable(name: &str, value: &str) -> String {
    match name {
        // Values of cookies are new each time; which are set is not.
        "set-cookie" => {
            value.split('\n').map(|one| one.split('=').next().unwrap_or_default()).collect::<Vec<_>>().join(" ")
        }
        // Ports that are in the URL only because this is a trial are none of the rule's.
        "location" => {
            let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{scheme}://{}/{path}", host.split(':').next().unwrap_or_default())
        }
        _ => value.to_owned(),
    }
}

/// How one request went.
#[derive(Debug, Clone)]
pub struct Compared {
    pub request: Request,
    /// Two answers of the old one and one of the new, or why there is none.
    pub answers: Result<(Answer, Answer, Answer), String>,
}

#[derive(Debug, Default)]
pub struct Replay {
    pub asked: usize,
    pub equal: usize,
    /// Not sent: it could change something, or the endpoint does not speak the scheme.
    pub left_out: usize,
    /// Differences that the report foretells.
    pub explained: usize,
    /// Others, and requests without an answer.
    pub findings: Vec<Finding>,
}

pub fn told(request: &Request) -> String {
    let scheme = if request.tls { "https" } else { "http" };
    let headers: String = request.headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
    format!("{} {scheme}://{}{}{headers}", request.method, request.host, request.target)
}

pub fn judge(migration: &Migration, compared: &[Compared], left_out: usize) -> Replay {
    let compiled = Compiled::new(migration);
    let mut replay = Replay { left_out, ..Replay::default() };
    for one in compared {
        replay.asked += 1;
        let object = Object::new("", "Request", "", told(&one.request));
        let (old, again, new) = match &one.answers {
            Ok(answers) => (&answers.0, &answers.1, &answers.2),
            Err(why) => {
                replay.findings.push(
                    Finding::new("NET002", Severity::Error, object, "one of the two does not answer")
                        .evidence("got", why.clone()),
                );
                continue;
            }
        };
        let all = differences(old, again, new);
        if all.is_empty() {
            replay.equal += 1;
        } else if prove::foretold(migration, &compiled, &one.request).is_some() {
            replay.explained += 1;
        } else {
            let mut finding = Finding::new("NET002", Severity::Error, object, format!("{} differs", all[0].0));
            for (what, old, new) in all {
                finding = finding.evidence(what, format!("old {old}, new {new}"));
            }
            replay.findings.push(finding.fix("compare the rules for this host and path on both sides"));
        }
    }
    replay
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], hash: u64) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status, headers, body: Body { length: 1, hash } }
    }

    #[test]
    fn endpoints_are_addresses_or_urls() {
        let of = |text: &str| Endpoint::parse(text).map(|one| (one.host, one.plain, one.tls));
        assert_eq!(of("192.0.2.1"), Ok(("192.0.2.1".to_owned(), Some(80), Some(443))));
        assert_eq!(of("http://a.test:8080"), Ok(("a.test".to_owned(), Some(8080), None)));
        assert_eq!(of("https://[::1]:8443/"), Ok(("::1".to_owned(), None, Some(8443))));
        assert_eq!(of("127.0.0.1:81"), Ok(("127.0.0.1".to_owned(), Some(81), None)));
        assert_eq!(of("2001:db8::1"), Ok(("2001:db8::1".to_owned(), Some(80), Some(443))));
        assert!(of("gopher://x").is_err() && of("http://a/b").is_err() && of("").is_err() && of("a:b").is_err());
    }

    #[test]
    fn what_belongs_to_the_moment_is_not_compared() {
        let old = answer(200, &[("date", "1"), ("server", "nginx"), ("x", "1"), ("set-cookie", "id=1; Path=/")], 1);
        let new = answer(200, &[("date", "2"), ("x", "1"), ("set-cookie", "id=2; Path=/")], 1);
        assert_eq!(differences(&old, &old, &new), []);
        // A body that is another each time says nothing; one that stays the same does.
        let dynamic = answer(200, &[("x", "1"), ("set-cookie", "id=1")], 2);
        assert_eq!(differences(&old, &dynamic, &answer(200, &[("x", "1"), ("set-cookie", "id=1")], 3)), []);
        let parts = |old: &Answer, new: &Answer| {
            differences(old, old, new).into_iter().map(|(part, ..)| part).collect::<Vec<_>>()
        };
        assert_eq!(
            parts(&old, &answer(200, &[("x", "2"), ("set-cookie", "other=1")], 3)),
            ["header set-cookie", "header x", "body"]
        );
        assert_eq!(parts(&old, &answer(404, &[], 3)), ["status"]);
        // The page of an error is the proxy's own.
        assert_eq!(
            parts(&answer(404, &[("content-type", "text/html")], 1), &answer(404, &[], 2)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_redirect_has_to_lead_to_the_same_place() {
        let to = |url: &str| answer(308, &[("location", url)], 1);
        let old = to("https://a.test/x");
        assert_eq!(differences(&old, &old, &to("https://a.test:8443/x")), []);
        assert_eq!(differences(&old, &old, &to("https://a.test/y")).len(), 1);
        assert_eq!(differences(&old, &old, &to("http://a.test/x")).len(), 1);
    }

    #[test]
    fn only_what_changes_nothing_is_sent() {
        let of = |method: &str| {
            is_safe(&Request {
                tls: false,
                host: String::new(),
                method: method.to_owned(),
                target: "/".to_owned(),
                headers: Vec::new(),
            })
        };
        assert!(of("GET") && of("HEAD") && of("OPTIONS") && !of("POST") && !of("DELETE") && !of("PUT") && !of("PATCH"));
    }
}
