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
            all.filter_map(|k| g.input_index(a, o, k).map(|i| [k, i]))
                .collect()
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
        let places = || {
            self.taps[written.clone()]
                .iter()
                .flatten()
                .map(|&[_, place]| place)
        };
        match (places().min(), places().max()) {
            (Some(first), Some(last)) => first..last + 1,
            _ => 0..0,
        }
    }
}

/// Sizes `[rows, columns]` of the rectangles into which written places are cut. For each axis there are sizes, each with the number
/// of places that it reads. Of the sizes that `fits` accepts, given what is written and read, the one with the smallest sum of costs
/// is taken, and the sum is returned too.
pub(super) fn rectangles(
    all: [usize; 2],
    sizes: &[Vec<[usize; 2]>; 2],
    fits: impl Fn([usize; 2], [usize; 2]) -> bool,
    cost: impl Fn([usize; 2]) -> usize,
) -> (usize, [usize; 2]) {
    let mut best = (usize::MAX, [1, 1]);
    for &[rows, read_rows] in &sizes[0] {
        for &[columns, read_columns] in &sizes[1] {
            let (written, read) = ([rows, columns], [read_rows, read_columns]);
            if fits(written, read) {
                let sum = all[0].div_ceil(rows) * all[1].div_ceil(columns) * cost(read);
                if sum < best.0 {
                    best = (sum, written);
                }
            }
        }
    }
    best
}

/// Sizes for [`rectangles`] along an axis, down to 1.
pub(super) fn sizes(all: usize, read: impl Fn(usize) -> usize) -> Vec<[usize; 2]> {
    halves(all).into_iter().map(|size| [size, read(size)]).collect()
}

/// `all`, its half, a quarter, and so on down to 1, rounded up.
pub(super) fn halves(all: usize) -> Vec<usize> {
    let pieces = std::iter::successors(Some(1_usize), move |&pieces| (pieces < all).then_some(pieces * 2));
    let mut sizes: Vec<usize> = pieces.map(|pieces| all.div_ceil(pieces)).collect();
    sizes.dedup();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_fit_and_cost_least() {
        // A kernel of three taps: a rectangle reads two rows and columns more.
        let sizes = [0, 1].map(|_| sizes(64, |size| size + 2));
        let cut = |most: usize, fixed: usize| {
            let fits = |_, [rows, columns]: [usize; 2]| rows * columns <= most;
            rectangles([64, 64], &sizes, fits, |[rows, columns]| rows * columns + fixed).1
        };
        assert_eq!(cut(66 * 66, 0), [64, 64]);
        assert_eq!(cut(100, 0), [8, 8]);
        assert_eq!(cut(1, 0), [1, 1]);
        assert_eq!(halves(5), [5, 3, 2, 1]);
    }
}
