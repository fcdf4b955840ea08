//! Evaluation during training: scores on validation images, choice of the best checkpoint, early stopping.

mod measurement;
mod state;

pub use measurement::{Alarm, Measurement};
pub(crate) use state::MonitorState;
pub use state::read_measurements;

use crate::batch::{batch_tensor, labels_of};
use crate::config::{MEASURED_TRAINING_IMAGES, TrainConfig};
use crate::error::GanError;
use crate::gan::Gan;
use crate::latent::as_image;
use crate::packing::pack;
use engraft_base::{batches, equidistant};
use engraft_data::TrainingData;
use engraft_layers::{Condition, Mode, Module, Sequential};
use engraft_metrics::{
    FeatureExtractor, Features, InputFit, balanced_coverage, copied_share, features, kernel_distance,
    memorized_share,
};
use engraft_tensor::{Tensor, concat, no_grad};
use std::sync::Arc;

/// Batch size for images of up to [`SMALL`] values.
const BATCH: usize = 250;
/// Values in a 32x32 color image.
const SMALL: usize = 32 * 32 * 3;
/// Smallest batch size, for large images.
const SMALLEST_BATCH: usize = 16;

/// The feature extractor that the settings name.
///
/// # Errors
/// If the name is unknown, or the weights file cannot be used.
pub(crate) fn named_extractor(config: &TrainConfig) -> Result<Arc<dyn FeatureExtractor>, GanError> {
    let [h, w, _] = config.image;
    let weights = config.evaluation.weights.as_deref();
    Ok(features::open(extractor_name(config), weights, [h, w])?)
}

/// Name of the feature extractor in the settings. Runs from an earlier version have none, and used MNIST features
/// or, for Fashion-MNIST, its own.
pub fn extractor_name(config: &TrainConfig) -> &str {
    match &config.evaluation.features {
        Some(name) => name,
        None if config.data == "fashion-mnist" => "fashion-mnist",
        None => "mnist",
    }
}

/// Real images: indices, labels and features.
struct RealImages {
    indices: Vec<usize>,
    labels: Vec<usize>,
    features: Features,
}

/// Features that confirm the choice of the best checkpoint.
struct SecondFeatures {
    extractor: Arc<dyn FeatureExtractor>,
    fit: InputFit,
    /// Those of the validation images, computed at the first evaluation.
    real: Option<Features>,
}

impl SecondFeatures {
    /// The ones that confirm an extractor of this project, for color images.
    fn of(extractor: &dyn FeatureExtractor, image: [usize; 3]) -> Option<Self> {
        let [h, w, channels] = image;
        let name = features::second(extractor.name()).filter(|_| channels == 3)?;
        let extractor = features::find(name, [h, w]).ok()?;
        let fit = InputFit::new(image, &extractor.input()).ok()?;
        Some(Self {
            extractor,
            fit,
            real: None,
        })
    }

    fn read(&self, images: &Tensor) -> Result<Features, GanError> {
        Ok(self.extractor.read(&self.fit.apply(images))?.features)
    }
}

/// Evaluates a run with a feature extractor, on validation images and a part of the training images.
pub(crate) struct Monitor {
    data: Arc<dyn TrainingData>,
    extractor: Arc<dyn FeatureExtractor>,
    /// Conversion of images to the extractor's input.
    fit: InputFit,
    /// Indices of the validation images and of the compared training images.
    indices: [Vec<usize>; 2],
    /// Whether the validation images are kept out of training. Otherwise they are training images.
    is_held_out: bool,
    second: Option<SecondFeatures>,
    /// Features of these images, computed at the first evaluation.
    real: Option<[RealImages; 2]>,
}

impl Monitor {
    /// A monitor with these validation images and a part of the training images. Nothing is read yet.
    ///
    /// # Errors
    /// If the images cannot be converted to the extractor's input.
    pub(crate) fn new(
        data: Arc<dyn TrainingData>,
        extractor: Arc<dyn FeatureExtractor>,
        validation: Vec<usize>,
        train: &[usize],
    ) -> Result<Self, GanError> {
        let some = equidistant(MEASURED_TRAINING_IMAGES, train.len());
        let some: Vec<usize> = some.into_iter().map(|i| train[i]).collect();
        let is_held_out = !validation.is_empty();
        Ok(Self {
            fit: InputFit::new(data.shape(), &extractor.input())?,
            second: SecondFeatures::of(&*extractor, data.shape()),
            data,
            extractor,
            is_held_out,
            indices: [if is_held_out { validation } else { some.clone() }, some],
            real: None,
        })
    }

    /// Name of the features that confirm the choice of the best checkpoint.
    pub(crate) fn second(&self) -> Option<&str> {
        self.second.as_ref().map(|second| second.extractor.name())
    }

    /// Name, short hash and description of the extractor.
    pub(crate) fn extractor(&self) -> String {
        let hash = self.extractor.hash();
        format!(
            "{} ({}; {})",
            self.extractor.name(),
            hash.get(..8).unwrap_or(hash),
            self.extractor.about()
        )
    }

    /// A warning if the conversion to the extractor's input loses information, such as color or size.
    pub(crate) fn input_loss_warning(&self) -> Option<String> {
        let lost = self.fit.lost()?;
        Some(format!(
            "{lost}: the evaluation uses the features {}; set evaluation.features for others, such as random",
            self.extractor.name()
        ))
    }

    fn features(&self, images: &Tensor) -> Result<Features, GanError> {
        Ok(self.extractor.read(&self.fit.apply(images))?.features)
    }

