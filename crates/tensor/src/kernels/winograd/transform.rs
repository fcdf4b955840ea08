//! The two-dimensional transforms: tiles of images, of output gradients and of weights, to points and back.
//!
//! Each is a one-dimensional transform along the columns and one along the rows. It processes one vector of
//! channels at a time.

use super::tiling::{Layout, Places, Plan};
use super::transform_1d::{self, Line, MAX_POINTS, Transform, Values};
use crate::kernels::simd::{Task, Vector};
use crate::kernels::tile_product::PANEL;
use crate::real::Real;
use std::marker::PhantomData;

/// A tile between the two passes: rows of vectors of channels.
type Tile<V> = [Values<V>; MAX_POINTS];

/// Applies a transform to each of the first columns of a tile.
///
/// The count depends on the plan, not on the algorithm. Unrolling the loop would make the code ten times longer.
#[inline(always)]
fn along_columns<T: Real, V: Vector<T>, L: Line, F: Transform<L>>(tile: &mut Tile<V>, count: usize) {
    #[allow(clippy::needless_range_loop)] // j is a column of the tile, i a row
    for j in 0..count.min(MAX_POINTS) {
        let mut values = [V::splat(T::zero()); MAX_POINTS];
        for i in 0..F::FROM {
            values[i] = tile[i][j];
        }
        let values = apply::<T, V, L, F>(&values);
        for i in 0..F::TO {
            tile[i][j] = values[i];
        }
    }
}

#[inline(always)]
fn apply<T: Real, V: Vector<T>, L: Line, F: Transform<L>>(values: &Values<V>) -> Values<V> {
    F::apply::<T, V>(values)
}

/// Channels from `at` on of a pixel whose channels end at `end`. The rest is zeros.
#[inline(always)]
fn load<T: Real, V: Vector<T>>(x: &[T], at: usize, end: usize) -> V {
    if at + V::LANES <= end {
        return V::load(&x[at..at + V::LANES]);
    }
    let mut part = [T::zero(); PANEL];
    for (p, &x) in part.iter_mut().zip(&x[at.min(end)..end]) {
        *p = x;
    }
    V::load(&part)
}

/// Writes channels from `at` on of a pixel whose channels end at `end`.
#[inline(always)]
fn store<T: Real, V: Vector<T>>(v: V, x: &mut [T], at: usize, end: usize) {
    if at + V::LANES <= end {
        v.store(&mut x[at..at + V::LANES]);
    } else {
        let mut part = [T::zero(); PANEL];
        v.store(&mut part);
        for (x, &p) in x[at.min(end)..end].iter_mut().zip(&part) {
            *x = p;
        }
    }
}

/// Tiles of an image, row by row.
#[inline(always)]
fn tiles(plan: &Plan) -> impl Iterator<Item = [usize; 2]> + use<> {
    let [rows, columns] = [plan.axes[0].tiles, plan.axes[1].tiles];
    (0..rows).flat_map(move |y| (0..columns).map(move |x| [y, x]))
}

/// Zeros to gather into. A task makes one and reuses it for every tile, because filling several kilobytes with zeros
/// costs time.
#[inline(always)]
fn blank<T: Real, V: Vector<T>>() -> Tile<V> {
    [[V::splat(T::zero()); MAX_POINTS]; MAX_POINTS]
}

/// Reads the first `count` rows and columns of a tile from an image: channels from `c0` on of pixels with `c`
/// channels, zeros outside.
#[inline(always)]
fn gather<T: Real, V: Vector<T>>(
    tile: &mut Tile<V>,
    count: usize,
    image: &[T],
    [rows, columns]: &[Places; 2],
    c0: usize,
    c: usize,
) {
    let count = count.min(MAX_POINTS);
    for (tile, row) in tile[..count].iter_mut().zip(rows) {
        for (value, column) in tile[..count].iter_mut().zip(columns) {
            *value = match (row, column) {
                (Some(row), Some(column)) => load(image, row + column + c0, row + column + c),
                _ => V::splat(T::zero()),
            };
        }
    }
}

