//! The maps from images to images: a convolution and its adjoint.
#![allow(unsafe_code)]

use super::WIDE;
use super::axis::{Axis, halves, rectangles};
use super::pack::{Contracted, Images, Weight};
use super::product::{BLOCK, DEPTH, Inner, Output, Place, SIDE, Shape, Unit, multiply};
use crate::geometry::Geometry;
use crate::kernels::gemm::Accum;
use crate::kernels::pieces;
use crate::kernels::scratch::Scratch;
use std::ops::Range;

/// Tiles that a task holds, of images and of a panel, so that they stay in the L2 cache: 1.2 MB of the 2 MB of the CPUs with AMX.
const HELD: usize = 1200;
/// Tasks for each thread, if there is as much work.
const TASKS: usize = 3;

pub(super) fn forward<U: Unit, const PARTS: usize>(
    g: &Geometry,
    sizes: [usize; 3],
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
) {
    let map = Map {
        axes: [0, 1].map(|a| Axis::forward(g, a)),
        read: g.input,
        written: g.output,
        contracted: Contracted::In,
    };
    correlate::<U, PARTS>(g, &map, sizes, x, w, y);
}

pub(super) fn input<U: Unit, const PARTS: usize>(
    g: &Geometry,
    sizes: [usize; 3],
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
) {
    let map = Map {
        axes: [0, 1].map(|a| Axis::input(g, a)),
        read: g.output,
        written: g.input,
        contracted: Contracted::Out,
    };
    correlate::<U, PARTS>(g, &map, sizes, dy, w, dx);
}

struct Map {
    axes: [Axis; 2],
    /// Sizes of the images.
    read: [usize; 2],
    written: [usize; 2],
    contracted: Contracted,
}

/// The operands of a layer.
struct Sizes {
    images: usize,
    taps: usize,
    /// Operands of the inner index.
    depth: usize,
    /// Panels of 32 columns.
    panels: usize,
    parts: usize,
}

/// How the work is cut: blocks of images, rectangles of pixels, ranges of the inner index, panels of 32 columns.
struct Cut {
    /// Rows and columns of a rectangle.
    rectangle: [usize; 2],
    /// Rectangles in each direction.
    rectangles: [usize; 2],
    /// Operands of the inner index that a task holds at a time.
    depth: usize,
    /// Blocks of a task, and tasks for all blocks.
    blocks: [usize; 2],
    /// Panels of a task, and tasks for all panels.
    panels: [usize; 2],
}

impl Cut {
    /// The bits depend on `depth` alone, which does not depend on the number of threads.
    fn new(map: &Map, sizes: &Sizes) -> Self {
        let read = |a: usize, size: usize| {
            let starts = (0..map.written[a]).step_by(size);
            let read = |first: usize| map.axes[a].read(first..(first + size).min(map.written[a]));
            starts.map(|first| read(first).len()).max().unwrap_or(0)
        };
        let tiles_of_rows = sizes.images.min(WIDE).div_ceil(SIDE);
        let weight = sizes.taps * sizes.depth * sizes.panels * BLOCK * sizes.parts;
        let outputs = map.written[0] * map.written[1] * sizes.panels * BLOCK * tiles_of_rows;
        let cuts = halves(sizes.depth).into_iter().map(|depth| {
            let left = move |read: [usize; 2]| read[0] * read[1] * tiles_of_rows * sizes.parts * depth;
            let panel = sizes.taps * depth * BLOCK * sizes.parts;
            let fits = |_, read| left(read) + panel <= HELD;
            let ranges = sizes.depth.div_ceil(depth);
            // Tiles that are packed, and those of the weight that are read again. Every range but the first reads and writes the
            // sums. Their rows often share a set of the cache, so they count three times.
            let cost = |read| ranges * left(read) + weight;
            let (cost, rectangle) = rectangles(map.written, read, fits, cost);
            (
                cost.saturating_add(6 * (ranges - 1) * outputs),
                depth,
                rectangle,
                left,
            )
        });
        let (_, depth, rectangle, left) = cuts.min_by_key(|cut| cut.0).expect("at least one operand");
        let rectangles = [0, 1].map(|a| map.written[a].div_ceil(rectangle[a]));
        let count = rectangles[0] * rectangles[1];
        let wanted = TASKS * rayon::current_num_threads();
        let cut = |all: usize, size: usize| [size, all.div_ceil(size)];
        // Several blocks use a panel while it is in the cache.
        let all = sizes.images.div_ceil(WIDE);
        let held = HELD / left([0, 1].map(|a| read(a, rectangle[a]))).max(1);
        let blocks = cut(all, (all * count / wanted).clamp(1, held.max(1)));
        // Threads share the panels where there are few other tasks.
        let groups = wanted.div_ceil(blocks[1] * count).min(sizes.panels);
        Self {
            rectangle,
            rectangles,
            depth,
            blocks,
            panels: cut(sizes.panels, sizes.panels.div_ceil(groups)),
        }
    }

