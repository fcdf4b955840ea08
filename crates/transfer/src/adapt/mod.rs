//! Unsupervised domain adaptation: a classifier for a target domain whose images have no labels, learned from a source
//! domain whose images have.
//!
//! [`adapt`] trains one by a [`AdaptationMethod`] and chooses among the checkpoints it saw on the way by a [`Validator`], which
//! looks at no label of the target. Labels of the target's test images, where there are any, are used for the numbers in
//! [`Adapted`] alone.

mod cogan_networks;
mod domain_check;
mod domain_classifier;
mod learner;
mod losses;
mod method;
mod protocol;
mod training;
mod validators;

pub use domain_check::{PixelStats, PixelStatsGap, Severity};
pub use domain_classifier::DomainClassifier;
pub use losses::{
    Perturbation, certainty_weights, conditional_entropy, coupled_losses, discrepancy, divergence,
    domain_loss, multilinear_map, pair_distance, randomized_multilinear_map, virtual_adversarial,
};
pub use method::AdaptationMethod;
pub use protocol::AdaptationProtocol;
pub use training::{AdaptConfig, Adapted, Domains, Measured, adapt};
pub use validators::{Validator, Validators, neighborhood_density};
