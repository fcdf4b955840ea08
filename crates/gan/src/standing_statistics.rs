//! Standing statistics: batch norm statistics recomputed for the current weights.

use engraft_layers::{Condition, Mode, Module, SlotMut, rng_states, set_rng_states, visit_mut};
use engraft_tensor::{Real, Tensor, no_grad};

/// Replaces every running statistic of `generator` by its mean over the given batches of latent vectors.
///
/// - `condition`: the labels of each batch, or [`Condition::None`].
/// - `batches`: latent vectors `[n, latent]`; `n` equals the number of labels.
///
/// An EMA generator copies the batch norm statistics of the live generator, which belong to other weights. This
/// function recomputes them from forward passes in training mode.
///
/// Weights, frozen statistics, other buffers and random streams do not change. The same batches give the same
/// statistics again.
///
/// *Source*: Brock, Donahue and Simonyan, "Large scale GAN training for high fidelity natural image synthesis", 2019,
/// section 3.2 and its appendix on standing statistics.
///
/// # Panics
/// If there is no batch, or the generator does not accept the batches.
#[track_caller]
pub fn standing_statistics<T: Real>(
    generator: &mut dyn Module<T>,
    condition: &Condition<T>,
    batches: impl IntoIterator<Item = Tensor<T>>,
) {
    standing_statistics_of(generator, batches.into_iter().map(|z| (z, condition.clone())));
}

/// [`standing_statistics`] of batches with their own conditions.
#[track_caller]
pub(crate) fn standing_statistics_of<T: Real>(
    generator: &mut dyn Module<T>,
    batches: impl IntoIterator<Item = (Tensor<T>, Condition<T>)>,
) {
    let mut batches = batches.into_iter().peekable();
    assert!(
        batches.peek().is_some(),
        "standing_statistics: needs at least one batch"
    );
    let streams = rng_states(generator);
    let statistics = |name: &str| name.ends_with("running_mean") || name.ends_with("running_var");
    // A pass in training mode also updates the singular vectors of spectral normalization. They belong to the
    // weights, so they are frozen here.
    let mut held = Vec::new();
    visit_mut(generator, |path, slot| match slot {
        SlotMut::Buffer(b) if b.is_frozen() => (),
        SlotMut::Buffer(b) if statistics(path) => b.begin_mean(),
        SlotMut::Buffer(b) => {
            b.freeze();
            held.push(path.to_string());
        }
        _ => (),
    });
    no_grad(|| {
        for (z, condition) in batches {
            generator.forward_with(&z, &condition, Mode::Train);
        }
    });
    visit_mut(generator, |path, slot| {
        if let SlotMut::Buffer(buffer) = slot {
            buffer.end_mean();
            if held.contains(&path.to_string()) {
                buffer.unfreeze();
            }
        }
    });
    set_rng_states(generator, &streams).expect("the module's own streams");
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{
        BatchNorm, Dense, Dropout, Init, Sequential, Slot, StateDict, spectral_normalize, visit,
    };
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn net() -> Sequential<f64> {
        let init = &mut Init::normal(1, 0.8);
        Sequential::new()
            .add("dense", Dense::new(3, 4, init))
            .add("norm", BatchNorm::new(4))
            .add("drop", Dropout::new(0.2, init))
            .add("head", Dense::new(4, 2, init))
            .add("last", BatchNorm::new(2))
    }

    #[test]
    fn statistics_are_the_means_of_the_batches_whatever_they_were() {
        let rng = &mut Pcg64::seed_from_u64(2);
        let batches: Vec<Tensor<f64>> = (0..4).map(|_| Tensor::randn([16, 3], rng)).collect();
        let mut net = net();
        let weights = StateDict::of(&net).into_tensors();
        let streams = rng_states(&net);
        standing_statistics(&mut net, &Condition::None, batches.clone());
        let first = StateDict::of(&net).into_tensors();
        let dense = Sequential::<f64>::new().add("dense", Dense::new(3, 4, &mut Init::normal(1, 0.8)));
        let hidden = dense.forward(
            &engraft_tensor::concat(&batches.iter().collect::<Vec<_>>(), 0),
            Mode::Eval,
        );
        let expected = hidden.mean_axes(&[0]);
        for (a, b) in first["norm.running_mean"]
            .as_slice()
            .iter()
            .zip(expected.as_slice())
        {
            assert!((a - b).abs() < 1e-12, "{a} and {b}");
        }
        for (name, tensor) in &weights {
            let same = first[name].as_slice() == tensor.as_slice();
            assert_eq!(same, !name.contains("running"), "{name}");
        }
        assert!(rng_states(&net) == streams);
        // Starting from other statistics gives the same ones, bit for bit.
        net.forward(&Tensor::full([4, 3], 9.0), Mode::Train);
        set_rng_states(&mut net, &streams).unwrap();
        standing_statistics(&mut net, &Condition::None, batches);
        for (name, tensor) in &first {
            assert_eq!(
                StateDict::of(&net).tensors()[name].as_slice(),
                tensor.as_slice(),
                "{name}"
            );
        }
    }

    /// A run killed after its checkpoint computes the statistics once more.
    #[test]
    fn repeated_statistics_are_equal_with_spectral_normalization() {
        let rng = &mut Pcg64::seed_from_u64(2);
        let batches: Vec<Tensor<f64>> = (0..3).map(|_| Tensor::randn([16, 3], rng)).collect();
        let mut net = net();
        assert_eq!(spectral_normalize(&mut net), 2);
        let vectors = |net: &Sequential<f64>| {
            let mut found = Vec::new();
            visit(net, |path, slot| match slot {
                Slot::Buffer(b) if !path.contains("running") => {
                    assert!(!b.is_frozen(), "{path}");
                    found.extend_from_slice(b.tensor().as_slice());
                }
                _ => (),
            });
            found
        };
        let before = vectors(&net);
        standing_statistics(&mut net, &Condition::None, batches.clone());
        assert_eq!(vectors(&net), before);
        let first = StateDict::of(&net).into_tensors();
        standing_statistics(&mut net, &Condition::None, batches);
        for (name, tensor) in StateDict::of(&net).into_tensors() {
            assert_eq!(tensor.as_slice(), first[&name].as_slice(), "{name}");
        }
    }
}
