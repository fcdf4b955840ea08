//! Augmentation of images by random shifts.

use rand::RngExt;
use rand_pcg::Pcg64;

/// Shifts each of the images `[n, h, w, c]` by a number of pixels from `-most` to `most`, chosen for each direction. The
/// uncovered edge gets the [`background`] of the image. With a `most` of 0 nothing changes and no random number is used.
pub(super) fn shift_images(images: &mut [f32], size: [usize; 3], most: usize, rng: &mut Pcg64) {
    if most == 0 {
        return;
    }
    let most = most as i64;
    for image in images.chunks_exact_mut(size.iter().product::<usize>().max(1)) {
        let by = [(); 2].map(|()| rng.random_range(-most..=most) as isize);
        if by != [0, 0] {
            let shifted = shifted(image, size, by);
            image.copy_from_slice(&shifted);
        }
    }
}

/// An image `[h, w, c]` that is shifted down and to the right by numbers of pixels, which may be negative.
fn shifted(image: &[f32], [height, width, channels]: [usize; 3], [down, right]: [isize; 2]) -> Vec<f32> {
    let background = background(image, [height, width, channels]);
    let source = |at: usize, by: isize, end: usize| at.checked_add_signed(-by).filter(|&at| at < end);
    let mut out = Vec::with_capacity(image.len());
    for y in 0..height {
        for x in 0..width {
            match (source(y, down, height), source(x, right, width)) {
                (Some(y), Some(x)) => out.extend_from_slice(&image[(y * width + x) * channels..][..channels]),
                _ => out.extend_from_slice(&background),
            }
        }
    }
    out
}

/// The background of an image `[h, w, c]`: of each channel, the median of the pixels at the border.
fn background(image: &[f32], [height, width, channels]: [usize; 3]) -> Vec<f32> {
    let is_border = |i: &usize| {
        let (y, x) = (i / width, i % width);
        y == 0 || x == 0 || y + 1 == height || x + 1 == width
    };
    let border: Vec<usize> = (0..height * width).filter(is_border).collect();
    let median = |channel: usize| {
        let mut values: Vec<f32> = border.iter().map(|&i| image[i * channels + channel]).collect();
        values.sort_unstable_by(f32::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    (0..channels).map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_shift_by_hand() {
        // The median of the border is 9.
        let image = [9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 9.0, 3.0, 4.0];
        let by = |by| shifted(&image, [3, 3, 1], by);
        assert_eq!(by([0, 0]), image);
        assert_eq!(by([-1, 0]), [9.0, 1.0, 2.0, 9.0, 3.0, 4.0, 9.0, 9.0, 9.0]);
        assert_eq!(by([0, -1]), [9.0, 9.0, 9.0, 1.0, 2.0, 9.0, 3.0, 4.0, 9.0]);
        assert_eq!(by([1, 1]), [9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 1.0]);
        assert_eq!(by([3, 0]), [9.0; 9]);
    }

    #[test]
    fn each_channel_has_its_background() {
        // 2x2 pixels, all of them border, of two channels.
        let image = [0.0, 5.0, 0.0, 5.0, 0.0, 5.0, 1.0, 6.0];
        assert_eq!(background(&image, [2, 2, 2]), [0.0, 5.0]);
        assert_eq!(
            shifted(&image, [2, 2, 2], [0, 1]),
            [0.0, 5.0, 0.0, 5.0, 0.0, 5.0, 0.0, 5.0]
        );
    }

    #[test]
    fn images_of_a_batch_are_shifted_apart_within_the_limit() {
        let size = [9, 9, 1];
        let mut one = vec![0.0_f32; 81];
        one[4 * 9 + 4] = 1.0;
        let before = one.repeat(200);
        let mut images = before.clone();
        shift_images(&mut images, size, 2, &mut Pcg64::seed_from_u64(1));
        let mut seen = std::collections::BTreeSet::new();
        for image in images.chunks_exact(81) {
            let at = image.iter().position(|&p| p == 1.0).unwrap();
            assert_eq!(image.iter().sum::<f32>(), 1.0);
            seen.insert((at / 9, at % 9));
        }
        let all = (2..=6).flat_map(|y| (2..=6).map(move |x| (y, x)));
        assert_eq!(seen, all.collect());
        let mut same = before.clone();
        shift_images(&mut same, size, 0, &mut Pcg64::seed_from_u64(1));
        assert_eq!(same, before);
    }
}