    /// Reads real images and computes their features.
    fn read(&self, indices: &[usize]) -> Result<RealImages, GanError> {
        let parts = batches(indices.len(), batch_size(self.data.shape(), 1));
        let features = parts.map(|part| self.features(&batch_tensor(self.data.as_ref(), &indices[part])?));
        Ok(RealImages {
            features: Features::stack(features.collect::<Result<Vec<_>, _>>()?)?,
            labels: labels_of(self.data.as_ref(), indices),
            indices: indices.to_vec(),
        })
    }

    /// Evaluates a generator and the discriminator of a GAN.
    ///
    /// - `generator`: the EMA generator, or the live one without EMA.
    /// - `noise`: latent vectors `[n, latent]`.
    ///
    /// # Errors
    /// If real images cannot be read, or features are not finite.
    pub(crate) fn measure(
        &mut self,
        step: u64,
        gan: &Gan,
        generator: &Sequential,
        noise: &Tensor,
    ) -> Result<Measurement, GanError> {
        if self.real.is_none() {
            self.real = Some([self.read(&self.indices[0])?, self.read(&self.indices[1])?]);
            if let Some(second) = &mut self.second {
                let parts = batches(self.indices[0].len(), batch_size(self.data.shape(), 1));
                let read =
                    parts.map(|part| second.read(&batch_tensor(self.data.as_ref(), &self.indices[0][part])?));
                let real = Features::stack(read.collect::<Result<Vec<_>, GanError>>()?)?;
                second.real = Some(real);
            }
        }
        let Some([validation, train]) = &self.real else {
            unreachable!("it was just read")
        };
        let packing = gan.loss.objective.packing as usize;
        let size = batch_size(self.data.shape(), packing);
        let discriminate = |images: &Tensor, condition: &Condition| {
            let packs = pack(images, packing);
            no_grad(|| gan.discriminator.forward_with(&packs, condition, Mode::Eval))
        };
        let of_real = |real: &RealImages| -> Result<f64, GanError> {
            let full = real.indices.len() / packing * packing;
            let logits = batches(full, size).map(|part| {
                let images = batch_tensor(self.data.as_ref(), &real.indices[part.clone()])?;
                let condition = match gan.classes {
                    0 => Condition::None,
                    _ => real.labels[part].into(),
                };
                Ok(discriminate(&images, &condition))
            });
            Ok(mean(&logits.collect::<Result<Vec<_>, GanError>>()?))
        };
        let n = noise.shape()[0];
        let condition = gan.cyclic_labels(n);
        let (mut features, mut second_features, mut logits) = (Vec::new(), Vec::new(), Vec::new());
        for part in batches(n, size) {
            let z = noise.narrow(0, part.start, part.len());
            let condition = condition.narrow(part.start, part.len());
            let images = no_grad(|| as_image(&generator.forward_with(&z, &condition, Mode::Eval)));
            features.push(self.features(&images)?);
            if let Some(second) = &self.second {
                second_features.push(second.read(&images)?);
            }
            let full = part.len() / packing * packing;
            if full > 0 {
                logits.push(discriminate(
                    &images.narrow(0, 0, full),
                    &condition.narrow(0, full),
                ));
            }
        }
        let features = Features::stack(features)?;
        let distance = kernel_distance(&validation.features, &features)?;
        let second_kid = match self.second.as_ref().and_then(|second| second.real.as_ref()) {
            Some(real) => Some(kernel_distance(real, &Features::stack(second_features)?)?.value),
            None => None,
        };
        let [on_validation, on_train] = [of_real(validation)?, of_real(train)?];
        let gap = on_train - mean(&logits);
        Ok(Measurement {
            step,
            kid: distance.value,
            kid_se: distance.standard_error,
            coverage: balanced_coverage(&validation.features, &features)?,
            spread: features.variance() / validation.features.variance().max(f64::MIN_POSITIVE),
            memorized: if self.is_held_out {
                memorized_share(&train.features, &validation.features, &features)?
            } else {
                copied_share(&train.features, &features)
            },
            // Without a gap between training and generated images there is no overfitting.
            overfitting: if gap > 0.0 {
                (on_train - on_validation) / gap
            } else {
                0.0
            },
            second_kid,
        })
    }
}

/// Batch size for images of a shape, a multiple of `unit`.
fn batch_size(image: [usize; 3], unit: usize) -> usize {
    let numbers = image.iter().product::<usize>().max(SMALL);
    (BATCH * SMALL / numbers).max(SMALLEST_BATCH).div_ceil(unit) * unit
}

/// The mean of logits.
fn mean(logits: &[Tensor]) -> f64 {
    f64::from(concat(&logits.iter().collect::<Vec<_>>(), 0).mean().item())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    /// An evaluation computes features in batches.
    #[test]
    fn features_do_not_depend_on_the_images_read_with_them() {
        let rng = &mut Pcg64::seed_from_u64(1);
        let images = Tensor::uniform([290, 28, 28, 1], -1.0, 1.0, rng);
        let network = features::find("mnist", [28, 28]).unwrap();
        let read = |images: &Tensor| network.read(images).unwrap().features;
        let parts = batches(290, batch_size([28, 28, 1], 1))
            .map(|part| read(&images.narrow(0, part.start, part.len())));
        assert_eq!(Features::stack(parts).unwrap(), read(&images));
    }

    #[test]
    fn large_images_go_through_a_network_few_at_a_time() {
        assert_eq!(batch_size([28, 28, 1], 1), 250);
        assert_eq!(batch_size([28, 28, 1], 4), 252);
        assert_eq!(batch_size([64, 64, 3], 1), 62);
        assert_eq!(batch_size([256, 256, 3], 1), 16);
    }
}
