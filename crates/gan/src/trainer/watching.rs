//! A trainer that looks after its run: measures, going back, stopping early.

use super::opening::Progress;
use super::{Event, MEASURES, METRICS, Trainer};
use crate::checkpoint::write_atomically;
use crate::error::GanError;
use crate::log::Log;
use crate::plan::{PhaseSeen, SHOWN};
use crate::rng::{self, Purpose};
use crate::watch::{Measurement, Watch};

impl Trainer {
    /// Whether the step just done is one to measure after.
    pub(super) fn measures_now(&self) -> bool {
        let (step, every) = (self.step(), self.config.watch.every);
        every > 0 && (step.is_multiple_of(every) || step == self.config.steps && step > every)
    }

    /// Measures the run, and remembers what it found; a warning if it cannot.
    pub(super) fn measure(&mut self) -> Vec<Event> {
        self.take_standing_statistics();
        let measurement = match self.take_measurement() {
            Ok(measurement) => measurement,
            Err(error) => {
                return vec![Event::Warning(format!(
                    "step {}: not measured: {error}",
                    self.step()
                ))];
            }
        };
        let state = &mut self.progress.state;
        state.measurements.push(measurement);
        let best = state.best().map(|best| best.step);
        self.store.protect(best);
        let step = measurement.step;
        let mut events = vec![Event::Measured {
            measurement,
            is_best: best == Some(step),
        }];
        // One that sounded at the measurement before is known.
        let before = match &state.measurements[..] {
            [.., before, _] => before.alarms(),
            _ => Vec::new(),
        };
        let alarms = measurement
            .alarms()
            .into_iter()
            .filter(|alarm| !before.contains(alarm));
        events.extend(alarms.map(|alarm| Event::Alarm { step, alarm }));
        let lines = self.progress.state.to_lines();
        if let Err(error) = write_atomically(&self.directory.join(MEASURES), lines.as_bytes()) {
            events.push(Event::Warning(format!("step {step}: {error}")));
        }
        events
    }

    fn take_measurement(&mut self) -> Result<Measurement, GanError> {
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => Watch::new(&self.data, &self.held_out, &self.trained_on)?,
        };
        let progress = &self.progress;
        let mut stream = rng::stream(self.config.seed, Purpose::Watch);
        let noise = progress.gan.noise(self.config.watch.images as usize, &mut stream);
        let found = watch.measure(progress.step, &progress.gan, self.sampler(), &noise);
        self.watch = Some(watch);
        found
    }

    /// Goes to the next phase of the plan, if the present one is over.
    pub(super) fn change_phase(&mut self) -> Option<Event> {
        let state = &self.progress.state;
        let steps = self.step() - state.phase_began;
        let record = self.log.losses();
        let shown = record.len().min(steps as usize).min(SHOWN);
        let record = &record[record.len() - shown..];
        let accuracy: Vec<f64> = record.iter().map(|l| l.accuracy).collect();
        let real_sign: Vec<f64> = record.iter().map(|l| l.real_sign).collect();
        let first = state
            .measurements
            .partition_point(|m| m.step <= state.phase_began);
        let reason = self.plan.over(&PhaseSeen {
            phase: state.phase,
            steps,
            accuracy: &accuracy,
            real_sign: &real_sign,
            measurements: &state.measurements[first..],
        })?;
        let step = self.step();
        let state = &mut self.progress.state;
        (state.phase, state.phase_began) = (state.phase + 1, step);
        self.plan.enter(state.phase, &mut self.progress.gan);
        Some(Event::Phase {
            step,
            phase: state.phase,
            reason,
        })
    }

    /// Whether the last phase of the plan is over.
    pub(super) fn is_complete(&self) -> bool {
        self.progress.state.phase >= self.plan.phases()
    }

    /// Whether the measurements have not got better for too long.
    pub(super) fn is_on_plateau(&self) -> bool {
        self.progress.state.is_on_plateau(self.config.watch.patience)
    }

    /// Whether a run that has diverged may go back once more.
    pub(super) fn may_roll_back(&self) -> bool {
        self.progress.state.rollbacks < self.config.watch.rollbacks
    }

    /// Saves a checkpoint, or goes back to the newest one if the state cannot be saved because it is not finite: the
    /// moments of the optimisers are looked at here only, for every look copies them.
    pub(super) fn save_or_roll_back(&mut self) -> Result<Event, GanError> {
        match self.save() {
            Err(GanError::Diverged { reason, .. }) if self.may_roll_back() => self.roll_back(reason),
            result => result,
        }
    }

    /// Goes back to the newest checkpoint, with half the learning rates and other noise.
    pub(super) fn roll_back(&mut self, reason: String) -> Result<Event, GanError> {
        let times = self.progress.state.rollbacks + 1;
        let loaded = self.store.latest()?.ok_or_else(|| GanError::NoCheckpoint {
            path: self.directory.clone(),
        })?;
        let images = self.trained_on.len();
        self.progress = Progress::at(
            &loaded.checkpoint,
            &self.config,
            images,
            self.plan.as_ref(),
            times,
        )?;
        self.warnings.extend(loaded.warnings);
        (self.saved, self.standing, self.diverged) = (self.progress.step, None, None);
        let (log, warning) = Log::open(&self.directory.join(METRICS), self.progress.step)?;
        self.log = log;
        self.warnings.extend(warning);
        self.store
            .protect(self.progress.state.best().map(|best| best.step));
        Ok(Event::RolledBack {
            step: self.progress.step,
            reason,
            times,
        })
    }
}

#[cfg(test)]
mod tests;
