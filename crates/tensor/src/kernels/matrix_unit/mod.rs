//! Convolutions and matrix products on a matrix unit: a direct sum of products of tiles, without transforms.
//!
//! With one part, operands are rounded to bfloat16. With two, an `f32` is the sum of two bfloat16 numbers, and three products
//! replace one: the relative error is about 4e-6. An infinite number makes the sums that it meets NaN.
//!
//! The rows of a tile are up to 32 images at the same pixel. So all rows have the same taps, and neither a frame of zeros nor the
//! size of an image costs anything. Each sum runs over the taps and then the channels in ascending order, so the bits do not
//! depend on how the work is cut.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod amx;
mod axis;
#[cfg(test)]
mod model;
mod pack;
mod product;

use crate::geometry::Geometry;
use crate::kernels::gemm::Accum;
use crate::kernels::pieces;
use crate::kernels::scratch::Scratch;
use axis::{Axis, rectangles};
use pack::{Contracted, Images, Pixels, Weight};
use product::{BLOCK, DEPTH, Inner, Output, Place, SIDE, Shape, Unit, multiply};

#[cfg(target_arch = "x86_64")]
pub(crate) use amx::Amx;
#[cfg(target_arch = "x86_64")]
pub(crate) use amx::is_available;

/// Images in a block, and columns of a block.
const WIDE: usize = BLOCK * SIDE;
/// Tiles of images that a piece of work holds, so that they stay in the L2 cache of 2 MB.
const HELD: usize = 800;
/// The same for both operands of the weight gradient.
const HELD_OF_BOTH: usize = 1300;

/// `y = conv2d(x, w)`. Sizes as in [`crate::kernels::im2col`].
pub(crate) fn forward<U: Unit, const PARTS: usize>(
    g: &Geometry,
    sizes: [usize; 3],
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
) {
    let axes = [0, 1].map(|a| Axis::forward(g, a));
    let map = Map { axes, read: g.input, written: g.output, contracted: Contracted::In };
    correlate::<U, PARTS>(g, &map, sizes, x, w, y);
}

/// `dx = conv2d_input(dy, w)`.
pub(crate) fn input<U: Unit, const PARTS: usize>(
    g: &Geometry,
    sizes: [usize; 3],
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
) {
    let axes = [0, 1].map(|a| Axis::input(g, a));
    let map = Map { axes, read: g.output, written: g.input, contracted: Contracted::Out };
    correlate::<U, PARTS>(g, &map, sizes, dy, w, dx);
}

/// A map from images to images.
struct Map {
    axes: [Axis; 2],
    /// Sizes of the images.
    read: [usize; 2],
    written: [usize; 2],
    contracted: Contracted,
}

