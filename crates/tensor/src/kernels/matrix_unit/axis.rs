//! Which pixels of two images meet in a map, along one axis.

use crate::geometry::Geometry;
use std::ops::Range;

/// One axis of a map from one image to another. Taps outside the image that is read are left out.
pub(super) struct Axis {
    /// For each written place: the taps, each with the place that it reads.
    pub(super) taps: Vec<Vec<[usize; 2]>>,
}

impl Axis {
    /// The axis of `conv2d`.
    pub(super) fn forward(g: &Geometry, a: usize) -> Self {
        let taps = |o: usize| {
            let all = 0..g.kernel[a];
            all.filter_map(|k| g.input_index(a, o, k).map(|i| [k, i])).collect()
        };
        Self {
            taps: (0..g.output[a]).map(taps).collect(),
        }
    }

    /// The axis of `conv2d_input`.
    pub(super) fn input(g: &Geometry, a: usize) -> Self {
        let read = |i: usize, k: usize| {
            let distance = (i + g.pad[a]).checked_sub(k * g.dilation[a])?;
            let o = distance / g.stride[a];
            (distance % g.stride[a] == 0 && o < g.output[a]).then_some([k, o])
        };
        Self {
            taps: (0..g.input[a])
                .map(|i| (0..g.kernel[a]).filter_map(|k| read(i, k)).collect())
                .collect(),
        }
    }

    /// The places that a range of written places reads.
    pub(super) fn read(&self, written: Range<usize>) -> Range<usize> {
        let places = || self.taps[written.clone()].iter().flatten().map(|&[_, place]| place);
        match (places().min(), places().max()) {
            (Some(first), Some(last)) => first..last + 1,
            _ => 0..0,
        }
    }
}

/// Sizes `[rows, columns]` of the rectangles into which `all` written places are cut, so that `fits` accepts what each reads.
/// `cost` is the number of places that a rectangle reads or that have to be copied for it. Of all sizes that fit, the one with the
/// smallest sum of costs is taken.
pub(super) fn rectangles(
    all: [usize; 2],
    read: impl Fn(usize, usize) -> usize,
    fits: impl Fn([usize; 2], [usize; 2]) -> bool,
) -> [usize; 2] {
    let halves = |all: usize| {
        let pieces = std::iter::successors(Some(1_usize), move |&pieces| (pieces < all).then_some(pieces * 2));
        let mut sizes: Vec<usize> = pieces.map(|pieces| all.div_ceil(pieces)).collect();
        sizes.dedup();
        sizes
    };
    let mut best = (usize::MAX, [1, 1]);
    for rows in halves(all[0]) {
        let read_rows = read(0, rows);
        for columns in halves(all[1]) {
            let read_columns = read(1, columns);
            if !fits([rows, columns], [read_rows, read_columns]) {
                continue;
            }
            let count = all[0].div_ceil(rows) * all[1].div_ceil(columns);
            let cost = count * read_rows * read_columns;
            if cost < best.0 {
                best = (cost, [rows, columns]);
            }
            break;
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_fit_and_prefer_what_reads_least() {
        // A kernel of three taps: a rectangle reads two rows and columns more.
        let read = |_: usize, size: usize| size + 2;
        let fitting = |most: usize| rectangles([64, 64], read, |_, [rows, columns]| rows * columns <= most);
        assert_eq!(fitting(66 * 66), [64, 64]);
        assert_eq!(fitting(100), [8, 8]);
        assert_eq!(fitting(1), [1, 1]);
    }
}