/// Reads a tile of points. Each point is some channels from `at` on in its part of `points`.
///
/// `full` says, for rows and columns, whether the phase has a product at ∞, the last point. Without it, that value is 0.
#[inline(always)]
fn gather_points<T: Real, V: Vector<T>>(
    tile: &mut Tile<V>,
    plan: &Plan,
    full: [bool; 2],
    points: &[T],
    stride: usize,
    at: usize,
) {
    let n = plan.line.min(MAX_POINTS);
    let [rows, columns] = full.map(|full| if full { n } else { n - 1 });
    let zero = V::splat(T::zero());
    for (tile, points) in tile[..rows].iter_mut().zip(points.chunks(n * stride)) {
        for (value, points) in tile[..columns].iter_mut().zip(points.chunks(stride)) {
            *value = V::load(&points[at..]);
        }
        tile[columns..n].fill(zero);
    }
    for tile in &mut tile[rows..n] {
        tile[..n].fill(zero);
    }
}

/// The last pass of a transform to points: along each row of a tile, then written out.
#[inline(always)]
fn rows_to_points<T: Real, V: Vector<T>, L: Line, F: Transform<L>>(
    plan: &Plan,
    tile: &Tile<V>,
    out: &mut [T],
    stride: usize,
    at: usize,
) {
    for (tile, out) in tile[..plan.line.min(MAX_POINTS)]
        .iter()
        .zip(out.chunks_mut(L::POINTS * stride))
    {
        let values = apply::<T, V, L, F>(tile);
        for (value, out) in values[..L::POINTS].iter().zip(out.chunks_mut(stride)) {
            value.store(&mut out[at..]);
        }
    }
}

/// `Bᵀ x B` of every tile and phase of some images.
///
/// `x [images, h, w, c_in]` to `out [point, tile][phase][wide_in]`.
pub(super) struct Input<'a, T, L> {
    pub(super) plan: &'a Plan,
    pub(super) x: &'a [T],
    pub(super) out: &'a mut [T],
    pub(super) layout: Layout,
    pub(super) line: PhantomData<L>,
}

impl<T: Real, L: Line> Task<T> for Input<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self) {
        let Self {
            plan, x, out, layout, ..
        } = self;
        let c = plan.c_in;
        let mut patch = blank::<T, V>();
        let mut slot = 0;
        for image in x.chunks_exact(plan.input[0] * plan.input[1] * c) {
            for tile in tiles(plan) {
                let out = &mut out[slot * layout.tile..];
                for (p, &phase) in plan.phases.iter().enumerate() {
                    let places = plan.input_places(phase, tile);
                    for c0 in (0..plan.wide_in).step_by(V::LANES) {
                        gather(&mut patch, plan.line, image, &places, c0, c);
                        along_columns::<T, V, L, transform_1d::Input>(&mut patch, plan.line);
                        let at = p * plan.wide_in + c0;
                        rows_to_points::<T, V, L, transform_1d::Input>(plan, &patch, out, layout.point, at);
                    }
                }
                slot += 1;
            }
        }
    }
}

/// The adjoint of [`Input`]: adds `B p Bᵀ` of every tile and phase to the images, which must start as zeros.
///
/// `points [point, tile][phase][wide_in]`, to `x [images, h, w, c_in]`.
pub(super) struct InputAdjoint<'a, T, L> {
    pub(super) plan: &'a Plan,
    pub(super) points: &'a [T],
    pub(super) x: &'a mut [T],
    pub(super) layout: Layout,
    pub(super) line: PhantomData<L>,
}

