//! Validation of settings against each other and against the networks.

use crate::augment::AugmentConfig;
use crate::networks::reconstruction;
use crate::objective::{Objective, ObjectiveConfig};
use crate::packing::pack;
use crate::regularization::{RegularizeConfig, SpectralNorm};
use engraft_layers::{Condition, Mode, Module, Sequential, Slot, visit};
use engraft_tensor::{Real, Tensor, no_grad};
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::Once;

/// The three sections of settings that depend on each other.
#[derive(Clone, Copy)]
pub(crate) struct SettingsCheck<'a> {
    pub(crate) objective: &'a ObjectiveConfig,
    pub(crate) regularize: &'a RegularizeConfig,
    pub(crate) augment: &'a AugmentConfig,
}

impl SettingsCheck<'_> {
    /// Problems that do not depend on the networks, one line each with the reason.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.objective.problems(&mut problems);
        self.regularize.problems(&mut problems);
        self.augment.problems(&mut problems);
        let kind = self.objective.kind;
        if self.augment.adaptive.is_some() && matches!(kind, Objective::Wasserstein | Objective::Relativistic)
        {
            problems.push(format!(
                "augment.adaptive needs logits whose sign has a meaning, but objective {} uses only differences of logits; \
                 set augment.probability instead",
                kind.name()
            ));
        }
        problems
    }

    /// Problems of class-conditional networks.
    pub(crate) fn problems_with_classes(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let RegularizeConfig {
            gradient_penalty,
            spectral_norm,
            ..
        } = *self.regularize;
        if self.objective.kind == Objective::Wasserstein
            && gradient_penalty <= 0.0
            && spectral_norm != SpectralNorm::None
        {
            problems.push(
                "objective wasserstein needs a Lipschitz critic, but regularize.spectral_norm does not normalize the class \
                 embedding of a class-conditional critic; set regularize.gradient_penalty, usually to 10"
                    .into(),
            );
        }
        problems
    }

    /// A problem of packing with this batch size.
    pub(crate) fn batch_problem(&self, batch: usize) -> Option<String> {
        let packing = self.objective.packing.max(1) as usize;
        (packing > 1 && (!batch.is_multiple_of(packing) || batch / packing < 2)).then(|| {
            format!(
                "objective.packing must divide the batch size {batch} into at least 2 packs, got {packing}"
            )
        })
    }

    /// Problems with this discriminator.
    pub(crate) fn problems_with<T: Real>(&self, discriminator: &Sequential<T>) -> Vec<String> {
        let mut problems = Vec::new();
        let found = NetworkTraits::of(discriminator);
        let norms = found.batch_norms.join(", ");
        if self.regularize.penalizes_gradients() && !found.batch_norms.is_empty() {
            problems.push(format!(
                "regularize.r1_gamma, r2_gamma and gradient_penalty need a logit that depends on one image only, but \
                 batch norm ({norms}) makes it depend on the whole batch; use a discriminator without batch norm"
            ));
        }
        if self.objective.kind == Objective::Wasserstein && self.regularize.gradient_penalty <= 0.0 {
            if !found.spectral {
                problems.push(
                    "objective wasserstein needs a Lipschitz critic; set regularize.gradient_penalty, usually to 10, or \
                     regularize.spectral_norm"
                        .into(),
                );
            } else if !found.batch_norms.is_empty() {
                problems.push(format!(
                    "objective wasserstein needs a Lipschitz critic, but batch norm ({norms}) removes the bound of \
                     regularize.spectral_norm; use a discriminator without batch norm"
                ));
            }
        }
        if self.regularize.spectral_norm != SpectralNorm::None && !found.spectral {
            problems.push(
                "regularize.spectral_norm needs a dense or convolutional layer in the discriminator".into(),
            );
        }
        if self.objective.reconstruction > 0.0 && reconstruction::part_of(discriminator).is_none() {
            problems.push(format!(
                "objective.reconstruction needs a discriminator with a reconstruction head, such as that of network light, got {}",
                self.objective.reconstruction
            ));
        }
        if let Some(matching) = &self.objective.feature_matching {
            let names = layer_names(discriminator);
            if !names.contains(&matching.layer) {
                problems.push(format!(
                    "objective.feature_matching.layer must be one of the discriminator's layers ({}), got {:?}",
                    names.join(", "),
                    matching.layer
                ));
            }
        }
        problems
    }
}

/// Dotted names of all layers, outermost first.
fn layer_names<T: Real>(network: &Sequential<T>) -> Vec<String> {
    fn add<T: Real>(module: &dyn Module<T>, path: &str, names: &mut Vec<String>) {
        let children = module.children();
        for (name, _) in &children {
            names.push(format!("{path}{name}"));
        }
        for (name, child) in children {
            add(child, &format!("{path}{name}."), names);
        }
    }
    let mut names = Vec::new();
    add(network, "", &mut names);
    names
}

