//! A head that reconstructs images from a feature map of the discriminator.

use engraft_layers::{
    Condition, Conv2d, Init, LeakyReLU, Mode, Module, Sequential, Tanh, Taps, UpsampleConv2d, children,
};
use engraft_tensor::{Real, Tensor};

/// Name of the head among the layers of a discriminator.
pub(crate) const NAME: &str = "reconstruction";

/// Name of the result that the head hands out.
const IMAGE: &str = "image";

/// Channels of the decoder's maps, from the feature map to the image.
const WIDTHS: [usize; 2] = [64, 32];

/// Slope of the decoder's leaky ReLUs.
const SLOPE: f64 = 0.2;

/// Most doublings of the feature map.
pub(super) const MOST_DOUBLINGS: usize = WIDTHS.len();

/// A decoder between two layers of a discriminator. It passes its input on unchanged.
///
/// The decoder reconstructs a smaller copy of the discriminator's input. It computes only where
/// [`forward_taps`](Module::forward_taps) requests its part `image`, so logits, gradient penalties and the generator's loss do not
/// depend on it. [`ObjectiveConfig::reconstruction`](crate::ObjectiveConfig::reconstruction) trains it.
///
/// *Shapes*: feature maps `[n, h, w, channels]` to images `[n, h · 2^doublings, w · 2^doublings, outputs]`.
///
/// *Source*: Liu et al., "Towards faster and stabilized GAN training for high-fidelity few-shot image synthesis", 2021, section
/// 3.2. There the decoders are larger and have batch norm, and a perceptual network compares the images.
pub struct ReconstructionHead<T: Real = f32> {
    decoder: Sequential<T>,
}

impl<T: Real> ReconstructionHead<T> {
    /// A decoder with up to two doublings.
    ///
    /// # Panics
    /// If there are more.
    #[track_caller]
    pub fn new(channels: usize, outputs: usize, doublings: usize, init: &mut Init) -> Self {
        assert!(
            doublings <= MOST_DOUBLINGS,
            "ReconstructionHead: expected at most {MOST_DOUBLINGS} doublings, got {doublings}"
        );
        let (mut decoder, mut from) = (Sequential::new(), channels);
        for (i, to) in WIDTHS.into_iter().take(doublings).enumerate() {
            let block = Sequential::new()
                .add("conv", UpsampleConv2d::new(from, to, init))
                .add("act", LeakyReLU::new(SLOPE));
            (decoder, from) = (decoder.add(&format!("block{}", i + 1), block), to);
        }
        let to_image = Conv2d::new(from, outputs, 3, init).same();
        Self {
            decoder: decoder.add("to_image", to_image).add("tanh", Tanh),
        }
    }
}

impl<T: Real> Module<T> for ReconstructionHead<T> {
    fn forward(&self, x: &Tensor<T>, _mode: Mode) -> Tensor<T> {
        x.clone()
    }

    fn forward_taps(
        &self,
        x: &Tensor<T>,
        condition: &Condition<T>,
        mode: Mode,
        taps: &mut Taps<'_, T>,
    ) -> Tensor<T> {
        if taps.wants(IMAGE) || taps.wants_under("decoder") {
            let image = self
                .decoder
                .forward_taps(x, condition, mode, &mut taps.under("decoder"));
            taps.put(IMAGE, &image);
        }
        x.clone()
    }

    children!(T; decoder);

    fn describe(&self) -> String {
        "ReconstructionHead".into()
    }
}

/// Dotted name of the reconstruction of a discriminator, for [`forward_through`](engraft_layers::forward_through); `None` if it has no
/// part with the name of the head.
pub(crate) fn part_of<T: Real>(discriminator: &dyn Module<T>) -> Option<String> {
    discriminator.children().into_iter().find_map(|(name, child)| {
        // A layer of that name in another network may be something else.
        if name == NAME && child.children().iter().any(|(name, _)| *name == "decoder") {
            return Some(format!("{NAME}.{IMAGE}"));
        }
        let inner = part_of(child)?;
        // The child of a wrapper has no name.
        Some(if name.is_empty() {
            inner
        } else {
            format!("{name}.{inner}")
        })
    })
}

/// Mean squared error of reconstructions `[n, h, w, c]` of images whose sides are the same multiple of theirs. The target is the mean of
/// the pixels that a pixel of the reconstruction covers.
pub(crate) fn error<T: Real>(images: &Tensor<T>, reconstructions: &Tensor<T>) -> Tensor<T> {
    let factor = images.shape()[1] / reconstructions.shape()[1];
    let target = images.detach().avg_pool_windows(factor, factor);
    (reconstructions - target).square().mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{forward_through, gradients, parameters};
    use engraft_tensor::gradcheck;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn the_error_by_hand() {
        let images = Tensor::from_vec([1, 2, 4, 1], vec![1.0, 0.0, 0.5, 0.5, 1.0, 1.0, -0.5, 0.0]);
        let reconstructions = Tensor::from_vec([1, 1, 2, 1], vec![0.25, -0.125]);
        // The means of the two squares are 0.75 and 0.125.
        let expected = (0.5_f64.powi(2) + 0.25_f64.powi(2)) / 2.0;
        assert_eq!(error(&images, &reconstructions).item(), expected);
        gradcheck(|r| error(&images, &r[0]), &[reconstructions]).unwrap();
    }

    #[test]
    fn the_head_changes_no_output_and_only_its_error_reaches_it() {
        let (init, rng) = (&mut Init::glorot(1), &mut Pcg64::seed_from_u64(2));
        let conv = Conv2d::<f64>::new(3, 4, 4, init).stride(2).same();
        let head = ReconstructionHead::new(4, 3, 1, init);
        let net = Sequential::new().add("down", conv).add(NAME, head);
        let part = part_of(&net).unwrap();
        assert_eq!(part, "reconstruction.image");
        let x = Tensor::randn([2, 8, 8, 3], rng);
        let outputs = forward_through(&net, &x, &Condition::None, Mode::Train, &[&part]);
        assert_eq!(outputs.parts[0].shape(), [2, 8, 8, 3]);
        assert_eq!(outputs.main.as_slice(), net.forward(&x, Mode::Train).as_slice());
        let has = |loss: &Tensor<f64>, name: &str| {
            gradients(loss, &net)
                .get(name)
                .is_some_and(|g| g.abs().sum().item() > 0.0)
        };
        for (name, _) in parameters(&net) {
            let is_trunk = name.starts_with("down");
            assert_eq!(has(&outputs.main.square().sum(), &name), is_trunk, "{name}");
            assert!(has(&error(&x, &outputs.parts[0]), &name), "{name}");
        }
        assert_eq!(part_of(&Sequential::<f64>::new()), None);
    }
}
