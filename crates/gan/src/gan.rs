//! A generator and a discriminator that train against each other.

use crate::adversarial_loss::{AdversarialLoss, Judged, Loss, LossState};
use crate::augment::AugmentConfig;
use crate::discriminator_stats::DiscriminatorStats;
use crate::error::GanError;
use crate::latent::{as_image, labelled_vectors, latent_vectors};
use crate::loss_term::Term;
use crate::objective::{ObjectiveConfig, StepOrder};
use crate::regularization::RegularizeConfig;
use crate::sampler::Sampler;
use engraft_layers::{Mode, Module, Optimizer, Sequential, gradients};
use engraft_tensor::{Real, Tensor, no_grad};
use rand::Rng;

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
    pub(crate) loss: AdversarialLoss<T>,
    order: StepOrder,
    /// Whether the settings have been found to make sense together.
    is_checked: bool,
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
            loss: AdversarialLoss::new(),
            order: StepOrder::default(),
            is_checked: false,
        }
    }

    /// Sets the objective: an [`Objective`](crate::Objective), or one with all that belongs to it.
    #[must_use]
    pub fn objective(mut self, objective: impl Into<ObjectiveConfig>) -> Self {
        self.loss.objective = objective.into();
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
    /// [`RegularizeConfig::spectral_norm`] names.
    ///
    /// With lazy penalties, give the discriminator's optimiser the settings of
    /// [`AdamConfig::with_lazy_penalty`](crate::AdamConfig::with_lazy_penalty).
    #[must_use]
    pub fn regularize(mut self, regularize: RegularizeConfig) -> Self {
        let spectral_norm = regularize.spectral_norm;
        spectral_norm.apply(&mut self.generator, &mut self.discriminator);
        self.loss.regularize = regularize;
        self
    }

    /// Sets how images are changed before the discriminator sees them.
    #[must_use]
    pub fn augment(mut self, augment: AugmentConfig) -> Self {
        self.loss.augment = augment;
        self
    }

    /// Sets the seed of the draws that are not noise: those of augmentations and of gradient penalties; 0 at first.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.loss.state = LossState::new(seed);
        self
    }

    /// Adds a term to the losses.
    #[must_use]
    pub fn term(mut self, term: impl Term<T> + 'static) -> Self {
        self.loss.terms.push(Box::new(term));
        self
    }

    /// Checks that objective, regularisers and augmentation make sense together and with the discriminator.
    ///
    /// # Errors
    /// [`GanError::Config`] with every problem and its reason.
    ///
    /// ```
    /// use engraft_gan::{Gan, RegularizeConfig, dcgan};
    /// use engraft_layers::Init;
    ///
    /// let init = &mut Init::glorot(1);
    /// let gan = Gan::<f32>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT);
    /// assert!(gan.check().is_ok());
    /// let r1 = RegularizeConfig { r1: 1.0, ..RegularizeConfig::default() };
    /// let error = gan.regularize(r1).check().unwrap_err();
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

    /// What makes no sense, one line with its reason for each problem.
    fn problems(&self) -> Vec<String> {
        let settings = self.loss.settings();
        let mut problems = settings.problems();
        if self.classes > 0 {
            problems.extend(settings.problems_with_classes());
        }
        problems.extend(settings.problems_with(&self.discriminator));
        problems
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

    /// The generator alone, for drawing many images; what training needs is dropped.
    pub fn into_sampler(self) -> Sampler<T> {
        Sampler::new(self.generator, self.latent).classes(self.classes)
    }

    /// One training step on a batch of real images, in the configured order; draws the noise from `rng`. Networks that
    /// are told the class are given the images' `labels`, and generate as many images of each class.
    ///
    /// With several critic steps the batch is cut into as many parts: the discriminator alone moves on all but the
    /// last, on which both do.
    ///
    /// # Panics
    /// If the settings make no sense ([`Gan::check`] tells before), the batch cannot be cut, or there are no labels for
    /// networks that are told the class, labels for others, or not as many labels as images.
    #[track_caller]
    pub fn step(&mut self, real: &Tensor<T>, labels: Option<&[usize]>, rng: &mut impl Rng) -> StepReport {
        self.assert_sensible();
        let (n, steps) = (real.shape()[0], self.loss.objective.critic_steps as usize);
        assert!(
            labels.map_or(self.classes == 0, |labels| self.classes > 0 && labels.len() == n),
            "gan: a step needs a label for each image where the networks are told the class, and none where they are \
             not; got {} labels, {} classes and images {:?}",
            labels.map_or(0, <[usize]>::len),
            self.classes,
            real.shape()
        );
        assert!(
            steps == 1 || n > 0 && n.is_multiple_of(steps),
            "gan: {steps} critic steps need a batch of as many equal parts, got images {:?}",
            real.shape()
        );
        let size = n / steps;
        let part = |i: usize| match steps {
            1 => real.clone(),
            _ => real.narrow(0, i * size, size),
        };
        let labels_of = |i: usize| labels.map(|labels| &labels[i * size..(i + 1) * size]);
        for i in 0..steps - 1 {
            let z = self.draw(size, labels_of(i), rng);
            self.discriminator_step(&part(i), &z);
        }
        let (real, labels) = (part(steps - 1), labels_of(steps - 1));
        let z = self.draw(size, labels, rng);
        match self.order {
            StepOrder::Simultaneous => self.simultaneous_step(&real, &z),
            StepOrder::Alternating => {
                let z_of_generator = self.draw(size, labels, rng);
                let report = self.discriminator_step(&real, &z);
                StepReport {
                    generator_loss: self.generator_step(&real, &z_of_generator),
                    ..report
                }
            }
        }
    }

    /// # Panics
    /// At the first step, if the settings make no sense together or with the discriminator.
    #[track_caller]
    fn assert_sensible(&mut self) {
        if !self.is_checked {
            let problems = self.problems();
            assert!(
                problems.is_empty(),
                "gan: the settings make no sense: {}",
                problems.join("; ")
            );
            self.is_checked = true;
        }
    }

    /// Latent vectors, with the labels of real images where there are some.
    fn draw(&self, n: usize, labels: Option<&[usize]>, rng: &mut impl Rng) -> Tensor<T> {
        match labels {
            Some(labels) => self.labelled_noise(labels, rng),
            None => self.noise(n, rng),
        }
    }

    /// Both networks move: one batch of generated images, one pass of the discriminator over it, two gradients.
    fn simultaneous_step(&mut self, real: &Tensor<T>, z: &Tensor<T>) -> StepReport {
        let class = self.classes_in(z);
        // The graph goes with the block, before the weights change: a graph that holds them would cost a copy.
        let (images, report, of_generator, of_discriminator) = {
            let images = self.generator.forward(z, Mode::Train);
            let probability = self.loss.augment_probability();
            let seen = self.loss.judge(&self.discriminator, real, class.as_ref());
            let fake = self.loss.judge(&self.discriminator, &images, class.as_ref());
            let g = self.loss.generator(&self.generator, z, &fake, Some(&seen));
            let d = self
                .loss
                .discriminator(&self.discriminator, &seen, &fake, class.as_ref());
            let report = StepReport {
                generator_loss: g.objective.item().into_f64(),
                ..self.report(&d, &seen, &fake, probability)
            };
            (
                images.detach(),
                report,
                gradients(&g.total, &self.generator),
                gradients(&d.total, &self.discriminator),
            )
        };
        self.generator_optimizer.step(&mut self.generator, &of_generator);
        self.discriminator_optimizer
            .step(&mut self.discriminator, &of_discriminator);
        self.penalty_step(report, [real, &images], class.as_ref())
    }

    /// The discriminator moves, on the images generated from `z`.
    fn discriminator_step(&mut self, real: &Tensor<T>, z: &Tensor<T>) -> StepReport {
        let class = self.classes_in(z);
        let images = no_grad(|| self.generator.forward(z, Mode::Train));
        let (report, found) = {
            let probability = self.loss.augment_probability();
            let seen = self.loss.judge(&self.discriminator, real, class.as_ref());
            let fake = self.loss.judge(&self.discriminator, &images, class.as_ref());
            let d = self
                .loss
                .discriminator(&self.discriminator, &seen, &fake, class.as_ref());
            let report = self.report(&d, &seen, &fake, probability);
            (report, gradients(&d.total, &self.discriminator))
        };
        self.discriminator_optimizer.step(&mut self.discriminator, &found);
        self.penalty_step(report, [real, &images], class.as_ref())
    }

    /// The generator moves; its loss.
    fn generator_step(&mut self, real: &Tensor<T>, z: &Tensor<T>) -> f64 {
        let class = self.classes_in(z);
        let (loss, found) = {
            let seen = self
                .loss
                .generator_needs_real()
                .then(|| no_grad(|| self.loss.judge(&self.discriminator, real, class.as_ref())));
            let images = self.generator.forward(z, Mode::Train);
            let fake = self.loss.judge(&self.discriminator, &images, class.as_ref());
            let g = self.loss.generator(&self.generator, z, &fake, seen.as_ref());
            (
                g.objective.item().into_f64(),
                gradients(&g.total, &self.generator),
            )
        };
        self.generator_optimizer.step(&mut self.generator, &found);
        loss
    }

    /// Ends a step of the discriminator, by a step on its gradient penalties where these are due; the report with them.
    fn penalty_step(
        &mut self,
        report: StepReport,
        images: [&Tensor<T>; 2],
        class: Option<&Tensor<T>>,
    ) -> StepReport {
        let penalty = self.loss.lazy_penalty(&self.discriminator, images, class);
        let found = penalty.map(|p| (p.penalty(), gradients(&p.total, &self.discriminator)));
        let Some((value, found)) = found else {
            return report;
        };
        self.discriminator_optimizer.step(&mut self.discriminator, &found);
        StepReport {
            penalty: report.penalty + value,
            ..report
        }
    }

    /// What a step of the discriminator found.
    fn report(
        &self,
        loss: &Loss<T>,
        real: &Judged<T>,
        fake: &Judged<T>,
        augment_probability: f64,
    ) -> StepReport {
        let balance = DiscriminatorStats::of(self.loss.objective.kind, &real.logits, &fake.logits);
        let mean_output = |logits: &Tensor<T>| no_grad(|| logits.sigmoid().mean().item().into_f64());
        StepReport {
            generator_loss: 0.0,
            discriminator_loss: loss.objective.item().into_f64(),
            penalty: loss.penalty(),
            augment_probability,
            real_output: mean_output(&real.logits),
            fake_output: mean_output(&fake.logits),
            accuracy: balance.accuracy,
            real_sign: balance.real_sign,
        }
    }

    /// The one-hot rows behind latent vectors; `None` if the networks are not told the class.
    pub(crate) fn classes_in(&self, z: &Tensor<T>) -> Option<Tensor<T>> {
        (self.classes > 0).then(|| z.narrow(1, self.latent, self.classes))
    }
}

#[cfg(test)]
mod labelled_tests;
#[cfg(test)]
mod tests;
