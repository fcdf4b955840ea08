//! The methods of adaptation, and the controls beside them.

use crate::TransferError;
use crate::parse::by_name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a classifier for the target is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AdaptationMethod {
    /// Control: learned from the source alone.
    SourceOnly,
    /// Control: learned from the source alone, and the statistics of batch norm taken from the target's images.
    ///
    /// *Source*: Li et al., "Revisiting batch normalization for practical domain adaptation", 2016.
    TargetStatistics,
    /// Domain-adversarial training: the gradient of a domain discriminator, reversed, makes the features of both domains
    /// alike.
    ///
    /// *Source*: Ganin et al., "Domain-adversarial training of neural networks", 2016.
    Dann,
    /// Conditional: as [`AdaptationMethod::Dann`], but the discriminator sees features and predictions together, sure examples with
    /// more weight.
    ///
    /// *Source*: Long et al., "Conditional adversarial domain adaptation", 2018 (CDAN+E).
    Cdan,
    /// After learning the source, a copy of its classifier learns to answer for the target so that a discriminator takes
    /// the logits for the source's.
    ///
    /// *Source*: Tzeng et al., "Adversarial discriminative domain adaptation", 2017.
    Adda,
    /// Two classifiers are driven apart on the target, and the features made such that they agree.
    ///
    /// *Source*: Saito et al., "Maximum classifier discrepancy for unsupervised domain adaptation", 2018.
    Mcd,
    /// Domain-adversarial training with predictions that are sure and do not change nearby.
    ///
    /// *Source*: Shu et al., "A DIRT-T approach to unsupervised domain adaptation", 2018.
    Vada,
    /// Two coupled GANs draw pairs, an image of either domain for the same noise. Generators share all but their last layer,
    /// discriminators all but their first block, and the shared part also reads the classes of the source's images: so the
    /// classifier profits from telling real from made in both domains.
    ///
    /// *Source*: Liu and Tuzel, "Coupled generative adversarial networks", 2016.
    Cogan,
    /// Control, the other end: learned from the target's own labels.
    TargetSupervised,
}

impl AdaptationMethod {
    /// All of them, controls included.
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

    /// The name as users type it.
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

    /// Whether it is a control and adapts nothing by training.
    pub fn is_baseline(self) -> bool {
        matches!(
            self,
            Self::SourceOnly | Self::TargetStatistics | Self::TargetSupervised
        )
    }

    /// What it is, in a few words.
    pub fn description(self) -> &'static str {
        match self {
            Self::SourceOnly => "Learned from the source alone",
            Self::TargetStatistics => "The same, with the target's batch norm statistics",
            Self::Dann => "Domain-adversarial training with a reversed gradient",
            Self::Cdan => "The same, conditional on the predictions",
            Self::Adda => "A copy of the source's classifier, trained against a discriminator",
            Self::Mcd => "Maximum classifier discrepancy",
            Self::Vada => "Virtual adversarial domain adaptation",
            Self::Cogan => "Coupled GANs, which also draw pairs: with --out, a grid of them for each seed",
            Self::TargetSupervised => "Learned from the target's labels",
        }
    }

    /// Classifiers on the features.
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
    /// [`TransferError::Unknown`], with every name there is.
    fn from_str(name: &str) -> Result<Self, TransferError> {
        by_name(&Self::ALL, "method of adaptation", name)
    }
}
