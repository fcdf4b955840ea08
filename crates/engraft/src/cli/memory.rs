//! The memory of a training, against what is free.

use engraft_base::free_memory;
use engraft_gan::{GanError, TrainConfig, training_memory};

/// A line about the memory that `count` trainings at a time need and the free memory, and whether it is not enough.
///
/// # Errors
/// If the networks of the settings cannot be built.
pub(super) fn memory_line(config: &TrainConfig, count: usize) -> Result<(String, bool), GanError> {
    let needed = training_memory(config)?.saturating_mul(count as u64);
    Ok(line(needed, free_memory()))
}

fn line(needed: u64, free: Option<u64>) -> (String, bool) {
    let needed_text = shown(needed);
    match free {
        Some(free) if free < needed => (
            format!(
                "the training needs about {needed_text} of memory, but {} are free: it may be ended by the system; use a smaller \
                 --batch, smaller images, or other networks",
                shown(free)
            ),
            true,
        ),
        Some(free) => (format!("about {needed_text}, {} are free", shown(free)), false),
        None => (format!("about {needed_text}"), false),
    }
}

/// Bytes in MiB or GiB.
pub(super) fn shown(bytes: u64) -> String {
    match bytes >> 20 {
        mebibytes @ 0..1024 => format!("{mebibytes} MiB"),
        mebibytes => format!("{:.1} GiB", mebibytes as f64 / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_16_too_little_memory_is_told() {
        let (text, is_short) = line(3 << 30, Some(1 << 20));
        assert!(is_short && text.contains("3.0 GiB") && text.contains("1 MiB") && text.contains("--batch"));
        assert!(!line(1 << 20, Some(1 << 30)).1 && !line(1 << 20, None).1);
    }
}
