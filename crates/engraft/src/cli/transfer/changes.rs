//! Options that change a recipe.

use crate::cli::options::{PlanOptions, Small};
use anyhow::ensure;
use engraft_gan::{RunLayout, TrainConfig, read_settings};
use engraft_transfer::{
    Phase, PretrainedGan, Recipe, SourceRegularizer, Trainable, TransferConfig, gradual_unfreezing,
};
use std::path::Path;

/// Changes a recipe for a run of `steps` steps.
///
/// # Errors
/// If the generator would never train, its layers cannot all be unfrozen within the steps, or a regularizer is there twice.
pub(super) fn change(
    options: &PlanOptions,
    recipe: &mut Recipe,
    source: &PretrainedGan,
    steps: u64,
) -> anyhow::Result<()> {
    let frozen = |layers: &[String]| Trainable::Except(layers.to_vec());
    let plan = &mut recipe.plan;
    if says_what_trains(options) {
        plan.adapter = None;
        for phase in &mut plan.phases {
            if phase.generator == Trainable::Adapter {
                phase.generator = Trainable::All;
            }
        }
    }
    let generator = match options.adapter {
        Some(Small::Adapter(adapter)) => {
            plan.adapter = Some(adapter);
            Some(Trainable::Adapter)
        }
        Some(Small::Miner(width)) => {
            plan.miner = width.or_else(|| {
                // A source that has a miner keeps it.
                let has_one = source.miner().is_some();
                (!has_one).then(|| source.config.latent_dim().ok()).flatten()
            });
            Some(Trainable::Miner)
        }
        None if options.batch_norm_only => Some(Trainable::BatchNorm),
        None => (!options.freeze_g.is_empty()).then(|| frozen(&options.freeze_g)),
    };
    let discriminator = (!options.freeze_d.is_empty()).then(|| frozen(&options.freeze_d));
    if plan.phases.is_empty() {
        plan.phases.push(Phase::default());
    }
    for phase in &mut plan.phases {
        if phase.generator != Trainable::Nothing
            && let Some(generator) = &generator
        {
            phase.generator = generator.clone();
        }
        if let Some(discriminator) = &discriminator {
            phase.discriminator = discriminator.clone();
        }
    }
    if let Some(alone) = options.discriminator_warmup {
        ensure!(
            alone < steps,
            "--discriminator-warmup {alone}: the generator would never train, because --steps is {steps}; use more steps or a shorter \
             warmup"
        );
        plan.phases.retain(|phase| phase.generator != Trainable::Nothing);
        if alone > 0 {
            let first = plan.phases.first().cloned().unwrap_or_default();
            let warm_up = Phase {
                generator: Trainable::Nothing,
                steps: alone,
                ..first
            };
            plan.phases.insert(0, warm_up);
        }
    }
    if let Some(last) = plan.phases.last_mut() {
        last.until_equilibrium = options.stop_at_equilibrium;
    }
    if let Some(every) = options.gradual_unfreezing {
        let last = plan.phases.pop().unwrap_or_default();
        plan.phases
            .extend(gradual_unfreezing(&source.generator_layers()?, every, &last)?);
        let before = &plan.phases[..plan.phases.len() - 1];
        let needed = before
            .iter()
            .map(|phase| phase.steps)
            .fold(0, u64::saturating_add);
        ensure!(
            needed < steps,
            "--gradual-unfreezing {every}: unfreezing all layers takes {needed} steps, but --steps is {steps}; use more steps, or a \
             smaller number"
        );
    }
    if let Some(regularizer) = options.regularizers()? {
        plan.regularizer = regularizer;
    }
    plan.patch_discriminator |= options.patch_discriminator;
    if let Some(distil) = options.distill {
        plan.distillation = distil;
    }
    Ok(())
}

/// Whether the options say what of the generator trains, or keep its weights close to the source's, instead of an adapter of the recipe.
fn says_what_trains(options: &PlanOptions) -> bool {
    let keeps_weights = options
        .regularize
        .iter()
        .any(|term| matches!(term, SourceRegularizer::L2Sp(_) | SourceRegularizer::Ewc(_)));
    options.adapter.is_some()
        || options.batch_norm_only
        || !options.freeze_g.is_empty()
        || options.gradual_unfreezing.is_some()
        || keeps_weights
}

