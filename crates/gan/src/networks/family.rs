//! Network families and the specification that they build from.

use engraft_layers::{Init, Sequential};
use serde::{Deserialize, Serialize};

/// Maximum number of image channels: gray or RGB, each with an optional alpha channel.
pub(super) const MAX_CHANNELS: usize = 4;
/// Maximum width and latent length.
const MAX_SIZE: usize = 1 << 13;
/// Maximum square of a width, and maximum sum of the products of neighboring widths: kernels of 5x5 have at most 400 MiB then. A
/// few bytes of a damaged or hostile `run.toml` must not ask for more.
const MAX_PRODUCTS: usize = 1 << 22;
/// Maximum number of widths.
const MAX_WIDTHS: usize = 16;

/// Specification of a generator and a discriminator: image shape, classes and size.
///
/// ```
/// use engraft_gan::networks::NetworkSpec;
/// let spec = NetworkSpec::new([32, 32, 3]).classes(10).latent_dim(64);
/// assert_eq!((spec.image, spec.classes, spec.packing), ([32, 32, 3], 10, 1));
/// assert_eq!((spec.latent_dim, spec.widths), (Some(64), vec![]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkSpec {
    /// Height, width and channels of an image.
    pub image: [usize; 3],
    /// Number of classes that both networks are conditioned on; 0 for unconditional networks.
    pub classes: usize,
    /// Number of images that the discriminator evaluates together; see [`pack`](crate::pack).
    pub packing: usize,
    /// Length of the latent vector; `None` for the family's default.
    pub latent_dim: Option<usize>,
    /// Widths of the layers, in the family's order; empty for its defaults.
    pub widths: Vec<usize>,
    /// Number of convolutions at each size, for families with this setting; `None` for the family's default.
    pub convolutions: Option<usize>,
    /// Normalization in the generator, for families with this setting; `None` for the family's default.
    pub norm: Option<GeneratorNorm>,
    /// Whether the discriminator computes one logit per patch of an image, for families with this setting.
    pub patch_logits: bool,
    /// Whether the discriminator has a [`ReconstructionHead`](super::ReconstructionHead), for families that can have one. It is a layer
    /// with the name `reconstruction`.
    pub reconstruction: bool,
}

/// Normalization after the convolutions of a generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorNorm {
    /// [Batch norm](engraft_layers::BatchNorm).
    #[default]
    Batch,
    /// [Pixel norm](engraft_layers::PixelNorm): images of a batch do not depend on each other.
    Pixel,
}

impl NetworkSpec {
    /// A specification for images `[height, width, channels]`: unconditional, without packing, in the family's
    /// default size.
    pub fn new(image: [usize; 3]) -> Self {
        Self {
            image,
            classes: 0,
            packing: 1,
            latent_dim: None,
            widths: Vec::new(),
            convolutions: None,
            norm: None,
            patch_logits: false,
            reconstruction: false,
        }
    }

    /// Sets the number of classes.
    #[must_use]
    pub fn classes(self, classes: usize) -> Self {
        Self { classes, ..self }
    }

    /// Sets the number of images that the discriminator evaluates together.
    #[must_use]
    pub fn packing(self, packing: usize) -> Self {
        Self { packing, ..self }
    }

    /// Sets the length of the latent vector.
    #[must_use]
    pub fn latent_dim(self, length: usize) -> Self {
        Self {
            latent_dim: Some(length),
            ..self
        }
    }

    /// Sets the widths.
    #[must_use]
    pub fn widths(self, widths: impl Into<Vec<usize>>) -> Self {
        Self {
            widths: widths.into(),
            ..self
        }
    }

    /// Shape of the discriminator's input, `[height, width, channels · packing]`.
    pub fn packed_shape(&self) -> [usize; 3] {
        let [height, width, channels] = self.image;
        [height, width, channels * self.packing]
    }

    #[doc(hidden)] // earlier name of `packed_shape`
    pub fn stack(&self) -> [usize; 3] {
        self.packed_shape()
    }

    /// The widths, or the family's defaults.
    pub(super) fn widths_or<const N: usize>(&self, own: [usize; N]) -> [usize; N] {
        self.widths.as_slice().try_into().unwrap_or(own)
    }

    /// Checks the number of channels.
    pub(super) fn check_channels(&self) -> Result<(), String> {
        let [.., channels] = self.image;
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(format!(
                "it supports images with 1 to {MAX_CHANNELS} channels, got {channels}"
            ));
        }
        Ok(())
    }

    /// Checks the number of channels, that there are `widths` widths or none, and that no setting of a
    /// variable-depth family is set.
    pub(super) fn check_channels_and_widths(&self, widths: usize) -> Result<(), String> {
        self.check_channels()?;
        if !(self.widths.is_empty() || self.widths.len() == widths) {
            return Err(format!(
                "network.widths must be {widths} numbers or none, got {:?}",
                self.widths
            ));
        }
        if let Some(convolutions) = self.convolutions {
            return Err(format!(
                "its number of convolutions at each size is fixed, so network.convolutions must not be set, got {convolutions}"
            ));
        }
        if self.norm.is_some() || self.patch_logits {
            return Err("it has neither network.norm nor network.patch_logits; light has them".into());
        }
        if self.reconstruction {
            return Err("its discriminator cannot reconstruct images; that of light can".into());
        }
        Ok(())
    }

    /// Settings that exceed the limits of every family.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let widths = &self.widths;
        if widths.len() > MAX_WIDTHS || widths.iter().any(|width| !(1..=MAX_SIZE).contains(width)) {
            problems.push(format!(
                "network.widths must be up to {MAX_WIDTHS} numbers from 1 to {MAX_SIZE}, got {widths:?}"
            ));
        }
        if let Some(latent) = self.latent_dim
            && !(1..=MAX_SIZE).contains(&latent)
        {
            problems.push(format!(
                "network.latent must be from 1 to {MAX_SIZE}, got {latent}"
            ));
        }
        let sizes: Vec<usize> = self.latent_dim.iter().chain(widths).copied().collect();
        let neighbors = sizes.windows(2).map(|pair| pair[0].saturating_mul(pair[1]));
        let largest = widths.iter().map(|&width| width.saturating_mul(width)).max();
        let products = neighbors
            .fold(0_usize, usize::saturating_add)
            .max(largest.unwrap_or(0));
        if problems.is_empty() && products > MAX_PRODUCTS {
            problems.push(format!(
                "network.widths and network.latent: the products of neighbors may add up to {MAX_PRODUCTS}, and a width may be \
                 up to {}, got {sizes:?}; such networks need gigabytes",
                MAX_PRODUCTS.isqrt()
            ));
        }
        problems
    }
}

