//! Dual contrastive learning (DCL): an image stays recognizable as the source's image of the same latent vector.

use super::cdc::unit_rows;
use engraft_gan::LossTerm;
use engraft_layers::{Condition, Mode, Module, Sequential};
use engraft_tensor::{Real, Tensor, no_grad};

/// Maximum number of images of a batch that are compared.
const MAX_IMAGES: usize = 16;
/// Divides the similarities.
const TEMPERATURE: f64 = 0.07;

/// Dual contrastive learning, a term of both losses: `weight · mean_i -ln( e^(s_ii / τ) / Σ_j e^(s_ij / τ) )`.
///
/// `s_ij` is the cosine similarity between the features of the trained generator's image `i` and those of the source generator's image
/// `j`, for the same latent vectors; `τ` is 0.07. The generator's term takes the features of its own layers and averages over the
/// layers. The discriminator's term takes its features of both images. So two latent vectors give different images, and the
/// discriminator distinguishes them. Only the first 16 images of each batch are compared.
///
/// *Source*: Zhao et al., "A closer look at few-shot image generation", 2022, section 5. There one layer is drawn in each step, the weights are
/// 2 (generator) and 0.5 (discriminator).
pub struct DualContrastive<T: Real = f32> {
    source: Sequential<T>,
    layers: Vec<String>,
    features: String,
    weight: f64,
}

impl<T: Real> DualContrastive<T> {
    /// Compares the output features of these layers with those of the `source` generator, and the discriminator's `features`.
    pub fn new(source: Sequential<T>, layers: Vec<String>, features: impl Into<String>, weight: f64) -> Self {
        Self {
            source,
            layers,
            features: features.into(),
            weight,
        }
    }
}

/// `mean_i -ln( e^(s_ii / τ) / Σ_j e^(s_ij / τ) )` with the cosine similarities `s_ij` of row `i` of `ours` and row `j` of `theirs`.
fn contrast<T: Real>(ours: &Tensor<T>, theirs: &Tensor<T>) -> Tensor<T> {
    let n = ours.shape()[0];
    // A cosine is at most 1, so no exponential overflows.
    let logits = (unit_rows(ours).matmul_nt(&unit_rows(theirs)) - T::one()) * T::from_f64(1.0 / TEMPERATURE);
    let same = (0..n * n).map(|i| if i / n == i % n { T::one() } else { T::zero() });
    let of_same = (&logits * Tensor::from_vec([n, n], same.collect())).sum_keep(&[1]);
    (logits.exp().sum_keep(&[1]).ln() - of_same).mean()
}

/// The number of images to compare; `None` if there is no other image.
fn compared<T: Real>(z: &Tensor<T>) -> Option<usize> {
    Some(z.shape()[0].min(MAX_IMAGES)).filter(|&n| n > 1)
}

impl<T: Real> LossTerm<T> for DualContrastive<T> {
    fn for_generator(
        &self,
        generator: &Sequential<T>,
        z: &Tensor<T>,
        condition: &Condition<T>,
        _: &Tensor<T>,
    ) -> Option<Tensor<T>> {
        let n = compared(z)?;
        let (z, condition) = (z.narrow(0, 0, n), condition.narrow(0, n));
        let terms = self.layers.iter().map(|layer| {
            // In evaluation mode features do not depend on the batch, and running statistics do not change.
            let [ours, _] = generator.forward_through(&z, &condition, Mode::Eval, layer);
            let [theirs, _] = no_grad(|| self.source.forward_through(&z, &condition, Mode::Eval, layer));
            contrast(&ours, &theirs)
        });
        let sum = terms.reduce(|a, b| a + b)?;
        Some(sum * T::from_f64(self.weight / self.layers.len() as f64))
    }

    fn for_discriminator_of_generated(
        &self,
        discriminator: &Sequential<T>,
        z: &Tensor<T>,
        condition: &Condition<T>,
        images: &Tensor<T>,
    ) -> Option<Tensor<T>> {
        let n = compared(z)?;
        let (z, condition) = (z.narrow(0, 0, n), condition.narrow(0, n));
        let source_images = no_grad(|| self.source.forward_with(&z, &condition, Mode::Eval));
        let [ours, theirs] = [&images.narrow(0, 0, n), &source_images].map(|images| {
            let [features, _] = discriminator.forward_through(images, &condition, Mode::Eval, &self.features);
            features
        });
        Some(contrast(&ours, &theirs) * T::from_f64(self.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{Dense, Init, LeakyReLU, gradients};
    use engraft_tensor::gradcheck;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn net(seed: u64, [inputs, outputs]: [usize; 2]) -> Sequential<f64> {
        let init = &mut Init::normal(seed, 0.7);
        Sequential::new()
            .add("a", Dense::new(inputs, 3, init))
            .add("act", LeakyReLU::new(0.2))
            .add("b", Dense::new(3, outputs, init))
    }

    fn features(net: &Sequential<f64>, x: &Tensor<f64>) -> Vec<Vec<f64>> {
        let [f, _] = net.forward_through(x, &Condition::None, Mode::Eval, "act");
        f.as_slice().chunks(3).map(<[f64]>::to_vec).collect()
    }

    fn by_hand(ours: &[Vec<f64>], theirs: &[Vec<f64>]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        let share = |i: usize| {
            let e: Vec<f64> = theirs
                .iter()
                .map(|row| (cosine(&ours[i], row) / 0.07).exp())
                .collect();
            e[i] / e.iter().sum::<f64>()
        };
        (0..ours.len()).map(|i| -share(i).ln()).sum::<f64>() / ours.len() as f64
    }

    #[test]
    fn both_terms_by_hand() {
        let z = Tensor::<f64>::randn([4, 2], &mut Pcg64::seed_from_u64(2));
        let (source, trained, discriminator) = (net(1, [2, 5]), net(4, [2, 5]), net(7, [5, 1]));
        let term = DualContrastive::new(net(1, [2, 5]), vec!["act".into()], "act", 10.0);
        let images = trained.forward_with(&z, &Condition::None, Mode::Eval);
        let of_generator = term
            .for_generator(&trained, &z, &Condition::None, &images)
            .unwrap();
        let expected = 10.0 * by_hand(&features(&trained, &z), &features(&source, &z));
        let found = of_generator.item();
        assert!((found - expected).abs() < 1e-9, "{found} and {expected}");
        assert!(gradients(&of_generator, &trained)["a.weight"].abs().sum().item() > 0.0);
        let source_images = source.forward_with(&z, &Condition::None, Mode::Eval);
        let of_discriminator = term
            .for_discriminator_of_generated(&discriminator, &z, &Condition::None, &images.detach())
            .unwrap();
        let [ours, theirs] = [&images, &source_images].map(|x| features(&discriminator, x));
        let (found, expected) = (of_discriminator.item(), 10.0 * by_hand(&ours, &theirs));
        assert!((found - expected).abs() < 1e-9, "{found} and {expected}");
        assert!(
            gradients(&of_discriminator, &discriminator)["a.weight"]
                .abs()
                .sum()
                .item()
                > 0.0
        );
        let one = z.narrow(0, 0, 1);
        assert!(
            term.for_generator(&trained, &one, &Condition::None, &images)
                .is_none()
        );
    }

    #[test]
    fn contrast_gradients() {
        let rng = &mut Pcg64::seed_from_u64(3);
        let x = [0, 1].map(|_| Tensor::<f64>::randn([4, 3], rng));
        gradcheck(|x| contrast(&x[0], &x[1]), &x).unwrap();
    }
}
