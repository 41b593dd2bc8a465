//! `process_*`, as every Prometheus client names them; from /proc, so absent elsewhere.

use std::fs;

use super::render::Text;

/// Linux shows processor time to user space in hundredths, on every architecture.
const TICKS_A_SECOND: f64 = 100.0;

pub(super) fn render(text: &mut Text) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut memory = |field: &str, name: &str, help: &str| {
        let kib = status.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok());
        if let Some(kib) = kib.map(|kib: u64| kib * 1024) {
            text.family(name, "gauge", help);
            text.line(name, &[], kib);
        }
    };
    memory("VmRSS:", "process_resident_memory_bytes", "Resident memory.");
    memory("VmSize:", "process_virtual_memory_bytes", "Virtual memory.");
    if let Some((cpu, start)) = times() {
        text.family("process_cpu_seconds_total", "counter", "User and system processor time.");
        text.line("process_cpu_seconds_total", &[], cpu);
        text.family("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.");
        text.line("process_start_time_seconds", &[], start);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.family("process_open_fds", "gauge", "Open file descriptors.");
        text.line("process_open_fds", &[], open.count());
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    if let Some(most) = most.and_then(|most| most.parse::<u64>().ok()) {
        text.family("process_max_fds", "gauge", "Most file descriptors that may be open.");
        text.line("process_max_fds", &[], most);
    }
}

/// Processor seconds, and the start in seconds since 1970.
fn times() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold spaces: fields are counted from behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
    Some(((ticks(11)? + ticks(12)?) / TICKS_A_SECOND, boot + ticks(19)? / TICKS_A_SECOND))
}
