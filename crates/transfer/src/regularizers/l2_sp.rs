//! L2-SP: an L2 penalty towards the source's weights.

use engraft_gan::LossTerm;
use engraft_layers::{Condition, Module, Sequential, StateDict, parameters};
use engraft_tensor::{Real, Tensor};
use std::collections::BTreeMap;

/// L2-SP `weight · Σ ‖θ - θ_S‖²` over the generator's trainable parameters `θ`, with their values `θ_S` in the source.
///
/// It is the sum over all values, so that a value counts the same in small and large layers.
///
/// *Source*: Li, Grandvalet and Davoine, "Explicit inductive bias for transfer learning with convolutional networks",
/// 2018, equation 2 (their α is twice this weight).
#[derive(Clone, Debug)]
pub struct L2Sp<T: Real = f32> {
    start: BTreeMap<String, Tensor<T>>,
    weight: f64,
}

impl<T: Real> L2Sp<T> {
    /// Penalizes the distance from the parameters of `source`. The trained network must have the same parameter names.
    pub fn new(source: &dyn Module<T>, weight: f64) -> Self {
        Self {
            start: StateDict::of(source).into_tensors(),
            weight,
        }
    }

    /// The penalty for a network; `None` if none of its parameters train.
    pub(super) fn loss(
        &self,
        network: &Sequential<T>,
        importance: impl Fn(&str) -> Option<Tensor<T>>,
    ) -> Option<Tensor<T>> {
        let distances = parameters(network)
            .into_iter()
            .filter(|(_, parameter)| parameter.is_trainable())
            .filter_map(|(name, parameter)| {
                // Parameters that the source does not have, such as an adapter, have no penalty.
                let squares = (parameter.tensor() - self.start.get(&name)?).square();
                Some(match importance(&name) {
                    Some(importance) => (squares * importance).sum(),
                    None => squares.sum(),
                })
            });
        let sum = distances.reduce(|a, b| a + b)?;
        Some(sum * T::from_f64(self.weight))
    }
}

impl<T: Real> LossTerm<T> for L2Sp<T> {
    fn for_generator(
        &self,
        generator: &Sequential<T>,
        _: &Tensor<T>,
        _: &Condition<T>,
        _: &Tensor<T>,
    ) -> Option<Tensor<T>> {
        self.loss(generator, |_| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freeze;
    use engraft_layers::{Dense, Init, ParamFilter, SlotMut, gradients, visit_mut};

    #[test]
    fn l2_sp_by_hand() {
        let init = &mut Init::glorot(1);
        let mut net = Sequential::<f64>::new()
            .add("a", Dense::new(1, 2, init).no_bias())
            .add("b", Dense::new(2, 1, init));
        let term = L2Sp::new(&net, 0.5);
        let none = Tensor::zeros([1, 1]);
        assert_eq!(
            term.for_generator(&net, &none, &Condition::None, &none)
                .unwrap()
                .item(),
            0.0
        );
        visit_mut(&mut net, |_, slot| {
            if let SlotMut::Parameter(p) = slot {
                p.set(&(p.tensor() + 3.0));
            }
        });
        // Five values at a distance of 3 each, times one half.
        let loss = term.for_generator(&net, &none, &Condition::None, &none).unwrap();
        assert!((loss.item() - 0.5 * 5.0 * 9.0).abs() < 1e-12);
        let found = gradients(&loss, &net);
        assert!(
            (found["a.weight"].as_slice()[0] - 3.0).abs() < 1e-12,
            "2 · 0.5 · 3"
        );
        freeze(&mut net, &ParamFilter::under(["b"])).unwrap();
        let loss = term.for_generator(&net, &none, &Condition::None, &none).unwrap();
        assert!(
            (loss.item() - 0.5 * 2.0 * 9.0).abs() < 1e-12,
            "frozen parameters have no penalty"
        );
        freeze(&mut net, &ParamFilter::all()).unwrap();
        assert!(term.for_generator(&net, &none, &Condition::None, &none).is_none());
    }
}
