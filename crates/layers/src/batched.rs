//! Evaluation of many examples in batches.

use crate::condition::Condition;
use crate::mode::Mode;
use crate::module::Module;
use engraft_base::batches;
use engraft_tensor::{Real, Tensor, concat, no_grad};

/// The outputs of a module in evaluation mode for all examples of `x`. Runs batches of at most `batch` examples, without
/// recording a graph.
///
/// A condition is split along with the examples.
///
/// ```
/// use engraft_layers::{Condition, Dense, Init, forward_batched};
/// use engraft_tensor::Tensor;
///
/// let layer = Dense::<f32>::new(3, 2, &mut Init::glorot(1));
/// let y = forward_batched(&layer, &Tensor::ones([1000, 3]), &Condition::None, 256);
/// assert_eq!(y.shape(), [1000, 2]);
/// ```
///
/// # Panics
/// If `batch` is 0, or `x` has no examples.
pub fn forward_batched<T: Real>(
    module: &dyn Module<T>,
    x: &Tensor<T>,
    condition: &Condition<T>,
    batch: usize,
) -> Tensor<T> {
    let parts: Vec<Tensor<T>> = batches(x.shape()[0], batch)
        .map(|part| {
            let condition = match condition {
                Condition::None => Condition::None,
                condition => condition.narrow(part.start, part.len()),
            };
            no_grad(|| module.forward_with(&x.narrow(0, part.start, part.len()), &condition, Mode::Eval))
        })
        .collect();
    assert!(
        !parts.is_empty(),
        "forward_batched: expected at least one example, got 0"
    );
    concat(&parts.iter().collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, Embedding, Init};

    #[test]
    fn batches_give_what_one_pass_gives_without_a_graph() {
        let layer = Dense::<f64>::new(2, 3, &mut Init::glorot(1));
        let x = Tensor::from_vec([7, 2], (0..14).map(f64::from).collect()).as_leaf();
        let whole = layer.forward(&x, Mode::Eval);
        for batch in [1, 3, 7, 100] {
            let y = forward_batched(&layer, &x, &Condition::None, batch);
            assert!(!y.requires_grad());
            // A matrix product of fewer rows may round differently.
            let differences = y
                .as_slice()
                .iter()
                .zip(whole.as_slice())
                .map(|(a, b)| (a - b).abs());
            assert!(y.shape() == [7, 3] && differences.fold(0.0, f64::max) < 1e-12);
        }
    }

    /// Adds the embedding of the class.
    struct Labeled(Embedding<f64>);

    impl Module<f64> for Labeled {
        fn forward(&self, x: &Tensor<f64>, _: Mode) -> Tensor<f64> {
            x.clone()
        }

        fn forward_with(&self, x: &Tensor<f64>, condition: &Condition<f64>, _: Mode) -> Tensor<f64> {
            x + self.0.of(condition.labels().expect("labels"))
        }

        fn describe(&self) -> String {
            "layer".into()
        }
    }

    #[test]
    fn a_condition_is_split_with_the_examples() {
        let layer = Labeled(Embedding::new(3, 2, &mut Init::glorot(1)));
        let (x, labels) = (Tensor::zeros([5, 2]), Condition::from([2, 0, 1, 1, 2]));
        let whole = layer.forward_with(&x, &labels, Mode::Eval);
        let cut = forward_batched(&layer, &x, &labels, 2);
        assert_eq!(cut.as_slice(), whole.as_slice());
    }
}
