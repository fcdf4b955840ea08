//! Convolution without unrolled windows and without transforms, in `f32` or with operands rounded to bfloat16.
//!
//! An image is copied once and framed by zeros. Then every tap reads it at its own offset. How the work is cut does not change
//! the order of a sum, so the bits do not depend on the number of threads.
//!
//! The product of two bfloat16 numbers is exact in `f32`. Therefore a map of rounded operands is defined without regard to the
//! CPU: the sums are those of `f32`.

mod frame;
mod operand;
mod product;

#[cfg(test)]
pub(crate) use operand::bits;
pub(crate) use operand::{Pair, rounded_copy};

use crate::geometry::Geometry;
use crate::kernels::gemm::Accum;
use crate::kernels::pieces::{self, piece};
use crate::kernels::scratch::Scratch;
use crate::kernels::simd::vectorized;
use crate::kernels::tile_product::PANEL;
use frame::{Axis, Places, by_channels, left_pixels, right_pixels};
use product::{Inner, Left, Limits, Multiply, Right, Rows, Target, tile};

/// Operands that the framed images of a piece of work hold, so that they stay in the L2 cache.
const HELD: usize = 1 << 17;
/// Panels of a weight that are packed together, so that whole cache lines are read in order.
const PANELS: usize = 4;

/// `y = conv2d(x, w)`. Sizes as in [`crate::kernels::im2col`].
pub(crate) fn forward<E: Multiply>(
    g: &Geometry,
    [n, c_in, c_out]: [usize; 3],
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
) {
    let axes = [0, 1].map(|a| Axis::forward(g, a));
    let weight = |tap: usize, inner: usize, column: usize| w[(tap * c_in + inner) * c_out + column];
    correlate::<E>(g, &axes, [n, c_in, c_out], g.output, x, &weight, y);
}

/// `dx = conv2d_input(dy, w)`.
pub(crate) fn input<E: Multiply>(
    g: &Geometry,
    [n, c_in, c_out]: [usize; 3],
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
) {
    let axes = [0, 1].map(|a| Axis::input(g, a));
    let weight = |tap: usize, inner: usize, column: usize| w[(tap * c_in + column) * c_out + inner];
    correlate::<E>(g, &axes, [n, c_out, c_in], g.input, dy, &weight, dx);
}

/// The weight as the right operand: `[panel][tap][inner channels / WIDTH][PANEL]`.
fn right_weight<E: Multiply>(
    taps: usize,
    [inner, columns]: [usize; 2],
    weight: &(impl Fn(usize, usize, usize) -> f32 + Sync),
) -> Scratch<E> {
    let depth = inner.div_ceil(E::WIDTH);
    let panel = taps * depth * PANEL;
    let mut out = Scratch::take(columns.div_ceil(PANEL) * panel);
    let pack = |p: usize, out: &mut [E]| {
        for k in 0..taps * depth {
            let (tap, i) = (k / depth, E::WIDTH * (k % depth));
            for (p, out) in (p..).zip(out.chunks_exact_mut(panel)) {
                let first = p * PANEL;
                let count = (columns - first).min(PANEL);
                let out = &mut out[k * PANEL..][..PANEL];
                out[count..].fill(E::ZERO);
                for (j, out) in out[..count].iter_mut().enumerate() {
                    let second = if E::WIDTH > 1 && i + 1 < inner {
                        weight(tap, i + 1, first + j)
                    } else {
                        0.0
                    };
                    *out = E::pack(weight(tap, i, first + j), second);
                }
            }
        }
    };
    pieces::each(&mut out, PANELS * panel, |p, out| {
        vectorized(|| pack(p * PANELS, out))
    });
    out
}

/// The pixels of the written image in one pair of places: offsets in the framed image and in the written one.
fn pixels(
    axes: &[Axis; 2],
    [rows, columns]: [&Places; 2],
    depth: usize,
    width: usize,
    c: usize,
) -> [Vec<usize>; 2] {
    let all = (0..rows.count).flat_map(|y| (0..columns.count).map(move |x| [y, x]));
    let framed = |[y, x]: [usize; 2]| (y * axes[0].step * axes[1].framed + x * axes[1].step) * depth;
    let written =
        |[y, x]: [usize; 2]| ((rows.first + y * rows.step) * width + columns.first + x * columns.step) * c;
    [all.clone().map(framed).collect(), all.map(written).collect()]
}

/// Pixels of the written image with the same taps.
struct Group {
    pixels: [Vec<usize>; 2],
    segments: Vec<[usize; 2]>,
}

