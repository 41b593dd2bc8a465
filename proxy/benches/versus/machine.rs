//! Processes on a core of their own, and what they have used of the machine.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use color_eyre::{
    Result,
    eyre::{WrapErr, eyre},
};

/// A process with its children; ends with this value.
pub struct Running {
    child: Child,
}

impl Running {
    /// `log` takes what the process says.
    pub fn start(core: usize, program: &Path, args: &[String], log: &Path) -> Result<Self> {
        let out = fs::File::create(log).wrap_err_with(|| format!("cannot write {}", log.display()))?;
        let child = Command::new("taskset")
            .arg("-c")
            .arg(core.to_string())
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .wrap_err("cannot run taskset (util-linux)")?;
        Ok(Self { child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn pids(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        let mut at = 0;
        while let Some(parent) = all.get(at).copied() {
            at += 1;
            let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
            for task in tasks {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
        }
        all
    }

    /// Time on a processor, user and system, of all threads that live. The scheduler counts it
    /// in nanoseconds; the ticks of `stat` are too coarse for short rounds.
    pub fn cpu(&self) -> Result<Duration> {
        let mut nanos = 0;
        for pid in self.pids() {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).wrap_err("the process has ended")?;
            for task in tasks {
                // A thread may end while we look.
                let Ok(stat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
                let first = stat.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
                nanos += first.ok_or_else(|| eyre!("/proc/{pid} has no schedstat"))?;
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let of = |pid: u32| -> Option<u64> {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse().ok()
        };
        self.pids().into_iter().filter_map(of).sum::<u64>() * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Children first: a master that is killed leaves its workers behind.
        for pid in self.pids().into_iter().skip(1) {
            let _ = Command::new("kill").arg("-9").arg(pid.to_string()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts this process on `core`.
pub fn pin(core: usize) -> Result<()> {
    let pid = std::process::id().to_string();
    let done = Command::new("taskset").args(["-cp", &core.to_string(), &pid]).stdout(Stdio::null()).status();
    match done.wrap_err("cannot run taskset (util-linux)")?.success() {
        true => Ok(()),
        false => Err(eyre!("taskset does not give core {core}; choose others with --proxy-core and --load-core")),
    }
}

/// Load averages, as the kernel writes them.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

pub fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    // Not what this process may use: it is on one core.
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    format!("{} ({cores} cores)", model.unwrap_or("unknown processor"))
}

/// The first line that the program says of itself.
pub fn version(program: &Path, flag: &str) -> Option<String> {
    let said = Command::new(program).arg(flag).output().ok()?;
    let text = if said.stdout.is_empty() { said.stderr } else { said.stdout };
    String::from_utf8_lossy(&text).lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// A program by its name in PATH, or in the places that packages of servers use.
pub fn find(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = ["/usr/sbin", "/usr/local/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path).chain(beside).map(|dir| dir.join(name)).find(|file| file.is_file())
}
