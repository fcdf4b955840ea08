//! Winograd convolution in two dimensions: fewer multiplications, for all three maps.
//!
//! An image is cut into tiles. Tiles of inputs, tiles of outputs and the kernel are transformed to the same points.
//! At each point, the convolution is one matrix product over the channels. The three maps share
//! the transforms: with `V = Bᵀ x B`, `U = G w Gᵀ` and `Z = A dy Aᵀ`,
//!
//! - forward: `y = Aᵀ [V U] A`,
//! - input gradient: `dx = B [Z Uᵀ] Bᵀ`, tiles added where they overlap,
//! - weight gradient: `dw = Gᵀ [Vᵀ Z] G`, summed over tiles.
//!
//! The bits depend neither on the number of threads nor on the number of images per block. Every number is one
//! chain of operations in an order fixed by the shape.

mod tiling;
mod transform;
pub(crate) mod transform_1d;

use crate::geometry::Geometry;
use crate::kernels::gemm::Accum;
use crate::kernels::pieces::{self, piece};
use crate::kernels::scratch::Scratch;
use crate::kernels::simd::dispatch;
use crate::kernels::tile_product::{Left, PANEL, Right, Target, multiply};
use crate::real::Real;
use std::marker::PhantomData;
use tiling::{Layout, Plan, odd_lines};
use transform::{Input, InputAdjoint, Output, OutputAdjoint, Side, Weight, WeightAdjoint};
use transform_1d::{F4x2, F4x3, F4x4, F4x5, F7x2, F7x3, Line};

/// Tiles per block of the forward map and the input gradient. The intermediate results of a block should stay in
/// the caches. Every block reads the transformed weight again.
const TILES: usize = 16;
/// Tiles per block of the weight gradient. They are the inner index of its products. Every block reads and
/// writes the sums again.
const INNER_TILES: usize = 64;
/// Maximum numbers in the transformed images and gradients that the weight gradient holds, but at least one block.
const HELD: usize = 4 << 20;

/// The one-dimensional algorithm of both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    F4x2,
    F4x3,
    F4x4,
    F4x5,
    F7x2,
    F7x3,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::F4x2,
        Self::F4x3,
        Self::F4x4,
        Self::F4x5,
        Self::F7x2,
        Self::F7x3,
    ];

    /// Outputs of a tile along an axis, and taps.
    fn size(self) -> [usize; 2] {
        fn of<L: Line>() -> [usize; 2] {
            [L::OUTPUTS, L::TAPS]
        }
        match self {
            Self::F4x2 => of::<F4x2>(),
            Self::F4x3 => of::<F4x3>(),
            Self::F4x4 => of::<F4x4>(),
            Self::F4x5 => of::<F4x5>(),
            Self::F7x2 => of::<F7x2>(),
            Self::F7x3 => of::<F7x3>(),
        }
    }
}

/// Calls a function that is generic over the algorithm.
macro_rules! with_line {
    ($kind:expr, $function:ident ( $($argument:expr),* )) => {
        match $kind {
            Kind::F4x2 => $function::<T, F4x2>($($argument),*),
            Kind::F4x3 => $function::<T, F4x3>($($argument),*),
            Kind::F4x4 => $function::<T, F4x4>($($argument),*),
            Kind::F4x5 => $function::<T, F4x5>($($argument),*),
            Kind::F7x2 => $function::<T, F7x2>($($argument),*),
            Kind::F7x3 => $function::<T, F7x3>($($argument),*),
        }
    };
}

/// A convolution prepared for Winograd's algorithms.
#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    plan: Plan,
    kind: Kind,
}

