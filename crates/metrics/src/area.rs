//! Reduction of images by area averaging.

use engraft_tensor::Tensor;
use rayon::prelude::*;

/// Reduces images `[n, h, w, c]` to another height and width: a new pixel is the mean of the area that it covers.
///
/// # Panics
/// If the new size is larger.
#[track_caller]
pub(crate) fn area_average(images: &Tensor, to: [usize; 2]) -> Tensor {
    let &[n, h, w, c] = images.shape() else {
        panic!(
            "area_average: images must be [n, h, w, c], got {:?}",
            images.shape()
        )
    };
    assert!(
        to[0] <= h && to[1] <= w,
        "area_average: {h}x{w} cannot be enlarged to {to:?}"
    );
    if to == [h, w] {
        return images.clone();
    }
    let (rows, columns) = (shares(h, to[0]), shares(w, to[1]));
    let line = to[1] * c;
    let mut out = vec![0.0_f32; n * to[0] * line];
    out.par_chunks_exact_mut(line).enumerate().for_each(|(i, out)| {
        let (image, row) = (i / to[0], i % to[0]);
        for &(y, down) in &rows[row] {
            let source = &images.as_slice()[(image * h + y) * w * c..][..w * c];
            for (pixel, parts) in out.chunks_exact_mut(c).zip(&columns) {
                for &(x, across) in parts {
                    let share = down * across;
                    for (sum, value) in pixel.iter_mut().zip(&source[x * c..]) {
                        *sum += share * value;
                    }
                }
            }
        }
    });
    Tensor::from_vec([n, to[0], to[1], c], out)
}

/// For each of the `to` intervals that divide `from` pixels: the pixels that it covers, and their shares.
fn shares(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    (0..to)
        .map(|i| {
            // In units of 1 / to of a pixel, so that the bounds are exact.
            let (start, end) = (i * from, (i + 1) * from);
            (start / to..end.div_ceil(to))
                .map(|pixel| {
                    let covered = end.min((pixel + 1) * to) - start.max(pixel * to);
                    (pixel, covered as f32 / from as f32)
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_is_the_mean_of_its_area() {
        let image = Tensor::from_vec([1, 2, 3, 1], vec![0.0, 3.0, 6.0, 2.0, 5.0, 8.0]);
        let half = area_average(&image, [1, 3]);
        assert_eq!(half.as_slice(), [1.0, 4.0, 7.0]);
        // Three columns to two: 1 + 1/2 pixels each.
        let found = area_average(&image, [2, 2]);
        let expected = [1.0, 5.0, 3.0, 7.0];
        for (found, expected) in found.as_slice().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(area_average(&image, [2, 3]).as_slice(), image.as_slice());
    }

    #[test]
    fn shares_of_an_interval_sum_to_one() {
        for (from, to) in [(64, 32), (50, 32), (33, 32), (255, 32), (7, 1)] {
            for parts in shares(from, to) {
                let sum: f32 = parts.iter().map(|part| part.1).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{from} {to}: {sum}");
            }
        }
    }
}
