//! Resource usage of this process and the machine; `None` without `/proc`.

use std::fs::read_to_string;

/// Milliseconds of a clock tick in `/proc`: Linux shows times to programs in hundredths of a second.
const TICK_MS: u64 = 10;

/// Resources that all threads of this process have used since its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// Page faults that read nothing from a disk: memory touched for the first time.
    pub(crate) page_faults: u64,
    /// Time on a core, in steps of a tick.
    pub(crate) cpu_ms: u64,
}

/// Resources used so far.
pub(crate) fn usage() -> Option<Usage> {
    usage_in(&read_to_string("/proc/self/stat").ok()?)
}

/// `minflt`, `utime` and `stime`, fields 10, 14 and 15 of proc(5). The name in field 2 may hold anything.
fn usage_in(stat: &str) -> Option<Usage> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Usage {
        page_faults: field(10)?,
        cpu_ms: (field(14)? + field(15)?) * TICK_MS,
    })
}

/// Largest resident memory of this process so far, in MB of 2^20 bytes.
pub(crate) fn peak_rss_mb() -> Option<u64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024)
}

/// Programs that ran or waited for a core, on the average of the last minute.
pub(crate) fn load() -> Option<f64> {
    let text = read_to_string("/proc/loadavg").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_behind_any_name() {
        let stat = "7 (a) b (c)) R 1 7 7 0 -1 4194304 103 5 0 6 21 4 8 9 20 0 1 0 63314 2998272 394";
        let expected = Usage {
            page_faults: 103,
            cpu_ms: 250,
        };
        assert_eq!(usage_in(stat), Some(expected));
        assert_eq!(usage_in("7 (short) R 1"), None);
        assert_eq!(usage_in(""), None);
    }
}
