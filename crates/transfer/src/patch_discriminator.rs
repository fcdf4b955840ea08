//! A discriminator that judges an image patch by patch.

use crate::error::TransferError;
use engraft_gan::{SpectralNorm, TrainConfig};
use engraft_layers::{Condition, Dense, Init, Mode, Module, Sequential, StateDict};
use engraft_tensor::{Real, Tensor, no_grad};

/// `D(x)_p = <w, f(x)_p> + b`: a logit for each position `p` of a map of features, in the place of one for all of it.
///
/// Each logit sees as much of the image as one position of the map does, and the objective takes the mean over all of
/// them. So the discriminator asks whether strokes and textures are those of the target and not whether the whole is one of
/// its images: of few images there are many patches, and they are harder to know by heart.
///
/// *Shapes*: `[n, positions · channels] -> [n, positions]`, the channels of a position side by side. `weight [channels, 1]`,
/// `bias [1]`.
///
/// *Source*: Isola et al., "Image-to-image translation with conditional adversarial networks", 2017, section 3.2.2; for
/// transfer to few images Ojha et al., "Few-shot image generation via cross-domain correspondence", 2021, section 3.2,
/// where it judges beside a discriminator of whole images.
///
/// # Panics
/// Its `forward`, if the input is not `[n, a multiple of the channels]`.
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
    judge: Dense<T>,
}

impl<T: Real> PatchHead<T> {
    /// A head for maps of so many channels, all of whose logits are 0.
    ///
    /// # Panics
    /// If there are no channels.
    #[track_caller]
    pub fn new(channels: usize) -> Self {
        assert!(channels > 0, "PatchHead: a map without channels cannot be judged");
        Self {
            channels,
            judge: Dense::new(channels, 1, &mut Init::glorot(0)).scaled(0.0),
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
        self.judge.forward(&each, mode).reshape([n, positions])
    }

    // Its parameters are named as the layer's whose place it takes.
    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        vec![("", &self.judge)]
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        vec![("", &mut self.judge)]
    }

    fn describe(&self) -> String {
        format!("PatchHead of {} channels", self.channels)
    }
}

/// Whether these weights of a discriminator are those of one that judges patches.
pub(crate) fn has_patch_head(state: &StateDict, discriminator: &Sequential, config: &TrainConfig) -> bool {
    feature_map(discriminator, config).is_some_and(|map| {
        let weight = state.get(&map.weight());
        weight.is_some_and(|weight| weight.shape() == [map.channels, 1])
    })
}

/// The map of features that a discriminator's head reads as one vector.
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

/// The map that the head reads, if it reads one and is a layer of the chain itself.
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

/// The discriminator with a head for patches, all else as it is; the head's weights are still to come.
///
/// # Errors
/// [`TransferError::Config`] if its head does not read a map.
pub(crate) fn with_patch_head(
    discriminator: Sequential,
    config: &TrainConfig,
) -> Result<Sequential, TransferError> {
    let Some(map) = feature_map(&discriminator, config) else {
        return Err(TransferError::Config {
            problems: vec![format!(
                "plan.patch_discriminator: the discriminator of the network {}{} has no head that reads a map of features; expected \
                 dcgan or residual without classes, or another family that names its discriminator's head and feature map",
                config.network,
                if config.classes > 0 { " with classes" } else { "" }
            )],
        });
    };
    Ok(discriminator.replace(&map.head, PatchHead::new(map.channels)))
}

/// The discriminator with a head for patches in the place of its own, and that one's opinion as far as it is the same
/// everywhere: the mean over all patches begins as what the head would say if each of its positions had the mean weight.
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
                "plan.patch_discriminator: the source's discriminator is spectrally normalized, and the vectors of its head fit no \
                 other; expected a source without"
                    .into(),
            ],
        });
    }
    let mut tensors = StateDict::of(&discriminator).into_tensors();
    if let Some(weight) = tensors.get_mut(&map.weight()) {
        // The mean over positions, times their number, because the logits are averaged.
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
    fn a_vector_that_is_no_map_is_named() {
        let _ = PatchHead::<f32>::new(4).forward(&Tensor::zeros([2, 6]), Mode::Eval);
    }

    /// With the same weight everywhere the mean over patches is the head's logit, for both kinds of networks and for packs.
    #[test]
    fn it_begins_as_the_head_it_replaces() {
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
            let everywhere = one
                .broadcast_to(&[positions, channels])
                .reshape([positions * channels, 1]);
            tensors.insert("head.weight".into(), everywhere);
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
    fn a_discriminator_without_a_map_is_refused() {
        let refused = |change: fn(&mut TrainConfig), told: &str| {
            let mut config = config();
            change(&mut config);
            let Networks { discriminator, .. } = untrained_networks(&config).unwrap();
            let error = replace_head_by_patches(discriminator, &config)
                .err()
                .expect("an error")
                .to_string();
            assert!(error.contains(told), "{error}");
        };
        refused(|c| c.network = "mlp".into(), "expected dcgan or residual");
        refused(|c| c.classes = 10, "with classes");
        refused(
            |c| c.regularize.spectral_norm = SpectralNorm::Discriminator,
            "spectrally normalized",
        );
    }
}
