//! The one-dimensional algorithms `F(m, r)`: `m` outputs of a correlation with `r` taps from `m + r - 1` products.
//!
//! With interpolation points `a_j` (one of them ∞), a correlation is `y = Aᵀ [(G w) ⊙ (Bᵀ x)]`. `Aᵀ` evaluates
//! powers of the points. `G` evaluates the taps as a polynomial and divides by `N_j = Π_{l≠j} (a_j - a_l)`. Row
//! `j` of `Bᵀ` holds the coefficients of `Π_{l≠j} (x - a_l)`. The gradients of a correlation use the same
//! three matrices transposed.
//!
//! All finite points except 0 come in pairs `±a`. The two rows of a pair share an even and an odd part, which
//! halves the work. The points of each algorithm were optimized for a small rounding error of all three
//! maps; see `docs/performance.md`.
//!
//! *Source*: Winograd, "Arithmetic complexity of computations", 1980; Lavin and Gray, "Fast algorithms for
//! convolutional neural networks", 2016; Barabasz et al., "Error analysis and improving the accuracy of Winograd
//! convolution for deep neural networks", 2020.

// Indices run over several arrays at once, with steps. Iterators would hide which points they mean.
#![allow(clippy::needless_range_loop)]

use crate::kernels::simd::Vector;
use crate::real::Real;

/// Maximum number of points of an algorithm, including ∞.
pub(crate) const MAX_POINTS: usize = 9;
/// Maximum number of pairs of points.
const MAX_PAIRS: usize = 4;

/// Values at the points, or the taps, inputs or outputs of a line. Only the first few are used.
pub(crate) type Values<V> = [V; MAX_POINTS];

/// An algorithm `F(OUTPUTS, TAPS)`. Its points are `±a` for `a` in `PAIRS`, ∞, and 0 if one more is needed.
pub(crate) trait Line {
    const OUTPUTS: usize;
    const TAPS: usize;
    const PAIRS: &'static [f64];

    /// Number of points, including ∞, which is the last one. The others are `[0,] +a, -a, +b, -b, ..`.
    const POINTS: usize = Self::OUTPUTS + Self::TAPS - 1;
    /// 1 if 0 is among the points, else 0.
    const ZERO: usize = 1 - Self::POINTS % 2;
    #[doc(hidden)]
    const TABLE: Table = Table::new(Self::PAIRS, Self::ZERO, Self::POINTS);
}

/// The numbers of the matrices, computed at compile time.
pub(crate) struct Table {
    /// Coefficients of `Π_{b≠a} (x² - b²)` for each pair, lowest first.
    others: [[f64; MAX_PAIRS]; MAX_PAIRS],
    /// Coefficients of `Π_b (x² - b²)`, lowest first.
    all: [f64; MAX_PAIRS + 1],
    /// `1 / N` of the positive point of each pair.
    scale: [f64; MAX_PAIRS],
    /// `1 / N` of the point 0.
    scale_zero: f64,
    /// Powers of the positive point of each pair.
    powers: [[f64; MAX_POINTS]; MAX_PAIRS],
}

/// Coefficients of `Π (x² - b²)` over all pairs except `without`.
const fn product(pairs: &[f64], without: usize) -> [f64; MAX_PAIRS + 1] {
    let mut p = [0.0; MAX_PAIRS + 1];
    p[0] = 1.0;
    let (mut degree, mut i) = (0, 0);
    while i < pairs.len() {
        if i != without {
            let b2 = pairs[i] * pairs[i];
            degree += 1;
            let mut d = degree;
            while d > 0 {
                p[d] = p[d - 1] - b2 * p[d];
                d -= 1;
            }
            p[0] *= -b2;
        }
        i += 1;
    }
    p
}

impl Table {
    const fn new(pairs: &[f64], zero: usize, points: usize) -> Self {
        assert!(points <= MAX_POINTS && 2 * pairs.len() + zero + 1 == points);
        let all = product(pairs, usize::MAX);
        let mut table = Self {
            others: [[0.0; MAX_PAIRS]; MAX_PAIRS],
            all,
            scale: [0.0; MAX_PAIRS],
            scale_zero: 1.0 / all[0],
            powers: [[0.0; MAX_POINTS]; MAX_PAIRS],
        };
        let mut i = 0;
        while i < pairs.len() {
            let (a, others) = (pairs[i], product(pairs, i));
            let (mut value, mut power, mut k) = (0.0, 1.0, 0);
            while k < MAX_PAIRS {
                table.others[i][k] = others[k];
                value += others[k] * power;
                power *= a * a;
                k += 1;
            }
            table.scale[i] = 1.0 / (2.0 * a * value * if zero == 1 { a } else { 1.0 });
            table.powers[i][0] = 1.0;
            let mut k = 1;
            while k < MAX_POINTS {
                table.powers[i][k] = table.powers[i][k - 1] * a;
                k += 1;
            }
            i += 1;
        }
        table
    }
}

