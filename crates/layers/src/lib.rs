#![doc = include_str!("../README.md")]

mod batched;
mod condition;
mod error;
mod forward_through;
mod freeze;
mod init;
mod layer;
mod loss;
mod mode;
mod module;
mod naming;
mod optim;
mod param_filter;
mod parameter;
mod reparametrize;
mod state;
mod summary;
mod taps;
mod torch;
mod visit;

pub use batched::forward_batched;
pub use condition::Condition;
pub use error::LayersError;
pub use forward_through::{Outputs, first_part_not_finite, forward_through, stored_values};
pub use freeze::{Selection, check_names, freeze, train_only, unfreeze};
pub use init::Init;
pub use layer::{
    Adapter, AvgPool2x, BatchNorm, ConditionalBatchNorm, Conv2d, ConvTranspose2d, Convolution, Dense, Direct,
    Dropout, Embedding, Flatten, GaussianNoise, Gelu, GroupNorm, KernelMap, LayerNorm, LeakyReLU, MaxPool2x,
    MinibatchStd, PatchHead, PixelNorm, ReLU, Reshape, Residual, ScaleShift, SelfAttention, Sequential, SiLU,
    Sigmoid, SkipExcitation, Softplus, Tanh, Transposed, Upsample2x, UpsampleConv2d, WeightNormDense,
    one_hot,
};
pub use loss::{Reduction, bce, bce_with_logits, mse, softmax_cross_entropy};
pub use mode::Mode;
pub use module::{Fusion, Module};
pub use naming::named;
pub use optim::{
    Adam, AdamRule, Optimizer, OptimizerCounters, OptimizerState, RMSProp, RMSPropRule, Rates, RuleOptimizer,
    Schedule, Sgd, SgdRule, UpdateRule, clip_norm, clip_value,
};
pub use param_filter::ParamFilter;
#[doc(hidden)] // the name of earlier versions
pub use param_filter::ParamFilter as Names;
pub use parameter::{Buffer, Parameter, RngState, Slot, SlotMut};
pub use reparametrize::{adapt, merge_adapters, spectral_normalize};
pub use state::{Applied, MAX_FILE_BYTES, StateDict, rng_states, set_rng_states};
pub use summary::{Summary, SummaryRow, summary, summary_with};
pub use taps::Taps;
pub use torch::TorchLayout;
pub use visit::{Gradients, gradients, parameter_count, parameters, visit, visit_mut};
/// Crates whose types appear in the public signatures of this crate.
pub use {engraft_tensor::rand, rand_pcg};
