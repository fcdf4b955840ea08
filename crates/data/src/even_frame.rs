//! Even frames: the content of each gray image at one size, centered by its mass, as MNIST's digits are.

use crate::resize;
use rayon::prelude::*;
use std::ops::Range;

/// The longer side of the content is this share of the frame, as numerator and denominator: 20 of 28 pixels.
const SHARE: [usize; 2] = [5, 7];
/// Fewest levels between the background and the strongest pixel of an image with content.
const LEAST_CONTRAST: u8 = 16;
/// A pixel is content if it differs from the background by at least this part of the largest difference.
const CONTENT_PART: u8 = 8;

/// Frames gray images `[n, h, w]` evenly, each one by itself. [`Dataset::evenly_framed`](crate::Dataset::evenly_framed) has the rule.
pub(crate) fn evenly_framed(images: &[u8], frame: [usize; 2]) -> Vec<u8> {
    let mut framed = images.to_vec();
    framed.par_chunks_mut(frame[0] * frame[1]).for_each(|image| {
        if let Some(new) = one(image, frame) {
            image.copy_from_slice(&new);
        }
    });
    framed
}

/// One image; `None` if it has no content.
fn one(image: &[u8], frame: [usize; 2]) -> Option<Vec<u8>> {
    let [height, width] = frame;
    let background = background(image, frame);
    let largest = image.iter().map(|v| v.abs_diff(background)).max()?;
    if largest < LEAST_CONTRAST {
        return None;
    }
    let least = largest.div_ceil(CONTENT_PART);
    let is_content = |row: usize, column: usize| image[row * width + column].abs_diff(background) >= least;
    let rows = extent(height, |row| (0..width).any(|column| is_content(row, column)))?;
    let columns = extent(width, |column| rows.clone().any(|row| is_content(row, column)))?;
    let crop: Vec<u8> = rows
        .clone()
        .flat_map(|row| &image[row * width..][columns.clone()])
        .copied()
        .collect();
    let size = scaled_size([rows.len(), columns.len()], frame);
    let content = resize::scaled(&crop, [rows.len(), columns.len(), 1], size);
    let [top, left] = place(&content, size, frame, background)?;
    let mut framed = vec![background; height * width];
    for (row, pixels) in content.chunks_exact(size[1]).enumerate() {
        framed[(top + row) * width + left..][..size[1]].copy_from_slice(pixels);
    }
    Some(framed)
}

/// The most frequent value of the border pixels; the darkest of equally frequent ones.
fn background(image: &[u8], [height, width]: [usize; 2]) -> u8 {
    let mut counts = [0_usize; 256];
    for (i, &v) in image.iter().enumerate() {
        let (row, column) = (i / width, i % width);
        if row == 0 || column == 0 || row + 1 == height || column + 1 == width {
            counts[usize::from(v)] += 1;
        }
    }
    let mut most = 0;
    for v in 1..=u8::MAX {
        if counts[usize::from(v)] > counts[usize::from(most)] {
            most = v;
        }
    }
    most
}

/// From the first to the last of `count` places that have content.
fn extent(count: usize, has_content: impl Fn(usize) -> bool) -> Option<Range<usize>> {
    let first = (0..count).find(|&at| has_content(at))?;
    let last = (first..count).rfind(|&at| has_content(at))?;
    Some(first..last + 1)
}

/// The size of content whose longer side, relative to the frame, becomes [`SHARE`] of it, with the same aspect ratio.
fn scaled_size([rows, columns]: [usize; 2], frame: [usize; 2]) -> [usize; 2] {
    let rounded = |a: usize, b: usize| ((2 * a + b) / (2 * b)).max(1);
    let [height, width] = frame.map(|side| rounded(side * SHARE[0], SHARE[1]));
    match height * columns <= width * rows {
        true => [height, rounded(columns * height, rows)],
        false => [rounded(rows * width, columns), width],
    }
}