fn correlate<U: Unit, const PARTS: usize>(
    g: &Geometry,
    map: &Map,
    [n, c_in, c_out]: [usize; 3],
    from: &[f32],
    weight: &[f32],
    to: &mut [f32],
) {
    let [inner, columns] = match map.contracted {
        Contracted::In => [c_in, c_out],
        Contracted::Out => [c_out, c_in],
    };
    let image = map.read[0] * map.read[1] * inner;
    let written = map.written[0] * map.written[1] * columns;
    if n * written == 0 {
        return;
    }
    if image == 0 {
        return to.fill(0.0);
    }
    let operand = PARTS * BLOCK;
    let depth = inner.div_ceil(DEPTH);
    let panel = g.taps() * depth * operand;
    let panels = columns.div_ceil(WIDE);
    let mut right = Scratch::take(panels * panel);
    pieces::each(&mut right, panel, |p, out| {
        U::pack(Weight::<PARTS> {
            weight,
            channels: [c_in, c_out],
            contracted: map.contracted,
            first: p * WIDE,
            out,
        });
    });
    let right = &right[..];

    let blocks = n.div_ceil(WIDE);
    let tiles = PARTS * n.min(WIDE).div_ceil(SIDE) * depth;
    let [rows, across] = rectangles(
        map.written,
        |a, size| {
            let starts = (0..map.written[a]).step_by(size);
            let read = |first: usize| map.axes[a].read(first..(first + size).min(map.written[a])).len();
            starts.map(read).max().unwrap_or(0)
        },
        |_, [rows, columns]| rows * columns * tiles <= HELD,
    );
    let [down, across_count] = [map.written[0].div_ceil(rows), map.written[1].div_ceil(across)];
    let rectangles = blocks * down * across_count;
    // Threads share the panels where there are few rectangles.
    let groups = (3 * rayon::current_num_threads()).div_ceil(rectangles).min(panels);
    let group = panels.div_ceil(groups);
    let groups = panels.div_ceil(group);
    let to = Output::new(to);
    pieces::numbers(rectangles * groups, &|task| {
        let (task, first) = (task / groups, task % groups * group);
        let (block, rectangle) = (task / (down * across_count), task % (down * across_count));
        let [y, x] = [rectangle / across_count * rows, rectangle % across_count * across];
        let lines = y..(y + rows).min(map.written[0]);
        let places = x..(x + across).min(map.written[1]);
        let read = [map.axes[0].read(lines.clone()), map.axes[1].read(places.clone())];
        let images = pieces::piece(from, WIDE * image, block);
        let count = images.len() / image;
        let mut left = Scratch::take(read[0].len() * read[1].len() * depth * operand);
        U::pack(Images::<PARTS> {
            images,
            width: map.read[1],
            channels: inner,
            len: image,
            rows: read[0].clone(),
            columns: read[1].clone(),
            out: &mut left,
        });
        let mut segments = Vec::with_capacity(g.taps());
        for p in first..(first + group).min(panels) {
            let shape = Shape::new(count, (columns - p * WIDE).min(WIDE));
            let mut unit = U::new(shape);
            let right = pieces::piece(right, panel, p);
            for y in lines.clone() {
                for x in places.clone() {
                    segments.clear();
                    for &[ky, from_y] in &map.axes[0].taps[y] {
                        let row = (from_y - read[0].start) * read[1].len();
                        segments.extend(map.axes[1].taps[x].iter().map(|&[kx, from_x]| {
                            let tap = ky * g.kernel[1] + kx;
                            [(row + from_x - read[1].start) * depth, tap * depth]
                        }));
                    }
                    let inner = Inner { segments: &segments, depth };
                    let pixel = (block * WIDE * map.written[0] + y) * map.written[1] + x;
                    let place = Place { first: pixel * columns + p * WIDE, step: written };
                    // SAFETY: images, pixels and panels of columns are those of one task.
                    unsafe {
                        multiply::<U, PARTS>(&mut unit, shape, inner, [&left, right], to, place, Accum::Replace);
                    }
                }
            }
        }
    });
}

