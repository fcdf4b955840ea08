//! Networks: a fully connected classifier with noise before every layer, and a fully connected generator.

use engraft_layers::{
    BatchNorm, Condition, Dense, Fusion, GaussianNoise, Init, Mode, Module, Sequential, Sigmoid, Softplus,
    WeightNormDense,
};
use engraft_tensor::{Real, Tensor};

/// Widths of the classifier's hidden layers.
pub const HIDDEN: [usize; 5] = [1000, 500, 250, 250, 250];
/// Length of the generator's latent vector.
pub const LATENT: usize = 100;
/// Width of the generator's hidden layers.
const GENERATOR: usize = 500;
/// Standard deviation of the noise on images with pixels between 0 and 1.
const IMAGE_NOISE: f64 = 0.3;
/// Standard deviation of the noise before every other layer.
const FEATURE_NOISE: f64 = 0.5;

/// Gaussian noise, then a weight-normalized dense layer.
#[derive(Clone, Debug)]
struct Block<T: Real> {
    noise: GaussianNoise,
    dense: WeightNormDense<T>,
}

impl<T: Real> Module<T> for Block<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.dense.forward(&self.noise.forward(x, mode), mode)
    }

    // The parameters of the layer have the names of the block.
    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        vec![("noise", &self.noise), ("", &self.dense)]
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        vec![("noise", &mut self.noise), ("", &mut self.dense)]
    }
}

/// The classifier and discriminator of Improved GAN for flattened images.
///
/// Every hidden layer is Gaussian noise, a weight-normalized dense layer and a ReLU. The output layer is noise and a
/// weight-normalized dense layer. The noise is only active in training.
///
/// The scales of the hidden layers stay 1. Otherwise activations could grow until the noise has no effect, and the noise keeps
/// the classifier from memorizing few labels. Unlike the authors' code, the layers are not fitted to the data before training
/// ([`WeightNormDense::fit`]). In the one training compared, fitting was slower and still had 1.4 times the errors after 60
/// epochs on MNIST.
///
/// *Shapes*: `[n, pixels] -> [n, classes]`, pixels between 0 and 1.
///
/// *Source*: Salimans et al., "Improved techniques for training GANs", 2016, section 6.1, and the authors' settings for MNIST.
#[derive(Clone, Debug)]
pub struct SemiSupervisedClassifier<T: Real = f32> {
    hidden: Vec<(String, Block<T>)>,
    head: Block<T>,
}

impl<T: Real> SemiSupervisedClassifier<T> {
    /// A classifier with the hidden widths [`HIDDEN`].
    pub fn new(pixels: usize, classes: usize, init: &mut Init) -> Self {
        Self::with_hidden(pixels, &HIDDEN, classes, init)
    }

    /// A classifier with these hidden widths.
    ///
    /// # Panics
    /// If `hidden` is empty, because the last hidden layer gives the features.
    #[track_caller]
    pub fn with_hidden(pixels: usize, hidden: &[usize], classes: usize, init: &mut Init) -> Self {
        let Some(&last) = hidden.last() else {
            panic!("SemiSupervisedClassifier: expected at least one hidden layer")
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

    /// Features and logits: `[n, last hidden width]` after the ReLU, and `[n, classes]`.
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

/// The generator: two dense layers with batch norm and softplus, and a weight-normalized output layer with a sigmoid.
///
/// The latent vector has [`LATENT`] uniform values between 0 and 1.
///
/// *Shapes*: `[n, 100] -> [n, pixels]`, pixels between 0 and 1.
///
/// *Source*: that of [`SemiSupervisedClassifier`].
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
    fn widths_are_those_of_the_paper() {
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
    fn features_and_logits_by_hand() {
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
    fn only_the_head_has_a_trainable_scale() {
        let net = small::<f64>(1);
        let x = Tensor::uniform([4, 6], 0.0, 1.0, &mut Pcg64::seed_from_u64(2));
        let learned: Vec<String> = gradients(&net.forward(&x, Mode::Train).sum(), &net)
            .into_keys()
            .collect();
        assert!(!learned.contains(&"hidden1.scale".into()) && learned.contains(&"head.scale".into()));
    }

    #[test]
    fn generated_pixels_are_between_0_and_1() {
        let net = generator::<f32>(9, &mut Init::glorot(1));
        let z = Tensor::uniform([5, LATENT], 0.0, 1.0, &mut Pcg64::seed_from_u64(2));
        let images = net.forward(&z, Mode::Train);
        assert!(images.as_slice().iter().all(|p| (0.0..=1.0).contains(p)));
    }
}
