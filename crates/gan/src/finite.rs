//! Finds weights and running statistics that are not finite.

use engraft_layers::{Module, Slot, visit};
use engraft_tensor::{Real, Tensor};
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
    use engraft_layers::{BatchNorm, Dense, Init, Sequential, SlotMut, visit_mut};

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
