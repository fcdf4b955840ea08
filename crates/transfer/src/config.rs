//! Settings of a transfer: the section `[plan]` of `run.toml`.

use crate::error::TransferError;
use crate::miner;
use crate::source_regularizers::SourceRegularizers;
use engraft_gan::networks::NetworkRoles;
use engraft_layers::{Adapter, ParamFilter};
use serde::{Deserialize, Serialize};

/// Settings of a transfer: which parameters train in which phase, and how the networks stay close to the source.
///
/// They form the section `[plan]` of a run's `run.toml`. The names of the fields are valid keys there. Files are written with
/// the keys of an earlier version (`preserve`, `distil`, `patches`, `rates` and `until_balance`), because the hash of the
/// settings in every checkpoint covers them.
///
/// ```toml
/// [plan]
/// source_sha256 = "…"
/// [[plan.phases]]            # only the discriminator trains
/// generator = "nothing"
/// discriminator = { except = ["block1"] }
/// steps = 100
/// until_equilibrium = true
/// [[plan.phases]]            # the last layers of the generator train too
/// generator = { under = ["block2", "to_image"] }
/// discriminator = { except = ["block1"] }
/// ```
///
/// The same in code:
///
/// ```
/// use engraft_transfer::{Phase, Trainable, TransferConfig};
///
/// let text = r#"
/// source_sha256 = "00"
/// [[phases]]
/// generator = "nothing"
/// steps = 100
/// until_equilibrium = true
/// [[phases]]
/// "#;
/// let config = TransferConfig::from_table(&text.parse()?)?;
/// let warmup = Phase { generator: Trainable::Nothing, steps: 100, until_equilibrium: true, ..Phase::default() };
/// assert_eq!(config.phases, [warmup, Phase::default()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransferConfig {
    /// SHA-256 of the source's weights, in hexadecimal.
    pub source_sha256: String,
    /// Regularizers that keep the generator close to the source: one, or a list such as `[{ ewc = 10.0 }, { dcl = 0.5 }]`.
    #[serde(rename = "preserve", alias = "regularizer")]
    pub regularizer: SourceRegularizers,
    /// Weight of [feature distillation](crate::regularizers::FeatureDistillation) in the discriminator's loss; 0 disables it.
    #[serde(rename = "distil", alias = "distillation")]
    pub distillation: f64,
    /// Adapter on the weights of the generator's layers. [`Trainable::Adapter`] trains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Adapter>,
    /// Width of the hidden layer of a [`Miner`](crate::Miner) in front of the generator. [`Trainable::Miner`] trains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub miner: Option<usize>,
    /// Whether a [`PatchHead`](crate::PatchHead) replaces the discriminator's head.
    #[serde(
        rename = "patches",
        alias = "patch_discriminator",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub patch_discriminator: bool,
    /// Learning rates of parts of the networks. If several entries match a parameter, the last one applies.
    #[serde(rename = "rates", alias = "learning_rates")]
    pub learning_rates: Vec<LearningRateFactor>,
    /// The phases in order. An empty list is one phase in which both networks train completely.
    pub phases: Vec<Phase>,
}

/// One phase of a transfer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Phase {
    /// Parameters of the generator that train.
    pub generator: Trainable,
    /// Parameters of the discriminator that train.
    pub discriminator: Trainable,
    /// Maximum number of steps; 0 means until the end of the run.
    pub steps: u64,
    /// Whether the phase ends early when both networks are in [equilibrium](fn@crate::equilibrium).
    #[serde(rename = "until_balance", alias = "until_equilibrium")]
    pub until_equilibrium: bool,
}

/// Which parameters of a network train. The running statistics of frozen layers do not change either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Trainable {
    /// All parameters.
    #[default]
    All,
    /// No parameters: the network is frozen.
    Nothing,
    /// The parameters of these layers.
    Under(Vec<String>),
    /// All parameters except those of these layers.
    Except(Vec<String>),
    /// Scales, shifts and running statistics of batch norms.
    BatchNorm,
    /// The adapter of [`TransferConfig::adapter`]; only for the generator.
    Adapter,
    /// The miner of [`TransferConfig::miner`], or the miner of the source; only for the generator.
    Miner,
}

/// The learning rate of some layers, relative to that of their network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRateFactor {
    /// Names of layers of either network.
    pub under: Vec<String>,
    /// Factor that multiplies the network's learning rate.
    pub factor: f64,
}

