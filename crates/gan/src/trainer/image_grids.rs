//! Grids of the training images, as the networks get them: `reals.png` and `augmented.png`.

use crate::augment::HIGHEST_PROBABILITY;
use crate::batch::{batch_tensor, mirror_some};
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::run_layout::RunLayout;
use crate::sample_writer::{PngGrid, SampleWriter};
use engraft_base::equidistant;
use engraft_data::TrainingData;
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Writes a grid of evenly spaced training images, and a grid of the same images after augmentation, if the run augments or
/// mirrors. With adaptive augmentation, the grid shows the highest probability.
///
/// Data with another number of channels than 1 to 4 are no images, and get no grid.
pub(super) fn write(
    layout: &RunLayout,
    config: &TrainConfig,
    data: &dyn TrainingData,
    trained_on: &[usize],
) -> Result<(), GanError> {
    if !(1..=4).contains(&data.shape()[2]) {
        return Ok(());
    }
    let grid = PngGrid::for_images(data.shape());
    let shown: Vec<usize> = equidistant(grid.count(), trained_on.len())
        .into_iter()
        .map(|i| trained_on[i])
        .collect();
    let reals = batch_tensor(data, &shown)?;
    if let Some(augmented) = augmented(config, &reals) {
        grid.write(&augmented, &layout.augmented())?;
    }
    // The last one: a run that was killed before writes both again, because it is missing.
    grid.write(&reals, &layout.reals())
}

/// The images after the run's mirroring and augmentation, or `None` if it has neither.
fn augmented(config: &TrainConfig, reals: &Tensor) -> Option<Tensor> {
    let (augment, is_mirrored) = (&config.augment, config.pictures.mirror);
    if augment.kinds.is_empty() && !is_mirrored {
        return None;
    }
    let reals = match is_mirrored {
        true => {
            let places: Vec<usize> = (0..reals.shape()[0]).collect();
            mirror_some(reals, &places, config.seed, 0)
        }
        false => reals.clone(),
    };
    let probability = match &augment.adaptive {
        Some(_) => HIGHEST_PROBABILITY,
        None => augment.probability.unwrap_or(1.0),
    };
    let rng = &mut Pcg64::seed_from_u64(config.seed);
    let kinds = augment.kinds.iter();
    Some(kinds.fold(reals, |images, kind| kind.apply(&images, probability, rng)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};

    /// A run without the grid of its training images writes both grids.
    #[test]
    fn the_grid_of_training_images_is_written_last() {
        let folder = tempfile::tempdir().unwrap();
        let layout = RunLayout::new(folder.path());
        let data = drawn_digits(Split::Train, 8, 1);
        let mut config = TrainConfig::standard(&data);
        config.pictures.mirror = true;
        let shown: Vec<usize> = (0..8).collect();
        // In the way of the other grid.
        std::fs::create_dir(layout.augmented()).unwrap();
        write(&layout, &config, &data, &shown).unwrap_err();
        assert!(!layout.reals().exists());
        std::fs::remove_dir(layout.augmented()).unwrap();
        write(&layout, &config, &data, &shown).unwrap();
        assert!(layout.reals().is_file() && layout.augmented().is_file());
    }

    #[test]
    fn mirrored_images_are_shown_although_nothing_else_is_augmented() {
        let data = drawn_digits(Split::Train, 8, 1);
        let mut config = TrainConfig::standard(&data);
        config.augment.kinds.clear();
        let shown: Vec<usize> = (0..8).collect();
        let reals = batch_tensor(&data, &shown).unwrap();
        assert!(augmented(&config, &reals).is_none());
        config.pictures.mirror = true;
        let found = augmented(&config, &reals).unwrap();
        let is_kept = |i: usize| found.narrow(0, i, 1).as_slice() == reals.narrow(0, i, 1).as_slice();
        let kept = (0..8).filter(|&i| is_kept(i)).count();
        assert!((1..8).contains(&kept), "{kept} of 8 are not mirrored");
    }
}
