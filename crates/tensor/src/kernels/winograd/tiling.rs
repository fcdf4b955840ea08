//! Division of a convolution into tiles, phases and points.
//!
//! With stride 2 an axis has two phases: the outputs are the sum of two correlations with stride 1, one over the even
//! and one over the odd inputs. All phases use the same points, so their products add up before a single transform to
//! the outputs. If a phase has one tap less than the longest, its product at ∞ is zero and is skipped.

use super::transform_1d::MAX_POINTS;
use crate::geometry::Geometry;
use crate::kernels::tile_product::PANEL;
use std::ops::Range;

/// Offsets of the rows or columns of a tile, `None` outside the image.
pub(super) type Places = [Option<usize>; MAX_POINTS];

fn places(count: usize, scale: usize, index: impl Fn(usize) -> Option<usize>) -> Places {
    std::array::from_fn(|i| {
        if i < count {
            index(i).map(|i| i * scale)
        } else {
            None
        }
    })
}

/// One phase of one axis: inputs `first + stride · j`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    first: usize,
    /// Number of inputs.
    length: usize,
    /// Input index of the phase that meets output 0 and tap 0 of the phase.
    shift: isize,
    /// First tap. The others follow at distances of the stride.
    tap: usize,
    /// Whether it has the full number of taps of the algorithm.
    full: bool,
}

/// One axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    stride: usize,
    kernel: usize,
    outputs: usize,
    /// Outputs of a tile.
    step: usize,
    points: usize,
    pub(super) tiles: usize,
    phases: Vec<Phase>,
}

impl Axis {
    fn new(g: &Geometry, axis: usize, step: usize, taps: usize) -> Self {
        let (stride, pad, kernel) = (g.stride[axis], g.pad[axis], g.kernel[axis]);
        let phases = (0..stride).map(|first| {
            // Taps k with k ≡ first + pad meet this phase.
            let tap = (first + pad) % stride;
            let shift = (tap as isize - pad as isize - first as isize) / stride as isize;
            let count = kernel.saturating_sub(tap).div_ceil(stride);
            debug_assert!(count == taps || count + 1 == taps);
            let length = g.input[axis].saturating_sub(first).div_ceil(stride);
            Phase {
                first,
                length,
                shift,
                tap,
                full: count == taps,
            }
        });
        Self {
            stride,
            kernel,
            outputs: g.output[axis],
            step,
            points: step + taps - 1,
            tiles: g.output[axis].div_ceil(step),
            phases: phases.collect(),
        }
    }

    /// The image index of input `i` of a tile in a phase, or `None` outside the image.
    #[inline(always)]
    fn input(&self, phase: usize, tile: usize, i: usize) -> Option<usize> {
        let phase = &self.phases[phase];
        let j = usize::try_from((self.step * tile + i) as isize + phase.shift).ok()?;
        (j < phase.length).then(|| phase.first + self.stride * j)
    }

    /// The output index of output `i` of a tile, or `None` outside the image.
    #[inline(always)]
    fn output(&self, tile: usize, i: usize) -> Option<usize> {
        let o = self.step * tile + i;
        (o < self.outputs).then_some(o)
    }

    /// The kernel tap of tap `t` of a phase, if it exists.
    #[inline(always)]
    fn tap(&self, phase: usize, t: usize) -> Option<usize> {
        let k = self.phases[phase].tap + self.stride * t;
        (k < self.kernel).then_some(k)
    }

    /// Whether a phase has a product at a point.
    #[inline(always)]
    fn is_active(&self, phase: usize, point: usize) -> bool {
        self.phases[phase].full || point + 1 < self.points
    }
}

/// Tiles, phases, points and channels of a convolution, and the layout of the transformed tiles.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) axes: [Axis; 2],
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) c_in: usize,
    pub(super) c_out: usize,
    /// Channels rounded up to whole panels.
    pub(super) wide_in: usize,
    pub(super) wide_out: usize,
    /// Pairs of phases `[rows, columns]`. In this order, those with a product at a point are neighbors.
    pub(super) phases: Vec<[usize; 2]>,
    /// Outputs, taps and points of a tile along an axis.
    pub(super) step: usize,
    pub(super) taps: usize,
    pub(super) line: usize,
    /// Points of both axes together.
    pub(super) points: usize,
    /// Phases with a product at each point.
    active: Vec<Range<usize>>,
}

