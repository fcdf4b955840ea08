//! Operands of a matrix unit: rounded, in the order in which it reads them.

use super::product::{BLOCK, Convert, DEPTH, Pack, SIDE, Tile};
use std::ops::Range;

/// The `N` numbers at the start of `from`, with zeros after its end.
#[inline(always)]
fn padded<const N: usize>(from: &[f32]) -> [f32; N] {
    match from.first_chunk() {
        Some(whole) => *whole,
        None => {
            let mut found = [0.0; N];
            found[..from.len()].copy_from_slice(from);
            found
        }
    }
}

/// Operands that are filled together: 32 kB, so that they stay in the L1 cache until all their rows are written.
const fn near<const PARTS: usize>() -> usize {
    16 / PARTS
}

/// Left operands whose rows are images and whose inner index is a range of channels: one for each 32 of them, for every pixel of
/// a rectangle.
pub(super) struct Images<'a, const PARTS: usize> {
    /// Up to 32 images.
    pub(super) images: &'a [f32],
    /// Columns and channels of an image.
    pub(super) width: usize,
    pub(super) channels: usize,
    /// Numbers of an image.
    pub(super) len: usize,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    /// Channels that are read.
    pub(super) range: Range<usize>,
    pub(super) out: &'a mut [Tile],
}

