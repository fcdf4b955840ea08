//! Methods of domain adaptation and their baselines.

use crate::TransferError;
use crate::parse::by_name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A method of domain adaptation, or a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AdaptationMethod {
    /// Baseline: trained on the source only.
    SourceOnly,
    /// Baseline: trained on the source only, with batch norm statistics of the target (AdaBN).
    ///
    /// *Source*: Li et al., "Revisiting batch normalization for practical domain adaptation", 2016.
    TargetStatistics,
    /// Domain-adversarial training: the reversed gradient of a domain discriminator aligns the features of both domains.
    ///
    /// *Source*: Ganin et al., "Domain-adversarial training of neural networks", 2016.
    Dann,
    /// Conditional [`AdaptationMethod::Dann`]: the discriminator takes features and predictions, and certain predictions have
    /// more weight.
    ///
    /// *Source*: Long et al., "Conditional adversarial domain adaptation", 2018 (CDAN+E).
    Cdan,
    /// After training on the source, a copy of the classifier trains until a discriminator cannot separate its logits on the
    /// target from the logits on the source.
    ///
    /// *Source*: Tzeng et al., "Adversarial discriminative domain adaptation", 2017.
    Adda,
    /// Two heads maximize their discrepancy on the target, and the feature extractor minimizes it.
    ///
    /// *Source*: Saito et al., "Maximum classifier discrepancy for unsupervised domain adaptation", 2018.
    Mcd,
    /// Domain-adversarial training with low-entropy predictions that are robust to small perturbations.
    ///
    /// *Source*: Shu et al., "A DIRT-T approach to unsupervised domain adaptation", 2018.
    Vada,
    /// Two coupled GANs generate pairs: an image of each domain from the same latent vector. The generators share all layers
    /// except the last, the discriminators all except the first block. The shared layers also classify the source's images.
    ///
    /// *Source*: Liu and Tuzel, "Coupled generative adversarial networks", 2016.
    Cogan,
    /// Baseline and upper bound: trained on the target's labels.
    TargetSupervised,
}

impl AdaptationMethod {
    /// All methods, including the baselines.
    pub const ALL: [Self; 9] = [
        Self::SourceOnly,
        Self::TargetStatistics,
        Self::Dann,
        Self::Cdan,
        Self::Adda,
        Self::Mcd,
        Self::Vada,
        Self::Cogan,
        Self::TargetSupervised,
    ];

    /// The name in options and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SourceOnly => "source-only",
            Self::TargetStatistics => "target-statistics",
            Self::Dann => "dann",
            Self::Cdan => "cdan",
            Self::Adda => "adda",
            Self::Mcd => "mcd",
            Self::Vada => "vada",
            Self::Cogan => "cogan",
            Self::TargetSupervised => "target-supervised",
        }
    }

    /// Whether the method is a baseline, which does not adapt by training.
    pub fn is_baseline(self) -> bool {
        matches!(
            self,
            Self::SourceOnly | Self::TargetStatistics | Self::TargetSupervised
        )
    }

    /// A short description for help texts.
    pub fn description(self) -> &'static str {
        match self {
            Self::SourceOnly => "Trained on the source only",
            Self::TargetStatistics => "Trained on the source only, with batch norm statistics of the target",
            Self::Dann => "Domain-adversarial training with a reversed gradient",
            Self::Cdan => "Domain-adversarial training conditioned on the predictions",
            Self::Adda => "A copy of the source's classifier, trained against a discriminator",
            Self::Mcd => "Maximum classifier discrepancy",
            Self::Vada => "Virtual adversarial domain adaptation",
            Self::Cogan => "Coupled GANs, which also generate image pairs",
            Self::TargetSupervised => "Trained on the target's labels",
        }
    }

    /// Number of classifier heads.
    pub(crate) fn heads(self) -> usize {
        if self == Self::Mcd { 2 } else { 1 }
    }
}

impl fmt::Display for AdaptationMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AdaptationMethod {
    type Err = TransferError;

    /// # Errors
    /// [`TransferError::Unknown`], which lists every valid name.
    fn from_str(name: &str) -> Result<Self, TransferError> {
        by_name(&Self::ALL, "adaptation method", name)
    }
}
