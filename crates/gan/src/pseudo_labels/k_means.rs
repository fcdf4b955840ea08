//! K-means: divides points into clusters with small squared distances to their means.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;

/// Most iterations. Fewer are done if no point changes its cluster.
const ITERATIONS: usize = 25;

/// Centroids, and the distances of points to them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Centroids {
    /// Length of a point.
    width: usize,
    /// `[count, width]`
    rows: Vec<f32>,
    /// The same values in columns, `[width, count]`.
    columns: Vec<f32>,
}

impl Centroids {
    /// Centroids `[count, width]`.
    pub(super) fn new(rows: Vec<f32>, width: usize) -> Self {
        let count = rows.len() / width;
        let columns = (0..width).flat_map(|j| (0..count).map(move |i| (i, j)));
        Self {
            width,
            columns: columns.map(|(i, j)| rows[i * width + j]).collect(),
            rows,
        }
    }

    /// Centroids `[count, width]`.
    pub(super) fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// Number of centroids.
    pub(super) fn count(&self) -> usize {
        self.rows.len() / self.width
    }

    /// Index of the nearest centroid, the first one of equal distances.
    pub(super) fn nearest(&self, point: &[f32]) -> usize {
        let count = self.count();
        let mut distances = vec![0.0_f32; count];
        for (&value, column) in point.iter().zip(self.columns.chunks_exact(count)) {
            for (distance, &centroid) in distances.iter_mut().zip(column) {
                *distance += (value - centroid) * (value - centroid);
            }
        }
        let mut best = 0;
        for (i, distance) in distances.iter().enumerate() {
            if *distance < distances[best] {
                best = i;
            }
        }
        best
    }

    /// Index of the nearest centroid of each point `[n, width]`.
    pub(super) fn assign(&self, points: &[f32]) -> Vec<usize> {
        points
            .par_chunks_exact(self.width)
            .map(|point| self.nearest(point))
            .collect()
    }
}

/// Squared distance of two points.
pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// First centroids by k-means++: each further one is a point that is chosen with a probability proportional to its squared
/// distance from the nearest centroid so far.
///
/// *Source*: Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", 2007, section 2.2.
fn plus_plus(points: &[f32], width: usize, count: usize, rng: &mut Pcg64) -> Vec<f32> {
    let n = points.len() / width;
    let point = |i: usize| &points[i * width..][..width];
    let mut unit = || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let first = (unit() * n as f64) as usize;
    let mut rows = point(first).to_vec();
    let mut nearest = vec![f32::INFINITY; n];
    while rows.len() < count * width {
        let newest = &rows[rows.len() - width..];
        nearest
            .par_iter_mut()
            .zip(points.par_chunks_exact(width))
            .for_each(|(nearest, point)| *nearest = nearest.min(squared_distance(point, newest)));
        let all: f64 = nearest.iter().map(|&distance| f64::from(distance)).sum();
        let wanted = unit() * all;
        let mut sum = 0.0;
        let chosen = nearest.iter().position(|&distance| {
            sum += f64::from(distance);
            sum > wanted
        });
        // With fewer distinct points than centroids, the last point is repeated.
        rows.extend_from_slice(point(chosen.unwrap_or(n - 1)));
    }
    rows
}

/// Clusters points `[n, width]`: k-means++ and at most 25 of Lloyd's iterations.
///
/// The result is the same for any number of threads. A centroid without points stays in its place.
pub(super) fn k_means(points: &[f32], width: usize, count: usize, seed: u64) -> Centroids {
    let rows = plus_plus(points, width, count, &mut Pcg64::seed_from_u64(seed));
    let mut centroids = Centroids::new(rows, width);
    let mut assigned = Vec::new();
    for _ in 0..ITERATIONS {
        let now = centroids.assign(points);
        if now == assigned {
            break;
        }
        assigned = now;
        let mut sums = vec![0.0_f64; count * width];
        let mut sizes = vec![0_u64; count];
        for (point, &cluster) in points.chunks_exact(width).zip(&assigned) {
            sizes[cluster] += 1;
            for (sum, &value) in sums[cluster * width..][..width].iter_mut().zip(point) {
                *sum += f64::from(value);
            }
        }
        let mut rows = centroids.rows;
        for (cluster, &size) in sizes.iter().enumerate().filter(|(_, size)| **size > 0) {
            let at = cluster * width..(cluster + 1) * width;
            for (value, sum) in rows[at.clone()].iter_mut().zip(&sums[at]) {
                *value = (sum / size as f64) as f32;
            }
        }
        centroids = Centroids::new(rows, width);
    }
    centroids
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: [f32; 16] = [
        0.0, 0.0, 1.0, 0.2, 0.3, 1.0, 1.1, 1.2, 7.0, 7.5, 8.0, 7.0, 7.3, 8.1, -6.0, 5.0,
    ];

    /// Sum of squared distances to the mean of each part.
    fn cost(parts: &[Vec<usize>]) -> f64 {
        let of = |part: &Vec<usize>| -> f64 {
            (0..2)
                .map(|axis| {
                    let values: Vec<f64> = part.iter().map(|&i| f64::from(POINTS[2 * i + axis])).collect();
                    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
                    values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>()
                })
                .sum()
        };
        parts.iter().map(of).sum()
    }

    fn parts(labels: &[usize], count: usize) -> Vec<Vec<usize>> {
        (0..count)
            .map(|part| (0..labels.len()).filter(|&i| labels[i] == part).collect())
            .collect()
    }

    /// Against all 3^8 divisions of the points.
    #[test]
    fn it_finds_the_best_division_of_few_points() {
        let best = (0..3_usize.pow(8))
            .map(|code| {
                let labels: Vec<usize> = (0..8).map(|i| code / 3_usize.pow(i) % 3).collect();
                cost(&parts(&labels, 3))
            })
            .fold(f64::INFINITY, f64::min);
        let centroids = k_means(&POINTS, 2, 3, 1);
        let labels = centroids.assign(&POINTS);
        let parts = parts(&labels, 3);
        assert!((cost(&parts) - best).abs() < 1e-9, "{parts:?}");
        for (part, centroid) in parts.iter().zip(centroids.rows().chunks_exact(2)) {
            for axis in 0..2 {
                let mean = part.iter().map(|&i| POINTS[2 * i + axis]).sum::<f32>() / part.len() as f32;
                assert!((mean - centroid[axis]).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_nearest_centroid_by_definition() {
        let centroids = Centroids::new(vec![0.0, 0.0, 4.0, 0.0, 0.0, 3.0], 2);
        for (point, nearest) in [([1.9, 0.0], 0), ([2.1, 0.0], 1), ([0.1, 2.0], 2), ([2.0, 0.0], 0)] {
            assert_eq!(centroids.nearest(&point), nearest, "{point:?}");
        }
    }

    #[test]
    fn equal_points_are_one_cluster() {
        let centroids = k_means(&[2.0; 20], 2, 3, 1);
        assert_eq!(centroids.assign(&[2.0; 20]), [0; 10]);
    }

    #[test]
    fn the_result_does_not_depend_on_threads() {
        let rng = &mut Pcg64::seed_from_u64(5);
        let points: Vec<f32> = (0..3000).map(|_| (rng.next_u64() >> 40) as f32 / 1e6).collect();
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| k_means(&points, 3, 7, 2))
        };
        assert_eq!(on(1), on(3));
        assert_ne!(on(1), k_means(&points, 3, 7, 3));
    }
}
