//! The three maps of every convolution of the DCGAN, and of some larger ones, by each algorithm: value, gradient of the
//! input, gradient of the weight. `cargo bench -p engraft-benches -- winograd` runs one algorithm. `chosen` is what training
//! uses in `f32`.
//!
//! Criterion prints multiply-adds per second. They are counted for a product of unrolled windows, so an algorithm that
//! needs fewer multiplications shows a higher rate.
//!
//! `cargo bench -p engraft-benches --bench convolution -- --quick` takes one or two minutes. With
//! `-- 'transposed 256'` it runs one layer.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use engraft_tensor::{
    ConvAlgorithm, Geometry, Padding, Precision, Tensor, conv2d, conv2d_input, conv2d_weight,
    with_conv_algorithm, with_precision,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::hint::black_box;

const BATCH: usize = 64;
const KERNEL: [usize; 2] = [5, 5];
const ALGORITHMS: [(&str, Option<ConvAlgorithm>, Precision); 5] = [
    ("chosen", None, Precision::F32),
    ("im2col", Some(ConvAlgorithm::Im2col), Precision::F32),
    ("winograd", Some(ConvAlgorithm::Winograd), Precision::F32),
    ("direct", Some(ConvAlgorithm::Direct), Precision::F32),
    ("bf16", None, Precision::Bf16),
];

/// One layer and the tensors of its three maps, named as in `small = conv2d(large, weight)`.
struct Layer {
    geometry: Geometry,
    large: Tensor,
    weight: Tensor,
    small: Tensor,
}

impl Layer {
    fn new(geometry: Geometry, batch: usize, large_channels: usize, small_channels: usize) -> Self {
        let rng = &mut Pcg64::seed_from_u64(1);
        let ([h, w], [oh, ow], [kh, kw]) = (geometry.input, geometry.output, geometry.kernel);
        Self {
            geometry,
            large: Tensor::randn([batch, h, w, large_channels], rng),
            weight: Tensor::randn([kh, kw, large_channels, small_channels], rng),
            small: Tensor::randn([batch, oh, ow, small_channels], rng),
        }
    }

    /// Multiply-adds of each of the three maps.
    fn multiply_adds(&self) -> u64 {
        (self.small.len() * self.weight.len() / self.small.shape()[3]) as u64
    }

    fn to_small(&self) -> Tensor {
        conv2d(&self.large, &self.weight, &self.geometry)
    }

    fn to_large(&self) -> Tensor {
        conv2d_input(&self.small, &self.weight, &self.geometry)
    }

    fn to_weight(&self) -> Tensor {
        conv2d_weight(&self.large, &self.small, &self.geometry)
    }
}

type Map = fn(&Layer) -> Tensor;

fn bench(criterion: &mut Criterion, name: &str, layer: &Layer, maps: [(&str, Map); 3]) {
    let mut group: BenchmarkGroup<'_, WallTime> = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(layer.multiply_adds()));
    group.sample_size(20);
    for (map_name, map) in maps {
        for (algorithm_name, algorithm, precision) in ALGORITHMS {
            group.bench_function(format!("{map_name}, {algorithm_name}"), |b| {
                with_precision(precision, || match algorithm {
                    Some(algorithm) => with_conv_algorithm(algorithm, || b.iter(|| map(black_box(layer)))),
                    None => b.iter(|| map(black_box(layer))),
                });
            });
        }
    }
    group.finish();
}

/// A layer of the generator reads the small image.
fn transposed(criterion: &mut Criterion, c_in: usize, c_out: usize, size: usize, stride: usize) {
    let steps = [stride, stride];
    let geometry = Geometry::transposed([size, size], KERNEL, steps, [1, 1], Padding::Same, [0, 0]);
    let layer = Layer::new(geometry, BATCH, c_out, c_in);
    let name = format!("transposed {c_in} to {c_out}, {size} to {}", geometry.input[0]);
    let maps: [(&str, Map); 3] = [
        ("forward", Layer::to_large),
        ("input", Layer::to_small),
        ("weight", Layer::to_weight),
    ];
    bench(criterion, &name, &layer, maps);
}

/// A layer of the discriminator reads the large image.
fn plain(criterion: &mut Criterion, c_in: usize, c_out: usize, size: usize, stride: usize) {
    let steps = [stride, stride];
    let geometry = Geometry::forward([size, size], KERNEL, steps, [1, 1], Padding::Same);
    let layer = Layer::new(geometry, BATCH, c_in, c_out);
    let name = format!("plain {c_in} to {c_out}, {size} to {}", geometry.output[0]);
    let maps: [(&str, Map); 3] = [
        ("forward", Layer::to_small),
        ("input", Layer::to_large),
        ("weight", Layer::to_weight),
    ];
    bench(criterion, &name, &layer, maps);
}

fn generator(criterion: &mut Criterion) {
    transposed(criterion, 256, 128, 7, 1);
    transposed(criterion, 128, 64, 7, 2);
    transposed(criterion, 64, 1, 14, 2);
}

fn discriminator(criterion: &mut Criterion) {
    plain(criterion, 1, 64, 28, 2);
    plain(criterion, 64, 128, 14, 2);
}

/// Growth of the cost with channels and image size, starting at the discriminator's second layer.
fn growth(criterion: &mut Criterion) {
    plain(criterion, 32, 64, 14, 2);
    plain(criterion, 128, 256, 14, 2);
    plain(criterion, 64, 128, 28, 2);
    plain(criterion, 64, 128, 56, 2);
}

/// Layers of networks for 64 to 256 pixels: images, size, channels, kernel, stride.
fn pictures(criterion: &mut Criterion) {
    for (images, size, [c_in, c_out], kernel, stride) in [
        (32, 64, [64, 64], 3, 1),
        (32, 32, [128, 128], 3, 1),
        (32, 16, [256, 256], 3, 1),
        (32, 8, [512, 512], 3, 1),
        (32, 4, [512, 512], 3, 1),
        (32, 64, [64, 128], 4, 2),
        (32, 32, [128, 256], 4, 2),
        (32, 16, [256, 512], 4, 2),
        (32, 64, [3, 64], 4, 2),
        (16, 32, [128, 128], 1, 1),
        (8, 128, [32, 32], 3, 1),
        (8, 256, [16, 16], 3, 1),
    ] {
        let geometry = Geometry::forward(
            [size, size],
            [kernel, kernel],
            [stride, stride],
            [1, 1],
            Padding::Same,
        );
        let layer = Layer::new(geometry, images, c_in, c_out);
        let name =
            format!("picture {images} of {size}, {c_in} to {c_out}, {kernel}x{kernel} stride {stride}");
        let maps: [(&str, Map); 3] = [
            ("forward", Layer::to_small),
            ("input", Layer::to_large),
            ("weight", Layer::to_weight),
        ];
        bench(criterion, &name, &layer, maps);
    }
}

criterion_group!(benches, generator, discriminator, growth, pictures);
criterion_main!(benches);
