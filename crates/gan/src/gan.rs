//! A generator and a discriminator that train against each other.

use crate::adversarial_loss::{AdversarialLoss, DiscriminatorOutput, Loss, LossState};
use crate::augment::AugmentConfig;
use crate::discriminator_stats::DiscriminatorStats;
use crate::error::GanError;
use crate::latent::{as_image, cyclic_labels};
use crate::loss_term::LossTerm;
use crate::objective::{ObjectiveConfig, StepOrder};
use crate::regularization::RegularizeConfig;
use crate::sampler::Sampler;
use crate::validation::shape_problem;
use engraft_layers::{Condition, Mode, Module, Optimizer, Sequential, gradients};
use engraft_tensor::{Real, Tensor, no_grad};
use rand::Rng;

/// What a training step grads.
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
    /// Whether the settings have been grads to make sense together.
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

    /// Says that both networks are told the class of an image, one of `classes`, as
    /// [`ConditionalGenerator`](crate::networks::ConditionalGenerator) and
    /// [`ProjectionDiscriminator`](crate::networks::ProjectionDiscriminator) are. Real images then come with their labels,
    /// see [`Gan::step`], and the generated ones of a step have the same.
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
    pub fn term(mut self, term: impl LossTerm<T> + 'static) -> Self {
        self.loss.terms.push(Box::new(term));
        self
    }

    /// Checks that objective, regularizers and augmentation make sense together and with the discriminator, and that the
    /// discriminator reads what the generator makes.
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
        let mut problems = self.problems();
        let packing = self.loss.objective.packing.max(1) as usize;
        problems.extend(shape_problem(
            &self.generator,
            &self.discriminator,
            &Tensor::zeros([packing, self.latent]),
            &self.cyclic_labels(packing),
        ));
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

    /// `n` latent vectors, `[n, latent]`, independent and standard normal.
    pub fn noise(&self, n: usize, rng: &mut impl Rng) -> Tensor<T> {
        Tensor::randn([n, self.latent], rng)
    }

    /// Labels `0, 1, .., classes - 1, 0, 1, ..` for `n` images; [`Condition::None`] if the networks are not
    /// class-conditional.
    pub fn cyclic_labels(&self, n: usize) -> Condition<T> {
        cyclic_labels(n, self.classes)
    }

    #[doc(hidden)] // earlier name of `cyclic_labels`
    pub fn classes_in_turn(&self, n: usize) -> Condition<T> {
        self.cyclic_labels(n)
    }

    /// `n` generated images in evaluation mode, pixels cut off at -1 and 1, of [each class in turn](Gan::cyclic_labels);
    /// for many batches from the same weights there is [`Gan::into_sampler`].
    pub fn generate(&self, n: usize, rng: &mut impl Rng) -> Tensor<T> {
        let (z, condition) = (self.noise(n, rng), self.cyclic_labels(n));
        no_grad(|| as_image(&self.generator.forward_with(&z, &condition, Mode::Eval)))
    }

    /// The generator alone, for drawing many images; what training needs is dropped.
    pub fn into_sampler(self) -> Sampler<T> {
        Sampler::new(self.generator, self.latent).classes(self.classes)
    }

    /// One training step on a batch of real images, in the configured order; draws the noise from `rng`. Networks that
    /// are told the class are given the images' labels as the condition, and generate as many images of each class; others
    /// have [`Condition::None`].
    ///
    /// With several critic steps the batch is cut into as many parts: the discriminator alone moves on all but the
    /// last, on which both do.
    ///
    /// # Panics
    /// If the settings make no sense ([`Gan::check`] tells before), the batch cannot be cut, or the condition is not one for
    /// each image or not one that the networks are told.
    #[track_caller]
    pub fn step(
        &mut self,
        real: &Tensor<T>,
        condition: impl Into<Condition<T>>,
        rng: &mut impl Rng,
    ) -> StepReport {
        self.assert_valid();
        let (condition, n) = (condition.into(), real.shape()[0]);
        let steps = self.loss.objective.critic_steps as usize;
        assert!(
            self.accepts(&condition, n),
            "gan: a step needs a label for each image, below the number of classes, where the networks are told the class, \
             and none where they are not; got {} labels, {} classes and images {:?}",
            condition.len(),
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
            1 => (real.clone(), condition.clone()),
            _ => (real.narrow(0, i * size, size), condition.narrow(i * size, size)),
        };
        for i in 0..steps - 1 {
            let (real, condition) = part(i);
            let z = self.noise(size, rng);
            self.discriminator_step(&real, &condition, &z);
        }
        let (real, condition) = part(steps - 1);
        let z = self.noise(size, rng);
        match self.order {
            StepOrder::Simultaneous => self.simultaneous_step(&real, &condition, &z),
            StepOrder::Alternating => {
                let generator_z = self.noise(size, rng);
                let report = self.discriminator_step(&real, &condition, &z);
                StepReport {
                    generator_loss: self.generator_step(&real, &condition, &generator_z),
                    ..report
                }
            }
        }
    }

    /// Whether a condition is what the networks are told of `n` images.
    fn accepts(&self, condition: &Condition<T>, n: usize) -> bool {
        match condition {
            Condition::None => self.classes == 0,
            Condition::Labels(labels) => {
                labels.len() == n && labels.iter().all(|&label| label < self.classes)
            }
            other => other.len() == n,
        }
    }

    /// # Panics
    /// At the first step, if the settings make no sense together or with the discriminator.
    #[track_caller]
    fn assert_valid(&mut self) {
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

    /// Both networks move: one batch of generated images, one pass of the discriminator over it, two gradients.
    fn simultaneous_step(&mut self, real: &Tensor<T>, condition: &Condition<T>, z: &Tensor<T>) -> StepReport {
        // The graph goes with the block, before the weights change: a graph that holds them would cost a copy.
        let (images, report, generator_grads, discriminator_grads) = {
            let images = self.generator.forward_with(z, condition, Mode::Train);
            let real_output = self.loss.discriminate(&self.discriminator, real, condition);
            let fake_output = self.loss.discriminate(&self.discriminator, &images, condition);
            let g = self
                .loss
                .generator(&self.generator, z, condition, &fake_output, Some(&real_output));
            let d = self
                .loss
                .discriminator(&self.discriminator, &real_output, &fake_output, condition);
            let report = StepReport {
                generator_loss: g.objective.item().into_f64(),
                ..self.report(&d, &real_output, &fake_output)
            };
            (
                images.detach(),
                report,
                gradients(&g.total, &self.generator),
                gradients(&d.total, &self.discriminator),
            )
        };
        self.generator_optimizer
            .step(&mut self.generator, &generator_grads);
        self.discriminator_optimizer
            .step(&mut self.discriminator, &discriminator_grads);
        self.penalty_step(report, [real, &images], condition)
    }

    /// The discriminator moves, on the images generated from `z`.
    fn discriminator_step(
        &mut self,
        real: &Tensor<T>,
        condition: &Condition<T>,
        z: &Tensor<T>,
    ) -> StepReport {
        let images = no_grad(|| self.generator.forward_with(z, condition, Mode::Train));
        let (report, grads) = {
            let real_output = self.loss.discriminate(&self.discriminator, real, condition);
            let fake_output = self.loss.discriminate(&self.discriminator, &images, condition);
            let d = self
                .loss
                .discriminator(&self.discriminator, &real_output, &fake_output, condition);
            let report = self.report(&d, &real_output, &fake_output);
            (report, gradients(&d.total, &self.discriminator))
        };
        self.discriminator_optimizer.step(&mut self.discriminator, &grads);
        self.penalty_step(report, [real, &images], condition)
    }

    /// The generator moves; its loss.
    fn generator_step(&mut self, real: &Tensor<T>, condition: &Condition<T>, z: &Tensor<T>) -> f64 {
        let (loss, grads) = {
            let real_output = self
                .loss
                .generator_needs_real()
                .then(|| no_grad(|| self.loss.discriminate(&self.discriminator, real, condition)));
            let images = self.generator.forward_with(z, condition, Mode::Train);
            let fake_output = self.loss.discriminate(&self.discriminator, &images, condition);
            let g = self
                .loss
                .generator(&self.generator, z, condition, &fake_output, real_output.as_ref());
            (
                g.objective.item().into_f64(),
                gradients(&g.total, &self.generator),
            )
        };
        self.generator_optimizer.step(&mut self.generator, &grads);
        loss
    }

    /// Ends a step of the discriminator, by a step on its gradient penalties where these are due; the report with them.
    fn penalty_step(
        &mut self,
        report: StepReport,
        images: [&Tensor<T>; 2],
        condition: &Condition<T>,
    ) -> StepReport {
        let penalty = self.loss.lazy_penalty(&self.discriminator, images, condition);
        let grads = penalty.map(|p| (p.penalty(), gradients(&p.total, &self.discriminator)));
        let Some((value, grads)) = grads else {
            return report;
        };
        self.discriminator_optimizer.step(&mut self.discriminator, &grads);
        StepReport {
            penalty: report.penalty + value,
            ..report
        }
    }

    /// What a step of the discriminator grads.
    fn report(
        &self,
        loss: &Loss<T>,
        real_output: &DiscriminatorOutput<T>,
        fake_output: &DiscriminatorOutput<T>,
    ) -> StepReport {
        let stats =
            DiscriminatorStats::of(self.loss.objective.kind, &real_output.logits, &fake_output.logits);
        let mean_output = |logits: &Tensor<T>| no_grad(|| logits.sigmoid().mean().item().into_f64());
        StepReport {
            generator_loss: 0.0,
            discriminator_loss: loss.objective.item().into_f64(),
            penalty: loss.penalty(),
            augment_probability: real_output.augment_probability,
            real_output: mean_output(&real_output.logits),
            fake_output: mean_output(&fake_output.logits),
            accuracy: stats.accuracy,
            real_sign: stats.real_sign,
        }
    }
}

#[cfg(test)]
mod conditional_tests;
#[cfg(test)]
mod tests;
