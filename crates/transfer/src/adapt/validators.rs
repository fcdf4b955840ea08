//! ValidatorScores: how good an adapted classifier is, told without labels of the target.

use super::losses::entropies;
use crate::TransferError;
use crate::parse::by_name;
use engraft_tensor::{Tensor, no_grad};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Temperature of the [neighborhood density](neighborhood_density).
const TEMPERATURE: f64 = 0.05;

/// By what a checkpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Validator {
    /// The lowest mean entropy of the predictions for the target.
    Entropy,
    /// The highest information that the predictions carry: entropy of their mean minus their mean entropy. Unlike entropy
    /// alone it does not reward one class for all.
    ///
    /// *Source*: Musgrave, Belongie and Lim, "Three new validators and a large-scale benchmark ranking for unsupervised
    /// domain adaptation", 2022.
    #[default]
    Information,
    /// The highest [neighborhood density](neighborhood_density).
    Density,
    /// The highest accuracy on test images of the source.
    Source,
}

impl Validator {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Information, Self::Entropy, Self::Density, Self::Source];

    /// The name as users type it.
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
    /// [`TransferError::Unknown`], with every name there is.
    fn from_str(name: &str) -> Result<Self, TransferError> {
        by_name(&Self::ALL, "validator", name)
    }
}

/// What the validators say of one checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidatorScores {
    /// Mean entropy of the predictions for the target, in nats.
    pub entropy: f64,
    /// Entropy of the mean prediction minus the mean entropy, in nats; at most `ln classes`.
    pub information: f64,
    /// [Neighbourhood density](neighborhood_density) of the predictions for the target, in nats.
    pub density: f64,
    /// Share of the source's test images that is read rightly.
    pub source: f64,
}

impl ValidatorScores {
    /// From logits `[n, classes]` of target images and the accuracy on the source.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// use engraft_transfer::adapt::ValidatorScores;
    /// // Two sure predictions of two classes carry ln 2 nats.
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

    /// What a validator gives for it; higher is better.
    pub fn score(&self, by: Validator) -> f64 {
        match by {
            Validator::Entropy => -self.entropy,
            Validator::Information => self.information,
            Validator::Density => self.density,
            Validator::Source => self.source,
        }
    }
}

/// Soft neighborhood density: mean entropy of how each prediction spreads over the others by their likeness. Predictions
/// in tight groups have many equal neighbors, hence a high one.
///
/// With `p̂` the predictions divided by their length, row `i` is the softmax of `p̂_i · p̂_j / 0.05` over `j ≠ i`.
///
/// *Shapes*: logits `[n, classes]`, n at least 3; fewer give 0.
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
            let likeness: f64 = rows[i].iter().zip(rows[j]).map(|(a, b)| a * b).sum();
            // The largest likeness is 1: nothing overflows.
            let exponent = (likeness - 1.0) / TEMPERATURE;
            let weight = exponent.exp();
            total += weight;
            weighted += weight * exponent;
        }
        // -Σ q ln q with q = w / total.
        total.ln() - weighted / total
    };
    // Each row by itself, added in order: the same bits on any number of threads.
    let all: Vec<f64> = (0..n).into_par_iter().map(entropy).collect();
    all.iter().sum::<f64>() / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn density_by_hand() {
        // Three predictions, two alike and one at a right angle: likeness 1, 0, 0.
        let logits = Tensor::from_vec([3, 2], vec![400.0, 0.0, 400.0, 0.0, 0.0, 400.0]);
        let far = (-1.0_f64 / TEMPERATURE).exp();
        let (q, r) = (1.0 / (1.0 + far), far / (1.0 + far));
        let expected = (2.0 * -(q * q.ln() + r * r.ln()) + 2.0_f64.ln()) / 3.0;
        assert!((neighborhood_density(&logits) - expected).abs() < 1e-12);
        // All alike: uniform over the others.
        let alike = Tensor::zeros([5, 2]);
        assert!((neighborhood_density(&alike) - 4.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn one_class_for_all_is_sure_and_says_nothing() {
        let sure = ValidatorScores::from_logits(&Tensor::from_vec([2, 2], vec![60.0, 0.0, 60.0, 0.0]), 0.5);
        assert!(sure.entropy < 1e-6 && sure.information.abs() < 1e-6);
        let unsure = ValidatorScores::from_logits(&Tensor::from_vec([2, 2], vec![1.0, 0.0, 0.0, 1.0]), 0.5);
        assert!(sure.score(Validator::Entropy) > unsure.score(Validator::Entropy));
        assert!(sure.score(Validator::Information) < unsure.score(Validator::Information));
        // By hand: p = σ(1), H = -p ln p - (1 - p) ln (1 - p), of the mean ln 2.
        let p = 1.0 / (1.0 + (-1.0_f64).exp());
        let entropy = -(p * p.ln() + (1.0 - p) * (1.0 - p).ln());
        assert!((unsure.entropy - entropy).abs() < 1e-6);
        assert!((unsure.information - (2.0_f64.ln() - entropy)).abs() < 1e-6);
        assert_eq!(unsure.score(Validator::Source), 0.5);
    }
}
