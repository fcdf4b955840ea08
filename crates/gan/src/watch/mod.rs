//! A run looks after itself: measures on held-out images, the best checkpoint, when to stop.

mod measurement;
mod view;

pub use measurement::{Alarm, Measurement};
pub use view::feature_view;

use crate::config::MEASURED_TRAINING_IMAGES;
use crate::error::GanError;
use crate::gan::Gan;
use crate::latent::{as_image, with_rows};
use crate::packing::pack;

use engraft_data::Dataset;
use engraft_layers::{Mode, Module, Sequential, one_hot};
use engraft_metrics::{FeatureExtractor, FeatureNetwork, Features, kernel_distance, memorized_share, prdc};
use engraft_tensor::{Tensor, no_grad};
use serde::{Deserialize, Serialize};

/// Images that go through a network at once.
const BATCH: usize = 250;

/// What a run remembers of its measurements, a part of its checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WatchState {
    /// All measurements so far, in the order of their steps.
    pub(crate) measurements: Vec<Measurement>,
    /// How many times the run has gone back after it had diverged.
    pub(crate) rollbacks: u32,
    /// Phase of the run's plan.
    pub(crate) phase: u32,
    /// Step after which it began.
    pub(crate) phase_began: u64,
}

impl WatchState {
    /// The measurement with the lowest [score](Measurement::score), the first of equals; those of a generator that
    /// repeats its training images count only if all are of that kind.
    pub(crate) fn best(&self) -> Option<&Measurement> {
        self.measurements
            .iter()
            .reduce(|best, m| if m.beats(best) { m } else { best })
    }

    /// The best measurement, if the last one is worse by more than their standard errors or has begun to repeat training
    /// images; within these errors no winner is named, and training on is given the benefit of the doubt.
    pub(crate) fn better_than_last(&self) -> Option<&Measurement> {
        let (best, last) = (self.best()?, self.measurements.last()?);
        let is_worse = last.score() - best.score() > best.kid_se.hypot(last.kid_se);
        (is_worse || last.is_memorised() && !best.is_memorised()).then_some(best)
    }

    /// Whether the last `patience` measurements have brought no new best one.
    pub(crate) fn is_on_plateau(&self, patience: u32) -> bool {
        let best = self.best().map(|best| best.step);
        let since = |best| self.measurements.iter().filter(|m| m.step > best).count();
        patience > 0 && best.is_some_and(|best| since(best) >= patience as usize)
    }

    /// `measures.jsonl`: a line for each measurement.
    pub(crate) fn to_lines(&self) -> String {
        self.measurements
            .iter()
            .map(|m| serde_json::to_string(m).expect("numbers always have a JSON form") + "\n")
            .collect()
    }
}

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
pub(crate) struct Watch {
    network: FeatureNetwork,
    held_out: Known,
    train: Known,
}

impl Watch {
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
        let drawn = in_parts(noise, 1, |z| as_image(&generator.forward(z, Mode::Eval)));
        let features = self.network.read(&feature_view(&drawn))?.features;
        let distance = kernel_distance(&self.held_out.features, &features)?;
        let mean_logit = |images: &Tensor, classes: Option<Tensor>| {
            let packing = gan.loss.objective.packing as usize;
            let whole = images.shape()[0] / packing * packing;
            let given = match classes {
                Some(classes) => with_rows(images, &classes),
                None => images.narrow(0, 0, whole),
            };
            let logits = in_parts(&given, packing, |part| {
                gan.discriminator.forward(&pack(part, packing), Mode::Eval)
            });
            f64::from(logits.mean().item())
        };
        let of_known = |known: &Known| {
            let classes = (gan.classes > 0).then(|| one_hot(&known.labels, gan.classes));
            mean_logit(&known.images, classes)
        };
        let (train, held_out) = (of_known(&self.train), of_known(&self.held_out));
        let generated = mean_logit(&drawn, gan.classes_in(noise));
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

/// `f` of a tensor's rows, some at a time in multiples of `unit`, joined again.
fn in_parts(rows: &Tensor, unit: usize, f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let (n, size) = (rows.shape()[0], BATCH.div_ceil(unit) * unit);
    let parts: Vec<Tensor> = (0..n)
        .step_by(size)
        .map(|start| no_grad(|| f(&rows.narrow(0, start, size.min(n - start)))))
        .collect();
    engraft_tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(distances: &[f64]) -> WatchState {
        let measurement = |(i, &kid): (usize, &f64)| Measurement {
            step: 10 * (i as u64 + 1),
            kid,
            kid_se: 0.0,
            coverage: 0.0,
            spread: 1.0,
            memorised: 0.0,
            overfitting: 0.0,
        };
        WatchState {
            measurements: distances.iter().enumerate().map(measurement).collect(),
            ..WatchState::default()
        }
    }

    #[test]
    fn patience_counts_from_the_best() {
        let mut state = state(&[3.0, 1.0, 1.0, 2.0, 1.5]);
        assert_eq!(state.best().unwrap().step, 20);
        assert!(state.is_on_plateau(3) && !state.is_on_plateau(4));
        assert!(!state.is_on_plateau(0), "0 is no patience at all, but never");
        assert!(!WatchState::default().is_on_plateau(1));
        assert_eq!(state.to_lines().lines().count(), 5);
        assert_eq!(state.better_than_last().unwrap().step, 20);
        state.measurements.iter_mut().for_each(|m| m.kid_se = 0.4);
        assert_eq!(
            state.better_than_last(),
            None,
            "1.5 ± 0.4 may be as good as 1.0 ± 0.4"
        );
        // A generator that copies is not the best for it.
        state.measurements[1].memorised = 1.0;
        assert_eq!(state.best().unwrap().step, 30);
    }

    /// Its unbiased distance is 0 on average, and so is its score whatever it has memorised.
    #[test]
    fn a_copier_is_passed_over_unless_all_copy() {
        let of = |measures: &[(f64, f64)]| {
            let mut state = state(&measures.iter().map(|m| m.0).collect::<Vec<_>>());
            for (m, (_, memorised)) in state.measurements.iter_mut().zip(measures) {
                (m.memorised, m.kid_se) = (*memorised, 0.01);
            }
            state
        };
        let (copier, honest) = ((0.0, 1.0), (0.141, 0.04));
        let step = |m: Option<&Measurement>| m.map(|m| m.step);
        let later = of(&[honest, copier, (-0.002, 0.9)]);
        assert_eq!(step(later.best()), Some(10));
        assert_eq!(step(later.better_than_last()), Some(10));
        assert!(later.is_on_plateau(2), "copies are no progress");
        let earlier = of(&[copier, honest]);
        assert_eq!(step(earlier.best()), Some(20));
        assert_eq!(step(earlier.better_than_last()), None);
        assert_eq!(step(of(&[(0.3, 0.5), (0.1, 0.6)]).best()), Some(20));
    }

    #[test]
    fn at_equal_distances() {
        assert_eq!(spread_out(3, 9), [1, 4, 7]);
        assert_eq!(spread_out(4, 3), [0, 1, 2]);
        assert!(spread_out(0, 3).is_empty());
    }
}
