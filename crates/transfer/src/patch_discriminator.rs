//! PatchGAN: a discriminator with one logit per patch of an image.

use crate::error::TransferError;
use engraft_gan::{SpectralNorm, TrainConfig};
use engraft_layers::{Condition, Mode, PatchHead, Sequential, StateDict};
use engraft_tensor::{Tensor, no_grad};

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
                if config.network_classes() > 0 {
                    " with classes"
                } else {
                    ""
                }
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
    use engraft_layers::{Module, parameter_count};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn config() -> TrainConfig {
        TrainConfig::standard(&drawn_digits(Split::Test, 20, 1))
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
