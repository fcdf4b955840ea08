//! A discriminator that ignores the clusters of its source.

use engraft_gan::networks::NetworkRoles;
use engraft_layers::{LayersError, Sequential, StateDict};
use engraft_tensor::Tensor;

/// Changes a projection discriminator so that the class has no effect: the mean of the class vectors, weighted by the `shares` of
/// the classes, becomes part of the head, and the vectors become 0.
///
/// For each image the logit is then the mean of its logits over the classes: `head(h) + <Σ p(y) embed(y), h>`. A discriminator
/// without class vectors stays as it is.
///
/// # Errors
/// If the state does not fit the discriminator, which cannot happen for the layers of its roles.
pub(crate) fn ignore_clusters(
    discriminator: &mut Sequential,
    roles: &NetworkRoles,
    shares: &[f64],
) -> Result<(), LayersError> {
    let Some(embedding) = &roles.embedding else {
        return Ok(());
    };
    let [vectors_name, head_name] = [embedding, &roles.head].map(|layer| format!("{layer}.weight"));
    let mut tensors = StateDict::of(discriminator).into_tensors();
    let (Some(vectors), Some(head)) = (tensors.get(&vectors_name), tensors.get(&head_name)) else {
        return Ok(());
    };
    let size = head.as_slice().len();
    let mut mean = vec![0.0_f64; size];
    for (row, share) in vectors.as_slice().chunks_exact(size).zip(shares) {
        for (sum, &value) in mean.iter_mut().zip(row) {
            *sum += share * f64::from(value);
        }
    }
    let weights = head.as_slice().iter().zip(&mean);
    let weights = weights
        .map(|(&weight, &mean)| (f64::from(weight) + mean) as f32)
        .collect();
    let head = Tensor::from_vec(head.shape(), weights);
    let zeros = Tensor::zeros(vectors.shape());
    tensors.insert(head_name, head);
    tensors.insert(vectors_name, zeros);
    StateDict::from_tensors(tensors).apply(discriminator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_gan::networks::{NetworkFamily, NetworkSpec, dcgan::Dcgan};
    use engraft_layers::{Condition, Init, Mode, Module};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn a_logit_is_the_mean_of_those_of_all_classes() {
        let spec = NetworkSpec::new([28, 28, 1]).widths([4, 3, 2]).classes(3);
        let roles = Dcgan.roles(&spec).discriminator;
        let mut discriminator = Dcgan.discriminator(&spec, &mut Init::glorot(1));
        let images = Tensor::uniform([2, 28, 28, 1], -1.0, 1.0, &mut Pcg64::seed_from_u64(1));
        let logits = |discriminator: &Sequential, class: usize| {
            let condition = Condition::from(vec![class; 2]);
            discriminator
                .forward_with(&images, &condition, Mode::Eval)
                .as_slice()
                .to_vec()
        };
        let shares = [0.5, 0.2, 0.3];
        let before = [0, 1, 2].map(|class| logits(&discriminator, class));
        ignore_clusters(&mut discriminator, &roles, &shares).unwrap();
        for image in 0..2 {
            let mean: f64 = (0..3)
                .map(|class| shares[class] * f64::from(before[class][image]))
                .sum();
            for class in 0..3 {
                let found = f64::from(logits(&discriminator, class)[image]);
                assert!((found - mean).abs() < 1e-5, "{found} instead of {mean}");
            }
        }
        assert!((before[0][0] - before[1][0]).abs() > 1e-3, "{before:?}");
    }

    #[test]
    fn a_discriminator_without_class_vectors_stays() {
        let spec = NetworkSpec::new([28, 28, 1]).widths([4, 3, 2]);
        let mut discriminator = Dcgan.discriminator(&spec, &mut Init::glorot(1));
        let before = StateDict::of(&discriminator).into_tensors();
        ignore_clusters(&mut discriminator, &Dcgan.roles(&spec).discriminator, &[1.0]).unwrap();
        let after = StateDict::of(&discriminator).into_tensors();
        assert!(
            before
                .iter()
                .all(|(name, tensor)| tensor.as_slice() == after[name].as_slice())
        );
    }
}
