//! CoGAN: two coupled GANs, whose discriminators read the classes too.
//!
//! The discriminators minimize, for noise `z` and its pair `(G_S(z), G_T(z))`, the mean of both domains' GAN losses, ten
//! times the cross entropy of the source's classes, and a hundredth of the [distance](pair_distance) of the pair's features.
//! It is they who draw the features of a pair together, as in the authors' code; the generators minimize the non-saturating
//! loss alone.
//!
//! Other than there, one noise and one pass serve both players, who move at the same time; both domains' own layers begin
//! with the same weights; the generators are smaller; and the networks of the discriminators are those of every method here,
//! so the features of a pair are compared where classes and logit part. Each domain's real and each domain's made images
//! are a batch of their own to batch norm.
//!
//! The classifier that is looked at goes the target's way, also where it reads images of the source to be validated.

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
/// Weight of the classes.
const CLASSES: f64 = 10.0;
/// Weight of the distance between the features of a pair.
const DISTANCE: f64 = 0.01;
/// Pairs that are drawn to be looked at.
const PAIRS: usize = 64;
/// Batches of as many latent vectors from which the generators' statistics are taken before.
const STATISTICS: usize = 16;

pub(super) struct Cogan {
    pub(super) discriminators: Discriminators,
    pub(super) generators: Generators,
    discriminator_optimizer: Adam,
    generator_optimizer: Adam,
    noise: Pcg64,
    seed: u64,
}

/// What each player minimizes.
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

    /// Both losses from one pass over a batch and the pairs of the noise.
    pub(super) fn losses(&self, batch: &Batch, z: &Tensor) -> CoganLosses {
        let [source, target] = self.generators.pair(z, Mode::Train);
        let d = &self.discriminators;
        let real = [d.source(&batch.source), d.target(&batch.target)];
        let fake = [d.source(&source), d.target(&target)];
        let logits = d.model().classify(&real[0].features, Mode::Train).swap_remove(0);
        let [game, generators] = coupled_losses(
            real.each_ref().map(|judged| &judged.logits),
            fake.each_ref().map(|judged| &judged.logits),
        );
        CoganLosses {
            discriminators: game
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
        // Both gradients before either moves.
        let of_discriminators = gradients(&losses.discriminators, &self.discriminators);
        let of_generators = gradients(&losses.generators, &self.generators);
        let loss = f64::from(losses.discriminators.item());
        // The graph goes before the weights change: a graph that holds them would cost a copy.
        drop(losses);
        self.step_discriminators(of_discriminators);
        self.step_generators(of_generators);
        loss
    }

    fn classifier(&self) -> &DomainClassifier {
        self.discriminators.model()
    }

    /// The generators are looked at with statistics of their present weights; in training they use the batch's.
    fn pairs(&mut self) -> Option<[Tensor; 2]> {
        let rng = &mut Pcg64::seed_from_u64(!self.seed);
        let z = Tensor::randn([PAIRS, LATENT], rng);
        let batches = (0..STATISTICS).map(|_| Tensor::randn([PAIRS, LATENT], rng));
        standing_statistics(&mut self.generators, &Condition::None, batches);
        Some(no_grad(|| self.generators.pair(&z, Mode::Eval)))
    }
}
