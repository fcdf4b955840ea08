//! Embeddings of class labels.

use crate::condition::Condition;
use crate::init::Init;
use crate::mode::Mode;
use crate::module::Module;
use crate::parameter::Parameter;
use crate::slots;
use engraft_tensor::{Real, Tensor};

/// One-hot rows: 1 at the label and 0 elsewhere.
///
/// *Shapes*: `[n] -> [n, classes]`.
///
/// ```
/// use engraft_layers::one_hot;
/// assert_eq!(one_hot::<f32>(&[2, 0], 3).as_slice(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
/// ```
///
/// # Panics
/// If a label is not below `classes`.
#[must_use]
#[track_caller]
pub fn one_hot<T: Real>(labels: &[usize], classes: usize) -> Tensor<T> {
    let mut rows = vec![T::zero(); labels.len() * classes];
    for (i, &label) in labels.iter().enumerate() {
        assert!(
            label < classes,
            "one_hot: label {label} at index {i} of {} is not below the number of classes, {classes}",
            labels.len()
        );
        rows[i * classes + label] = T::one();
    }
    Tensor::from_vec([labels.len(), classes], rows)
}

/// The matrix that selects rows of a weight `[inputs, ..]`: labels as [`one_hot`] rows, or the vectors of a condition,
/// `[n, inputs]`.
#[track_caller]
pub(super) fn rows<T: Real>(layer: &str, condition: &Condition<T>, inputs: usize) -> Tensor<T> {
    match condition {
        Condition::Labels(labels) => one_hot(labels, inputs),
        Condition::Classes(vectors) | Condition::Embedding(vectors) => {
            check_vectors(layer, vectors, inputs);
            vectors.clone()
        }
        Condition::None => missing(layer, inputs),
    }
}

#[track_caller]
fn check_vectors<T: Real>(layer: &str, vectors: &Tensor<T>, size: usize) {
    assert!(
        vectors.rank() == 2 && vectors.shape()[1] == size,
        "{layer}: the vectors of a condition must be [n, {size}], got {:?}",
        vectors.shape()
    );
}

#[track_caller]
fn missing(layer: &str, classes: usize) -> ! {
    panic!("{layer}: expected a condition ({classes} classes), got none; run the network with forward_with")
}

/// A learned vector per class.
///
/// As a [`Module`] it reads [`one_hot`] rows: `y = x · weight`. So it also embeds mixtures of classes.
/// [`Embedding::of`] reads labels.
///
/// *Shapes*: `[n, classes] -> [n, size]`; `weight [classes, size]`.
#[derive(Clone, Debug)]
pub struct Embedding<T: Real = f32> {
    weight: Parameter<T>,
}

impl<T: Real> Embedding<T> {
    /// Initializes the vectors with independent standard normal numbers, like latent vectors.
    pub fn new(classes: usize, size: usize, init: &mut Init) -> Self {
        Self::with_weight(Tensor::randn([classes, size], &mut init.generator()))
    }

    /// An embedding with the given initial vectors, `[classes, size]`.
    ///
    /// # Panics
    /// If the weight is not a matrix.
    #[track_caller]
    pub fn with_weight(weight: Tensor<T>) -> Self {
        assert!(
            weight.rank() == 2,
            "Embedding: the weight must be [classes, size], got {:?}",
            weight.shape()
        );
        Self {
            weight: Parameter::new(weight),
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.weight.tensor().shape()[0]
    }

    /// Length of the vectors.
    pub fn size(&self) -> usize {
        self.weight.tensor().shape()[1]
    }

    /// The vectors of labels: `[n] -> [n, size]`.
    ///
    /// # Panics
    /// If a label is not below the number of classes.
    #[must_use]
    #[track_caller]
    pub fn of(&self, labels: &[usize]) -> Tensor<T> {
        one_hot(labels, self.classes()).matmul(self.weight.tensor())
    }

    /// The vectors of a condition: those of its labels or classes, or its own vectors, `[n, size]`.
    ///
    /// # Panics
    /// If there is no condition, a label is not below the number of classes, or the vectors have another length.
    #[must_use]
    #[track_caller]
    pub fn embed(&self, condition: &Condition<T>) -> Tensor<T> {
        match condition {
            Condition::Labels(labels) => self.of(labels),
            Condition::Classes(rows) => {
                check_vectors("Embedding", rows, self.classes());
                rows.matmul(self.weight.tensor())
            }
            Condition::Embedding(vectors) => {
                check_vectors("Embedding", vectors, self.size());
                vectors.clone()
            }
            Condition::None => missing("Embedding", self.classes()),
        }
    }
}

impl<T: Real> Module<T> for Embedding<T> {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        x.matmul(self.weight.tensor())
    }

    slots!(T; Parameter weight);

    fn describe(&self) -> String {
        format!("Embedding {} -> {}", self.classes(), self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::grad;

    #[test]
    fn rows_are_looked_up_and_only_they_learn() {
        let weight = Tensor::from_vec([3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let embedding = Embedding::<f64>::with_weight(weight);
        let y = embedding.of(&[2, 0, 2]);
        assert_eq!(y.as_slice(), [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
        let [dw] = grad(&y.sum(), [embedding.weight.tensor()]);
        assert_eq!(dw.as_slice(), [1.0, 1.0, 0.0, 0.0, 2.0, 2.0]);
        let half = embedding.forward(&Tensor::full([1, 3], 0.5), Mode::Eval);
        assert_eq!(half.as_slice(), [4.5, 6.0]);
        let rows = Condition::Classes(one_hot(&[2, 0, 2], 3));
        assert_eq!(embedding.embed(&rows).as_slice(), y.as_slice());
    }

    #[test]
    #[should_panic(expected = "label 3 at index 1 of 2")]
    fn an_unknown_label_is_named() {
        let _ = Embedding::<f32>::new(3, 2, &mut Init::glorot(1)).of(&[0, 3]);
    }
}