#[inline(always)]
fn constant<T: Real, V: Vector<T>>(x: f64) -> V {
    V::splat(T::from_f64(x))
}

/// `x · c + y` for a constant, without the product if `c` is 1.
#[inline(always)]
fn add_scaled<T: Real, V: Vector<T>>(y: V, x: V, c: f64) -> V {
    if c == 1.0 {
        y.add(x)
    } else {
        x.mul_add(constant(c), y)
    }
}

#[inline(always)]
fn scaled<T: Real, V: Vector<T>>(x: V, c: f64) -> V {
    if c == 1.0 { x } else { x.mul(constant(c)) }
}

/// `Σ_i c_i x[first + 2 i]` for `i < count`.
#[inline(always)]
fn every_second<T: Real, V: Vector<T>>(c: &[f64], x: &Values<V>, first: usize, count: usize) -> V {
    let mut sum = scaled(x[first], c[0]);
    for i in 1..count {
        sum = add_scaled(sum, x[first + 2 * i], c[i]);
    }
    sum
}

/// A transform of one line of values. A type instead of a function: a function passed as a value is not inlined, and
/// only inlined code uses the instructions of its [`Task`](crate::kernels::simd::Task).
pub(crate) trait Transform<L: Line> {
    /// Values that are read.
    const FROM: usize;
    /// Values that are written.
    const TO: usize;

    fn apply<T: Real, V: Vector<T>>(x: &Values<V>) -> Values<V>;
}

/// `Bᵀ x`: inputs to points.
pub(crate) struct Input;

impl<L: Line> Transform<L> for Input {
    const FROM: usize = L::POINTS;
    const TO: usize = L::POINTS;

    #[inline(always)]
    fn apply<T: Real, V: Vector<T>>(x: &Values<V>) -> Values<V> {
        let (table, pairs) = (&L::TABLE, L::PAIRS.len());
        let mut out = [V::splat(T::zero()); MAX_POINTS];
        if L::ZERO == 1 {
            out[0] = every_second(&table.all, x, 0, pairs + 1);
        }
        for i in 0..pairs {
            let even: V = every_second(&table.others[i], x, L::ZERO + 1, pairs);
            let odd: V = every_second(&table.others[i], x, L::ZERO, pairs);
            let odd = scaled(odd, L::PAIRS[i]);
            out[L::ZERO + 2 * i] = even.add(odd);
            out[L::ZERO + 2 * i + 1] = even.sub(odd);
        }
        out[L::POINTS - 1] = every_second(&table.all, x, L::ZERO, pairs + 1);
        out
    }
}

/// `B x`: points to inputs.
pub(crate) struct InputAdjoint;

impl<L: Line> Transform<L> for InputAdjoint {
    const FROM: usize = L::POINTS;
    const TO: usize = L::POINTS;

    #[inline(always)]
    fn apply<T: Real, V: Vector<T>>(x: &Values<V>) -> Values<V> {
        let (table, pairs) = (&L::TABLE, L::PAIRS.len());
        let mut out = [V::splat(T::zero()); MAX_POINTS];
        for i in 0..=pairs {
            out[L::ZERO + 2 * i] = scaled(x[L::POINTS - 1], table.all[i]);
        }
        if L::ZERO == 1 {
            for i in 0..=pairs {
                out[2 * i] = scaled(x[0], table.all[i]);
            }
        }
        for i in 0..pairs {
            let (plus, minus) = (x[L::ZERO + 2 * i], x[L::ZERO + 2 * i + 1]);
            let even = plus.add(minus);
            let odd = scaled(plus.sub(minus), L::PAIRS[i]);
            for k in 0..pairs {
                let c = table.others[i][k];
                out[L::ZERO + 2 * k + 1] = add_scaled(out[L::ZERO + 2 * k + 1], even, c);
                out[L::ZERO + 2 * k] = add_scaled(out[L::ZERO + 2 * k], odd, c);
            }
        }
        out
    }
}

/// `Aᵀ x`: points to outputs.
pub(crate) struct Output;

