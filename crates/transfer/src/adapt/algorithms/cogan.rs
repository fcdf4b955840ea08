//! CoGAN: two coupled GANs whose discriminators also classify.
//!
//! The discriminators minimize the sum of three terms for a latent vector `z` and its pair `(G_S(z), G_T(z))`. They are the mean
//! GAN loss of both domains, 10 times the cross entropy on the source, and 0.01 times the [distance](pair_distance) between the
//! features of the pair. As in the authors' code, only the discriminators minimize this distance. The generators minimize the
//! non-saturating loss.
//!
//! Differences from the authors' code: generators and discriminators step simultaneously with the same latent vectors and one
//! forward pass. The domain-specific layers of both domains start with the same weights. The generators are smaller. The
//! discriminators have the networks of all methods here, so pair features are compared before the heads. Batch norm treats
//! real and generated images of each domain as separate batches.
//!
//! The evaluated classifier uses the target's first block, also for validation images of the source.

use super::{Algorithm, Batch, cross_entropy, with_weight_decay};
use crate::adapt::cogan_networks::{Discriminators, Generators, LATENT};
use crate::adapt::domain_classifier::DomainClassifier;
use crate::adapt::losses::{coupled_losses, pair_distance};
use engraft_gan::standing_statistics;
use engraft_layers::{Adam, Condition, Gradients, Mode, Optimizer, gradients};
use engraft_tensor::{Tensor, no_grad};
use rand::SeedableRng;
use rand_pcg::Pcg64;

const RATE: f64 = 2e-4;
const DECAY: f64 = 5e-4;
/// Weight of the classification loss.
const CLASSES: f64 = 10.0;
/// Weight of the distance between the features of a pair.
const DISTANCE: f64 = 0.01;
/// Number of pairs that [`Algorithm::pairs`] generates.
const PAIRS: usize = 64;
/// Number of batches of `PAIRS` latent vectors for the standing statistics of the generators.
const STATISTICS: usize = 16;

pub(super) struct Cogan {
    pub(super) discriminators: Discriminators,
    pub(super) generators: Generators,
    discriminator_optimizer: Adam,
    generator_optimizer: Adam,
    noise: Pcg64,
    seed: u64,
}

/// Losses of both players.
pub(super) struct CoganLosses {
    pub(super) discriminators: Tensor,
    pub(super) generators: Tensor,
}

impl Cogan {
    pub(super) fn new(model: DomainClassifier, seed: u64) -> Self {
        let seed = seed ^ 0xC06A;
        let adam = || Adam::new(RATE).betas(0.5, 0.999);
        Self {
            generators: Generators::new(model.image_size(), seed),
            discriminators: Discriminators::new(model, seed),
            discriminator_optimizer: adam(),
            generator_optimizer: adam(),
            noise: Pcg64::seed_from_u64(seed),
            seed,
        }
    }

    /// Both losses from one forward pass on a batch and the pairs of the latent vectors `z`.
    pub(super) fn losses(&self, batch: &Batch, z: &Tensor) -> CoganLosses {
        let [source, target] = self.generators.pair(z, Mode::Train);
        let d = &self.discriminators;
        let real = [d.source(&batch.source), d.target(&batch.target)];
        let fake = [d.source(&source), d.target(&target)];
        let logits = d.model().classify(&real[0].features, Mode::Train).swap_remove(0);
        let [adversarial, generators] = coupled_losses(
            real.each_ref().map(|output| &output.logits),
            fake.each_ref().map(|output| &output.logits),
        );
        CoganLosses {
            discriminators: adversarial
                + cross_entropy(&logits, &batch.labels) * CLASSES as f32
                + pair_distance(&fake[0].features, &fake[1].features) * DISTANCE as f32,
            generators,
        }
    }

    pub(super) fn step_discriminators(&mut self, found: Gradients) {
        let found = with_weight_decay(found, &self.discriminators, DECAY);
        self.discriminator_optimizer
            .step(&mut self.discriminators, &found);
    }

    pub(super) fn step_generators(&mut self, found: Gradients) {
        let found = with_weight_decay(found, &self.generators, DECAY);
        self.generator_optimizer.step(&mut self.generators, &found);
    }
}

impl Algorithm for Cogan {
    fn step(&mut self, batch: &Batch, _: f64) -> f64 {
        let z = Tensor::randn([batch.source.shape()[0], LATENT], &mut self.noise);
        let losses = self.losses(batch, &z);
        // Both gradients are computed before either network changes.
        let of_discriminators = gradients(&losses.discriminators, &self.discriminators);
        let of_generators = gradients(&losses.generators, &self.generators);
        let loss = f64::from(losses.discriminators.item());
        // Drop the graph before the weights change; otherwise they would be copied.
        drop(losses);
        self.step_discriminators(of_discriminators);
        self.step_generators(of_generators);
        loss
    }

    fn optimizers(&mut self) -> Vec<&mut dyn Optimizer> {
        vec![&mut self.discriminator_optimizer, &mut self.generator_optimizer]
    }

    fn classifier(&self) -> &DomainClassifier {
        self.discriminators.model()
    }

    /// Uses standing statistics of the current weights. In training the generators use batch statistics.
    fn pairs(&mut self) -> Option<[Tensor; 2]> {
        let rng = &mut Pcg64::seed_from_u64(!self.seed);
        let z = Tensor::randn([PAIRS, LATENT], rng);
        let batches = (0..STATISTICS).map(|_| Tensor::randn([PAIRS, LATENT], rng));
        standing_statistics(&mut self.generators, &Condition::None, batches);
        Some(no_grad(|| self.generators.pair(&z, Mode::Eval)))
    }
}
