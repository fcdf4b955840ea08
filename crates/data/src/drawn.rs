//! Synthetic handwritten digits, without files: skeletons, random distortion, strokes.
//!
//! For use without MNIST: without a network, in continuous integration, or for a first try. The digits have the size,
//! normalization and class balance of MNIST. A classifier trained only on them reads most of MNIST's test images;
//! `cargo xtask drawn-digits` measures how many.
//!
//! An image takes three steps. [`skeletons`] holds the styles of each digit, [`distort`] varies a style at random, and
//! [`raster`] draws the lines as gray pixels, scaled and centered as in MNIST.

mod distort;
mod raster;
#[rustfmt::skip] // a table: one style per line
mod skeletons;
mod strokes;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use rayon::prelude::*;

use self::raster::SIDE;
use self::strokes::{STYLES, Style};
use crate::dataset::Dataset;
use crate::provenance::Provenance;
use crate::split::Split;

/// Bytes per image.
const PIXELS: usize = SIDE * SIDE;
/// Number of classes, and images per block with every class once.
const CLASSES: usize = 10;

/// `count` synthetic handwritten digits, white on black, `[count, 28, 28, 1]`, with labels.
///
/// Image `i` depends only on `seed`, `split` and `i`. A smaller `count` gives a prefix of a larger one. The two
/// splits share no image. The bytes are the same on every platform and number of threads. Every block of ten images
/// contains every digit once, in random order.
///
/// ```
/// use engraft_data::{Split, drawn_digits};
///
/// let digits = drawn_digits(Split::Train, 100, 7);
/// assert_eq!((digits.len(), digits.image_size()), (100, [28, 28, 1]));
/// assert_eq!(digits.class_counts(), [10; 10]);
/// assert_eq!(digits.image(4), drawn_digits(Split::Train, 5, 7).image(4));
/// ```
///
/// # Panics
/// If `count` images do not fit into memory.
pub fn drawn_digits(split: Split, count: usize, seed: u64) -> Dataset {
    let mut images = vec![0u8; count * PIXELS];
    let mut labels = vec![0u8; count];
    images
        .par_chunks_mut(CLASSES * PIXELS)
        .zip(labels.par_chunks_mut(CLASSES))
        .enumerate()
        .for_each(|(block, (images, labels))| {
            let order = shuffled_classes(seed, split, block);
            labels.copy_from_slice(&order[..labels.len()]);
            for (place, (image, &label)) in images.chunks_exact_mut(PIXELS).zip(&*labels).enumerate() {
                let mut rng = generator(seed, split, Purpose::Image, block * CLASSES + place);
                let style = choose(&STYLES[usize::from(label)], &mut rng);
                let lines = distort::write(style, &mut rng);
                image.copy_from_slice(&raster::ink(&lines, &mut rng));
            }
        });
    Dataset::new(
        "drawn-digits",
        Provenance::Drawn { seed },
        images,
        [SIDE, SIDE, 1],
        labels,
    )
    .expect("the numbers of labels and images are equal, and images are 28x28")
}

/// The order of the classes in one block.
fn shuffled_classes(seed: u64, split: Split, block: usize) -> [u8; CLASSES] {
    let mut classes = std::array::from_fn(|class| class as u8);
    classes.shuffle(&mut generator(seed, split, Purpose::Order, block));
    classes
}

/// A random style, by weight.
fn choose<'a>(styles: &'a [Style], rng: &mut Pcg64) -> &'a Style {
    let total: u32 = styles.iter().map(|style| style.weight).sum();
    let mut left = rng.random_range(0..total);
    for style in styles {
        if left < style.weight {
            return style;
        }
        left -= style.weight;
    }
    unreachable!("the random number is less than the sum of the weights")
}

/// Purposes of random streams.
#[derive(Clone, Copy)]
enum Purpose {
    Image,
    Order,
}

