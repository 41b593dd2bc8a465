//! Who may speak to the API: whoever has the token, and through a loopback name only.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use http::{HeaderMap, Request};

use super::LocalError;
use super::status::StatusError;

const TOKEN_BYTES: usize = 32;

/// The bearer token, and the checks of a request's headers.
pub(super) struct Auth {
    token: String,
}

impl Auth {
    /// Takes the token kept in the data directory, or makes and keeps a new one.
    pub(super) fn open(data: &Path) -> Result<Self, LocalError> {
        let path = data.join("token");
        let failed = |source| LocalError::File { path: path.clone(), source };
        if let Some(token) = read_secret(&path)? {
            let token = token.trim().to_owned();
            if token.len() == TOKEN_BYTES * 2 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Ok(Self { token });
            }
            // A crash in the middle of the first start: nobody can have used it.
        }
        let mut random = [0; TOKEN_BYTES];
        getrandom::fill(&mut random).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        write_secret(&path, token.as_bytes())?;
        Ok(Self { token })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Refuses names that a foreign web page could have pointed here.
    pub(super) fn check_host<B>(&self, request: &Request<B>) -> Result<(), StatusError> {
        let header = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
        let named = header.into_iter().chain(request.uri().authority().map(http::uri::Authority::as_str));
        let mut any = false;
        for host in named {
            any = true;
            if !is_loopback(host) {
                return Err(StatusError::forbidden(format!(
                    "the Host {host:?} is not an address of this server: use 127.0.0.1, [::1] or localhost"
                )));
            }
        }
        if any { Ok(()) } else { Err(StatusError::forbidden("the request names no Host")) }
    }

    pub(super) fn check_token(&self, headers: &HeaderMap) -> Result<(), StatusError> {
        let header = headers.get(http::header::AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let token = match header.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => token,
            _ => b"",
        };
        // Takes as long for every wrong token of the right length.
        let differ = token.iter().zip(self.token.bytes()).fold(0, |differ, (sent, own)| differ | (sent ^ own));
        if token.len() == self.token.len() && differ == 0 { Ok(()) } else { Err(StatusError::unauthorized()) }
    }
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host();
    name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn read_secret(path: &Path) -> Result<Option<String>, LocalError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LocalError::File { path: path.to_owned(), source }),
    }
}

/// Writes a file that only its owner may read; readers see the old or the new one, never half.
pub(super) fn write_secret(path: &Path, content: &[u8]) -> Result<(), LocalError> {
    let failed = |source| LocalError::File { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let _ = std::fs::remove_file(&temporary);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|source| {
        let _ = std::fs::remove_file(&temporary);
        failed(source)
    })
}
