//! The gradient of a weight.
#![allow(unsafe_code)]

use super::WIDE;
use super::axis::{rectangles, sizes};
use super::pack::Pixels;
use super::product::{BLOCK, Block, DEPTH, Output, Place, SIDE, Segments, Shape, Tile, Unit};
use crate::geometry::Geometry;
use crate::kernels::gemm::Accum;
use crate::kernels::pieces;
use crate::kernels::scratch::Scratch;
use std::ops::Range;

/// Tiles of both operands for a pair of panels, so that they stay in the L2 cache: 1.3 MB of the 2 MB of the CPUs with
/// AMX. Less in tests, so that they cut their small layers.
const HELD: usize = if cfg!(test) { 80 } else { 1300 };

/// `dw = conv2d_weight(x, dy)`. Sizes as in [`crate::kernels::im2col`].
///
/// The inner index of a tile is 32 images at one pixel, or fewer images at some neighboring pixels.
pub(super) fn weight<U: Unit, const PARTS: usize>(
    g: &Geometry,
    [n, c_in, c_out]: [usize; 3],
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let image = g.input[0] * g.input[1] * c_in;
    let written = g.positions() * c_out;
    if dw.is_empty() || n * image * written == 0 {
        return dw.fill(0.0);
    }
    let layer = Layer::new::<PARTS>(g, n, c_in, c_out);
    let chunks = n.div_ceil(layer.group);
    let frame = layer.chunks * layer.frame[0] * layer.frame[1];
    let pixels = layer.chunks * layer.rectangle[0] * layer.rectangle[1];
    let [blocks, panels] = [c_in, c_out].map(|c| c.div_ceil(WIDE));
    let mut left = Scratch::take(blocks * frame * layer.operand);
    let mut right = Scratch::take(panels * pixels * layer.operand);
    let to = Output::new(dw);
    pieces::series(|| {
        let mut accum = Accum::Replace;
        for first in (0..chunks).step_by(layer.chunks) {
            for top in (0..g.output[0]).step_by(layer.rectangle[0]) {
                for start in (0..layer.columns).step_by(layer.rectangle[1]) {
                    let round = Round {
                        chunks: first..(first + layer.chunks).min(chunks),
                        rows: top..(top + layer.rectangle[0]).min(g.output[0]),
                        columns: start..(start + layer.rectangle[1]).min(layer.columns),
                    };
                    layer.pack_left::<U, PARTS>(&round, x, &mut left);
                    layer.pack_right::<U, PARTS>(&round, dy, &mut right);
                    let (left, right) = (&left[..], &right[..]);
                    // The taps of a pair of panels follow each other, so that its operands stay in the cache.
                    pieces::numbers(blocks * panels * g.taps(), &|task| {
                        let (tap, task) = (task % g.taps(), task / g.taps());
                        let (block, panel) = (task / panels, task % panels);
                        let left = pieces::piece(left, frame * layer.operand, block);
                        let right = pieces::piece(right, pixels * layer.operand, panel);
                        let shape =
                            Shape::new((c_in - block * WIDE).min(WIDE), (c_out - panel * WIDE).min(WIDE));
                        let place = Place {
                            first: (tap * c_in + block * WIDE) * c_out + panel * WIDE,
                            step: c_out,
                        };
                        let segments = layer.segments(&round, tap);
                        let mut product = Block::<U>::empty();
                        product.shape(shape);
                        // SAFETY: each tap and pair of panels is one task.
                        unsafe { product.compute::<PARTS>(&segments, [left, right], to, place, accum) };
                    });
                    accum = Accum::Add;
                }
            }
        }
    });
}

/// What is packed at a time: chunks of images, rows of outputs, columns of operands.
struct Round {
    chunks: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
}

struct Layer<'a> {
    g: &'a Geometry,
    channels: [usize; 2],
    /// Tiles of an operand.
    operand: usize,
    /// Images and neighboring outputs of an operand.
    group: usize,
    pixels: usize,
    /// Operands in a row of outputs.
    columns: usize,
    /// The largest round: chunks, rows and columns of outputs, and those of the image that they read.
    chunks: usize,
    rectangle: [usize; 2],
    frame: [usize; 2],
}

