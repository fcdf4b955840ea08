//! Trains generative adversarial networks on CPUs and transfers them to new domains.
//!
//! This crate re-exports all crates of the project.
//!
//! ```
//! use engraft::data::{DatasetName, LoadOptions, Split, load};
//! use engraft::metrics::{FeatureExtractor, FeatureNetwork};
//! use engraft::tensor::Tensor;
//!
//! let digits = load(DatasetName::DrawnDigits, Split::Test, &LoadOptions::new().drawn_count(20))?;
//! let all: Vec<usize> = (0..digits.len()).collect();
//! let images = Tensor::from_vec([20, 28, 28, 1], digits.batch_f32(&all));
//! let found = FeatureNetwork::mnist().read(&images)?;
//! assert_eq!(found.classes.map(|classes| classes.len()), Some(20));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crates stand alone as well: `engraft-tensor`, `engraft-layers`, `engraft-data`, `engraft-metrics`, `engraft-gan`,
//! `engraft-transfer`, `engraft-export`.

pub use engraft_base as base;
pub use engraft_data as data;
pub use engraft_export as export;
pub use engraft_gan as gan;
/// The crates whose types stand in public signatures: random numbers, and the tables of `run.toml`.
pub use engraft_gan::{rand, rand_pcg, toml};
pub use engraft_layers as layers;
pub use engraft_metrics as metrics;
pub use engraft_tensor as tensor;
pub use engraft_transfer as transfer;

#[cfg(feature = "cli")]
pub mod cli;

/// The examples of the project's README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of this page of the guide, compiled, and run where they are short.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/train.md")]
struct GuideTrain;

/// The examples of this page of the guide, compiled, and run where they are short.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/transfer.md")]
struct GuideTransfer;

/// The examples of this page of the guide, compiled, and run where they are short.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/evaluate.md")]
struct GuideEvaluate;

/// The examples of this page of the guide, compiled, and run where they are short.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/export.md")]
struct GuideExport;

/// The examples of this page of the guide, compiled, and run where they are short.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/own-networks.md")]
struct GuideOwnNetworks;
