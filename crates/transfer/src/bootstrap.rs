//! Bootstrap comparison of generators by kernel distance (KID).

use engraft_metrics::Features;
use ndarray::{Array1, Array2};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Kernel distances (KID) of several generators to the same real images, for many bootstrap resamples.
#[derive(Clone, Debug)]
pub struct BootstrapComparison {
    /// Distances of each generator, one for each resample.
    resamples: Vec<Vec<f64>>,
}

/// The polynomial kernel `(x·y / d + 1)³` of all pairs.
fn kernel(x: &Features, y: &Features) -> Array2<f64> {
    let scale = 1.0 / x.dimension() as f64;
    let mut products = x.view().dot(&y.view().t());
    products.mapv_inplace(|p| (p * scale + 1.0).powi(3));
    products
}

/// Multiplicity of each of `n` images in a bootstrap resample of size `n`.
fn counts(n: usize, rng: &mut Pcg64) -> Array1<f64> {
    let mut counts = Array1::zeros(n);
    for _ in 0..n {
        counts[rng.random_range(0..n)] += 1.0;
    }
    counts
}

/// Mean of the kernel over pairs of different images: `Σ w_i w_j k_ij / Σ w_i w_j` for `i ≠ j`.
fn within(kernel: &Array2<f64>, weights: &Array1<f64>) -> f64 {
    let all = weights.dot(&kernel.dot(weights));
    let own: f64 = weights.iter().zip(kernel.diag()).map(|(w, k)| w * w * k).sum();
    let pairs = weights.sum().powi(2) - weights.mapv(|w| w * w).sum();
    (all - own) / pairs
}

impl BootstrapComparison {
    /// Resamples real and generated images with replacement and computes every generator's distance for each resample.
    ///
    /// All generators share the resampled real images. This removes the common noise from their differences.
    ///
    /// *Source*: Efron, "Bootstrap methods: another look at the jackknife", 1979.
    ///
    /// # Panics
    /// If there are no generators, fewer than three real images, or the feature dimensions differ.
    pub fn new(real: &Features, generated: &[&Features], resamples: usize, seed: u64) -> Self {
        assert!(
            !generated.is_empty() && real.len() > 2,
            "BootstrapComparison: expected at least one generator and three real images"
        );
        let of_real = kernel(real, real);
        let kernels: Vec<[Array2<f64>; 2]> = generated
            .iter()
            .map(|g| [kernel(g, g), kernel(real, g)])
            .collect();
        let mut rng = Pcg64::seed_from_u64(seed);
        let mut found = vec![Vec::with_capacity(resamples); generated.len()];
        for _ in 0..resamples {
            let real_weights = counts(real.len(), &mut rng);
            let real_part = within(&of_real, &real_weights);
            for (g, (kernels, found)) in generated.iter().zip(kernels.iter().zip(&mut found)) {
                let weights = counts(g.len(), &mut rng);
                let across =
                    real_weights.dot(&kernels[1].dot(&weights)) / (real_weights.sum() * weights.sum());
                found.push(real_part + within(&kernels[0], &weights) - 2.0 * across);
            }
        }
        Self { resamples: found }
    }

    /// 95 % bootstrap interval of a generator's distance.
    pub fn interval(&self, generator: usize) -> [f64; 2] {
        interval(self.resamples[generator].clone())
    }

    /// 95 % bootstrap interval of the difference of two generators' distances. Negative values favor the first one.
    pub fn difference(&self, first: usize, second: usize) -> [f64; 2] {
        let pairs = self.resamples[first].iter().zip(&self.resamples[second]);
        interval(pairs.map(|(a, b)| a - b).collect())
    }

    /// Index of the generator whose distance is significantly lower than that of every other one. `None` if an interval of a
    /// difference includes 0.
    pub fn winner(&self) -> Option<usize> {
        (0..self.resamples.len()).find(|&candidate| {
            let others = (0..self.resamples.len()).filter(|&other| other != candidate);
            others
                .into_iter()
                .all(|other| self.difference(candidate, other)[1] < 0.0)
        })
    }
}

fn interval(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
    [at(0.025), at(0.975)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_metrics::kernel_distance;
    use engraft_tensor::Tensor;

    fn points(n: usize, shift: f64, seed: u64) -> Features {
        let noise = Tensor::<f64>::randn([n, 3], &mut Pcg64::seed_from_u64(seed));
        let values = noise.as_slice().iter().map(|x| x + shift).collect();
        Features::new(Array2::from_shape_vec((n, 3), values).unwrap()).unwrap()
    }

    #[test]
    fn bootstrap_intervals_contain_the_distance_and_overlapping_ones_have_no_winner() {
        let real = points(150, 0.0, 1);
        let (good, also_good, bad) = (points(150, 0.3, 2), points(150, 0.3, 3), points(150, 1.5, 4));
        let found = BootstrapComparison::new(&real, &[&good, &also_good, &bad], 200, 5);
        let value = kernel_distance(&real, &bad).unwrap().value;
        let [low, high] = found.interval(2);
        assert!(low < value && value < high, "{low} {value} {high}");
        assert_eq!(found.winner(), None, "the first two are equally good");
        assert!(found.difference(0, 2)[1] < 0.0);
        let found = BootstrapComparison::new(&real, &[&bad, &good], 200, 5);
        assert_eq!(found.winner(), Some(1));
    }

    #[test]
    fn unit_weights_give_the_kernel_distance() {
        let (real, fake) = (points(20, 0.0, 1), points(30, 0.5, 2));
        let ones = |n: usize| Array1::ones(n);
        let across = kernel(&real, &fake).sum() / 600.0;
        let value = within(&kernel(&real, &real), &ones(20)) + within(&kernel(&fake, &fake), &ones(30))
            - 2.0 * across;
        assert!((value - kernel_distance(&real, &fake).unwrap().value).abs() < 1e-9);
    }
}
