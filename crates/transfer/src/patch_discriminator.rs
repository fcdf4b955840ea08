//! PatchGAN: a discriminator with one logit per patch of an image.

use crate::error::TransferError;
use engraft_gan::{SpectralNorm, TrainConfig};
use engraft_layers::{Condition, Dense, Init, Mode, Module, Sequential, StateDict};
use engraft_tensor::{Real, Tensor, no_grad};

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
/// use engraft_layers::{Mode, Module, parameter_count};
/// use engraft_tensor::Tensor;
/// use engraft_transfer::PatchHead;
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
        assert!(channels > 0, "PatchHead: expected at least 1 channel, got 0");
        Self {
            channels,
            dense: Dense::new(channels, 1, &mut Init::glorot(0)).scaled(0.0),
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

/// Whether these weights of a discriminator have a patch head.
pub(crate) fn has_patch_head(state: &StateDict, discriminator: &Sequential, config: &TrainConfig) -> bool {
    feature_map(discriminator, config).is_some_and(|map| {
        let weight = state.get(&map.weight());
        weight.is_some_and(|weight| weight.shape() == [map.channels, 1])
    })
}

/// The feature map that a discriminator's head reads as one vector.
struct FeatureMap {
    /// Name of the head.
    head: String,
    positions: usize,
    channels: usize,
}

impl FeatureMap {
    /// Name of the head's weight in a state.
    fn weight(&self) -> String {
        format!("{}.weight", self.head)
    }
}

/// The feature map before the head. `None` without one, or if the head is not a direct layer of the chain.
fn feature_map(discriminator: &Sequential, config: &TrainConfig) -> Option<FeatureMap> {
    let roles = config.layer_roles().ok()?.discriminator;
    let (head, features) = (roles.head, roles.feature_map?);
    if !discriminator.layers().iter().any(|(name, _)| *name == head) {
        return None;
    }
    let image = Tensor::zeros([&[1], &config.network_spec().packed_shape()[..]].concat());
    let [features, _] =
        no_grad(|| discriminator.forward_through(&image, &Condition::None, Mode::Eval, &features));
    match *features.shape() {
        [_, h, w, channels] if h * w > 1 => Some(FeatureMap {
            head,
            positions: h * w,
            channels,
        }),
        _ => None,
    }
}

/// Replaces the head by a patch head with zero weights, for weights that are loaded later.
///
/// # Errors
/// [`TransferError::Config`] if the head does not read a feature map.
pub(crate) fn with_patch_head(
    discriminator: Sequential,
    config: &TrainConfig,
) -> Result<Sequential, TransferError> {
    let Some(map) = feature_map(&discriminator, config) else {
        return Err(TransferError::Config {
            problems: vec![format!(
                "plan.patch_discriminator: the discriminator of the network {}{} has no head on a feature map; expected dcgan or \
                 residual without classes, or a family that names the discriminator's head and feature map",
                config.network,
                if config.classes > 0 { " with classes" } else { "" }
            )],
        });
    };
    Ok(discriminator.replace(&map.head, PatchHead::new(map.channels)))
}

/// Replaces the head by a patch head whose weight is the spatial mean of the old head's weight.
///
/// The mean over all patch logits then equals the old logit for spatially constant weights.
///
/// # Errors
/// As [`with_patch_head`].
pub(crate) fn replace_head_by_patches(
    discriminator: Sequential,
    config: &TrainConfig,
) -> Result<Sequential, TransferError> {
    let Some(map) = feature_map(&discriminator, config) else {
        return with_patch_head(discriminator, config);
    };
    if config.regularize.spectral_norm != SpectralNorm::None {
        return Err(TransferError::Config {
            problems: vec![
                "plan.patch_discriminator: the source's discriminator is spectrally normalized, which does not fit a patch head; \
                 expected a source without spectral normalization"
                    .into(),
            ],
        });
    }
    let mut tensors = StateDict::of(&discriminator).into_tensors();
    if let Some(weight) = tensors.get_mut(&map.weight()) {
        // The sum over positions: their mean times their number, because the logits are averaged.
        *weight = weight
            .reshape([map.positions, map.channels])
            .sum_keep(&[0])
            .reshape([map.channels, 1]);
    }
    let mut patched = with_patch_head(discriminator, config)?;
    StateDict::from_tensors(tensors).apply(&mut patched)?;
    Ok(patched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};
    use engraft_gan::{Networks, untrained_networks};
    use engraft_layers::{gradients, parameter_count};
    use engraft_tensor::gradcheck;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn config() -> TrainConfig {
        TrainConfig::standard(&drawn_digits(Split::Test, 20, 1))
    }

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

    /// For spatially constant weights the mean over patches is the head's logit, in both kinds of networks and with packing.
    #[test]
    fn a_patch_head_starts_as_the_head_that_it_replaces() {
        for (network, packing) in [("dcgan", 1), ("dcgan", 2), ("residual", 1)] {
            let mut config = config();
            config.network = network.into();
            config.objective.packing = packing;
            let Networks {
                mut discriminator, ..
            } = untrained_networks(&config).unwrap();
            let FeatureMap {
                positions, channels, ..
            } = feature_map(&discriminator, &config).unwrap();
            let mut tensors = StateDict::of(&discriminator).into_tensors();
            assert!(!has_patch_head(
                &StateDict::of(&discriminator),
                &discriminator,
                &config
            ));
            let rng = &mut Pcg64::seed_from_u64(3);
            let one = Tensor::randn([1, channels], rng);
            let constant = one
                .broadcast_to(&[positions, channels])
                .reshape([positions * channels, 1]);
            tensors.insert("head.weight".into(), constant);
            tensors.insert("head.bias".into(), Tensor::from_vec([1], vec![0.25]));
            StateDict::from_tensors(tensors)
                .apply(&mut discriminator)
                .unwrap();
            let [h, w, c] = config.image;
            let images = Tensor::uniform([3, h, w, c * packing as usize], -1.0, 1.0, rng);
            let whole = discriminator.forward(&images, Mode::Eval);
            let patched = replace_head_by_patches(discriminator, &config).unwrap();
            let patches = patched.forward(&images, Mode::Eval);
            assert_eq!(patches.shape(), [3, positions]);
            for (image, logit) in patches.as_slice().chunks(positions).zip(whole.as_slice()) {
                let mean = image.iter().sum::<f32>() / positions as f32;
                assert!(
                    (mean - logit).abs() < 1e-3 * (1.0 + logit.abs()),
                    "{mean} {logit}"
                );
            }
            assert!(has_patch_head(
                &StateDict::of(&patched),
                &untrained_networks(&config).unwrap().discriminator,
                &config
            ));
            assert_eq!(parameter_count(&PatchHead::<f32>::new(channels)), channels + 1);
        }
    }

    #[test]
    fn a_discriminator_without_a_feature_map_is_an_error() {
        let problem = |change: fn(&mut TrainConfig)| {
            let mut config = config();
            change(&mut config);
            let Networks { discriminator, .. } = untrained_networks(&config).unwrap();
            match replace_head_by_patches(discriminator, &config).err() {
                Some(TransferError::Config { problems }) => problems.join("; "),
                found => panic!("{found:?}"),
            }
        };
        assert!(problem(|c| c.network = "mlp".into()).contains("dcgan or residual"));
        assert!(problem(|c| c.classes = 10).contains("with classes"));
        let spectral = problem(|c| c.regularize.spectral_norm = SpectralNorm::Discriminator);
        assert!(spectral.contains("plan.patch_discriminator") && !spectral.contains("dcgan"));
    }
}
