//! A generator and a discriminator that train against each other.

use crate::objective::Objective;
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
    /// Loss of the discriminator before it moved.
    pub discriminator_loss: f64,
    /// Mean of `σ(D(x))` over the real images: how real they look to the discriminator.
    pub real_output: f64,
    /// Mean of `σ(D(G(z)))` over the generated images.
    pub fake_output: f64,
}

impl StepReport {
    /// Whether both losses are finite; a loss that is not means that training has diverged.
    pub fn is_finite(&self) -> bool {
        self.generator_loss.is_finite() && self.discriminator_loss.is_finite()
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
    objective: Objective,
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
            objective: Objective::default(),
            order: StepOrder::default(),
        }
    }

    /// Sets the objective.
    #[must_use]
    pub fn objective(mut self, objective: Objective) -> Self {
        self.objective = objective;
        self
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
    pub fn step(&mut self, real: &Tensor<T>, rng: &mut impl Rng) -> StepReport {
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
    pub fn simultaneous_step(&mut self, real: &Tensor<T>, z: &Tensor<T>) -> StepReport {
        let fake = self.generator.forward(z, Mode::Train);
        let real_logits = self.discriminator.forward(real, Mode::Train);
        let fake_logits = self.discriminator.forward(&fake, Mode::Train);
        let g_loss = self.objective.generator(&fake_logits);
        let d_loss = self.objective.discriminator(&real_logits, &fake_logits);
        let dg = gradients(&g_loss, &self.generator);
        let dd = gradients(&d_loss, &self.discriminator);
        let report = StepReport {
            generator_loss: g_loss.item().into_f64(),
            discriminator_loss: d_loss.item().into_f64(),
            real_output: mean_output(&real_logits),
            fake_output: mean_output(&fake_logits),
        };
        // The graph goes before the weights change: a graph that holds them would cost a copy.
        drop((fake, real_logits, fake_logits, g_loss, d_loss));
        self.move_generator(&dg);
        self.move_discriminator(&dd);
        report
    }

    /// One alternating step: the discriminator moves on the fakes of `z`, then the generator on those of
    /// `z_of_generator`.
    pub fn alternating_step(
        &mut self,
        real: &Tensor<T>,
        z: &Tensor<T>,
        z_of_generator: &Tensor<T>,
    ) -> StepReport {
        let fake = no_grad(|| self.generator.forward(z, Mode::Train));
        let real_logits = self.discriminator.forward(real, Mode::Train);
        let fake_logits = self.discriminator.forward(&fake, Mode::Train);
        let d_loss = self.objective.discriminator(&real_logits, &fake_logits);
        let dd = gradients(&d_loss, &self.discriminator);
        let outputs = [mean_output(&real_logits), mean_output(&fake_logits)];
        let discriminator_loss = d_loss.item().into_f64();
        drop((real_logits, fake_logits, d_loss));
        self.move_discriminator(&dd);

        let fake = self.generator.forward(z_of_generator, Mode::Train);
        let g_loss = self
            .objective
            .generator(&self.discriminator.forward(&fake, Mode::Train));
        let dg = gradients(&g_loss, &self.generator);
        let generator_loss = g_loss.item().into_f64();
        drop((fake, g_loss));
        self.move_generator(&dg);
        let [real_output, fake_output] = outputs;
        StepReport {
            generator_loss,
            discriminator_loss,
            real_output,
            fake_output,
        }
    }

    fn move_generator(&mut self, gradients: &Gradients<T>) {
        self.generator_optimizer.step(&mut self.generator, gradients);
    }

    fn move_discriminator(&mut self, gradients: &Gradients<T>) {
        self.discriminator_optimizer
            .step(&mut self.discriminator, gradients);
    }
}

/// Mean of `σ(logits)`.
fn mean_output<T: Real>(logits: &Tensor<T>) -> f64 {
    no_grad(|| logits.sigmoid().mean().item().into_f64())
}
