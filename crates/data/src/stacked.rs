//! Stacked digits: three images as the color channels of one, a data set with a thousand modes.

use crate::dataset::Dataset;
use crate::error::DataError;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// `count` images `[h, w, 3]`. The seed selects three images `[h, w, 1]` of `digits` for red, green and blue. The label is
/// the digit in red.
///
/// With ten classes there are 1000 modes, which shows the mode collapse of a generator.
///
/// *Source*: Metz et al., "Unrolled generative adversarial networks", 2017, section 3.3.1.
///
/// ```
/// use engraft_data::{Split, drawn_digits, stacked_digits};
/// let stacked = stacked_digits(&drawn_digits(Split::Train, 50, 1), 20, 7)?;
/// assert_eq!((stacked.name(), stacked.len(), stacked.image_size()), ("stacked-drawn-digits", 20, [28, 28, 3]));
/// # Ok::<(), engraft_data::DataError>(())
/// ```
///
/// # Errors
/// [`DataError::ImageSize`] if `digits` is empty or has more than one channel.
pub fn stacked_digits(digits: &Dataset, count: usize, seed: u64) -> Result<Dataset, DataError> {
    let [height, width, channels] = digits.image_size();
    if digits.is_empty() || channels != 1 {
        return Err(DataError::ImageSize {
            name: digits.name().into(),
            bytes: digits.images().len(),
            image_size: digits.image_size(),
        });
    }
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut images = Vec::with_capacity(count * height * width * 3);
    let mut labels = Vec::with_capacity(count);
    for _ in 0..count {
        let chosen = [(); 3].map(|()| rng.random_range(0..digits.len()));
        let [red, green, blue] = chosen.map(|i| digits.image(i));
        images.extend((0..height * width).flat_map(|p| [red[p], green[p], blue[p]]));
        labels.push(digits.label(chosen[0]));
    }
    let name = format!("stacked-{}", digits.name());
    Dataset::new(
        name,
        digits.provenance().clone(),
        images,
        [height, width, 3],
        labels,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Provenance, Split, drawn_digits};

    #[test]
    fn every_channel_is_an_image_of_the_set() {
        let digits = drawn_digits(Split::Train, 30, 1);
        let stacked = stacked_digits(&digits, 40, 5).unwrap();
        for i in 0..40 {
            for channel in 0..3 {
                let part: Vec<u8> = stacked
                    .image(i)
                    .iter()
                    .skip(channel)
                    .step_by(3)
                    .copied()
                    .collect();
                let from = (0..30).find(|&j| digits.image(j) == part).unwrap();
                assert!(channel > 0 || digits.label(from) == stacked.label(i));
            }
        }
        assert_eq!(stacked_digits(&digits, 40, 5).unwrap(), stacked);
        assert_ne!(stacked_digits(&digits, 40, 6).unwrap().images(), stacked.images());
    }

    #[test]
    fn colors_cannot_be_stacked() {
        let color = Dataset::new("c", Provenance::Memory, vec![0; 12], [2, 2, 3], vec![0]).unwrap();
        assert!(stacked_digits(&color, 1, 1).is_err());
    }
}
