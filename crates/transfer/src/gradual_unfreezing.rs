//! Gradual unfreezing: a generator thaws from its output backwards.

use crate::config::{Phase, Trainable};
use crate::error::TransferError;

/// Phases of `every` steps each, in which the last layer trains alone, then the last two, and so on; in the last phase,
/// which is `last` in all but its generator, everything trains.
///
/// `layers` are the generator's layers from the noise to the image
/// ([`PretrainedGan::generator_layers`](crate::PretrainedGan::generator_layers)). The discriminator trains as in `last` all the while.
///
/// *Source*: Howard and Ruder, "Universal language model fine-tuning for text classification", 2018, section 3.3, there for
/// a classifier; that the layers next to the image come first keeps what the early ones know of shapes.
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
/// [`TransferError::Config`] with every problem: fewer than two layers, one named twice, phases without steps.
pub fn gradual_unfreezing(layers: &[String], every: u64, last: &Phase) -> Result<Vec<Phase>, TransferError> {
    let mut problems = Vec::new();
    if layers.len() < 2 {
        problems.push(format!(
            "gradual unfreezing takes layers one after the other, so it needs at least 2, found {layers:?}"
        ));
    }
    let twice = layers
        .iter()
        .enumerate()
        .filter(|(i, name)| layers[..*i].contains(name));
    problems.extend(twice.map(|(_, name)| format!("gradual unfreezing: the layer {name:?} is named twice")));
    if every == 0 {
        problems.push("gradual unfreezing: a phase must have at least 1 step, found 0".into());
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
    fn the_last_phase_is_the_one_that_was_given() {
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
    fn what_makes_no_schedule_is_refused_all_at_once() {
        let problems = |layers: &[&str], every| {
            gradual_unfreezing(&names(layers), every, &Phase::default())
                .unwrap_err()
                .to_string()
        };
        let text = problems(&["a"], 0);
        assert!(
            text.contains("at least 2, found [\"a\"]") && text.contains("at least 1 step"),
            "{text}"
        );
        assert!(problems(&["a", "b", "a"], 5).contains("\"a\" is named twice"));
    }
}
