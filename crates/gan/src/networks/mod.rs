//! Pairs of networks, by name: built for the size and the channels that the images have.

mod conditional;
pub mod dcgan;
mod mlp;
mod residual;

pub use conditional::{ConditionalGenerator, ProjectionDiscriminator};

use crate::error::GanError;
use engraft_layers::{Dense, Embedding, Init, Sequential};
use engraft_tensor::{Real, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most numbers in an image of the fully connected pair, whose weights grow with them.
const MOST_NUMBERS: usize = 1 << 14;
/// Most channels of an image: grey or colour, either with an alpha channel.
const MOST_CHANNELS: usize = 4;
/// Length of the vector of a class beside the latent vector.
const CLASS_SIZE: usize = 50;

/// A generator, a discriminator, and the length of the latent vectors that the generator reads.
pub struct Networks {
    /// Maps latent vectors to images.
    pub generator: Sequential,
    /// Maps images to logits.
    pub discriminator: Sequential,
    /// Length of a latent vector.
    pub latent_dim: usize,
}

/// A generator and a discriminator that belong together.
///
/// Both are built for images `[h, w, c]` with values in `[-1, 1]`, and draw their weights from an [`Init`], in
/// order; the spreads in [`Network::Residual`] are for [`Init::glorot`]. The generator maps `[n, latent]` to
/// `[n, h, w, c]`, the discriminator `[n, h, w, c]` to logits `[n, 1]`.
///
/// Multiply-adds on one image of 28x28x1, in millions, where a simultaneous training step takes three times the
/// generator's and seven times the discriminator's (each gradient costs as much as the pass forward, and the
/// discriminator runs on two batches; kernels of 5x5 are computed with a smaller share of their multiplications than
/// those of 3x3, so that in time the residual pair is further from the reference than the table says):
///
/// | network | generator | discriminator | training step | parameters |
/// |---|---|---|---|---|
/// | `dcgan` | 51.7 | 10.4 | 228 | 2.31 M + 0.21 M |
/// | `residual` | 25.5 | 25.1 | 252 | 0.70 M + 0.23 M |
/// | `mlp` | 0.7 | 0.5 | 6 | 0.69 M + 0.52 M |
///
/// ```
/// use engraft_gan::Network;
/// use engraft_layers::{Init, Mode, Module};
/// use engraft_tensor::Tensor;
///
/// let (network, image) = (Network::Dcgan, [32, 32, 3]);
/// let g = network.generator::<f32>(image, &mut Init::glorot(1))?;
/// let d = network.discriminator::<f32>(image, &mut Init::glorot(2))?;
/// let drawn = g.forward(&Tensor::zeros([2, network.latent()]), Mode::Eval);
/// assert_eq!(drawn.shape(), [2, 32, 32, 3]);
/// assert_eq!(d.forward(&drawn, Mode::Eval).shape(), [2, 1]);
///
/// let error = network.generator::<f32>([16, 16, 1], &mut Init::glorot(1)).err().unwrap();
/// assert!(error.to_string().contains("16x16x1"));
/// # Ok::<(), engraft_gan::GanError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Network {
    /// The [reference pair](dcgan) for 28x28x1, and the same with other channels and for 32x32.
    #[default]
    Dcgan,
    /// Residual blocks without normalisation, for objectives with a gradient penalty (Huang et al., 2024).
    Residual,
    /// Fully connected layers, for images of any size; cheap.
    Mlp,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dcgan => "dcgan",
            Self::Residual => "residual",
            Self::Mlp => "mlp",
        })
    }
}

impl Network {
    /// Every network.
    pub const ALL: [Self; 3] = [Self::Dcgan, Self::Residual, Self::Mlp];

    /// Length of the latent vector.
    pub fn latent(self) -> usize {
        match self {
            Self::Dcgan => dcgan::LATENT,
            Self::Residual => residual::LATENT,
            Self::Mlp => mlp::LATENT,
        }
    }