impl Plan {
    /// A plan with tiles of `step × step` outputs, for a kernel with at most `taps` taps per phase.
    pub(super) fn new(g: &Geometry, c_in: usize, c_out: usize, step: usize, taps: usize) -> Self {
        let axes = [0, 1].map(|a| Axis::new(g, a, step, taps));
        let order = |a: usize| {
            // Full phases first.
            let mut order: Vec<usize> = (0..axes[a].phases.len()).collect();
            order.sort_by_key(|&p| !axes[a].phases[p].full);
            order
        };
        let (rows, columns) = (order(0), order(1));
        let mut phases = Vec::new();
        // In a snake-like order: (short, full), (full, full), (full, short), (short, short).
        for (i, &column) in columns.iter().enumerate() {
            let along: Vec<usize> = if i % 2 == 0 {
                rows.iter().rev().copied().collect()
            } else {
                rows.clone()
            };
            phases.extend(along.into_iter().map(|row| [row, column]));
        }
        let line = axes[0].points;
        let points = line * line;
        let active = (0..points)
            .map(|p| {
                let is_active = |&[row, column]: &[usize; 2]| {
                    axes[0].is_active(row, p / line) && axes[1].is_active(column, p % line)
                };
                let first = phases.iter().position(is_active).unwrap_or(0);
                let count = phases.iter().filter(|p| is_active(p)).count();
                debug_assert!(phases[first..first + count].iter().all(is_active));
                first..first + count
            })
            .collect();
        Self {
            axes,
            input: g.input,
            output: g.output,
            kernel: g.kernel,
            c_in,
            c_out,
            wide_in: c_in.next_multiple_of(PANEL),
            wide_out: c_out.next_multiple_of(PANEL),
            phases,
            step,
            taps,
            line,
            points,
            active,
        }
    }

    /// Offsets in an image of the rows and columns of a tile of inputs.
    pub(super) fn input_places(&self, phase: [usize; 2], tile: [usize; 2]) -> [Places; 2] {
        let scale = [self.input[1] * self.c_in, self.c_in];
        [0, 1].map(|a| places(self.line, scale[a], |i| self.axes[a].input(phase[a], tile[a], i)))
    }

    /// Offsets in an image of the rows and columns of a tile of outputs.
    pub(super) fn output_places(&self, tile: [usize; 2]) -> [Places; 2] {
        let scale = [self.output[1] * self.c_out, self.c_out];
        [0, 1].map(|a| places(self.step, scale[a], |i| self.axes[a].output(tile[a], i)))
    }

    /// Offsets in a weight with `size` numbers per tap, of the rows and columns of taps of a phase.
    pub(super) fn tap_places(&self, phase: [usize; 2], size: usize) -> [Places; 2] {
        let scale = [self.kernel[1] * size, size];
        [0, 1].map(|a| places(self.taps, scale[a], |t| self.axes[a].tap(phase[a], t)))
    }

    /// Whether a phase has the full number of taps of the algorithm along rows and columns.
    pub(super) fn full(&self, phase: [usize; 2]) -> [bool; 2] {
        [0, 1].map(|a| self.axes[a].phases[phase[a]].full)
    }

    /// Tiles of one image.
    pub(super) fn tiles(&self) -> usize {
        self.axes[0].tiles * self.axes[1].tiles
    }

    /// Values per tile and point on the input side: the channels of all phases.
    pub(super) fn depth(&self) -> usize {
        self.phases.len() * self.wide_in
    }

    /// Phases with a product at a point.
    pub(super) fn active(&self, point: usize) -> Range<usize> {
        self.active[point].clone()
    }

    /// Multiply-adds per tile and pair of channels: the cost of an image is this times its tiles.
    pub(super) fn products(&self) -> usize {
        self.active.iter().map(ExactSizeIterator::len).sum()
    }
}

/// Offsets of the numbers of a tile and a point, in a buffer of transformed tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Distance of two tiles.
    pub(super) tile: usize,
    /// Distance of two points.
    pub(super) point: usize,
    /// Length of the buffer.
    pub(super) len: usize,
}

impl Layout {
    /// All points of a tile together, so that a transform touches few pages.
    pub(super) fn by_tiles(points: usize, tiles: usize, values: usize) -> Self {
        let point = odd_lines(values);
        let tile = points * point;
        Self {
            tile,
            point,
            len: tiles * tile,
        }
    }

    /// All tiles of a point together, so that a product that sums over tiles touches few pages.
    pub(super) fn by_points(points: usize, tiles: usize, values: usize) -> Self {
        let tile = odd_lines(values);
        let point = tiles * tile;
        Self {
            tile,
            point: odd_lines(point),
            len: points * odd_lines(point),
        }
    }
}

/// Rounds a size up to an odd number of cache lines. At power-of-two distances, values that are read together would
/// map to the same few lines of the L1 cache.
pub(super) fn odd_lines(values: usize) -> usize {
    let lines = values.div_ceil(PANEL);
    (lines + 1 - lines % 2) * PANEL
}