impl Winograd {
    /// The algorithm with the fewest products for this shape; `None` if none fits.
    ///
    /// Square kernels fit that have 2 to 5 taps in each phase of the stride, with stride 1 or 2 and without
    /// dilation.
    pub(crate) fn new(g: &Geometry, c_in: usize, c_out: usize) -> Option<Self> {
        let [kernel, other] = g.kernel;
        let stride = g.stride[0];
        let sizes = [g.input, g.output].concat();
        if kernel != other || stride > 2 || g.stride[1] != stride || g.dilation != [1, 1] || kernel <= stride
        {
            return None;
        }
        if c_in == 0 || c_out == 0 || sizes.contains(&0) {
            return None;
        }
        let taps = kernel.div_ceil(stride);
        let plans = Kind::ALL
            .into_iter()
            .filter(|kind| kind.size()[1] == taps)
            .map(|kind| Self {
                plan: Plan::new(g, c_in, c_out, kind.size()[0], taps),
                kind,
            });
        plans.min_by_key(Self::products)
    }

    /// Multiply-adds per image and pair of channels, without the transforms.
    pub(crate) fn products(&self) -> usize {
        self.plan.tiles() * self.plan.products()
    }

    /// Tiles per image.
    pub(crate) fn tiles(&self) -> usize {
        self.plan.tiles()
    }

    /// `y = conv2d(x, w)`.
    pub(crate) fn forward<T: Real>(&self, x: &[T], w: &[T], y: &mut [T]) {
        let plan = &self.plan;
        with_line!(self.kind, forward(plan, x, w, y));
    }

    /// `dx = conv2d_input(dy, w)`.
    pub(crate) fn input<T: Real>(&self, dy: &[T], w: &[T], dx: &mut [T]) {
        let plan = &self.plan;
        with_line!(self.kind, input(plan, dy, w, dx));
    }

    /// `dw = conv2d_weight(x, dy)`.
    pub(crate) fn weight<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T]) {
        let plan = &self.plan;
        with_line!(self.kind, weight(plan, x, dy, dw));
    }
}

/// Images per block. The result does not depend on it.
fn images_of_a_block(plan: &Plan, images: usize, tiles: usize) -> usize {
    let for_every_thread = images.div_ceil(rayon::current_num_threads());
    (tiles / plan.tiles()).clamp(1, for_every_thread.max(1))
}

/// Numbers per image on either side.
fn image_sizes(plan: &Plan) -> [usize; 2] {
    [
        plan.input[0] * plan.input[1] * plan.c_in,
        plan.output[0] * plan.output[1] * plan.c_out,
    ]
}

/// Distance of two points in a transformed weight.
fn weight_stride(plan: &Plan) -> usize {
    odd_lines(plan.depth() * plan.wide_out)
}

/// The transformed weight `[point][panel][inner][PANEL]`. The products read it sequentially.
fn transformed_weight<T: Real, L: Line>(plan: &Plan, side: Side, w: &[T]) -> Scratch<T> {
    let (inner, columns) = match side {
        Side::Inner => (plan.depth(), plan.wide_out),
        Side::Columns => (plan.wide_out, plan.depth()),
    };
    let panels = columns / PANEL;
    let mut u = Scratch::take(plan.points * weight_stride(plan));
    let mut by_panel: Vec<Vec<&mut [T]>> = (0..panels).map(|_| Vec::with_capacity(plan.points)).collect();
    for point in u.chunks_exact_mut(weight_stride(plan)) {
        for (panel, part) in by_panel.iter_mut().zip(point.chunks_exact_mut(inner * PANEL)) {
            panel.push(part);
        }
    }
    pieces::each(&mut by_panel, 1, |panel, out| {
        let out = &mut out[0];
        dispatch(Weight {
            plan,
            side,
            panel,
            w,
            out,
            line: PhantomData::<L>,
        });
    });
    u
}

