//! `interpolation.png`: images along a closed path through the latent space, as an animation.

use super::animation;
use super::embedded::{Pixels, encoded};
use super::image_grid::sample_grid;
use super::page::Picture;
use engraft_tensor::Tensor;
use std::f64::consts::TAU;

/// Duration of a frame, in hundredths of a second.
const DELAYS: [u16; 2] = [12, 12];
/// Most frames.
const MAX_FRAMES: usize = 24;
/// Maximum size of the embedded animation, in bytes.
const MAX_BYTES: usize = 460 << 10;

/// Number of paths and of frames for images with this side: fewer of large images, so that the file stays small.
pub fn interpolation_size(side: usize) -> [usize; 2] {
    match side {
        0..=32 => [8, MAX_FRAMES],
        33..=64 => [4, 20],
        65..=128 => [2, 16],
        _ => [1, 16],
    }
}

/// An animated PNG file of closed paths through the latent space: a circle through two latent vectors for each image.
///
/// A circle through two independent normal vectors keeps their length, as slerp does, and ends where it starts.
///
/// - `ends`: two tensors of latent vectors `[n, latent]`, one path for each row.
/// - `frames`: number of frames; see [`interpolation_size`].
/// - `generate`: images `[n, h, w, c]` of latent vectors `[n, latent]`.
///
/// `None` without frames, or if the images have more than 4 channels.
pub fn interpolation_png(
    [from, to]: [&Tensor; 2],
    frames: usize,
    generate: &mut dyn FnMut(&Tensor) -> Tensor,
) -> Option<Vec<u8>> {
    let n = from.shape()[0];
    let frames: Option<Vec<Pixels>> = (0..frames)
        .map(|frame| {
            let (sine, cosine) = (TAU * frame as f64 / frames as f64).sin_cos();
            let images = generate(&(from * cosine as f32 + to * sine as f32));
            let fits = images.shape().len() == 4 && images.shape()[3] <= 4;
            Pixels::decode(&fits.then(|| sample_grid(&images, n.min(4)))?)
        })
        .collect();
    encoded(&frames?, DELAYS)
}

/// The animation for the report.
pub(super) fn picture(file: &[u8], caption: &str) -> Option<Picture> {
    let frames = Pixels::decode_frames(file, MAX_FRAMES)?;
    let frames: Vec<Pixels> = frames.into_iter().map(Pixels::unenlarged).collect();
    let is_uniform = frames.iter().all(|frame| frame.width == frames[0].width);
    is_uniform.then(|| animation::picture(&frames, DELAYS, MAX_BYTES, caption))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_passes_both_vectors_and_returns() {
        let [a, b] = [[1.0, 0.5], [-1.0, 0.25]].map(|v: [f32; 2]| Tensor::from_vec([1, 2], v.to_vec()));
        let mut seen = Vec::new();
        let file = interpolation_png([&a, &b], 4, &mut |z| {
            seen.push(z.as_slice().to_vec());
            z.narrow(1, 0, 1).reshape([1, 1, 1, 1])
        });
        let near = |x: &[f32], y: &[f32]| x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-6);
        assert!(near(&seen[0], a.as_slice()) && near(&seen[1], b.as_slice()));
        assert!(near(&seen[2], (-&a).as_slice()));
        let found = picture(&file.unwrap(), "a path").unwrap();
        let frames = Pixels::decode_frames(&found.png, 10).unwrap();
        assert_eq!(frames.len(), 4);
        assert_eq!((frames[0].width, found.size), (5, [10, 10]));
        let middle = |i: usize| frames[i].bytes[2 * 5 + 2];
        assert_eq!([middle(0), middle(1)], [255, 0]);
    }

    #[test]
    fn what_is_no_picture_has_no_animation() {
        let z = Tensor::zeros([1, 2]);
        assert_eq!(
            interpolation_png([&z, &z], 2, &mut |_| Tensor::zeros([1, 1, 1, 7])),
            None
        );
        assert_eq!(picture(b"no picture", ""), None);
    }
}
