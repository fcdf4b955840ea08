//! One training step of the DCGAN: both passes, both gradients, both optimizers. The rate is in images per second.
//!
//! The networks keep training during the measurement, as in a run. The measured time includes drawing the noise of
//! every step.
//!
//! `cargo bench -p engraft-benches --bench training_step -- --quick`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engraft_gan::{Gan, StepOrder, dcgan};
use engraft_layers::{Condition, Init};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::time::Duration;

fn dcgan_step(criterion: &mut Criterion) {
    let [height, width, channels] = dcgan::IMAGE;
    let mut group = criterion.benchmark_group("dcgan step");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    for (name, order) in [
        ("simultaneous", StepOrder::Simultaneous),
        ("alternating", StepOrder::Alternating),
    ] {
        for batch in [16, 64] {
            let rng = &mut Pcg64::seed_from_u64(1);
            let init = &mut Init::glorot(1);
            let networks = (dcgan::generator(init), dcgan::discriminator(init));
            let mut gan = Gan::new(networks.0, networks.1, dcgan::LATENT).order(order);
            let real = Tensor::<f32>::uniform([batch, height, width, channels], -1.0, 1.0, rng);
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::new(name, batch), |b| {
                b.iter(|| gan.step(&real, Condition::None, rng));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, dcgan_step);
criterion_main!(benches);