impl<T: Real, L: Line> Task<T> for InputAdjoint<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self) {
        let Self {
            plan,
            points,
            x,
            layout,
            ..
        } = self;
        let c = plan.c_in;
        let mut patch = blank::<T, V>();
        let mut slot = 0;
        for image in x.chunks_exact_mut(plan.input[0] * plan.input[1] * c) {
            for tile in tiles(plan) {
                let points = &points[slot * layout.tile..];
                for (p, &phase) in plan.phases.iter().enumerate() {
                    let [rows, columns] = plan.input_places(phase, tile);
                    for c0 in (0..c).step_by(V::LANES) {
                        let at = p * plan.wide_in + c0;
                        gather_points(&mut patch, plan, plan.full(phase), points, layout.point, at);
                        along_columns::<T, V, L, transform_1d::InputAdjoint>(&mut patch, plan.line);
                        for (tile, row) in patch.iter().zip(rows) {
                            let Some(row) = row else { continue };
                            let values = apply::<T, V, L, transform_1d::InputAdjoint>(tile);
                            for (value, column) in values.iter().zip(columns) {
                                let Some(column) = column else { continue };
                                let pixel = row + column;
                                let sum = load::<T, V>(image, pixel + c0, pixel + c).add(*value);
                                store(sum, image, pixel + c0, pixel + c);
                            }
                        }
                    }
                }
                slot += 1;
            }
        }
    }
}

/// `Aᵀ p A` of every tile of some images.
///
/// `points [point, tile][wide_out]`, to `y [images, oh, ow, c_out]`.
pub(super) struct Output<'a, T, L> {
    pub(super) plan: &'a Plan,
    pub(super) points: &'a [T],
    pub(super) y: &'a mut [T],
    pub(super) layout: Layout,
    pub(super) line: PhantomData<L>,
}

impl<T: Real, L: Line> Task<T> for Output<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self) {
        let Self {
            plan,
            points,
            y,
            layout,
            ..
        } = self;
        let c = plan.c_out;
        let mut patch = blank::<T, V>();
        let mut slot = 0;
        for image in y.chunks_exact_mut(plan.output[0] * plan.output[1] * c) {
            for tile in tiles(plan) {
                let points = &points[slot * layout.tile..];
                let [rows, columns] = plan.output_places(tile);
                for c0 in (0..c).step_by(V::LANES) {
                    gather_points(&mut patch, plan, [true; 2], points, layout.point, c0);
                    along_columns::<T, V, L, transform_1d::Output>(&mut patch, plan.line);
                    for (tile, row) in patch.iter().zip(rows) {
                        let Some(row) = row else { continue };
                        let values = apply::<T, V, L, transform_1d::Output>(tile);
                        for (&value, column) in values.iter().zip(columns) {
                            let Some(column) = column else { continue };
                            store(value, image, row + column + c0, row + column + c);
                        }
                    }
                }
                slot += 1;
            }
        }
    }
}

/// The adjoint of [`Output`]: `A dy Aᵀ` of every tile of some images.
///
/// `y [images, oh, ow, c_out]` to `out [point, tile][wide_out]`.
pub(super) struct OutputAdjoint<'a, T, L> {
    pub(super) plan: &'a Plan,
    pub(super) y: &'a [T],
    pub(super) out: &'a mut [T],
    pub(super) layout: Layout,
    pub(super) line: PhantomData<L>,
}

impl<T: Real, L: Line> Task<T> for OutputAdjoint<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self) {
        let Self {
            plan, y, out, layout, ..
        } = self;
        let c = plan.c_out;
        let mut patch = blank::<T, V>();
        let mut slot = 0;
        for image in y.chunks_exact(plan.output[0] * plan.output[1] * c) {
            for tile in tiles(plan) {
                let out = &mut out[slot * layout.tile..];
                let places = plan.output_places(tile);
                for c0 in (0..plan.wide_out).step_by(V::LANES) {
                    gather(&mut patch, plan.step, image, &places, c0, c);
                    along_columns::<T, V, L, transform_1d::OutputAdjoint>(&mut patch, plan.step);
                    rows_to_points::<T, V, L, transform_1d::OutputAdjoint>(
                        plan,
                        &patch,
                        out,
                        layout.point,
                        c0,
                    );
                }
                slot += 1;
            }
        }
    }
}

/// On which side of the products the phases of the weight are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Along the inner index: `w [taps, c_in, c_out]`.
    Inner,
    /// Along the columns: `w [taps, c_out, c_in]`.
    Columns,
}

