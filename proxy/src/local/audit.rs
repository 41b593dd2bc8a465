//! The audit log: one JSON line an event, as `audit.k8s.io/v1` has them at the Metadata level.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::LocalError;
use super::info::Info;
use super::metrics::Metrics;

/// Events that may wait for the disk; more are counted as lost, and no request waits for them.
const QUEUE: usize = 10_000;
/// Who the one token belongs to.
const USER: &str = "admin";

/// Where the audit log is, and when it is rotated.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    pub path: PathBuf,
    /// Bytes after which the file becomes `PATH.1`.
    pub max_size: u64,
    /// How many rotated files are kept.
    pub max_backups: usize,
}

/// Takes events; a thread of its own writes them.
pub(super) struct Audit {
    queue: Mutex<Option<SyncSender<String>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    metrics: Arc<Metrics>,
}

/// A request, as far as all of its events tell the same.
pub(super) struct Subject {
    pub(super) id: String,
    pub(super) info: Info,
    pub(super) uri: String,
    pub(super) agent: String,
    pub(super) source: Option<IpAddr>,
    pub(super) received: jiff::Timestamp,
    /// Whether it had the token.
    pub(super) known: bool,
}

impl Audit {
    pub(super) fn open(options: AuditOptions, metrics: Arc<Metrics>) -> Result<Self, LocalError> {
        let failed = |source| LocalError::File { path: options.path.clone(), source };
        let log = Log::open(&options).map_err(failed)?;
        let (queue, events) = sync_channel(QUEUE);
        let counted = metrics.clone();
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || log.run(&events, &counted))
            .map_err(failed)?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), metrics })
    }

    /// Tells of a request that was answered, or of a watch that begins or has ended.
    pub(super) fn log(&self, subject: &Subject, stage: &str, code: u16, status: Option<&Value>) {
        let line = event(subject, stage, code, status).to_string();
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_none_or(|queue| queue.try_send(line).is_err()) {
            self.metrics.unaudited.fetch_add(1, Relaxed);
        }
    }

    /// Writes what is queued.
    pub(super) fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the audit log ended with a panic");
        }
    }
}

fn event(subject: &Subject, stage: &str, code: u16, status: Option<&Value>) -> Value {
    let Subject { id, info, uri, agent, source, received, known } = subject;
    let user = match known {
        true => json!({"username": USER, "groups": ["system:masters", "system:authenticated"]}),
        false => json!({"username": "system:anonymous", "groups": ["system:unauthenticated"]}),
    };
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id, "stage": stage,
        "requestURI": uri, "verb": info.verb, "user": user,
        "sourceIPs": source.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    if !agent.is_empty() {
        event["userAgent"] = agent.as_str().into();
    }
    if !info.resource.is_empty() {
        let fields = [
            ("resource", &info.resource),
            ("namespace", &info.namespace),
            ("name", &info.name),
            ("apiGroup", &info.group),
            ("apiVersion", &info.version),
            ("subresource", &info.subresource),
        ];
        for (field, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            event["objectRef"][field] = value.as_str().into();
        }
    }
    event["responseStatus"] = json!({"metadata": {}, "code": code});
    for field in ["status", "message", "reason", "details"] {
        if let Some(value) = status.and_then(|status| status.get(field)) {
            event["responseStatus"][field] = value.clone();
        }
    }
    event["requestReceivedTimestamp"] = micros(*received).into();
    event["stageTimestamp"] = micros(jiff::Timestamp::now()).into();
    let decision = if *known { "allow" } else { "forbid" };
    event["annotations"] = json!({"authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": ""});
    event
}

fn micros(at: jiff::Timestamp) -> String {
    format!("{at:.6}")
}

/// The file, with its size.
struct Log {
    options: AuditOptions,
    file: File,
    size: u64,
}

impl Log {
    fn open(options: &AuditOptions) -> std::io::Result<Self> {
        if let Some(dir) = options.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&options.path)?;
        let size = file.metadata()?.len();
        Ok(Self { options: options.clone(), file, size })
    }

    fn run(mut self, events: &Receiver<String>, metrics: &Metrics) {
        let mut failing = false;
        for mut line in events {
            line.push('\n');
            match self.write(&line) {
                Ok(()) => {
                    failing = false;
                    metrics.audited.fetch_add(1, Relaxed);
                }
                Err(error) => {
                    metrics.unaudited.fetch_add(1, Relaxed);
                    // Once a trouble, not once a line.
                    if !std::mem::replace(&mut failing, true) {
                        let path = self.options.path.display();
                        tracing::error!(%error, "the audit log {path} cannot be written; events are lost");
                    }
                }
            }
        }
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.options.max_size {
            self.rotate()?;
        }
        let written = self.file.write_all(line.as_bytes());
        if written.is_err() {
            // No half of a line is left before the next one.
            let _ = self.file.set_len(self.size);
        } else {
            self.size += length;
        }
        written
    }

    /// `PATH` becomes `PATH.1`, that becomes `PATH.2`, and the last one goes.
    fn rotate(&mut self) -> std::io::Result<()> {
        let numbered = |number: usize| numbered(&self.options.path, number);
        for number in (1..self.options.max_backups).rev() {
            if numbered(number).exists() {
                std::fs::rename(numbered(number), numbered(number + 1))?;
            }
        }
        if self.options.max_backups > 0 {
            std::fs::rename(&self.options.path, numbered(1))?;
        } else {
            std::fs::remove_file(&self.options.path)?;
        }
        *self = Self::open(&self.options)?;
        Ok(())
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_rotated_by_size_and_old_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/audit.log");
        let options = AuditOptions { path: path.clone(), max_size: 20, max_backups: 2 };
        let mut log = Log::open(&options).unwrap();
        for number in 0..8 {
            log.write(&format!("line {number}\n")).unwrap();
        }
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&path), "line 6\nline 7\n");
        assert_eq!(read(&numbered(&path, 1)), "line 4\nline 5\n");
        assert_eq!(read(&numbered(&path, 2)), "line 2\nline 3\n");
        assert!(!numbered(&path, 3).exists());
        drop(log);
        Log::open(&options).unwrap().write("again and again\n").unwrap();
        assert_eq!(read(&path), "again and again\n", "the size is known after a restart");
    }

    #[test]
    fn an_event_has_the_fields_of_the_api() {
        let request = http::Request::get("/apis/apps/v1/namespaces/shop/deployments/web").body(()).unwrap();
        let subject = Subject {
            id: "id".into(),
            info: Info::of(&request),
            uri: request.uri().to_string(),
            agent: "kubectl/v1.36".into(),
            source: Some([127, 0, 0, 1].into()),
            received: "2026-01-02T03:04:05.0000067Z".parse().unwrap(),
            known: true,
        };
        let status = json!({"status": "Failure", "reason": "NotFound", "message": "no", "code": 404});
        let event = event(&subject, "ResponseComplete", 404, Some(&status));
        assert_eq!(event["requestReceivedTimestamp"], "2026-01-02T03:04:05.000006Z");
        assert_eq!(
            event["objectRef"],
            json!({"resource": "deployments", "namespace": "shop", "name": "web", "apiGroup": "apps", "apiVersion": "v1"})
        );
        assert_eq!(
            event["responseStatus"],
            json!({"metadata": {}, "code": 404, "status": "Failure", "reason": "NotFound", "message": "no"})
        );
        assert_eq!((&event["verb"], &event["level"]), (&json!("get"), &json!("Metadata")));
    }
}
