//! Terms that keep networks close to their source while they learn the target.
//!
//! Which of them helps depends on how far the target is: for far ones none is better than plain fine-tuning (Zhao et
//! al., "Few-shot image generation via adaptation-aware kernel modulation", 2022, section 5).

mod cdc;
mod distillation;
mod ewc;
mod l2_sp;

pub use cdc::CrossDomainCorrespondence;
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
