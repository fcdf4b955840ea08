//! An estimate of the memory of a training run.

use crate::build::untrained_networks;
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::latent::cyclic_labels;
use crate::networks::Networks;
use crate::packing::pack;
use engraft_layers::{Mode, Module, parameter_count, stored_values};
use engraft_tensor::{Tensor, no_grad};

/// The program, its buffers and the feature network of the evaluation, in bytes.
const FIXED: u64 = 150 << 20;
/// Copies of each weight: value, gradient, two moments, average, and the bytes of a checkpoint.
const COPIES: u64 = 9;
/// Bytes for each stored value of a forward pass: the value, its gradient, and temporary values of the kernels.
const BYTES: u64 = 12;
/// Factor of penalties on gradients, whose gradient stores the backward pass too.
const SECOND_ORDER: u64 = 3;

/// About the most memory in bytes that a training run with these settings uses, without images that are held in memory. It is
/// an upper estimate: from 1.3 to 2.6 times the measured peak of the families of this crate.
///
/// # Errors
/// Those of [`untrained_networks`].
pub fn training_memory(config: &TrainConfig) -> Result<u64, GanError> {
    let Networks {
        generator,
        discriminator,
        latent_dim,
    } = untrained_networks(config)?;
    let weights = (parameter_count(&generator) + parameter_count(&discriminator)) as u64;
    let packed = config.objective.packing.max(1) as usize;
    let labels = |count| cyclic_labels(count, config.network_classes() as usize);
    let [of_generator, of_discriminator] = no_grad(|| {
        let z = Tensor::zeros([packed, latent_dim]);
        let images = generator.forward_with(&z, &labels(packed), Mode::Eval);
        let packs = pack(&images, packed);
        let condition = labels(packs.shape()[0]);
        [
            stored_values(&generator, &z, &labels(packed), Mode::Eval) + images.len(),
            stored_values(&discriminator, &packs, &condition, Mode::Eval) + packs.len(),
        ]
    })
    .map(|stored| stored.div_ceil(packed) as u64);
    let second = match config.regularize.penalizes_gradients() {
        true => SECOND_ORDER,
        false => 1,
    };
    // The discriminator's step stores real and generated images, the generator's both networks.
    let step = (2 * of_discriminator * second).max(of_generator + of_discriminator);
    let batch = config.batch as u64;
    Ok((FIXED + weights * 4 * COPIES).saturating_add(batch.saturating_mul(step * BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};

    #[test]
    fn fault_16_the_estimate_grows_with_batch_and_size_and_covers_all_families() {
        let of = |change: &dyn Fn(&mut TrainConfig)| {
            let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 300, 1));
            change(&mut config);
            training_memory(&config).unwrap()
        };
        let small = of(&|_| ());
        assert!(small > FIXED && small < 2 << 30, "{small}");
        assert!(of(&|config| config.batch = 256) > small);
        let penalties: [fn(&mut TrainConfig); 3] = [
            |config| config.regularize.gradient_penalty = 10.0,
            |config| config.regularize.r1_gamma = 1.0,
            |config| config.regularize.r2_gamma = 1.0,
        ];
        let penalized = penalties.map(|change| of(&change));
        assert!(
            penalized.iter().all(|&bytes| bytes > small),
            "{small}: {penalized:?}"
        );
        // The parts of a batch compute at the same time, so they need as much as the whole.
        assert_eq!(of(&|config| config.micro_batches = 4), small);
        for name in ["residual", "mlp", "light", "dcgan64"] {
            let at = |side| {
                of(&|config: &mut TrainConfig| {
                    (config.network, config.image) = (name.into(), [side, side, 3]);
                    config.objective.packing = 2;
                })
            };
            let side = if name == "dcgan64" { 64 } else { 32 };
            assert!(at(side) > FIXED, "{name}");
        }
        let conditional = of(&|config| (config.classes, config.objective.packing) = (10, 2));
        assert!(conditional > FIXED);
        let clustered = of(&|config| (config.pseudo_labels.clusters, config.objective.packing) = (10, 2));
        assert_eq!(clustered, conditional);
        // 256 pixels and a batch of 4096 need far more than any usual machine has.
        let huge = of(&|config| {
            (config.network, config.image, config.batch) = ("light".into(), [256, 256, 3], 4096)
        });
        assert!(huge > 100 << 30, "{huge}");
    }
}
