//! The time that a training takes, for a dry run.

use super::progress::duration;
use engraft_gan::{GanError, TrainConfig, TrainingPlan, step_time};

/// A line about the time of a training without its evaluations; without a plan, of untrained networks.
///
/// # Errors
/// If the networks of the settings cannot be built.
pub(super) fn time_line(config: &TrainConfig, plan: Option<&dyn TrainingPlan>) -> Result<String, GanError> {
    let step = step_time(config, plan)?.as_secs_f64();
    Ok(line(step, config.steps))
}

fn line(step: f64, steps: u64) -> String {
    format!(
        "about {}, timed now: {steps} steps of {step:.2} s, without the evaluations",
        duration(step * steps as f64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_all_steps() {
        let expected = "about 6m 40s, timed now: 1000 steps of 0.40 s, without the evaluations";
        assert_eq!(line(0.4, 1000), expected);
    }
}
