//! Loss terms that keep networks close to their source while they train on the target.
//!
//! The best choice depends on the distance of the target. For distant targets none of them is better than plain fine-tuning
//! (Zhao et al., "Few-shot image generation via adaptation-aware kernel modulation", 2022, section 5).
//!
//! ```
//! use engraft_gan::{Gan, dcgan};
//! use engraft_layers::Init;
//! use engraft_transfer::regularizers::L2Sp;
//!
//! let init = &mut Init::glorot(1);
//! let generator = dcgan::generator(init);
//! let regularizer = L2Sp::new(&generator, 0.1);
//! let gan = Gan::<f32>::new(generator, dcgan::discriminator(init), dcgan::LATENT).term(regularizer);
//! # let _ = gan;
//! ```

mod cdc;
mod dcl;
mod distillation;
mod ewc;
mod l2_sp;

pub use cdc::CrossDomainCorrespondence;
pub use dcl::DualContrastive;
pub use distillation::FeatureDistillation;
#[cfg(test)]
pub(crate) use ewc::COMPUTED;
pub use ewc::{ElasticWeightConsolidation, ImportanceSamples};
pub use l2_sp::L2Sp;

// Names from an earlier version, until the first release.
#[doc(hidden)]
pub use cdc::CrossDomainCorrespondence as CrossDomain;
#[doc(hidden)]
pub use ewc::ElasticWeightConsolidation as ElasticWeights;
