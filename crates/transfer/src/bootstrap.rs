//! Which of several generators is better, and whether that is certain.

use engraft_metrics::Features;
use ndarray::{Array1, Array2};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Kernel distances of several generators to the same real images, and how they scatter.
#[derive(Clone, Debug)]
pub struct BootstrapComparison {
    /// For each generator, the distance in each resample.
    resamples: Vec<Vec<f64>>,
}

/// The kernel `(x·y / d + 1)³` of all pairs.
fn kernel(x: &Features, y: &Features) -> Array2<f64> {
    let scale = 1.0 / x.dimension() as f64;
    let mut products = x.view().dot(&y.view().t());
    products.mapv_inplace(|p| (p * scale + 1.0).powi(3));
    products
}

/// How often each of `n` images comes in a resample of as many.
fn counts(n: usize, rng: &mut Pcg64) -> Array1<f64> {
    let mut counts = Array1::zeros(n);
    for _ in 0..n {
        counts[rng.random_range(0..n)] += 1.0;
    }
    counts
}

/// `Σ w_i w_j k_ij` over pairs of different images, over the sum of their weights.
fn within(kernel: &Array2<f64>, weights: &Array1<f64>) -> f64 {
    let all = weights.dot(&kernel.dot(weights));
    let own: f64 = weights.iter().zip(kernel.diag()).map(|(w, k)| w * w * k).sum();
    let pairs = weights.sum().powi(2) - weights.mapv(|w| w * w).sum();
    (all - own) / pairs
}

impl BootstrapComparison {
    /// Resamples real and generated images with replacement, the real ones alike for all generators, so that what they
    /// have in common leaves the differences.
    ///
    /// *Source*: Efron, "Bootstrap methods: another look at the jackknife", 1979.
    ///
    /// # Panics
    /// If there is no generator, fewer than three images of one, or their numbers of features differ.
    pub fn new(real: &Features, generated: &[&Features], resamples: usize, seed: u64) -> Self {
        assert!(
            !generated.is_empty() && real.len() > 2,
            "BootstrapComparison: needs generators and real images"
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

    /// The interval that holds 95 of 100 resampled distances of a generator.
    pub fn interval(&self, generator: usize) -> [f64; 2] {
        interval(self.resamples[generator].clone())
    }

    /// The same of the difference of two generators' distances: below 0 where the first is better.
    pub fn difference(&self, first: usize, second: usize) -> [f64; 2] {
        let pairs = self.resamples[first].iter().zip(&self.resamples[second]);
        interval(pairs.map(|(a, b)| a - b).collect())
    }

    /// The generator with the lowest distance, if its difference to each other one is certain; `None` otherwise.
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
    fn the_interval_holds_the_distance_and_no_winner_is_named_inside_it() {
        let real = points(150, 0.0, 1);
        let (good, also_good, bad) = (points(150, 0.3, 2), points(150, 0.3, 3), points(150, 1.5, 4));
        let found = BootstrapComparison::new(&real, &[&good, &also_good, &bad], 200, 5);
        let value = kernel_distance(&real, &bad).unwrap().value;
        let [low, high] = found.interval(2);
        assert!(low < value && value < high, "{low} {value} {high}");
        assert_eq!(found.winner(), None, "the two good ones are alike");
        assert!(found.difference(0, 2)[1] < 0.0);
        let found = BootstrapComparison::new(&real, &[&bad, &good], 200, 5);
        assert_eq!(found.winner(), Some(1));
    }

    #[test]
    fn every_image_once_is_the_distance_itself() {
        let (real, fake) = (points(20, 0.0, 1), points(30, 0.5, 2));
        let ones = |n: usize| Array1::ones(n);
        let across = kernel(&real, &fake).sum() / 600.0;
        let value = within(&kernel(&real, &real), &ones(20)) + within(&kernel(&fake, &fake), &ones(30))
            - 2.0 * across;
        assert!((value - kernel_distance(&real, &fake).unwrap().value).abs() < 1e-9);
    }
}
