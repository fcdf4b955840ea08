//! Semi-supervised classification with few labels: feature matching as in Improved GAN, and generated images as training data.
//!
//! ```
//! use engraft_data::{Split, drawn_digits};
//! use engraft_transfer::semi_supervised::{Examples, SemiSupervised, SemiSupervisedConfig, select_labeled};
//!
//! let train = drawn_digits(Split::Train, 200, 1);
//! let indices = select_labeled(train.labels(), 20, 1)?;
//! let mut settings = SemiSupervisedConfig::new(2, 1);
//! (settings.batch, settings.hidden) = (20, vec![16]);
//! let examples = Examples { labeled: vec![(&train, indices)], unlabeled: Some(&train) };
//! let mut task = SemiSupervised::new(examples, settings)?;
//! task.train(&mut |_, step, losses| println!("step {step}: {losses:?}"))?;
//! let test = drawn_digits(Split::Test, 50, 1);
//! println!("{} errors in {} images", task.error_count(&test), test.len());
//! # Ok::<(), engraft_transfer::TransferError>(())
//! ```

mod config;
mod consensus;
mod extra_losses;
mod generated;
mod labels;
mod loss;
mod networks;
mod selection;
mod shift;
mod state;
#[cfg(test)]
mod tests;
mod trainer;

pub use config::{Examples, SemiSupervisedConfig};
pub use consensus::{consensus, misclassified};
pub use extra_losses::{ExtraLoss, ExtraLosses};
pub use generated::pseudo_labeled;
pub use loss::{conditional_entropy, feature_matching, labeled_loss, log_sum_exp, pull_away, unlabeled_loss};
pub use networks::{HIDDEN, LATENT, SemiSupervisedClassifier, generator};
pub use selection::{COMPONENTS, MOST_REPRESENTATIVE, select_labeled, select_representative};
pub use trainer::{SemiSupervised, StepLosses};

// Names from an earlier version, until the first release.
#[doc(hidden)]
pub use config::SemiSupervisedConfig as Settings;
#[doc(hidden)]
pub use extra_losses::{ExtraLoss as Term, ExtraLosses as Terms};
#[doc(hidden)]
pub use generated::pseudo_labeled as pseudo_labelled;
#[doc(hidden)]
pub use loss::{labeled_loss as labelled_loss, unlabeled_loss as unlabelled_loss};
#[doc(hidden)]
pub use networks::SemiSupervisedClassifier as Classifier;
#[doc(hidden)]
pub use selection::select_labeled as choose_labels;
#[doc(hidden)]
pub use trainer::StepLosses as Losses;
