//! The adversarial loss of both networks.
//!
//! Images are augmented and packed before the discriminator evaluates them
//! ([`AdversarialLoss::discriminate`]). A loss is the sum of the objective, the penalties and the added
//! [terms](LossTerm). [`LossState`] is the state that persists from step to step. [`Gan`](crate::Gan) owns
//! the networks and the order of the updates.

use crate::augment::{AdaptiveProbability, AugmentConfig};
use crate::lecam::LeCam;
use crate::loss_term::LossTerm;
use crate::networks::reconstruction;
use crate::objective::{FeatureMatching, ObjectiveConfig};
use crate::packing::pack;
use crate::penalty;
use crate::regularization::RegularizeConfig;
use crate::rng::{self, Purpose};
use crate::validation::SettingsCheck;
use engraft_layers::{Condition, Mode, Module, Sequential, forward_through};
use engraft_tensor::shards::shard_mean;
use engraft_tensor::{Precision, Real, Tensor, current_precision, no_grad, with_precision};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Objective, regularizers, augmentation and added terms, with their state.
#[derive(Clone)]
pub(crate) struct AdversarialLoss<T: Real> {
    pub(crate) objective: ObjectiveConfig,
    pub(crate) regularize: RegularizeConfig,
    pub(crate) augment: AugmentConfig,
    pub(crate) terms: Vec<Arc<dyn LossTerm<T>>>,
    pub(crate) state: LossState,
}

/// State of the loss: everything besides networks and optimizers that the next step depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossState {
    /// Discriminator steps so far. Lazy penalties and LeCam's start depend on it.
    pub(crate) discriminator_steps: u64,
    pub(crate) lecam: LeCam,
    pub(crate) adaptive: AdaptiveProbability,
    /// Random stream of the augmentations.
    pub(crate) augment: Pcg64,
    /// Random stream of the interpolation points of the WGAN-GP penalty.
    pub(crate) penalty: Pcg64,
}

impl LossState {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            discriminator_steps: 0,
            lecam: LeCam::new(),
            adaptive: AdaptiveProbability::new(),
            augment: rng::stream(seed, Purpose::Augment),
            penalty: rng::stream(seed, Purpose::Penalty),
        }
    }
}

/// Images and the discriminator's output for them.
pub(crate) struct DiscriminatorOutput<T: Real> {
    /// The images before augmentation; a leaf of the graph if a gradient penalty needs one.
    images: Tensor<T>,
    /// The discriminator's input: the images augmented and packed.
    augmented: Tensor<T>,
    /// Probability with which each augmentation changed an image.
    pub(crate) augment_probability: f64,
    pub(crate) logits: Tensor<T>,
    /// Output of the feature-matching layer, if feature matching is on.
    features: Option<Tensor<T>>,
    /// The discriminator's reconstruction of `augmented`, if the objective has that term and the images are real ones to learn from.
    reconstruction: Option<Tensor<T>>,
}

/// Loss of one network.
pub(crate) struct Loss<T: Real> {
    pub(crate) objective: Tensor<T>,
    /// Sum of the weighted penalties and the reconstruction error; `None` if this step has none.
    penalty: Option<Tensor<T>>,
    /// The sum that is minimized: objective, penalties and terms.
    pub(crate) total: Tensor<T>,
}

impl<T: Real> Loss<T> {
    /// Value of the penalties, 0 if there are none.
    pub(crate) fn penalty(&self) -> f64 {
        self.penalty.as_ref().map_or(0.0, |p| p.item().into_f64())
    }
}

/// Images at which a gradient is penalized. If `logits` is `None`, they are computed when a penalty needs
/// them.
struct PenaltyPoint<'a, T: Real> {
    images: &'a Tensor<T>,
    augmented: &'a Tensor<T>,
    logits: Option<&'a Tensor<T>>,
}

impl<T: Real> AdversarialLoss<T> {
    /// The default objective without regularizers and augmentation.
    pub(crate) fn new() -> Self {
        Self {
            objective: ObjectiveConfig::default(),
            regularize: RegularizeConfig::default(),
            augment: AugmentConfig::default(),
            terms: Vec::new(),
            state: LossState::new(0),
        }
    }

