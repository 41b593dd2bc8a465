//! What the filters of a rule or a backend do to heads.

use http::{
    HeaderMap, HeaderValue, Uri, header,
    uri::{Parts as UriParts, PathAndQuery},
};

use crate::table::{HeaderEdits, PathEdit, Redirect, Rewrite};

pub(crate) fn edit(headers: &mut HeaderMap, edits: &HeaderEdits) {
    for (name, value) in &edits.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &edits.add {
        headers.append(name, value.clone());
    }
    for name in &edits.remove {
        headers.remove(name);
    }
}

/// `matched` is the length of the prefix that the rule took, without trailing slash.
pub(crate) fn edited_path(edit: &PathEdit, path: &str, matched: usize) -> String {
    match edit {
        PathEdit::Full(full) if full.is_empty() => "/".to_owned(),
        PathEdit::Full(full) => full.clone(),
        PathEdit::Prefix(replacement) => {
            let rest = path.get(matched..).unwrap_or_default();
            let mut new = replacement.trim_end_matches('/').to_owned();
            if !rest.is_empty() && !rest.starts_with('/') {
                new.push('/');
            }
            new.push_str(rest);
            if new.is_empty() {
                new.push('/');
            }
            new
        }
    }
}

pub(crate) fn rewrite(rewrite: &Rewrite, uri: &mut Uri, headers: &mut HeaderMap, matched: usize) {
    if let Some(hostname) = &rewrite.hostname
        && let Ok(value) = HeaderValue::from_str(hostname.as_str())
    {
        headers.insert(header::HOST, value);
    }
    if let Some(edit) = &rewrite.path {
        let path = edited_path(edit, uri.path(), matched);
        let path = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        // The parts come from a valid URI and a replacement checked at compile time; anything
        // else leaves the path as it was.
        if let Ok(path) = PathAndQuery::try_from(path) {
            let mut parts = UriParts::default();
            parts.path_and_query = Some(path);
            if let Ok(new) = Uri::from_parts(parts) {
                *uri = new;
            }
        }
    }
}

/// Value of `location`; `host` comes without port, `port` is the listener's.
pub(crate) fn location(redirect: &Redirect, tls: bool, host: &str, port: u16, uri: &Uri, matched: usize) -> String {
    let own = if tls { "https" } else { "http" };
    let scheme = redirect.scheme.unwrap_or(own);
    let default = if scheme == "https" { 443 } else { 80 };
    let port = redirect.port.unwrap_or(if redirect.scheme.is_some() { default } else { port });
    let host = redirect.hostname.as_deref().unwrap_or(host);
    let mut location = format!("{scheme}://{host}");
    if port != default {
        location.push_str(&format!(":{port}"));
    }
    match &redirect.path {
        Some(edit) => location.push_str(&edited_path(edit, uri.path(), matched)),
        None => location.push_str(uri.path()),
    }
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    location
}
