//! Who may speak to the API: whoever has the token, and through a name of this server only.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use http::{HeaderMap, Request};

use super::LocalError;
use super::status::StatusError;

const TOKEN_BYTES: usize = 32;

/// The bearer tokens, and the checks of a request's headers.
pub(super) struct Auth {
    path: PathBuf,
    kept: RwLock<Kept>,
    /// For this process' own clients; it lives in memory only and is never rotated.
    own: String,
    names: Names,
}

/// The token of the file, and which file that was.
struct Kept {
    token: String,
    file: Option<(u64, u64, i64, i64)>,
}

/// By which names and addresses clients may call the server.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Addresses of any kind: the server listens on others than loopback.
    pub(super) any_address: bool,
    pub(super) names: Vec<String>,
}

impl Auth {
    /// Takes the token kept in the data directory, or makes and keeps a new one.
    pub(super) fn open(data: &Path, names: Names) -> Result<Self, LocalError> {
        let path = data.join("token");
        let kept = match read(&path)? {
            Some(kept) => kept,
            // None yet, or a crash in the middle of the first start: nobody can have used it.
            None => Kept { token: make(&path)?, file: identity(&path) },
        };
        let own = random().map_err(|source| LocalError::File { path: path.clone(), source })?;
        Ok(Self { path, kept: RwLock::new(kept), own, names })
    }

    pub(super) fn token(&self) -> String {
        self.refresh();
        self.kept.read().unwrap_or_else(PoisonError::into_inner).token.clone()
    }

    pub(super) fn own_token(&self) -> &str {
        &self.own
    }

    /// Takes a token that was written meanwhile; the one before is worth nothing from then on.
    fn refresh(&self) {
        let now = identity(&self.path);
        if now.is_none() || now == self.kept.read().unwrap_or_else(PoisonError::into_inner).file {
            return;
        }
        match read(&self.path) {
            Ok(Some(new)) => *self.kept.write().unwrap_or_else(PoisonError::into_inner) = new,
            Ok(None) => tracing::error!("{} is not a token: the one before stays", self.path.display()),
            Err(error) => tracing::error!(%error, "the token cannot be read: the one before stays"),
        }
    }

    /// Refuses names that a foreign web page could have pointed here.
    pub(super) fn check_host<B>(&self, request: &Request<B>) -> Result<(), StatusError> {
        let header = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
        let named = header.into_iter().chain(request.uri().authority().map(http::uri::Authority::as_str));
        let mut any = false;
        for host in named {
            any = true;
            if !self.names.have(host) {
                return Err(StatusError::forbidden(format!(
                    "the Host {host:?} is not an address of this server: use 127.0.0.1, [::1] or localhost, or name it at start (--tls-san)"
                )));
            }
        }
        if any { Ok(()) } else { Err(StatusError::forbidden("the request names no Host")) }
    }

    pub(super) fn check_token(&self, headers: &HeaderMap) -> Result<(), StatusError> {
        let header = headers.get(http::header::AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let token = match header.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => token,
            _ => return Err(StatusError::unauthorized()),
        };
        if same(token, &self.own) {
            return Ok(());
        }
        self.refresh();
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if same(token, &kept.token) { Ok(()) } else { Err(StatusError::unauthorized()) }
    }
}

/// Takes as long for every wrong token of the right length.
fn same(sent: &[u8], own: &str) -> bool {
    let differ = sent.iter().zip(own.bytes()).fold(0, |differ, (sent, own)| differ | (sent ^ own));
    sent.len() == own.len() && differ == 0
}

impl Names {
    fn have(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
        let name = authority.host();
        if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
            // No page can make its own name out of somebody else's address.
            return self.any_address || address.is_loopback() || self.names.contains(&address.to_string());
        }
        name.eq_ignore_ascii_case("localhost") || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

fn random() -> std::io::Result<String> {
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn identity(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

/// `None` when there is no token in the file.
fn read(path: &Path) -> Result<Option<Kept>, LocalError> {
    let file = identity(path);
    let Some(text) = read_secret(path)? else { return Ok(None) };
    let token = text.trim().to_owned();
    let sound = token.len() == TOKEN_BYTES * 2 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(sound.then_some(Kept { token, file }))
}

/// Makes a token and keeps it in the file; a running server takes it with the next request.
pub(super) fn make(path: &Path) -> Result<String, LocalError> {
    let token = random().map_err(|source| LocalError::File { path: path.to_owned(), source })?;
    write_secret(path, token.as_bytes())?;
    Ok(token)
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
