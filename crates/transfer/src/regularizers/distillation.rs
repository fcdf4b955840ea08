//! Feature distillation: the discriminator keeps the features of the source.

use engraft_gan::LossTerm;
use engraft_layers::{Condition, Mode, Sequential};
use engraft_tensor::{Real, Tensor, no_grad};

/// Feature distillation `weight · mean (f(x) - f_S(x))²`, a term of the discriminator's loss.
///
/// `f(x)` are the features of a layer of the discriminator for the real images of a step. `f_S(x)` are those of the source's
/// discriminator.
///
/// *Source*: Mo, Cho and Shin, "Freeze the discriminator: a simple baseline for fine-tuning GANs", 2020, section 4, where it
/// is a baseline.
pub struct FeatureDistillation<T: Real = f32> {
    source: Sequential<T>,
    layer: String,
    weight: f64,
}

impl<T: Real> FeatureDistillation<T> {
    /// Distills the output features of `layer` of the `source` discriminator.
    pub fn new(source: Sequential<T>, layer: impl Into<String>, weight: f64) -> Self {
        Self {
            source,
            layer: layer.into(),
            weight,
        }
    }
}

impl<T: Real> LossTerm<T> for FeatureDistillation<T> {
    fn for_discriminator(
        &self,
        discriminator: &Sequential<T>,
        real: &Tensor<T>,
        condition: &Condition<T>,
    ) -> Option<Tensor<T>> {
        // In evaluation mode, so that running statistics do not change twice in a step.
        let [ours, _] = discriminator.forward_through(real, condition, Mode::Eval, &self.layer);
        let [theirs, _] = no_grad(|| {
            self.source
                .forward_through(real, condition, Mode::Eval, &self.layer)
        });
        Some((ours - theirs).square().mean() * T::from_f64(self.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{Dense, Init, Module, gradients};

    #[test]
    fn distillation_by_hand() {
        let net = |seed| {
            let init = &mut Init::normal(seed, 0.5);
            Sequential::<f64>::new()
                .add("a", Dense::new(1, 2, init).no_bias())
                .add("b", Dense::new(2, 1, init))
        };
        let (source, other) = (net(1), net(2));
        let x = Tensor::from_vec([2, 1], vec![1.0, -2.0]);
        let features = |net: &Sequential<f64>| {
            net.forward_through(&x, &Condition::None, Mode::Eval, "a")[0]
                .as_slice()
                .to_vec()
        };
        let squares = features(&source)
            .iter()
            .zip(features(&other))
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f64>();
        let term = FeatureDistillation::new(source, "a", 3.0);
        let loss = term.for_discriminator(&other, &x, &Condition::None).unwrap();
        assert!((loss.item() - 3.0 * squares / 4.0).abs() < 1e-12);
        let slopes = gradients(&loss, &other);
        assert!(slopes["a.weight"].abs().sum().item() > 0.0);
        assert!(
            term.for_discriminator(&net(1), &x, &Condition::None)
                .unwrap()
                .item()
                == 0.0
        );
        let _ = other.forward(&x, Mode::Eval);
    }
}
