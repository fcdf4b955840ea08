//! Unsupervised domain adaptation: a classifier for a target domain whose images have no labels, learned from a source
//! domain whose images have.
//!
//! [`adapt`] trains one by a [`AdaptationMethod`] and chooses among the checkpoints it saw on the way by a [`Validator`], which
//! looks at no label of the target. Labels of the target's test images, where there are any, are used for the numbers in
//! [`AdaptationResult`] alone.

mod algorithms;
mod cogan_networks;
mod domain_check;
mod domain_classifier;
mod losses;
mod method;
mod protocol;
mod training;
mod validators;

pub use domain_check::{PixelStats, PixelStatsGap, Severity};
pub use domain_classifier::DomainClassifier;
pub use losses::{
    Perturbation, certainty_weights, conditional_entropy, coupled_losses, discrepancy, domain_loss,
    kl_divergence, multilinear_map, pair_distance, randomized_multilinear_map, virtual_adversarial,
};
pub use method::AdaptationMethod;
pub use protocol::AdaptationProtocol;
pub use training::{AdaptationConfig, AdaptationEvaluation, AdaptationResult, Domains, adapt};
pub use validators::{Validator, ValidatorScores, neighborhood_density};

// Names from an earlier version, until the first release.
#[doc(hidden)]
pub use domain_check::{PixelStats as Look, PixelStatsGap as DomainGap};
#[doc(hidden)]
pub use domain_classifier::DomainClassifier as Model;
#[doc(hidden)]
pub use losses::kl_divergence as divergence;
#[doc(hidden)]
pub use method::AdaptationMethod as Method;
#[doc(hidden)]
pub use protocol::AdaptationProtocol as Protocol;
#[doc(hidden)]
pub use training::{
    AdaptationConfig as AdaptConfig, AdaptationEvaluation as Measured, AdaptationResult as Adapted,
};
#[doc(hidden)]
pub use validators::{ValidatorScores as Validators, neighborhood_density as neighbourhood_density};