/// The place at which the center of mass is nearest to the center of the frame, without a part outside of it. Mass is the difference
/// from the background. `None` without mass.
fn place(content: &[u8], size: [usize; 2], frame: [usize; 2], background: u8) -> Option<[usize; 2]> {
    let (mut mass, mut moments) = (0.0, [0.0; 2]);
    for (i, v) in content.iter().enumerate() {
        let m = f64::from(v.abs_diff(background));
        let at = [i / size[1], i % size[1]];
        mass += m;
        for axis in [0, 1] {
            moments[axis] += m * (at[axis] as f64 + 0.5);
        }
    }
    (mass > 0.0).then(|| {
        [0, 1].map(|axis| {
            let first = frame[axis] as f64 / 2.0 - moments[axis] / mass;
            // A negative number becomes 0.
            (first.round() as usize).min(frame[axis] - size[axis])
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Channels, Dataset, Provenance, Split, drawn_digits};

    /// An image with these pixels in a column, on a background.
    fn column(side: usize, top: usize, left: usize, pixels: &[u8], background: u8) -> Vec<u8> {
        let mut image = vec![background; side * side];
        for (i, &v) in pixels.iter().enumerate() {
            image[(top + i) * side + left] = v;
        }
        image
    }

    #[test]
    fn content_is_scaled_and_centered_by_hand() {
        // 2x1 pixels in a frame of 7: the longer side becomes 5 of 7, the other 2.5, rounded to 3.
        let expected: Vec<u8> = (0..49)
            .map(|i| {
                if (1..6).contains(&(i / 7)) && (2..5).contains(&(i % 7)) {
                    200
                } else {
                    0
                }
            })
            .collect();
        for (top, left) in [(0, 0), (3, 6), (5, 2)] {
            let image = column(7, top, left, &[200, 200], 0);
            assert_eq!(evenly_framed(&image, [7, 7]), expected);
            // The same on a light background.
            let inverted = |image: &[u8]| image.iter().map(|v| 255 - v).collect::<Vec<u8>>();
            assert_eq!(evenly_framed(&inverted(&image), [7, 7]), inverted(&expected));
        }
        // Longer than wide and wider than long, relative to the frame.
        assert_eq!(scaled_size([14, 7], [28, 28]), [20, 10]);
        assert_eq!(scaled_size([28, 28], [28, 28]), [20, 20]);
        assert_eq!(scaled_size([10, 40], [14, 56]), [10, 40]);
        assert_eq!(scaled_size([1, 4000], [28, 28]), [1, 20]);
    }

    #[test]
    fn the_mass_is_in_the_center_and_nothing_is_cut() {
        // 5 rows of 7 keep their size. Their mass is 240, 80, 80, 80, 80 at 0.5 to 4.5, so its center is at 1.93. Row 0 goes to
        // 3.5 - 1.93, rounded to 2. A box centered by its sides would begin in row 1.
        let image = column(7, 0, 5, &[240, 80, 80, 80, 80], 0);
        let framed = evenly_framed(&image, [7, 7]);
        assert_eq!(framed, column(7, 2, 3, &[240, 80, 80, 80, 80], 0));
        assert_eq!(evenly_framed(&framed, [7, 7]), framed);
        // 15 of 21 rows have a mass of 255 at 0.5 and of 32 at 14.5, so its center is at 2.06. Row 0 would go to row 8 and row 14 out
        // of the frame. It goes to row 6.
        let mut pixels = [0; 15];
        (pixels[0], pixels[14]) = (255, 32);
        let framed = evenly_framed(&column(21, 3, 3, &pixels, 0), [21, 21]);
        assert_eq!(framed, column(21, 6, 10, &pixels, 0));
    }

    #[test]
    fn images_without_content_stay() {
        let faint = column(7, 0, 0, &[LEAST_CONTRAST + 4], 5);
        for image in [vec![0; 49], vec![255; 49], faint] {
            assert_eq!(evenly_framed(&image, [7, 7]), image);
        }
        assert_eq!(evenly_framed(&[], [7, 7]), [0; 0]);
        assert_eq!(evenly_framed(&[9, 80], [1, 1]), [9, 80]);
    }

    #[test]
    fn digits_of_another_size_and_place_become_alike() {
        let digits = drawn_digits(Split::Train, 30, 1);
        let framed = digits.evenly_framed().unwrap();
        assert_eq!(framed.labels(), digits.labels());
        let same_size = |images: Vec<u8>| {
            Dataset::new(
                "same",
                Provenance::Memory,
                images,
                [28, 28, 1],
                digits.labels().to_vec(),
            )
            .unwrap()
        };
        let part = |data: &Dataset, first: usize| {
            let pixel = |image: &[u8], i: usize| image[(first + i / 28) * data.width() + first + i % 28];
            let images = (0..data.len()).flat_map(|n| (0..784).map(move |i| (n, i)));
            same_size(images.map(|(n, i)| pixel(data.image(n), i)).collect())
        };
        let distance = |other: &Dataset| {
            let pairs = framed.images().iter().zip(other.images());
            pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        // Enlarged by 9 / 7, so that they nearly fill the frame.
        let larger = part(&digits.resized(36, 36), 4);
        let (before, after) = (distance(&larger), distance(&larger.evenly_framed().unwrap()));
        assert!(after * 4 < before, "{before} became {after}");
        // In another place.
        let moved = framed.images().chunks(784).flat_map(|image| {
            let first = [0; 2 * 28];
            [&first, &image[..784 - first.len()]].concat()
        });
        let moved = same_size(moved.collect());
        let is_same = (0..30)
            .filter(|&i| moved.evenly_framed().unwrap().image(i) == framed.evenly_framed().unwrap().image(i));
        assert!(
            is_same.count() > 25,
            "only those that touched the last rows differ"
        );
        assert!(digits.with_channels(Channels::Rgb).evenly_framed().is_err());
    }
}
