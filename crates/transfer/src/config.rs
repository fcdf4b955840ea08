//! What a transfer is told: the section `[plan]` of a run's settings.

use crate::error::TransferError;
use crate::miner;
use crate::parse::with_number;
use engraft_gan::networks::NetworkRoles;
use engraft_layers::{Adapter, ParamFilter};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How a source is carried to a target: what trains when, and what keeps the networks close to the source.
///
/// ```toml
/// [plan]
/// source_sha256 = "…"
/// [[plan.phases]]            # the discriminator learns the target, the generator waits
/// generator = "nothing"
/// discriminator = { except = ["block1"] }
/// steps = 100
/// until_balance = true
/// [[plan.phases]]            # then the later part of the generator follows
/// generator = { under = ["block2", "to_image"] }
/// discriminator = { except = ["block1"] }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransferConfig {
    /// SHA-256 of the source's weights.
    pub source_sha256: String,
    /// What keeps the generator close to the source.
    pub preserve: SourceRegularizer,
    /// Weight of feature distillation: the discriminator's features of real images stay those of the source's; 0 is
    /// without.
    pub distil: f64,
    /// What is put on the weights of the generator's layers, for [`Trainable::Adapter`] to train.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Adapter>,
    /// Width of the hidden layer of a [`Miner`](crate::Miner) in front of the generator, for [`Trainable::Miner`] to train.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub miner: Option<usize>,
    /// Whether the discriminator gets a [`PatchHead`](crate::PatchHead) in the place of its head.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub patches: bool,
    /// Learning rates of parts, as factors of that of the network; the last that holds a name decides.
    pub rates: Vec<Rate>,
    /// The phases, one after the other; none is one in which all of both networks trains.
    pub phases: Vec<Phase>,
}

/// One phase of a transfer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Phase {
    /// What of the generator trains.
    pub generator: Trainable,
    /// What of the discriminator trains.
    pub discriminator: Trainable,
    /// Most steps of the phase; 0 goes on to the end of the run.
    pub steps: u64,
    /// Whether it is over as soon as the two networks balance, see [`equilibrium`](crate::balance).
    pub until_balance: bool,
}

/// Which parameters train, and which running statistics move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Trainable {
    /// All.
    #[default]
    All,
    /// None.
    Nothing,
    /// These layers.
    Under(Vec<String>),
    /// All but these layers.
    Except(Vec<String>),
    /// Scales and shifts of batch norms, and their running statistics.
    BatchNorm,
    /// The adapter of [`TransferConfig::adapter`]; of the generator only.
    Adapter,
    /// The miner of [`TransferConfig::miner`], or the one that the source has already; of the generator only.
    Miner,
}

/// The learning rate of a part of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Layers, of either network.
    pub under: Vec<String>,
    /// Factor of the network's learning rate.
    pub factor: f64,
}

/// What is added to the generator's loss to keep it close to the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SourceRegularizer {
    /// Nothing.
    #[default]
    Nothing,
    /// [`L2Sp`](crate::regularizers::L2Sp) with this weight.
    L2Sp(f64),
    /// [`ElasticWeights`](crate::regularizers::ElasticWeights) with this weight.
    Ewc(f64),
    /// [`CrossDomain`](crate::regularizers::CrossDomain) with this weight.
    Cdc(f64),
}

impl Trainable {
    /// The names that train, in a network with these roles and this adapter.
    pub fn names(&self, adapter: Option<Adapter>, roles: &NetworkRoles) -> ParamFilter {
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

impl FromStr for SourceRegularizer {
    type Err = TransferError;

    /// Reads `nothing`, or `l2-sp`, `ewc` or `cdc` with a weight, as `ewc=10`.
    ///
    /// # Errors
    /// [`TransferError::Unknown`] for any other text.
    fn from_str(text: &str) -> Result<Self, TransferError> {
        match with_number(text) {
            Some(("nothing", None)) => Ok(Self::Nothing),
            Some(("l2-sp", Some(weight))) => Ok(Self::L2Sp(weight)),
            Some(("ewc", Some(weight))) => Ok(Self::Ewc(weight)),
            Some(("cdc", Some(weight))) => Ok(Self::Cdc(weight)),
            _ => Err(TransferError::Unknown {
                what: "term",
                found: text.into(),
                expected: "nothing, or l2-sp, ewc or cdc with a weight, as ewc=10".into(),
            }),
        }
    }
}

impl TransferConfig {
    /// The settings in a run's `[plan]`.
    ///
    /// # Errors
    /// [`TransferError::Config`] for a name that is no setting or a value that it does not take.
    pub fn from_table(table: &toml::Table) -> Result<Self, TransferError> {
        table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| TransferError::Config {
                problems: vec![format!("[plan]: {}", error.message())],
            })
    }

    /// The settings as a run's `[plan]`.
    pub fn to_table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("strings, numbers and tables always have a TOML form")
    }

    /// The phases, at least one.
    pub fn phases(&self) -> Vec<Phase> {
        if self.phases.is_empty() {
            vec![Phase::default()]
        } else {
            self.phases.clone()
        }
    }

