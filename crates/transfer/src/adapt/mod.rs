//! Unsupervised domain adaptation: a classifier for an unlabeled target domain, trained with a labeled source domain.
//!
//! [`adapt`] trains a classifier with an [`AdaptationMethod`]. A [`Validator`] selects the checkpoint without labels of the
//! target. Labels of the target's test images are only used to report accuracies in [`AdaptationResult`].
//!
//! ```
//! use engraft_data::{Split, drawn_digits};
//! use engraft_transfer::adapt::{AdaptationConfig, AdaptationMethod, Domains, adapt};
//!
//! let (source, source_test) = (drawn_digits(Split::Train, 40, 1), drawn_digits(Split::Test, 20, 1));
//! let (target, target_test) = (source.inverted(), source_test.inverted());
//! let domains = Domains { source: &source, target: &target, source_test: &source_test, target_test: Some(&target_test) };
//! let config = AdaptationConfig { steps: 2, batch: 20, ..AdaptationConfig::new(AdaptationMethod::Dann) };
//! let result = adapt(&domains, &config, &mut |evaluation| println!("step {}", evaluation.step))?;
//! assert!(result.accuracy().is_some_and(|accuracy| (0.0..=1.0).contains(&accuracy)));
//! # Ok::<(), engraft_transfer::TransferError>(())
//! ```

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
