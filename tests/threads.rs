//! The same seed gives the same result on any number of threads.

use engraft_gan::augment::Augmentation;
use engraft_gan::{AugmentConfig, Gan, Objective, RegularizeConfig, SpectralNorm, StepOrder, dcgan};
use engraft_layers::{Condition, Conv2d, Dense, Flatten, Init, LeakyReLU, Sequential, StateDict};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;

fn bytes(module: &Sequential) -> Vec<u8> {
    StateDict::of(module).to_bytes().unwrap()
}

#[test]
fn training_gives_the_same_bytes_on_1_2_and_5_threads() {
    for order in [StepOrder::Simultaneous, StepOrder::Alternating] {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let init = &mut Init::glorot(3);
                let pair = (dcgan::generator(init), dcgan::discriminator(init));
                let mut gan = Gan::<f32>::new(pair.0, pair.1, dcgan::LATENT).order(order);
                let rng = &mut Pcg64::seed_from_u64(3);
                let real = Tensor::uniform([12, 28, 28, 1], -1.0, 1.0, rng);
                let reports: Vec<_> = (0..3).map(|_| gan.step(&real, Condition::None, rng)).collect();
                (reports, bytes(&gan.generator), bytes(&gan.discriminator))
            })
        };
        let one = run(1);
        assert!(one == run(2), "2 threads, {order:?}");
        assert!(one == run(5), "5 threads, {order:?}");
    }
}

/// The same for second-order penalties, augmentation and spectral normalization.
#[test]
fn regularized_training_gives_the_same_bytes_on_1_and_3_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let init = &mut Init::glorot(3);
            let discriminator = Sequential::<f32>::new()
                .add("conv", Conv2d::new(1, 16, 5, init).stride(2).same())
                .add("act", LeakyReLU::new(0.2))
                .add("second", Conv2d::new(16, 32, 5, init).stride(2).same())
                .add("bent", LeakyReLU::new(0.2))
                .add("flat", Flatten)
                .add("head", Dense::new(7 * 7 * 32, 1, init));
            let mut gan = Gan::new(dcgan::generator(init), discriminator, dcgan::LATENT)
                .objective(Objective::Relativistic)
                .regularize(RegularizeConfig {
                    r1_gamma: 1.0,
                    r2_gamma: 1.0,
                    interval: 2,
                    spectral_norm: SpectralNorm::Discriminator,
                    ..RegularizeConfig::default()
                })
                .augment(AugmentConfig {
                    kinds: vec![Augmentation::Translation, Augmentation::Contrast],
                    ..AugmentConfig::default()
                });
            let rng = &mut Pcg64::seed_from_u64(3);
            let real = Tensor::uniform([12, 28, 28, 1], -1.0, 1.0, rng);
            let reports: Vec<_> = (0..3).map(|_| gan.step(&real, Condition::None, rng)).collect();
            (reports, bytes(&gan.generator), bytes(&gan.discriminator))
        })
    };
    assert!(run(1) == run(3));
}
