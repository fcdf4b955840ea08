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

/// Left operands whose rows are images and whose inner index is the channels: for every pixel of a rectangle
/// `[channels / 32]` operands.
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
    pub(super) out: &'a mut [Tile],
}

impl<const PARTS: usize> Pack for Images<'_, PARTS> {
    #[inline(always)]
    fn run<C: Convert>(self) {
        let depth = self.channels.div_ceil(DEPTH);
        for (i, image) in self.images.chunks_exact(self.len).enumerate() {
            let mut out = self.out.chunks_exact_mut(PARTS * BLOCK);
            for row in self.rows.clone() {
                let pixels = &image[(row * self.width + self.columns.start) * self.channels..]
                    [..self.columns.len() * self.channels];
                for pixel in pixels.chunks_exact(self.channels) {
                    for (channels, operand) in pixel.chunks(DEPTH).zip(out.by_ref().take(depth)) {
                        let found = C::row::<PARTS>(&padded(channels));
                        for (part, found) in found.into_iter().enumerate() {
                            operand[part * BLOCK + i / SIDE].0[i % SIDE] = found;
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

/// Right operands of a weight: `[taps, inner / 32]` for 32 columns.
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
        let mut out = self.out.chunks_exact_mut(PARTS * BLOCK);
        for weight in self.weight.chunks_exact(c_in * c_out) {
            for (start, operand) in (0..inner).step_by(DEPTH).zip(out.by_ref()) {
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
                                for (part, found) in found.into_iter().enumerate() {
                                    operand[part * BLOCK + half].0[k] = found;
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
                                for (part, found) in found.into_iter().enumerate() {
                                    operand[part * BLOCK + half].0[j] = found;
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

impl<const PARTS: usize> Pack for Pixels<'_, PARTS> {
    #[inline(always)]
    fn run<C: Convert>(self) {
        let pairs = self.group / 2;
        let count = self.images.len() / self.len;
        for (i, operand) in self.out.chunks_exact_mut(PARTS * BLOCK).enumerate() {
            let start = self.first + (i * self.stride) as isize;
            for half in 0..BLOCK {
                let channel = self.channel + half * SIDE;
                if channel >= self.channels {
                    break;
                }
                let channels = (self.channels - channel).min(SIDE);
                for k in 0..SIDE {
                    let column = start + (k / pairs * self.step) as isize;
                    let image = k % pairs * 2;
                    let numbers = |image: usize| {
                        if image >= count || !(0..self.width as isize).contains(&column) {
                            return [0.0; SIDE];
                        }
                        let pixel = self.row * self.width + column as usize;
                        padded(&self.images[image * self.len + pixel * self.channels + channel..][..channels])
                    };
                    let found = C::pairs::<PARTS>(&numbers(image), &numbers(image + 1));
                    for (part, found) in found.into_iter().enumerate() {
                        operand[part * BLOCK + half].0[k] = found;
                    }
                }
                if self.is_left {
                    for part in 0..PARTS {
                        C::transpose(&mut operand[part * BLOCK + half]);
                    }
                }
            }
        }
    }
}
