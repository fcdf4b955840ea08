//! A generator and a discriminator that train against each other.

use crate::augment::AugmentConfig;
use crate::balance::Balance;
use crate::config::{ObjectiveConfig, RegulariseConfig, SpectralNorm};
use crate::error::GanError;
use crate::game::{Game, GameState, Seen};
use crate::plan::Term;
use crate::sampler::as_image;
use engraft_layers::{Gradients, Mode, Module, Optimizer, Sequential, gradients, one_hot};
use engraft_tensor::{Real, Tensor, concat, no_grad};
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
    /// Share of the discriminator's judgements that were right: of an image by the side of its logit or, for the
    /// Wasserstein and the relativistic objective, of a real and a generated image by the order of theirs.
    pub accuracy: f64,
    /// `r_t`, the mean sign of the discriminator's logits on real images, 1 where it is sure of all of them (Karras et
    /// al., "Training generative adversarial networks with limited data", 2020, equation 1); for the two objectives
    /// above the mean sign of the differences.
    pub real_sign: f64,
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
    /// Classes that both networks are told; 0 if none.
    pub(crate) classes: usize,
    pub(crate) game: Game,
    terms: Vec<Box<dyn Term<T>>>,
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
            classes: 0,
            game: Game::new(),
            terms: Vec::new(),
            order: StepOrder::default(),
        }
    }

    /// Sets the objective: an [`Objective`](crate::Objective), or one with all that belongs to it.
    #[must_use]
    pub fn objective(mut self, objective: impl Into<ObjectiveConfig>) -> Self {
        self.game.objective = objective.into();
        self
    }

    /// Tells both networks the class of an image, one of `classes`: as rows of [`one_hot`] behind the latent vector and
    /// behind the numbers of the image, as [`ConditionalGenerator`](crate::networks::ConditionalGenerator) and
    /// [`ProjectionDiscriminator`](crate::networks::ProjectionDiscriminator) take them. Real images then come with
    /// their labels, see [`Gan::labelled_step`], and the generated ones of a step have the same.
    #[must_use]
    pub fn classes(mut self, classes: usize) -> Self {
        self.classes = classes;
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

    /// Adds a term to the losses.
    #[must_use]
    pub fn term(mut self, term: impl Term<T> + 'static) -> Self {
        self.terms.push(Box::new(term));
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

    /// `n` latent vectors, `[n, latent]`, independent and standard normal; where the networks are told the class, with
    /// each class in turn behind them, `[n, latent + classes]`.
    pub fn noise(&self, n: usize, rng: &mut impl Rng) -> Tensor<T> {
        latent_vectors(n, self.latent, self.classes, rng)
    }

    /// Latent vectors for images of these classes, `[n, latent + classes]`.
    ///
    /// # Panics
    /// If the networks are not told the class, or a label is none of the classes.
    #[track_caller]
    pub fn labelled_noise(&self, labels: &[usize], rng: &mut impl Rng) -> Tensor<T> {
        labelled_vectors(labels, self.latent, self.classes, rng)
    }

    /// `n` generated images in evaluation mode, pixels cut off at -1 and 1; for many batches from the same weights there is
    /// [`Gan::into_sampler`].
    pub fn generate(&self, n: usize, rng: &mut impl Rng) -> Tensor<T> {
        let z = self.noise(n, rng);
        no_grad(|| as_image(&self.generator.forward(&z, Mode::Eval)))
    }

    /// One training step on a batch of real images, in the configured order; draws the noise from `rng`.
    ///
    /// With several critic steps the batch is cut into as many parts: the discriminator alone moves on all but the
    /// last, on which both do.
    ///
    /// # Panics
    /// If the settings make no sense ([`Gan::check`] tells before), the batch cannot be cut, or the networks are told
    /// the class.
    #[track_caller]
    pub fn step(&mut self, real: &Tensor<T>, rng: &mut impl Rng) -> StepReport {
        assert!(
            self.classes == 0,
            "gan: networks that are told the class need labels: call labelled_step"
        );
        self.any_step(real, None, rng)
    }

    /// As [`Gan::step`], for networks that are told the class: the labels are those of the real images, and as many
    /// images of each class are generated.
    ///
    /// # Panics
    /// As for [`Gan::step`], and if the networks are not told the class or there are not as many labels as images.
    #[track_caller]
    pub fn labelled_step(&mut self, real: &Tensor<T>, labels: &[usize], rng: &mut impl Rng) -> StepReport {
        assert!(
            self.classes > 0 && labels.len() == real.shape()[0],
            "gan: labelled_step needs networks that are told the class and as many labels as images, got {} classes, {} \
             labels and images {:?}",
            self.classes,
            labels.len(),
            real.shape()
        );
        self.any_step(real, Some(labels), rng)
    }

    #[track_caller]
    fn any_step(&mut self, real: &Tensor<T>, labels: Option<&[usize]>, rng: &mut impl Rng) -> StepReport {
        let steps = self.game.objective.critic_steps.max(1) as usize;
        if steps == 1 {
            return self.last_step(real, labels, rng);
        }
        let n = real.shape()[0];
        assert!(
            n > 0 && n.is_multiple_of(steps),
            "gan: {steps} critic steps need a batch of as many equal parts, got images {:?}",
            real.shape()
        );
        let size = n / steps;
        let part = |i: usize| real.narrow(0, i * size, size);
        let labels_of = |i: usize| labels.map(|labels| &labels[i * size..(i + 1) * size]);
        for i in 0..steps - 1 {
            let z = self.draw(size, labels_of(i), rng);
            self.discriminator_step(&part(i), &z);
        }
        self.last_step(&part(steps - 1), labels_of(steps - 1), rng)
    }

    /// Latent vectors, with the labels of real images where there are some.
    fn draw(&self, n: usize, labels: Option<&[usize]>, rng: &mut impl Rng) -> Tensor<T> {
        match labels {
            Some(labels) => self.labelled_noise(labels, rng),
            None => self.noise(n, rng),
        }
    }

    /// A step of both networks.
    #[track_caller]
    fn last_step(&mut self, real: &Tensor<T>, labels: Option<&[usize]>, rng: &mut impl Rng) -> StepReport {
        let z = self.draw(real.shape()[0], labels, rng);
        match self.order {
            StepOrder::Simultaneous => self.simultaneous_step(real, &z),
            StepOrder::Alternating => {
                let z_of_generator = self.draw(real.shape()[0], labels, rng);
                self.alternating_step(real, &z, &z_of_generator)
            }
        }
    }

    /// One simultaneous step: one batch of fakes, one pass of the discriminator over it, two gradients.
    ///
    /// Where the networks are told the class, it stands behind the latent vectors ([`Gan::labelled_noise`]), and the
    /// real images have the same classes in the same order; so it is in the other two steps.
    ///
    /// # Panics
    /// If the settings make no sense; [`Gan::check`] tells before.
    #[track_caller]
    pub fn simultaneous_step(&mut self, real: &Tensor<T>, z: &Tensor<T>) -> StepReport {
        self.assert_sensible();
        let augment_probability = self.game.augment_probability();
        let images = self.generator.forward(z, Mode::Train);
        let later = self.game.penalises_after_the_step().then(|| images.detach());
        let classes = self.classes_in(z);
        let seen = self.look_for_discriminator(real, classes.as_ref());
        let fake = self.look_for_discriminator(&images, classes.as_ref());
        let g_loss = self.generator_loss(&fake, Some(&seen));
        let g_total = self.with_terms(&g_loss, |term| term.for_generator(&self.generator, z, &images));
        let d_loss = self.discriminator_loss(&seen, &fake);
        let d_total = self.with_terms(&d_loss.total(), |term| {
            term.for_discriminator(&self.discriminator, seen.view())
        });
        let dg = gradients(&g_total, &self.generator);
        let dd = gradients(&d_total, &self.discriminator);
        let balance = Balance::of(self.game.objective.kind, &seen.logits, &fake.logits);
        let mut report = StepReport {
            generator_loss: g_loss.item().into_f64(),
            discriminator_loss: d_loss.objective.item().into_f64(),
            penalty: d_loss.penalty_value(),
            augment_probability,
            real_output: mean_output(&seen.logits),
            fake_output: mean_output(&fake.logits),
            accuracy: balance.accuracy,
            real_sign: balance.real_sign,
        };
        // The graph goes before the weights change: a graph that holds them would cost a copy.
        drop((images, seen, fake, g_loss, g_total, d_loss, d_total));
        self.move_generator(&dg);
        self.move_discriminator(&dd);
        report.penalty += self.end_discriminator_step(real, later.as_ref(), classes.as_ref());
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
        let classes = self.classes_in(z_of_generator);
        let seen: Option<Seen<T>> = self
            .generator_needs_real()
            .then(|| no_grad(|| self.look(real, classes.as_ref())));
        let images = self.generator.forward(z_of_generator, Mode::Train);
        let fake = self.look(&images, classes.as_ref());
        let g_loss = self.generator_loss(&fake, seen.as_ref());
        let g_total = self.with_terms(&g_loss, |term| {
            term.for_generator(&self.generator, z_of_generator, &images)
        });
        let dg = gradients(&g_total, &self.generator);
        report.generator_loss = g_loss.item().into_f64();
        drop((images, seen, fake, g_loss, g_total));
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
        let classes = self.classes_in(z);
        let seen = self.look_for_discriminator(real, classes.as_ref());
        let fake = self.look_for_discriminator(&images, classes.as_ref());
        let d_loss = self.discriminator_loss(&seen, &fake);
        let d_total = self.with_terms(&d_loss.total(), |term| {
            term.for_discriminator(&self.discriminator, seen.view())
        });
        let dd = gradients(&d_total, &self.discriminator);
        let balance = Balance::of(self.game.objective.kind, &seen.logits, &fake.logits);
        let mut report = StepReport {
            generator_loss: 0.0,
            discriminator_loss: d_loss.objective.item().into_f64(),
            penalty: d_loss.penalty_value(),
            augment_probability,
            real_output: mean_output(&seen.logits),
            fake_output: mean_output(&fake.logits),
            accuracy: balance.accuracy,
            real_sign: balance.real_sign,
        };
        drop((seen, fake, d_loss, d_total));
        self.move_discriminator(&dd);
        report.penalty += self.end_discriminator_step(real, Some(&images), classes.as_ref());
        report
    }

    /// Runs the penalties that come behind a step of the discriminator, if it is time for them, on real images and
    /// the step's fakes; their value.
    fn end_discriminator_step(
        &mut self,
        real: &Tensor<T>,
        fake: Option<&Tensor<T>>,
        classes: Option<&Tensor<T>>,
    ) -> f64 {
        let due = fake.filter(|_| self.game.penalises_after_the_step());
        let penalty = due.map_or(0.0, |fake| self.penalty_step(real, fake, classes));
        let steps = &mut self.game.state.discriminator_steps;
        // Saturating: a file may claim any count.
        *steps = steps.saturating_add(1);
        penalty
    }

    /// A loss with what the terms add to it.
    fn with_terms(&self, loss: &Tensor<T>, of: impl Fn(&dyn Term<T>) -> Option<Tensor<T>>) -> Tensor<T> {
        let terms = self.terms.iter().filter_map(|term| of(term.as_ref()));
        terms.fold(loss.clone(), |sum, term| sum + term)
    }

    fn move_generator(&mut self, gradients: &Gradients<T>) {
        self.generator_optimizer.step(&mut self.generator, gradients);
    }

    pub(crate) fn move_discriminator(&mut self, gradients: &Gradients<T>) {
        self.discriminator_optimizer
            .step(&mut self.discriminator, gradients);
    }
}

/// Independent standard normal vectors; with classes, each in turn.
pub(crate) fn latent_vectors<T: Real>(
    n: usize,
    latent: usize,
    classes: usize,
    rng: &mut impl Rng,
) -> Tensor<T> {
    if classes == 0 {
        return Tensor::randn([n, latent], rng);
    }
    let labels: Vec<usize> = (0..n).map(|i| i % classes).collect();
    labelled_vectors(&labels, latent, classes, rng)
}

/// Independent standard normal vectors with the one-hot rows of their labels behind them.
#[track_caller]
pub(crate) fn labelled_vectors<T: Real>(
    labels: &[usize],
    latent: usize,
    classes: usize,
    rng: &mut impl Rng,
) -> Tensor<T> {
    assert!(classes > 0, "labelled noise: the networks are not told the class");
    let z = Tensor::randn([labels.len(), latent], rng);
    concat(&[&z, &one_hot(labels, classes)], 1)
}

/// Mean of `σ(logits)`.
fn mean_output<T: Real>(logits: &Tensor<T>) -> f64 {
    no_grad(|| logits.sigmoid().mean().item().into_f64())
}

#[cfg(test)]
mod labelled_tests;
#[cfg(test)]
mod tests;
