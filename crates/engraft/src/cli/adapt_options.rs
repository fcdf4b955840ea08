//! What the options of `engraft adapt` are chosen from.

use clap::ValueEnum;
use engraft_transfer::adapt::{Method, Validator};

/// A method that adapts.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Adaptation {
    /// Domain-adversarial training with a reversed gradient
    Dann,
    /// The same, conditional on the predictions
    Cdan,
    /// A copy of the source's classifier, trained against a discriminator
    Adda,
    /// Maximum classifier discrepancy
    Mcd,
    /// Virtual adversarial domain adaptation
    Vada,
    /// Coupled GANs, which also draw pairs: with --out, a sheet of them for each seed
    Cogan,
}

impl From<Adaptation> for Method {
    fn from(method: Adaptation) -> Self {
        match method {
            Adaptation::Dann => Self::Dann,
            Adaptation::Cdan => Self::Cdan,
            Adaptation::Adda => Self::Adda,
            Adaptation::Mcd => Self::Mcd,
            Adaptation::Vada => Self::Vada,
            Adaptation::Cogan => Self::Cogan,
        }
    }
}

/// How many images of each domain.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Size {
    /// 2000 images of each domain, of USPS 1800
    Small,
    /// All training images
    Full,
}

/// By what the checkpoint is chosen.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum By {
    /// Information that the predictions carry
    Information,
    /// Entropy of the predictions
    Entropy,
    /// Soft neighbourhood density
    Density,
    /// Accuracy on the source
    Source,
}

impl From<By> for Validator {
    fn from(by: By) -> Self {
        match by {
            By::Information => Self::Information,
            By::Entropy => Self::Entropy,
            By::Density => Self::Density,
            By::Source => Self::Source,
        }
    }
}
