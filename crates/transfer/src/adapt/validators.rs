//! Validators: scores that select a checkpoint without labels of the target.

use super::losses::entropies;
use crate::TransferError;
use crate::parse::by_name;
use engraft_tensor::{Tensor, no_grad};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Temperature of the [soft neighborhood density](neighborhood_density).
const TEMPERATURE: f64 = 0.05;

/// Criterion that selects a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Validator {
    /// Lowest mean entropy of the predictions for the target.
    Entropy,
    /// Highest mutual information: the entropy of the mean prediction minus the mean entropy. Unlike entropy alone, it does not
    /// favor a classifier that predicts one class for all images.
    ///
    /// *Source*: Musgrave, Belongie and Lim, "Three new validators and a large-scale benchmark ranking for unsupervised
    /// domain adaptation", 2022.
    #[default]
    Information,
    /// Highest [soft neighborhood density](neighborhood_density).
    Density,
    /// Highest accuracy on test images of the source.
    Source,
}

impl Validator {
    /// All validators.
    pub const ALL: [Self; 4] = [Self::Information, Self::Entropy, Self::Density, Self::Source];

    /// The name in options and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Entropy => "entropy",
            Self::Information => "information",
            Self::Density => "density",
            Self::Source => "source",
        }
    }
}

impl fmt::Display for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Validator {
    type Err = TransferError;

    /// # Errors
    /// [`TransferError::Unknown`], which lists every valid name.
    fn from_str(name: &str) -> Result<Self, TransferError> {
        by_name(&Self::ALL, "validator", name)
    }
}

/// Scores of one checkpoint by all validators.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidatorScores {
    /// Mean entropy of the predictions for the target, in nats.
    pub entropy: f64,
    /// Entropy of the mean prediction minus the mean entropy, in nats; at most `ln classes`.
    pub information: f64,
    /// [Soft neighborhood density](neighborhood_density) of the predictions for the target, in nats.
    pub density: f64,
    /// Accuracy on the source's test images, from 0 to 1.
    pub source: f64,
}

impl ValidatorScores {
    /// Computes the scores from logits `[n, classes]` of target images and the accuracy on the source.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// use engraft_transfer::adapt::ValidatorScores;
    /// // Two certain predictions of different classes have an information of ln 2 nats.
    /// let found = ValidatorScores::from_logits(&Tensor::from_vec([2, 2], vec![50.0, 0.0, 0.0, 50.0]), 1.0);
    /// assert!(found.entropy < 1e-6 && (found.information - 2.0_f64.ln()).abs() < 1e-6);
    /// ```
    ///
    /// # Panics
    /// If the logits are not `[n, classes]`.
    #[track_caller]
    pub fn from_logits(target_logits: &Tensor, source: f64) -> Self {
        let logits = target_logits.cast::<f64>();
        no_grad(|| {
            let entropy = entropies(&logits).mean().item();
            let mean = logits.softmax(1).mean_keep(&[0]);
            let of_mean: f64 = mean
                .as_slice()
                .iter()
                .filter(|p| **p > 0.0)
                .map(|p| -p * p.ln())
                .sum();
            Self {
                entropy,
                information: of_mean - entropy,
                density: neighborhood_density(&logits),
                source,
            }
        })
    }

    /// The score of a validator; higher is better.
    pub fn score(&self, by: Validator) -> f64 {
        match by {
            Validator::Entropy => -self.entropy,
            Validator::Information => self.information,
            Validator::Density => self.density,
            Validator::Source => self.source,
        }
    }
}

/// Soft neighborhood density: the mean entropy of the softmax similarities between predictions, in nats.
///
/// With `p̂` the predictions divided by their length, row `i` is the softmax of `p̂_i · p̂_j / 0.05` over `j ≠ i`. Predictions
/// in tight clusters have many similar neighbors, so their density is high.
///
/// *Shapes*: logits `[n, classes]` with n at least 3; fewer rows give 0.
///
/// *Source*: Saito et al., "Tune it the right way: unsupervised validation of domain adaptation via soft neighborhood
/// density", 2021, section 3.2.
#[must_use]
pub fn neighborhood_density(logits: &Tensor<f64>) -> f64 {
    let [n, classes] = [logits.shape()[0], logits.shape()[1]];
    if n < 3 {
        return 0.0;
    }
    let p = no_grad(|| {
        let p = logits.softmax(1);
        &p / p.square().sum_keep(&[1]).sqrt()
    });
    let rows: Vec<&[f64]> = p.as_slice().chunks_exact(classes).collect();
    let entropy = |i: usize| {
        let (mut total, mut weighted) = (0.0, 0.0);
        for j in (0..n).filter(|&j| j != i) {
            let similarity: f64 = rows[i].iter().zip(rows[j]).map(|(a, b)| a * b).sum();
            // The largest similarity is 1, so nothing overflows.
            let exponent = (similarity - 1.0) / TEMPERATURE;
            let weight = exponent.exp();
            total += weight;
            weighted += weight * exponent;
        }
        // -Σ q ln q with q = w / total.
        total.ln() - weighted / total
    };
    // Rows are summed in order, so the result has the same bits for any number of threads.
    let all: Vec<f64> = (0..n).into_par_iter().map(entropy).collect();
    all.iter().sum::<f64>() / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn density_by_hand() {
        // Three predictions, two equal and one orthogonal: similarities 1, 0, 0.
        let logits = Tensor::from_vec([3, 2], vec![400.0, 0.0, 400.0, 0.0, 0.0, 400.0]);
        let far = (-1.0_f64 / TEMPERATURE).exp();
        let (q, r) = (1.0 / (1.0 + far), far / (1.0 + far));
        let expected = (2.0 * -(q * q.ln() + r * r.ln()) + 2.0_f64.ln()) / 3.0;
        assert!((neighborhood_density(&logits) - expected).abs() < 1e-12);
        // All equal: uniform over the others.
        let equal = Tensor::zeros([5, 2]);
        assert!((neighborhood_density(&equal) - 4.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn predicting_one_class_has_low_entropy_and_no_information() {
        let certain =
            ValidatorScores::from_logits(&Tensor::from_vec([2, 2], vec![60.0, 0.0, 60.0, 0.0]), 0.5);
        assert!(certain.entropy < 1e-6 && certain.information.abs() < 1e-6);
        let uncertain =
            ValidatorScores::from_logits(&Tensor::from_vec([2, 2], vec![1.0, 0.0, 0.0, 1.0]), 0.5);
        assert!(certain.score(Validator::Entropy) > uncertain.score(Validator::Entropy));
        assert!(certain.score(Validator::Information) < uncertain.score(Validator::Information));
        // By hand: p = σ(1), H = -p ln p - (1 - p) ln (1 - p), of the mean ln 2.
        let p = 1.0 / (1.0 + (-1.0_f64).exp());
        let entropy = -(p * p.ln() + (1.0 - p) * (1.0 - p).ln());
        assert!((uncertain.entropy - entropy).abs() < 1e-6);
        assert!((uncertain.information - (2.0_f64.ln() - entropy)).abs() < 1e-6);
        assert_eq!(uncertain.score(Validator::Source), 0.5);
    }
}
