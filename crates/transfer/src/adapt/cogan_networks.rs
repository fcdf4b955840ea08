//! The networks of CoGAN: two generators that share all but their last layer, two discriminators that share all but
//! their first block.

use super::domain_classifier::DomainClassifier;
use engraft_layers::{
    BatchNorm, ConvTranspose2d, Dense, Init, LeakyReLU, Mode, Module, Reshape, Sequential, StateDict, Tanh,
    children,
};
use engraft_tensor::{Tensor, concat};

/// Numbers of a latent vector.
pub(crate) const LATENT: usize = 100;
/// Channels of the generator's two maps, at a quarter and at half of the image's size.
const CHANNELS: [usize; 2] = [128, 64];
/// Width of the hidden layer between the shared features and the logit that tells real from made.
const HIDDEN: usize = 500;
/// Slope of every leaky ReLU here, that of this project's other DCGANs.
const SLOPE: f64 = 0.3;

/// A generator for each domain: `dense, norm, act, transposed conv 5x5, norm, act`, which they share, and
/// `transposed conv 5x5, tanh` of each one's own. One latent vector gives a pair.
pub(crate) struct Generators {
    shared: Sequential,
    own: [Sequential; 2],
}

/// Names of what each domain has for itself, the source's first.
const OWN: [&str; 2] = ["source", "target"];

impl Generators {
    /// Fresh weights for images `[height, width, channels]` with sides of a multiple of 4, which the images of every
    /// [`DomainClassifier`] have. Both last layers begin as the same: the images of a pair are equal at first, and each domain's
    /// discriminator moves its own away from there.
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

    /// Images of the source and their partners of the target: `[n, 100] -> [n, h, w, c]` twice, values from -1 to 1.
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
    /// The pairs one behind the other, all of the source first: `[n, 100] -> [2 n, h, w, c]`.
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

/// A discriminator for each domain, and the classifier of both: a [`DomainClassifier`], whose way is the target's, a first block of
/// the source's own in place of the model's, and `dense 500, act, dense` that tells real from made by the features.
///
/// The authors' discriminator has a hidden layer before the logit too, though one that its classes share; here the heads
/// have their own. Without it little obeys the game alone: the classes, with ten times the weight, decide where the
/// convolutions go, and the generators fool a linear logit with noise.
pub(crate) struct Discriminators {
    model: DomainClassifier,
    source: Sequential,
    judge: Sequential,
}

/// What the discriminator of a domain says of images.
pub(crate) struct DiscriminatorOutput {
    /// Above 0 for real: `[n, 1]`.
    pub(crate) logits: Tensor,
    /// The last features that both domains share: `[n, width]`.
    pub(crate) features: Tensor,
}

impl Discriminators {
    /// Around a model. The source's first block begins as the target's: their channels mean the same from the start, where
    /// those of two random blocks would have to be brought into one order first.
    pub(crate) fn new(model: DomainClassifier, seed: u64) -> Self {
        let init = &mut Init::he(seed);
        Self {
            source: model.copy_of_first_block(),
            judge: Sequential::new()
                .add("dense", Dense::new(model.feature_dim(), HIDDEN, init))
                .add("act", LeakyReLU::new(SLOPE))
                .add("real", Dense::new(HIDDEN, 1, init)),
            model,
        }
    }

    /// Judges images of the source.
    pub(crate) fn source(&self, images: &Tensor) -> DiscriminatorOutput {
        self.judge(self.model.features_through(&self.source, images, Mode::Train))
    }

    /// Judges images of the target.
    pub(crate) fn target(&self, images: &Tensor) -> DiscriminatorOutput {
        self.judge(self.model.features(images, Mode::Train))
    }

    fn judge(&self, features: Tensor) -> DiscriminatorOutput {
        DiscriminatorOutput {
            logits: self.judge.forward(&features, Mode::Train),
            features,
        }
    }

    /// The classifier, by the target's way.
    pub(crate) fn model(&self) -> &DomainClassifier {
        &self.model
    }
}

impl Module for Discriminators {
    /// The logits of images of the target.
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.judge.forward(&self.model.features(x, mode), mode)
    }

    children!(model, source, judge);

    fn describe(&self) -> String {
        "coupled discriminators".into()
    }
}
