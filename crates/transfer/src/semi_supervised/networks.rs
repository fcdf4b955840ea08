//! The two networks: a fully connected classifier with noise in every layer, and a fully connected generator.

use engraft_layers::{
    BatchNorm, Condition, Dense, Fusion, GaussianNoise, Init, Mode, Module, Sequential, Sigmoid, Softplus,
    WeightNormDense,
};
use engraft_tensor::{Real, Tensor};

/// Sizes of the classifier's hidden layers.
pub const HIDDEN: [usize; 5] = [1000, 500, 250, 250, 250];
/// Size of the generator's noise.
pub const LATENT: usize = 100;
/// Sizes of the generator's hidden layers.
const GENERATOR: usize = 500;
/// Standard deviation of the noise on images, whose pixels lie between 0 and 1.
const IMAGE_NOISE: f64 = 0.3;
/// Standard deviation of the noise before every other layer.
const FEATURE_NOISE: f64 = 0.5;

/// Noise, then a weight-normalized dense layer.
#[derive(Clone, Debug)]
struct Block<T: Real> {
    noise: GaussianNoise,
    dense: WeightNormDense<T>,
}

impl<T: Real> Module<T> for Block<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.dense.forward(&self.noise.forward(x, mode), mode)
    }

    // The parameters of the layer are named as the block's own.
    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        vec![("noise", &self.noise), ("", &self.dense)]
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        vec![("noise", &mut self.noise), ("", &mut self.dense)]
    }
}

/// A classifier of flat images: noise, a weight-normalized dense layer and a ReLU for each hidden size, then noise and a
/// weight-normalized dense layer for the logits. The noise is there in training only.
///
/// The scales of hidden layers stay 1: layers that could grow would drown the noise, and it is the noise that keeps a classifier
/// of few labels from learning them by heart. Nor are they fitted to the data at the start, as the authors do
/// ([`WeightNormDense::fit`]): in the one training compared, that learned more slowly, and after 60 passes over MNIST still had 1.4
/// times the errors.
///
/// *Shapes*: `[n, pixels] -> [n, classes]`, pixels between 0 and 1.
///
/// *Source*: Salimans et al., "Improved techniques for training GANs", 2016, section 6.1 and the authors' settings for MNIST.
#[derive(Clone, Debug)]
pub struct SemiSupervisedClassifier<T: Real = f32> {
    hidden: Vec<(String, Block<T>)>,
    head: Block<T>,
}

impl<T: Real> SemiSupervisedClassifier<T> {
    /// A classifier with the sizes [`HIDDEN`].
    pub fn new(pixels: usize, classes: usize, init: &mut Init) -> Self {
        Self::with_hidden(pixels, &HIDDEN, classes, init)
    }

    /// A classifier with other hidden sizes.
    ///
    /// # Panics
    /// If there is no hidden layer, whose output the features are.
    #[track_caller]
    pub fn with_hidden(pixels: usize, hidden: &[usize], classes: usize, init: &mut Init) -> Self {
        let Some(&last) = hidden.last() else {
            panic!("SemiSupervisedClassifier: needs at least one hidden layer")
        };
        let mut inputs = pixels;
        let blocks = hidden.iter().enumerate().map(|(i, &size)| {
            let std = if i == 0 { IMAGE_NOISE } else { FEATURE_NOISE };
            let block = Block {
                noise: GaussianNoise::new(std, init),
                dense: WeightNormDense::new(inputs, size, init).fixed_scale(),
            };
            inputs = size;
            (format!("hidden{}", i + 1), block)
        });
        Self {
            hidden: blocks.collect(),
            head: Block {
                noise: GaussianNoise::new(FEATURE_NOISE, init),
                dense: WeightNormDense::new(last, classes, init),
            },
        }
    }

    /// Features and logits: `[n, last hidden size]`, behind its ReLU, and `[n, classes]`.
    #[must_use]
    pub fn classify(&self, images: &Tensor<T>, mode: Mode) -> [Tensor<T>; 2] {
        let mut x = images.clone();
        for (_, Block { noise, dense }) in &self.hidden {
            x = dense.forward_leaky_relu(&noise.forward(&x, mode), &Condition::None, mode, 0.0);
        }
        let logits = self.head.forward(&x, mode);
        [x, logits]
    }
}

impl<T: Real> Module<T> for SemiSupervisedClassifier<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let [_, logits] = self.classify(x, mode);
        logits
    }

    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        let blocks = self.hidden.iter().map(|(name, block)| (name.as_str(), block));
        let blocks = blocks.chain([("head", &self.head)]);
        blocks
            .map(|(name, block)| (name, block as &dyn Module<T>))
            .collect()
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        let blocks = self.hidden.iter_mut().map(|(name, block)| (name.as_str(), block));
        let blocks = blocks.chain([("head", &mut self.head)]);
        blocks
            .map(|(name, block)| (name, block as &mut dyn Module<T>))
            .collect()
    }

    fn describe(&self) -> String {
        format!(
            "SemiSupervisedClassifier with {} hidden layers",
            self.hidden.len()
        )
    }
}

