//! Learning rates of the two networks, as options of the commands that train.

use engraft_gan::TrainConfig;

/// Learning rates instead of those of the settings.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(crate) struct LearningRates {
    /// Learning rate of both networks [default: the preset's; for a transfer the source's, at most 2e-4 if it has
    /// pseudo-labels]
    #[arg(long, value_name = "RATE", value_parser = learning_rate, help_heading = "Training")]
    pub(crate) learning_rate: Option<f64>,
    /// Learning rate of the generator, instead of --learning-rate
    #[arg(long, value_name = "RATE", value_parser = learning_rate, help_heading = "Training")]
    pub(crate) learning_rate_g: Option<f64>,
    /// Learning rate of the discriminator, instead of --learning-rate
    #[arg(long, value_name = "RATE", value_parser = learning_rate, help_heading = "Training")]
    pub(crate) learning_rate_d: Option<f64>,
}

impl LearningRates {
    /// Changes the settings of a run.
    pub(crate) fn apply(&self, config: &mut TrainConfig) {
        if let Some(rate) = self.learning_rate_g.or(self.learning_rate) {
            config.generator.learning_rate = rate;
        }
        if let Some(rate) = self.learning_rate_d.or(self.learning_rate) {
            config.discriminator.learning_rate = rate;
        }
    }
}

/// A learning rate: a finite number above 0.
pub(super) fn learning_rate(text: &str) -> Result<f64, String> {
    above_zero(text, "2e-4")
}

/// A finite number above 0. An error names the example.
pub(super) fn above_zero(text: &str, example: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) && number > 0.0 => Ok(number),
        _ => Err(format!("expected a number above 0, such as {example}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_one_network_takes_precedence() {
        let digits = engraft_data::drawn_digits(engraft_data::Split::Train, 20, 1);
        let before = TrainConfig::standard(&digits);
        let changed = |options: LearningRates| {
            let mut config = before.clone();
            options.apply(&mut config);
            [config.generator.learning_rate, config.discriminator.learning_rate]
        };
        let defaults = [before.generator.learning_rate, before.discriminator.learning_rate];
        assert_eq!(changed(LearningRates::default()), defaults);
        let mut options = LearningRates {
            learning_rate: Some(0.5),
            ..LearningRates::default()
        };
        assert_eq!(changed(options.clone()), [0.5, 0.5]);
        options.learning_rate_d = Some(0.25);
        assert_eq!(changed(options), [0.5, 0.25]);
        for wrong in ["0", "-1", "nan", "inf", "a"] {
            assert!(learning_rate(wrong).is_err(), "{wrong}");
        }
    }
}