/// `G w Gᵀ` of one panel of columns, for every phase.
///
/// `w [taps, rows, columns]` to `out [point]`, each `[inner][PANEL]`: the right operand of the products.
pub(super) struct Weight<'a, 'o, T, L> {
    pub(super) plan: &'a Plan,
    pub(super) side: Side,
    pub(super) panel: usize,
    pub(super) w: &'a [T],
    pub(super) out: &'a mut [&'o mut [T]],
    pub(super) line: PhantomData<L>,
}

impl<T: Real, L: Line> Task<T> for Weight<'_, '_, T, L> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self) {
        let Self {
            plan,
            side,
            panel,
            w,
            out,
            ..
        } = self;
        let first = panel * PANEL;
        let (rows, columns, wide, phases, first) = match side {
            Side::Inner => (plan.c_in, plan.c_out, plan.wide_in, 0..plan.phases.len(), first),
            Side::Columns => {
                let phase = first / plan.wide_in;
                (
                    plan.c_out,
                    plan.c_in,
                    plan.wide_out,
                    phase..phase + 1,
                    first % plan.wide_in,
                )
            }
        };
        if wide != rows {
            out.iter_mut().for_each(|out| out.fill(T::zero()));
        }
        let mut patch = blank::<T, V>();
        for (slot, phase) in phases.enumerate() {
            let [kernel_rows, kernel_columns] = plan.tap_places(plan.phases[phase], rows * columns);
            for r in 0..rows {
                for c0 in (0..PANEL).step_by(V::LANES) {
                    let places = [kernel_rows, kernel_columns];
                    let (at, end) = (r * columns + first + c0, (r + 1) * columns);
                    gather(&mut patch, plan.taps, w, &places, at.min(end), end);
                    along_columns::<T, V, L, transform_1d::Taps>(&mut patch, plan.taps);
                    let at = (slot * wide + r) * PANEL + c0;
                    let rows = patch[..plan.line.min(MAX_POINTS)].iter();
                    for (tile, out) in rows.zip(out.chunks_exact_mut(L::POINTS)) {
                        let values = apply::<T, V, L, transform_1d::Taps>(tile);
                        for (value, out) in values.iter().zip(out) {
                            value.store(&mut out[at..]);
                        }
                    }
                }
            }
        }
    }
}

/// `Gᵀ p G` of one input channel: the adjoint of [`Weight`].
///
/// `points [point][phase][wide_in][wide_out]`, points `stride` apart, to `dw [taps, c_out]`.
pub(super) struct WeightAdjoint<'a, T, L> {
    pub(super) plan: &'a Plan,
    pub(super) channel: usize,
    pub(super) points: &'a [T],
    pub(super) dw: &'a mut [T],
    pub(super) stride: usize,
    pub(super) line: PhantomData<L>,
}

impl<T: Real, L: Line> Task<T> for WeightAdjoint<'_, T, L> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self) {
        let Self {
            plan,
            channel,
            points,
            dw,
            stride,
            ..
        } = self;
        let c = plan.c_out;
        let mut patch = blank::<T, V>();
        for (p, &phase) in plan.phases.iter().enumerate() {
            let [rows, columns] = plan.tap_places(phase, c);
            let at = (p * plan.wide_in + channel) * plan.wide_out;
            for c0 in (0..c).step_by(V::LANES) {
                gather_points(&mut patch, plan, plan.full(phase), points, stride, at + c0);
                along_columns::<T, V, L, transform_1d::TapsAdjoint>(&mut patch, plan.line);
                for (tile, row) in patch.iter().zip(rows) {
                    let Some(row) = row else { continue };
                    let values = apply::<T, V, L, transform_1d::TapsAdjoint>(tile);
                    for (&value, column) in values.iter().zip(columns) {
                        let Some(column) = column else { continue };
                        store(value, dw, row + column + c0, row + column + c);
                    }
                }
            }
        }
    }
}