impl<const PARTS: usize> Pack for Images<'_, PARTS> {
    #[inline(always)]
    fn run<C: Convert>(self) {
        let depth = self.range.len().div_ceil(DEPTH);
        let near = (near::<PARTS>() / depth).max(1);
        let mut out = self.out.chunks_mut(self.columns.len() * depth * PARTS * BLOCK);
        for row in self.rows.clone() {
            let Some(out) = out.next() else { return };
            for (block, out) in out.chunks_mut(near * depth * PARTS * BLOCK).enumerate() {
                let first = self.columns.start + block * near;
                let count = (self.columns.end - first).min(near);
                for (i, image) in self.images.chunks_exact(self.len).enumerate() {
                    let mut operands = out.chunks_exact_mut(PARTS * BLOCK);
                    let pixels =
                        &image[(row * self.width + first) * self.channels..][..count * self.channels];
                    for pixel in pixels.chunks_exact(self.channels) {
                        let channels = pixel[self.range.clone()].chunks(DEPTH);
                        for (channels, operand) in channels.zip(operands.by_ref().take(depth)) {
                            C::prefetch(channels.as_ptr().wrapping_add(pixels.len()));
                            C::prefetch(channels.as_ptr().wrapping_add(pixels.len() + SIDE));
                            let found = C::row::<PARTS>(&padded(channels));
                            for part in 0..PARTS {
                                operand[part * BLOCK + i / SIDE].0[i % SIDE] = found[part];
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How a weight `[taps, channels in, channels out]` is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contracted {
    /// The inner index is the channels in, the columns are the channels out.
    In,
    /// The reverse.
    Out,
}

/// Right operands of a tap of a weight: `[inner / 32]` for 32 columns.
pub(super) struct Weight<'a, const PARTS: usize> {
    pub(super) weight: &'a [f32],
    /// Channels in and out.
    pub(super) channels: [usize; 2],
    pub(super) contracted: Contracted,
    /// The first of the columns.
    pub(super) first: usize,
    pub(super) out: &'a mut [Tile],
}

impl<const PARTS: usize> Pack for Weight<'_, PARTS> {
    #[inline(always)]
    fn run<C: Convert>(self) {
        let [c_in, c_out] = self.channels;
        let [inner, columns] = match self.contracted {
            Contracted::In => [c_in, c_out],
            Contracted::Out => [c_out, c_in],
        };
        let weight = self.weight;
        let out = self.out.chunks_exact_mut(PARTS * BLOCK);
        for (start, operand) in (0..inner).step_by(DEPTH).zip(out) {
            for half in 0..BLOCK {
                let first = self.first + half * SIDE;
                if first >= columns {
                    break;
                }
                let count = (columns - first).min(SIDE);
                match self.contracted {
                    Contracted::In => {
                        let row = |i: usize| match weight.get(i * c_out..(i + 1) * c_out) {
                            Some(row) => padded(&row[first..first + count]),
                            None => [0.0; SIDE],
                        };
                        for k in 0..SIDE {
                            let i = start + 2 * k;
                            let found = C::pairs::<PARTS>(&row(i), &row(i + 1));
                            for part in 0..PARTS {
                                operand[part * BLOCK + half].0[k] = found[part];
                            }
                        }
                    }
                    Contracted::Out => {
                        let depth = (inner - start).min(DEPTH);
                        for j in 0..SIDE {
                            let found = if j < count {
                                let row = &weight[(first + j) * c_out + start..][..depth];
                                C::row::<PARTS>(&padded(row))
                            } else {
                                [[0; SIDE]; PARTS]
                            };
                            for part in 0..PARTS {
                                operand[part * BLOCK + half].0[j] = found[part];
                            }
                        }
                        for part in 0..PARTS {
                            C::transpose(&mut operand[part * BLOCK + half]);
                        }
                    }
                }
            }
        }
    }
}

/// Operands whose inner index is images and pixels, of 32 channels: one for each start of a line of pixels.
///
/// The inner index runs over `group` images of a pixel, then over those of the next pixel, `step` columns further.
pub(super) struct Pixels<'a, const PARTS: usize> {
    /// Up to `group` images.
    pub(super) images: &'a [f32],
    /// Columns and channels of an image.
    pub(super) width: usize,
    pub(super) channels: usize,
    /// Numbers of an image.
    pub(super) len: usize,
    pub(super) group: usize,
    pub(super) row: usize,
    /// The first column of each operand is `first + i · stride`. Columns outside the image count as zero.
    pub(super) first: isize,
    pub(super) stride: usize,
    /// Columns between two pixels of an operand.
    pub(super) step: usize,
    /// The first channel.
    pub(super) channel: usize,
    /// Whether the operand is a left one.
    pub(super) is_left: bool,
    pub(super) out: &'a mut [Tile],
}

/// 16 numbers, or zeros where the line ends before.
#[inline(always)]
fn numbers<'a>(line: &'a [f32], from: usize, zeros: &'a [f32; SIDE]) -> &'a [f32; SIDE] {
    line.get(from..)
        .and_then(|rest| rest.first_chunk())
        .unwrap_or(zeros)
}

/// Copies numbers, if the line has them.
#[inline(always)]
fn copy(line: &[f32], from: usize, count: usize, to: &mut [f32; SIDE]) {
    if let Some(found) = line.get(from..).and_then(|rest| rest.get(..count)) {
        to[..count].copy_from_slice(found);
    }
}

impl<const PARTS: usize> Pixels<'_, PARTS> {
    /// The line of pixels of an image, empty for one that does not exist.
    #[inline(always)]
    fn line(&self, image: usize) -> &[f32] {
        let line = self.width * self.channels;
        let start = image * self.len + self.row * line;
        self.images.get(start..start + line).unwrap_or_default()
    }
}

impl<const PARTS: usize> Pack for Pixels<'_, PARTS> {
    #[inline(always)]
    fn run<C: Convert>(mut self) {
        let pairs = self.group / 2;
        let out = std::mem::take(&mut self.out);
        let zeros = [0.0; SIDE];
        let channels = self.channels - self.channel;
        let ahead = near::<PARTS>() * self.stride * self.channels;
        for (block, out) in out.chunks_mut(near::<PARTS>() * PARTS * BLOCK).enumerate() {
            let first_column = self.first + (block * near::<PARTS>() * self.stride) as isize;
            for k in 0..SIDE {
                let start = first_column + (k / pairs * self.step) as isize;
                let image = k % pairs * 2;
                let [first, second] = [self.line(image), self.line(image + 1)];
                for (i, operand) in out.chunks_exact_mut(PARTS * BLOCK).enumerate() {
                    let column = start + (i * self.stride) as isize;
                    let is_inside = (0..self.width as isize).contains(&column);
                    let at = column.max(0) as usize * self.channels + self.channel;
                    let mut rest = channels;
                    for half in 0..BLOCK {
                        if rest == 0 {
                            break;
                        }
                        let from = if is_inside { at + half * SIDE } else { usize::MAX };
                        for line in [first, second] {
                            C::prefetch(line.as_ptr().wrapping_add(ahead + at + half * SIDE));
                        }
                        let [mut a, mut b] = [zeros; 2];
                        let found = if rest >= SIDE {
                            C::pairs::<PARTS>(numbers(first, from, &zeros), numbers(second, from, &zeros))
                        } else {
                            copy(first, from, rest, &mut a);
                            copy(second, from, rest, &mut b);
                            C::pairs::<PARTS>(&a, &b)
                        };
                        for part in 0..PARTS {
                            operand[part * BLOCK + half].0[k] = found[part];
                        }
                        rest = rest.saturating_sub(SIDE);
                    }
                }
            }
            if self.is_left {
                for operand in out.chunks_exact_mut(PARTS * BLOCK) {
                    for half in 0..channels.div_ceil(SIDE).min(BLOCK) {
                        for part in 0..PARTS {
                            C::transpose(&mut operand[part * BLOCK + half]);
                        }
                    }
                }
            }
        }
    }
}