/// The generator: noise of [`LATENT`] uniform numbers, two dense layers with batch norm and softplus, and a weight-normalized
/// one with a sigmoid.
///
/// *Shapes*: `[n, 100] -> [n, pixels]`, pixels between 0 and 1.
///
/// *Source*: as of [`SemiSupervisedClassifier`].
///
/// ```
/// use engraft_layers::{Init, Mode, Module};
/// use engraft_tensor::Tensor;
/// use engraft_transfer::semi_supervised::{LATENT, generator};
/// let net = generator::<f32>(49, &mut Init::glorot(1));
/// assert_eq!(net.forward(&Tensor::ones([3, LATENT]), Mode::Train).shape(), [3, 49]);
/// ```
pub fn generator<T: Real>(pixels: usize, init: &mut Init) -> Sequential<T> {
    Sequential::new()
        .add("stem", Dense::new(LATENT, GENERATOR, init).no_bias())
        .add("stem_norm", BatchNorm::new(GENERATOR))
        .add("stem_act", Softplus)
        .add("hidden", Dense::new(GENERATOR, GENERATOR, init).no_bias())
        .add("hidden_norm", BatchNorm::new(GENERATOR))
        .add("hidden_act", Softplus)
        .add("to_image", WeightNormDense::new(GENERATOR, pixels, init))
        .add("sigmoid", Sigmoid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{StateDict, gradients, parameter_count, parameters, rng_states};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn small<T: Real>(seed: u64) -> SemiSupervisedClassifier<T> {
        SemiSupervisedClassifier::with_hidden(6, &[5, 4], 3, &mut Init::normal(seed, 0.1))
    }

    #[test]
    fn sizes_are_the_papers() {
        let net = SemiSupervisedClassifier::<f32>::new(784, 10, &mut Init::normal(1, 0.1));
        let sizes = [784, 1000, 500, 250, 250, 250, 10];
        // A weight for each pair, a scale and a bias for each output.
        let expected: usize = sizes.windows(2).map(|s| s[0] * s[1] + 2 * s[1]).sum();
        assert_eq!(parameter_count(&net), expected);
        let names: Vec<_> = parameters(&small::<f32>(1))
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names[..3], ["hidden1.weight", "hidden1.scale", "hidden1.bias"]);
        assert_eq!(names[6..], ["head.weight", "head.scale", "head.bias"]);
        assert_eq!(rng_states(&net).len(), 6);
    }

    #[test]
    fn features_and_logits_are_those_of_the_layers() {
        let net = small::<f64>(1);
        let x = Tensor::randn([7, 6], &mut Pcg64::seed_from_u64(2));
        let [features, logits] = net.classify(&x, Mode::Eval);
        let state = StateDict::of(&net);
        let layer = |x: &Tensor<f64>, name: &str| {
            let [w, g, b] =
                ["weight", "scale", "bias"].map(|part| state.get(&format!("{name}.{part}")).unwrap());
            let lengths = w.square().sum_axes(&[0]).sqrt();
            x.matmul(w) / lengths * g + b
        };
        let expected = layer(&layer(&x, "hidden1").relu(), "hidden2").relu();
        let apart = |a: &Tensor<f64>, b: &Tensor<f64>| (a - b).abs().sum().item();
        assert!(apart(&features, &expected) < 1e-9);
        assert!(apart(&logits, &layer(&expected, "head")) < 1e-9);
        assert_eq!(net.forward(&x, Mode::Eval).as_slice(), logits.as_slice());
    }

    #[test]
    fn only_the_head_has_a_scale_that_learns() {
        let net = small::<f64>(1);
        let x = Tensor::uniform([4, 6], 0.0, 1.0, &mut Pcg64::seed_from_u64(2));
        let learned: Vec<String> = gradients(&net.forward(&x, Mode::Train).sum(), &net)
            .into_keys()
            .collect();
        assert!(!learned.contains(&"hidden1.scale".into()) && learned.contains(&"head.scale".into()));
    }

    #[test]
    fn a_generator_draws_pixels() {
        let net = generator::<f32>(9, &mut Init::glorot(1));
        let z = Tensor::uniform([5, LATENT], 0.0, 1.0, &mut Pcg64::seed_from_u64(2));
        let drawn = net.forward(&z, Mode::Train);
        assert!(drawn.as_slice().iter().all(|p| (0.0..=1.0).contains(p)));
    }
}
