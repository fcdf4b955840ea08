#![doc = include_str!("../README.md")]

mod builder;
mod description;
mod error;
mod graph;
pub mod hub;
mod import;
mod lower;
mod networks;
pub mod onnx;
mod operator;
mod torch;
mod trace;

pub use description::{Description, Part, RunFacts};
pub use error::ExportError;
pub use graph::{Constant, Dim, Graph, Input, Node, Operand};
pub use import::pytorch_dcgan;
pub use networks::{
    FEATURES, IMAGES, LABELS, LATENT, LOGITS, classifier_graph, discriminator_graph, features_graph,
    generator_graph,
};
pub use operator::{Operator, Window};
pub use torch::{TorchNetwork, torch_network};
pub use trace::{InputKind, InputSpec, trace};