/// A separate random stream per image and block, so that each is independent of `count`.
fn generator(seed: u64, split: Split, purpose: Purpose, index: usize) -> Pcg64 {
    let index = index as u64;
    let kind = match (split, purpose) {
        (Split::Train, Purpose::Image) => 0,
        (Split::Train, Purpose::Order) => 1,
        (Split::Test, Purpose::Image) => 2,
        (Split::Test, Purpose::Order) => 3,
    };
    // Neighboring states on neighboring streams would start alike, so the state is a hash.
    let high = scramble(scramble(scramble(seed) ^ kind) ^ index);
    let low = scramble(high);
    Pcg64::new((u128::from(high) << 64) | u128::from(low), u128::from(index))
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): a bijection in which each output bit depends on every
/// input bit.
fn scramble(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn with_threads(threads: usize, count: usize) -> Dataset {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| drawn_digits(Split::Train, count, 5))
    }

    #[test]
    fn threads_change_no_byte() {
        assert_eq!(with_threads(1, 157), with_threads(3, 157));
    }

    #[test]
    fn a_smaller_count_is_a_prefix() {
        let many = drawn_digits(Split::Test, 64, 3);
        for count in [0, 1, 9, 10, 33] {
            let few = drawn_digits(Split::Test, count, 3);
            assert_eq!(few.images(), &many.images()[..count * PIXELS], "{count} images");
            assert_eq!(few.labels(), &many.labels()[..count], "{count} labels");
        }
    }

    #[test]
    fn bytes_are_what_they_were() {
        let digits = drawn_digits(Split::Train, 100, 1);
        let mut hash = Sha256::new();
        hash.update(digits.labels());
        hash.update(digits.images());
        let hash = engraft_base::hex(&hash.finalize());
        // Another generator, style or distortion would change the digits. If you change one on purpose, note it here: all
        // results on synthetic digits change with it.
        assert_eq!(
            hash,
            "3c7c0358a94cace7a01ed9cd459eae7151f660bddb87e89a5c24ef4d79112e42"
        );
    }

    #[test]
    fn seeds_and_splits_share_no_image() {
        let sets = [
            drawn_digits(Split::Train, 50, 1),
            drawn_digits(Split::Test, 50, 1),
            drawn_digits(Split::Train, 50, 2),
        ];
        let mut images: Vec<&[u8]> = sets
            .iter()
            .flat_map(|set| set.images().chunks_exact(PIXELS))
            .collect();
        images.sort_unstable();
        images.dedup();
        assert_eq!(images.len(), 150);
    }

    #[test]
    fn classes_are_balanced_in_a_random_order() {
        let digits = drawn_digits(Split::Train, 500, 11);
        assert_eq!(digits.class_counts(), [50; 10]);
        assert_ne!(digits.labels()[..10], digits.labels()[10..20]);
        let firsts: std::collections::BTreeSet<u8> = digits.labels().iter().copied().step_by(10).collect();
        assert!(firsts.len() > 6, "blocks begin with only {firsts:?}");
    }

    #[test]
    fn ink_is_like_mnist() {
        let digits = drawn_digits(Split::Train, 4000, 2);
        let n = digits.images().len() as f64;
        let mean = digits.images().iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = digits
            .images()
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / n;
        // The 60 000 training images of MNIST: 33.3 and 78.6.
        assert!((mean - 33.3).abs() < 2.0, "mean {mean}");
        assert!(
            (variance.sqrt() - 78.6).abs() < 3.0,
            "standard deviation {}",
            variance.sqrt()
        );
    }

    #[test]
    fn every_image_is_a_centered_digit_of_mnist_size() {
        let digits = drawn_digits(Split::Test, 2000, 4);
        for (i, image) in digits.images().chunks_exact(PIXELS).enumerate() {
            let (mut mass, mut x, mut y) = (0.0f64, 0.0f64, 0.0f64);
            let (mut rows, mut columns) = ([false; SIDE], [false; SIDE]);
            for (at, &value) in image.iter().enumerate() {
                let value = f64::from(value);
                mass += value;
                x += value * (at % SIDE) as f64;
                y += value * (at / SIDE) as f64;
                if value > 127.0 {
                    (rows[at / SIDE], columns[at % SIDE]) = (true, true);
                }
            }
            let what = format!("image {i}, a {}", digits.label(i));
            assert!(image.iter().any(|&v| v > 200), "{what}: blank");
            assert!(mass > 20.0 * 255.0, "{what}: only {mass} of ink");
            let (x, y) = (x / mass - 13.5, y / mass - 13.5);
            assert!(x.abs() < 0.75 && y.abs() < 0.75, "{what}: off center by {x} {y}");
            let span = |inked: &[bool; SIDE]| inked.iter().filter(|&&ink| ink).count();
            let size = span(&rows).max(span(&columns));
            assert!((17..=22).contains(&size), "{what}: {size} pixels long");
        }
    }
}
