#![doc = include_str!("../README.md")]

mod error;
mod init;
mod layer;
mod loss;
mod module;
mod names;
mod optim;
mod parameter;
mod state;
mod summary;
mod torch;

pub use error::LayersError;
pub use init::Init;
pub use layer::{
    Adapter, AvgPool2x, BatchNorm, Conv2d, ConvTranspose2d, Dense, Dropout, Embedding, Flatten, GainBias,
    GaussianNoise, LeakyReLU, MaxPool2x, ReLU, Reshape, Residual, Sequential, Sigmoid, Softplus, Tanh,
    Upsample2x, WeightNormDense, one_hot,
};
pub use loss::{Reduction, bce, bce_with_logits, mse, softmax_cross_entropy};
pub use module::{Gradients, Mode, Module, Path, Slot, SlotMut, gradients, parameter_count, parameters};
pub use names::Names;
pub use optim::{Adam, Optimizer, OptimizerCounters, OptimizerState, RMSProp, Schedule, Sgd};
pub use parameter::{Buffer, Generator, Parameter};
pub use state::{Applied, MAX_FILE_BYTES, StateDict, generators, set_generators};
pub use summary::{Summary, SummaryRow, summary};
pub use torch::TorchLayout;