/// Writes images `[n, size, c_out]` from images with `c_in` channels.
fn correlate<E: Multiply>(
    g: &Geometry,
    axes: &[Axis; 2],
    [n, c_in, c_out]: [usize; 3],
    size: [usize; 2],
    from: &[f32],
    weight: &(impl Fn(usize, usize, usize) -> f32 + Sync),
    to: &mut [f32],
) {
    let written = size[0] * size[1] * c_out;
    let image = axes[0].image * axes[1].image * c_in;
    if n * written == 0 {
        return;
    }
    if image == 0 {
        return to.fill(0.0);
    }
    let depth = c_in.div_ceil(E::WIDTH);
    let mut groups = Vec::new();
    for rows in &axes[0].places {
        for columns in &axes[1].places {
            let mut segments = Vec::with_capacity(rows.taps.len() * columns.taps.len());
            for &[ky, y] in &rows.taps {
                for &[kx, x] in &columns.taps {
                    let tap = ky * g.kernel[1] + kx;
                    segments.push([(y * axes[1].framed + x) * depth, tap * depth * PANEL]);
                }
            }
            groups.push(Group {
                pixels: pixels(axes, [rows, columns], depth, size[1], c_out),
                segments,
            });
        }
    }
    let framed = axes[0].framed * axes[1].framed * depth;
    let for_every_thread = n.div_ceil(rayon::current_num_threads());
    let images = (HELD / framed).clamp(1, for_every_thread);
    let weight = right_weight::<E>(g.taps(), [c_in, c_out], weight);
    let panel = g.taps() * depth * PANEL;
    pieces::each(to, images * written, |i, to| {
        let from = piece(from, images * image, i);
        let mut frames = Scratch::take(from.len() / image * framed);
        for (from, frame) in from.chunks_exact(image).zip(frames.chunks_exact_mut(framed)) {
            by_channels::<E>(axes, c_in, from, frame);
        }
        let width = Limits::of_this_cpu().panels * PANEL;
        for first in (0..c_out).step_by(width) {
            let right = Right {
                data: &weight,
                start: first / PANEL * panel,
                panel,
            };
            let columns = (c_out - first).min(width);
            for (to, frame) in to.chunks_exact_mut(written).zip(frames.chunks_exact(framed)) {
                for group in &groups {
                    columns_of(group, depth, frame, right, to, first, columns);
                }
            }
        }
    });
}

/// A few panels of all pixels of a group.
fn columns_of<E: Multiply>(
    group: &Group,
    depth: usize,
    frame: &[E],
    right: Right<'_, E>,
    to: &mut [f32],
    first: usize,
    columns: usize,
) {
    let [framed, written] = &group.pixels;
    // All tiles have nearly the same number of rows.
    let most = Limits::of_this_cpu().rows;
    let rows = framed.len().div_ceil(framed.len().div_ceil(most).max(1)).max(1);
    let inner = Inner::new(&group.segments, depth);
    for (framed, written) in framed.chunks(rows).zip(written.chunks(rows)) {
        let left = Left {
            data: frame,
            rows: Rows::At(framed),
            step: 1,
        };
        let target = Target {
            data: &mut to[first..],
            rows: written,
            columns,
        };
        tile(inner, left, right, target, Accum::Replace);
    }
}