impl<L: Line> Transform<L> for Output {
    const FROM: usize = L::POINTS;
    const TO: usize = L::OUTPUTS;

    #[inline(always)]
    fn apply<T: Real, V: Vector<T>>(x: &Values<V>) -> Values<V> {
        let (table, pairs) = (&L::TABLE, L::PAIRS.len());
        let mut out = [V::splat(T::zero()); MAX_POINTS];
        for i in 0..pairs {
            let (plus, minus) = (x[L::ZERO + 2 * i], x[L::ZERO + 2 * i + 1]);
            let (even, odd) = (plus.add(minus), plus.sub(minus));
            for k in 0..L::OUTPUTS {
                let part = if k % 2 == 0 { even } else { odd };
                out[k] = if i == 0 {
                    scaled(part, table.powers[i][k])
                } else {
                    add_scaled(out[k], part, table.powers[i][k])
                };
            }
        }
        if L::ZERO == 1 {
            out[0] = out[0].add(x[0]);
        }
        out[L::OUTPUTS - 1] = out[L::OUTPUTS - 1].add(x[L::POINTS - 1]);
        out
    }
}

/// Even and odd part of a polynomial with coefficients `x` at the positive point of pair `i`.
#[inline(always)]
fn even_odd<T: Real, V: Vector<T>, L: Line>(x: &Values<V>, i: usize, count: usize) -> (V, V) {
    let powers = &L::TABLE.powers[i];
    let mut even = x[0];
    for k in (2..count).step_by(2) {
        even = add_scaled(even, x[k], powers[k]);
    }
    let mut odd = V::splat(T::zero());
    for k in (1..count).step_by(2) {
        odd = if k == 1 {
            scaled(x[k], powers[k])
        } else {
            add_scaled(odd, x[k], powers[k])
        };
    }
    (even, odd)
}

/// `A y`: outputs to points.
pub(crate) struct OutputAdjoint;

impl<L: Line> Transform<L> for OutputAdjoint {
    const FROM: usize = L::OUTPUTS;
    const TO: usize = L::POINTS;

    #[inline(always)]
    fn apply<T: Real, V: Vector<T>>(y: &Values<V>) -> Values<V> {
        let mut out = [V::splat(T::zero()); MAX_POINTS];
        out[0] = y[0];
        for i in 0..L::PAIRS.len() {
            let (even, odd) = even_odd::<T, V, L>(y, i, L::OUTPUTS);
            out[L::ZERO + 2 * i] = even.add(odd);
            out[L::ZERO + 2 * i + 1] = even.sub(odd);
        }
        out[L::POINTS - 1] = y[L::OUTPUTS - 1];
        out
    }
}

/// `G w`: taps to points.
pub(crate) struct Taps;

impl<L: Line> Transform<L> for Taps {
    const FROM: usize = L::TAPS;
    const TO: usize = L::POINTS;

    #[inline(always)]
    fn apply<T: Real, V: Vector<T>>(w: &Values<V>) -> Values<V> {
        let table = &L::TABLE;
        let mut out = [V::splat(T::zero()); MAX_POINTS];
        out[0] = scaled(w[0], table.scale_zero);
        for i in 0..L::PAIRS.len() {
            let (even, odd) = even_odd::<T, V, L>(w, i, L::TAPS);
            out[L::ZERO + 2 * i] = scaled(even.add(odd), table.scale[i]);
            // Without the point 0, N changes its sign with its point.
            let scale = if L::ZERO == 1 {
                table.scale[i]
            } else {
                -table.scale[i]
            };
            out[L::ZERO + 2 * i + 1] = scaled(even.sub(odd), scale);
        }
        out[L::POINTS - 1] = w[L::TAPS - 1];
        out
    }
}

/// `Gᵀ x`: points to taps.
pub(crate) struct TapsAdjoint;

impl<L: Line> Transform<L> for TapsAdjoint {
    const FROM: usize = L::POINTS;
    const TO: usize = L::TAPS;

    #[inline(always)]
    fn apply<T: Real, V: Vector<T>>(x: &Values<V>) -> Values<V> {
        let table = &L::TABLE;
        let mut out = [V::splat(T::zero()); MAX_POINTS];
        for i in 0..L::PAIRS.len() {
            let plus = scaled(x[L::ZERO + 2 * i], table.scale[i]);
            let scale = if L::ZERO == 1 {
                table.scale[i]
            } else {
                -table.scale[i]
            };
            let minus = scaled(x[L::ZERO + 2 * i + 1], scale);
            let (even, odd) = (plus.add(minus), plus.sub(minus));
            for k in 0..L::TAPS {
                let part = if k % 2 == 0 { even } else { odd };
                out[k] = if i == 0 {
                    scaled(part, table.powers[i][k])
                } else {
                    add_scaled(out[k], part, table.powers[i][k])
                };
            }
        }
        if L::ZERO == 1 {
            out[0] = add_scaled(out[0], x[0], table.scale_zero);
        }
        out[L::TAPS - 1] = out[L::TAPS - 1].add(x[L::POINTS - 1]);
        out
    }
}

