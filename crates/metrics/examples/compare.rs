//! FID, KID and memorization of two sets of images against real ones, on random features.
//!
//! `cargo run -p engraft-metrics --example compare`

use engraft_data::{Dataset, Split, drawn_digits};
use engraft_metrics::{
    FeatureExtractor, Features, MetricsError, RandomFeatures, frechet_distance, kernel_distance,
    memorized_share, read_fitted,
};
use engraft_tensor::Tensor;
use rand::SeedableRng;

const COUNT: usize = 40;

/// The images of a data set, `[n, 28, 28, 1]` with values from -1 to 1.
fn tensor(data: &Dataset) -> Tensor {
    let all: Vec<usize> = (0..data.len()).collect();
    Tensor::from_vec([data.len(), 28, 28, 1], data.batch_f32(&all))
}

/// The features of images. Gray 28x28 images are converted to the extractor's input, RGB of 32x32.
fn features(extractor: &RandomFeatures, images: &Tensor) -> Result<Features, MetricsError> {
    let (output, _fit) = read_fitted(extractor, images)?;
    Ok(output.features)
}

/// Runs the example.
pub(crate) fn main() -> Result<(), MetricsError> {
    let extractor = RandomFeatures::for_size(32);
    // Results with another extractor are not comparable, so report which one was used.
    println!("features: {} ({}..)", extractor.name(), &extractor.hash()[..12]);

    // Real images: the training images, and others that were not used for training.
    let train = tensor(&drawn_digits(Split::Train, COUNT, 1));
    let held_out = features(&extractor, &tensor(&drawn_digits(Split::Test, COUNT, 1)))?;

    // Two "generators": one that adds noise to new digits, and one that copies the training images.
    let noise = Tensor::randn([COUNT, 28, 28, 1], &mut rand_pcg::Pcg64::seed_from_u64(1)) * 0.3;
    let noisy = tensor(&drawn_digits(Split::Test, COUNT, 2)) + noise;
    let noisy = features(&extractor, &noisy)?;
    let copies = features(&extractor, &train)?;
    let train = features(&extractor, &train)?;

    let mut kids = Vec::new();
    for (name, generated) in [("noisy", &noisy), ("copies", &copies)] {
        let fid = frechet_distance(&held_out, generated)?;
        let kid = kernel_distance(&held_out, generated)?;
        let memorized = memorized_share(&train, &held_out, generated)?;
        println!(
            "{name:<7} FID {fid:6.2}   KID {:7.4} ± {:.4}   memorized {memorized:.2}",
            kid.value, kid.standard_error
        );
        kids.push((kid.value, memorized));
    }
    // Noise increases the distance. Copies look perfect to FID and KID, so memorization is measured separately.
    assert!(kids[0].0 > kids[1].0);
    assert!(kids[0].1 < 0.5 && kids[1].1 == 1.0);
    Ok(())
}
