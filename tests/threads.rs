//! One seed, one result, on any number of threads.

use engraft_gan::{Gan, StepOrder, dcgan};
use engraft_layers::{Init, Sequential, StateDict};
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
                let reports: Vec<_> = (0..3).map(|_| gan.step(&real, rng)).collect();
                (reports, bytes(&gan.generator), bytes(&gan.discriminator))
            })
        };
        let one = run(1);
        assert!(one == run(2), "2 threads, {order:?}");
        assert!(one == run(5), "5 threads, {order:?}");
    }
}