/// Declares an algorithm.
macro_rules! line {
    ($name:ident, $outputs:literal, $taps:literal, $pairs:expr) => {
        #[doc = concat!("`F(", $outputs, ", ", $taps, ")`.")]
        pub(crate) struct $name;

        impl Line for $name {
            const OUTPUTS: usize = $outputs;
            const TAPS: usize = $taps;
            const PAIRS: &'static [f64] = &$pairs;
        }
    };
}

line!(F4x2, 4, 2, [0.375, 1.375]);
line!(F4x3, 4, 3, [0.625, 1.5]);
line!(F4x4, 4, 4, [0.125, 0.875, 2.0]);
line!(F4x5, 4, 5, [0.5, 1.0, 2.0]);
line!(F7x2, 7, 2, [0.5, 1.125, 1.75]);
line!(F7x3, 7, 3, [0.25, 0.625, 1.125, 2.125]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::Portable;

    type V = Portable<f64>;

    fn apply<F: Transform<L>, L: Line>(x: &Values<V>) -> Values<V> {
        F::apply::<f64, V>(x)
    }

    fn values(x: &[f64]) -> Values<V> {
        std::array::from_fn(|i| V::splat(x.get(i).copied().unwrap_or(0.0)))
    }

    fn numbers(x: &Values<V>, count: usize) -> Vec<f64> {
        let first = |v: &V| {
            let mut lanes = [0.0; 8];
            v.store(&mut lanes);
            lanes[0]
        };
        x[..count].iter().map(first).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn check<L: Line>() {
        let n = L::POINTS;
        let x: Vec<f64> = (0..n).map(|i| (i * 7 % 5) as f64 - 1.7).collect();
        let w: Vec<f64> = (0..L::TAPS).map(|i| (i * 3 % 4) as f64 - 1.1).collect();
        let y: Vec<f64> = (0..L::OUTPUTS).map(|i| (i * 5 % 7) as f64 - 2.3).collect();
        let p: Vec<f64> = (0..n).map(|i| (i * 4 % 9) as f64 - 3.2).collect();
        let bx = numbers(&apply::<Input, L>(&values(&x)), n);
        let gw = numbers(&apply::<Taps, L>(&values(&w)), n);
        let ay = numbers(&apply::<OutputAdjoint, L>(&values(&y)), n);
        let product: Vec<f64> = bx.iter().zip(&gw).map(|(b, g)| b * g).collect();
        let found = numbers(&apply::<Output, L>(&values(&product)), L::OUTPUTS);
        for (o, found) in found.iter().enumerate() {
            let wanted = dot(&x[o..o + L::TAPS], &w);
            assert!(
                (found - wanted).abs() < 1e-12,
                "F({}, {}) output {o}: {found} for {wanted}",
                L::OUTPUTS,
                L::TAPS
            );
        }
        // Each adjoint by its definition: <M x, p> = <x, Mᵀ p>.
        let adjoint = [
            (
                dot(&bx, &p),
                dot(&x, &numbers(&apply::<InputAdjoint, L>(&values(&p)), n)),
            ),
            (
                dot(&gw, &p),
                dot(&w, &numbers(&apply::<TapsAdjoint, L>(&values(&p)), L::TAPS)),
            ),
            (
                dot(&ay, &p),
                dot(&y, &numbers(&apply::<Output, L>(&values(&p)), L::OUTPUTS)),
            ),
        ];
        for (i, (a, b)) in adjoint.iter().enumerate() {
            assert!(
                (a - b).abs() < 1e-9 * a.abs().max(1.0),
                "F({}, {}) adjoint {i}: {a} and {b}",
                L::OUTPUTS,
                L::TAPS
            );
        }
    }

    #[test]
    fn every_algorithm_is_a_correlation_with_true_adjoints() {
        check::<F4x2>();
        check::<F4x3>();
        check::<F4x4>();
        check::<F4x5>();
        check::<F7x2>();
        check::<F7x3>();
    }
}
