//! The pictures of a finished or stopped run: nearest training images, and an interpolation.

use super::progress::Progress;
use crate::checkpoint::write_atomically;
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::report::{interpolation_png, interpolation_size, nearest_training_images};
use crate::rng::{self, Purpose};
use crate::run_layout::RunLayout;
use engraft_data::TrainingData;
use engraft_layers::{Mode, Module};
use engraft_tensor::no_grad;

/// Generated images that are compared with the training images: those of a sample grid of 8 x 8.
const COMPARED: usize = 64;

/// Writes `nearest.png` and `interpolation.png`, from the generator of the sample grids and their latent vectors.
pub(super) fn write_pictures(
    layout: &RunLayout,
    config: &TrainConfig,
    data: &dyn TrainingData,
    trained_on: &[usize],
    progress: &Progress,
) -> Result<(), GanError> {
    let (gan, generator) = (&progress.gan, progress.ema_generator());
    let [h, w, channels] = config.image;
    if channels > 4 {
        return Ok(());
    }
    let [paths, frames] = interpolation_size(h.max(w));
    let mut stream = rng::stream(config.seed, Purpose::Samples);
    let noise = gan.noise(COMPARED, &mut stream);
    let condition = gan.cyclic_labels(COMPARED);
    let images = no_grad(|| generator.forward_with(&noise, &condition, Mode::Eval));
    if let Some(file) = nearest_training_images(data, trained_on, &images)? {
        write_atomically(&layout.nearest(), &file)?;
    }
    let ends = [0, paths].map(|first| noise.narrow(0, first, paths));
    let condition = gan.cyclic_labels(paths);
    let file = interpolation_png([&ends[0], &ends[1]], frames, &mut |z| {
        no_grad(|| generator.forward_with(z, &condition, Mode::Eval))
    });
    match file {
        Some(file) => write_atomically(&layout.interpolation(), &file),
        None => Ok(()),
    }
}