impl Trainable {
    /// The filter of the parameters that train, in a network with this adapter and these layer roles.
    pub fn param_filter(&self, adapter: Option<Adapter>, roles: &NetworkRoles) -> ParamFilter {
        match self {
            Self::Adapter => adapter.map_or_else(ParamFilter::all, Adapter::names),
            Self::Miner => ParamFilter::under([miner::LAYER]),
            Self::All => ParamFilter::all(),
            Self::Nothing => ParamFilter::under(Vec::<String>::new()),
            Self::Under(layers) => ParamFilter::under(layers.clone()),
            Self::Except(layers) => ParamFilter::all().except(layers.clone()),
            Self::BatchNorm => ParamFilter::under(roles.norms.clone()),
        }
    }
}

impl TransferConfig {
    /// Reads the section `[plan]` of a run.
    ///
    /// # Errors
    /// [`TransferError::Config`] for an unknown key or an invalid value.
    pub fn from_table(table: &toml::Table) -> Result<Self, TransferError> {
        table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| TransferError::Config {
                problems: vec![format!("[plan]: {}", error.message())],
            })
    }

    /// The section `[plan]` with these settings.
    pub fn to_table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("strings, numbers and tables can be written as TOML")
    }

    /// The phases, at least one: the default phase if [`TransferConfig::phases`] is empty.
    pub fn phases(&self) -> Vec<Phase> {
        if self.phases.is_empty() {
            vec![Phase::default()]
        } else {
            self.phases.clone()
        }
    }

    /// Whether only an adapter, a miner or batch norms of the generator train.
    ///
    /// This is parameter-efficient fine-tuning: the few trained numbers fit into an [`AdapterFile`](crate::AdapterFile).
    pub fn is_parameter_efficient(&self) -> bool {
        let is_efficient = |trained: &Trainable| {
            matches!(
                trained,
                Trainable::BatchNorm | Trainable::Adapter | Trainable::Miner
            )
        };
        let trained: Vec<Trainable> = self.phases().into_iter().map(|phase| phase.generator).collect();
        trained.iter().any(is_efficient)
            && trained
                .iter()
                .all(|t| *t == Trainable::Nothing || is_efficient(t))
    }

    /// Every setting that is invalid whatever the source is.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut weight = |name: &str, value: f64| {
            if !(value.is_finite() && value >= 0.0) {
                problems.push(format!(
                    "plan.{name}: expected a finite number of at least 0, got {value}"
                ));
            }
        };
        weight("distillation", self.distillation);
        for regularizer in self.regularizer.as_slice() {
            if let Some(value) = regularizer.weight() {
                weight(&format!("regularizer.{}", regularizer.name()), value);
            }
        }
        let adapted = |phase: &Phase| phase.generator == Trainable::Adapter;
        let of_generator = |trained: &Trainable| matches!(trained, Trainable::Adapter | Trainable::Miner);
        let misplaced = self.phases.iter().any(|p| of_generator(&p.discriminator));
        for rate in &self.learning_rates {
            weight("learning_rates.factor", rate.factor);
        }
        let phases = &self.phases;
        if misplaced {
            problems.push(
                "plan.phases: an adapter or miner can train in the generator only, not in the discriminator"
                    .into(),
            );
        }
        if let Some(rank) = self.adapter.and_then(Adapter::rank)
            && !(1..=Adapter::MAX_RANK).contains(&rank)
        {
            problems.push(format!(
                "plan.adapter: expected a rank from 1 to {}, got {rank}",
                Adapter::MAX_RANK
            ));
        }
        if let Some(hidden) = self.miner
            && !(1..=miner::MAX_HIDDEN).contains(&hidden)
        {
            problems.push(format!(
                "plan.miner: expected a hidden width from 1 to {}, got {hidden}",
                miner::MAX_HIDDEN
            ));
        }
        if self.adapter.is_none() && phases.iter().any(adapted) {
            problems.push(
                "plan.phases: a phase trains the generator's adapter, but there is none; set plan.adapter"
                    .into(),
            );
        }
        for (i, phase) in phases.iter().enumerate() {
            if i64::try_from(phase.steps).is_err() {
                problems.push(format!(
                    "plan.phases: phase {i} has {} steps; expected at most {}, the largest integer of TOML",
                    phase.steps,
                    i64::MAX
                ));
            }
            if i + 1 < phases.len() && phase.steps == 0 {
                problems.push(format!(
                    "plan.phases: phase {i} has no number of steps, so later phases would never start; set its steps"
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source_regularizers::SourceRegularizer;

    #[test]
    fn settings_round_trip_through_toml() {
        let config = TransferConfig {
            source_sha256: "ab".into(),
            regularizer: SourceRegularizer::Ewc(10.0).into(),
            distillation: 0.5,
            adapter: Some(Adapter::LowRank { rank: 4 }),
            miner: Some(64),
            patch_discriminator: true,
            learning_rates: vec![LearningRateFactor {
                under: vec!["stem".into()],
                factor: 0.1,
            }],
            phases: vec![
                Phase {
                    generator: Trainable::Nothing,
                    discriminator: Trainable::Except(vec!["block1".into()]),
                    steps: 100,
                    until_equilibrium: true,
                },
                Phase {
                    generator: Trainable::BatchNorm,
                    ..Phase::default()
                },
            ],
        };
        let table = config.to_table();
        assert_eq!(TransferConfig::from_table(&table).unwrap(), config);
        assert!(config.problems().is_empty());
        let wrong = toml::from_str("[[phases]]\ngenerater = \"all\"").unwrap();
        let error = TransferConfig::from_table(&wrong).unwrap_err().to_string();
        assert!(error.contains("generater"), "{error}");
    }

    #[test]
    fn sizes_have_limits_and_adapters_belong_to_the_generator() {
        let config = TransferConfig {
            adapter: Some(Adapter::LowRank { rank: 1 << 40 }),
            miner: Some(0),
            phases: vec![Phase {
                discriminator: Trainable::Miner,
                ..Phase::default()
            }],
            ..TransferConfig::default()
        };
        let problems = config.problems().join("; ");
        for part in [
            "plan.adapter",
            "1099511627776",
            "plan.miner",
            "4096",
            "plan.phases",
        ] {
            assert!(problems.contains(part), "{problems}");
        }
    }

    #[test]
    fn adapters_miners_and_batch_norms_are_parameter_efficient() {
        let is_efficient = |trained: &[Trainable]| {
            let phase = |generator: &Trainable| Phase {
                generator: generator.clone(),
                ..Phase::default()
            };
            let phases = trained.iter().map(phase).collect();
            TransferConfig {
                phases,
                ..TransferConfig::default()
            }
            .is_parameter_efficient()
        };
        assert!(
            is_efficient(&[Trainable::Nothing, Trainable::Miner]) && is_efficient(&[Trainable::BatchNorm])
        );
        assert!(is_efficient(&[Trainable::Adapter, Trainable::BatchNorm]));
        assert!(!is_efficient(&[]) && !is_efficient(&[Trainable::Nothing]));
        assert!(!is_efficient(&[Trainable::Adapter, Trainable::All]));
    }

    #[test]
    fn a_phase_without_end_before_another_is_refused() {
        let config = TransferConfig {
            distillation: -1.0,
            phases: vec![Phase::default(), Phase::default()],
            ..TransferConfig::default()
        };
        let problems = config.problems().join("; ");
        assert!(problems.contains("phase 0") && problems.contains("plan.distillation"));
    }

    #[test]
    fn every_weight_is_checked() {
        let regularizers = [
            SourceRegularizer::Ewc(-1.0),
            SourceRegularizer::Cdc(f64::INFINITY),
        ];
        let config = TransferConfig {
            regularizer: SourceRegularizers::new(regularizers).unwrap(),
            ..TransferConfig::default()
        };
        let problems = config.problems().join("; ");
        assert!(
            problems.contains("plan.regularizer.ewc") && problems.contains("plan.regularizer.cdc"),
            "{problems}"
        );
    }

    /// Keys of an earlier version are still read, and are written too: the hash of the settings covers them.
    #[test]
    fn keys_of_both_versions_are_read_and_those_of_the_earlier_one_written() {
        let earlier = "distil = 0.5\npatches = true\nsource_sha256 = \"ab\"\n\n[[phases]]\ndiscriminator = \"all\"\n\
                       generator = \"nothing\"\nsteps = 7\nuntil_balance = true\n\n[preserve]\newc = 10.0\n\n[[rates]]\n\
                       factor = 0.1\nunder = [\"stem\"]\n";
        let now = earlier
            .replace("distil", "distillation")
            .replace("patches", "patch_discriminator")
            .replace("until_balance", "until_equilibrium")
            .replace("preserve", "regularizer")
            .replace("rates", "learning_rates");
        let read = |text: &str| TransferConfig::from_table(&toml::from_str(text).unwrap()).unwrap();
        let config = read(earlier);
        assert_eq!(config, read(&now));
        assert!(config.phases[0].until_equilibrium && config.patch_discriminator);
        assert_eq!(config.to_table(), toml::from_str(earlier).unwrap());
    }
}
