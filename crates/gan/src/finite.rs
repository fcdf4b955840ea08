//! Finds the first value of the networks that is not finite.

use crate::gan::Gan;
use crate::packing::pack;
use engraft_layers::{Mode, Module, Slot, first_part_not_finite, visit};
use engraft_tensor::{Real, Tensor, no_grad};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use rayon::prelude::*;

/// Values that one parallel task checks.
const CHUNK: usize = 1 << 16;

/// The first weight or running statistic of `module` that is not finite, as `name is value at index i`; `None` if
/// all are finite.
///
/// One pass over the values, which takes well below 1 % of a training step.
pub(crate) fn first_not_finite<T: Real>(module: &dyn Module<T>) -> Option<String> {
    let mut first = None;
    visit(module, |path, slot| {
        if first.is_some() {
            return;
        }
        let found = match slot {
            Slot::Parameter(parameter) => not_finite(parameter.tensor()),
            Slot::Buffer(buffer) => not_finite(&buffer.tensor()),
            Slot::Rng(_) => None,
        };
        first = found.map(|(index, value)| format!("{path} is {value} at index {index}"));
    });
    first
}

/// The first part of the networks whose result is not finite, in words; `None` if all are finite.
///
/// The generator gets latent vectors of its own, the discriminator the generated and the real images, both without
/// augmentation. The running statistics change as in training, so this is for a GAN that has diverged.
pub(crate) fn first_result_not_finite(gan: &Gan, real: &Tensor) -> Option<String> {
    let n = real.shape()[0];
    let named = |network: &str, part: &str, input: &str| {
        format!("the first result that is not finite is that of {part} of the {network}, {input}")
    };
    no_grad(|| {
        let (z, labels) = (gan.noise(n, &mut Pcg64::seed_from_u64(1)), gan.cyclic_labels(n));
        let found = first_part_not_finite(&gan.generator, &z, &labels, Mode::Train);
        if let Some(part) = found {
            return Some(named("generator", &part, "on random latent vectors"));
        }
        let generated = gan.generator.forward_with(&z, &labels, Mode::Train);
        let packed = gan.packing();
        [(real, "on real images"), (&generated, "on generated images")]
            .into_iter()
            .find_map(|(images, input)| {
                let packs = pack(images, packed);
                let labels = gan.cyclic_labels(n / packed);
                first_part_not_finite(&gan.discriminator, &packs, &labels, Mode::Train)
                    .map(|part| named("discriminator", &part, input))
            })
    })
}

fn not_finite<T: Real>(tensor: &Tensor<T>) -> Option<(usize, T)> {
    let values = tensor.as_slice();
    // No branch in the inner loop, so that the compiler vectorizes it.
    let all = |piece: &[T]| piece.iter().fold(true, |all, x| all & x.is_finite());
    let all_finite = if values.len() <= CHUNK {
        all(values)
    } else {
        values.par_chunks(CHUNK).all(all)
    };
    if all_finite {
        return None;
    }
    values.iter().copied().enumerate().find(|(_, x)| !x.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectiveConfig;
    use engraft_layers::{BatchNorm, Dense, Flatten, Init, Reshape, Sequential, SlotMut, visit_mut};

    /// Two layers with finite weights: the first layer overflows, which is named although the second is not finite either.
    #[test]
    fn the_first_layer_that_overflows_is_named() {
        let init = &mut Init::glorot(1);
        let generator = Sequential::new()
            .add("dense", Dense::new(2, 4, init))
            .add("grid", Reshape::new([2, 2, 1]));
        let discriminator = Sequential::new()
            .add("flat", Flatten)
            .add("hidden", Dense::new(8, 3, init))
            .add("head", Dense::new(3, 1, init));
        let mut gan = Gan::new(generator, discriminator, 2).objective(ObjectiveConfig {
            packing: 2,
            ..ObjectiveConfig::default()
        });
        let real = Tensor::ones([6, 2, 2, 1]);
        assert_eq!(first_result_not_finite(&gan, &real), None);
        let enlarge = |network: &mut Sequential, layer: &str| {
            visit_mut(network, |path, slot| {
                if let SlotMut::Parameter(p) = slot
                    && path == layer
                {
                    p.update(|values| values.fill(f32::MAX));
                }
            });
        };
        enlarge(&mut gan.discriminator, "hidden.weight");
        let found = first_result_not_finite(&gan, &real).unwrap();
        assert!(
            found.contains("that of hidden of the discriminator, on real images"),
            "{found}"
        );
        enlarge(&mut gan.generator, "dense.weight");
        let found = first_result_not_finite(&gan, &real).unwrap();
        assert!(found.contains("that of dense of the generator"), "{found}");
    }

    #[test]
    fn one_bad_value_is_found_anywhere_and_named() {
        let net = || {
            Sequential::<f32>::new()
                .add("dense", Dense::new(300, 300, &mut Init::glorot(1)))
                .add("norm", BatchNorm::new(300))
        };
        assert_eq!(first_not_finite(&net()), None);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut module = net();
            visit_mut(&mut module, |path, slot| {
                if let SlotMut::Parameter(p) = slot
                    && path == "dense.weight"
                {
                    p.update(|values| values[89_999] = bad);
                }
            });
            assert_eq!(
                first_not_finite(&module).unwrap(),
                format!("dense.weight is {bad} at index 89999")
            );
            let module = net();
            visit(&module, |path, slot| {
                if let Slot::Buffer(b) = slot
                    && path == "norm.running_var"
                {
                    b.set(&Tensor::full([300], bad));
                }
            });
            assert_eq!(
                first_not_finite(&module).unwrap(),
                format!("norm.running_var is {bad} at index 0")
            );
        }
    }
}
