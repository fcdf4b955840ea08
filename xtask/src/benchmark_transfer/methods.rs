//! The methods of the table by their names: recipes of one part only.

use anyhow::ensure;
use engraft_layers::Adapter;
use engraft_transfer::{Phase, PretrainedGan, Recipe, Trainable, gradual_unfreezing};

/// Methods that are no recipe of one part: the controls, and what the program chooses itself.
const OTHERS: [&str; 3] = ["source-as-is", "from-scratch", "auto"];
/// Recipes of one part.
const FIXED: [&str; 14] = [
    "fine-tune",
    "double-rate",
    "warm-up",
    "translation",
    "freeze-d",
    "patches",
    "freeze-g",
    "batch-norm",
    "low-rank",
    "singular-values",
    "modulation",
    "output-scale",
    "miner",
    "gradual",
];
/// Rank of the low-rank adapter, and of the modulation.
const LOW_RANK: usize = 4;
const MODULATION: usize = 1;

/// Checks all names before the first run begins.
pub(super) fn check(names: &[String]) -> anyhow::Result<()> {
    let unknown: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !OTHERS.contains(name) && !FIXED.contains(name))
        .collect();
    ensure!(
        unknown.is_empty(),
        "--methods {}: there is no such method; the names are {}, {}",
        unknown.join(","),
        OTHERS.join(", "),
        FIXED.join(", ")
    );
    Ok(())
}

/// A recipe of one part only, by its name, for a run of `steps` steps.
pub(super) fn fixed(source: &PretrainedGan, name: &str, steps: u64) -> anyhow::Result<Recipe> {
    let mut recipe = Recipe::fine_tune(source)?;
    recipe.name = name.into();
    let first = |layers: Vec<String>| Trainable::Except(layers.into_iter().take(1).collect());
    let plan = &mut recipe.plan;
    let of_generator = |generator: Trainable| {
        vec![Phase {
            generator,
            ..Phase::default()
        }]
    };
    let adapter = match name {
        "low-rank" => Some(Adapter::LowRank { rank: LOW_RANK }),
        "singular-values" => Some(Adapter::SingularValues),
        "modulation" => Some(Adapter::Modulation { rank: MODULATION }),
        "output-scale" => Some(Adapter::OutputScale),
        _ => None,
    };
    match name {
        "double-rate" => recipe.rate = 2.0,
        "translation" => recipe.augment = Recipe::translation(),
        _ => {}
    }
    plan.adapter = adapter;
    plan.patches = name == "patches";
    plan.phases = match name {
        _ if adapter.is_some() => of_generator(Trainable::Adapter),
        "fine-tune" | "double-rate" | "translation" | "patches" => of_generator(Trainable::All),
        "warm-up" => vec![
            Phase {
                generator: Trainable::Nothing,
                steps: Recipe::warm_up(steps),
                ..Phase::default()
            },
            Phase::default(),
        ],
        "freeze-d" => vec![Phase {
            discriminator: first(source.discriminator_layers()?),
            ..Phase::default()
        }],
        "freeze-g" => of_generator(first(source.generator_layers()?)),
        "batch-norm" => of_generator(Trainable::BatchNorm),
        "miner" => {
            plan.miner = source.miner().or(source.config.latent_dim().ok());
            of_generator(Trainable::Miner)
        }
        "gradual" => {
            // Each layer has as long alone as the next ones with it.
            let layers = source.generator_layers()?;
            let every = (steps / layers.len().max(1) as u64).max(1);
            gradual_unfreezing(&layers, every, &Phase::default())?
        }
        _ => {
            check(&[name.to_string()])?;
            anyhow::bail!("--methods {name}: no recipe of one part")
        }
    };
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};
    use engraft_gan::{Networks, TrainConfig, untrained_networks};
    use engraft_transfer::Transfer;

    #[test]
    fn every_method_is_a_plan_that_can_be_made() {
        for classes in [0, 10] {
            let mut config = TrainConfig::standard(&drawn_digits(Split::Test, 20, 1));
            config.classes = classes;
            let Networks {
                generator,
                discriminator,
                ..
            } = untrained_networks(&config).unwrap();
            let source = PretrainedGan::new(config, &generator, &discriminator);
            // A discriminator that is told the class does not judge by a map.
            for name in FIXED.iter().filter(|name| classes == 0 || **name != "patches") {
                let recipe = fixed(&source, name, 100).unwrap();
                assert_eq!(recipe.name, *name);
                if *name == "freeze-d" {
                    let first = ["block1", "projection.features.block1"][usize::from(classes > 0)];
                    assert_eq!(
                        recipe.plan.phases[0].discriminator,
                        Trainable::Except(vec![first.into()])
                    );
                }
                let plan = Transfer::new(source.clone(), recipe.plan);
                assert!(plan.is_ok(), "{name}: {:?}", plan.err());
            }
        }
        let error = check(&["miner".into(), "lora".into()]).unwrap_err().to_string();
        assert!(
            error.contains("--methods lora") && error.contains("singular-values"),
            "{error}"
        );
    }
}