    /// Whether all that trains of the generator is an adapter, a miner, or scales and shifts: few numbers, which go into
    /// an [`AdapterFile`](crate::AdapterFile).
    pub fn is_parameter_efficient(&self) -> bool {
        let little = |trained: &Trainable| {
            matches!(
                trained,
                Trainable::BatchNorm | Trainable::Adapter | Trainable::Miner
            )
        };
        let trained: Vec<Trainable> = self.phases().into_iter().map(|phase| phase.generator).collect();
        trained.iter().any(little) && trained.iter().all(|t| *t == Trainable::Nothing || little(t))
    }

    /// What makes no sense in itself.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut weight = |name: &str, value: f64| {
            if !(value.is_finite() && value >= 0.0) {
                problems.push(format!("plan.{name} must be 0 or above, got {value}"));
            }
        };
        weight("distil", self.distil);
        match self.preserve {
            SourceRegularizer::Nothing => {}
            SourceRegularizer::L2Sp(value) => weight("preserve.l2-sp", value),
            SourceRegularizer::Ewc(value) => weight("preserve.ewc", value),
            SourceRegularizer::Cdc(value) => weight("preserve.cdc", value),
        }
        let adapted = |phase: &Phase| phase.generator == Trainable::Adapter;
        let of_generator = |trained: &Trainable| matches!(trained, Trainable::Adapter | Trainable::Miner);
        let misplaced = self.phases.iter().any(|p| of_generator(&p.discriminator));
        for rate in &self.rates {
            weight("rates.factor", rate.factor);
        }
        let phases = &self.phases;
        if misplaced {
            problems.push("plan.phases: only the generator has an adapter or a miner".into());
        }
        if let Some(rank) = self.adapter.and_then(Adapter::rank)
            && !(1..=Adapter::MAX_RANK).contains(&rank)
        {
            problems.push(format!(
                "plan.adapter: the rank must be from 1 to {}, got {rank}",
                Adapter::MAX_RANK
            ));
        }
        if let Some(hidden) = self.miner
            && !(1..=miner::MAX_HIDDEN).contains(&hidden)
        {
            problems.push(format!(
                "plan.miner: the hidden layer must have from 1 to {} numbers, got {hidden}",
                miner::MAX_HIDDEN
            ));
        }
        if self.adapter.is_none() && phases.iter().any(adapted) {
            problems.push(
                "plan.phases: a generator whose adapter trains, but there is no adapter: set plan.adapter"
                    .into(),
            );
        }
        for (i, phase) in phases.iter().enumerate() {
            if i + 1 < phases.len() && phase.steps == 0 {
                problems.push(format!(
                    "plan.phases: phase {i} needs a number of steps, or those after it never begin"
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_preserves_is_read_by_name() {
        let read = |text: &str| text.parse::<SourceRegularizer>();
        assert_eq!(read("nothing").unwrap(), SourceRegularizer::Nothing);
        assert_eq!(read("ewc=10").unwrap(), SourceRegularizer::Ewc(10.0));
        assert_eq!(read("l2-sp=0.5").unwrap(), SourceRegularizer::L2Sp(0.5));
        for wrong in ["ewc", "ewc=much", "ewd=1", "nothing=1"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("as ewc=10"), "{error}");
        }
    }

    #[test]
    fn settings_go_to_toml_and_back() {
        let config = TransferConfig {
            source_sha256: "ab".into(),
            preserve: SourceRegularizer::Ewc(10.0),
            distil: 0.5,
            adapter: Some(Adapter::LowRank { rank: 4 }),
            miner: Some(64),
            patches: true,
            rates: vec![Rate {
                under: vec!["stem".into()],
                factor: 0.1,
            }],
            phases: vec![
                Phase {
                    generator: Trainable::Nothing,
                    discriminator: Trainable::Except(vec!["block1".into()]),
                    steps: 100,
                    until_balance: true,
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
    fn sizes_have_limits_and_what_belongs_to_the_generator_stays_there() {
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
            "from 1 to 512, got 1099511627776",
            "from 1 to 4096",
            "only the generator",
        ] {
            assert!(problems.contains(part), "{problems}");
        }
    }

    #[test]
    fn little_is_what_fits_into_a_small_file() {
        let of = |trained: &[Trainable]| {
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
        assert!(of(&[Trainable::Nothing, Trainable::Miner]) && of(&[Trainable::BatchNorm]));
        assert!(of(&[Trainable::Adapter, Trainable::BatchNorm]));
        assert!(!of(&[]) && !of(&[Trainable::Nothing]) && !of(&[Trainable::Adapter, Trainable::All]));
    }

    #[test]
    fn a_phase_that_never_ends_before_another_is_refused() {
        let config = TransferConfig {
            distil: -1.0,
            phases: vec![Phase::default(), Phase::default()],
            ..TransferConfig::default()
        };
        let problems = config.problems().join("; ");
        assert!(problems.contains("phase 0 needs a number of steps") && problems.contains("distil"));
    }
}
