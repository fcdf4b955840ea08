//! What happens between the two networks of a step: what the discriminator sees, what is penalised, what moves on.

use crate::augment::{AdaptiveProbability, AugmentConfig};
use crate::combination::Combination;
use crate::config::{ObjectiveConfig, RegulariseConfig};
use crate::gan::Gan;
use crate::lecam::LeCam;
use crate::packing::pack;
use crate::penalty;
use crate::rng::{self, Purpose};
use engraft_layers::{Mode, Module, gradients};
use engraft_tensor::{Real, Tensor, concat, no_grad};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// The rules of a game, and its state.
pub(crate) struct Game {
    pub(crate) objective: ObjectiveConfig,
    pub(crate) regularise: RegulariseConfig,
    pub(crate) augment: AugmentConfig,
    pub(crate) state: GameState,
    /// Whether the rules have been found to make sense together.
    checked: bool,
}

/// Everything beside networks and optimisers that the next step of a game depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GameState {
    /// Steps of the discriminator so far: the clock of lazy penalties and of LeCam.
    pub(crate) discriminator_steps: u64,
    pub(crate) lecam: LeCam,
    pub(crate) adaptive: AdaptiveProbability,
    /// Draws of the augmentations.
    pub(crate) augment: Pcg64,
    /// Where between real and generated images slopes are penalised.
    pub(crate) penalty: Pcg64,
}

impl GameState {
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

impl Game {
    /// The plain game of the default objective.
    pub(crate) fn new() -> Self {
        Self {
            objective: ObjectiveConfig::default(),
            regularise: RegulariseConfig::default(),
            augment: AugmentConfig::default(),
            state: GameState::new(0),
            checked: false,
        }
    }

    pub(crate) fn combination(&self) -> Combination<'_> {
        Combination {
            objective: &self.objective,
            regularise: &self.regularise,
            augment: &self.augment,
        }
    }

    /// Whether steps depend on the state of the game.
    pub(crate) fn has_state(&self) -> bool {
        !(self.regularise.is_default() && self.augment.is_default())
    }

    /// Chance of each augmentation in this step.
    pub(crate) fn augment_probability(&self) -> f64 {
        match (&self.augment.adaptive, self.augment.probability) {
            _ if self.augment.kinds.is_empty() => 0.0,
            (Some(_), _) => self.state.adaptive.probability(),
            (None, fixed) => fixed.unwrap_or(1.0),
        }
    }

    /// Whether the gradient penalties of this step are part of the discriminator's loss.
    fn penalises_with_the_loss(&self) -> bool {
        self.regularise.every == 1 && self.regularise.penalises_gradients()
    }

    /// Whether the gradient penalties have their own pass behind this step.
    pub(crate) fn penalises_after_the_step(&self) -> bool {
        let every = u64::from(self.regularise.every);
        every > 1
            && self.state.discriminator_steps.is_multiple_of(every)
            && self.regularise.penalises_gradients()
    }
}

/// Images, what the discriminator saw of them, and what it said.
pub(crate) struct Seen<T: Real> {
    /// The images themselves.
    images: Tensor<T>,
    /// The images augmented and packed.
    view: Tensor<T>,
    /// One-hot rows, where the discriminator was told the classes.
    classes: Option<Tensor<T>>,
    pub(crate) logits: Tensor<T>,
    /// What the layer of feature matching put out.
    features: Option<Tensor<T>>,
}

impl<T: Real> Seen<T> {
    /// What the discriminator saw.
    pub(crate) fn view(&self) -> &Tensor<T> {
        &self.view
    }
}

/// Loss of the discriminator in its parts.
pub(crate) struct DiscriminatorLoss<T: Real> {
    /// The objective.
    pub(crate) objective: Tensor<T>,
    /// Penalties, if there are any in this step.
    pub(crate) penalty: Option<Tensor<T>>,
}

impl<T: Real> DiscriminatorLoss<T> {
    /// What is minimised.
    pub(crate) fn total(&self) -> Tensor<T> {
        match &self.penalty {
            Some(penalty) => &self.objective + penalty,
            None => self.objective.clone(),
        }
    }

    /// Value of the penalties.
    pub(crate) fn penalty_value(&self) -> f64 {
        self.penalty.as_ref().map_or(0.0, |p| p.item().into_f64())
    }
}

