//! Images with a frame of zeros, as operands of the inner loop, and which of their pixels meet in a map.

use super::operand::Operand;
use crate::geometry::Geometry;
use crate::kernels::simd::vectorized;
use crate::kernels::tile_product::PANEL;

/// Every `step`-th place of an axis of the written image. They have the same taps.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) first: usize,
    pub(super) step: usize,
    pub(super) count: usize,
    /// Taps of the kernel, each with its offset in the framed image.
    pub(super) taps: Vec<[usize; 2]>,
}

/// One axis of a map from a framed image to a written one.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) places: Vec<Places>,
    /// Framed pixels between two places.
    pub(super) step: usize,
    /// Zeros before the image.
    pub(super) lead: usize,
    /// Pixels of the image, and with its frame. What no place meets is left out.
    pub(super) image: usize,
    pub(super) framed: usize,
}

impl Axis {
    /// The axis of `conv2d`.
    pub(super) fn forward(g: &Geometry, a: usize) -> Self {
        let (stride, dilation, kernel) = (g.stride[a], g.dilation[a], g.kernel[a]);
        Self {
            places: vec![Places {
                first: 0,
                step: 1,
                count: g.output[a],
                taps: (0..kernel).map(|k| [k, k * dilation]).collect(),
            }],
            step: stride,
            lead: g.pad[a],
            image: g.input[a],
            framed: g.output[a].saturating_sub(1) * stride + (kernel - 1) * dilation + 1,
        }
    }

    /// The axis of `conv2d_input`. Inputs at a distance of the stride meet the same taps.
    pub(super) fn input(g: &Geometry, a: usize) -> Self {
        let (stride, dilation, pad) = (g.stride[a] as isize, g.dilation[a] as isize, g.pad[a] as isize);
        let met = |first: usize| {
            (0..g.kernel[a]).filter_map(move |k| {
                let distance = first as isize + pad - k as isize * dilation;
                (distance.rem_euclid(stride) == 0).then(|| (k, distance.div_euclid(stride)))
            })
        };
        let firsts = 0..g.stride[a].min(g.input[a]);
        let count = |first: usize| (g.input[a] - first).div_ceil(g.stride[a]);
        let lead = firsts
            .clone()
            .flat_map(met)
            .map(|(_, shift)| -shift)
            .max()
            .unwrap_or(0)
            .max(0);
        let ends = firsts
            .clone()
            .flat_map(|first| met(first).map(move |(_, shift)| lead + shift + count(first) as isize));
        let framed = ends.max().unwrap_or(1).max(1) as usize;
        let places = firsts.map(|first| Places {
            first,
            step: g.stride[a],
            count: count(first),
            taps: met(first)
                .map(|(k, shift)| [k, (lead + shift) as usize])
                .collect(),
        });
        Self {
            places: places.collect(),
            step: 1,
            lead: lead as usize,
            image: g.output[a],
            framed,
        }
    }

    /// The pixel of the image at a framed place, `None` in the frame.
    fn pixel(&self, framed: usize) -> Option<usize> {
        framed.checked_sub(self.lead).filter(|&pixel| pixel < self.image)
    }
}

/// A framed image for maps whose inner index is the channels: `[framed rows, framed columns, channels / WIDTH]`.
pub(super) fn by_channels<E: Operand>(axes: &[Axis; 2], channels: usize, image: &[f32], out: &mut [E]) {
    let operands = channels.div_ceil(E::WIDTH);
    let width = axes[1].image * channels;
    let line = axes[1].framed * operands;
    vectorized(|| {
        for (row, out) in out.chunks_exact_mut(line).enumerate() {
            let Some(row) = axes[0].pixel(row) else {
                out.fill(E::ZERO);
                continue;
            };
            let image = &image[row * width..][..width];
            for (column, out) in out.chunks_exact_mut(operands).enumerate() {
                let Some(column) = axes[1].pixel(column) else {
                    out.fill(E::ZERO);
                    continue;
                };
                let pixel = &image[column * channels..][..channels];
                if E::WIDTH == 1 {
                    for (out, &x) in out.iter_mut().zip(pixel) {
                        *out = E::pack(x, 0.0);
                    }
                    continue;
                }
                let (whole, rest) = pixel.as_chunks::<2>();
                for (out, &[first, second]) in out.iter_mut().zip(whole) {
                    *out = E::pack(first, second);
                }
                if let (Some(out), Some(&last)) = (out.get_mut(whole.len()), rest.first()) {
                    *out = E::pack(last, 0.0);
                }
            }
        }
    });
}

/// Where the operands of [`by_pixels`] come from.
struct Source<'a> {
    /// The pixel of a row and of a column of operands, `None` in the frame.
    pixel: [&'a dyn Fn(usize) -> Option<usize>; 2],
    /// Columns between two operands, and between the two numbers of one.
    step: usize,
    distance: usize,
    /// Columns and channels of the image.
    width: usize,
    channels: usize,
    image: &'a [f32],
}

/// Operands for a map whose inner index is the pixels, by blocks of [`PANEL`] channels:
/// `[blocks of channels, rows, columns, PANEL]`.
fn by_pixels<E: Operand>([rows, columns]: [usize; 2], source: &Source<'_>, out: &mut [E]) {
    let zeros = [0.0_f32; PANEL];
    let Source {
        pixel,
        step,
        distance,
        width,
        channels,
        image,
    } = *source;
    for (block, out) in out.chunks_exact_mut(rows * columns * PANEL).enumerate() {
        let first = block * PANEL;
        let count = (channels - first).min(PANEL);
        for (row, out) in out.chunks_exact_mut(columns * PANEL).enumerate() {
            let row = pixel[0](row);
            let numbers = |column: usize| match (row, pixel[1](column)) {
                (Some(row), Some(column)) => &image[(row * width + column) * channels + first..][..count],
                _ => &zeros[..count],
            };
            vectorized(|| {
                for (column, out) in out.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
                    let a = numbers(column * step);
                    let b = if E::WIDTH == 1 {
                        a
                    } else {
                        numbers(column * step + distance)
                    };
                    if let (Some(a), Some(b)) = (a.first_chunk::<PANEL>(), b.first_chunk::<PANEL>()) {
                        for j in 0..PANEL {
                            out[j] = E::pack(a[j], b[j]);
                        }
                    } else {
                        out.fill(E::ZERO);
                        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                            *out = E::pack(a, b);
                        }
                    }
                }
            });
        }
    }
}

/// The left operand of the weight gradient: each framed pixel, with the one that the next output meets.
pub(super) fn left_pixels<E: Operand>(axes: &[Axis; 2], channels: usize, image: &[f32], out: &mut [E]) {
    let [rows, columns] = [axes[0].framed, axes[1].framed];
    let inside = |column: usize| axes[1].pixel(column).filter(|_| column < columns);
    let source = Source {
        pixel: [&|row| axes[0].pixel(row), &inside],
        step: 1,
        distance: axes[1].step,
        width: axes[1].image,
        channels,
        image,
    };
    by_pixels([rows, columns], &source, out);
}

/// The right operand of the weight gradient: outputs `WIDTH · j` and the next.
pub(super) fn right_pixels<E: Operand>(
    [rows, columns]: [usize; 2],
    channels: usize,
    image: &[f32],
    out: &mut [E],
) {
    let source = Source {
        pixel: [&Some, &|column| (column < columns).then_some(column)],
        step: E::WIDTH,
        distance: 1,
        width: columns,
        channels,
        image,
    };
    by_pixels([rows, columns.div_ceil(E::WIDTH)], &source, out);
}
