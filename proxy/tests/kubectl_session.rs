//! docs/kubectl-session.md carried out with the kubectl that is installed: what the page shows is
//! what is answered. `GWPROXY_TEST_RECORD=1` writes the page anew.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use regex::Regex;

const RECORD: &str = "GWPROXY_TEST_RECORD";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path) -> (Server, PathBuf) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gwproxy"));
    command.arg("local").arg("--data").arg(dir.join("data"));
    command.args(["--api", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--workers", "1"]);
    let server = Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let kubeconfig = dir.join("data/kubeconfig");
    for _ in 0..1200 {
        if run(dir, &kubeconfig, "kubectl get --raw /readyz") == "ok" {
            return (server, kubeconfig);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("gwproxy local did not come up within 60 s");
}

fn run(dir: &Path, kubeconfig: &Path, command: &str) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{{ {command}\n}} 2>&1")]).current_dir(dir).stdin(Stdio::null());
    shell.env("KUBECONFIG", kubeconfig).env("HOME", dir);
    String::from_utf8_lossy(&shell.output().unwrap().stdout).into_owned()
}

/// What differs from run to run and from one kubectl to the next, under one name.
fn normal(text: &str) -> Vec<String> {
    let rules = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), .*\d\d:\d\d:\d\d .*", "TIME"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r"\b10\.\d+\.\d+\.\d+\b", "IP"),
        (r"(?i)(resourceVersion:?\s*)\S+", "${1}N"),
        (r"\b(\d+[smhd]){1,2}\b", "AGE"),
        (r"/tmp/\S+", "FILE"),
        (r#" from \S+ namespace$"#, ""),
        (r"\s+", " "),
    ];
    let rules = rules.map(|(pattern, name)| (Regex::new(pattern).unwrap(), name));
    let line = |line: &str| {
        rules.iter().fold(line.to_owned(), |line, (rule, name)| rule.replace_all(&line, *name).into_owned())
    };
    text.trim_end().lines().map(line).map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn a_session_with_kubectl_goes_as_the_page_shows_it() {
    let there =
        Command::new("kubectl").args(["version", "--client"]).output().is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("kubectl is not installed: skipped");
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubectl-session.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (_server, kubeconfig) = start(dir.path());
    let (mut written, mut wrong, mut count) = (String::new(), String::new(), 0);
    let mut lines = text.lines().peekable();
    let mut file = None;
    while let Some(line) = lines.next() {
        writeln!(written, "{line}").unwrap();
        if let Some(name) = line.strip_prefix('`').and_then(|line| line.strip_suffix("`:")) {
            file = Some(name.to_owned());
        }
        match line {
            "```yaml" => {
                let mut content = String::new();
                for line in lines.by_ref().take_while(|line| *line != "```") {
                    writeln!(content, "{line}").unwrap();
                }
                writeln!(written, "{content}```").unwrap();
                std::fs::write(dir.path().join(file.take().unwrap()), content).unwrap();
            }
            "```console" => {
                while let Some(line) = lines.next().filter(|line| *line != "```") {
                    let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("no command: {line}"));
                    let mut shown = String::new();
                    while let Some(line) = lines.next_if(|line| !line.starts_with("$ ") && *line != "```") {
                        writeln!(shown, "{line}").unwrap();
                    }
                    count += 1;
                    let said = run(dir.path(), &kubeconfig, command);
                    writeln!(written, "$ {command}").unwrap();
                    for line in said.trim_end().lines() {
                        writeln!(written, "{line}").unwrap();
                    }
                    if normal(&said) != normal(&shown) {
                        write!(wrong, "$ {command}\n--- shown\n{shown}--- said\n{said}").unwrap();
                    }
                }
                writeln!(written, "```").unwrap();
            }
            _ => {}
        }
    }
    if std::env::var_os(RECORD).is_some() {
        let lines: Vec<&str> = written.lines().map(str::trim_end).collect();
        std::fs::write(page, lines.join("\n") + "\n").unwrap();
        return;
    }
    assert!(count >= 100, "the page has {count} commands");
    assert!(wrong.is_empty(), "{wrong}");
}
