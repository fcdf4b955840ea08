//! The maps from images to images: a convolution and its adjoint.
#![allow(unsafe_code)]

use super::WIDE;
use super::axis::{Axis, halves, rectangles, sizes};
use super::pack::{Contracted, Images, Weight};
use super::product::{BLOCK, Block, DEPTH, Output, Place, SIDE, Segments, Shape, Unit};
use crate::geometry::Geometry;
use crate::kernels::gemm::Accum;
use crate::kernels::pieces;
use crate::kernels::scratch::Scratch;
use std::ops::Range;

/// Tiles that a task holds, of images and of a panel, so that they stay in the L2 cache: 1.2 MB of the 2 MB of the CPUs with AMX. Less in
/// tests, so that they cut their small layers.
const HELD: usize = if cfg!(test) { 80 } else { 1200 };
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

impl Map {
    /// For each pixel of a rectangle: the operands that meet, of the pixels that are read and of the taps. `range` is that of the
    /// inner index, which has `depth` operands in all.
    fn segments(
        &self,
        g: &Geometry,
        read: &[Range<usize>; 2],
        [rows, columns]: [&Range<usize>; 2],
        range: &Range<usize>,
        depth: usize,
    ) -> Vec<Segments> {
        let pixels = rows.clone().flat_map(|y| columns.clone().map(move |x| [y, x]));
        let of_pixel = |[y, x]: [usize; 2]| {
            let mut all = Vec::with_capacity(self.axes[0].taps[y].len() * self.axes[1].taps[x].len());
            for &[ky, from_y] in &self.axes[0].taps[y] {
                let row = (from_y - read[0].start) * read[1].len();
                for &[kx, from_x] in &self.axes[1].taps[x] {
                    let pixel = row + from_x - read[1].start;
                    let tap = ky * g.kernel[1] + kx;
                    all.push([pixel * range.len(), tap * depth + range.start]);
                }
            }
            Segments::new(all, range.len())
        };
        pixels.map(of_pixel).collect()
    }
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
    fn new(map: &Map, of: &Sizes) -> Self {
        let read = |a: usize, size: usize| {
            let starts = (0..map.written[a]).step_by(size);
            let read = |first: usize| map.axes[a].read(first..(first + size).min(map.written[a]));
            starts.map(|first| read(first).len()).max().unwrap_or(0)
        };
        let candidates = [0, 1].map(|a| sizes(map.written[a], |size| read(a, size)));
        let tiles_of_rows = of.images.min(WIDE).div_ceil(SIDE);
        let weight = of.taps * of.depth * of.panels * BLOCK * of.parts;
        let outputs = map.written[0] * map.written[1] * of.panels * BLOCK * tiles_of_rows;
        let cuts = halves(of.depth).into_iter().map(|depth| {
            let left = move |read: [usize; 2]| read[0] * read[1] * tiles_of_rows * of.parts * depth;
            let panel = of.taps * depth * BLOCK * of.parts;
            let fits = |_, read| left(read) + panel <= HELD;
            let ranges = of.depth.div_ceil(depth);
            // Tiles that are packed, and those of the weight that are read again. Every range but the first reads and writes the
            // sums. Their rows often share a set of the cache, so they count three times.
            let cost = |read| ranges * left(read) + weight;
            let (cost, rectangle) = rectangles(map.written, &candidates, fits, cost);
            let cost = cost.saturating_add(6 * (ranges - 1) * outputs);
            (cost, rectangle, depth, left, panel)
        });
        let cheapest = cuts.min_by_key(|cut| cut.0);
        let (_, rectangle, depth, left, panel) = cheapest.expect("at least one operand");
        let rectangles = [0, 1].map(|a| map.written[a].div_ceil(rectangle[a]));
        let count = rectangles[0] * rectangles[1];
        let wanted = TASKS * rayon::current_num_threads();
        let cut = |all: usize, size: usize| [size, all.div_ceil(size)];
        // Several blocks use a panel while it is in the cache.
        let all = of.images.div_ceil(WIDE);
        let held = HELD.saturating_sub(panel) / left([0, 1].map(|a| read(a, rectangle[a]))).max(1);
        let blocks = cut(all, (all * count / wanted).clamp(1, held.max(1)));
        // Threads share the panels where there are few other tasks.
        let groups = wanted.div_ceil(blocks[1] * count).min(of.panels);
        Self {
            rectangle,
            rectangles,
            depth,
            blocks,
            panels: cut(of.panels, of.panels.div_ceil(groups)),
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
        pieces::each(&mut right, depth * operand, |i, out| {
            U::pack(Weight::<PARTS> {
                weight: pieces::piece(weight, c_in * c_out, i % g.taps()),
                channels: [c_in, c_out],
                contracted: map.contracted,
                first: i / g.taps() * WIDE,
                out,
            });
        });
        let right = &right[..];
        pieces::numbers(cut.tasks(), &|task| {
            let [blocks, rows, across, panels] = cut.task(task, map, blocks, panels);
            let read = [map.axes[0].read(rows.clone()), map.axes[1].read(across.clone())];
            let pixels = read[0].len() * read[1].len();
            let mut left = Scratch::take(blocks.len() * pixels * cut.depth * operand);
            let mut product = Block::<U>::empty();
            for start in (0..depth).step_by(cut.depth) {
                let range = start..(start + cut.depth).min(depth);
                let accum = if start == 0 { Accum::Replace } else { Accum::Add };
                let block_len = pixels * range.len() * operand;
                for (i, block) in blocks.clone().enumerate().filter(|_| pixels > 0) {
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
                let segments = map.segments(g, &read, [&rows, &across], &range, depth);
                for p in panels.clone() {
                    let right = pieces::piece(right, panel, p);
                    for (i, block) in blocks.clone().enumerate() {
                        let images = (n - block * WIDE).min(WIDE);
                        product.shape(Shape::new(images, (columns - p * WIDE).min(WIDE)));
                        let operands = [&left[i * block_len..][..block_len], right];
                        let pixels = rows.clone().flat_map(|y| across.clone().map(move |x| [y, x]));
                        for ([y, x], segments) in pixels.zip(&segments) {
                            let pixel = (block * WIDE * map.written[0] + y) * map.written[1] + x;
                            let place = Place {
                                first: pixel * columns + p * WIDE,
                                step: written,
                            };
                            // SAFETY: the images, pixels and panels are those of one task.
                            unsafe { product.compute::<PARTS>(segments, operands, to, place, accum) };
                        }
                    }
                }
            }
        });
    });
}
