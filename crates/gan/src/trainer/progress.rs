//! Everything that training changes, and one step of it.

use crate::build::{planned_gan, planned_networks};
use crate::checkpoint::Checkpoint;
use crate::checkpoint_state;
use crate::config::TrainConfig;
use crate::ema::Ema;
use crate::error::GanError;
use crate::finite::first_not_finite;
use crate::gan::{Gan, StepReport};
use crate::monitor::MonitorState;
use crate::rng::{self, Purpose};
use crate::standing_statistics::standing_statistics;
use crate::training_plan::TrainingPlan;
use engraft_data::Batches;
use engraft_layers::{Condition, Sequential};
use engraft_tensor::Tensor;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;

/// Latent vectors in a batch for standing statistics.
const STANDING_BATCH: usize = 64;

/// The networks of a run, the random streams they are trained with, and how far it has come.
pub(super) struct Progress {
    pub(super) gan: Gan,
    /// The averaged generator, if the run keeps one.
    ema: Option<(Ema, Sequential)>,
    batches: Batches,
    /// The batches of the next step, if they were asked for and not trained on.
    due: Vec<usize>,
    /// Stream of training noise.
    latent: Pcg64,
    pub(super) step: u64,
    pub(super) state: MonitorState,
    /// Step for whose averaged weights the standing statistics have been taken.
    standing: Option<u64>,
    /// Step and reason, once the networks are of no more use.
    diverged: Option<(u64, String)>,
}

impl Progress {
    /// The beginning of a run on `images` training images.
    pub(super) fn new(
        config: &TrainConfig,
        images: usize,
        plan: &dyn TrainingPlan,
    ) -> Result<Self, GanError> {
        let mut gan = planned_gan(config, plan)?;
        plan.begin_phase(0, &mut gan);
        gan.check()?;
        let ema = match config.average_half_life {
            0 => None,
            half_life => Some((Ema::new(half_life), planned_networks(config, plan)?.generator)),
        };
        let order = rng::seed(config.seed, Purpose::Order);
        Ok(Self {
            gan,
            ema,
            batches: Batches::new(images, config.batch, order)?,
            due: Vec::new(),
            latent: rng::stream(config.seed, Purpose::Latent),
            step: 0,
            state: MonitorState::default(),
            standing: None,
            diverged: None,
        })
    }

    /// The state of a checkpoint, gone back to `rollbacks` times if that is more often than it knows of.
    ///
    /// Each time halves the learning rates, and the noise is another one from there on: the same steps again would
    /// end the same way.
    pub(super) fn at(
        checkpoint: &Checkpoint,
        config: &TrainConfig,
        images: usize,
        plan: &dyn TrainingPlan,
        rollbacks: u32,
    ) -> Result<Self, GanError> {
        let mut state = checkpoint_state::monitor_state(checkpoint)?;
        let again = rollbacks > state.rollbacks;
        state.rollbacks = state.rollbacks.max(rollbacks);
        let mut progress = Self::new(&config.after_rollbacks(state.rollbacks), images, plan)?;
        let ema = progress.ema.as_mut().map(|(_, generator)| generator);
        let saved = checkpoint_state::restore(checkpoint, &mut progress.gan, ema)?;
        plan.begin_phase(state.phase, &mut progress.gan);
        progress.batches = Batches::resume(images, config.batch, saved.batches)?;
        progress.latent = if again {
            rng::stream(
                config.seed.wrapping_add(u64::from(rollbacks)),
                Purpose::LatentAgain,
            )
        } else {
            saved.latent
        };
        (progress.step, progress.state) = (saved.step, state);
        Ok(progress)
    }

    /// The files of a checkpoint.
    ///
    /// # Errors
    /// [`GanError::Diverged`] if something in them is not finite, from then on at every step too.
    pub(super) fn checkpoint_files(&mut self) -> Result<BTreeMap<String, Vec<u8>>, GanError> {
        checkpoint_state::to_files(
            self.step,
            &self.gan,
            self.ema.as_ref().map(|(_, generator)| generator),
            &self.latent,
            self.batches.state(),
            &self.state,
        )
        .inspect_err(|error| {
            if let GanError::Diverged { step, reason } = error {
                self.diverged = Some((*step, reason.clone()));
            }
        })
    }

    /// The averaged generator if the run keeps it, else the live one.
    pub(super) fn ema_generator(&self) -> &Sequential {
        self.ema
            .as_ref()
            .map_or(&self.gan.generator, |(_, generator)| generator)
    }

    /// Numbers, from 0, of the training images of the next step: `count` batches. They stay the same until they are
    /// [trained](Self::train) on.
    pub(super) fn next_batches(&mut self, count: u32) -> &[usize] {
        if self.due.is_empty() {
            let batches = (0..count).flat_map(|_| self.batches.next_batch());
            self.due = batches.collect();
        }
        &self.due
    }

    /// One training step.
    ///
    /// # Errors
    /// [`GanError::Diverged`] if a loss, a weight or a running statistic is not finite, now and at every further step.
    pub(super) fn train(&mut self, real: &Tensor, condition: Condition) -> Result<StepReport, GanError> {
        self.due.clear();
        let report = self.gan.step(real, condition, &mut self.latent);
        if let Some(reason) = not_finite(&report, &self.gan) {
            self.diverged = Some((self.step + 1, reason));
        }
        self.check_finite()?;
        if let Some((ema, generator)) = &mut self.ema {
            let images = real.shape()[0];
            let seen = self.step * images as u64;
            ema.update(generator, &self.gan.generator, images, seen);
        }
        self.step += 1;
        Ok(report)
    }

    /// Fails once the networks are of no more use.
    pub(super) fn check_finite(&self) -> Result<(), GanError> {
        match &self.diverged {
            None => Ok(()),
            Some((step, reason)) => Err(GanError::Diverged {
                step: *step,
                reason: reason.clone(),
            }),
        }
    }

    /// Takes the averaged generator's running statistics anew, of the same noise every time, if that is asked for and
    /// not done for these weights. The next step of the average puts those of the live one in their place.
    pub(super) fn take_standing_statistics(&mut self, config: &TrainConfig) {
        let batches = config.standing_batches;
        let Some((_, generator)) = self.ema.as_mut().filter(|_| batches > 0) else {
            return;
        };
        if self.standing != Some(self.step) {
            let mut noise = rng::stream(config.seed, Purpose::Standing);
            let gan = &self.gan;
            standing_statistics(
                generator,
                &gan.cyclic_labels(STANDING_BATCH),
                (0..batches).map(|_| gan.noise(STANDING_BATCH, &mut noise)),
            );
            self.standing = Some(self.step);
        }
    }
}

/// What is not finite after a step, or `None` if all is.
fn not_finite(report: &StepReport, gan: &Gan) -> Option<String> {
    if !report.is_finite() {
        return Some(format!(
            "the generator's loss is {}, the discriminator's {} and its penalties {}",
            report.generator_loss, report.discriminator_loss, report.penalty
        ));
    }
    [
        ("generator", &gan.generator),
        ("discriminator", &gan.discriminator),
    ]
    .into_iter()
    .find_map(|(network, module)| first_not_finite(module).map(|what| format!("of the {network}, {what}")))
}