impl<'a> Layer<'a> {
    fn new<const PARTS: usize>(g: &'a Geometry, n: usize, c_in: usize, c_out: usize) -> Self {
        let operand = PARTS * BLOCK;
        let group = n.next_power_of_two().clamp(2, DEPTH);
        let pixels = DEPTH / group;
        let columns = g.output[1].div_ceil(pixels);
        let read = |a: usize, size: usize| {
            let step = if a == 0 { g.stride[0] } else { pixels * g.stride[1] };
            (size - 1) * step + (g.kernel[a] - 1) * g.dilation[a] + 1
        };
        let tiles =
            |written: [usize; 2], read: [usize; 2]| (written[0] * written[1] + read[0] * read[1]) * operand;
        let [left, right] = [c_in, c_out].map(|c| c.div_ceil(SIDE));
        let all = [g.output[0], columns];
        let (_, rectangle) = rectangles(
            all,
            &[0, 1].map(|a| sizes(all[a], |size| read(a, size))),
            |written, read| tiles(written, read) <= HELD,
            // Tiles that are packed, and sums that are read and written.
            |read| read[0] * read[1] * left * PARTS + 2 * g.taps() * left * right,
        );
        let frame = [read(0, rectangle[0]), read(1, rectangle[1])];
        let chunks = if rectangle == all {
            (HELD / tiles(rectangle, frame)).clamp(1, n.div_ceil(group))
        } else {
            1
        };
        Self {
            g,
            channels: [c_in, c_out],
            operand,
            group,
            pixels,
            columns,
            chunks,
            rectangle,
            frame,
        }
    }

    /// `[blocks of channels, chunks, rows, columns]` operands, with the padding of the image.
    fn pack_left<U: Unit, const PARTS: usize>(&self, round: &Round, x: &[f32], left: &mut [Tile]) {
        let (g, c_in) = (self.g, self.channels[0]);
        let image = g.input[0] * g.input[1] * c_in;
        let step = self.pixels * g.stride[1];
        let extents = [0, 1].map(|a| (g.kernel[a] - 1) * g.dilation[a] + 1);
        let height = (round.rows.len() - 1) * g.stride[0] + extents[0];
        let width = (round.columns.len() - 1) * step + extents[1];
        pieces::each(left, self.frame[1] * self.operand, |i, out| {
            let (task, row) = (i / self.frame[0], i % self.frame[0]);
            let (block, chunk) = (task / self.chunks, round.chunks.start + task % self.chunks);
            let row_of_image = (round.rows.start * g.stride[0] + row).checked_sub(g.pad[0]);
            let row_of_image = row_of_image.filter(|&place| row < height && place < g.input[0]);
            if let Some(row) = row_of_image.filter(|_| chunk < round.chunks.end) {
                U::pack(Pixels::<PARTS> {
                    images: pieces::piece(x, self.group * image, chunk),
                    width: g.input[1],
                    channels: c_in,
                    len: image,
                    group: self.group,
                    row,
                    first: (round.columns.start * step) as isize - g.pad[1] as isize,
                    stride: 1,
                    step: g.stride[1],
                    channel: block * WIDE,
                    is_left: true,
                    out: &mut out[..width * self.operand],
                });
            }
        });
    }

    /// `[panels, chunks, rows, columns]` operands.
    fn pack_right<U: Unit, const PARTS: usize>(&self, round: &Round, dy: &[f32], right: &mut [Tile]) {
        let (g, c_out) = (self.g, self.channels[1]);
        let written = g.positions() * c_out;
        pieces::each(right, self.rectangle[1] * self.operand, |i, out| {
            let (task, row) = (i / self.rectangle[0], i % self.rectangle[0]);
            let (panel, chunk) = (task / self.chunks, round.chunks.start + task % self.chunks);
            if row < round.rows.len() && chunk < round.chunks.end {
                U::pack(Pixels::<PARTS> {
                    images: pieces::piece(dy, self.group * written, chunk),
                    width: g.output[1],
                    channels: c_out,
                    len: written,
                    group: self.group,
                    row: round.rows.start + row,
                    first: (round.columns.start * self.pixels) as isize,
                    stride: self.pixels,
                    step: 1,
                    channel: panel * WIDE,
                    is_left: false,
                    out: &mut out[..round.columns.len() * self.operand],
                });
            }
        });
    }

    /// The operands of a tap that meet. Outputs for which it lies outside the image are left out.
    fn segments(&self, round: &Round, tap: usize) -> Segments {
        let g = self.g;
        let [ky, kx] = [tap / g.kernel[1], tap % g.kernel[1]];
        let step = self.pixels * g.stride[1];
        let meets = |column: usize| {
            let outputs = column * self.pixels..((column + 1) * self.pixels).min(g.output[1]);
            outputs.into_iter().any(|o| g.input_index(1, o, kx).is_some())
        };
        let columns: Vec<usize> = (0..round.columns.len())
            .filter(|x| meets(round.columns.start + x))
            .collect();
        let mut all = Vec::with_capacity(round.chunks.len() * round.rows.len() * columns.len());
        for chunk in 0..round.chunks.len() {
            for y in (0..round.rows.len()).filter(|y| g.input_index(0, round.rows.start + y, ky).is_some()) {
                let row = chunk * self.frame[0] + y * g.stride[0] + ky * g.dilation[0];
                let left = row * self.frame[1] + kx * g.dilation[1];
                let right = (chunk * self.rectangle[0] + y) * self.rectangle[1];
                all.extend(columns.iter().map(|x| [left + x * step, right + x]));
            }
        }
        Segments::new(all, 1)
    }
}
