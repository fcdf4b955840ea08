//! The setting `network` of a run: the family of networks and its sizes.

use super::TrainConfig;
use super::short_form::ShortForm;
use crate::networks::{self, GeneratorNorm, NetworkSpec};
use serde::de::Error;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Generator and discriminator: the name of a [family](crate::networks::NetworkFamily), and optional sizes.
///
/// In a `run.toml` a name is enough if nothing else is set:
///
/// ```toml
/// network = "residual"
/// ```
///
/// ```toml
/// [network]
/// kind = "residual"
/// widths = [128, 64, 32]
/// latent = 64
/// ```
///
/// ```
/// use engraft_gan::NetworkConfig;
/// let network = NetworkConfig { latent: Some(64), ..NetworkConfig::from("residual") };
/// assert_eq!(network.to_string(), "residual");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Name of the family.
    pub kind: String,
    /// Widths of the layers, in the order of the family; the family's defaults if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub widths: Vec<usize>,
    /// Length of the latent vector; the family's default if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latent: Option<usize>,
    /// Convolutions at each size, for a family that has this setting (`light`: 1 or 2); its own number if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub convolutions: Option<usize>,
    /// Normalization in the generator, for a family that has this setting (`light`: `batch` or `pixel`); the family's own if not
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<GeneratorNorm>,
    /// Whether the discriminator computes one logit per patch of an image instead of one per image, for a family that has this
    /// setting (`light`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub patch_logits: bool,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self::from("dcgan")
    }
}

impl From<&str> for NetworkConfig {
    /// The networks of this name with default sizes.
    fn from(kind: &str) -> Self {
        Self {
            kind: kind.into(),
            widths: Vec::new(),
            latent: None,
            convolutions: None,
            norm: None,
            patch_logits: false,
        }
    }
}

impl fmt::Display for NetworkConfig {
    /// The name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)
    }
}

impl NetworkConfig {
    /// Whether it is the default, which `run.toml` leaves out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A problem if the networks support the images, but not a reconstruction head.
pub(super) fn reconstruction_problem(config: &TrainConfig) -> Option<String> {
    let weight = config.objective.reconstruction;
    let family = networks::find(&config.network.kind).ok()?;
    let with = config.network_spec();
    let without = NetworkSpec {
        reconstruction: false,
        ..with.clone()
    };
    let reason = family.check(&with).err()?;
    let is_reason = weight > 0.0 && family.check(&without).is_ok();
    is_reason.then(|| {
        format!(
            "objective.reconstruction is {weight}, but network is {}: {reason}",
            config.network
        )
    })
}

impl ShortForm for NetworkConfig {
    const EXPECTED: &str = "the name of a network, or a table [network]";

    fn from_name<E: Error>(name: &str) -> Result<Self, E> {
        Ok(name.into())
    }

    fn short(&self) -> Option<impl Serialize> {
        (*self == self.kind.as_str().into()).then_some(&self.kind)
    }
}
