//! The condition of a class-conditional network.

use engraft_tensor::{Real, Tensor};
use std::sync::Arc;

/// What the output of a class-conditional network is conditioned on. A clone copies no data.
///
/// ```
/// use engraft_layers::Condition;
/// let condition: Condition = Condition::from([2, 0, 1]);
/// assert_eq!(condition.len(), 3);
/// assert_eq!(condition.narrow(1, 2).labels(), Some([0, 1].as_slice()));
/// assert!(Condition::<f32>::None.is_empty());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Condition<T: Real = f32> {
    /// No condition: the network is unconditional.
    #[default]
    None,
    /// The class label of each example.
    Labels(Arc<[usize]>),
    /// The share of each class in each example, `[n, classes]`: labels as [`one_hot`](crate::one_hot) rows, or a mixture of
    /// classes. Unlike labels it is a tensor of the graph, so an operation that reads it is recorded.
    Classes(Tensor<T>),
    /// A vector per example, `[n, size]`. It replaces the vector that a layer would look up for a class.
    Embedding(Tensor<T>),
}

impl<T: Real> Condition<T> {
    /// Number of examples of the condition. 0 for [`Condition::None`], which fits any number.
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Labels(labels) => labels.len(),
            Self::Classes(rows) | Self::Embedding(rows) => rows.shape().first().copied().unwrap_or(0),
        }
    }

    /// Whether the condition has no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no condition.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The labels, or `None` for other conditions.
    pub fn labels(&self) -> Option<&[usize]> {
        match self {
            Self::Labels(labels) => Some(labels),
            _ => None,
        }
    }

    /// The condition of the examples `start .. start + len`. [`Condition::None`] stays `None`.
    ///
    /// # Panics
    /// If the condition has fewer examples.
    #[must_use]
    #[track_caller]
    pub fn narrow(&self, start: usize, len: usize) -> Self {
        match self {
            Self::None => Self::None,
            Self::Labels(labels) => {
                let part = labels.get(start..start.saturating_add(len));
                let Some(part) = part else {
                    panic!(
                        "condition: expected {len} labels from index {start} on, but there are {}",
                        labels.len()
                    )
                };
                Self::Labels(part.into())
            }
            Self::Classes(rows) => Self::Classes(rows.narrow(0, start, len)),
            Self::Embedding(vectors) => Self::Embedding(vectors.narrow(0, start, len)),
        }
    }
}

impl<T: Real> From<&[usize]> for Condition<T> {
    fn from(labels: &[usize]) -> Self {
        Self::Labels(labels.into())
    }
}

impl<T: Real> From<Vec<usize>> for Condition<T> {
    fn from(labels: Vec<usize>) -> Self {
        Self::Labels(labels.into())
    }
}

impl<T: Real, const N: usize> From<[usize; N]> for Condition<T> {
    fn from(labels: [usize; N]) -> Self {
        Self::Labels(labels.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_condition_is_that_of_its_examples() {
        let vectors = Tensor::<f64>::from_vec([3, 1], vec![1.0, 2.0, 3.0]);
        let Condition::Embedding(part) = Condition::Embedding(vectors).narrow(2, 1) else {
            panic!("vectors stay vectors")
        };
        assert_eq!(part.as_slice(), [3.0]);
        assert!(matches!(Condition::<f64>::None.narrow(7, 9), Condition::None));
    }

    #[test]
    #[should_panic(expected = "expected 2 labels from index 2 on, but there are 3")]
    fn labels_out_of_range_are_named() {
        let _ = Condition::<f32>::from(vec![0, 1, 2]).narrow(2, 2);
    }
}
