//! Eigenvalues and eigenvectors of the covariances that FID needs: 256 features, 1280 (MobileNetV2) and 2048 (Inception).
//!
//! `cargo bench -p engraft-benches --bench eigen -- 1280` runs one size.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use engraft_tensor::{Tensor, symmetric_eigen, symmetric_eigenvalues};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::hint::black_box;

/// The covariance of half as many points as features.
fn eigen(c: &mut Criterion) {
    let mut group = c.benchmark_group("eigen");
    group.sample_size(10);
    for n in [256, 1280, 2048] {
        let points = Tensor::<f64>::randn([n / 2, n], &mut Pcg64::seed_from_u64(1));
        let covariance = points.matmul_tn(&points);
        group.bench_function(BenchmarkId::new("values and vectors", n), |b| {
            b.iter(|| symmetric_eigen(black_box(covariance.as_slice()), n));
        });
        group.bench_function(BenchmarkId::new("values", n), |b| {
            b.iter(|| symmetric_eigenvalues(black_box(covariance.as_slice()), n));
        });
    }
    group.finish();
}

criterion_group!(benches, eigen);
criterion_main!(benches);