fn sum<T: Real>(terms: Vec<Tensor<T>>) -> Option<Tensor<T>> {
    terms.into_iter().reduce(|sum, term| sum + term)
}

/// Each image's numbers with a row behind them, `[n, h · w · c + k]`.
pub(crate) fn with_rows<T: Real>(images: &Tensor<T>, rows: &Tensor<T>) -> Tensor<T> {
    let n = images.shape()[0];
    let numbers = images.shape()[1..].iter().product();
    concat(&[&images.reshape([n, numbers]), rows], 1)
}

impl<T: Real> Gan<T> {
    /// # Panics
    /// At the first step, if the settings make no sense together or with the discriminator.
    #[track_caller]
    pub(crate) fn assert_sensible(&mut self) {
        if !self.game.checked {
            let problems = self.problems();
            assert!(
                problems.is_empty(),
                "gan: the settings make no sense: {}",
                problems.join("; ")
            );
            self.game.checked = true;
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let combination = self.game.combination();
        let mut problems = combination.problems();
        if self.classes > 0 {
            problems.extend(combination.problems_with_classes());
        }
        problems.extend(combination.problems_with(&self.discriminator));
        problems
    }

    /// The images augmented and packed.
    fn view(&mut self, images: &Tensor<T>) -> Tensor<T> {
        let probability = self.game.augment_probability();
        let Game {
            objective,
            augment,
            state,
            ..
        } = &mut self.game;
        let packing = objective.packing as usize;
        if probability > 0.0 {
            pack(&augment.apply(images, probability, &mut state.augment), packing)
        } else {
            pack(images, packing)
        }
    }

    /// The one-hot rows behind latent vectors; `None` if the networks are not told the class.
    pub(crate) fn classes_in(&self, z: &Tensor<T>) -> Option<Tensor<T>> {
        (self.classes > 0).then(|| z.narrow(1, self.latent, self.classes))
    }

    /// What the discriminator is given: the view, with the classes behind its numbers where it is told them.
    fn with_classes(view: &Tensor<T>, classes: Option<&Tensor<T>>) -> Tensor<T> {
        match classes {
            Some(classes) => with_rows(view, classes),
            None => view.clone(),
        }
    }

    /// Shows images, and their classes if there are some, to the discriminator.
    pub(crate) fn look(&mut self, images: &Tensor<T>, classes: Option<&Tensor<T>>) -> Seen<T> {
        let view = self.view(images);
        let given = Self::with_classes(&view, classes);
        let (features, logits) = match &self.game.objective.feature_matching {
            Some(matching) => {
                let [features, logits] =
                    self.discriminator
                        .forward_through(&given, Mode::Train, &matching.layer);
                (Some(features), logits)
            }
            None => (None, self.discriminator.forward(&given, Mode::Train)),
        };
        Seen {
            images: images.clone(),
            view,
            classes: classes.cloned(),
            logits,
            features,
        }
    }

    /// As [`Gan::look`] in a step of the discriminator: slopes in the images can be asked for if they are penalised
    /// with the loss.
    pub(crate) fn look_for_discriminator(
        &mut self,
        images: &Tensor<T>,
        classes: Option<&Tensor<T>>,
    ) -> Seen<T> {
        if self.game.penalises_with_the_loss() && !images.requires_grad() {
            self.look(&images.as_leaf(), classes)
        } else {
            self.look(images, classes)
        }
    }

    /// Loss of the discriminator; takes the logits into LeCam's averages and the adaptive augmentation.
    pub(crate) fn discriminator_loss(&mut self, real: &Seen<T>, fake: &Seen<T>) -> DiscriminatorLoss<T> {
        let ObjectiveConfig {
            kind,
            label_smoothing,
            ..
        } = self.game.objective;
        let objective = kind.smoothed_discriminator(&real.logits, &fake.logits, label_smoothing);
        let mut terms = Vec::new();
        if self.game.penalises_with_the_loss() {
            terms.extend(self.gradient_penalties(
                [real, fake].map(|s| (&s.images, &s.view)),
                [real, fake].map(|s| Some(&s.logits)),
                real.classes.as_ref(),
            ));
        }
        let RegulariseConfig {
            lecam,
            lecam_decay,
            lecam_start,
            ..
        } = self.game.regularise;
        let state = &mut self.game.state;
        if lecam > 0.0 {
            state.lecam.update(&real.logits, &fake.logits, lecam_decay);
            if state.discriminator_steps >= u64::from(lecam_start) {
                terms.push(state.lecam.penalty(&real.logits, &fake.logits) * T::from_f64(lecam));
            }
        }
        if let Some(adaptive) = &self.game.augment.adaptive {
            // The controller takes signs, and least squares is undecided at one half.
            let undecided = T::from_f64(kind.threshold().unwrap_or(0.0));
            let margins = no_grad(|| &real.logits - undecided);
            state.adaptive.update(&margins, real.images.shape()[0], adaptive);
        }
        DiscriminatorLoss {
            objective,
            penalty: sum(terms),
        }
    }

    /// The weighted gradient penalties at real and generated images, of which the images and their views are given;
    /// logits that are not known are computed.
    fn gradient_penalties(
        &mut self,
        [(real, real_view), (fake, fake_view)]: [(&Tensor<T>, &Tensor<T>); 2],
        [real_logits, fake_logits]: [Option<&Tensor<T>>; 2],
        classes: Option<&Tensor<T>>,
    ) -> Option<Tensor<T>> {
        let RegulariseConfig {
            r1,
            r2,
            gradient_penalty,
            ..
        } = self.game.regularise;
        let judged = |view: &Tensor<T>| {
            self.discriminator
                .forward(&Self::with_classes(view, classes), Mode::Train)
        };
        let mut terms = Vec::new();
        for (weight, images, view, logits) in [
            (r1, real, real_view, real_logits),
            (r2, fake, fake_view, fake_logits),
        ] {
            if weight > 0.0 {
                let logits = logits.cloned().unwrap_or_else(|| judged(view));
                terms.push(penalty::zero_centred(&logits, images) * T::from_f64(weight / 2.0));
            }
        }
        if gradient_penalty > 0.0 {
            let between = penalty::interpolate(real_view, fake_view, &mut self.game.state.penalty);
            let between = between.as_leaf();
            let penalty = penalty::one_centred(&judged(&between), &between);
            terms.push(penalty * T::from_f64(gradient_penalty));
        }
        sum(terms)
    }

    /// The pass of lazy gradient penalties: a step of the discriminator's optimiser of their own, with a weight for
    /// all the steps that went without. Returns the penalties' value without that factor.
    pub(crate) fn penalty_step(
        &mut self,
        real: &Tensor<T>,
        fake: &Tensor<T>,
        classes: Option<&Tensor<T>>,
    ) -> f64 {
        let images = [real, fake].map(Tensor::as_leaf);
        let views = images.each_ref().map(|images| self.view(images));
        let pairs = [(&images[0], &views[0]), (&images[1], &views[1])];
        let penalty = self
            .gradient_penalties(pairs, [None, None], classes)
            .expect("there is a penalty to be put off");
        let value = penalty.item().into_f64();
        let total = penalty * T::from_f64(f64::from(self.game.regularise.every));
        let found = gradients(&total, &self.discriminator);
        drop((total, views, images));
        self.move_discriminator(&found);
        value
    }

    /// Whether the generator's loss needs what the discriminator says of real images.
    pub(crate) fn generator_needs_real(&self) -> bool {
        self.game.objective.kind.is_paired() || self.game.objective.feature_matching.is_some()
    }

    /// Loss of the generator.
    pub(crate) fn generator_loss(&self, fake: &Seen<T>, real: Option<&Seen<T>>) -> Tensor<T> {
        let ObjectiveConfig {
            kind,
            feature_matching,
            ..
        } = &self.game.objective;
        let loss = kind.generator(&fake.logits, real.map(|seen| &seen.logits));
        let features = (
            real.and_then(|seen| seen.features.as_ref()),
            fake.features.as_ref(),
        );
        match (feature_matching, features) {
            (Some(matching), (Some(real), Some(fake))) => {
                let distance = (real.mean_keep(&[0]) - fake.mean_keep(&[0])).square().sum();
                loss + distance * T::from_f64(matching.weight)
            }
            _ => loss,
        }
    }
}
