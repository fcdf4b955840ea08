//! The arguments that put parts of a user's own in the place of a recipe's: what trains, and what keeps it close.

use anyhow::ensure;
use engraft_layers::Adapter;
use engraft_transfer::{Phase, Preserve, Recipe, Source, Trained, gradual};

/// What is changed of a recipe.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub(super) struct PlanOptions {
    /// Layers of the generator that stay the source's, as stem,block1
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    freeze_g: Vec<String>,
    /// Layers of the discriminator that stay the source's
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    freeze_d: Vec<String>,
    /// Train only scales and shifts of the generator's batch norms
    #[arg(long, conflicts_with = "freeze_g")]
    batch_norm_only: bool,
    /// Train only something small: an adapter on the generator's weights (singular-values, output-scale, or low-rank or
    /// modulation with a rank, as low-rank=4; 4 and 1 without), or a miner of its latent space (miner, or miner=WIDTH)
    #[arg(long, value_name = "KIND", value_parser = small, conflicts_with_all = ["freeze_g", "batch_norm_only"])]
    adapter: Option<Small>,
    /// Steps in which the discriminator learns the target alone, before anything of the generator trains [default: the recipe's]
    #[arg(long, value_name = "N")]
    warm_up: Option<u64>,
    /// Thaw the generator from its output backwards: first its last layer trains, after N steps the last two, and so on
    #[arg(long, value_name = "N", conflicts_with_all = ["freeze_g", "batch_norm_only", "adapter"])]
    unfreeze_every: Option<u64>,
    /// What keeps the generator close to the source: nothing, or l2-sp, ewc or cdc with a weight, as ewc=10
    #[arg(long, value_name = "TERM=WEIGHT", value_parser = preserve)]
    preserve: Option<Preserve>,
    /// Weight of feature distillation in the discriminator
    #[arg(long, value_name = "WEIGHT")]
    distil: Option<f64>,
    /// Let the discriminator judge patches of an image instead of all of it
    #[arg(long)]
    patches: bool,
    /// Stop when generator and discriminator balance
    #[arg(long)]
    until_balance: bool,
}

/// What is small enough to lie beside a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Small {
    Adapter(Adapter),
    /// With the width of its hidden layer; without, that of the latent vector.
    Miner(Option<usize>),
}

/// `low-rank=4`, `miner` and the like.
fn small(text: &str) -> Result<Small, String> {
    let width = |width: &str| {
        let width = width.parse().ok().filter(|width| *width > 0);
        width.ok_or_else(|| format!("expected miner or miner=WIDTH, got {text:?}"))
    };
    match text.split_once('=') {
        None if text == "miner" => Ok(Small::Miner(None)),
        Some(("miner", n)) => Ok(Small::Miner(Some(width(n)?))),
        None if text == "low-rank" => Ok(Small::Adapter(Adapter::LowRank { rank: 4 })),
        None if text == "modulation" => Ok(Small::Adapter(Adapter::Modulation { rank: 1 })),
        _ => match text.parse() {
            Ok(adapter) => Ok(Small::Adapter(adapter)),
            Err(error) => Err(format!("{error}; or miner, or miner=WIDTH")),
        },
    }
}

/// `ewc=10` and the like.
fn preserve(text: &str) -> Result<Preserve, String> {
    let expected = || "expected nothing, or l2-sp, ewc or cdc with a weight, as ewc=10".to_string();
    if text == "nothing" {
        return Ok(Preserve::Nothing);
    }
    let (name, weight) = text.split_once('=').ok_or_else(expected)?;
    let weight: f64 = weight.parse().map_err(|_| expected())?;
    match name {
        "l2-sp" => Ok(Preserve::L2Sp(weight)),
        "ewc" => Ok(Preserve::Ewc(weight)),
        "cdc" => Ok(Preserve::Cdc(weight)),
        _ => Err(expected()),
    }
}