fn forward<T: Real, L: Line>(plan: &Plan, x: &[T], w: &[T], y: &mut [T]) {
    let [image_in, image_out] = image_sizes(plan);
    let images = images_of_a_block(plan, x.len() / image_in, TILES);
    let (depth, wide) = (plan.depth(), plan.wide_out);
    let stride = weight_stride(plan);
    let block = |u: &[T], x: &[T], y: &mut [T]| {
        let tiles = x.len() / image_in * plan.tiles();
        let v_layout = Layout::by_tiles(plan.points, tiles, depth);
        let m_layout = Layout::by_tiles(plan.points, tiles, wide);
        let mut v = Scratch::take(v_layout.len);
        let mut m = Scratch::take(m_layout.len);
        dispatch(Input {
            plan,
            x,
            out: &mut v,
            layout: v_layout,
            line: PhantomData::<L>,
        });
        for point in 0..plan.points {
            let active = plan.active(point);
            let first = active.start * plan.wide_in;
            let a = Left {
                data: &v,
                start: point * v_layout.point + first,
                row: v_layout.tile,
                step: 1,
            };
            let b = Right {
                data: u,
                start: point * stride + first * PANEL,
                panel: depth * PANEL,
                step: PANEL,
            };
            let c = Target {
                data: &mut m,
                start: point * m_layout.point,
                row: m_layout.tile,
            };
            multiply(
                [tiles, active.len() * plan.wide_in, wide],
                a,
                b,
                c,
                Accum::Replace,
            );
        }
        dispatch(Output {
            plan,
            points: &m,
            y,
            layout: m_layout,
            line: PhantomData::<L>,
        });
    };
    let u = transformed_weight::<T, L>(plan, Side::Inner, w);
    pieces::each(y, images * image_out, |i, y| {
        block(&u, piece(x, images * image_in, i), y);
    });
}

fn input<T: Real, L: Line>(plan: &Plan, dy: &[T], w: &[T], dx: &mut [T]) {
    let [image_in, image_out] = image_sizes(plan);
    let images = images_of_a_block(plan, dy.len() / image_out, TILES);
    let (depth, wide) = (plan.depth(), plan.wide_out);
    let stride = weight_stride(plan);
    let block = |u: &[T], dy: &[T], dx: &mut [T]| {
        let tiles = dy.len() / image_out * plan.tiles();
        let z_layout = Layout::by_tiles(plan.points, tiles, wide);
        let m_layout = Layout::by_tiles(plan.points, tiles, depth);
        let mut z = Scratch::take(z_layout.len);
        let mut m = Scratch::take(m_layout.len);
        dispatch(OutputAdjoint {
            plan,
            y: dy,
            out: &mut z,
            layout: z_layout,
            line: PhantomData::<L>,
        });
        for point in 0..plan.points {
            let active = plan.active(point);
            let first = active.start * plan.wide_in;
            let a = Left {
                data: &z,
                start: point * z_layout.point,
                row: z_layout.tile,
                step: 1,
            };
            let b = Right {
                data: u,
                start: point * stride + first * wide,
                panel: wide * PANEL,
                step: PANEL,
            };
            let c = Target {
                data: &mut m,
                start: point * m_layout.point + first,
                row: m_layout.tile,
            };
            multiply(
                [tiles, wide, active.len() * plan.wide_in],
                a,
                b,
                c,
                Accum::Replace,
            );
        }
        dx.fill(T::zero());
        dispatch(InputAdjoint {
            plan,
            points: &m,
            x: dx,
            layout: m_layout,
            line: PhantomData::<L>,
        });
    };
    let turned = turn(w, plan.c_in, plan.c_out);
    let u = transformed_weight::<T, L>(plan, Side::Columns, &turned);
    pieces::each(dx, images * image_in, |i, dx| {
        block(&u, piece(dy, images * image_out, i), dx);
    });
}

/// Transposes every `rows × columns` matrix of `w`.
fn turn<T: Real>(w: &[T], rows: usize, columns: usize) -> Scratch<T> {
    /// Side of the squares that are transposed while they are in the cache.
    const SQUARE: usize = 16;
    let mut turned = Scratch::take(w.len());
    let size = rows * columns;
    pieces::each(&mut turned, size, |i, to| {
        let from = piece(w, size, i);
        for r0 in (0..rows).step_by(SQUARE) {
            for c0 in (0..columns).step_by(SQUARE) {
                for c in c0..(c0 + SQUARE).min(columns) {
                    for r in r0..(r0 + SQUARE).min(rows) {
                        to[c * rows + r] = from[r * columns + c];
                    }
                }
            }
        }
    });
    turned
}

