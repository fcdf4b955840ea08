//! Feature extractors with user-supplied weights: safetensors files with PyTorch's names.

mod inception;
mod layers;
mod mobilenet_v2;
mod weights;

pub use inception::{INCEPTION_WEIGHTS, Inception};
pub use mobilenet_v2::MobileNetV2;