/// Properties of a network that settings depend on. They are read from its buffers, so they are found in custom
/// modules too.
struct NetworkTraits {
    /// Names of the batch norm layers, which mix the images of a batch in training.
    batch_norms: Vec<String>,
    /// Whether a layer has spectral normalization.
    spectral: bool,
}

impl NetworkTraits {
    fn of<T: Real>(module: &dyn Module<T>) -> Self {
        let mut found = Self {
            batch_norms: Vec::new(),
            spectral: false,
        };
        visit(module, |path, slot| {
            let Slot::Buffer(buffer) = slot else { return };
            let name = path.to_string();
            let (layer, last) = name.rsplit_once('.').unwrap_or(("", &name));
            match last {
                // With frozen statistics, batch norm is a fixed affine map.
                "running_mean" if !buffer.is_frozen() => found.batch_norms.push(layer.into()),
                "u" => found.spectral = true,
                _ => (),
            }
        });
        found
    }
}

/// Checks that the discriminator accepts the generator's output. `z` has `packing` latent vectors.
pub(crate) fn shape_problem<T: Real>(
    generator: &Sequential<T>,
    discriminator: &Sequential<T>,
    z: &Tensor<T>,
    condition: &Condition<T>,
) -> Option<String> {
    let run = |what: &str, f: &dyn Fn() -> Tensor<T>| {
        catch_panic(|| no_grad(f)).map_err(|reason| format!("{what}: {reason}"))
    };
    let images = match run(
        &format!(
            "the generator does not accept latent vectors of length {}",
            z.shape()[1]
        ),
        &|| generator.forward_with(z, condition, Mode::Eval),
    ) {
        Ok(images) => images,
        Err(problem) => return Some(problem),
    };
    let what = format!(
        "the discriminator does not accept the generator's images {:?}",
        &images.shape()[1..]
    );
    let logits = || discriminator.forward_with(&pack(&images, z.shape()[0]), condition, Mode::Eval);
    match run(&what, &logits) {
        Ok(logits) if logits.shape().first() == Some(&1) => None,
        Ok(logits) => Some(format!(
            "{what}: for {} of them it returns logits {:?}, expected one row",
            z.shape()[0],
            logits.shape()
        )),
        Err(problem) => Some(problem),
    }
}

