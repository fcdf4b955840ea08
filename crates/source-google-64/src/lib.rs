#![doc = include_str!("../README.md")]

/// Training images, license, training time and command, and measures, as Markdown.
pub const ABOUT: &str = include_str!("../README.md");
/// The settings of the run, as TOML.
pub const SETTINGS: &str = include_str!("../run.toml");
/// The weights of the averaged generator, in the format safetensors.
pub const GENERATOR: &[u8] = include_bytes!("../generator.safetensors");
/// The weights of the discriminator, in the format safetensors.
pub const DISCRIMINATOR: &[u8] = include_bytes!("../discriminator.safetensors");
