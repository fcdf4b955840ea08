//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

/// A factor on the learning rate, as a function of the number of steps so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// Always 1.
    #[default]
    Constant,
    /// Rises from `1 / steps` to 1 over the first `steps` steps, then stays 1.
    Warmup {
        /// Number of steps of the rise.
        steps: u64,
    },
    /// Multiplies by `factor` after every `every` steps.
    Step {
        /// Number of steps between two drops.
        every: u64,
        /// Factor of each drop.
        factor: f64,
    },
    /// Follows half a cosine from 1 to `floor` over `steps` steps, then stays at `floor`.
    Cosine {
        /// Number of steps of the decay.
        steps: u64,
        /// Final factor.
        floor: f64,
    },
    /// Stays 1 until `from`, then decays linearly to 0 at `to`.
    LinearDecay {
        /// Last step with factor 1.
        from: u64,
        /// First step with factor 0.
        to: u64,
    },
    /// One schedule for some steps, then another one that counts from there; see [`Schedule::then`].
    Then {
        /// The schedule of the first steps.
        first: Box<Schedule>,
        /// Number of steps of the first schedule.
        steps: u64,
        /// The schedule of the remaining steps.
        next: Box<Schedule>,
    },
}

impl Schedule {
    /// This schedule for the first `steps` steps, then `next`, which counts from there.
    ///
    /// ```
    /// use engraft_layers::Schedule;
    /// // Warm-up, then half a cosine.
    /// let cosine = Schedule::Cosine { steps: 900, floor: 0.0 };
    /// let schedule = Schedule::Warmup { steps: 100 }.then(100, cosine);
    /// assert_eq!([49, 100, 550, 1000].map(|step| (schedule.factor(step) * 100.0).round()), [50.0, 100.0, 50.0, 0.0]);
    /// ```
    #[must_use]
    pub fn then(self, steps: u64, next: Self) -> Self {
        Self::Then {
            first: Box::new(self),
            steps,
            next: Box::new(next),
        }
    }

    /// The factor for the step after `steps` steps.
    pub fn factor(&self, steps: u64) -> f64 {
        let share = |part: u64, whole: u64| (part as f64 / whole.max(1) as f64).min(1.0);
        match *self {
            Self::Then {
                ref first,
                steps: until,
                ref next,
            } => match steps.checked_sub(until) {
                Some(since) => next.factor(since),
                None => first.factor(steps),
            },
            Self::Constant => 1.0,
            Self::Warmup { steps: rise } => share(steps.saturating_add(1), rise),
            Self::Step { every, factor } => {
                factor.powi(i32::try_from(steps / every.max(1)).unwrap_or(i32::MAX))
            }
            Self::Cosine { steps: fall, floor } => {
                let angle = std::f64::consts::PI * share(steps, fall);
                floor + (1.0 - floor) * 0.5 * (1.0 + angle.cos())
            }
            Self::LinearDecay { from, to } => {
                1.0 - share(steps.saturating_sub(from), to.saturating_sub(from))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_by_hand() {
        assert_eq!(Schedule::Constant.factor(9), 1.0);
        assert_eq!(
            [0, 1, 3, 9].map(|s| Schedule::Warmup { steps: 4 }.factor(s)),
            [0.25, 0.5, 1.0, 1.0]
        );
        assert_eq!(
            [0, 9, 10, 20].map(|s| Schedule::Step {
                every: 10,
                factor: 0.5
            }
            .factor(s)),
            [1.0, 1.0, 0.5, 0.25]
        );
        let cosine = Schedule::Cosine {
            steps: 10,
            floor: 0.2,
        };
        assert!((cosine.factor(5) - 0.6).abs() < 1e-12 && (cosine.factor(99) - 0.2).abs() < 1e-12);
        let linear = Schedule::LinearDecay { from: 10, to: 20 };
        assert_eq!([0, 10, 15, 30].map(|s| linear.factor(s)), [1.0, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn a_chain_counts_each_part_from_its_beginning() {
        let halves = Schedule::Step {
            every: 2,
            factor: 0.5,
        };
        let chain = (Schedule::Warmup { steps: 4 }.then(4, Schedule::Constant)).then(6, halves);
        let factors = [0, 3, 4, 5, 6, 7, 8, 10].map(|s| chain.factor(s));
        assert_eq!(factors, [0.25, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.25]);
    }
}