/// The result of a function, or the message of its panic, which is not printed.
fn catch_panic<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    thread_local! {
        static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    }
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                others(info);
            }
        }));
    });
    IS_QUIET.set(true);
    let result = std::panic::catch_unwind(AssertUnwindSafe(f));
    IS_QUIET.set(false);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("it panics").to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{AdaptiveConfig, Augmentation};
    use crate::objective::FeatureMatching;
    use engraft_layers::{BatchNorm, Dense, Init, SlotMut, spectral_normalize, visit_mut};

    fn plain() -> Sequential<f32> {
        Sequential::new().add("head", Dense::new(3, 1, &mut Init::glorot(1)))
    }

    fn normed() -> Sequential<f32> {
        let block = Sequential::new()
            .add("dense", Dense::new(3, 4, &mut Init::glorot(1)))
            .add("norm", BatchNorm::new(4));
        Sequential::new()
            .add("block", block)
            .add("head", Dense::new(4, 1, &mut Init::glorot(2)))
    }

    fn spectral(mut net: Sequential<f32>) -> Sequential<f32> {
        spectral_normalize(&mut net);
        net
    }

    /// All problems of a combination, joined.
    fn problems(
        objective: impl Into<ObjectiveConfig>,
        regularize: RegularizeConfig,
        augment: AugmentConfig,
        discriminator: &Sequential<f32>,
    ) -> String {
        let objective = objective.into();
        let check = SettingsCheck {
            objective: &objective,
            regularize: &regularize,
            augment: &augment,
        };
        let mut all = check.problems();
        all.extend(check.problems_with(discriminator));
        all.join("\n")
    }

    fn with(change: impl FnOnce(&mut RegularizeConfig)) -> RegularizeConfig {
        let mut config = RegularizeConfig::default();
        change(&mut config);
        config
    }

    #[test]
    fn gradient_penalties_and_batch_norm_exclude_each_other() {
        let penalties: [fn(&mut RegularizeConfig); 3] = [
            |c| c.r1_gamma = 1.0,
            |c| c.r2_gamma = 1.0,
            |c| c.gradient_penalty = 10.0,
        ];
        for penalty in penalties {
            let text = problems(
                Objective::Hinge,
                with(penalty),
                AugmentConfig::default(),
                &normed(),
            );
            assert!(text.contains("(block.norm)"), "{text}");
            let text = problems(
                Objective::Hinge,
                with(penalty),
                AugmentConfig::default(),
                &plain(),
            );
            assert_eq!(text, "");
            let mut frozen = normed();
            visit_mut(&mut frozen, |_, slot| {
                if let SlotMut::Buffer(buffer) = slot {
                    buffer.freeze();
                }
            });
            let text = problems(Objective::Hinge, with(penalty), AugmentConfig::default(), &frozen);
            assert_eq!(text, "");
        }
    }

    #[test]
    fn wasserstein_needs_a_lipschitz_critic() {
        let (none, of) = (AugmentConfig::default, Objective::Wasserstein);
        for unbounded in [
            RegularizeConfig::default(),
            with(|c| (c.r1_gamma, c.r2_gamma) = (1.0, 1.0)),
        ] {
            let text = problems(of, unbounded, none(), &plain());
            assert!(text.contains("objective wasserstein"), "{text}");
        }
        assert_eq!(
            problems(of, with(|c| c.gradient_penalty = 10.0), none(), &plain()),
            ""
        );
        let norm = with(|c| c.spectral_norm = SpectralNorm::Discriminator);
        assert_eq!(problems(of, norm, none(), &spectral(plain())), "");
        let text = problems(of, norm, none(), &spectral(normed()));
        assert!(text.contains("batch norm (block.norm)"), "{text}");
    }

    #[test]
    fn wasserstein_with_classes_needs_more_than_spectral_norm() {
        let conditional = |kind: Objective, regularize: RegularizeConfig| {
            let (objective, augment) = (kind.into(), AugmentConfig::default());
            let check = SettingsCheck {
                objective: &objective,
                regularize: &regularize,
                augment: &augment,
            };
            check.problems_with_classes().join("\n")
        };
        let norm = with(|c| c.spectral_norm = SpectralNorm::Discriminator);
        let text = conditional(Objective::Wasserstein, norm);
        assert!(text.contains("regularize.gradient_penalty"), "{text}");
        assert_eq!(conditional(Objective::Hinge, norm), "");
        let both = with(|c| (c.spectral_norm, c.gradient_penalty) = (SpectralNorm::Both, 10.0));
        assert_eq!(conditional(Objective::Wasserstein, both), "");
    }

    #[test]
    fn other_invalid_combinations_are_named() {
        let none = AugmentConfig::default;
        let refused = |expected: &str, text: String| assert!(text.contains(expected), "{expected}: {text}");
        for kind in [Objective::Hinge, Objective::Wasserstein, Objective::Relativistic] {
            let smoothed = ObjectiveConfig {
                label_smoothing: 0.1,
                ..kind.into()
            };
            refused(
                "label_smoothing",
                problems(smoothed, with(|_| ()), none(), &plain()),
            );
        }
        for kind in [Objective::Wasserstein, Objective::Relativistic] {
            let adaptive = AugmentConfig {
                kinds: vec![Augmentation::Translation],
                adaptive: Some(AdaptiveConfig::default()),
                ..none()
            };
            refused(
                "augment.adaptive",
                problems(kind, with(|_| ()), adaptive, &plain()),
            );
        }
        let both = with(|c| (c.r1_gamma, c.gradient_penalty) = (1.0, 10.0));
        refused(
            "gradient_penalty",
            problems(Objective::Hinge, both, none(), &plain()),
        );
        let lazy = with(|c| (c.interval, c.lecam) = (16, 0.3));
        refused("16", problems(Objective::Hinge, lazy, none(), &plain()));
        let wrong = with(|c| (c.r2_gamma, c.interval, c.lecam_decay) = (f64::NAN, 0, 1.0));
        let text = problems(Objective::Hinge, wrong, none(), &plain());
        refused("r2", text.clone());
        refused("got 0", text.clone());
        refused("lecam_decay", text);
        let missing = ObjectiveConfig {
            feature_matching: Some(FeatureMatching {
                layer: "hed".into(),
                weight: 1.0,
            }),
            packing: 0,
            n_critic: 0,
            label_smoothing: 0.5,
            ..ObjectiveConfig::default()
        };
        let text = problems(missing, with(|_| ()), none(), &plain());
        refused("(head), got \"hed\"", text.clone());
        refused("objective.packing", text.clone());
        refused("critic", text.clone());
        refused("label_smoothing", text);
    }

    #[test]
    fn packs_divide_the_batch() {
        let objective = ObjectiveConfig {
            packing: 3,
            ..ObjectiveConfig::default()
        };
        let check = SettingsCheck {
            objective: &objective,
            regularize: &RegularizeConfig::default(),
            augment: &AugmentConfig::default(),
        };
        assert!(check.batch_problem(6).is_none());
        for batch in [3, 4, 7] {
            assert!(check.batch_problem(batch).unwrap().contains("objective.packing"));
        }
    }
}
