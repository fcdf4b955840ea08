//! Points in a feature space, the input of all measures.

use crate::error::MetricsError;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};

/// `n` points with `d` coordinates, one point per image. Finite and in `f64`.
#[derive(Clone, Debug, PartialEq)]
pub struct Features(Array2<f64>);

impl Features {
    /// Points from an array `[n, d]`.
    ///
    /// # Errors
    /// If a number is not finite (the error gives its position), or there are no columns.
    pub fn new(points: Array2<f64>) -> Result<Self, MetricsError> {
        if points.ncols() == 0 {
            return Err(MetricsError::NoColumns);
        }
        if let Some(((row, column), &value)) = points.indexed_iter().find(|(_, x)| !x.is_finite()) {
            return Err(MetricsError::NotFinite { row, column, value });
        }
        Ok(Self(points))
    }

    /// Concatenates several sets.
    ///
    /// # Errors
    /// If there is no set, or the dimensions differ.
    pub fn stack(sets: impl IntoIterator<Item = Self>) -> Result<Self, MetricsError> {
        let sets: Vec<Self> = sets.into_iter().collect();
        let first = sets.first().ok_or(MetricsError::NoColumns)?.dimension();
        if let Some(other) = sets.iter().find(|set| set.dimension() != first) {
            return Err(MetricsError::Dimensions {
                real: first,
                fake: other.dimension(),
            });
        }
        let views: Vec<_> = sets.iter().map(Self::view).collect();
        Ok(Self(
            concatenate(Axis(0), &views).expect("all sets have the same dimension"),
        ))
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.0.nrows()
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of coordinates of a point.
    pub fn dimension(&self) -> usize {
        self.0.ncols()
    }

    /// The points, `[n, d]`.
    pub fn view(&self) -> ArrayView2<'_, f64> {
        self.0.view()
    }

    /// The points at `indices`, in that order.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    #[must_use]
    #[track_caller]
    pub fn select(&self, indices: &[usize]) -> Self {
        Self(self.0.select(Axis(0), indices))
    }

    /// Variance: the mean squared distance to the mean point. 0 if there are no points.
    pub fn variance(&self) -> f64 {
        self.0.var_axis(Axis(0), 0.0).sum()
    }

    /// The first `n` points, or all if there are fewer.
    #[must_use]
    pub fn first(&self, n: usize) -> Self {
        Self(self.0.slice(ndarray::s![..n.min(self.len()), ..]).to_owned())
    }

    /// The mean point.
    pub(crate) fn mean(&self) -> Array1<f64> {
        self.0
            .mean_axis(Axis(0))
            .unwrap_or_else(|| Array1::zeros(self.dimension()))
    }
}

/// Checks that two sets can be compared: equal dimensions, and at least `least` points each.
pub(crate) fn comparable(real: &Features, fake: &Features, least: usize) -> Result<(), MetricsError> {
    if real.dimension() != fake.dimension() {
        return Err(MetricsError::Dimensions {
            real: real.dimension(),
            fake: fake.dimension(),
        });
    }
    enough(real, "real", least)?;
    enough(fake, "generated", least)
}

/// Checks that a set has at least `least` points.
pub(crate) fn enough(points: &Features, what: &'static str, least: usize) -> Result<(), MetricsError> {
    if points.len() < least {
        return Err(MetricsError::TooFew {
            what,
            least,
            found: points.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn numbers_that_are_not_finite_are_named() {
        let error = Features::new(array![[1.0, 2.0], [3.0, f64::NAN]]).unwrap_err();
        assert!(
            matches!(error, MetricsError::NotFinite { row: 1, column: 1, value } if value.is_nan()),
            "{error}"
        );
        assert!(Features::new(Array2::zeros((3, 0))).is_err());
    }

    #[test]
    fn sets_that_cannot_be_compared() {
        let a = Features::new(Array2::zeros((4, 2))).unwrap();
        let b = Features::new(Array2::zeros((3, 2))).unwrap();
        let c = Features::new(Array2::zeros((4, 3))).unwrap();
        assert!(comparable(&a, &b, 3).is_ok());
        let error = comparable(&a, &b, 4).unwrap_err();
        assert!(
            matches!(
                error,
                MetricsError::TooFew {
                    what: "generated",
                    least: 4,
                    found: 3
                }
            ),
            "{error}"
        );
        assert!(comparable(&a, &c, 1).is_err());
    }
}
