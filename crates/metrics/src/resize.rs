//! Resizing of images by linear interpolation.

use engraft_tensor::Tensor;
use rayon::prelude::*;

/// Resizes images by linear interpolation between the four nearest pixels, also for smaller sizes. Equals PyTorch's
/// `interpolate(mode="bilinear", align_corners=False)` without antialiasing.
pub(crate) fn bilinear(x: &Tensor, to: [usize; 2]) -> Tensor {
    let [n, h, w, c] = [x.shape()[0], x.shape()[1], x.shape()[2], x.shape()[3]];
    // The two neighbors along an axis, and the share of the second.
    let neighbors = |at: usize, from: usize, to: usize| {
        let place = ((at as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let first = (place as usize).min(from - 1);
        (first, (first + 1).min(from - 1), (place - first as f64) as f32)
    };
    let columns: Vec<_> = (0..to[1]).map(|i| neighbors(i, w, to[1])).collect();
    let mut out = vec![0.0; n * to[0] * to[1] * c];
    out.par_chunks_exact_mut(to[1] * c)
        .enumerate()
        .for_each(|(i, line)| {
            let (image, (top, bottom, down)) = (i / to[0], neighbors(i % to[0], h, to[0]));
            let pixel = |y: usize, x_at: usize| &x.as_slice()[((image * h + y) * w + x_at) * c..][..c];
            for (out, &(left, right, across)) in line.chunks_exact_mut(c).zip(&columns) {
                let corners = [
                    pixel(top, left),
                    pixel(top, right),
                    pixel(bottom, left),
                    pixel(bottom, right),
                ];
                for (k, y) in out.iter_mut().enumerate() {
                    let [a, b, c, d] = corners.map(|corner| corner[k]);
                    let (upper, lower) = (a + (b - a) * across, c + (d - c) * across);
                    *y = upper + (lower - upper) * down;
                }
            }
        });
    Tensor::from_vec([n, to[0], to[1], c], out)
}
