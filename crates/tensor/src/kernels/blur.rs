//! The binomial 3x3 filter of every channel.

use crate::kernels::reduce::CHUNK;
use crate::kernels::simd::vectorized;
use crate::kernels::{pieces, scratch};
use crate::real::Real;

/// Filters images `[n, height, width, channels]` with the weights `[1, 2, 1]ᵀ [1, 2, 1] / 16`; pixels outside are 0.
pub(crate) fn blur<T: Real>(x: &[T], [height, width, channels]: [usize; 3]) -> Vec<T> {
    let mut y = scratch::take(x.len());
    if y.is_empty() {
        return y;
    }
    let line = width * channels;
    // One output line: the weighted sum of three lines, then of three pixels.
    let filter = |(row, out): (usize, &mut [T]), column: &mut [T]| {
        let at = |row: usize| &x[row * line..][..line];
        let (middle, quarter) = (at(row), T::from_f64(0.25));
        let inside = row % height;
        column.iter_mut().zip(middle).for_each(|(c, &m)| *c = m + m);
        if inside > 0 {
            add(column, at(row - 1));
        }
        if inside + 1 < height {
            add(column, at(row + 1));
        }
        column.iter_mut().for_each(|c| *c *= quarter);
        out.iter_mut().zip(column.iter()).for_each(|(o, &c)| *o = c + c);
        add(&mut out[channels..], &column[..line - channels]);
        add(&mut out[..line - channels], &column[channels..]);
        out.iter_mut().for_each(|o| *o *= quarter);
    };
    let piece = |first: usize, lines: &mut [T]| {
        let mut column = scratch::take(line);
        vectorized(|| {
            for (i, out) in lines.chunks_exact_mut(line).enumerate() {
                filter((first + i, out), &mut column);
            }
        });
        scratch::give(column);
    };
    let step = (CHUNK / line).max(1);
    if y.len() <= 2 * CHUNK {
        piece(0, &mut y);
    } else {
        pieces::each(&mut y, step * line, |i, lines| piece(i * step, lines));
    }
    y
}

/// `sum += values`.
fn add<T: Real>(sum: &mut [T], values: &[T]) {
    sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += value);
}
