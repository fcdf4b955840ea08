//! L2-SP: weights are drawn back to where they began.

use engraft_gan::LossTerm;
use engraft_layers::{Condition, Module, Sequential, StateDict, parameters};
use engraft_tensor::{Real, Tensor};
use std::collections::BTreeMap;

/// `weight · Σ ‖θ - θ_S‖²` over the generator's trainable parameters `θ` with their values `θ_S` in the source: the sum
/// over all numbers, so that a weight counts the same in a small and in a large layer.
///
/// *Source*: Li, Grandvalet and Davoine, "Explicit inductive bias for transfer learning with convolutional networks",
/// 2018, equation 2 (their α is twice this weight).
#[derive(Clone, Debug)]
pub struct L2Sp<T: Real = f32> {
    start: BTreeMap<String, Tensor<T>>,
    weight: f64,
}

impl<T: Real> L2Sp<T> {
    /// Draws a network of the same names back to this one.
    pub fn new(source: &dyn Module<T>, weight: f64) -> Self {
        Self {
            start: StateDict::of(source).into_tensors(),
            weight,
        }
    }

    /// The term for a network; `None` if nothing of it trains.
    pub(super) fn of(
        &self,
        network: &Sequential<T>,
        importance: impl Fn(&str) -> Option<Tensor<T>>,
    ) -> Option<Tensor<T>> {
        let distances = parameters(network)
            .into_iter()
            .filter(|(_, parameter)| parameter.is_trainable())
            .filter_map(|(name, parameter)| {
                // What the source does not have, such as an adapter, begins at nothing to go back to.
                let apart = (parameter.tensor() - self.start.get(&name)?).square();
                Some(match importance(&name) {
                    Some(importance) => (apart * importance).sum(),
                    None => apart.sum(),
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
        self.of(generator, |_| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freeze;
    use engraft_layers::{Dense, Init, ParamFilter, SlotMut, gradients, visit_mut};

    #[test]
    fn by_hand() {
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
        // Five numbers, each 3 away, times one half.
        let loss = term.for_generator(&net, &none, &Condition::None, &none).unwrap();
        assert!((loss.item() - 0.5 * 5.0 * 9.0).abs() < 1e-12);
        let slopes = gradients(&loss, &net);
        assert!(
            (slopes["a.weight"].as_slice()[0] - 3.0).abs() < 1e-12,
            "2 · 0.5 · 3"
        );
        freeze(&mut net, &ParamFilter::under(["b"])).unwrap();
        let loss = term.for_generator(&net, &none, &Condition::None, &none).unwrap();
        assert!(
            (loss.item() - 0.5 * 2.0 * 9.0).abs() < 1e-12,
            "what is frozen does not count"
        );
        freeze(&mut net, &ParamFilter::all()).unwrap();
        assert!(term.for_generator(&net, &none, &Condition::None, &none).is_none());
    }
}
