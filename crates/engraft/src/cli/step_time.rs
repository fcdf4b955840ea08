//! The time that a training takes, for a dry run.

use super::progress::duration;
use engraft_gan::{GanError, TrainConfig, TrainingPlan, step_time};
use std::fmt;

/// The time of a training without its evaluations, and their number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TrainingTime {
    pub(super) seconds_per_step: f64,
    steps: u64,
    evaluations: u64,
}

impl TrainingTime {
    /// Times some steps of a training; without a plan, of untrained networks.
    ///
    /// # Errors
    /// If the networks of the settings cannot be built.
    pub(super) fn measure(config: &TrainConfig, plan: Option<&dyn TrainingPlan>) -> Result<Self, GanError> {
        Ok(Self {
            seconds_per_step: step_time(config, plan)?.as_secs_f64(),
            steps: config.steps,
            // One more at the end.
            evaluations: match config.evaluation.every {
                0 => 0,
                every => config.steps.div_ceil(every),
            },
        })
    }

    /// Seconds of all steps.
    pub(super) fn seconds(self) -> f64 {
        self.seconds_per_step * self.steps as f64
    }
}

impl fmt::Display for TrainingTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "about {}, timed now: {} steps of {:.2} s",
            duration(self.seconds()),
            self.steps,
            self.seconds_per_step
        )?;
        match self.evaluations {
            0 => Ok(()),
            1 => f.write_str(", without the evaluation"),
            n => write!(f, ", without the {n} evaluations"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_all_steps() {
        let time = TrainingTime {
            seconds_per_step: 0.4,
            steps: 1000,
            evaluations: 2,
        };
        assert_eq!(time.seconds(), 400.0);
        let expected = "about 6m 40s, timed now: 1000 steps of 0.40 s, without the 2 evaluations";
        assert_eq!(time.to_string(), expected);
    }
}
