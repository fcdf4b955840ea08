//! Convolution by its definition, the reference in tests of the algorithms.

use crate::geometry::{Geometry, Padding};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use std::ops::Range;

/// Calls `f(x index, w index, y index)` for every product in the definition of a convolution.
pub(crate) fn products(
    g: &Geometry,
    n: usize,
    c_in: usize,
    c_out: usize,
    mut f: impl FnMut(usize, usize, usize),
) {
    for (image, oy) in (0..n).flat_map(|i| (0..g.output[0]).map(move |o| (i, o))) {
        for (ox, tap) in (0..g.output[1]).flat_map(|o| (0..g.taps()).map(move |t| (o, t))) {
            let (ky, kx) = (tap / g.kernel[1], tap % g.kernel[1]);
            let (Some(iy), Some(ix)) = (g.input_index(0, oy, ky), g.input_index(1, ox, kx)) else {
                continue;
            };
            for (i, o) in (0..c_in).flat_map(|i| (0..c_out).map(move |o| (i, o))) {
                let pixel = (image * g.input[0] + iy) * g.input[1] + ix;
                let position = (image * g.output[0] + oy) * g.output[1] + ox;
                f(
                    pixel * c_in + i,
                    (tap * c_in + i) * c_out + o,
                    position * c_out + o,
                );
            }
        }
    }
}

/// The three maps by their definition, in `f64`: `[y, dx, dw]`.
pub(crate) fn maps(
    g: &Geometry,
    n: usize,
    [c_in, c_out]: [usize; 2],
    [x, w, dy]: [&[f64]; 3],
) -> [Vec<f64>; 3] {
    let [mut y, mut dx, mut dw] = [dy, x, w].map(|like| vec![0.0; like.len()]);
    products(g, n, c_in, c_out, |i, k, o| {
        y[o] += x[i] * w[k];
        dx[i] += dy[o] * w[k];
        dw[k] += dy[o] * x[i];
    });
    [y, dx, dw]
}

/// Independent standard normal numbers.
pub(crate) fn values(count: usize, seed: u64) -> Vec<f64> {
    let rng = &mut Pcg64::seed_from_u64(seed);
    (0..count).map(|_| StandardNormal.sample(rng)).collect()
}

/// Geometries with images of these sizes and any kernel, stride, dilation and padding.
pub(crate) fn geometries(sizes: Range<usize>) -> impl Strategy<Value = Geometry> {
    let pair = |r: Range<usize>| [r.clone(), r];
    (
        pair(sizes),
        pair(1..6),
        pair(1..4),
        pair(1..3),
        0..3_usize,
        any::<[bool; 2]>(),
    )
        .prop_filter_map(
            "the kernel must fit",
            |(input, kernel, stride, dilation, pad, [same, uneven])| {
                let padding = match (same, uneven) {
                    (true, _) => Padding::Same,
                    (_, false) => Padding::Symmetric([pad, pad]),
                    (_, true) => Padding::Explicit([pad, 0, 1, pad]),
                };
                let fits = (0..2).all(|a| (kernel[a] - 1) * dilation[a] < input[a]);
                fits.then(|| Geometry::forward(input, kernel, stride, dilation, padding))
            },
        )
}
