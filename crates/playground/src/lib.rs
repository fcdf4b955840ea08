#![doc = include_str!("../README.md")]

mod encoding;
#[cfg(target_arch = "wasm32")]
mod exports;
mod generator;
#[cfg(not(target_arch = "wasm32"))]
mod page;

pub use encoding::EncodingError;
pub use generator::{Generator, PlaygroundError, noise};
#[cfg(not(target_arch = "wasm32"))]
pub use page::{MODULE, Model, Page, sources_hash};
