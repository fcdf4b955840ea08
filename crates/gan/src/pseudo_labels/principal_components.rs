//! Principal component analysis (PCA): the directions of largest variance.

use engraft_tensor::{Tensor, symmetric_eigen};
use rayon::prelude::*;

/// Rows of one part of the covariance sum. The parts are summed in order, so the result does not depend on threads.
const PART: usize = 1024;

/// A projection on principal components.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PrincipalComponents {
    /// Mean of the rows, `[width]`.
    pub(super) mean: Vec<f32>,
    /// The components in columns, `[width, count]`, largest variance first.
    pub(super) components: Vec<f32>,
}

impl PrincipalComponents {
    /// The first `count` components of rows `[n, width]`, or all `width` if there are fewer.
    pub(super) fn fit(rows: &[f32], width: usize, count: usize) -> Self {
        let n = rows.len() / width;
        let mut mean = vec![0.0_f64; width];
        for row in rows.chunks_exact(width) {
            for (sum, &value) in mean.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= n.max(1) as f64);
        let mut covariance = vec![0.0_f64; width * width];
        for part in rows.chunks(PART * width) {
            let centered = part
                .iter()
                .enumerate()
                .map(|(i, &value)| f64::from(value) - mean[i % width]);
            let centered = Tensor::from_vec([part.len() / width, width], centered.collect());
            let products = centered.matmul_tn(&centered);
            for (sum, value) in covariance.iter_mut().zip(products.as_slice()) {
                *sum += value;
            }
        }
        let vectors = symmetric_eigen(&covariance, width).vectors;
        let count = count.min(width);
        let components = (0..width).flat_map(|i| vectors[i * width..][..count].iter().map(|&v| v as f32));
        Self {
            components: components.collect(),
            mean: mean.into_iter().map(|value| value as f32).collect(),
        }
    }

    /// Number of components.
    pub(super) fn count(&self) -> usize {
        self.components.len() / self.mean.len()
    }

    /// Projects rows `[n, width]` to `[n, count]`. The result of a row does not depend on the other rows.
    pub(super) fn project(&self, rows: &[f32]) -> Vec<f32> {
        rows.par_chunks_exact(self.mean.len())
            .flat_map_iter(|row| self.one(row))
            .collect()
    }

    fn one(&self, row: &[f32]) -> Vec<f32> {
        let count = self.count();
        let mut projected = vec![0.0_f32; count];
        let directions = self.components.chunks_exact(count);
        for ((&value, &mean), direction) in row.iter().zip(&self.mean).zip(directions) {
            let centered = value - mean;
            for (sum, &weight) in projected.iter_mut().zip(direction) {
                *sum += centered * weight;
            }
        }
        projected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points around (1, 2): variance 4 along (3, 4) / 5 and 1 along (-4, 3) / 5.
    #[test]
    fn two_components_by_hand() {
        let rows: Vec<f32> = [(2.0, 1.0), (2.0, -1.0), (-2.0, 1.0), (-2.0, -1.0)]
            .into_iter()
            .flat_map(|(a, b): (f32, f32)| [1.0 + 0.6 * a - 0.8 * b, 2.0 + 0.8 * a + 0.6 * b])
            .collect();
        let found = PrincipalComponents::fit(&rows, 2, 5);
        assert_eq!(found.count(), 2);
        let close = |found: f32, expected: f32| (found - expected).abs() < 1e-5;
        assert!(close(found.mean[0], 1.0) && close(found.mean[1], 2.0));
        let sign = found.components[0].signum();
        assert!(close(found.components[0], sign * 0.6) && close(found.components[2], sign * 0.8));
        let projected = found.project(&rows);
        for (i, &(a, b)) in [(2.0, 1.0), (2.0, -1.0), (-2.0, 1.0), (-2.0, -1.0)]
            .iter()
            .enumerate()
        {
            assert!(close(projected[2 * i], sign * a), "{projected:?}");
            assert!(close(projected[2 * i + 1].abs(), f32::abs(b)), "{projected:?}");
        }
        let first = PrincipalComponents::fit(&rows, 2, 1);
        assert_eq!(first.project(&rows), [0, 2, 4, 6].map(|i| projected[i]));
    }
}
