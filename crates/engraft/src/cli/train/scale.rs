//! The scale of the evaluations' numbers.

use super::display::Display;
use engraft_base::equidistant;
use engraft_data::TrainingData;
use engraft_gan::{TrainConfig, batch_tensor, extractor_name};
use engraft_metrics::{ReferencePoints, features};

/// Most real images that are compared.
const COMPARED: usize = 200;

/// The measures of noise, blobs and real images with the features of the evaluations. `None` if they cannot be computed, for instance of
/// fewer than 20 images.
fn reference_points(config: &TrainConfig, data: &dyn TrainingData) -> Option<ReferencePoints> {
    let [height, width, _] = config.image;
    let weights = config.evaluation.weights.as_deref();
    let extractor = features::open(extractor_name(config), weights, [height, width]).ok()?;
    let images = batch_tensor(data, &equidistant(COMPARED, data.len())).ok()?;
    ReferencePoints::new(&*extractor, &images, config.seed).ok()
}

/// Shows the scale after the first evaluation.
pub(super) fn show(config: &TrainConfig, data: &dyn TrainingData, display: &Display) {
    let Some(points) = reference_points(config, data) else {
        return;
    };
    display.say(&format!("for comparison: {points}"));
    if points.is_blind() {
        display.warn(
            "with these features noise or blobs cover many real images, so coverage says nothing; --features with --fresh starts again \
             with others",
        );
    }
}
