//! Cross-domain correspondence (CDC): similarities between images stay those of the source.

use engraft_gan::LossTerm;
use engraft_layers::{Condition, Mode, Sequential};
use engraft_tensor::{Real, Tensor, no_grad};

/// Maximum number of images of a batch whose similarities are compared.
const MAX_IMAGES: usize = 8;
/// Added to squared lengths, so that the length of a zero vector is not 0.
const TINY: f64 = 1e-12;

/// Cross-domain correspondence `weight · KL(p_S ‖ p_T)`, a term of the generator's loss.
///
/// `p(i)` is the softmax of the cosine similarities between the features of image `i` and those of the other images. `p_S` is
/// that of the source generator, `p_T` that of the trained generator, for the same latent vectors. The divergence is averaged
/// over images and over layers of the generator. It transfers the diversity of the source. Only the first eight images of each
/// batch are compared.
///
/// *Source*: Ojha et al., "Few-shot image generation via cross-domain correspondence", 2021, equations 2 to 4. Their code
/// averages over all entries of `p`, so its weight of 1000 is 1000/3 per image for a batch of four. Here the divergence is
/// summed over the entries and averaged over images.
pub struct CrossDomainCorrespondence<T: Real = f32> {
    source: Sequential<T>,
    layers: Vec<String>,
    weight: f64,
}

impl<T: Real> CrossDomainCorrespondence<T> {
    /// Compares the output features of these layers with those of the source generator.
    pub fn new(source: Sequential<T>, layers: Vec<String>, weight: f64) -> Self {
        Self {
            source,
            layers,
            weight,
        }
    }
}

/// Each row divided by its length, `[n, features]`.
pub(super) fn unit_rows<T: Real>(features: &Tensor<T>) -> Tensor<T> {
    let n = features.shape()[0];
    let flat = features.reshape([n, features.len() / n]);
    let lengths = (flat.square().sum_keep(&[1]) + T::from_f64(TINY)).sqrt();
    flat / lengths
}

/// Log-softmax over the cosine similarities of each row to the other rows, `[n, n]`. The diagonal gets a very low logit.
fn log_similarity<T: Real>(features: &Tensor<T>) -> Tensor<T> {
    let n = features.shape()[0];
    let unit = unit_rows(features);
    // A cosine is at most 1, so a logit of -1e4 has no weight in the softmax.
    let own = (0..n * n).map(|i| {
        if i / n == i % n {
            T::from_f64(-1e4)
        } else {
            T::zero()
        }
    });
    let logits = unit.matmul_nt(&unit) + Tensor::from_vec([n, n], own.collect());
    let shifted = &logits - T::one();
    let sum = shifted.exp().sum_keep(&[1]).ln();
    shifted - sum
}

impl<T: Real> LossTerm<T> for CrossDomainCorrespondence<T> {
    fn for_generator(
        &self,
        generator: &Sequential<T>,
        z: &Tensor<T>,
        condition: &Condition<T>,
        _: &Tensor<T>,
    ) -> Option<Tensor<T>> {
        let n = z.shape()[0].min(MAX_IMAGES);
        if n < 3 {
            // With one other image the softmax is constant.
            return None;
        }
        let (z, condition) = (z.narrow(0, 0, n), condition.narrow(0, n));
        let divergences = self.layers.iter().map(|layer| {
            // In evaluation mode features do not depend on the batch, and running statistics do not change.
            let [features, _] = generator.forward_through(&z, &condition, Mode::Eval, layer);
            let [source_features, _] =
                no_grad(|| self.source.forward_through(&z, &condition, Mode::Eval, layer));
            let (ours, theirs) = (
                log_similarity(&features),
                log_similarity(&source_features).detach(),
            );
            (theirs.exp() * (&theirs - ours)).sum() * T::from_f64(1.0 / n as f64)
        });
        let sum = divergences.reduce(|a, b| a + b)?;
        Some(sum * T::from_f64(self.weight / self.layers.len() as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{Dense, Init, LeakyReLU, gradients};
    use engraft_tensor::gradcheck;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn net(seed: u64) -> Sequential<f64> {
        let init = &mut Init::normal(seed, 0.7);
        Sequential::new()
            .add("a", Dense::new(2, 3, init))
            .add("act", LeakyReLU::new(0.2))
            .add("b", Dense::new(3, 1, init))
    }

    #[test]
    fn cdc_by_hand_and_zero_for_the_source() {
        let z = Tensor::<f64>::randn([3, 2], &mut Pcg64::seed_from_u64(2));
        let term = CrossDomainCorrespondence::new(net(1), vec!["act".into()], 10.0);
        let same = term.for_generator(&net(1), &z, &Condition::None, &z).unwrap();
        assert!(same.item().abs() < 1e-12);
        let other = net(5);
        let loss = term.for_generator(&other, &z, &Condition::None, &z).unwrap();
        let shares = |net: &Sequential<f64>| {
            let [f, _] = net.forward_through(&z, &Condition::None, Mode::Eval, "act");
            let row = |i: usize| f.as_slice()[3 * i..3 * i + 3].to_vec();
            let cosine = |a: &[f64], b: &[f64]| {
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
                dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
            };
            (0..3)
                .map(move |i| {
                    let others = (0..3).filter(move |&j| j != i);
                    let e: Vec<f64> = others.map(|j| cosine(&row(i), &row(j)).exp()).collect();
                    e.iter().map(|x| x / e.iter().sum::<f64>()).collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        };
        let by_hand: f64 = shares(&net(1))
            .iter()
            .zip(shares(&other))
            .map(|(p, q)| p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum::<f64>())
            .sum::<f64>()
            * 10.0
            / 3.0;
        assert!(
            (loss.item() - by_hand).abs() < 1e-9,
            "{} and {by_hand}",
            loss.item()
        );
        assert!(gradients(&loss, &other)["a.weight"].abs().sum().item() > 0.0);
        assert!(
            term.for_generator(&other, &z.narrow(0, 0, 2), &Condition::None, &z)
                .is_none()
        );
    }

    #[test]
    fn log_similarity_gradients() {
        let x = Tensor::<f64>::randn([4, 3], &mut Pcg64::seed_from_u64(3));
        gradcheck(|x| log_similarity(&x[0]), std::slice::from_ref(&x)).unwrap();
    }
}
