//! The state of a run and one training step.

use crate::batch::{batch_tensor, labels_of, mirror_some};
use crate::build::{planned_gan, planned_networks};
use crate::checkpoint::Checkpoint;
use crate::checkpoint_state;
use crate::config::TrainConfig;
use crate::ema::Ema;
use crate::error::GanError;
use crate::finite::{first_not_finite, first_result_not_finite};
use crate::gan::{Gan, StepReport};
use crate::monitor::MonitorState;
use crate::pseudo_labels::PseudoLabels;
use crate::rng::{self, Purpose};
use crate::standing_statistics::standing_statistics_of;
use crate::training_plan::TrainingPlan;
use engraft_data::{BatchState, Batches, DataError, TrainingData};
use engraft_layers::{Condition, Sequential};
use engraft_tensor::Tensor;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Batch size for standing statistics.
const STANDING_BATCH: usize = 64;

/// The networks of a run, their random streams, and the position in the data.
pub(super) struct Progress {
    pub(super) gan: Gan,
    /// The EMA generator, if the run keeps one.
    ema: Option<(Ema, Sequential)>,
    /// The clusters, if they are the classes of the run.
    pseudo_labels: Option<Arc<PseudoLabels>>,
    batches: Batches,
    /// Image indices of the next step, if they were requested and not trained on yet.
    due: Vec<usize>,
    /// Random stream of the latent vectors.
    latent: Pcg64,
    pub(super) step: u64,
    pub(super) state: MonitorState,
    /// Step whose EMA weights the standing statistics belong to.
    standing: Option<u64>,
    /// Step and reason, once the run has diverged.
    diverged: Option<(u64, String)>,
}

impl Progress {
    /// A new run on `images` training images.
    pub(super) fn new(
        config: &TrainConfig,
        images: usize,
        plan: &dyn TrainingPlan,
    ) -> Result<Self, GanError> {
        let mut gan = planned_gan(config, plan)?;
        plan.begin_phase(0, &mut gan);
        gan.check()?;
        let ema = match config.ema_half_life {
            0 => None,
            half_life => Some((Ema::new(half_life), planned_networks(config, plan)?.generator)),
        };
        let order = rng::seed(config.seed, Purpose::Order);
        Ok(Self {
            gan,
            ema,
            pseudo_labels: None,
            batches: Batches::new(images, config.batch, order)?,
            due: Vec::new(),
            latent: rng::stream(config.seed, Purpose::Latent),
            step: 0,
            state: MonitorState::default(),
            standing: None,
            diverged: None,
        })
    }

    /// Restores a checkpoint. `rollbacks` overrides the stored count if it is larger.
    ///
    /// Each rollback halves the learning rates and continues with different latent vectors. Repeating the same
    /// steps would diverge again.
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
        let batches = match checkpoint.options_hash == config.fixed_hash() {
            true => saved.batches,
            // The images have changed since: the next epoch begins, because positions in this one have no meaning.
            false => BatchState {
                epoch: saved.batches.epoch.wrapping_add(1),
                position: 0,
                ..saved.batches
            },
        };
        progress.batches = Batches::resume(images, config.batch, batches)?;
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

    /// Conditions the run on these clusters: generated images get them in their shares.
    pub(super) fn set_pseudo_labels(&mut self, clusters: Option<Arc<PseudoLabels>>) {
        self.gan.prior = clusters.as_ref().map(|clusters| clusters.prior());
        self.pseudo_labels = clusters;
    }

    /// The clusters, if they are the classes of the run.
    pub(super) fn pseudo_labels(&self) -> Option<&Arc<PseudoLabels>> {
        self.pseudo_labels.as_ref()
    }

    /// The files of a checkpoint.
    ///
    /// # Errors
    /// [`GanError::Diverged`] if a value is not finite; every later step then fails as well.
    pub(super) fn checkpoint_files(&mut self) -> Result<BTreeMap<String, Vec<u8>>, GanError> {
        checkpoint_state::to_files(
            self.step,
            &self.gan,
            self.ema.as_ref().map(|(_, generator)| generator),
            &self.latent,
            self.batches.state(),
            &self.state,
            self.pseudo_labels.as_deref(),
        )
        .inspect_err(|error| {
            if let GanError::Diverged { step, reason } = error {
                self.diverged = Some((*step, reason.clone()));
            }
        })
    }

    /// The EMA generator if the run keeps one, else the live one.
    pub(super) fn ema_generator(&self) -> &Sequential {
        self.ema
            .as_ref()
            .map_or(&self.gan.generator, |(_, generator)| generator)
    }

