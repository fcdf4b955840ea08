#![doc = include_str!("../README.md")]

mod builder;
mod error;
mod graph;
mod lower;
mod networks;
pub mod onnx;
mod torch;
mod trace;

pub use error::ExportError;
pub use graph::{Constant, Dim, Graph, Input, Node, Operand, Operator};
pub use networks::{IMAGES, LABELS, LATENT, LOGITS, discriminator_graph, generator_graph};
pub use torch::{TorchNetwork, torch_network};
pub use trace::{InputKind, InputSpec, trace};
