//! The head of a discriminator with one logit per patch of an image.

use crate::init::Init;
use crate::layer::dense::Dense;
use crate::mode::Mode;
use crate::module::Module;
use engraft_tensor::{Real, Tensor};

/// A patch head `D(x)_p = <w, f(x)_p> + b`: one logit for each position `p` of a feature map.
///
/// Each logit covers the receptive field of one position, and the objective averages over all of them. So the discriminator
/// compares local strokes and textures instead of whole images. A few images have many patches, which are harder to memorize.
///
/// *Shapes*: `[n, positions · channels] -> [n, positions]`, with the channels of a position next to each other. `weight [channels, 1]`,
/// `bias [1]`.
///
/// *Source*: Isola et al., "Image-to-image translation with conditional adversarial networks", 2017, section 3.2.2. For
/// transfer to few images: Ojha et al., "Few-shot image generation via cross-domain correspondence", 2021, section 3.2. They
/// combine it with a discriminator of whole images.
///
/// # Panics
/// `forward` panics if the input is not `[n, k · channels]`.
///
/// ```
/// use engraft_layers::{Mode, Module, PatchHead, parameter_count};
/// use engraft_tensor::Tensor;
///
/// let head = PatchHead::<f32>::new(128);
/// assert_eq!(head.forward(&Tensor::zeros([4, 7 * 7 * 128]), Mode::Train).shape(), [4, 49]);
/// assert_eq!(parameter_count(&head), 129);
/// ```
pub struct PatchHead<T: Real = f32> {
    channels: usize,
    dense: Dense<T>,
}

impl<T: Real> PatchHead<T> {
    /// A head for feature maps with this number of channels. Its weights are 0.
    ///
    /// # Panics
    /// If `channels` is 0.
    #[track_caller]
    pub fn new(channels: usize) -> Self {
        let mut head = Self::with_init(channels, &mut Init::glorot(0));
        head.dense = head.dense.scaled(0.0);
        head
    }

    /// A head with initialized weights and a zero bias.
    ///
    /// # Panics
    /// If `channels` is 0.
    #[track_caller]
    pub fn with_init(channels: usize, init: &mut Init) -> Self {
        assert!(channels > 0, "PatchHead: expected at least 1 channel, got 0");
        Self {
            channels,
            dense: Dense::new(channels, 1, init),
        }
    }
}

impl<T: Real> Module<T> for PatchHead<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        assert!(
            x.rank() == 2 && x.shape()[1].is_multiple_of(self.channels),
            "PatchHead: the input must be [n, positions · {}], got {:?}",
            self.channels,
            x.shape()
        );
        let [n, positions] = [x.shape()[0], x.shape()[1] / self.channels];
        let each = x.reshape([n * positions, self.channels]);
        self.dense.forward(&each, mode).reshape([n, positions])
    }

    // The parameters have the names of the layer that it replaces.
    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        vec![("", &self.dense)]
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        vec![("", &mut self.dense)]
    }

    fn describe(&self) -> String {
        format!("PatchHead of {} channels", self.channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StateDict, gradients};
    use engraft_tensor::gradcheck;

    #[test]
    fn by_hand() {
        let mut head = PatchHead::<f64>::new(2);
        let tensor = |shape: &[usize], values: &[f64]| Tensor::from_vec(shape, values.to_vec());
        let state = [
            ("weight".to_string(), tensor(&[2, 1], &[1.0, -2.0])),
            ("bias".to_string(), tensor(&[1], &[0.5])),
        ];
        StateDict::from_tensors(state.into()).apply(&mut head).unwrap();
        // Two images of three positions with two channels each.
        let x = tensor(&[2, 6], &[1., 0., 0., 1., 3., 1., 0., 0., 2., 2., -1., 1.]);
        let found = head.forward(&x, Mode::Train);
        assert_eq!(found.shape(), [2, 3]);
        assert_eq!(found.as_slice(), [1.5, -1.5, 1.5, 0.5, -1.5, -2.5]);
        gradcheck(
            |x| head.forward(&x[0], Mode::Train).tanh(),
            std::slice::from_ref(&x),
        )
        .unwrap();
        let learned = gradients(&found.square().sum(), &head);
        assert_eq!(learned.keys().collect::<Vec<_>>(), ["bias", "weight"]);
    }

    #[test]
    #[should_panic(expected = "PatchHead: the input must be [n, positions · 4], got [2, 6]")]
    fn an_input_that_is_not_a_feature_map_panics() {
        let _ = PatchHead::<f32>::new(4).forward(&Tensor::zeros([2, 6]), Mode::Eval);
    }
}
