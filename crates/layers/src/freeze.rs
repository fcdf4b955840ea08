//! Freezing parameters and running statistics by name.

use crate::error::LayersError;
use crate::module::Module;
use crate::param_filter::ParamFilter;
use crate::parameter::{Slot, SlotMut};
use crate::visit::{visit, visit_mut};
use engraft_tensor::Real;

/// Counts of the parameters and buffers that [`freeze`], [`unfreeze`] or [`train_only`] selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Selected parameters.
    pub parameters: usize,
    /// Scalar values in these parameters.
    pub numbers: usize,
    /// Selected buffers, for example running statistics.
    pub buffers: usize,
}

/// Freezes every parameter and buffer whose name matches the filter. All others keep their status.
///
/// A frozen parameter does not change, and no gradient is computed for it or for layers that only feed into it. A
/// frozen buffer does not change either. A batch norm with frozen statistics uses them in both modes.
///
/// ```
/// use engraft_layers::{BatchNorm, Dense, Init, ParamFilter, Sequential, freeze};
///
/// let mut net = Sequential::<f32>::new()
///     .add("block1", Sequential::new().add("dense", Dense::new(3, 2, &mut Init::glorot(1))).add("norm", BatchNorm::new(2)))
///     .add("head", Dense::new(2, 1, &mut Init::glorot(2)));
/// let frozen = freeze(&mut net, &ParamFilter::under(["block1"]))?;
/// assert_eq!((frozen.parameters, frozen.numbers, frozen.buffers), (4, 12, 2));
///
/// let error = freeze(&mut net, &ParamFilter::under(["blok1"])).unwrap_err().to_string();
/// assert!(error.contains("did you mean \"block1\"?"));
/// # Ok::<(), engraft_layers::LayersError>(())
/// ```
///
/// # Errors
/// [`LayersError::NoSuchName`] if a part of the filter matches nothing in the module. Then nothing is changed.
pub fn freeze<T: Real>(module: &mut dyn Module<T>, names: &ParamFilter) -> Result<Selection, LayersError> {
    check_names(module, names)?;
    Ok(set(module, true, |name| names.matches(name)))
}

/// Unfreezes every parameter and buffer whose name matches the filter.
///
/// # Errors
/// See [`freeze`].
pub fn unfreeze<T: Real>(module: &mut dyn Module<T>, names: &ParamFilter) -> Result<Selection, LayersError> {
    check_names(module, names)?;
    Ok(set(module, false, |name| names.matches(name)))
}

/// Unfreezes everything that matches the filter and freezes the rest. Returns the counts of the trainable part.
///
/// # Errors
/// See [`freeze`].
pub fn train_only<T: Real>(
    module: &mut dyn Module<T>,
    names: &ParamFilter,
) -> Result<Selection, LayersError> {
    check_names(module, names)?;
    set(module, true, |name| !names.matches(name));
    Ok(set(module, false, |name| names.matches(name)))
}

/// Checks that every part of the filter matches a parameter or buffer of the module.
///
/// # Errors
/// [`LayersError::NoSuchName`] with every part that matches nothing.
pub fn check_names<T: Real>(module: &dyn Module<T>, names: &ParamFilter) -> Result<(), LayersError> {
    let mut all = Vec::new();
    visit(module, |name, slot| {
        if !matches!(slot, Slot::Rng(_)) {
            all.push(name.to_string());
        }
    });
    let unmatched: Vec<String> = names.unmatched(&all).into_iter().map(Into::into).collect();
    if unmatched.is_empty() {
        Ok(())
    } else {
        Err(LayersError::NoSuchName {
            unmatched,
            names: all,
        })
    }
}

/// Freezes or unfreezes everything that a function selects by name.
fn set<T: Real>(module: &mut dyn Module<T>, frozen: bool, selected: impl Fn(&str) -> bool) -> Selection {
    let mut selection = Selection::default();
    visit_mut(module, |name, slot| match slot {
        _ if !selected(name) => {}
        SlotMut::Parameter(parameter) => {
            selection.parameters += 1;
            selection.numbers += parameter.tensor().len();
            if frozen {
                parameter.freeze();
            } else {
                parameter.unfreeze();
            }
        }
        SlotMut::Buffer(buffer) => {
            selection.buffers += 1;
            if frozen {
                buffer.freeze();
            } else {
                buffer.unfreeze();
            }
        }
        SlotMut::Rng(_) => {}
    });
    selection
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchNorm, Dense, Init, Mode, Optimizer, Sequential, Sgd, StateDict, gradients};
    use engraft_tensor::Tensor;

    fn network() -> Sequential {
        let init = &mut Init::glorot(1);
        let block = Sequential::new()
            .add("dense", Dense::new(3, 2, init))
            .add("norm", BatchNorm::new(2));
        Sequential::new()
            .add("block1", block)
            .add("norm", BatchNorm::new(2))
            .add("head", Dense::new(2, 1, init))
    }

    #[test]
    fn what_is_frozen_keeps_its_bytes_and_the_rest_moves() {
        let mut net = network();
        let frozen = ParamFilter::under(["block1"]);
        freeze(&mut net, &frozen).unwrap();
        let before = StateDict::of(&net).into_tensors();
        let x = Tensor::from_vec([3, 3], vec![1.0, -2.0, 0.5, 3.0, 0.25, -1.0, 0.0, 1.0, 2.0]);
        let found = gradients(&net.forward(&x, Mode::Train).square().sum(), &net);
        Sgd::new(0.1).step(&mut net, &found);
        for (name, new) in StateDict::of(&net).tensors() {
            let same = before[name].as_slice() == new.as_slice();
            assert_eq!(same, frozen.matches(name), "{name}");
        }
    }

    #[test]
    fn only_the_selection_trains() {
        let mut net = network();
        let head = train_only(&mut net, &ParamFilter::under(["head"])).unwrap();
        assert_eq!((head.parameters, head.numbers, head.buffers), (2, 3, 0));
        let all = unfreeze(&mut net, &ParamFilter::all()).unwrap();
        assert_eq!((all.parameters, all.numbers, all.buffers), (8, 19, 4));
        let error = train_only(&mut net, &ParamFilter::ending(["wieght"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("did you mean \"weight\"?") && text.contains("head.bias"),
            "{text}"
        );
        let far = freeze(&mut net, &ParamFilter::under(["zzzzzz"]))
            .unwrap_err()
            .to_string();
        assert!(!far.contains("did you mean"), "{far}");
    }
}
