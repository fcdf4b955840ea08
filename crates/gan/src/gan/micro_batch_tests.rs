//! Steps with micro-batches against steps of the whole batch.

use super::*;
use crate::augment::{AdaptiveConfig, Augmentation};
use crate::{FeatureMatching, Objective};
use engraft_layers::{
    Adam, BatchNorm, ConditionalBatchNorm, Dense, Dropout, Flatten, GaussianNoise, Init, LeakyReLU, Reshape,
    Slot, Tanh, visit,
};
use engraft_tensor::shards::thread_ranks;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::thread;

const BATCH: usize = 8;
const LABELS: [usize; BATCH] = [2, 0, 1, 2, 2, 1, 0, 0];

/// Small networks with every layer whose result depends on the whole batch, or on a state.
fn networks<T: Real>(inputs: usize, has_norm: bool) -> [Sequential<T>; 2] {
    let init = &mut Init::glorot(3);
    let generator = Sequential::new()
        .add("dense", Dense::new(3, 12, init).no_bias())
        .add("norm", BatchNorm::new(12))
        .add("act", LeakyReLU::new(0.2))
        .add("second", Dense::new(12, 10, init).no_bias())
        .add("classes", ConditionalBatchNorm::new(3, 10))
        .add("drop", Dropout::new(0.1, init))
        .add("last", Dense::new(10, 16, init))
        .add("tanh", Tanh)
        .add("image", Reshape::new([4, 4, 1]));
    let mut discriminator = Sequential::new()
        .add("flat", Flatten)
        .add("noise", GaussianNoise::new(0.05, init))
        .add("dense", Dense::new(16 * inputs, 9, init));
    if has_norm {
        discriminator = discriminator.add("norm", BatchNorm::new(9));
    }
    let discriminator = discriminator
        .add("act", LeakyReLU::new(0.2))
        .add("drop", Dropout::new(0.1, init))
        .add("head", Dense::new(9, 1, init));
    [generator, discriminator]
}

/// Settings that together have everything on.
fn gan<T: Real>(which: usize) -> Gan<T> {
    let packing = if which == 1 { 2 } else { 1 };
    let [generator, discriminator] = networks(packing, which == 0);
    let adam = || Adam::new(2e-3).betas(0.5, 0.99);
    let gan = Gan::new(generator, discriminator, 3)
        .classes(3)
        .optimizers(adam(), adam())
        .seed(5);
    let kinds = vec![
        Augmentation::Brightness,
        Augmentation::Translation,
        Augmentation::Cutout,
        Augmentation::Flip,
    ];
    match which {
        0 => gan
            .objective(ObjectiveConfig {
                label_smoothing: 0.1,
                feature_matching: Some(FeatureMatching {
                    layer: "act".into(),
                    weight: 0.1,
                }),
                ..ObjectiveConfig::default()
            })
            .augment(AugmentConfig {
                kinds,
                probability: None,
                adaptive: Some(AdaptiveConfig {
                    target: 0.01,
                    images: 100,
                    every: 2,
                }),
            }),
        1 => gan
            .objective(ObjectiveConfig {
                packing: 2,
                ..Objective::Relativistic.into()
            })
            .order(StepOrder::Alternating)
            .regularize(RegularizeConfig {
                r1_gamma: 0.5,
                r2_gamma: 0.5,
                interval: 2,
                lecam: 0.3,
                lecam_start: 3,
                spectral_norm: crate::SpectralNorm::Both,
                ..RegularizeConfig::default()
            })
            .augment(AugmentConfig {
                kinds,
                probability: Some(0.6),
                adaptive: None,
            }),
        _ => gan
            .objective(ObjectiveConfig {
                n_critic: 2,
                ..Objective::Wasserstein.into()
            })
            .regularize(RegularizeConfig {
                gradient_penalty: 10.0,
                ..RegularizeConfig::default()
            }),
    }
}

/// All weights and running statistics after some steps, and the numbers of the last report. This rank's images are the part
/// `rank` of `ranks`.
fn trained<T: Real>(mut gan: Gan<T>, steps: usize) -> Vec<T> {
    let (images, noise) = (&mut Pcg64::seed_from_u64(1), &mut Pcg64::seed_from_u64(2));
    let [rank, ranks] = gan.rank_of();
    let critic = gan.loss.objective.n_critic as usize;
    let mut numbers = Vec::new();
    for _ in 0..steps {
        let real = Tensor::<T>::uniform([critic * BATCH, 4, 4, 1], -1.0, 1.0, images);
        let own = BATCH / ranks;
        let parts: Vec<_> = (0..critic).map(|i| i * BATCH + rank * own).collect();
        let images: Vec<_> = parts.iter().map(|&at| real.narrow(0, at, own)).collect();
        let images: Vec<_> = images.iter().collect();
        let labels: Vec<usize> = parts
            .iter()
            .flat_map(|at| &LABELS[at % BATCH..][..own])
            .copied()
            .collect();
        let report = gan.step(&engraft_tensor::concat(&images, 0), labels, noise);
        let losses = [
            report.generator_loss,
            report.discriminator_loss,
            report.penalty,
            report.augment_probability,
            report.real_output,
            report.fake_output,
            report.accuracy,
            report.real_sign,
        ];
        numbers = losses.map(T::from_f64).to_vec();
    }
    for network in [&gan.generator, &gan.discriminator] {
        visit(network, |_, slot| match slot {
            Slot::Parameter(p) => numbers.extend_from_slice(p.tensor().as_slice()),
            Slot::Buffer(b) => numbers.extend_from_slice(b.tensor().as_slice()),
            Slot::Rng(_) => {}
        });
    }
    numbers
}

fn largest_difference<T: Real>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (*a - *b).into_f64().abs());
    differences.fold(0.0, f64::max)
}

#[test]
fn twenty_steps_with_micro_batches_are_those_of_the_whole_batch() {
    for which in 0..3 {
        let whole = trained(gan::<f64>(which), 20);
        assert!(largest_difference(&whole, &trained(gan(which), 19)) > 1e-3);
        for count in [2, 4] {
            let cut = trained(gan(which).micro_batches(count), 20);
            let difference = largest_difference(&whole, &cut);
            assert!(
                difference < 1e-9,
                "settings {which}, {count} micro-batches: {difference}"
            );
        }
    }
}

#[test]
fn ranks_get_the_bits_of_one_process() {
    for which in 0..3 {
        let alone = trained(gan::<f32>(which).micro_batches(4), 3);
        for ranks in [2, 4] {
            thread::scope(|scope| {
                for rank in thread_ranks(ranks) {
                    let alone = &alone;
                    scope.spawn(move || {
                        let found = trained(gan::<f32>(which).distributed(4, Arc::new(rank)), 3);
                        assert!(&found == alone, "settings {which}, {ranks} ranks");
                    });
                }
            });
        }
    }
}

#[test]
#[should_panic(expected = "the batch must split into 3 equal micro-batches")]
fn a_batch_that_cannot_be_cut_is_refused() {
    trained(gan::<f32>(0).micro_batches(3), 1);
}

/// A term that fails in one shard.
struct Failing;

impl LossTerm<f32> for Failing {
    fn for_generator(
        &self,
        _: &Sequential,
        _: &Tensor,
        condition: &Condition<f32>,
        _: &Tensor,
    ) -> Option<Tensor> {
        assert!(condition.labels() != Some(&LABELS[2..4]), "this one");
        None
    }
}

#[test]
#[should_panic(expected = "this one")]
fn a_panic_of_one_micro_batch_is_the_panic_of_the_step() {
    trained(gan(0).micro_batches(4).term(Failing), 1);
}