    /// The settings, for their validation.
    pub(crate) fn settings(&self) -> SettingsCheck<'_> {
        SettingsCheck {
            objective: &self.objective,
            regularize: &self.regularize,
            augment: &self.augment,
        }
    }

    /// Whether the state affects training and must be saved.
    pub(crate) fn has_state(&self) -> bool {
        !(self.regularize.is_default() && self.augment.is_default())
    }

    /// Probability of each augmentation in this step.
    fn augment_probability(&self) -> f64 {
        match (&self.augment.adaptive, self.augment.probability) {
            _ if self.augment.kinds.is_empty() => 0.0,
            (Some(_), _) => self.state.adaptive.probability(),
            (None, fixed) => fixed.unwrap_or(1.0),
        }
    }

    /// Whether the generator's loss needs the discriminator's output for real images.
    pub(crate) fn generator_needs_real(&self) -> bool {
        self.objective.kind.is_paired() || self.objective.feature_matching.is_some()
    }

    /// Whether the gradient penalties are part of the discriminator's loss in every step.
    fn penalizes_with_the_loss(&self) -> bool {
        self.regularize.interval == 1 && self.regularize.penalizes_gradients()
    }

    /// Whether a separate update on the [penalties](Self::lazy_penalty) follows this discriminator step.
    fn penalizes_after_the_step(&self) -> bool {
        let every = u64::from(self.regularize.interval);
        every > 1
            && self.state.discriminator_steps.is_multiple_of(every)
            && self.regularize.penalizes_gradients()
    }

    /// The discriminator's input: the images augmented with `probability`, then packed.
    fn augmented(&mut self, images: &Tensor<T>, probability: f64) -> Tensor<T> {
        let packing = self.objective.packing as usize;
        if probability > 0.0 {
            let draws = &mut self.state.augment;
            pack(&self.augment.apply(images, probability, draws), packing)
        } else {
            pack(images, packing)
        }
    }

    /// Evaluates the discriminator on images, which are augmented and packed first.
    pub(crate) fn discriminate(
        &mut self,
        discriminator: &Sequential<T>,
        images: &Tensor<T>,
        condition: &Condition<T>,
    ) -> DiscriminatorOutput<T> {
        self.evaluate(discriminator, images, condition, false)
    }

    /// [`Self::discriminate`] for the real images of a discriminator step, which it also reconstructs if the objective says so.
    pub(crate) fn discriminate_real(
        &mut self,
        discriminator: &Sequential<T>,
        images: &Tensor<T>,
        condition: &Condition<T>,
    ) -> DiscriminatorOutput<T> {
        let reconstructs = self.objective.reconstruction > 0.0;
        self.evaluate(discriminator, images, condition, reconstructs)
    }

    fn evaluate(
        &mut self,
        discriminator: &Sequential<T>,
        images: &Tensor<T>,
        condition: &Condition<T>,
        reconstructs: bool,
    ) -> DiscriminatorOutput<T> {
        let images = if self.penalizes_with_the_loss() && !images.requires_grad() {
            images.as_leaf()
        } else {
            images.clone()
        };
        let augment_probability = self.augment_probability();
        let augmented = self.augmented(&images, augment_probability);
        let matching = self.objective.feature_matching.as_ref();
        let layer = matching.map(|FeatureMatching { layer, .. }| layer.clone());
        let head = reconstructs
            .then(|| reconstruction::part_of(discriminator))
            .flatten();
        // The layer first, then the head.
        let names: Vec<&str> = layer.iter().chain(&head).map(String::as_str).collect();
        let outputs = forward_through(discriminator, &augmented, condition, Mode::Train, &names);
        let mut parts = outputs.parts.into_iter();
        DiscriminatorOutput {
            images,
            augmented,
            augment_probability,
            logits: outputs.main,
            features: layer.and_then(|_| parts.next()),
            reconstruction: head.and_then(|_| parts.next()),
        }
    }

    /// Loss of the generator for latent vectors `z`. `real` is required if [`Self::generator_needs_real`].
    pub(crate) fn generator(
        &self,
        generator: &Sequential<T>,
        z: &Tensor<T>,
        condition: &Condition<T>,
        fake: &DiscriminatorOutput<T>,
        real: Option<&DiscriminatorOutput<T>>,
    ) -> Loss<T> {
        let ObjectiveConfig {
            kind,
            feature_matching,
            ..
        } = &self.objective;
        let loss = kind.generator(&fake.logits, real.map(|real| &real.logits));
        let features = (real.and_then(|real| real.features.as_ref()), &fake.features);
        let objective = match (feature_matching, features) {
            (Some(matching), (Some(real), Some(fake))) => {
                let mean = |features: &Tensor<T>| shard_mean(&features.mean_keep(&[0]));
                let distance = (mean(real) - mean(fake)).square().sum();
                loss + distance * T::from_f64(matching.weight)
            }
            _ => loss,
        };
        let terms = self.terms.iter();
        let terms = terms.filter_map(|term| term.for_generator(generator, z, condition, &fake.images));
        Loss {
            total: terms.fold(objective.clone(), |sum, term| sum + term),
            penalty: None,
            objective,
        }
    }

    /// Loss of the discriminator, with images generated from `z`. Also updates LeCam's averages with the logits.
    pub(crate) fn discriminator(
        &mut self,
        discriminator: &Sequential<T>,
        z: &Tensor<T>,
        real: &DiscriminatorOutput<T>,
        fake: &DiscriminatorOutput<T>,
        condition: &Condition<T>,
    ) -> Loss<T> {
        let ObjectiveConfig {
            kind,
            label_smoothing,
            ..
        } = self.objective;
        let objective = kind.smoothed_discriminator(&real.logits, &fake.logits, label_smoothing);
        let mut penalties = Vec::new();
        if self.penalizes_with_the_loss() {
            let points = [real, fake].map(|output| PenaltyPoint {
                images: &output.images,
                augmented: &output.augmented,
                // Logits of rounded operands are computed again for the penalty.
                logits: (current_precision() == Precision::F32).then_some(&output.logits),
            });
            penalties.extend(self.gradient_penalties(discriminator, points, condition));
        }
        let RegularizeConfig {
            lecam,
            lecam_decay,
            lecam_start,
            ..
        } = self.regularize;
        let state = &mut self.state;
        if lecam > 0.0 {
            state.lecam.update(&real.logits, &fake.logits, lecam_decay);
            if state.discriminator_steps >= u64::from(lecam_start) {
                penalties.push(state.lecam.penalty(&real.logits, &fake.logits) * T::from_f64(lecam));
            }
        }
        if let Some(image) = &real.reconstruction {
            let error = reconstruction::error(&real.augmented, image);
            penalties.push(error * T::from_f64(self.objective.reconstruction));
        }
        let penalty = sum(penalties);
        let with_penalty = match &penalty {
            Some(penalty) => &objective + penalty,
            None => objective.clone(),
        };
        let generated = fake.images.detach();
        let terms = self.terms.iter().flat_map(|term| {
            [
                term.for_discriminator(discriminator, &real.augmented, condition),
                term.for_discriminator_of_generated(discriminator, z, condition, &generated),
            ]
        });
        let terms = terms.flatten();
        Loss {
            total: terms.fold(with_penalty, |sum, term| sum + term),
            penalty,
            objective,
        }
    }

    /// Updates the adaptive augmentation with the logits of all real images of a discriminator step.
    pub(crate) fn adapt_augmentation(&mut self, real_logits: &Tensor<T>) {
        if let Some(adaptive) = &self.augment.adaptive {
            // The controller uses signs around 0, and least squares has its threshold at one half.
            let undecided = T::from_f64(self.objective.kind.threshold().unwrap_or(0.0));
            let margins = no_grad(|| real_logits - undecided);
            let images = real_logits.shape()[0] * self.objective.packing as usize;
            self.state.adaptive.update(&margins, images, adaptive);
        }
    }

    /// Counts a discriminator step. Returns whether an update on the [penalties](Self::lazy_penalty) follows it.
    pub(crate) fn end_discriminator_step(&mut self) -> bool {
        let is_due = self.penalizes_after_the_step();
        // Saturating, because a damaged file may have any count.
        self.state.discriminator_steps = self.state.discriminator_steps.saturating_add(1);
        is_due
    }

    /// The lazy penalty; `None` if all weights are 0.
    ///
    /// The penalty's total is multiplied by the interval, to make up for the steps without a penalty.
    pub(crate) fn lazy_penalty(
        &mut self,
        discriminator: &Sequential<T>,
        [real, fake]: [&Tensor<T>; 2],
        condition: &Condition<T>,
    ) -> Option<Loss<T>> {
        let probability = self.augment_probability();
        let images = [real, fake].map(Tensor::as_leaf);
        let augmented = images
            .each_ref()
            .map(|images| self.augmented(images, probability));
        let points = [0, 1].map(|side| PenaltyPoint {
            images: &images[side],
            augmented: &augmented[side],
            logits: None,
        });
        let penalty = self.gradient_penalties(discriminator, points, condition)?;
        Some(Loss {
            total: &penalty * T::from_f64(f64::from(self.regularize.interval)),
            objective: penalty.clone(),
            penalty: Some(penalty),
        })
    }

    /// Weighted sum of the gradient penalties at real and generated images; `None` if all weights are 0. Always in full
    /// precision: a penalty differentiates twice.
    fn gradient_penalties(
        &mut self,
        discriminator: &Sequential<T>,
        points: [PenaltyPoint<'_, T>; 2],
        condition: &Condition<T>,
    ) -> Option<Tensor<T>> {
        with_precision(Precision::F32, || {
            self.full_penalties(discriminator, points, condition)
        })
    }

    fn full_penalties(
        &mut self,
        discriminator: &Sequential<T>,
        [real, fake]: [PenaltyPoint<'_, T>; 2],
        condition: &Condition<T>,
    ) -> Option<Tensor<T>> {
        let RegularizeConfig {
            r1_gamma,
            r2_gamma,
            gradient_penalty,
            ..
        } = self.regularize;
        let logits_of = |augmented| discriminator.forward_with(augmented, condition, Mode::Train);
        let mut penalties = Vec::new();
        for (weight, point) in [(r1_gamma, &real), (r2_gamma, &fake)] {
            if weight > 0.0 {
                let logits = point
                    .logits
                    .cloned()
                    .unwrap_or_else(|| logits_of(point.augmented));
                penalties.push(penalty::zero_centered(&logits, point.images) * T::from_f64(weight / 2.0));
            }
        }
        if gradient_penalty > 0.0 {
            let between = penalty::interpolate(real.augmented, fake.augmented, &mut self.state.penalty);
            let between = between.as_leaf();
            let penalty = penalty::one_centered(&logits_of(&between), &between);
            penalties.push(penalty * T::from_f64(gradient_penalty));
        }
        sum(penalties)
    }
}

fn sum<T: Real>(terms: Vec<Tensor<T>>) -> Option<Tensor<T>> {
    terms.into_iter().reduce(|sum, term| sum + term)
}
