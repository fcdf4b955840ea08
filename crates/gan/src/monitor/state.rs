//! Evaluation results of a run: the best one, and early stopping.

use super::measurement::{Alarm, Measurement};
use crate::config::TrainConfig;
use crate::error::GanError;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// Largest `measures.jsonl` that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Share by which KIDs of second features must differ to count.
const TENTH: f64 = 0.1;

/// Evaluation results, rollbacks and phase of a run; part of its checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct MonitorState {
    /// All measurements so far, oldest first.
    pub(crate) measurements: Vec<Measurement>,
    /// Number of rollbacks after divergence.
    pub(crate) rollbacks: u32,
    /// Current phase of the training plan.
    pub(crate) phase: u32,
    /// Step at which this phase started.
    pub(crate) phase_start: u64,
    /// Measured steps whose checkpoints were gone when the run was opened, so that none of them can be the best one. An earlier
    /// version kept other checkpoints, because it chose by another score.
    #[serde(skip)]
    pub(crate) lost: Vec<u64>,
}

impl MonitorState {
    /// The measurement of the [best](Measurement::best) checkpoint.
    pub(crate) fn best(&self) -> Option<&Measurement> {
        let kept = self.measurements.iter();
        Measurement::best_of(kept.filter(|m| !self.lost.contains(&m.step)))
    }

    /// Leaves the measurements out of [`Self::best`] whose steps are not among those of the saved checkpoints.
    pub(crate) fn keep(&mut self, saved: &[u64]) {
        let steps = self.measurements.iter().map(|m| m.step);
        self.lost = steps.filter(|step| !saved.contains(step)).collect();
    }

    /// The best measurement, if the last one is worse by more than their standard errors or memorizes when the best
    /// does not. Differences within the standard errors do not count.
    pub(crate) fn better_than_last(&self) -> Option<&Measurement> {
        let (best, last) = (self.best()?, self.measurements.last()?);
        let is_worse = last.score() - best.score() > best.score_se().hypot(last.score_se());
        (is_worse || last.is_memorized() && !best.is_memorized()).then_some(best)
    }

    /// The measurement that second features prefer to the [best](Self::best) one: its [score](Measurement::score) with their KID is lower
    /// by more than a tenth, and it does not memorize. `None` if both agree, or not all measurements have second features.
    pub(crate) fn disagreement(&self) -> Option<&Measurement> {
        let best = self.best()?;
        let (own, mut lowest) = (best.second_score()?, (f64::INFINITY, best));
        for m in &self.measurements {
            let score = m.second_score()?;
            if score < lowest.0 && (best.is_memorized() || !m.is_memorized()) {
                lowest = (score, m);
            }
        }
        (own - lowest.0 > TENTH * lowest.0).then_some(lowest.1)
    }

    /// Whether the last `patience` measurements did not improve on the best one.
    pub(crate) fn is_on_plateau(&self, patience: u32) -> bool {
        let best = self.best().map(|best| best.step);
        let since = |best| self.measurements.iter().filter(|m| m.step > best).count();
        patience > 0 && best.is_some_and(|best| since(best) >= patience as usize)
    }

    /// Adds a measurement. Returns whether it is the best so far, and the alarms that the previous one did not
    /// have.
    pub(crate) fn add(&mut self, measurement: Measurement, config: &TrainConfig) -> (bool, Vec<Alarm>) {
        let of = |measurement: &Measurement| measurement.alarms_of(config);
        let known = self.measurements.last().map(of).unwrap_or_default();
        self.measurements.push(measurement);
        let is_best = self.best_step() == Some(measurement.step);
        let alarms = of(&measurement).into_iter();
        (is_best, alarms.filter(|alarm| !known.contains(alarm)).collect())
    }

    /// Step of the [best](Self::best) measurement.
    pub(crate) fn best_step(&self) -> Option<u64> {
        self.best().map(|best| best.step)
    }

    /// The measurements of a `measures.jsonl`; none if it does not exist. Damaged lines are left out.
    pub(crate) fn read(path: &Path) -> Result<Self, GanError> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let (file, _) = engraft_base::files::open_regular(path)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|e| GanError::io(path, "reading", e))?;
        let lines = bytes.split(|&byte| byte == b'\n');
        let mut state = Self {
            measurements: lines
                .filter_map(|line| serde_json::from_slice(line).ok())
                .collect(),
            ..Self::default()
        };
        state.read_second(&String::from_utf8_lossy(&bytes));
        Ok(state)
    }

    /// Sets the KIDs of second features from the lines of `measures.jsonl`, because checkpoints do not have them.
    pub(crate) fn read_second(&mut self, lines: &str) {
        let read = |line| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            Some((value["step"].as_u64()?, value["second_kid"].as_f64()))
        };
        // Of several lines of a step, the last.
        let second: HashMap<u64, Option<f64>> = lines.lines().filter_map(read).collect();
        for m in &mut self.measurements {
            if let Some(kid) = second.get(&m.step) {
                m.second_kid = *kid;
            }
        }
    }

    /// `measures.jsonl`: a line for each measurement.
    pub(crate) fn to_lines(&self) -> String {
        self.measurements.iter().map(|m| m.to_json() + "\n").collect()
    }
}

