//! The networks of CoGAN: two generators that share all layers except the last, and two discriminators that share all
//! layers except the first block.

use super::domain_classifier::DomainClassifier;
use engraft_layers::{
    BatchNorm, ConvTranspose2d, Dense, Init, LeakyReLU, Mode, Module, Reshape, Sequential, StateDict, Tanh,
    children,
};
use engraft_tensor::{Tensor, concat};

/// Length of a latent vector.
pub(crate) const LATENT: usize = 100;
/// Channels of the generator's feature maps at a quarter and at half of the image size.
const CHANNELS: [usize; 2] = [128, 64];
/// Width of the hidden layer between the shared features and the real/fake logit.
const HIDDEN: usize = 500;
/// Slope of every leaky ReLU, as in this project's other DCGANs.
const SLOPE: f64 = 0.3;

/// A generator for each domain. One latent vector gives a pair of images.
///
/// They share `dense, norm, act, transposed conv 5x5, norm, act`. Each one has its own `transposed conv 5x5, tanh`.
pub(crate) struct Generators {
    shared: Sequential,
    own: [Sequential; 2],
}

/// Names of the domain-specific layers, the source's first.
const OWN: [&str; 2] = ["source", "target"];

impl Generators {
    /// New networks for images `[height, width, channels]`. Height and width must be multiples of 4, as for every
    /// [`DomainClassifier`].
    ///
    /// Both last layers start with the same weights, so both images of a pair are equal before training.
    pub(crate) fn new([height, width, channels]: [usize; 3], seed: u64) -> Self {
        let init = &mut Init::glorot(seed);
        let (h, w) = (height / 4, width / 4);
        let shared = Sequential::new()
            .add("dense", Dense::new(LATENT, h * w * CHANNELS[0], init).no_bias())
            .add("norm1", BatchNorm::new(h * w * CHANNELS[0]))
            .add("act1", LeakyReLU::new(SLOPE))
            .add("grid", Reshape::new([h, w, CHANNELS[0]]))
            .add("conv", up(CHANNELS[0], CHANNELS[1], init).no_bias())
            .add("norm2", BatchNorm::new(CHANNELS[1]))
            .add("act2", LeakyReLU::new(SLOPE));
        let mut last = || {
            Sequential::new()
                .add("conv", up(CHANNELS[1], channels, init))
                .add("tanh", Tanh)
        };
        let (source, mut target) = (last(), last());
        StateDict::of(&source)
            .apply(&mut target)
            .expect("two layers of one kind");
        Self {
            shared,
            own: [source, target],
        }
    }

    /// Pairs of a source and a target image: `[n, 100] -> [n, h, w, c]` twice, values from -1 to 1.
    pub(crate) fn pair(&self, z: &Tensor, mode: Mode) -> [Tensor; 2] {
        let shared = self.shared.forward(z, mode);
        self.own.each_ref().map(|own| own.forward(&shared, mode))
    }
}

/// `[n, h, w, from] -> [n, 2 h, 2 w, to]`.
fn up(from: usize, to: usize, init: &mut Init) -> ConvTranspose2d {
    ConvTranspose2d::new(from, to, 5, init).stride(2).same()
}

impl Module for Generators {
    /// All source images followed by all target images: `[n, 100] -> [2 n, h, w, c]`.
    fn forward(&self, z: &Tensor, mode: Mode) -> Tensor {
        let [source, target] = self.pair(z, mode);
        concat(&[&source, &target], 0)
    }

    fn children(&self) -> Vec<(&str, &dyn Module)> {
        let [source, target] = &self.own;
        vec![("shared", &self.shared), (OWN[0], source), (OWN[1], target)]
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module)> {
        let [source, target] = &mut self.own;
        vec![("shared", &mut self.shared), (OWN[0], source), (OWN[1], target)]
    }

    fn describe(&self) -> String {
        "coupled generators".into()
    }
}

/// A discriminator for each domain, with the classifier of both.
///
/// The target's discriminator uses the layers of a [`DomainClassifier`]. The source's has its own first block. A head
/// `dense 500, act, dense` computes the real/fake logit from the features.
///
/// In the authors' code the classes share the hidden layer before the logit. Here every head has its own. Without a hidden
/// layer the class loss, with ten times the weight, determines the convolutions, and noise fools a linear logit.
pub(crate) struct Discriminators {
    model: DomainClassifier,
    source: Sequential,
    head: Sequential,
}

/// Output of the discriminator of a domain.
pub(crate) struct DiscriminatorOutput {
    /// Real/fake logits, above 0 for real: `[n, 1]`.
    pub(crate) logits: Tensor,
    /// The last features, which both domains share: `[n, features]`.
    pub(crate) features: Tensor,
}

impl Discriminators {
    /// Discriminators around a classifier. The source's first block starts as a copy of the target's, so that their channels
    /// correspond from the start.
    pub(crate) fn new(model: DomainClassifier, seed: u64) -> Self {
        let init = &mut Init::he(seed);
        Self {
            source: model.copy_of_first_block(),
            head: Sequential::new()
                .add("dense", Dense::new(model.feature_dim(), HIDDEN, init))
                .add("act", LeakyReLU::new(SLOPE))
                .add("real", Dense::new(HIDDEN, 1, init)),
            model,
        }
    }

    /// Evaluates images of the source.
    pub(crate) fn source(&self, images: &Tensor) -> DiscriminatorOutput {
        self.output(self.model.features_through(&self.source, images, Mode::Train))
    }

    /// Evaluates images of the target.
    pub(crate) fn target(&self, images: &Tensor) -> DiscriminatorOutput {
        self.output(self.model.features(images, Mode::Train))
    }

    fn output(&self, features: Tensor) -> DiscriminatorOutput {
        DiscriminatorOutput {
            logits: self.head.forward(&features, Mode::Train),
            features,
        }
    }

    /// The classifier with the target's first block.
    pub(crate) fn model(&self) -> &DomainClassifier {
        &self.model
    }
}

impl Module for Discriminators {
    /// The logits of images of the target.
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.head.forward(&self.model.features(x, mode), mode)
    }

    children!(model, source, head);

    fn describe(&self) -> String {
        "coupled discriminators".into()
    }
}
