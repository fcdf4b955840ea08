//! The methods of the benchmark by name.

use anyhow::{Context, ensure};
use engraft_layers::Adapter;
use engraft_transfer::{
    Phase, PretrainedGan, Recipe, SourceRegularizer, SourceRegularizers, Trainable, gradual_unfreezing,
};

/// Methods that are not a recipe with one change: two baselines, and the recipe that `engraft transfer` chooses.
const OTHERS: [&str; 3] = ["untuned-source", "from-scratch", "auto"];
/// Plain fine-tuning, and recipes that differ from it in one respect.
const FIXED: [&str; 18] = [
    "fine-tune",
    "double-rate",
    "discriminator-warmup",
    "translation",
    "freeze-d",
    "patch-discriminator",
    "freeze-g",
    "batch-norm",
    "low-rank",
    "singular-values",
    "modulation",
    "output-scale",
    "miner",
    "gradual-unfreezing",
    "l2-sp",
    "ewc",
    "cdc",
    "dcl",
];
/// Regularizers with their weights. Their names joined by `+` are a method too.
const REGULARIZERS: [(&str, SourceRegularizer); 4] = [
    ("l2-sp", SourceRegularizer::L2Sp(1.0)),
    ("ewc", SourceRegularizer::Ewc(10.0)),
    ("cdc", SourceRegularizer::Cdc(10.0)),
    ("dcl", SourceRegularizer::Dcl(0.5)),
];
/// Rank of the low-rank adapter, and of the modulation.
const LOW_RANK: usize = 4;
const MODULATION: usize = 1;

/// Names of an earlier version, each with the name of today. They are still accepted, and name the directories of results.
const EARLIER: [(&str, &str); 4] = [
    ("source-as-is", "untuned-source"),
    ("warm-up", "discriminator-warmup"),
    ("patches", "patch-discriminator"),
    ("gradual", "gradual-unfreezing"),
];

/// The name of today of a method.
pub(super) fn name_of_today(name: &str) -> &str {
    let found = EARLIER.iter().find(|(earlier, _)| *earlier == name);
    found.map_or(name, |(_, today)| today)
}

/// The name of a method in directories and results.
pub(super) fn stored_name(name: &str) -> &str {
    let found = EARLIER.iter().find(|(_, today)| *today == name);
    found.map_or(name, |(earlier, _)| earlier)
}

/// The regularizers of a method such as `ewc` or `ewc+dcl`; `None` for another method.
///
/// # Errors
/// If a regularizer is there twice.
fn regularizers(name: &str) -> anyhow::Result<Option<SourceRegularizers>> {
    let parts = name.split('+').map(|part| {
        let found = REGULARIZERS.iter().find(|(regularizer, _)| *regularizer == part);
        found.map(|(_, regularizer)| *regularizer)
    });
    let found: Option<Vec<SourceRegularizer>> = parts.collect();
    found
        .map(SourceRegularizers::new)
        .transpose()
        .with_context(|| format!("--methods {name}"))
}

/// Checks all names before the first run begins.
pub(super) fn check(names: &[String]) -> anyhow::Result<()> {
    for name in names {
        regularizers(name)?;
    }
    let unknown: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !OTHERS.contains(name) && !FIXED.contains(name))
        .filter(|name| !matches!(regularizers(name), Ok(Some(_))))
        .collect();
    ensure!(
        unknown.is_empty(),
        "--methods {}: unknown method; expected {}, {}, or regularizers joined by +, such as ewc+dcl",
        unknown.join(","),
        OTHERS.join(", "),
        FIXED.join(", ")
    );
    Ok(())
}

/// The recipe of a method, for a run of `steps` steps.
pub(super) fn fixed(source: &PretrainedGan, name: &str, steps: u64) -> anyhow::Result<Recipe> {
    let mut recipe = Recipe::fine_tune(source)?;
    recipe.name = stored_name(name).into();
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
        "double-rate" => recipe.learning_rate_factor = 2.0,
        "translation" => recipe.augment = Recipe::translation(),
        _ => {}
    }
    let regularizers = regularizers(name)?;
    let is_regularized = regularizers.is_some();
    plan.regularizer = regularizers.unwrap_or_default();
    plan.adapter = adapter;
    plan.patch_discriminator = name == "patch-discriminator";
    plan.phases = match name {
        _ if adapter.is_some() => of_generator(Trainable::Adapter),
        _ if is_regularized => of_generator(Trainable::All),
        "fine-tune" | "double-rate" | "translation" | "patch-discriminator" => of_generator(Trainable::All),
        "discriminator-warmup" => vec![
            Phase {
                generator: Trainable::Nothing,
                steps: Recipe::discriminator_warmup(steps),
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
        "gradual-unfreezing" => {
            // Each layer has as long alone as the next ones with it.
            let layers = source.generator_layers()?;
            let every = (steps / layers.len().max(1) as u64).max(1);
            gradual_unfreezing(&layers, every, &Phase::default())?
        }
        _ => {
            check(&[name.to_string()])?;
            anyhow::bail!("--methods {name}: expected a recipe")
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
            // A class-conditional discriminator cannot be a patch discriminator.
            for name in FIXED
                .iter()
                .filter(|name| classes == 0 || **name != "patch-discriminator")
            {
                let recipe = fixed(&source, name, 100).unwrap();
                assert_eq!(recipe.name, stored_name(name));
                assert_eq!(name_of_today(stored_name(name)), *name);
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

    #[test]
    fn regularizers_joined_by_a_plus_are_a_method() {
        let config = TrainConfig::standard(&drawn_digits(Split::Test, 20, 1));
        let networks = untrained_networks(&config).unwrap();
        let source = PretrainedGan::new(config, &networks.generator, &networks.discriminator);
        let names = ["ewc+dcl", "l2-sp+ewc+cdc+dcl"].map(String::from);
        check(&names).unwrap();
        let recipe = fixed(&source, "ewc+dcl", 100).unwrap();
        assert_eq!(recipe.name, "ewc+dcl");
        assert_eq!(recipe.plan.regularizer, "ewc=10,dcl=0.5".parse().unwrap());
        assert_eq!(recipe.plan.phases, [Phase::default()]);
        Transfer::new(source, recipe.plan).unwrap();
        for (wrong, named) in [
            ("ewc+ewc", "ewc is given 2 times"),
            ("ewc+freeze-d", "unknown method"),
            ("ewc+", "unknown method"),
        ] {
            let error = format!("{:#}", check(&[wrong.into()]).unwrap_err());
            assert!(
                error.contains(&format!("--methods {wrong}")) && error.contains(named),
                "{error}"
            );
        }
    }
}
