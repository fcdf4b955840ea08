//! Unsupervised domain adaptation: a classifier for a target domain whose images have no labels, learned from a source
//! domain whose images have.
//!
//! [`adapt`] trains one by a [`Method`] and chooses among the checkpoints it saw on the way by a [`Validator`], which
//! looks at no label of the target. Labels of the target's test images, where there are any, are used for the numbers in
//! [`Adapted`] alone.

mod coupled;
mod guard;
mod learner;
mod losses;
mod method;
mod model;
mod protocol;
mod run;
mod validators;

pub use guard::{DomainGap, Look, Severity};
pub use losses::{
    Perturbation, certainty_weights, conditional_entropy, coupled_losses, discrepancy, divergence,
    domain_loss, multilinear_map, pair_distance, randomized_multilinear_map, virtual_adversarial,
};
pub use method::Method;
pub use model::Model;
pub use protocol::Protocol;
pub use run::{AdaptConfig, Adapted, Domains, Measured, adapt};
pub use validators::{Validator, Validators, neighbourhood_density};
