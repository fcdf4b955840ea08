//! Transposes many small or large matrices.

use crate::kernels::reduce::CHUNK;
use crate::kernels::{pieces, scratch};
use crate::real::Real;

/// Side of the tiles that are transposed at once: a cache line of `f32`.
const TILE: usize = 16;

/// Transposes every matrix of `x`, `[matrices, rows, columns]` to `[matrices, columns, rows]`.
pub(crate) fn transpose<T: Real>(x: &[T], [rows, columns]: [usize; 2]) -> Vec<T> {
    let mut y = scratch::take(x.len());
    if y.is_empty() {
        return y;
    }
    let matrix = rows * columns;
    // The rows of `y` from `first` on, which are columns of the matrix that holds them.
    let piece = |first: usize, lines: &mut [T]| {
        for (i, to) in lines.chunks_mut(TILE * rows).enumerate() {
            let start = first + i * TILE;
            let from = &x[start / columns * matrix + start % columns..];
            for row in (0..rows).step_by(TILE) {
                let height = TILE.min(rows - row);
                for (j, to) in to.chunks_exact_mut(rows).enumerate() {
                    let to = &mut to[row..row + height];
                    to.iter_mut()
                        .enumerate()
                        .for_each(|(k, to)| *to = from[(row + k) * columns + j]);
                }
            }
        }
    };
    let tile_lines = TILE * rows;
    // Pieces end at the borders of matrices.
    let per_matrix = |k: usize, y: &mut [T]| {
        let step = (CHUNK / tile_lines).max(1);
        if matrix <= 2 * CHUNK {
            return piece(k * columns, y);
        }
        pieces::each(y, step * tile_lines, |i, lines| {
            piece(k * columns + i * step * TILE, lines);
        });
    };
    if x.len() <= 2 * CHUNK {
        y.chunks_exact_mut(matrix)
            .enumerate()
            .for_each(|(k, y)| per_matrix(k, y));
    } else {
        pieces::each(&mut y, matrix, per_matrix);
    }
    y
}
