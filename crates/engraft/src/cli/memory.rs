//! The memory of a training, against what is free.

use engraft_base::free_memory;
use engraft_gan::{GanError, TrainConfig, training_memory};
use std::fmt;

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// What is needed.
    pub(super) needed: u64,
    /// What is free, if the system tells.
    pub(super) free: Option<u64>,
}

impl Memory {
    /// The memory that `count` trainings at a time need, and the free memory.
    ///
    /// # Errors
    /// If the networks of the settings cannot be built.
    pub(super) fn of(config: &TrainConfig, count: usize) -> Result<Self, GanError> {
        Ok(Self {
            needed: training_memory(config)?.saturating_mul(count as u64),
            free: free_memory(),
        })
    }

    /// Whether the free memory is not enough.
    pub(super) fn is_short(self) -> bool {
        self.free.is_some_and(|free| free < self.needed)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needed = shown(self.needed);
        match self.free.map(shown) {
            Some(free) if self.is_short() => write!(
                f,
                "the training needs about {needed} of memory, but {free} are free: it may be ended by the system; use a smaller \
                 --batch, smaller images, or other networks"
            ),
            Some(free) => write!(f, "about {needed}, {free} are free"),
            None => write!(f, "about {needed}"),
        }
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
        let of = |needed, free| Memory { needed, free };
        let short = of(3 << 30, Some(1 << 20));
        let text = short.to_string();
        for part in ["3.0 GiB", "1 MiB", "--batch"] {
            assert!(short.is_short() && text.contains(part), "no {part:?} in {text}");
        }
        for enough in [
            of(1 << 20, Some(1 << 30)),
            of(1 << 20, Some(1 << 20)),
            of(1 << 20, None),
        ] {
            assert!(!enough.is_short(), "{enough}");
        }
    }
}