/// `dw = conv2d_weight(x, dy)`.
pub(crate) fn weight<E: Multiply>(
    g: &Geometry,
    [n, c_in, c_out]: [usize; 3],
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let axes = [0, 1].map(|a| Axis::forward(g, a));
    let image = g.input[0] * g.input[1] * c_in;
    let written = g.positions() * c_out;
    if dw.is_empty() || n * image * written == 0 {
        return dw.fill(0.0);
    }
    let [blocks, panels] = [c_in, c_out].map(|c| c.div_ceil(PANEL));
    let block = axes[0].framed * axes[1].framed * PANEL;
    let depth = g.output[1].div_ceil(E::WIDTH);
    let panel = g.output[0] * depth * PANEL;
    let [left_image, right_image] = [blocks * block, panels * panel];
    let images = (HELD / right_image).clamp(1, n);
    let mut left = Scratch::take(images * left_image);
    let mut right = Scratch::take(images * right_image);
    for (round, (x, dy)) in x
        .chunks(images * image)
        .zip(dy.chunks(images * written))
        .enumerate()
    {
        let count = x.len() / image;
        let (left_filled, right_filled) =
            (&mut left[..count * left_image], &mut right[..count * right_image]);
        pieces::each_of_two(
            (left_filled, left_image),
            (right_filled, right_image),
            |i, left, right| {
                left_pixels::<E>(&axes, c_in, piece(x, image, i), left);
                right_pixels::<E>(g.output, c_out, piece(dy, written, i), right);
            },
        );
        let (left, right) = (&left[..], &right[..]);
        let lines = (0..count).flat_map(|i| (0..g.output[0]).map(move |y| [i, y]));
        let segments: Vec<[usize; 2]> = lines
            .map(|[i, y]| {
                [
                    i * left_image + y * g.stride[0] * axes[1].framed * PANEL,
                    i * right_image + y * depth * PANEL,
                ]
            })
            .collect();
        let inner = Inner::new(&segments, depth);
        let accum = if round == 0 { Accum::Replace } else { Accum::Add };
        let mut parts: Vec<(usize, usize, &mut [f32])> = Vec::with_capacity(g.taps() * blocks);
        for (tap, dw) in dw.chunks_exact_mut(c_in * c_out).enumerate() {
            parts.extend(
                dw.chunks_mut(PANEL * c_out)
                    .enumerate()
                    .map(|(b, dw)| (tap, b, dw)),
            );
        }
        pieces::each(&mut parts, 1, |_, part| {
            let (tap, b, dw) = &mut part[0];
            let (tap, b) = (*tap, *b);
            let [y, x] = [
                tap / g.kernel[1] * g.dilation[0],
                tap % g.kernel[1] * g.dilation[1],
            ];
            let start = b * block + (y * axes[1].framed + x) * PANEL;
            let all: [usize; PANEL] = std::array::from_fn(|i| i * c_out);
            let all = &all[..dw.len() / c_out];
            let Limits {
                neighbors,
                panels: width,
                ..
            } = Limits::of_this_cpu();
            for first in (0..panels).step_by(width) {
                for (i, rows) in all.chunks(neighbors).enumerate() {
                    let left = Left {
                        data: left,
                        rows: Rows::Contiguous(start + i * neighbors, rows.len()),
                        step: E::WIDTH * g.stride[1] * PANEL,
                    };
                    let right = Right {
                        data: right,
                        start: first * panel,
                        panel,
                    };
                    let target = Target {
                        data: &mut dw[first * PANEL..],
                        rows,
                        columns: (c_out - first * PANEL).min(width * PANEL),
                    };
                    tile(inner, left, right, target, accum);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference::{geometries, maps, values};
    use proptest::prelude::*;

    fn single(x: Vec<f64>) -> Vec<f32> {
        x.into_iter().map(|x| x as f32).collect()
    }

    /// The largest errors of the three maps relative to the largest number, against the definition in `f64` for the
    /// operands, rounded if `E` rounds them.
    fn errors<E: Multiply>(g: &Geometry, n: usize, [c_in, c_out]: [usize; 2]) -> [f64; 3] {
        let operands = [
            values(n * g.input[0] * g.input[1] * c_in, 1),
            values(g.taps() * c_in * c_out, 2),
            values(n * g.positions() * c_out, 3),
        ]
        .map(single);
        let exact: Vec<Vec<f64>> = operands
            .iter()
            .map(|x| {
                let rounded = if E::WIDTH == 1 {
                    x.clone()
                } else {
                    rounded_copy(x).to_vec()
                };
                rounded.into_iter().map(f64::from).collect()
            })
            .collect();
        let wanted = maps(g, n, [c_in, c_out], [&exact[0], &exact[1], &exact[2]]);
        let [x, w, dy] = &operands;
        let mut found = [dy, x, w].map(|like| vec![f32::NAN; like.len()]);
        let sizes = [n, c_in, c_out];
        let [y, dx, dw] = &mut found;
        forward::<E>(g, sizes, x, w, y);
        input::<E>(g, sizes, dy, w, dx);
        weight::<E>(g, sizes, x, dy, dw);
        std::array::from_fn(|i| {
            let largest = wanted[i].iter().fold(1e-30_f64, |a, b| a.max(b.abs()));
            let depth = found[i].iter().zip(&wanted[i]);
            depth
                .map(|(&f, w)| (f64::from(f) - w).abs() / largest)
                .fold(0.0, f64::max)
        })
    }

    proptest! {
        #[test]
        fn the_three_maps_equal_the_definition(
            g in geometries(1..17),
            n in 1_usize..4,
            c_in in prop_oneof![1_usize..5, 15_usize..20, 30_usize..35],
            c_out in prop_oneof![1_usize..5, 15_usize..20, 30_usize..50],
        ) {
            let found = errors::<f32>(&g, n, [c_in, c_out]);
            prop_assert!(found.iter().all(|&e| e < 5e-6), "{:?} for {:?}", found, g);
            let found = errors::<Pair>(&g, n, [c_in, c_out]);
            prop_assert!(found.iter().all(|&e| e < 5e-6), "{:?} for {:?}, rounded", found, g);
        }
    }
}
