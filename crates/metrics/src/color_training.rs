//! Training of a [`ColorClassifier`].

use crate::color_classifier::{ColorClassifier, TRAINED_SIZE};
use engraft_layers::{
    Init, Mode, Module, Optimizer, Reduction, Schedule, Sgd, gradients, softmax_cross_entropy,
};
use engraft_tensor::Tensor;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Batch size.
const BATCH: usize = 128;
/// Highest learning rate. It rises to this in the first fifth of the steps and then falls to 0.
const RATE: f64 = 0.1;
const MOMENTUM: f64 = 0.9;
/// Decoupled from the gradient; with this momentum it is ten times an L2 penalty of 5e-4.
const WEIGHT_DECAY: f64 = 5e-3;
/// Maximum shift of an image along each axis, in pixels.
const SHIFT: i32 = 4;
/// Side of the square that is cut out of each image.
const CUTOUT: usize = 8;

/// Trains a [`ColorClassifier`] on images `[n, 32, 32, 3]` with values in `[-1, 1]` and their classes. Reports each pass
/// and its mean loss.
///
/// Each image is shifted by up to four pixels, mirrored half of the time, and loses a square of 8x8. The optimizer is SGD
/// with momentum and weight decay; its learning rate rises and then falls linearly.
///
/// # Panics
/// If the images have another shape, the number of classes differs from that of images, or there are no images.
#[track_caller]
pub fn train_color_classifier(
    images: &Tensor,
    labels: &[usize],
    epochs: usize,
    seed: u64,
    on_epoch: &mut dyn FnMut(usize, f64),
) -> ColorClassifier {
    let shape = [TRAINED_SIZE, TRAINED_SIZE, 3];
    assert!(
        images.shape() == [labels.len(), shape[0], shape[1], shape[2]] && !labels.is_empty(),
        "train_color_classifier: images must be [n, 32, 32, 3] with n labels and n at least 1, got {:?} and {} labels",
        images.shape(),
        labels.len()
    );
    let classes = labels.iter().max().map_or(1, |most| most + 1);
    let mut classifier = ColorClassifier::new(classes, &mut Init::he(seed));
    let mut rng = Pcg64::seed_from_u64(seed);
    let batch = BATCH.min(labels.len());
    let steps = (epochs * (labels.len() / batch)) as u64;
    let rise = (steps / 5).max(1);
    let fall = Schedule::LinearDecay {
        from: 0,
        to: steps.saturating_sub(rise).max(1),
    };
    let mut sgd = Sgd::new(RATE)
        .momentum(MOMENTUM)
        .weight_decay(WEIGHT_DECAY)
        .schedule(Schedule::Warmup { steps: rise }.then(rise, fall));
    let mut order: Vec<usize> = (0..labels.len()).collect();
    let numbers = shape.iter().product::<usize>();
    for epoch in 1..=epochs {
        order.shuffle(&mut rng);
        let mut total = 0.0;
        for indices in order.chunks_exact(batch) {
            let mut values = Vec::with_capacity(batch * numbers);
            for &i in indices {
                let image = &images.as_slice()[i * numbers..(i + 1) * numbers];
                values.extend(varied(image, &mut rng));
            }
            let chosen: Vec<usize> = indices.iter().map(|&i| labels[i]).collect();
            let x = Tensor::from_vec([batch, shape[0], shape[1], shape[2]], values);
            let loss = softmax_cross_entropy(&classifier.forward(&x, Mode::Train), &chosen, Reduction::Mean);
            let found = gradients(&loss, &classifier);
            total += f64::from(loss.item());
            drop(loss);
            sgd.step(&mut classifier, &found);
        }
        on_epoch(epoch, total / (labels.len() / batch) as f64);
    }
    classifier
}

/// The image shifted, mirrored half of the time, and with a square of gray in it.
fn varied(image: &[f32], rng: &mut Pcg64) -> Vec<f32> {
    let size = TRAINED_SIZE;
    let [down, right] = [(); 2].map(|()| rng.random_range(-SHIFT..=SHIFT) as isize);
    let mirrored = rng.random::<bool>();
    let [top, left] = [(); 2].map(|()| rng.random_range(0..=size - CUTOUT));
    // Pixels from outside are reflected at the border.
    let from = |at: usize, by: isize| {
        let at = (at as isize - by).unsigned_abs();
        if at < size { at } else { 2 * (size - 1) - at }
    };
    let mut out = Vec::with_capacity(image.len());
    for y in 0..size {
        for x in 0..size {
            let is_cut = (top..top + CUTOUT).contains(&y) && (left..left + CUTOUT).contains(&x);
            if is_cut {
                out.extend([0.0; 3]);
                continue;
            }
            let across = if mirrored { size - 1 - x } else { x };
            let at = 3 * (from(y, down) * size + from(across, right));
            out.extend_from_slice(&image[at..at + 3]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{Condition, forward_batched};

    #[test]
    fn a_variation_keeps_pixels_whole() {
        let rng = &mut Pcg64::seed_from_u64(1);
        let image: Vec<f32> = (0..32 * 32).flat_map(|i| [i as f32 + 1.0; 3]).collect();
        for _ in 0..20 {
            let varied = varied(&image, rng);
            assert_eq!(varied.len(), image.len());
            let pixels: Vec<&[f32]> = varied.chunks_exact(3).collect();
            assert!(pixels.iter().all(|p| p[0] == p[1] && p[1] == p[2]));
            assert_eq!(pixels.iter().filter(|p| p[0] == 0.0).count(), CUTOUT * CUTOUT);
        }
    }

    #[test]
    fn it_learns_and_the_seed_decides() {
        // Class 0 is red on the left half, class 1 is blue there.
        let [red, blue, gray] = [[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0], [-0.5; 3]];
        let image = |i: usize| {
            let left = [red, blue][i % 2];
            (0..32 * 32).flat_map(move |p| if p % 32 < 16 { left } else { gray })
        };
        let images = Tensor::from_vec([16, 32, 32, 3], (0..16).flat_map(image).collect());
        let labels: Vec<usize> = (0..16).map(|i| i % 2).collect();
        let mut losses = Vec::new();
        let classifier = train_color_classifier(&images, &labels, 6, 3, &mut |_, loss| losses.push(loss));
        assert!(losses[5] < losses[0] / 2.0, "{losses:?}");
        let logits = forward_batched(&classifier, &images, &Condition::None, 8);
        assert_eq!(logits.shape(), [16, 2]);
        let mut again = Vec::new();
        train_color_classifier(&images, &labels, 6, 3, &mut |_, loss| again.push(loss));
        assert_eq!(losses, again);
    }
}
