//! What a pair of networks is built from, and what builds it.

use engraft_layers::{Init, Sequential};

/// Most channels of an image: grey or colour, either with an alpha channel.
pub(super) const MAX_CHANNELS: usize = 4;
/// Largest width and longest latent vector that settings may ask for: memory has an end.
const MAX_SIZE: usize = 1 << 13;
/// Most widths.
const MAX_WIDTHS: usize = 16;

/// What a pair of networks is built for, and how large.
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
    /// Classes that both networks are told; 0 for an unconditional pair.
    pub classes: usize,
    /// Images that the discriminator judges together, stacked on their channels; see [`pack`](crate::pack).
    pub packing: usize,
    /// Length of the latent vector; the family's own if not given.
    pub latent_dim: Option<usize>,
    /// Widths of the layers, in the family's order; its own if empty.
    pub widths: Vec<usize>,
    /// Convolutions at each size, for a family that has this setting; its own number if not given.
    pub convolutions: Option<usize>,
}

impl NetworkSpec {
    /// An unconditional pair for images `[height, width, channels]`, one judged at a time, in the family's own size.
    pub fn new(image: [usize; 3]) -> Self {
        Self {
            image,
            classes: 0,
            packing: 1,
            latent_dim: None,
            widths: Vec::new(),
            convolutions: None,
        }
    }

    /// Sets the number of classes.
    #[must_use]
    pub fn classes(self, classes: usize) -> Self {
        Self { classes, ..self }
    }

    /// Sets how many images the discriminator judges together.
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

    /// The widths, or the family's own.
    pub(super) fn widths_or<const N: usize>(&self, own: [usize; N]) -> [usize; N] {
        self.widths.as_slice().try_into().unwrap_or(own)
    }

    /// Checks the number of channels.
    pub(super) fn check_channels(&self) -> Result<(), String> {
        let [.., channels] = self.image;
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(format!(
                "it makes images of 1 to {MAX_CHANNELS} channels, got {channels}"
            ));
        }
        Ok(())
    }

    /// Checks the number of channels, that there are `widths` widths or none, and that nothing is set that a family of fixed
    /// depth does not have.
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
        Ok(())
    }

    /// What asks for more than there can be, whatever the family.
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
        problems
    }
}

/// Builds pairs of networks of one kind for any specification that it takes.
///
/// A family that is [registered](super::register) is known by its name everywhere a network is named: in settings, on the
/// command line, in the record of a run. From the same specification and the same numbers of `init` it must always build
/// the same pair, with the same names: a checkpoint is read into what it builds.
///
/// ```
/// use engraft_gan::networks::{self, LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
/// use engraft_layers::{Dense, Flatten, Init, Reshape, Sequential, Tanh};
///
/// /// One layer on either side.
/// struct Linear;
///
/// impl NetworkFamily for Linear {
///     fn name(&self) -> &str {
///         "linear"
///     }
///     fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
///         let unconditional = spec.classes == 0;
///         unconditional.then_some(()).ok_or_else(|| "it takes no classes".into())
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
    /// The name: letters, digits and dashes.
    fn name(&self) -> &str;

    /// Checks that it can build such a pair.
    ///
    /// # Errors
    /// Why not, as a clause about the family: `it makes images of 1 to 4 channels, got 5`.
    fn check(&self, spec: &NetworkSpec) -> Result<(), String>;

    /// Length of the latent vector of such a pair.
    fn latent_dim(&self, spec: &NetworkSpec) -> usize;

    /// The generator, `[n, latent_dim]` to images `[n, h, w, c]` with values around `[-1, 1]`. With classes it is run
    /// under a condition of as many labels.
    ///
    /// # Panics
    /// May panic for a specification that [`NetworkFamily::check`] refuses; so the other methods.
    fn generator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential;

    /// The discriminator, [packs](NetworkSpec::packed_shape) of images to logits `[n / packing, ..]`. With classes it is run under
    /// a condition of a label for each image.
    fn discriminator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential;

    /// Which layers of such a pair play which part.
    fn roles(&self, spec: &NetworkSpec) -> LayerRoles;
}

/// Which layers of a pair play which part: what freezing, distillation, adapters and other heads go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerRoles {
    /// Those of the generator.
    pub generator: NetworkRoles,
    /// Those of the discriminator.
    pub discriminator: NetworkRoles,
}

/// Dotted names of a network's layers, by the part that they play. What a network does not have is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkRoles {
    /// The vectors of the classes.
    pub embedding: Option<String>,
    /// The first layer with parameters, if it is no block.
    pub stem: Option<String>,
    /// The layers with parameters between the first and the last, in their order.
    pub blocks: Vec<String>,
    /// The last layer with parameters: it makes the image in a generator, the logits in a discriminator.
    pub head: String,
    /// The normalization layers.
    pub norms: Vec<String>,
    /// The layer of a discriminator whose output the head reads.
    pub features: Option<String>,
    /// The layer of a discriminator whose output is the map `[n, h, w, c]` that becomes these features by being flattened,
    /// where that is so.
    pub feature_map: Option<String>,
}

impl NetworkRoles {
    /// The layers with parameters in the order in which an image or a latent vector meets them, without the embedding.
    pub fn learned(&self) -> Vec<&str> {
        let stem = self.stem.iter().chain(&self.blocks);
        stem.chain([&self.head]).map(String::as_str).collect()
    }

    /// The roles in a network whose layers all lie under a prefix.
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