/// The settings of the run in `directory`, if there is one that can be read.
pub(super) fn saved_settings(directory: &Path) -> Option<TrainConfig> {
    read_settings(&RunLayout::new(directory).settings()).ok()
}

/// Keeps the warm-up of the run in `directory`, if both have one. The recommended length depends on the total number of steps, so
/// a longer total would otherwise be another run.
pub(super) fn keep_warmup(recipe: &mut Recipe, directory: &Path) {
    let Some(saved) = saved_settings(directory) else {
        return;
    };
    let Ok(saved) = TransferConfig::from_table(&saved.plan) else {
        return;
    };
    let phases = (saved.phases.first(), recipe.plan.phases.first_mut());
    if let (Some(saved), Some(ours)) = phases
        && [&*ours, saved]
            .iter()
            .all(|phase| phase.generator == Trainable::Nothing)
        && ours.steps != saved.steps
    {
        ours.steps = saved.steps;
        let why = format!(
            "the discriminator warm-up of {} steps is that of the earlier run in this directory",
            saved.steps
        );
        recipe.reasons.push(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};
    use engraft_gan::{Networks, untrained_networks};
    use engraft_transfer::DomainDistance;

    #[test]
    fn a_warmup_replaces_that_of_the_recipe() {
        let config = TrainConfig::standard(&drawn_digits(Split::Test, 20, 1));
        let Networks {
            generator,
            discriminator,
            ..
        } = untrained_networks(&config).unwrap();
        let source = PretrainedGan::new(config, &generator, &discriminator);
        let far = DomainDistance {
            images: 10,
            kid: None,
            recall: Some(0.0),
            coverage: None,
            a_distance: 2.0,
        };
        let phases = |images, warm_up| {
            let mut recipe = Recipe::recommended(&source, images, &far, 100)?;
            let options = PlanOptions {
                discriminator_warmup: warm_up,
                freeze_g: vec!["stem".into()],
                stop_at_equilibrium: true,
                ..PlanOptions::default()
            };
            change(&options, &mut recipe, &source, 100)?;
            let phases = recipe.plan.phases.iter();
            anyhow::Ok(
                phases
                    .map(|phase| {
                        (
                            phase.generator == Trainable::Nothing,
                            phase.steps,
                            phase.until_equilibrium,
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
            error.contains("--discriminator-warmup 100") && error.contains("--steps is 100"),
            "{error}"
        );
    }

    #[test]
    fn options_replace_the_adapter_of_the_recipe() {
        let mut config = TrainConfig::standard(&drawn_digits(Split::Test, 20, 1));
        config.augment = Recipe::translation();
        let networks = untrained_networks(&config).unwrap();
        let source = PretrainedGan::new(config, &networks.generator, &networks.discriminator);
        let near = DomainDistance {
            images: 10,
            kid: None,
            recall: Some(0.0),
            coverage: None,
            a_distance: 1.0,
        };
        let changed = |of: &dyn Fn(&mut PlanOptions)| {
            let mut recipe = Recipe::recommended(&source, 10, &near, 100).unwrap();
            let mut options = PlanOptions::default();
            of(&mut options);
            change(&options, &mut recipe, &source, 100).unwrap();
            engraft_transfer::Transfer::new(source.clone(), recipe.plan.clone()).unwrap();
            (
                recipe.plan.adapter.is_some(),
                recipe.plan.phases[0].generator.clone(),
            )
        };
        assert_eq!(changed(&|_| ()), (true, Trainable::Adapter));
        assert_eq!(
            changed(&|o| o.regularize = vec![SourceRegularizer::Cdc(1.0), SourceRegularizer::Dcl(0.5)]),
            (true, Trainable::Adapter)
        );
        for weights in [SourceRegularizer::L2Sp(1.0), SourceRegularizer::Ewc(1.0)] {
            let of =
                |terms: Vec<SourceRegularizer>| changed(&|o: &mut PlanOptions| o.regularize = terms.clone());
            assert_eq!(of(vec![weights]), (false, Trainable::All));
            assert_eq!(
                of(vec![SourceRegularizer::Cdc(1.0), weights]),
                (false, Trainable::All)
            );
        }
        assert_eq!(
            changed(&|o| o.batch_norm_only = true),
            (false, Trainable::BatchNorm)
        );
        assert_eq!(
            changed(&|o| o.adapter = Some(Small::Miner(None))),
            (false, Trainable::Miner)
        );
    }
}