    fn tasks(&self) -> usize {
        self.panels[1] * self.blocks[1] * self.rectangles[0] * self.rectangles[1]
    }

    /// The blocks, rows, columns and panels of a task.
    fn task(&self, task: usize, map: &Map, all_blocks: usize, all_panels: usize) -> [Range<usize>; 4] {
        let piece = |i: usize, size: usize, all: usize| i * size..((i + 1) * size).min(all);
        let (task, group) = (task / self.panels[1], task % self.panels[1]);
        let (task, column) = (task / self.rectangles[1], task % self.rectangles[1]);
        let (task, row) = (task / self.rectangles[0], task % self.rectangles[0]);
        [
            piece(task, self.blocks[0], all_blocks),
            piece(row, self.rectangle[0], map.written[0]),
            piece(column, self.rectangle[1], map.written[1]),
            piece(group, self.panels[0], all_panels),
        ]
    }
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
    let (blocks, panels) = (n.div_ceil(WIDE), columns.div_ceil(WIDE));
    let cut = Cut::new(
        map,
        &Sizes {
            images: n,
            taps: g.taps(),
            depth,
            panels,
            parts: PARTS,
        },
    );
    let mut right = Scratch::take(panels * panel);
    let to = Output::new(to);
    pieces::series(|| {
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
        pieces::numbers(cut.tasks(), &|task| {
            let [blocks, rows, across, panels] = cut.task(task, map, blocks, panels);
            let read = [map.axes[0].read(rows.clone()), map.axes[1].read(across.clone())];
            let pixels = read[0].len() * read[1].len();
            let mut left = Scratch::take(blocks.len() * pixels * cut.depth * operand);
            let mut segments = Vec::with_capacity(g.taps());
            for start in (0..depth).step_by(cut.depth) {
                let range = start..(start + cut.depth).min(depth);
                let accum = if start == 0 { Accum::Replace } else { Accum::Add };
                let block_len = pixels * range.len() * operand;
                for (i, block) in blocks.clone().enumerate() {
                    U::pack(Images::<PARTS> {
                        images: pieces::piece(from, WIDE * image, block),
                        width: map.read[1],
                        channels: inner,
                        len: image,
                        rows: read[0].clone(),
                        columns: read[1].clone(),
                        range: range.start * DEPTH..(range.end * DEPTH).min(inner),
                        out: &mut left[i * block_len..][..block_len],
                    });
                }
                let mut prepared: Option<(Shape, U)> = None;
                for p in panels.clone() {
                    let right = pieces::piece(right, panel, p);
                    for (i, block) in blocks.clone().enumerate() {
                        let images = (n - block * WIDE).min(WIDE);
                        let shape = Shape::new(images, (columns - p * WIDE).min(WIDE));
                        if prepared.as_ref().is_none_or(|(of, _)| *of != shape) {
                            // The old one is given up first: dropping it would clear the tiles of the new one.
                            drop(prepared.take());
                            prepared = Some((shape, U::new(shape)));
                        }
                        let Some((_, unit)) = &mut prepared else {
                            unreachable!()
                        };
                        let left = &left[i * block_len..][..block_len];
                        for y in rows.clone() {
                            for x in across.clone() {
                                segments.clear();
                                for &[ky, from_y] in &map.axes[0].taps[y] {
                                    let row = (from_y - read[0].start) * read[1].len();
                                    segments.extend(map.axes[1].taps[x].iter().map(|&[kx, from_x]| {
                                        let tap = ky * g.kernel[1] + kx;
                                        let pixel = row + from_x - read[1].start;
                                        [pixel * range.len(), tap * depth + range.start]
                                    }));
                                }
                                let inner = Inner {
                                    segments: &segments,
                                    depth: range.len(),
                                };
                                let pixel = (block * WIDE * map.written[0] + y) * map.written[1] + x;
                                let place = Place {
                                    first: pixel * columns + p * WIDE,
                                    step: written,
                                };
                                let operands = [left, right];
                                // SAFETY: the images, pixels and panels are those of one task.
                                unsafe {
                                    multiply::<U, PARTS>(unit, shape, inner, operands, to, place, accum);
                                }
                            }
                        }
                    }
                }
            }
        });
    });
}
