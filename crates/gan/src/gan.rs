//! A generator and a discriminator, with everything a training step needs.

use crate::adversarial_loss::{AdversarialLoss, LossState};
use crate::augment::AugmentConfig;
use crate::class_prior::ClassPrior;
use crate::discriminator_stats::DiscriminatorStats;
use crate::error::GanError;
use crate::latent::{as_image, fixed_labels, sampled_labels};
use crate::loss_term::LossTerm;
use crate::micro_batches::sharded;
use crate::objective::{ObjectiveConfig, StepOrder};
use crate::regularization::RegularizeConfig;
use crate::sampler::Sampler;
use crate::update::{self, Pair, Update, Work};
use crate::validation::shape_problem;
use engraft_layers::{Condition, Mode, Module, Optimizer, Sequential};
use engraft_tensor::shards::{Communicator, ShardGroup};
use engraft_tensor::{Precision, Real, Tensor, no_grad, with_precision};
use rand::Rng;
use std::sync::Arc;

/// Losses and statistics of one training step, measured before the weights change.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// Adversarial loss of the generator, with feature matching and without [extra terms](LossTerm).
    pub generator_loss: f64,
    /// Adversarial loss of the discriminator, without penalties. With several discriminator steps it is that
    /// of the last.
    pub discriminator_loss: f64,
    /// Weighted sum of the discriminator's penalties in this step, with its reconstruction error; 0 if there were none.
    pub penalty: f64,
    /// Probability with which each augmentation changed an image, from 0 to 1.
    pub augment_probability: f64,
    /// Mean of `σ(D(x))` over the real images, from 0 to 1.
    pub real_output: f64,
    /// Mean of `σ(D(G(z)))` over the generated images, from 0 to 1.
    pub fake_output: f64,
    /// Discriminator accuracy, from 0 to 1.
    ///
    /// A real image counts as correct if its logit is above the threshold, a generated one if it is below. The threshold
    /// is 0, for least squares ½. The Wasserstein and the
    /// relativistic objective have no threshold; there a pair counts as correct if the real image has the
    /// higher logit.
    pub accuracy: f64,
    /// `r_t`, the mean sign of the discriminator's logits on real images, from -1 to 1. It is ADA's measure
    /// of overfitting: 1 means that every real image has a positive logit.
    ///
    /// For the Wasserstein and the relativistic objective it is the mean sign of `D(x) - D(G(z))`.
    ///
    /// *Source*: Karras et al., "Training generative adversarial networks with limited data", 2020, equation
    /// 1.
    pub real_sign: f64,
}

impl StepReport {
    /// Whether both losses and the penalty are finite. A loss that is not finite means that training has
    /// diverged.
    pub fn is_finite(&self) -> bool {
        self.generator_loss.is_finite() && self.discriminator_loss.is_finite() && self.penalty.is_finite()
    }
}

/// A generative adversarial network: two networks, two optimizers, the loss and its state.
///
/// The builder methods change the defaults of [`Gan::new`]. [`Gan::check`] reports settings that do not fit
/// together; [`Gan::step`] trains. For a run directory with checkpoints use [`Trainer`](crate::Trainer).
///
/// ```
/// use engraft_gan::{Gan, dcgan};
/// use engraft_layers::{Adam, Condition, Init};
/// use engraft_tensor::Tensor;
/// use rand::SeedableRng;
///
/// let init = &mut Init::glorot(1);
/// let adam = || Adam::new(2e-4).betas(0.5, 0.999);
/// let mut gan = Gan::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT)
///     .optimizers(adam(), adam());
/// gan.check()?;
///
/// let rng = &mut rand_pcg::Pcg64::seed_from_u64(1);
/// let real = Tensor::<f32>::uniform([4, 28, 28, 1], -1.0, 1.0, rng);
/// let report = gan.step(&real, Condition::None, rng);
/// assert!(report.is_finite());
/// assert_eq!(gan.generate(2, rng).shape(), [2, 28, 28, 1]);
/// # Ok::<(), engraft_gan::GanError>(())
/// ```
pub struct Gan<T: Real = f32> {
    /// Maps latent vectors `[n, latent]` to images `[n, h, w, c]` with values in about `[-1, 1]`.
    pub generator: Sequential<T>,
    /// Maps images `[n, h, w, c]` to logits `[n, 1]`; a high logit means real.
    pub discriminator: Sequential<T>,
    pub(crate) generator_optimizer: Box<dyn Optimizer<T>>,
    pub(crate) discriminator_optimizer: Box<dyn Optimizer<T>>,
    pub(crate) latent: usize,
    /// Number of classes that both networks are conditioned on; 0 for an unconditional GAN.
    pub(crate) classes: usize,
    /// Distribution of the labels of generated images; `None` for equal shares.
    pub(crate) prior: Option<ClassPrior>,
    pub(crate) loss: AdversarialLoss<T>,
    order: StepOrder,
    precision: Precision,
    /// The shards of each batch; `None` computes it as a whole.
    shards: Option<Arc<ShardGroup>>,
    /// Whether the settings have passed the check of the first step.
    is_checked: bool,
}

