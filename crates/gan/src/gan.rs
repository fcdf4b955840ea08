//! A generator and a discriminator that train against each other.

use crate::augment::AugmentConfig;
use crate::config::{ObjectiveConfig, RegulariseConfig, SpectralNorm};
use crate::error::GanError;
use crate::game::{Game, GameState, Seen};
use engraft_layers::{Gradients, Mode, Module, Optimizer, Sequential, gradients};
use engraft_tensor::{Real, Tensor, no_grad};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// In which order the two networks move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOrder {
    /// Both gradients are taken at the old weights, over one batch of fakes that the discriminator sees once:
    /// the step of TensorFlow's tutorial, and the cheaper one.
    #[default]
    Simultaneous,
    /// The discriminator moves first; the generator then answers the new one, with noise of its own: the
    /// step of Goodfellow et al., 2014, algorithm 1 with `k = 1`.
    Alternating,
}

/// What a training step found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// Loss of the generator before it moved.
    pub generator_loss: f64,
    /// Loss of the discriminator before it moved, without penalties; of several critic steps the last.
    pub discriminator_loss: f64,
    /// Weighted sum of the penalties that this step's discriminator was given beside its loss, 0 if there were none.
    pub penalty: f64,
    /// Chance with which each augmentation changed an image.
    pub augment_probability: f64,
    /// Mean of `σ(D(x))` over the real images: how real they look to the discriminator.
    pub real_output: f64,
    /// Mean of `σ(D(G(z)))` over the generated images.
    pub fake_output: f64,
}

impl StepReport {
    /// Whether both losses and the penalties are finite; one that is not means that training has diverged.
    pub fn is_finite(&self) -> bool {
        self.generator_loss.is_finite() && self.discriminator_loss.is_finite() && self.penalty.is_finite()
    }
}

/// A generative adversarial network with what it takes to train it.
///
/// The crate's front page shows one being trained.
pub struct Gan<T: Real = f32> {
    /// Maps latent vectors to images.
    pub generator: Sequential<T>,
    /// Maps images to logits, large for images it takes for real.
    pub discriminator: Sequential<T>,
    pub(crate) generator_optimizer: Box<dyn Optimizer<T>>,
    pub(crate) discriminator_optimizer: Box<dyn Optimizer<T>>,
    pub(crate) latent: usize,
    pub(crate) game: Game,
    order: StepOrder,
}

impl<T: Real> Gan<T> {
    /// A pair with latent vectors of length `latent`, the non-saturating objective, simultaneous steps, and
    /// Adam at 1e-4 (the settings of TensorFlow's tutorial).
    pub fn new(generator: Sequential<T>, discriminator: Sequential<T>, latent: usize) -> Self {
        let adam = || Box::new(engraft_layers::Adam::new(1e-4));
        Self {
            generator,
            discriminator,
            generator_optimizer: adam(),
            discriminator_optimizer: adam(),
            latent,
            game: Game::new(),
            order: StepOrder::default(),
        }
    }

    /// Sets the objective: an [`Objective`](crate::Objective), or one with all that belongs to it.
    #[must_use]
    pub fn objective(mut self, objective: impl Into<ObjectiveConfig>) -> Self {
        self.game.objective = objective.into();
        self
    }

    /// Sets the regularisers of the discriminator, and normalises the networks that
    /// [`RegulariseConfig::spectral_norm`] names.
    ///
    /// With lazy penalties, give the discriminator's optimiser the settings of
    /// [`AdamConfig::with_lazy_penalty`](crate::AdamConfig::with_lazy_penalty).
    #[must_use]
    pub fn regularise(mut self, regularise: RegulariseConfig) -> Self {
        if regularise.spectral_norm != SpectralNorm::None {
            self.discriminator.spectral_normalise();
        }
        if regularise.spectral_norm == SpectralNorm::Both {
            self.generator.spectral_normalise();
        }
        self.game.regularise = regularise;
        self
    }

    /// Sets how images are changed before the discriminator sees them.
    #[must_use]
    pub fn augment(mut self, augment: AugmentConfig) -> Self {
        self.game.augment = augment;
        self
    }