    /// Whether a run trains it without being told so.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The images that it can make, in words.
    pub fn sizes(self) -> &'static str {
        match self {
            Self::Dcgan | Self::Residual => "28x28 or 32x32 pixels with 1 to 4 channels",
            Self::Mlp => "any size up to 16384 numbers with 1 to 4 channels",
        }
    }

    /// Checks that it can make images of this size; `data` names them in the message.
    pub(crate) fn check(self, data: &str, image: [usize; 3]) -> Result<(), GanError> {
        let [height, width, channels] = image;
        let fits = match self {
            Self::Dcgan | Self::Residual => matches!([height, width], [28, 28] | [32, 32]),
            Self::Mlp => {
                let numbers = height.checked_mul(width).and_then(|p| p.checked_mul(channels));
                numbers.is_some_and(|numbers| (1..=MOST_NUMBERS).contains(&numbers))
            }
        };
        if fits && (1..=MOST_CHANNELS).contains(&channels) {
            return Ok(());
        }
        let others = Self::ALL.into_iter().filter(|other| *other != self);
        let others: Vec<String> = others.map(|n| format!("{n} makes {}", n.sizes())).collect();
        Err(GanError::ImageSize {
            data: data.into(),
            network: self.to_string(),
            makes: self.sizes().into(),
            others: others.join(", "),
            found: image,
        })
    }

    /// The generator, `[n, latent] -> [n, h, w, c]`.
    ///
    /// # Errors
    /// [`GanError::ImageSize`] if it cannot make images of this size.
    pub fn generator<T: Real>(self, image: [usize; 3], init: &mut Init) -> Result<Sequential<T>, GanError> {
        self.check("given", image)?;
        Ok(self.generator_of(self.latent(), image, init))
    }

    /// The discriminator, `[n, h, w, c] -> [n, 1]`, a logit.
    ///
    /// # Errors
    /// [`GanError::ImageSize`] if it cannot read images of this size.
    pub fn discriminator<T: Real>(
        self,
        image: [usize; 3],
        init: &mut Init,
    ) -> Result<Sequential<T>, GanError> {
        self.packed_discriminator(image, 1, init)
    }

    /// The discriminator of `pack` images `[h, w, c]` at once, which are stacked along the channels:
    /// `[n, h, w, c · pack] -> [n, 1]`. With one image it is [`Network::discriminator`].
    ///
    /// Only the first layer differs, so that it costs next to nothing more.
    ///
    /// *Source*: Lin et al., "PacGAN: the power of two samples in generative adversarial networks", 2018,
    /// section 3.
    ///
    /// # Errors
    /// [`GanError::ImageSize`] if it cannot read images of this size.
    ///
    /// # Panics
    /// If `pack` is 0.
    #[track_caller]
    pub fn packed_discriminator<T: Real>(
        self,
        image: [usize; 3],
        pack: usize,
        init: &mut Init,
    ) -> Result<Sequential<T>, GanError> {
        assert!(pack > 0, "packed_discriminator: it must read at least one image");
        self.check("given", image)?;
        let [height, width, channels] = image;
        let stack = [height, width, channels * pack];
        let features = self.features_of(stack, init);
        Ok(features.add("head", Dense::new(self.feature_count(stack), 1, init)))
    }

    /// The generator of images of a class: its first layer reads the latent vector and, beside it, a learned
    /// vector of the class.
    ///
    /// A step with labels, the same for the real and the generated images:
    ///
    /// ```
    /// use engraft_gan::{Network, Objective};
    /// use engraft_layers::{Adam, Init, Mode, Optimizer, gradients};
    /// use engraft_tensor::Tensor;
    /// # use rand::SeedableRng;
    /// # let rng = &mut rand_pcg::Pcg64::seed_from_u64(1);
    /// # let real = Tensor::uniform([4, 8, 8, 1], -1.0, 1.0, rng);
    ///
    /// let (network, image, labels) = (Network::Mlp, [8, 8, 1], [3, 1, 4, 1]);
    /// let mut g = network.conditional_generator::<f32>(image, 10, &mut Init::glorot(1))?;
    /// let mut d = network.projection_discriminator::<f32>(image, 10, &mut Init::glorot(2))?;
    /// let (mut g_adam, mut d_adam) = (Adam::new(2e-4), Adam::new(2e-4));
    ///
    /// let fake = g.forward_labelled(&Tensor::randn([4, network.latent()], rng), &labels, Mode::Train);
    /// let real_logits = d.forward_labelled(&real, &labels, Mode::Train);
    /// let fake_logits = d.forward_labelled(&fake, &labels, Mode::Train);
    /// let dg = gradients(&Objective::NonSaturating.generator(&fake_logits, None), &g);
    /// let dd = gradients(&Objective::NonSaturating.discriminator(&real_logits, &fake_logits), &d);
    /// g_adam.step(&mut g, &dg);
    /// d_adam.step(&mut d, &dd);
    /// # Ok::<(), engraft_gan::GanError>(())
    /// ```
    ///
    /// # Errors
    /// [`GanError::ImageSize`] if it cannot make images of this size.
    ///
    /// # Panics
    /// If there are no classes.
    #[track_caller]
    pub fn conditional_generator<T: Real>(
        self,
        image: [usize; 3],
        classes: usize,
        init: &mut Init,
    ) -> Result<ConditionalGenerator<T>, GanError> {
        self.check("given", image)?;
        let vectors = Tensor::randn([classes, CLASS_SIZE], &mut init.generator());
        let embedding = Embedding::with_weight(vectors * T::from_f64(self.class_spread()));
        let body = self.generator_of(self.latent() + CLASS_SIZE, image, init);
        Ok(ConditionalGenerator::new(embedding, body, self.latent()))
    }

    /// The discriminator of images with a label: the features of [`Network::discriminator`], its last layer,
    /// and a projection on a learned vector of the class.
    ///
    /// # Errors
    /// [`GanError::ImageSize`] if it cannot read images of this size.
    ///
    /// # Panics
    /// If there are no classes.
    #[track_caller]
    pub fn projection_discriminator<T: Real>(
        self,
        image: [usize; 3],
        classes: usize,
        init: &mut Init,
    ) -> Result<ProjectionDiscriminator<T>, GanError> {
        self.check("given", image)?;
        let features = self.features_of(image, init);
        let count = self.feature_count(image);
        let head = Dense::new(count, 1, init);
        // Each class is a last layer of its own, and begins with the spread of one.
        let embedding = Embedding::with_weight(init.weight(&[classes, count], count, 1));
        Ok(ProjectionDiscriminator::new(features, head, embedding, image))
    }

    /// Standard deviation of the numbers of a class's vector at first, beside noise of 1.
    ///
    /// A batch norm behind the first layer keeps the variance of noise and class together: what the class gains, the noise loses.
    /// The class always pulls the same way and gains, until each class is one image whatever the noise. A vector that starts
    /// short gains more slowly than the discriminator learns what varies within a class.
    fn class_spread(self) -> f64 {
        match self {
            Self::Dcgan | Self::Mlp => 0.1,
            Self::Residual => 1.0,
        }
    }

    fn generator_of<T: Real>(self, inputs: usize, image: [usize; 3], init: &mut Init) -> Sequential<T> {
        match self {
            Self::Dcgan => dcgan::generator_of(inputs, image, init),
            Self::Residual => residual::generator_of(inputs, image, init),
            Self::Mlp => mlp::generator_of(inputs, image, init),
        }
    }

    fn features_of<T: Real>(self, image: [usize; 3], init: &mut Init) -> Sequential<T> {
        match self {
            Self::Dcgan => dcgan::features_of(image, init),
            Self::Residual => residual::features_of(image, init),
            Self::Mlp => mlp::features_of(image, init),
        }
    }

    fn feature_count(self, image: [usize; 3]) -> usize {
        match self {
            Self::Dcgan => dcgan::feature_count(image),
            Self::Residual => residual::feature_count(image),
            Self::Mlp => mlp::feature_count(image),
        }
    }
}

#[cfg(test)]
mod tests;