fn weight<T: Real, L: Line>(plan: &Plan, x: &[T], dy: &[T], dw: &mut [T]) {
    let [image_in, image_out] = image_sizes(plan);
    let (depth, wide) = (plan.depth(), plan.wide_out);
    let images = images_of_a_block(plan, x.len() / image_in, INNER_TILES);
    let tiles = images * plan.tiles();
    let v_layout = Layout::by_points(plan.points, tiles, depth);
    let z_layout = Layout::by_points(plan.points, tiles, wide);
    let (v_block, z_block) = (v_layout.len, z_layout.len);
    let blocks = (HELD / (v_block + z_block)).clamp(1, (x.len() / image_in).div_ceil(images));
    let stride = weight_stride(plan);
    let transform = |x: &[T], dy: &[T], v: &mut [T], z: &mut [T]| {
        dispatch(Input {
            plan,
            x,
            out: v,
            layout: v_layout,
            line: PhantomData::<L>,
        });
        dispatch(OutputAdjoint {
            plan,
            y: dy,
            out: z,
            layout: z_layout,
            line: PhantomData::<L>,
        });
    };
    let mut sums = Scratch::take(plan.points * stride);
    let mut v = Scratch::take(blocks * v_block);
    let mut z = Scratch::take(blocks * z_block);
    let held = [blocks * images * image_in, blocks * images * image_out];
    for (round, (x, dy)) in x.chunks(held[0]).zip(dy.chunks(held[1])).enumerate() {
        let count = x.len().div_ceil(images * image_in);
        let (v_filled, z_filled) = (&mut v[..count * v_block], &mut z[..count * z_block]);
        pieces::each_of_two((v_filled, v_block), (z_filled, z_block), |i, v, z| {
            transform(
                piece(x, images * image_in, i),
                piece(dy, images * image_out, i),
                v,
                z,
            );
        });
        let (v, z) = (&v, &z);
        pieces::each(&mut sums, stride, |point, sums| {
            let active = plan.active(point);
            let first = active.start * plan.wide_in;
            for (block, x) in x.chunks(images * image_in).enumerate() {
                let tiles = x.len() / image_in * plan.tiles();
                let a = Left {
                    data: v,
                    start: block * v_block + point * v_layout.point + first,
                    row: 1,
                    step: v_layout.tile,
                };
                let b = Right {
                    data: z,
                    start: block * z_block + point * z_layout.point,
                    panel: PANEL,
                    step: z_layout.tile,
                };
                let c = Target {
                    data: &mut *sums,
                    start: first * wide,
                    row: wide,
                };
                let accum = if round + block == 0 {
                    Accum::Replace
                } else {
                    Accum::Add
                };
                multiply([active.len() * plan.wide_in, tiles, wide], a, b, c, accum);
            }
        });
    }
    from_points::<T, L>(plan, &sums, stride, dw);
}

/// The weight gradient from its points, by input channel, reordered by tap.
fn from_points<T: Real, L: Line>(plan: &Plan, points: &[T], stride: usize, dw: &mut [T]) {
    let taps = plan.kernel[0] * plan.kernel[1];
    let row = taps * plan.c_out;
    let mut by_channel = Scratch::take(plan.c_in * row);
    pieces::each(&mut by_channel, row, |channel, dw| {
        dispatch(WeightAdjoint {
            plan,
            channel,
            points,
            dw,
            stride,
            line: PhantomData::<L>,
        });
    });
    let by_channel = &by_channel;
    pieces::each(dw, plan.c_in * plan.c_out, |tap, dw| {
        for (channel, dw) in dw.chunks_exact_mut(plan.c_out).enumerate() {
            let at = channel * row + tap * plan.c_out;
            dw.copy_from_slice(&by_channel[at..at + plan.c_out]);
        }
    });
}

#[cfg(test)]
mod tests;
