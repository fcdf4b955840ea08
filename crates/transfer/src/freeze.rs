//! Freezing: which parameters stay as they are while the others are trained.

use crate::error::TransferError;
use engraft_layers::{Module, Names, SlotMut, visit, visit_mut};
use engraft_tensor::Real;

/// What a call of [`freeze`] or [`unfreeze`] changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Parameters that the pattern holds.
    pub parameters: usize,
    /// Learned numbers in them.
    pub numbers: usize,
    /// Buffers, as running statistics, that the pattern holds.
    pub buffers: usize,
}

/// Freezes every parameter and buffer whose name the pattern holds, whatever it was before.
///
/// A frozen parameter keeps every byte, and no gradient is computed for it or for what lies only before it; a frozen
/// buffer keeps every byte too, and a batch norm with frozen statistics normalises with them in either mode.
///
/// ```
/// use engraft_gan::dcgan;
/// use engraft_layers::{Init, Names};
/// use engraft_transfer::freeze;
///
/// let mut d = dcgan::discriminator::<f32>(&mut Init::glorot(1));
/// let frozen = freeze(&mut d, &Names::under(["block1"]))?;
/// assert_eq!((frozen.parameters, frozen.numbers), (2, 1664));
///
/// let error = freeze(&mut d, &Names::under(["blok1"])).unwrap_err().to_string();
/// assert!(error.contains("did you mean \"block1\"?"));
/// # Ok::<(), engraft_transfer::TransferError>(())
/// ```
///
/// # Errors
/// [`TransferError::NoSuchName`] if a part of the pattern names nothing in the module; nothing is changed then.
pub fn freeze<T: Real>(module: &mut dyn Module<T>, names: &Names) -> Result<Selection, TransferError> {
    check(module, names)?;
    Ok(apply(module, |name| {
        names.matches(name).then_some(Change::Freeze)
    }))
}

/// Makes every parameter trainable and lets every buffer move whose name the pattern holds.
///
/// # Errors
/// As [`freeze`].
pub fn unfreeze<T: Real>(module: &mut dyn Module<T>, names: &Names) -> Result<Selection, TransferError> {
    check(module, names)?;
    Ok(apply(module, |name| {
        names.matches(name).then_some(Change::Unfreeze)
    }))
}

/// Makes what the pattern holds trainable and freezes all else; the selection is what trains.
///
/// # Errors
/// As [`freeze`].
pub fn train_only<T: Real>(module: &mut dyn Module<T>, names: &Names) -> Result<Selection, TransferError> {
    check(module, names)?;
    apply(module, |name| (!names.matches(name)).then_some(Change::Freeze));
    Ok(apply(module, |name| {
        names.matches(name).then_some(Change::Unfreeze)
    }))
}

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Freeze,
    Unfreeze,
}

fn apply<T: Real>(module: &mut dyn Module<T>, change: impl Fn(&str) -> Option<Change>) -> Selection {
    let mut selection = Selection::default();
    visit_mut(module, |path, slot| {
        let Some(change) = change(&path.to_string()) else {
            return;
        };
        match (slot, change) {
            (SlotMut::Parameter(parameter), change) => {
                selection.parameters += 1;
                selection.numbers += parameter.tensor().len();
                match change {
                    Change::Freeze => parameter.freeze(),
                    Change::Unfreeze => parameter.unfreeze(),
                }
            }
            (SlotMut::Buffer(buffer), change) => {
                selection.buffers += 1;
                match change {
                    Change::Freeze => buffer.freeze(),
                    Change::Unfreeze => buffer.unfreeze(),
                }
            }
            (SlotMut::Rng(_), _) => {}
        }
    });
    selection
}

/// Names of all parameters and buffers.
fn names_of<T: Real>(module: &dyn Module<T>) -> Vec<String> {
    let mut found = Vec::new();
    visit(module, |path, slot| {
        if !matches!(slot, engraft_layers::Slot::Rng(_)) {
            found.push(path.to_string());
        }
    });
    found
}

/// Fails if a part of the pattern names nothing.
pub(crate) fn check<T: Real>(module: &dyn Module<T>, names: &Names) -> Result<(), TransferError> {
    let all = names_of(module);
    let Some(&missed) = names.unmatched(&all).first() else {
        return Ok(());
    };
    // Every beginning and every ending of a name may be given.
    let mut given: Vec<String> = Vec::new();
    for name in &all {
        let parts: Vec<&str> = name.split('.').collect();
        given.extend((1..=parts.len()).map(|n| parts[..n].join(".")));
        given.extend((1..parts.len()).map(|n| parts[n..].join(".")));
    }
    let closest = given
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&name, missed), name))
        .min()
        .filter(|(distance, _)| *distance <= missed.len().div_ceil(3))
        .map(|(_, name)| name);
    Err(TransferError::NoSuchName {
        pattern: format!("{missed:?}, which stands in the pattern {names}"),
        closest,
        available: all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_gan::{Gan, dcgan};
    use engraft_layers::{Condition, Init, StateDict};
    use engraft_tensor::Tensor;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;
    use std::collections::BTreeMap;

    fn bytes(module: &dyn Module) -> BTreeMap<String, Vec<u32>> {
        let state = StateDict::of(module);
        let bits = |t: &Tensor| t.as_slice().iter().map(|x| x.to_bits()).collect();
        state
            .tensors()
            .iter()
            .map(|(name, t)| (name.clone(), bits(t)))
            .collect()
    }

    #[test]
    fn what_is_frozen_keeps_its_bytes_and_the_rest_moves() {
        let init = &mut Init::glorot(1);
        let mut gan = Gan::<f32>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT);
        let frozen_g = Names::under(["stem", "block1"]);
        let frozen_d = Names::under(["block1", "block2.norm"]);
        freeze(&mut gan.generator, &frozen_g).unwrap();
        freeze(&mut gan.discriminator, &frozen_d).unwrap();
        let before = [bytes(&gan.generator), bytes(&gan.discriminator)];
        let rng = &mut Pcg64::seed_from_u64(2);
        let real = Tensor::uniform([4, 28, 28, 1], -1.0, 1.0, rng);
        for _ in 0..10 {
            gan.step(&real, Condition::None, rng);
        }
        let after = [bytes(&gan.generator), bytes(&gan.discriminator)];
        for (network, frozen) in [frozen_g, frozen_d].iter().enumerate() {
            for (name, old) in &before[network] {
                let same = *old == after[network][name];
                assert_eq!(same, frozen.matches(name), "{name} of network {network}");
            }
        }
    }

    #[test]
    fn only_the_selection_trains() {
        let mut d = dcgan::discriminator::<f32>(&mut Init::glorot(1));
        let head = train_only(&mut d, &Names::under(["head"])).unwrap();
        assert_eq!((head.parameters, head.numbers, head.buffers), (2, 6273, 0));
        let all = unfreeze(&mut d, &Names::all()).unwrap();
        assert_eq!(all.numbers, 213_121);
        let nothing_changed = train_only(&mut d, &Names::ending(["wieght"])).unwrap_err();
        let text = nothing_changed.to_string();
        assert!(
            text.contains("did you mean \"weight\"?") && text.contains("head.bias"),
            "{text}"
        );
        let far = freeze(&mut d, &Names::under(["zzzzzz"])).unwrap_err().to_string();
        assert!(!far.contains("did you mean"), "{far}");
    }
}
