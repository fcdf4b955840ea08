//! Settings of the optimizers.

use super::TrainConfig;
use engraft_layers::{Adam, Schedule};
use serde::{Deserialize, Serialize};

/// Settings of an Adam optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the mean of the gradients, `β1`.
    pub beta1: f64,
    /// Decay of the mean of the squared gradients, `β2`.
    pub beta2: f64,
    /// Added to the square root of the second moment, `ε`.
    pub epsilon: f64,
}

impl AdamConfig {
    /// Builds the optimizer.
    pub fn build(&self) -> Adam {
        Adam::new(self.learning_rate)
            .betas(self.beta1, self.beta2)
            .eps(self.epsilon)
    }

    /// Settings for lazy regularization, where the gradient penalties are a separate step after every `interval` ordinary
    /// steps.
    ///
    /// With `c = interval / (interval + 1)`, the learning rate becomes `c · rate` and each decay `β^c`. The two kinds of steps
    /// together then move the weights as far, and forget gradients as fast, as the ordinary steps alone. An `interval` of 1
    /// changes nothing: the penalties are then part of the ordinary step.
    ///
    /// *Source*: Karras et al., "Analyzing and improving the image quality of StyleGAN", 2020, appendix B.
    #[must_use]
    pub fn with_lazy_penalty(self, interval: u32) -> Self {
        if interval <= 1 {
            return self;
        }
        let share = f64::from(interval) / (f64::from(interval) + 1.0);
        Self {
            learning_rate: self.learning_rate * share,
            beta1: self.beta1.powf(share),
            beta2: self.beta2.powf(share),
            ..self
        }
    }

    /// Values out of range; `name` is that of the network.
    pub(super) fn problems(&self, name: &str, problems: &mut Vec<String>) {
        let Self {
            learning_rate,
            beta1,
            beta2,
            epsilon,
        } = *self;
        if !(learning_rate.is_finite() && learning_rate > 0.0) {
            problems.push(format!(
                "{name}.learning_rate must be above 0, got {learning_rate}"
            ));
        }
        for (beta, value) in [("beta1", beta1), ("beta2", beta2)] {
            if !(0.0..1.0).contains(&value) {
                problems.push(format!("{name}.{beta} must be from 0 to below 1, got {value}"));
            }
        }
        if !(epsilon.is_finite() && epsilon > 0.0) {
            problems.push(format!("{name}.epsilon must be above 0, got {epsilon}"));
        }
    }
}

/// See [`TrainConfig::optimizers`].
pub(super) fn optimizers(config: &TrainConfig) -> [Adam; 2] {
    let lazy = config.discriminator.with_lazy_penalty(config.regularize.interval);
    let penalties = match config.regularize.penalizes_gradients() && config.regularize.interval > 1 {
        true => 1.0 / f64::from(config.regularize.interval),
        false => 0.0,
    };
    let updates = f64::from(config.objective.n_critic.max(1)) * (1.0 + penalties);
    [
        config.generator.build().schedule(decay(config, 1.0)),
        lazy.build().schedule(decay(config, updates)),
    ]
}

/// The decay of an optimizer that makes this many updates in a step.
fn decay(config: &TrainConfig, updates: f64) -> Schedule {
    if config.learning_rate_decay <= 0.0 {
        return Schedule::Constant;
    }
    let end = config.steps as f64 * updates;
    Schedule::LinearDecay {
        from: ((1.0 - config.learning_rate_decay) * end) as u64,
        to: end.ceil() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};
    use engraft_layers::{Dense, Gradients, Init, Optimizer, gradients, parameters};
    use engraft_tensor::Tensor;

    #[test]
    fn learning_rates_decay_at_the_end_of_the_run() {
        let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 300, 1));
        config.steps = 100;
        assert_eq!(decay(&config, 1.0), Schedule::Constant);
        config.learning_rate_decay = 0.25;
        let last_quarter = decay(&config, 1.0);
        assert_eq!(
            [75, 80, 100].map(|step| last_quarter.factor(step)),
            [1.0, 0.8, 0.0]
        );
        // 16 updates and a penalty in 16 steps.
        assert_eq!(
            decay(&config, 17.0 / 16.0),
            Schedule::LinearDecay { from: 79, to: 107 }
        );
        for wrong in [-0.1, 1.1, f64::NAN] {
            config.learning_rate_decay = wrong;
            let problems = config.problems();
            assert!(problems[0].contains("learning_rate_decay"), "{problems:?}");
        }
    }

    #[test]
    fn the_last_steps_change_little() {
        let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 300, 1));
        (config.steps, config.learning_rate_decay) = (8, 1.0);
        for mut adam in config.optimizers() {
            let mut layer = Dense::<f32>::new(3, 1, &mut Init::glorot(1));
            let mut moved = Vec::new();
            for _ in 0..8 {
                let before = parameters(&layer)[0].1.tensor().as_slice().to_vec();
                let loss = engraft_layers::Module::forward(
                    &layer,
                    &Tensor::full([4, 3], 1.0),
                    engraft_layers::Mode::Train,
                )
                .sum();
                let found: Gradients<f32> = gradients(&loss, &layer);
                drop(loss);
                adam.step(&mut layer, &found);
                let after = parameters(&layer)[0].1.tensor().as_slice().to_vec();
                moved.push((before[0] - after[0]).abs());
            }
            assert!(moved[7] < 0.2 * moved[0] && moved[7] > 0.0, "{moved:?}");
        }
    }
}
