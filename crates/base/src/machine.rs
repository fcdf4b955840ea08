//! The machine: its free memory and its CPU.

/// Memory that this process may still use, in bytes: what the system calls available, within the limits of the control group
/// and of the process (`ulimit -v`). `None` if the system does not tell.
pub fn free_memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let available = read("/proc/meminfo").and_then(|text| field(&text, "MemAvailable:"));
    let group = number("/sys/fs/cgroup/memory.max")
        .zip(number("/sys/fs/cgroup/memory.current"))
        .map(|(most, used)| most.saturating_sub(used));
    let limit = read("/proc/self/limits").and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Max address space"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    let used = read("/proc/self/status").and_then(|text| field(&text, "VmSize:"));
    let process = limit.zip(used).map(|(most, used)| most.saturating_sub(used));
    [available, group, process].into_iter().flatten().min()
}

/// The name of the CPU, as its maker gives it. `None` if the system does not tell.
pub fn cpu_model() -> Option<String> {
    cpu_model_in(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn cpu_model_in(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// A field of `/proc` in bytes, which is given in KiB.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_kibibytes() {
        assert_eq!(
            field("MemFree: 1 kB\nMemAvailable:   12 kB\n", "MemAvailable:"),
            Some(12288)
        );
        assert_eq!(field("", "MemAvailable:"), None);
    }

    #[test]
    fn the_model_is_the_first_cores() {
        let text = "processor\t: 0\nmodel name\t: A CPU: fast\nprocessor\t: 1\nmodel name\t: B\n";
        assert_eq!(cpu_model_in(text).as_deref(), Some("A CPU: fast"));
        assert_eq!(cpu_model_in("processor\t: 0\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells() {
        assert!(free_memory().is_some());
    }
}
