//! Settings and images of a training with few labels, and the hash of both.

use super::extra_losses::ExtraLosses;
use super::networks::HIDDEN;
use engraft_base::hex;
use engraft_data::Dataset;
use sha2::{Digest, Sha256};

/// Settings of [`SemiSupervised`](super::SemiSupervised).
#[derive(Clone, Debug, PartialEq)]
pub struct SemiSupervisedConfig {
    /// Number of training steps.
    pub steps: u64,
    /// Batch size of each kind of images: of every labeled set, unlabeled and generated.
    pub batch: usize,
    /// Learning rate of both networks. It decays linearly to 0 over the last third of the steps.
    pub learning_rate: f64,
    /// Optional loss terms in addition to feature matching.
    pub extra_losses: ExtraLosses,
    /// Widths of the classifier's hidden layers.
    pub hidden: Vec<usize>,
    /// Augmentation: each training image, labeled or not, is shifted by a random number of pixels up to this one, in both
    /// directions. The uncovered edge gets the image's background, the median of its border. 0 leaves the images unchanged.
    pub shift: usize,
    /// Seed of weights, noise and batch order.
    pub seed: u64,
}

impl SemiSupervisedConfig {
    /// The settings of Salimans et al., 2016, for MNIST: batch size 100, hidden widths [`HIDDEN`], and Adam with learning rate
    /// 0.003, beta1 0.5 and epsilon 1e-4. The learning rate decay is that of Dai et al., 2017.
    pub fn new(steps: u64, seed: u64) -> Self {
        Self {
            steps,
            batch: 100,
            learning_rate: 3e-3,
            extra_losses: ExtraLosses::default(),
            hidden: HIDDEN.to_vec(),
            shift: 0,
            seed,
        }
    }

    /// The text that enters a checkpoint's identity. It keeps the names of an earlier version, and a setting that is off leaves
    /// no trace, so that the checkpoints of that version still resume.
    fn identity_text(&self) -> String {
        let Self {
            steps,
            batch,
            learning_rate,
            extra_losses,
            hidden,
            shift,
            seed,
        } = self;
        let ExtraLosses {
            pull_away,
            conditional_entropy,
        } = extra_losses;
        let shift = match shift {
            0 => String::new(),
            shift => format!(", shift: {shift}"),
        };
        format!(
            "Settings {{ steps: {steps}, batch: {batch}, learning_rate: {learning_rate:?}, terms: Terms {{ pull_away: \
             {pull_away:?}, conditional_entropy: {conditional_entropy:?} }}, hidden: {hidden:?}{shift}, seed: {seed} }}"
        )
    }
}

/// Training images of [`SemiSupervised`](super::SemiSupervised).
#[derive(Clone, Debug)]
pub struct Examples<'a> {
    /// Labeled data sets with the indices of the images to use. Every set has its own batches and the same weight.
    pub labeled: Vec<(&'a Dataset, Vec<usize>)>,
    /// Unlabeled images, whose labels are never used. `None` trains without a generator.
    pub unlabeled: Option<&'a Dataset>,
}

/// SHA-256 of the settings, the images, the labeled indices and their labels.
pub(super) fn identity(examples: &Examples<'_>, settings: &SemiSupervisedConfig) -> String {
    let mut hash = Sha256::new();
    hash.update(settings.identity_text());
    let mut data = |data: &Dataset, indices: &[usize]| {
        hash.update(format!(
            "{} {:?} {}",
            data.sha256(),
            data.image_size(),
            indices.len()
        ));
        for &i in indices {
            hash.update((i as u64).to_le_bytes());
            hash.update([data.label(i)]);
        }
    };
    for (labeled, indices) in &examples.labeled {
        data(labeled, indices);
    }
    if let Some(unlabeled) = examples.unlabeled {
        data(unlabeled, &[]);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that the derived `Debug` of an earlier version gave.
    #[test]
    fn identity_text_is_that_of_an_earlier_version() {
        let mut config = SemiSupervisedConfig::new(7, 3);
        config.extra_losses.pull_away = 0.5;
        config.hidden = vec![16, 8];
        assert_eq!(
            config.identity_text(),
            "Settings { steps: 7, batch: 100, learning_rate: 0.003, terms: Terms { pull_away: 0.5, conditional_entropy: \
             0.0 }, hidden: [16, 8], seed: 3 }"
        );
        config.shift = 2;
        assert!(
            config
                .identity_text()
                .ends_with("hidden: [16, 8], shift: 2, seed: 3 }")
        );
    }
}