impl<T: Real> Gan<T> {
    /// A GAN with latent vectors of length `latent`.
    ///
    /// Defaults: the non-saturating objective, simultaneous steps, Adam with learning rate 1e-4 for both
    /// networks (the settings of TensorFlow's DCGAN tutorial), no regularization and no augmentation.
    pub fn new(generator: Sequential<T>, discriminator: Sequential<T>, latent: usize) -> Self {
        let adam = || Box::new(engraft_layers::Adam::new(1e-4));
        Self {
            generator,
            discriminator,
            generator_optimizer: adam(),
            discriminator_optimizer: adam(),
            latent,
            classes: 0,
            prior: None,
            loss: AdversarialLoss::new(),
            order: StepOrder::default(),
            precision: Precision::F32,
            shards: None,
            is_checked: false,
        }
    }

    /// Sets the objective: an [`Objective`](crate::Objective), or an [`ObjectiveConfig`] with further
    /// settings such as label smoothing.
    #[must_use]
    pub fn objective(mut self, objective: impl Into<ObjectiveConfig>) -> Self {
        self.loss.objective = objective.into();
        self
    }

    /// Declares both networks class-conditional, with labels `0..classes`.
    ///
    /// [`ConditionalGenerator`](crate::networks::ConditionalGenerator) and
    /// [`ProjectionDiscriminator`](crate::networks::ProjectionDiscriminator) are such networks. Pass the
    /// labels of the real images to [`Gan::step`]; the generated images of a step have the same labels.
    #[must_use]
    pub fn classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Sets the distribution of the labels of generated images. Without it, classes have equal shares. The images of a
    /// training step always have the labels of the real images.
    ///
    /// # Panics
    /// If there are more classes than [`Gan::classes`] declared.
    #[must_use]
    #[track_caller]
    pub fn prior(mut self, prior: ClassPrior) -> Self {
        assert!(
            prior.classes() <= self.classes,
            "Gan::prior: expected at most {} classes, got {}",
            self.classes,
            prior.classes()
        );
        self.prior = Some(prior);
        self
    }

    /// Sets the regularizers of the discriminator, and applies spectral normalization to the networks that
    /// [`RegularizeConfig::spectral_norm`] names.
    ///
    /// With lazy penalties, adjust the discriminator's optimizer by
    /// [`AdamConfig::with_lazy_penalty`](crate::AdamConfig::with_lazy_penalty).
    #[must_use]
    pub fn regularize(mut self, regularize: RegularizeConfig) -> Self {
        let spectral_norm = regularize.spectral_norm;
        spectral_norm.apply(&mut self.generator, &mut self.discriminator);
        self.loss.regularize = regularize;
        self
    }

    /// Sets the augmentation of all images that the discriminator evaluates, real and generated.
    #[must_use]
    pub fn augment(mut self, augment: AugmentConfig) -> Self {
        self.loss.augment = augment;
        self
    }

