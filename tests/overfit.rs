//! Training works: a GAN on four images soon generates these four.

use engraft_gan::{Gan, dcgan};
use engraft_layers::{Adam, Condition, Init, Mode, Module};
use engraft_tensor::{Tensor, no_grad};
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Four images that have little in common: bars, upright, across and along both diagonals.
fn four_images() -> Tensor {
    let lit = |image: usize, y: usize, x: usize| match image {
        0 => (11..17).contains(&x),
        1 => (11..17).contains(&y),
        2 => x.abs_diff(y) < 4,
        _ => x.abs_diff(27 - y) < 4,
    };
    let mut pixels = Vec::new();
    for (image, y, x) in (0..4).flat_map(|i| (0..28).flat_map(move |y| (0..28).map(move |x| (i, y, x)))) {
        pixels.push(if lit(image, y, x) { 1.0 } else { -1.0 });
    }
    Tensor::from_vec([4, 28, 28, 1], pixels)
}

/// Mean squared difference of two images.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / a.len() as f32
}

#[test]
fn four_images_are_learned() {
    let real = four_images();
    let init = &mut Init::glorot(1);
    let adam = || Adam::new(1e-3).betas(0.5, 0.999);
    let mut gan = Gan::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT)
        .optimizers(adam(), adam());
    let rng = &mut Pcg64::seed_from_u64(1);
    // Each image twice, so that batch norm has a larger batch.
    let batch = engraft_tensor::concat(&[&real; 2], 0);
    for _ in 0..200 {
        assert!(gan.step(&batch, Condition::None, rng).is_finite());
    }
    let z = gan.noise(32, rng);
    let generated = no_grad(|| gan.generator.forward(&z, Mode::Train));
    let (mut mean, mut nearest_counts) = (0.0, [0; 4]);
    for image in generated.as_slice().chunks_exact(784) {
        let distances: Vec<f32> = real
            .as_slice()
            .chunks_exact(784)
            .map(|r| distance(image, r))
            .collect();
        let nearest = (0..4)
            .min_by(|&a, &b| distances[a].total_cmp(&distances[b]))
            .unwrap();
        mean += distances[nearest] / 32.0;
        nearest_counts[nearest] += 1;
    }
    // It is 1.3 before training, and 0.9 for uniform gray images.
    assert!(
        mean < 0.45,
        "mean distance to the nearest image {mean}, nearest {nearest_counts:?}"
    );
    let reached = nearest_counts.iter().filter(|&&n| n > 0).count();
    assert!(reached >= 3, "nearest {nearest_counts:?}");
}
