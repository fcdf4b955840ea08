//! Distance between a source and a target domain, measured before any training.

use crate::error::TransferError;
use engraft_layers::{Adam, Dense, Init, Mode, Module, Optimizer, Reduction, bce_with_logits, gradients};
use engraft_metrics::{Features, kernel_distance, prdc};
use engraft_tensor::{Tensor, no_grad};
use serde::Serialize;
use std::fmt;

/// Minimum number of images on each side for recall and coverage.
const MIN_NEIGHBOR_IMAGES: usize = 6;
/// Training steps of the classifier for the proxy A-distance.
const STEPS: usize = 200;

/// Distances between the generated images of a source and the images of a target, in a feature space.
///
/// ```
/// use engraft_transfer::DomainDistance;
///
/// let distance = DomainDistance { images: 100, kid: Some(0.1), recall: Some(0.8), coverage: Some(0.9), a_distance: 1.0 };
/// assert!(distance.is_close());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DomainDistance {
    /// Number of target images.
    pub images: usize,
    /// [Kernel distance](kernel_distance) (KID); `None` for fewer than three images on a side.
    pub kid: Option<f64>,
    /// Recall: share of the target images inside the manifold of the source's images, from 0 to 1. It is the best predictor
    /// of a good source. `None` for fewer than six images on a side.
    pub recall: Option<f64>,
    /// Coverage: share of the target images with a source image in their neighborhood, from 0 to 1. `None` as for recall.
    pub coverage: Option<f64>,
    /// Proxy A-distance `2 (1 - 2 ε)`, where `ε` is the error of a linear domain classifier. It is 0 for domains that cannot
    /// be separated and 2 for domains that always can.
    pub a_distance: f64,
}

impl DomainDistance {
    /// Whether the domains cannot always be separated: the proxy A-distance is below 1.9.
    pub(crate) fn overlaps(&self) -> bool {
        self.a_distance < 1.9
    }

    /// Whether the target is close: the proxy A-distance is below 1.9 and recall is above 0.3 or unknown.
    pub fn is_close(&self) -> bool {
        self.overlaps() && self.recall.is_none_or(|recall| recall > 0.3)
    }
}

/// Measures the distance between a target and a source from features of their images.
///
/// Use at least as many generated images of the source as there are target images.
///
/// *Source*: for recall, Grigoryev, Voynov and Babenko, "When, why, and which pretrained GANs are useful?", 2022; for the
/// proxy A-distance, Ben-David et al., "Analysis of representations for domain adaptation", 2007.
///
/// # Errors
/// If a side has no images or the feature dimensions differ.
pub fn domain_distance(target: &Features, source: &Features) -> Result<DomainDistance, TransferError> {
    let neighbors = (target.len() >= MIN_NEIGHBOR_IMAGES && source.len() >= MIN_NEIGHBOR_IMAGES)
        .then(|| prdc(target, source))
        .transpose()?;
    let kid = (target.len() >= 3 && source.len() >= 3)
        .then(|| kernel_distance(target, source))
        .transpose()?;
    Ok(DomainDistance {
        images: target.len(),
        kid: kid.map(|k| k.value),
        recall: neighbors.map(|n| n.recall),
        coverage: neighbors.map(|n| n.coverage),
        a_distance: a_distance(target, source),
    })
}

/// Proxy A-distance by logistic regression, trained on every second image of both sides and tested on the others.
fn a_distance(target: &Features, source: &Features) -> f64 {
    let n = target.len().min(source.len());
    if n < 2 {
        return 2.0;
    }
    // The same number from both sides, evenly spaced. `equidistant` selects other images and would change published figures.
    let evenly_spaced = |all: &Features| all.select(&(0..n).map(|i| i * all.len() / n).collect::<Vec<_>>());
    let sides = [evenly_spaced(target), evenly_spaced(source)];
    let d = target.dimension();
    let half = |parity: usize| {
        let mut values = Vec::new();
        let mut labels = Vec::new();
        for (label, side) in sides.iter().enumerate() {
            for i in (parity..n).step_by(2) {
                values.extend(side.view().row(i).iter().map(|&x| x as f32));
                labels.push(label as f32);
            }
        }
        let rows = labels.len();
        (
            Tensor::from_vec([rows, d], values),
            Tensor::from_vec([rows, 1], labels),
        )
    };
    let ((x, y), (x_test, y_test)) = (half(0), half(1));
    // Standardized with the statistics of the training half, so that one learning rate fits all features.
    let mean = x.mean_keep(&[0]);
    let scale = ((&x - &mean).square().mean_keep(&[0]) + 1e-6).sqrt();
    let scaled = |x: &Tensor| (x - &mean) / &scale;
    let mut model = Dense::new(d, 1, &mut Init::glorot(1));
    let mut adam = Adam::new(0.02).weight_decay(0.01);
    let x = scaled(&x);
    for _ in 0..STEPS {
        let loss = bce_with_logits(&model.forward(&x, Mode::Train), &y, Reduction::Mean);
        let found = gradients(&loss, &model);
        drop(loss);
        adam.step(&mut model, &found);
    }
    let logits = no_grad(|| model.forward(&scaled(&x_test), Mode::Eval));
    let errors = logits
        .as_slice()
        .iter()
        .zip(y_test.as_slice())
        .filter(|(logit, label)| (**logit > 0.0) != (**label > 0.5))
        .count();
    let error = errors as f64 / y_test.len().max(1) as f64;
    2.0 * (1.0 - 2.0 * error).max(0.0)
}

impl DomainDistance {
    /// The measures in words, without whether the target is close.
    pub fn measures(&self) -> String {
        let number = |value: Option<f64>| value.map_or("unknown".into(), |v| format!("{v:.3}"));
        format!(
            "KID {}, recall {}, coverage {}, proxy A-distance {:.2} of 2 ({} images)",
            number(self.kid),
            number(self.recall),
            number(self.coverage),
            self.a_distance,
            self.images,
        )
    }
}

impl fmt::Display for DomainDistance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = if self.is_close() { "close" } else { "far" };
        write!(f, "{}: the target is {found}", self.measures())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn points(n: usize, shift: f64, seed: u64) -> Features {
        let noise = Tensor::<f64>::randn([n, 4], &mut Pcg64::seed_from_u64(seed));
        let values = noise.as_slice().iter().map(|x| x + shift).collect();
        Features::new(Array2::from_shape_vec((n, 4), values).unwrap()).unwrap()
    }

    #[test]
    fn close_and_far_domains() {
        let near = domain_distance(&points(100, 0.0, 1), &points(300, 0.0, 2)).unwrap();
        assert!(near.is_close() && near.a_distance < 0.6, "{near}");
        let far = domain_distance(&points(100, 9.0, 1), &points(300, 0.0, 2)).unwrap();
        assert!(!far.is_close() && far.a_distance > 1.9, "{far}");
        assert!(far.kid.unwrap() > near.kid.unwrap() && far.recall.unwrap() < 0.01);
        let small = domain_distance(&points(2, 0.0, 1), &points(300, 0.0, 2)).unwrap();
        assert!(small.kid.is_none() && small.recall.is_none());
    }
}
