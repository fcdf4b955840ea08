//! The directions of the latent space along which the images of a generator change most.

use crate::sampler::Sampler;
use engraft_base::batches;
use engraft_tensor::{Tensor, grad, symmetric_eigen};
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Latent vectors at which the change is measured.
const POINTS: usize = 512;
/// Latent vectors in a batch.
const BATCH: usize = 32;

/// The `count` orthonormal directions of the latent space along which the images change most, `[count, latent]`, the strongest
/// first.
///
/// They are the eigenvectors of the mean of `JᵀJ`, where `J` is the derivative of an image with respect to its latent vector.
/// The mean is estimated from `Jᵀr` at 512 random latent vectors, each with a random image `r`: `E[(Jᵀr)(Jᵀr)ᵀ] = E[JᵀJ]`.
///
/// The labels of a class-conditional generator are random. Each direction points to where its largest component is positive,
/// so that it does not depend on the sign that the method happens to find.
///
/// *Source*: Ramesh, Choi and LeCun, "A spectral regularizer for unsupervised disentanglement", 2018, for the singular vectors
/// of the derivative of a generator.
///
/// ```
/// use engraft_gan::{Sampler, principal_directions};
/// use engraft_layers::{Dense, Init, Reshape, Sequential};
/// use engraft_tensor::Tensor;
/// // Only the second of two latent components moves the image.
/// let dense = Dense::<f32>::new(2, 4, &mut Init::glorot(1));
/// let generator = Sequential::new().add("dense", dense).add("image", Reshape::new([2, 2, 1]));
/// let found = principal_directions(&Sampler::new(generator, 2), 1, 7);
/// assert_eq!(found.shape(), [1, 2]);
/// assert!((found.square().sum().item() - 1.0).abs() < 1e-5);
/// ```
pub fn principal_directions(sampler: &Sampler, count: usize, seed: u64) -> Tensor {
    let latent = sampler.latent_dim();
    let rng = &mut Pcg64::seed_from_u64(seed);
    let mut sums = vec![0.0_f64; latent * latent];
    for part in batches(POINTS, BATCH) {
        let z = Tensor::<f32>::randn([part.len(), latent], rng).as_leaf();
        let images = sampler.recorded(&z, rng);
        let random = Tensor::randn(images.shape(), rng);
        let [slopes] = grad(&(images * random).sum(), [&z]);
        let products = slopes.matmul_tn(&slopes);
        sums.iter_mut()
            .zip(products.as_slice())
            .for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let found = symmetric_eigen(&sums, latent);
    let count = count.min(latent);
    let mut directions = Vec::with_capacity(count * latent);
    for column in 0..count {
        let component = |row: usize| found.vectors[row * latent + column];
        let largest = (0..latent)
            .map(component)
            .fold(0.0_f64, |a, b| if b.abs() > a.abs() { b } else { a });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        directions.extend((0..latent).map(|row| (sign * component(row)) as f32));
    }
    Tensor::from_vec([count, latent], directions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{Dense, Init, Reshape, Sequential, SlotMut, Tanh, visit_mut};

    /// Component 2 moves the image most, then component 0; component 1 does not.
    #[test]
    fn the_strongest_components_come_first() {
        let mut dense = Dense::<f32>::new(3, 4, &mut Init::glorot(1));
        let weight = Tensor::from_vec(
            [3, 4],
            vec![0.1, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.3, 0.0, 0.3],
        );
        visit_mut(&mut dense, |name, slot| {
            if let ("weight", SlotMut::Parameter(parameter)) = (name, slot) {
                parameter.set(&weight);
            }
        });
        let generator = Sequential::new()
            .add("dense", dense)
            .add("image", Reshape::new([2, 2, 1]))
            .add("tanh", Tanh);
        let sampler = Sampler::new(generator, 3);
        let found = principal_directions(&sampler, 9, 1);
        assert_eq!(found.shape(), [3, 3]);
        let strongest = [2, 0, 1];
        for (i, &component) in strongest.iter().enumerate() {
            assert!(found.as_slice()[3 * i + component] > 0.98, "{found:?}");
        }
        let again = principal_directions(&sampler, 9, 1);
        assert_eq!(found.as_slice(), again.as_slice());
    }
}