/// The measurements in a `measures.jsonl`, oldest first; none if it does not exist. Damaged lines are left out.
///
/// # Errors
/// If the file cannot be read.
pub fn read_measurements(path: &Path) -> Result<Vec<Measurement>, GanError> {
    Ok(MonitorState::read(path)?.measurements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(distances: &[f64]) -> MonitorState {
        let measurement = |(i, &kid): (usize, &f64)| Measurement {
            step: 10 * (i as u64 + 1),
            kid,
            kid_se: 0.0,
            coverage: 0.0,
            spread: 1.0,
            memorized: 0.0,
            overfitting: 0.0,
            second_kid: None,
        };
        MonitorState {
            measurements: distances.iter().enumerate().map(measurement).collect(),
            ..MonitorState::default()
        }
    }

    #[test]
    fn patience_counts_from_the_best() {
        let mut state = state(&[3.0, 1.0, 1.0, 2.0, 1.5]);
        assert_eq!(state.best().unwrap().step, 20);
        assert!(state.is_on_plateau(3) && !state.is_on_plateau(4));
        assert!(!state.is_on_plateau(0), "0 is no patience at all, but never");
        assert!(!MonitorState::default().is_on_plateau(1));
        assert_eq!(state.to_lines().lines().count(), 5);
        assert_eq!(state.better_than_last().unwrap().step, 20);
        state.measurements.iter_mut().for_each(|m| m.kid_se = 0.4);
        assert_eq!(
            state.better_than_last(),
            None,
            "1.5 ± 0.4 may be as good as 1.0 ± 0.4"
        );
        // A generator that copies is not the best.
        state.measurements[1].memorized = 1.0;
        assert_eq!(state.best().unwrap().step, 30);
    }

    #[test]
    fn a_little_less_kid_does_not_make_up_for_lost_images() {
        let mut state = state(&[1.0, 0.95]);
        assert_eq!(state.best_step(), Some(20));
        (state.measurements[0].coverage, state.measurements[1].coverage) = (0.8, 0.6);
        let scores: Vec<f64> = state.measurements.iter().map(Measurement::score).collect();
        assert!((scores[0] - 1.2).abs() < 1e-12 && (scores[1] - 0.95 * 1.4).abs() < 1e-12);
        assert_eq!(state.best_step(), Some(10));
        // A KID below its error says no more than the error, so coverage decides.
        for (m, kid) in state.measurements.iter_mut().zip([0.001, -0.001]) {
            (m.kid, m.kid_se) = (kid, 0.01);
        }
        assert_eq!(state.best_step(), Some(10));
        // The checkpoint of an earlier version that kept another one is gone.
        state.keep(&[20, 30]);
        assert_eq!(state.best_step(), Some(20));
    }

    #[test]
    fn second_features_may_prefer_another_checkpoint() {
        let with_second = |second: &[Option<f64>]| {
            let mut state = state(&[3.0, 1.0, 2.0]);
            for (m, &second) in state.measurements.iter_mut().zip(second) {
                m.second_kid = second;
            }
            state.disagreement().map(|m| m.step)
        };
        assert_eq!(with_second(&[Some(0.5), Some(0.2), Some(0.1)]), Some(30));
        assert_eq!(with_second(&[Some(0.5), Some(0.105), Some(0.1)]), None);
        assert_eq!(with_second(&[Some(0.5), Some(0.1), Some(0.2)]), None);
        assert_eq!(with_second(&[Some(0.5), Some(0.2), None]), None);
        let of_coverage = |coverage: f64| {
            let mut state = state(&[1.0, 1.1]);
            for (m, second) in state.measurements.iter_mut().zip([0.1, 0.12]) {
                m.second_kid = Some(second);
            }
            state.measurements[1].coverage = coverage;
            (state.best_step(), state.disagreement().is_some())
        };
        assert_eq!(of_coverage(0.0), (Some(10), false));
        assert_eq!(
            of_coverage(0.9),
            (Some(20), false),
            "coverage counts for both features"
        );
        let mut written = state(&[3.0, 1.0]);
        written.measurements[1].second_kid = Some(0.25);
        let mut resumed = state(&[3.0, 1.0]);
        resumed.read_second(&format!("{}damaged\n", written.to_lines()));
        assert_eq!(resumed, written);
    }

    /// A generator that copies has an unbiased KID of 0 on average, and so a score of 0 whatever it has memorized.
    #[test]
    fn a_memorizing_generator_is_skipped_unless_all_memorize() {
        let of = |measures: &[(f64, f64)]| {
            let mut state = state(&measures.iter().map(|m| m.0).collect::<Vec<_>>());
            for (m, (_, memorized)) in state.measurements.iter_mut().zip(measures) {
                (m.memorized, m.kid_se) = (*memorized, 0.01);
            }
            state
        };
        let (copier, honest) = ((0.0, 1.0), (0.141, 0.04));
        let step = |m: Option<&Measurement>| m.map(|m| m.step);
        let later = of(&[honest, copier, (-0.002, 0.9)]);
        assert_eq!(step(later.best()), Some(10));
        assert_eq!(step(later.better_than_last()), Some(10));
        assert!(later.is_on_plateau(2), "copies are no progress");
        let earlier = of(&[copier, honest]);
        assert_eq!(step(earlier.best()), Some(20));
        assert_eq!(step(earlier.better_than_last()), None);
        assert_eq!(step(of(&[(0.3, 0.5), (0.1, 0.6)]).best()), Some(20));
    }
}