/// `dw = conv2d_weight(x, dy)`.
pub(crate) fn weight<U: Unit, const PARTS: usize>(
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
    let operand = PARTS * BLOCK;
    // Images and pixels in the inner index of an operand.
    let group = n.next_power_of_two().clamp(2, DEPTH);
    let pixels = DEPTH / group;
    let step = pixels * g.stride[1];
    let extents = [0, 1].map(|a| (g.kernel[a] - 1) * g.dilation[a] + 1);
    let columns = g.output[1].div_ceil(pixels);
    let [blocks, panels] = [c_in, c_out].map(|c| c.div_ceil(WIDE));
    // Places that a rectangle of outputs reads, with those outside the image.
    let read = |a: usize, size: usize| (size - 1) * if a == 0 { g.stride[0] } else { step } + extents[a];
    let [tiles_left, tiles_right] = [c_in, c_out].map(|c| c.div_ceil(SIDE) * PARTS);
    let [lines, across] = rectangles(
        [g.output[0], columns],
        read,
        |[rows, columns], read| {
            read[0] * read[1] * tiles_left + rows * columns * tiles_right <= HELD_OF_BOTH
        },
    );
    let frame = [read(0, lines), read(1, across)];
    let mut left = Scratch::take(blocks * frame[0] * frame[1] * operand);
    let mut right = Scratch::take(panels * lines * across * operand);
    let mut is_first = true;
    for (x, dy) in x.chunks(group * image).zip(dy.chunks(group * written)) {
        for top in (0..g.output[0]).step_by(lines) {
            for start in (0..columns).step_by(across) {
                let [height, width] = [lines.min(g.output[0] - top), across.min(columns - start)];
                // The first row and column of the rectangle that is read, in the image with its padding.
                let corner = [top * g.stride[0], start * step];
                pieces::each(&mut left, frame[1] * operand, |i, out| {
                    let (block, row) = (i / frame[0], corner[0] + i % frame[0]);
                    let row = row.checked_sub(g.pad[0]).filter(|&row| row < g.input[0]);
                    let Some(row) = row.filter(|_| i % frame[0] < read(0, height)) else { return };
                    U::pack(Pixels::<PARTS> {
                        images: x,
                        width: g.input[1],
                        channels: c_in,
                        len: image,
                        group,
                        row,
                        first: corner[1] as isize - g.pad[1] as isize,
                        stride: 1,
                        step: g.stride[1],
                        channel: block * WIDE,
                        is_left: true,
                        out: &mut out[..read(1, width) * operand],
                    });
                });
                pieces::each(&mut right, across * operand, |i, out| {
                    let (panel, row) = (i / lines, i % lines);
                    if row < height {
                        U::pack(Pixels::<PARTS> {
                            images: dy,
                            width: g.output[1],
                            channels: c_out,
                            len: written,
                            group,
                            row: top + row,
                            first: (start * pixels) as isize,
                            stride: pixels,
                            step: 1,
                            channel: panel * WIDE,
                            is_left: false,
                            out: &mut out[..width * operand],
                        });
                    }
                });
                let accum = if is_first { Accum::Replace } else { Accum::Add };
                is_first = false;
                let mut parts: Vec<(usize, usize, &mut [f32])> = Vec::with_capacity(g.taps() * blocks);
                for (tap, dw) in dw.chunks_exact_mut(c_in * c_out).enumerate() {
                    parts.extend(dw.chunks_mut(WIDE * c_out).enumerate().map(|(b, dw)| (tap, b, dw)));
                }
                let (left, right) = (&left[..], &right[..]);
                pieces::each(&mut parts, 1, |_, part| {
                    let (tap, block, dw) = &mut part[0];
                    let [ky, kx] = [*tap / g.kernel[1], *tap % g.kernel[1]];
                    let mut segments = Vec::with_capacity(height * width);
                    for y in 0..height {
                        if g.input_index(0, top + y, ky).is_none() {
                            continue;
                        }
                        let row = (y * g.stride[0] + ky * g.dilation[0]) * frame[1];
                        for x in 0..width {
                            let outputs = (start + x) * pixels..((start + x + 1) * pixels).min(g.output[1]);
                            if outputs.clone().any(|o| g.input_index(1, o, kx).is_some()) {
                                segments.push([row + x * step + kx * g.dilation[1], y * across + x]);
                            }
                        }
                    }
                    let inner = Inner { segments: &segments, depth: 1 };
                    let left = pieces::piece(left, frame[0] * frame[1] * operand, *block);
                    let rows = dw.len() / c_out;
                    let to = Output::new(dw);
                    for p in 0..panels {
                        let shape = Shape::new(rows, (c_out - p * WIDE).min(WIDE));
                        let mut unit = U::new(shape);
                        let right = pieces::piece(right, lines * across * operand, p);
                        let place = Place { first: p * WIDE, step: c_out };
                        // SAFETY: `dw` is borrowed mutably, and this thread alone has its pointer.
                        unsafe {
                            multiply::<U, PARTS>(&mut unit, shape, inner, [left, right], to, place, accum);
                        }
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
