//! Classifiers from few labels and many images without: feature matching in the form of Improved GAN, and generated images as
//! training data.
//!
//! ```
//! use engraft_data::{Split, drawn_digits};
//! use engraft_transfer::semi_supervised::{Examples, SemiSupervised, SemiSupervisedConfig, choose_labels};
//!
//! let train = drawn_digits(Split::Train, 200, 1);
//! let chosen = choose_labels(train.labels(), 20, 1)?;
//! let mut settings = SemiSupervisedConfig::new(2, 1);
//! (settings.batch, settings.hidden) = (20, vec![16]);
//! let examples = Examples { labelled: vec![(&train, chosen)], unlabelled: Some(&train) };
//! let mut task = SemiSupervised::new(examples, settings)?;
//! task.train(&mut |_, step, losses| println!("step {step}: {losses:?}"))?;
//! let test = drawn_digits(Split::Test, 50, 1);
//! println!("{} of {} are wrong", task.wrong(&test), test.len());
//! # Ok::<(), engraft_transfer::TransferError>(())
//! ```

mod extra_losses;
mod generated;
mod labels;
mod loss;
mod networks;
#[cfg(test)]
mod tests;
mod trainer;

pub use extra_losses::{ExtraLoss, ExtraLosses};
pub use generated::pseudo_labeled;
pub use labels::choose_labels;
pub use loss::{conditional_entropy, feature_matching, labeled_loss, log_sum_exp, pull_away, unlabeled_loss};
pub use networks::{Classifier, HIDDEN, LATENT, generator};
pub use trainer::{Examples, Losses, SemiSupervised, SemiSupervisedConfig};