    /// Sets the seed of augmentations and gradient penalties; the default is 0. Latent vectors come from the
    /// `rng` of [`Gan::step`].
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.loss.state = LossState::new(seed);
        self
    }

    /// Adds a term to the losses; see [`LossTerm`].
    #[must_use]
    pub fn term(mut self, term: impl LossTerm<T> + 'static) -> Self {
        self.loss.terms.push(Arc::new(term));
        self
    }

    /// Checks that objective, regularizers and augmentation fit together and fit the discriminator, and that
    /// the discriminator accepts the generator's output.
    ///
    /// # Errors
    /// [`GanError::Config`] with one entry for each problem, with its reason.
    ///
    /// ```
    /// use engraft_gan::{Gan, RegularizeConfig, dcgan};
    /// use engraft_layers::Init;
    ///
    /// let init = &mut Init::glorot(1);
    /// let gan = Gan::<f32>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT);
    /// assert!(gan.check().is_ok());
    /// let r1 = RegularizeConfig { r1_gamma: 1.0, ..RegularizeConfig::default() };
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

    /// Invalid combinations of settings, one line each with the reason.
    fn problems(&self) -> Vec<String> {
        let settings = self.loss.settings();
        let mut problems = settings.problems();
        if self.classes > 0 {
            problems.extend(settings.problems_with_classes());
        }
        problems.extend(settings.problems_with(&self.discriminator));
        problems
    }

    /// Sets the order of the two updates in a step.
    #[must_use]
    pub fn order(mut self, order: StepOrder) -> Self {
        self.order = order;
        self
    }

    /// Sets the precision of the operands of convolutions and matrix products in [`Gan::step`].
    ///
    /// Weights, sums, batch norm, losses and optimizers keep the precision of `T`. Gradient penalties do too: they
    /// differentiate twice.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Cuts the batch of every update into `count` equal micro-batches, which compute in parallel. Their gradients are averaged,
    /// and batch norm uses the moments of the whole batch: a step is that of the whole batch up to rounding.
    ///
    /// The bits of a step depend on `count`. They are those of [`Gan::distributed`] with the same number of micro-batches on any
    /// number of ranks. Networks without batch norm need less memory: only as many micro-batches as there are threads have a
    /// graph at the same time. With batch norm all of them meet at every such layer.
    ///
    /// # Panics
    /// If the count is 0.
    #[must_use]
    #[track_caller]
    pub fn micro_batches(mut self, count: usize) -> Self {
        self.shards = match count {
            1 => None,
            _ => Some(Arc::new(ShardGroup::new(count, None))),
        };
        self
    }

    /// Like [`Gan::micro_batches`], with the micro-batches divided among the ranks of a communicator. All ranks begin with
    /// the same weights and settings, and call [`Gan::step`] with equal random streams. Each passes its own part of the images:
    /// of every discriminator step, the images of rank 0 are the first ones of the batch.
    ///
    /// All ranks compute the same weights, bit for bit.
    ///
    /// # Panics
    /// If the count is not a multiple of the number of ranks.
    #[must_use]
    #[track_caller]
    pub fn distributed(mut self, micro_batches: usize, communicator: Arc<dyn Communicator>) -> Self {
        self.distribute(micro_batches, communicator);
        self
    }

    /// See [`Gan::distributed`].
    pub(crate) fn distribute(&mut self, micro_batches: usize, communicator: Arc<dyn Communicator>) {
        self.shards = match (micro_batches, communicator.ranks()) {
            (1, 1) => None,
            _ => Some(Arc::new(ShardGroup::new(micro_batches, Some(communicator)))),
        };
    }

    /// Number of this rank and of all ranks that share a batch.
    pub(crate) fn rank_of(&self) -> [usize; 2] {
        let shards = self.shards.as_ref();
        shards.map_or([0, 1], |shards| [shards.rank(), shards.ranks()])
    }

    /// Images that the discriminator evaluates together.
    pub(crate) fn packing(&self) -> usize {
        self.loss.objective.packing.max(1) as usize
    }

    /// Sets both optimizers.
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

    /// `n` latent vectors, `[n, latent]`, independent standard normal.
    pub fn noise(&self, n: usize, rng: &mut impl Rng) -> Tensor<T> {
        Tensor::randn([n, self.latent], rng)
    }

    /// Labels `0, 1, .., classes - 1, 0, 1, ..` for `n` images, or by the [prior](Gan::prior) if there is one, the same at each
    /// call; [`Condition::None`] if the networks are not class-conditional.
    pub fn cyclic_labels(&self, n: usize) -> Condition<T> {
        fixed_labels(n, self.classes, self.prior.as_ref())
    }

    #[doc(hidden)] // earlier name of `cyclic_labels`
    pub fn classes_in_turn(&self, n: usize) -> Condition<T> {
        self.cyclic_labels(n)
    }

    /// `n` generated images `[n, h, w, c]`, clipped to `[-1, 1]`, with [cyclic labels](Gan::cyclic_labels) if
    /// the GAN is class-conditional, or random ones by its [prior](Gan::prior). The generator runs in evaluation mode.
    ///
    /// To generate many batches with the same weights, use [`Gan::into_sampler`].
    pub fn generate(&self, n: usize, rng: &mut impl Rng) -> Tensor<T> {
        let z = self.noise(n, rng);
        let condition = sampled_labels(n, self.classes, self.prior.as_ref(), rng);
        no_grad(|| as_image(&self.generator.forward_with(&z, &condition, Mode::Eval)))
    }

    /// Consumes the GAN and returns a sampler with its generator.
    pub fn into_sampler(self) -> Sampler<T> {
        Sampler::new(self.generator, self.latent)
            .classes(self.classes)
            .prior(self.prior)
    }

    /// One training step on a batch of real images.
    ///
    /// - `real`: images `[n, h, w, c]` with values in `[-1, 1]`; this rank's part of the batch if the GAN is
    ///   [distributed](Gan::distributed).
    /// - `condition`: [`Condition::None`] for an unconditional GAN, else the labels of the `n` images, for
    ///   example `&labels[..]` or a `Vec<usize>`. The generated images have the same labels.
    /// - `rng`: source of the latent vectors.
    ///
    /// With `k` discriminator steps ([`ObjectiveConfig::n_critic`]), the batch is split into `k` equal parts. The
    /// discriminator trains on each part; the generator trains once, with the last part.
    ///
    /// The report holds the losses before the update. If one of them is not finite, that update changes no weight.
    ///
    /// *Source*: Goodfellow et al., "Generative adversarial nets", 2014, algorithm 1.
    ///
    /// # Panics
    /// If the settings are invalid ([`Gan::check`] returns the same problems as an error), the batch does not split into
    /// equal parts or micro-batches, or `condition` does not match the images or the classes.
    #[track_caller]
    pub fn step(
        &mut self,
        real: &Tensor<T>,
        condition: impl Into<Condition<T>>,
        rng: &mut impl Rng,
    ) -> StepReport {
        let condition = condition.into();
        with_precision(self.precision, || self.step_of_batch(real, condition, rng))
    }

    #[track_caller]
    fn step_of_batch(&mut self, real: &Tensor<T>, condition: Condition<T>, rng: &mut impl Rng) -> StepReport {
        self.assert_valid();
        let n = real.shape()[0];
        let steps = self.loss.objective.n_critic as usize;
        assert!(
            self.accepts(&condition, n),
            "gan: the condition must be one label below {} for each image, or Condition::None without classes; \
             got {} labels for images {:?}",
            self.classes,
            condition.len(),
            real.shape()
        );
        assert!(
            steps == 1 || n > 0 && n.is_multiple_of(steps),
            "gan: the batch must split into {steps} equal parts for {steps} discriminator steps, got images {:?}",
            real.shape()
        );
        let size = n / steps;
        let pieces = self.shards.as_ref().map_or(1, |shards| shards.local().len());
        let piece = pieces * self.packing();
        assert!(
            pieces == 1 || size > 0 && size.is_multiple_of(piece),
            "gan: the batch must split into {pieces} equal micro-batches for each discriminator step, got images {:?}",
            real.shape()
        );
        let part = |i: usize| match steps {
            1 => (real.clone(), condition.clone()),
            _ => (real.narrow(0, i * size, size), condition.narrow(i * size, size)),
        };
        for i in 0..steps - 1 {
            let (real, condition) = part(i);
            let z = self.own_noise(size, rng);
            let report = self.discriminator_step(&real, &condition, &z);
            if !report.is_finite() {
                return report;
            }
        }
        let (real, condition) = part(steps - 1);
        let z = self.own_noise(size, rng);
        match self.order {
            StepOrder::Simultaneous => self.simultaneous_step(&real, &condition, &z),
            StepOrder::Alternating => {
                let generator_z = self.own_noise(size, rng);
                let report = self.discriminator_step(&real, &condition, &z);
                StepReport {
                    generator_loss: self.generator_step(&real, &condition, &generator_z),
                    ..report
                }
            }
        }
    }

    /// Whether a condition fits `n` images of this GAN.
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
    /// At the first step, if the settings are invalid.
    #[track_caller]
    fn assert_valid(&mut self) {
        if !self.is_checked {
            let problems = self.problems();
            assert!(
                problems.is_empty(),
                "gan: invalid settings: {}",
                problems.join("; ")
            );
            self.is_checked = true;
        }
    }

    /// Latent vectors for `n` images of this rank: its part of those of the batch.
    fn own_noise(&self, n: usize, rng: &mut impl Rng) -> Tensor<T> {
        match self.rank_of() {
            [_, 1] => self.noise(n, rng),
            [rank, ranks] => self.noise(n * ranks, rng).narrow(0, rank * n, n),
        }
    }

    /// Gradients and losses of an update. No graph is left when it returns: one that still held the weights would force the
    /// optimizer to copy them.
    fn update(&mut self, work: Work<T>, inputs: [&Tensor<T>; 2], condition: &Condition<T>) -> Update<T> {
        let networks = Pair {
            generator: &self.generator,
            discriminator: &self.discriminator,
        };
        let update = match &self.shards {
            None => work(networks, &mut self.loss, inputs, condition),
            Some(shards) => sharded(shards, networks, &mut self.loss, inputs, condition, work),
        };
        if let Some([real_logits, _]) = &update.logits {
            self.loss.adapt_augmentation(real_logits);
        }
        update
    }

    /// Changes the weights. A loss that is not finite changes none, so that the cause can still be found.
    fn apply(&mut self, update: &Update<T>) {
        if !update.losses.are_finite() {
            return;
        }
        if let Some(gradients) = &update.generator {
            self.generator_optimizer.step(&mut self.generator, gradients);
        }
        if let Some(gradients) = &update.discriminator {
            self.discriminator_optimizer
                .step(&mut self.discriminator, gradients);
        }
    }

    /// Updates both networks from one batch of generated images.
    fn simultaneous_step(&mut self, real: &Tensor<T>, condition: &Condition<T>, z: &Tensor<T>) -> StepReport {
        let update = self.update(update::simultaneous, [real, z], condition);
        self.apply(&update);
        self.penalty_step(&update, real, condition)
    }

    /// Updates the discriminator, on real images and those generated from `z`.
    fn discriminator_step(
        &mut self,
        real: &Tensor<T>,
        condition: &Condition<T>,
        z: &Tensor<T>,
    ) -> StepReport {
        let update = self.update(update::of_discriminator, [real, z], condition);
        self.apply(&update);
        self.penalty_step(&update, real, condition)
    }

    /// Updates the generator and returns its loss.
    fn generator_step(&mut self, real: &Tensor<T>, condition: &Condition<T>, z: &Tensor<T>) -> f64 {
        let update = self.update(update::of_generator, [real, z], condition);
        self.apply(&update);
        update.losses.generator
    }

    /// Completes a discriminator step: if lazy gradient penalties are due, updates the discriminator on them. Returns the report
    /// of both updates.
    fn penalty_step(&mut self, step: &Update<T>, real: &Tensor<T>, condition: &Condition<T>) -> StepReport {
        let mut report = self.report(step);
        if self.loss.end_discriminator_step()
            && let Some(fake) = &step.images
        {
            let update = self.update(update::of_lazy_penalty, [real, fake], condition);
            self.apply(&update);
            report.penalty += update.losses.penalty;
        }
        report
    }

    /// Report of a discriminator step.
    fn report(&self, update: &Update<T>) -> StepReport {
        let Update { losses, logits, .. } = update;
        let none = || [Tensor::zeros([0, 1]), Tensor::zeros([0, 1])];
        let [real, fake] = logits.clone().unwrap_or_else(none);
        let stats = DiscriminatorStats::of(self.loss.objective.kind, &real, &fake);
        let mean_output = |logits: &Tensor<T>| no_grad(|| logits.sigmoid().mean().item().into_f64());
        StepReport {
            generator_loss: losses.generator,
            discriminator_loss: losses.discriminator,
            penalty: losses.penalty,
            augment_probability: losses.augment_probability,
            real_output: mean_output(&real),
            fake_output: mean_output(&fake),
            accuracy: stats.accuracy,
            real_sign: stats.real_sign,
        }
    }
}

#[cfg(test)]
mod conditional_tests;
#[cfg(test)]
mod micro_batch_tests;
#[cfg(test)]
mod reconstruction_tests;
#[cfg(test)]
mod term_tests;
#[cfg(test)]
mod tests;