impl PlanOptions {
    /// Changes a recipe for a run of `steps` steps.
    ///
    /// # Errors
    /// If the generator would not train or cannot thaw in so many steps.
    pub(super) fn change(&self, recipe: &mut Recipe, source: &Source, steps: u64) -> anyhow::Result<()> {
        let frozen = |layers: &[String]| Trained::Except(layers.to_vec());
        let plan = &mut recipe.plan;
        let generator = match self.adapter {
            Some(Small::Adapter(adapter)) => {
                plan.adapter = Some(adapter);
                Some(Trained::Adapter)
            }
            Some(Small::Miner(width)) => {
                plan.miner = width.or_else(|| {
                    // A miner that the source has already learns on as it is.
                    let has_one = source.miner().is_some();
                    (!has_one).then(|| source.config.network.latent())
                });
                Some(Trained::Miner)
            }
            None if self.batch_norm_only => Some(Trained::BatchNorm),
            None => (!self.freeze_g.is_empty()).then(|| frozen(&self.freeze_g)),
        };
        let discriminator = (!self.freeze_d.is_empty()).then(|| frozen(&self.freeze_d));
        if plan.phases.is_empty() {
            plan.phases.push(Phase::default());
        }
        for phase in &mut plan.phases {
            if phase.generator != Trained::Nothing
                && let Some(generator) = &generator
            {
                phase.generator = generator.clone();
            }
            if let Some(discriminator) = &discriminator {
                phase.discriminator = discriminator.clone();
            }
        }
        if let Some(alone) = self.warm_up {
            ensure!(
                alone < steps,
                "--warm-up {alone}: the generator would never train, as --steps is {steps}; take more steps, or a shorter warm-up"
            );
            plan.phases.retain(|phase| phase.generator != Trained::Nothing);
            if alone > 0 {
                let first = plan.phases.first().cloned().unwrap_or_default();
                let warm_up = Phase {
                    generator: Trained::Nothing,
                    steps: alone,
                    ..first
                };
                plan.phases.insert(0, warm_up);
            }
        }
        if let Some(last) = plan.phases.last_mut() {
            last.until_balance = self.until_balance;
        }
        if let Some(every) = self.unfreeze_every {
            let last = plan.phases.pop().unwrap_or_default();
            plan.phases
                .extend(gradual(&source.generator_layers()?, every, &last)?);
            let before = &plan.phases[..plan.phases.len() - 1];
            let needed = before
                .iter()
                .map(|phase| phase.steps)
                .fold(0, u64::saturating_add);
            ensure!(
                needed < steps,
                "--unfreeze-every {every}: all of the generator trains only after {needed} steps, but --steps is {steps}; \
                 take more steps, or fewer for each phase"
            );
        }
        if let Some(preserve) = self.preserve {
            plan.preserve = preserve;
        }
        plan.patches |= self.patches;
        if let Some(distil) = self.distil {
            plan.distil = distil;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};
    use engraft_gan::{TrainConfig, random_networks};
    use engraft_transfer::Proximity;

    #[test]
    fn terms_by_name() {
        assert_eq!(preserve("nothing"), Ok(Preserve::Nothing));
        assert_eq!(preserve("ewc=10"), Ok(Preserve::Ewc(10.0)));
        assert_eq!(preserve("l2-sp=0.5"), Ok(Preserve::L2Sp(0.5)));
        for wrong in ["ewc", "ewc=much", "ewd=1"] {
            assert!(preserve(wrong).unwrap_err().contains("as ewc=10"), "{wrong}");
        }
    }

    #[test]
    fn a_warm_up_takes_the_place_of_the_recipes() {
        let config = TrainConfig::standard(&drawn_digits(Split::Test, 20, 1));
        let (generator, discriminator, _) = random_networks(&config).unwrap();
        let source = Source::new(config, &generator, &discriminator);
        let far = Proximity {
            images: 10,
            kid: None,
            recall: Some(0.0),
            coverage: None,
            a_distance: 2.0,
        };
        let phases = |images, warm_up| {
            let mut recipe = Recipe::choose(&source, images, &far, 100)?;
            let options = PlanOptions {
                warm_up,
                freeze_g: vec!["stem".into()],
                until_balance: true,
                ..PlanOptions::default()
            };
            options.change(&mut recipe, &source, 100)?;
            let phases = recipe.plan.phases.iter();
            anyhow::Ok(
                phases
                    .map(|phase| {
                        (
                            phase.generator == Trained::Nothing,
                            phase.steps,
                            phase.until_balance,
                        )
                    })
                    .collect::<Vec<_>>(),
            )
        };
        let (alone, rest) = ((true, 10, false), (false, 0, true));
        assert_eq!(phases(10, None).unwrap(), [alone, rest]);
        assert_eq!(phases(10, Some(30)).unwrap(), [(true, 30, false), rest]);
        assert_eq!(phases(10, Some(0)).unwrap(), [rest]);
        assert_eq!(phases(100, None).unwrap(), [rest]);
        assert_eq!(phases(100, Some(7)).unwrap(), [(true, 7, false), rest]);
        let error = phases(100, Some(100)).unwrap_err().to_string();
        assert!(
            error.contains("--warm-up 100") && error.contains("--steps is 100"),
            "{error}"
        );
    }

    #[test]
    fn small_parts_by_name() {
        let low_rank = |rank| Ok(Small::Adapter(Adapter::LowRank { rank }));
        assert_eq!(
            (small("low-rank=3"), small("low-rank")),
            (low_rank(3), low_rank(4))
        );
        assert_eq!(small("miner"), Ok(Small::Miner(None)));
        assert_eq!(small("miner=64"), Ok(Small::Miner(Some(64))));
        assert_eq!(
            small("singular-values"),
            Ok(Small::Adapter(Adapter::SingularValues))
        );
        for wrong in ["low-rank=0", "lora", "miner=0", "singular-values=2"] {
            assert!(small(wrong).unwrap_err().contains("miner=WIDTH"), "{wrong}");
        }
    }
}
