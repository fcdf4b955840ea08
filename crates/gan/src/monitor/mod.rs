//! A run looks after itself: measures on held-out images, the best checkpoint, when to stop.

mod feature_input;
mod measurement;
mod state;

pub use feature_input::feature_view;
pub use measurement::{Alarm, Measurement};
pub(crate) use state::MonitorState;

use crate::config::MEASURED_TRAINING_IMAGES;
use crate::error::GanError;
use crate::gan::Gan;
use crate::latent::as_image;
use crate::packing::pack;

use engraft_data::Dataset;
use engraft_layers::{Condition, Mode, Module, Sequential};
use engraft_metrics::{FeatureExtractor, FeatureNetwork, Features, kernel_distance, memorized_share, prdc};
use engraft_tensor::{Tensor, no_grad};

/// Images that go through a network at once.
const BATCH: usize = 250;

/// Indices of `count` of `n` things at equal distances: of data in the order of its classes, every class.
pub(crate) fn spread_out(count: usize, n: usize) -> Vec<usize> {
    let count = count.min(n);
    (0..count).map(|i| (2 * i + 1) * n / (2 * count)).collect()
}

/// Images and their features.
struct Known {
    images: Tensor,
    labels: Vec<usize>,
    features: Features,
}

/// The images that a run is measured with.
pub(crate) struct Monitor {
    network: FeatureNetwork,
    held_out: Known,
    train: Known,
}

impl Monitor {
    /// Reads the features of the held-out images and of some training images.
    pub(crate) fn new(data: &Dataset, held_out: &[usize], train: &[usize]) -> Result<Self, GanError> {
        let network = FeatureNetwork::for_data(data.name());
        let some: Vec<usize> = spread_out(MEASURED_TRAINING_IMAGES, train.len())
            .into_iter()
            .map(|i| train[i])
            .collect();
        let known = |indices: &[usize]| -> Result<Known, GanError> {
            let [h, w, c] = data.image_size();
            let images = Tensor::from_vec([indices.len(), h, w, c], data.batch_f32(indices));
            let features = network.read(&feature_view(&images))?.features;
            let labels = indices.iter().map(|&i| data.label(i).into()).collect();
            Ok(Known {
                images,
                labels,
                features,
            })
        };
        let (held_out, train) = (known(held_out)?, known(&some)?);
        Ok(Self {
            held_out,
            train,
            network,
        })
    }

    /// Measures the generator of a game on some noise, and the discriminator that it plays against.
    pub(crate) fn measure(
        &self,
        step: u64,
        gan: &Gan,
        generator: &Sequential,
        noise: &Tensor,
    ) -> Result<Measurement, GanError> {
        let condition = gan.classes_in_turn(noise.shape()[0]);
        let drawn = in_parts(noise, &condition, 1, |z, condition| {
            as_image(&generator.forward_with(z, condition, Mode::Eval))
        });
        let features = self.network.read(&feature_view(&drawn))?.features;
        let distance = kernel_distance(&self.held_out.features, &features)?;
        let mean_logit = |images: &Tensor, condition: &Condition| {
            let packing = gan.loss.objective.packing as usize;
            let whole = images.shape()[0] / packing * packing;
            let logits = in_parts(
                &images.narrow(0, 0, whole),
                condition,
                packing,
                |part, condition| {
                    let packs = pack(part, packing);
                    gan.discriminator.forward_with(&packs, condition, Mode::Eval)
                },
            );
            f64::from(logits.mean().item())
        };
        let of_known = |known: &Known| {
            let condition = match gan.classes {
                0 => Condition::None,
                _ => known.labels.as_slice().into(),
            };
            mean_logit(&known.images, &condition)
        };
        let (train, held_out) = (of_known(&self.train), of_known(&self.held_out));
        let generated = mean_logit(&drawn, &condition);
        let gap = train - generated;
        Ok(Measurement {
            step,
            kid: distance.value,
            kid_se: distance.standard_error,
            coverage: prdc(&self.held_out.features, &features)?.coverage,
            spread: features.variance() / self.held_out.features.variance().max(f64::MIN_POSITIVE),
            memorised: memorized_share(&self.train.features, &self.held_out.features, &features)?,
            // A discriminator that does not tell training images from generated ones has learned nothing by heart.
            overfitting: if gap > 0.0 { (train - held_out) / gap } else { 0.0 },
        })
    }
}

/// `f` of a tensor's rows and their condition, some at a time in multiples of `unit`, joined again.
fn in_parts(
    rows: &Tensor,
    condition: &Condition,
    unit: usize,
    f: impl Fn(&Tensor, &Condition) -> Tensor,
) -> Tensor {
    let (n, size) = (rows.shape()[0], BATCH.div_ceil(unit) * unit);
    let parts: Vec<Tensor> = (0..n)
        .step_by(size)
        .map(|start| {
            let count = size.min(n - start);
            no_grad(|| f(&rows.narrow(0, start, count), &condition.narrow(start, count)))
        })
        .collect();
    engraft_tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_equal_distances() {
        assert_eq!(spread_out(3, 9), [1, 4, 7]);
        assert_eq!(spread_out(4, 3), [0, 1, 2]);
        assert!(spread_out(0, 3).is_empty());
    }
}