    /// Indices of the training images of the next step, `count` batches. They stay the same until they are
    /// [trained](Self::train) on.
    pub(super) fn next_batches(&mut self, count: u32) -> &[usize] {
        if self.due.is_empty() {
            let batches = (0..count).flat_map(|_| self.batches.next_batch());
            self.due = batches.collect();
        }
        &self.due
    }

    /// The images of this rank among those of a step, and their labels. `indices` are those of all images of the step in the
    /// data.
    ///
    /// # Errors
    /// If the data cannot be read.
    pub(super) fn inputs(
        &self,
        data: &dyn TrainingData,
        indices: &[usize],
        config: &TrainConfig,
    ) -> Result<(Tensor, Condition), DataError> {
        let [rank, ranks] = self.gan.rank_of();
        let own = config.batch / ranks;
        // A part of every batch.
        let places: Vec<usize> = (0..indices.len())
            .filter(|place| place % config.batch / own == rank)
            .collect();
        let indices: Vec<usize> = places.iter().map(|&place| indices[place]).collect();
        let mut real = batch_tensor(data, &indices)?;
        if config.pictures.mirror {
            real = mirror_some(&real, &places, config.seed, self.step);
        }
        let condition = match config.network_classes() {
            0 => Condition::None,
            _ => labels_of(data, &indices).into(),
        };
        Ok((real, condition))
    }

    /// One training step, on the images of this rank.
    ///
    /// # Errors
    /// [`GanError::Diverged`] if a loss, a weight or a running statistic is not finite; every later step then fails
    /// as well.
    pub(super) fn train(&mut self, real: &Tensor, condition: Condition) -> Result<StepReport, GanError> {
        self.due.clear();
        let report = self.gan.step(real, condition, &mut self.latent);
        if let Some(reason) = not_finite(&report, &self.gan, real) {
            self.diverged = Some((self.step + 1, reason));
        }
        self.check_finite()?;
        if let Some((ema, generator)) = &mut self.ema {
            let [_, ranks] = self.gan.rank_of();
            let images = real.shape()[0] * ranks;
            let seen = self.step * images as u64;
            ema.update(generator, &self.gan.generator, images, seen);
        }
        self.step += 1;
        Ok(report)
    }

    /// Fails once the run has diverged.
    pub(super) fn check_finite(&self) -> Result<(), GanError> {
        match &self.diverged {
            None => Ok(()),
            Some((step, reason)) => Err(GanError::Diverged {
                step: *step,
                reason: reason.clone(),
            }),
        }
    }

    /// Recomputes the running statistics of the EMA generator, if the settings ask for it and these weights have
    /// none yet. The latent vectors are always the same. The next EMA update overwrites the statistics with those
    /// of the live generator.
    pub(super) fn take_standing_statistics(&mut self, config: &TrainConfig) {
        let batches = config.standing_batches;
        let Some((_, generator)) = self.ema.as_mut().filter(|_| batches > 0) else {
            return;
        };
        if self.standing != Some(self.step) {
            let mut noise = rng::stream(config.seed, Purpose::Standing);
            let gan = &self.gan;
            let labels = match gan.prior {
                Some(_) => gan.cyclic_labels(STANDING_BATCH * batches as usize),
                None => gan.cyclic_labels(STANDING_BATCH),
            };
            standing_statistics_of(
                generator,
                (0..batches as usize).map(|batch| {
                    let condition = match gan.prior {
                        Some(_) => labels.narrow(batch * STANDING_BATCH, STANDING_BATCH),
                        None => labels.clone(),
                    };
                    (gan.noise(STANDING_BATCH, &mut noise), condition)
                }),
            );
            self.standing = Some(self.step);
        }
    }
}

/// What is not finite after a step on these real images, in words: losses, the first layer with such a result, and the first
/// weight or running statistic.
fn not_finite(report: &StepReport, gan: &Gan, real: &Tensor) -> Option<String> {
    let networks = [
        ("generator", &gan.generator),
        ("discriminator", &gan.discriminator),
    ];
    let state = networks.into_iter().find_map(|(network, module)| {
        first_not_finite(module).map(|what| format!("in the {network}, {what}"))
    });
    if report.is_finite() {
        return state;
    }
    let losses = format!(
        "the losses are {} (generator) and {} (discriminator), with a penalty of {}",
        report.generator_loss, report.discriminator_loss, report.penalty
    );
    let causes = [Some(losses), first_result_not_finite(gan, real), state];
    Some(causes.into_iter().flatten().collect::<Vec<_>>().join("; "))
}