    /// Sets the seed of the draws that are not noise: those of augmentations and of gradient penalties; 0 at first.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.game.state = GameState::new(seed);
        self
    }

    /// Checks that objective, regularisers and augmentation make sense together and with the discriminator.
    ///
    /// # Errors
    /// [`GanError::Config`] with every problem and its reason.
    ///
    /// ```
    /// use engraft_gan::{Gan, RegulariseConfig, dcgan};
    /// use engraft_layers::Init;
    ///
    /// let init = &mut Init::glorot(1);
    /// let gan = Gan::<f32>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT);
    /// assert!(gan.check().is_ok());
    /// let r1 = RegulariseConfig { r1: 1.0, ..RegulariseConfig::default() };
    /// let error = gan.regularise(r1).check().unwrap_err();
    /// assert!(error.to_string().contains("batch norm (block2.norm)"));
    /// ```
    pub fn check(&self) -> Result<(), GanError> {
        let problems = self.problems();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(GanError::Config { problems })
        }
    }

    /// Sets the order in which the networks move.
    #[must_use]
    pub fn order(mut self, order: StepOrder) -> Self {
        self.order = order;
        self
    }

    /// Sets both optimisers.
    #[must_use]
    pub fn optimizers(
        mut self,
        generator: impl Optimizer<T> + 'static,
        discriminator: impl Optimizer<T> + 'static,
    ) -> Self {
        self.generator_optimizer = Box::new(generator);
        self.discriminator_optimizer = Box::new(discriminator);
        self
    }

    /// `n` latent vectors, `[n, latent]`, independent and standard normal.
    pub fn noise(&self, n: usize, rng: &mut impl Rng) -> Tensor<T> {
        Tensor::randn([n, self.latent], rng)
    }

    /// `n` generated images in evaluation mode; for many batches from the same weights there is
    /// [`Gan::into_sampler`].
    pub fn generate(&self, n: usize, rng: &mut impl Rng) -> Tensor<T> {
        let z = self.noise(n, rng);
        no_grad(|| self.generator.forward(&z, Mode::Eval))
    }

    /// One training step on a batch of real images, in the configured order; draws the noise from `rng`.
    ///
    /// With several critic steps the batch is cut into as many parts: the discriminator alone moves on all but the
    /// last, on which both do.
    ///
    /// # Panics
    /// If the settings make no sense ([`Gan::check`] tells before), or the batch cannot be cut.
    #[track_caller]
    pub fn step(&mut self, real: &Tensor<T>, rng: &mut impl Rng) -> StepReport {
        let steps = self.game.objective.critic_steps.max(1) as usize;
        if steps == 1 {
            return self.last_step(real, rng);
        }
        let n = real.shape()[0];
        assert!(
            n > 0 && n.is_multiple_of(steps),
            "gan: {steps} critic steps need a batch of as many equal parts, got images {:?}",
            real.shape()
        );
        let part = |i: usize| real.narrow(0, i * (n / steps), n / steps);
        for i in 0..steps - 1 {
            let z = self.noise(n / steps, rng);
            self.discriminator_step(&part(i), &z);
        }
        self.last_step(&part(steps - 1), rng)
    }

    /// A step of both networks.
    #[track_caller]
    fn last_step(&mut self, real: &Tensor<T>, rng: &mut impl Rng) -> StepReport {
        let z = self.noise(real.shape()[0], rng);
        match self.order {
            StepOrder::Simultaneous => self.simultaneous_step(real, &z),
            StepOrder::Alternating => {
                let z_of_generator = self.noise(real.shape()[0], rng);
                self.alternating_step(real, &z, &z_of_generator)
            }
        }
    }

    /// One simultaneous step: one batch of fakes, one pass of the discriminator over it, two gradients.
    ///
    /// # Panics
    /// If the settings make no sense; [`Gan::check`] tells before.
    #[track_caller]
    pub fn simultaneous_step(&mut self, real: &Tensor<T>, z: &Tensor<T>) -> StepReport {
        self.assert_sensible();
        let augment_probability = self.game.augment_probability();
        let images = self.generator.forward(z, Mode::Train);
        let later = self.game.penalises_after_the_step().then(|| images.detach());
        let seen = self.look_for_discriminator(real);
        let fake = self.look_for_discriminator(&images);
        let g_loss = self.generator_loss(&fake, Some(&seen));
        let d_loss = self.discriminator_loss(&seen, &fake);
        let dg = gradients(&g_loss, &self.generator);
        let dd = gradients(&d_loss.total(), &self.discriminator);
        let mut report = StepReport {
            generator_loss: g_loss.item().into_f64(),
            discriminator_loss: d_loss.objective.item().into_f64(),
            penalty: d_loss.penalty_value(),
            augment_probability,
            real_output: mean_output(&seen.logits),
            fake_output: mean_output(&fake.logits),
        };
        // The graph goes before the weights change: a graph that holds them would cost a copy.
        drop((images, seen, fake, g_loss, d_loss));
        self.move_generator(&dg);
        self.move_discriminator(&dd);
        report.penalty += self.end_discriminator_step(real, later.as_ref());
        report
    }

    /// One alternating step: the discriminator moves on the fakes of `z`, then the generator on those of
    /// `z_of_generator`.
    ///
    /// # Panics
    /// If the settings make no sense; [`Gan::check`] tells before.
    #[track_caller]
    pub fn alternating_step(
        &mut self,
        real: &Tensor<T>,
        z: &Tensor<T>,
        z_of_generator: &Tensor<T>,
    ) -> StepReport {
        let mut report = self.discriminator_step(real, z);
        let seen: Option<Seen<T>> = self.generator_needs_real().then(|| no_grad(|| self.look(real)));
        let images = self.generator.forward(z_of_generator, Mode::Train);
        let fake = self.look(&images);
        let g_loss = self.generator_loss(&fake, seen.as_ref());
        let dg = gradients(&g_loss, &self.generator);
        report.generator_loss = g_loss.item().into_f64();
        drop((images, seen, fake, g_loss));
        self.move_generator(&dg);
        report
    }

    /// One step of the discriminator alone, on the fakes of `z`; the report's loss of the generator is 0.
    ///
    /// # Panics
    /// If the settings make no sense; [`Gan::check`] tells before.
    #[track_caller]
    pub fn discriminator_step(&mut self, real: &Tensor<T>, z: &Tensor<T>) -> StepReport {
        self.assert_sensible();
        let augment_probability = self.game.augment_probability();
        let images = no_grad(|| self.generator.forward(z, Mode::Train));
        let seen = self.look_for_discriminator(real);
        let fake = self.look_for_discriminator(&images);
        let d_loss = self.discriminator_loss(&seen, &fake);
        let dd = gradients(&d_loss.total(), &self.discriminator);
        let mut report = StepReport {
            generator_loss: 0.0,
            discriminator_loss: d_loss.objective.item().into_f64(),
            penalty: d_loss.penalty_value(),
            augment_probability,
            real_output: mean_output(&seen.logits),
            fake_output: mean_output(&fake.logits),
        };
        drop((seen, fake, d_loss));
        self.move_discriminator(&dd);
        report.penalty += self.end_discriminator_step(real, Some(&images));
        report
    }

    /// Runs the penalties that come behind a step of the discriminator, if it is time for them, on real images and
    /// the step's fakes; their value.
    fn end_discriminator_step(&mut self, real: &Tensor<T>, fake: Option<&Tensor<T>>) -> f64 {
        let due = fake.filter(|_| self.game.penalises_after_the_step());
        let penalty = due.map_or(0.0, |fake| self.penalty_step(real, fake));
        let steps = &mut self.game.state.discriminator_steps;
        // Saturating: a file may claim any count.
        *steps = steps.saturating_add(1);
        penalty
    }

    fn move_generator(&mut self, gradients: &Gradients<T>) {
        self.generator_optimizer.step(&mut self.generator, gradients);
    }

    pub(crate) fn move_discriminator(&mut self, gradients: &Gradients<T>) {
        self.discriminator_optimizer
            .step(&mut self.discriminator, gradients);
    }
}

/// Mean of `σ(logits)`.
fn mean_output<T: Real>(logits: &Tensor<T>) -> f64 {
    no_grad(|| logits.sigmoid().mean().item().into_f64())
}

#[cfg(test)]
mod tests;
