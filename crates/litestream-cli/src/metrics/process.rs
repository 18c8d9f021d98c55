//! The metrics every Prometheus client has of its process, from `/proc/self`; see proc(5).

use std::fs;

use super::exposition::{Exposition, Kind};

/// Ticks per second in `/proc/self/stat`: fixed for user space on Linux, whatever the kernel's.
const TICKS: f64 = 100.0;

/// Writes what can be found out; what cannot is left out.
pub(super) fn write(to: &mut Exposition) {
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            to.family(name, Kind::Gauge, help);
            to.sample(name, &[], value);
        }
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in the second field may hold anything, also spaces and parentheses.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_ascii_whitespace().collect())
        .unwrap_or_default();
    // Numbers of proc(5), where the field after the name is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let page = rustix::param::page_size() as f64;
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = |name: &str| soft_limit(&limits, name);
    let descriptors = fs::read_dir("/proc/self/fd").ok();
    // The descriptor of the listing itself is among them.
    let open = descriptors.map(|entries| (entries.count().max(1) - 1) as f64);
    gauge(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        limit("Max open files"),
    );
    gauge("process_open_fds", "Number of open file descriptors.", open);
    gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        field(24).map(|pages| pages * page),
    );
    gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        start_time(field(22)),
    );
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        field(23),
    );
    gauge(
        "process_virtual_memory_max_bytes",
        "Maximum amount of virtual memory available in bytes.",
        Some(limit("Max address space").unwrap_or(-1.0)),
    );
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        let name = "process_cpu_seconds_total";
        to.family(
            name,
            Kind::Counter,
            "Total user and system CPU time spent in seconds.",
        );
        to.sample(name, &[], (user + system) / TICKS);
    }
}

fn start_time(ticks_since_boot: Option<f64>) -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + ticks_since_boot? / TICKS)
}

/// `None` for a limit that is unlimited.
fn soft_limit(limits: &str, name: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_this_process() {
        let mut exposition = Exposition::default();
        write(&mut exposition);
        let text = exposition.into_text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.expect(name).trim().parse().expect(name)
        };
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_resident_memory_bytes ") > 100_000.0);
        assert!(value("process_virtual_memory_bytes ") > 1_000_000.0);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs_f64();
        let started = value("process_start_time_seconds ");
        assert!(started <= now + 1.0 && started > now - 86_400.0);
    }

    #[test]
    fn reads_limits() {
        let limits = "Limit    Soft Limit  Hard Limit  Units\n\
                      Max open files            1024      4096      files\n\
                      Max address space         unlimited unlimited bytes\n";
        assert_eq!(soft_limit(limits, "Max open files"), Some(1024.0));
        assert_eq!(soft_limit(limits, "Max address space"), None);
        assert_eq!(soft_limit(limits, "Max pets"), None);
    }
}
