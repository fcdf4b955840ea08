//! Upsampling by a whole factor and sum pooling: each is the adjoint of the other.

use crate::kernels::pieces::{self, piece};
use crate::kernels::reduce::CHUNK;
use crate::kernels::scratch;
use crate::kernels::simd::vectorized;
use crate::real::Real;

/// Sizes of a line of pixels in the small and the large image.
#[derive(Clone, Copy)]
pub(crate) struct Lines {
    /// Numbers per pixel.
    pub(crate) channels: usize,
    /// Pixels per line of the small image.
    pub(crate) width: usize,
    /// Pixels of the large image per pixel of the small one, along each axis.
    pub(crate) factor: usize,
}

impl Lines {
    /// Numbers in a line of the small image, and in the corresponding lines of the large one.
    fn lengths(self) -> [usize; 2] {
        let line = self.width * self.channels;
        [line, line * self.factor * self.factor]
    }

    /// Small lines per piece of parallel work.
    fn step(self) -> usize {
        (CHUNK / self.lengths()[1]).max(1)
    }
}

/// Repeats every pixel of `small` as a block of `factor · factor` pixels.
pub(crate) fn repeat<T: Real>(small: &[T], lines: Lines) -> Vec<T> {
    let Lines { channels, factor, .. } = lines;
    let mut large = scratch::take(small.len() * factor * factor);
    if large.is_empty() {
        return large;
    }
    let [line, block] = lines.lengths();
    let part = |large: &mut [T], small: &[T]| {
        for (block, small) in large.chunks_exact_mut(block).zip(small.chunks_exact(line)) {
            let (first, others) = block.split_at_mut(line * factor);
            let pixels = first
                .chunks_exact_mut(channels * factor)
                .zip(small.chunks_exact(channels));
            for (copies, pixel) in pixels {
                for copy in copies.chunks_exact_mut(channels) {
                    copy.copy_from_slice(pixel);
                }
            }
            for other in others.chunks_exact_mut(line * factor) {
                other.copy_from_slice(first);
            }
        }
    };
    if large.len() <= 2 * CHUNK {
        part(&mut large, small);
    } else {
        let step = lines.step();
        pieces::each(&mut large, step * block, |i, large| {
            part(large, piece(small, step * line, i));
        });
    }
    large
}

/// Sums every block of `factor · factor` pixels of `large`.
pub(crate) fn sum_blocks<T: Real>(large: &[T], lines: Lines) -> Vec<T> {
    let Lines { channels, factor, .. } = lines;
    let mut small = scratch::take(large.len() / (factor * factor));
    if small.is_empty() {
        return small;
    }
    let [line, block] = lines.lengths();
    let part = |small: &mut [T], large: &[T]| {
        vectorized(|| {
            for (small, block) in small.chunks_exact_mut(line).zip(large.chunks_exact(block)) {
                small.fill(T::zero());
                for large in block.chunks_exact(line * factor) {
                    let pixels = small
                        .chunks_exact_mut(channels)
                        .zip(large.chunks_exact(channels * factor));
                    for (sum, pixels) in pixels {
                        for pixel in pixels.chunks_exact(channels) {
                            sum.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += value);
                        }
                    }
                }
            }
        });
    };
    if large.len() <= 2 * CHUNK {
        part(&mut small, large);
    } else {
        let step = lines.step();
        pieces::each(&mut small, step * line, |i, small| {
            part(small, piece(large, step * block, i));
        });
    }
    small
}