/// Builds generators and discriminators of one architecture for any specification that it supports.
///
/// [Register](super::register) a family to use its name in `run.toml`, on the command line and in saved runs.
///
/// The same specification and the same `init` must always give the same networks with the same parameter names,
/// because checkpoints are loaded into them.
///
/// ```
/// use engraft_gan::networks::{self, LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
/// use engraft_layers::{Dense, Flatten, Init, Reshape, Sequential, Tanh};
///
/// /// One dense layer in each network.
/// struct Linear;
///
/// impl NetworkFamily for Linear {
///     fn name(&self) -> &str {
///         "linear"
///     }
///     fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
///         let unconditional = spec.classes == 0;
///         unconditional.then_some(()).ok_or_else(|| "it has no class-conditional networks".into())
///     }
///     fn latent_dim(&self, spec: &NetworkSpec) -> usize {
///         spec.latent_dim.unwrap_or(8)
///     }
///     fn generator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
///         Sequential::new()
///             .add("to_image", Dense::new(self.latent_dim(spec), spec.image.iter().product(), init))
///             .add("grid", Reshape::new(spec.image))
///             .add("tanh", Tanh)
///     }
///     fn discriminator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
///         Sequential::new()
///             .add("flat", Flatten)
///             .add("head", Dense::new(spec.packed_shape().iter().product(), 1, init))
///     }
///     fn roles(&self, _: &NetworkSpec) -> LayerRoles {
///         LayerRoles {
///             generator: NetworkRoles { head: "to_image".into(), ..Default::default() },
///             discriminator: NetworkRoles { head: "head".into(), ..Default::default() },
///         }
///     }
/// }
///
/// networks::register(Linear);
/// assert!(networks::names().contains(&"linear".to_string()));
/// ```
pub trait NetworkFamily: Send + Sync {
    /// The name, of letters, digits and dashes.
    fn name(&self) -> &str;

    /// Checks that the family supports a specification.
    ///
    /// # Errors
    /// The reason, as a clause about the family: `it supports images with 1 to 4 channels, got 5`.
    fn check(&self, spec: &NetworkSpec) -> Result<(), String>;

    /// Length of the latent vector, usually `spec.latent_dim` or a default.
    fn latent_dim(&self, spec: &NetworkSpec) -> usize;

    /// Builds the generator: latent vectors `[n, latent_dim]` to images `[n, h, w, c]` with values in about `[-1,
    /// 1]`. With classes, its condition is one label for each image.
    ///
    /// # Panics
    /// May panic for a specification that [`NetworkFamily::check`] refuses, as may the other methods.
    fn generator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential;

    /// Builds the discriminator: [packed images](NetworkSpec::packed_shape) `[n / packing, h, w, c · packing]` to
    /// logits `[n / packing, k]`, usually with `k = 1`. With classes, its condition is one label for each image.
    fn discriminator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential;

    /// Names of the layers by role, for freezing and other methods of transfer learning.
    fn roles(&self, spec: &NetworkSpec) -> LayerRoles;
}

/// Names of layers by role, in both networks. Freezing, distillation, adapters and patch heads use them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerRoles {
    /// Roles in the generator.
    pub generator: NetworkRoles,
    /// Roles in the discriminator.
    pub discriminator: NetworkRoles,
}

/// Dotted names of a network's layers by role. Roles that the network does not have are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkRoles {
    /// The class embedding.
    pub embedding: Option<String>,
    /// The first layer with parameters, if it is not a block.
    pub stem: Option<String>,
    /// The layers with parameters between the first and the last, in order.
    pub blocks: Vec<String>,
    /// The last layer with parameters; its output is the image in a generator, the logits in a discriminator.
    pub head: String,
    /// The normalization layers.
    pub norms: Vec<String>,
    /// The discriminator layer whose output is the input of the head.
    pub features: Option<String>,
    /// The discriminator layer whose output is the map `[n, h, w, c]` that is flattened into these features, if
    /// there is one.
    pub feature_map: Option<String>,
}

impl NetworkRoles {
    /// The layers with parameters in forward order, without the embedding.
    pub fn learned(&self) -> Vec<&str> {
        let stem = self.stem.iter().chain(&self.blocks);
        stem.chain([&self.head]).map(String::as_str).collect()
    }

    /// The roles with a prefix before every name.
    pub(super) fn under(self, prefix: &str) -> Self {
        let one = |name: String| format!("{prefix}.{name}");
        let all = |names: Vec<String>| names.into_iter().map(one).collect();
        Self {
            embedding: self.embedding.map(one),
            stem: self.stem.map(one),
            blocks: all(self.blocks),
            head: one(self.head),
            norms: all(self.norms),
            features: self.features.map(one),
            feature_map: self.feature_map.map(one),
        }
    }
}
