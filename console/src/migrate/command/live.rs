//! Sends the same safe requests to an old and a new proxy.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use futures::StreamExt as _;

use crate::{
    ask::{Question, ask},
    finding::human,
    migrate::{
        Migration,
        live::{Answer, Body, Compared, Endpoint, Replay, is_safe, judge},
        nginx::Request,
        prove::corpus,
    },
};

const AT_ONCE: usize = 8;

/// Asks both and says what differs.
pub async fn replay(
    migration: &Migration,
    more: &[Request],
    [old, new]: &[Endpoint; 2],
    timeout: Duration,
) -> Result<Replay, String> {
    let (old_address, new_address) = (resolve(old).await?, resolve(new).await?);
    let all: std::collections::BTreeSet<Request> = corpus(migration).into_iter().chain(more.iter().cloned()).collect();
    let asked = all.len();
    let wanted: Vec<(Request, u16, u16)> = all
        .into_iter()
        .filter(is_safe)
        .filter_map(|request| {
            Some((old.port(request.tls)?, new.port(request.tls)?)).map(|(old, new)| (request, old, new))
        })
        .collect();
    let left_out = asked - wanted.len();
    let total = wanted.len();
    let mut answers = futures::stream::iter(wanted.into_iter().map(|(request, old, new)| {
        let (old, new) = (SocketAddr::new(old_address, old), SocketAddr::new(new_address, new));
        async move {
            let answers = both(&request, old, new, timeout).await;
            Compared { request, answers }
        }
    }))
    .buffered(AT_ONCE);
    let mut compared = Vec::with_capacity(total);
    let progress = std::io::stderr().is_terminal();
    while let Some(one) = answers.next().await {
        compared.push(one);
        if progress && (compared.len() % 50 == 0 || compared.len() == total) {
            eprint!("\r{} of {total} requests", compared.len());
            let _ = std::io::stderr().flush();
        }
    }
    if progress && total > 0 {
        eprintln!();
    }
    Ok(judge(migration, &compared, left_out))
}

async fn both(
    request: &Request,
    old: SocketAddr,
    new: SocketAddr,
    timeout: Duration,
) -> Result<(Answer, Answer, Answer), String> {
    let first = one(request, old, timeout).await.map_err(|why| format!("old: {why}"))?;
    let other = one(request, new, timeout).await.map_err(|why| format!("new: {why}"))?;
    // Whether the old one says the same twice matters only where the new one says something else.
    let again = if first == other {
        first.clone()
    } else {
        one(request, old, timeout).await.map_err(|why| format!("old: {why}"))?
    };
    Ok((first, again, other))
}

async fn one(request: &Request, to: SocketAddr, timeout: Duration) -> Result<Answer, String> {
    let Request { tls, host, method, target, headers } = request;
    let heard = ask(&Question { to, tls: *tls, host, host_port: None, method, target, headers }, timeout).await?;
    let mut all: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    for (name, value) in &heard.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        all.entry(name.to_string()).and_modify(|known| *known += &format!("\n{value}")).or_insert(value);
    }
    let mut hash = DefaultHasher::new();
    heard.body.hash(&mut hash);
    Ok(Answer { status: heard.status, headers: all, body: Body { length: heard.body.len(), hash: hash.finish() } })
}

async fn resolve(endpoint: &Endpoint) -> Result<std::net::IpAddr, String> {
    if let Ok(address) = endpoint.host.parse() {
        return Ok(address);
    }
    let found = tokio::net::lookup_host((endpoint.host.as_str(), 0)).await;
    let found = found.map_err(|error| format!("cannot resolve {}: {error}", endpoint.host))?.next();
    found.map(|address| address.ip()).ok_or_else(|| format!("{} has no address", endpoint.host))
}

pub fn text(replay: &Replay) -> String {
    let mut text: String = replay.findings.iter().map(|one| human::finding(one) + "\n").collect();
    text += &format!(
        "live: {} requests sent to both, {} answered alike, {} differ as reported, {} differ without a reason, {} not sent\n",
        replay.asked,
        replay.equal,
        replay.explained,
        replay.findings.len(),
        replay.left_out
    );
    text
}
