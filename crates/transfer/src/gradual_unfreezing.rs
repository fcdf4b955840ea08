//! Gradual unfreezing of a generator, from its output layer backwards.

use crate::config::{Phase, Trainable};
use crate::error::TransferError;

/// Phases of gradual unfreezing: the last layer trains for `every` steps, then the last two layers, and so on.
///
/// In the last phase the whole generator trains. Everything else of that phase comes from `last`. The discriminator trains
/// as in `last` in all phases. `layers` are the generator's layers from noise to image, see
/// [`PretrainedGan::generator_layers`](crate::PretrainedGan::generator_layers).
///
/// *Source*: Howard and Ruder, "Universal language model fine-tuning for text classification", 2018, section 3.3, for a
/// classifier. Here the layers next to the image come first, so that the shapes in the early layers are kept.
///
/// ```
/// use engraft_transfer::{Phase, Trainable, gradual_unfreezing};
/// let layers = ["stem", "block1", "to_image"].map(String::from);
/// let phases = gradual_unfreezing(&layers, 50, &Phase::default())?;
/// let trained: Vec<_> = phases.iter().map(|phase| (phase.generator.clone(), phase.steps)).collect();
/// let under = |names: &[&str]| Trainable::Under(names.iter().map(|n| n.to_string()).collect());
/// assert_eq!(
///     trained,
///     [(under(&["to_image"]), 50), (under(&["block1", "to_image"]), 50), (Trainable::All, 0)]
/// );
/// # Ok::<(), engraft_transfer::TransferError>(())
/// ```
///
/// # Errors
/// [`TransferError::Config`] for fewer than two layers, duplicate layers, or phases without steps.
pub fn gradual_unfreezing(layers: &[String], every: u64, last: &Phase) -> Result<Vec<Phase>, TransferError> {
    let mut problems = Vec::new();
    if layers.len() < 2 {
        problems.push(format!(
            "gradual unfreezing: expected at least 2 layers, found {layers:?}"
        ));
    }
    let twice = layers
        .iter()
        .enumerate()
        .filter(|(i, name)| layers[..*i].contains(name));
    problems.extend(twice.map(|(_, name)| format!("gradual unfreezing: the layer {name:?} appears twice")));
    if every == 0 {
        problems.push("gradual unfreezing: expected at least 1 step per phase, found 0".into());
    }
    if !problems.is_empty() {
        return Err(TransferError::Config { problems });
    }
    let mut phases: Vec<Phase> = (1..layers.len())
        .map(|count| Phase {
            generator: Trainable::Under(layers[layers.len() - count..].to_vec()),
            discriminator: last.discriminator.clone(),
            steps: every,
            until_equilibrium: false,
        })
        .collect();
    phases.push(Phase {
        generator: Trainable::All,
        ..last.clone()
    });
    Ok(phases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn the_last_phase_comes_from_the_argument() {
        let last = Phase {
            generator: Trainable::Nothing,
            discriminator: Trainable::Except(names(&["hidden1"])),
            steps: 7,
            until_equilibrium: true,
        };
        let phases = gradual_unfreezing(&names(&["a", "b", "c", "d"]), 3, &last).unwrap();
        assert_eq!(phases.len(), 4);
        assert!(
            phases
                .iter()
                .all(|phase| phase.discriminator == last.discriminator)
        );
        let [.., before, end] = &phases[..] else {
            unreachable!("four phases")
        };
        assert_eq!(before.generator, Trainable::Under(names(&["b", "c", "d"])));
        assert_eq!((before.steps, before.until_equilibrium), (3, false));
        assert_eq!(
            (&end.generator, end.steps, end.until_equilibrium),
            (&Trainable::All, 7, true)
        );
    }

    #[test]
    fn invalid_schedules_report_all_problems() {
        let problems =
            |layers: &[&str], every| match gradual_unfreezing(&names(layers), every, &Phase::default()) {
                Err(TransferError::Config { problems }) => problems,
                found => panic!("{found:?}"),
            };
        let found = problems(&["a"], 0);
        assert!(found.len() == 2 && found[0].contains("[\"a\"]"), "{found:?}");
        let found = problems(&["a", "b", "a"], 5);
        assert!(found.len() == 1 && found[0].contains("\"a\""), "{found:?}");
    }
}
