//! Scores of one evaluation during training, and alarms about them.

use crate::config::TrainConfig;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Scores of a generator during training, against validation images that it does not train on.
///
/// They choose between the checkpoints of one run. The validation images are few, so results to report should come
/// from [`engraft_metrics::evaluate`] on a test set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measurement {
    /// Training steps so far.
    pub step: u64,
    /// [Kernel inception distance](engraft_metrics::kernel_distance) (KID) to the validation images; 0 is best.
    pub kid: f64,
    /// Standard error of `kid`.
    pub kid_se: f64,
    /// Coverage: the share of validation images with a generated image in their neighborhood, from 0 to 1.
    pub coverage: f64,
    /// Feature variance of the generated images divided by that of the validation images; near 1 is best.
    pub spread: f64,
    /// [Memorized share](engraft_metrics::memorized_share): the share of generated images that are closer to a
    /// training image than real images are. 0.05 is chance. At most 1000 training images are compared.
    #[serde(rename = "memorised")]
    pub memorized: f64,
    /// Discriminator overfitting, ADA's `r_v`: `(E D(x_train) - E D(x_val)) / (E D(x_train) - E D(G(z)))`. It is 0
    /// if the discriminator treats validation images like training images, and 1 if it treats them like generated
    /// ones. Without validation images it is 0 and says nothing.
    ///
    /// *Source*: Karras et al., "Training generative adversarial networks with limited data", 2020, equation 1.
    pub overfitting: f64,
    /// The kernel distance with [second features](engraft_metrics::features::second), which confirm the choice of the best
    /// checkpoint. `None` for gray images, for features of your own, and in runs of an earlier version.
    // Not in checkpoints, whose format is fixed; measures.jsonl has it.
    #[serde(skip)]
    pub second_kid: Option<f64>,
}

/// A problem that an evaluation found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alarm {
    /// Mode collapse: the generated images are nearly identical.
    Collapse,
    /// The generator memorizes training images.
    Memorization,
    /// The discriminator overfits the training images.
    Overfitting,
}

impl Alarm {
    #[doc(hidden)] // earlier spelling
    #[allow(non_upper_case_globals)]
    pub const Memorisation: Self = Self::Memorization;

    /// What happened.
    fn name(self) -> &'static str {
        match self {
            Self::Collapse => "mode collapse",
            Self::Memorization => "the generator memorizes training images",
            Self::Overfitting => "the discriminator overfits the training images",
        }
    }

    /// What to do about it.
    fn remedy(self) -> &'static str {
        match self {
            Self::Collapse => "try a gradient penalty, packing, or a lower learning rate for the generator",
            Self::Memorization => "stop earlier or train on more images",
            Self::Overfitting => "try augmentation ([augment] in run.toml) or stop earlier",
        }
    }
}

/// Alarm threshold for [`Measurement::spread`].
const COLLAPSED: f64 = 0.1;
/// First step at which a generator that began untrained can have collapsed.
const COLLAPSES_FROM: u64 = 200;
/// Alarm threshold for [`Measurement::memorized`]: four times the share of real images.
const MEMORIZED: f64 = 0.2;
/// Alarm threshold for [`Measurement::overfitting`]: beyond it validation images score more like generated images
/// than like training images.
const OVERFITTED: f64 = 0.5;

/// Memorized share of real images, by construction.
const CHANCE: f64 = 0.05;
/// Weight of the memorized share beyond chance in the score.
const PENALTY: f64 = 4.0;

impl Measurement {
    /// The validation score that checkpoints and the combinations of a sweep are chosen by; lower is better.
    ///
    /// `max(KID, its standard error) · (2 - coverage) · (1 + 4 · max(0, memorized - 0.05))`. KID compares averages, so a generator
    /// that has lost a part of the images can have the lower one. A KID below its standard error counts as the error: it cannot
    /// be told from 0.
    ///
    /// A generator that copies training images can have a KID of 0. A checkpoint with [`Alarm::Memorization`]
    /// therefore loses against every checkpoint without it.
    pub fn score(&self) -> f64 {
        self.kid.max(self.kid_se) * self.weight()
    }

    /// Standard error of the score, from that of KID.
    pub fn score_se(&self) -> f64 {
        self.kid_se * self.weight()
    }

    /// The score with the KID of second features, whose standard error is not known.
    pub(crate) fn second_score(&self) -> Option<f64> {
        Some(self.second_kid?.max(0.0) * self.weight())
    }

    /// What the score multiplies KID by.
    fn weight(&self) -> f64 {
        (2.0 - self.coverage) * (1.0 + PENALTY * (self.memorized - CHANCE).max(0.0))
    }

    /// The measurement of the best checkpoint: the lowest [score](Self::score), the earliest if equal. One with memorization is
    /// chosen only if all have it.
    pub fn best(all: &[Self]) -> Option<&Self> {
        Self::best_of(all.iter())
    }

    /// [`Self::best`] of some measurements.
    pub(crate) fn best_of<'a>(all: impl Iterator<Item = &'a Self>) -> Option<&'a Self> {
        all.reduce(|best, m| if m.beats(best) { m } else { best })
    }

    /// Whether this checkpoint is better: one without memorization wins, then the lower score.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        if self.is_memorized() == other.is_memorized() {
            self.score() < other.score()
        } else {
            other.is_memorized()
        }
    }

    /// Whether the memorized share exceeds its threshold, as in [`Alarm::Memorization`].
    pub fn is_memorized(&self) -> bool {
        self.memorized > MEMORIZED
    }

    /// The alarms of this measurement.
    pub fn alarms(&self) -> Vec<Alarm> {
        [
            (self.spread < COLLAPSED, Alarm::Collapse),
            (self.is_memorized(), Alarm::Memorization),
            (self.overfitting > OVERFITTED, Alarm::Overfitting),
        ]
        .into_iter()
        .filter_map(|(sounds, alarm)| sounds.then_some(alarm))
        .collect()
    }

    /// The alarms of this measurement in a run. A generator that began untrained has not learned to vary in the first steps, so it
    /// has not collapsed.
    pub(crate) fn alarms_of(&self, config: &TrainConfig) -> Vec<Alarm> {
        let is_young = self.step < COLLAPSES_FROM && config.plan.is_empty();
        let mut alarms = self.alarms();
        alarms.retain(|alarm| !(is_young && *alarm == Alarm::Collapse));
        alarms
    }

    /// The measurement as an object of JSON, a line of `measures.jsonl`.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("numbers always have a JSON form");
        if let Some(kid) = self.second_kid {
            text.truncate(text.len() - 1);
            text += &format!(",\"second_kid\":{kid}}}");
        }
        text
    }

    /// An alarm in words, for the user: the value with its threshold, and what to try.
    ///
    /// ```
    /// # use engraft_gan::{Alarm, Measurement};
    /// # fn show(measurement: &Measurement) {
    /// for alarm in measurement.alarms() {
    ///     eprintln!("step {}: {}", measurement.step, measurement.alarm_message(alarm));
    /// }
    /// # }
    /// ```
    pub fn alarm_message(&self, alarm: Alarm) -> String {
        let (value, threshold) = match alarm {
            Alarm::Collapse => (
                format!("the feature variance is {:.2} of the real images'", self.spread),
                format!("below {COLLAPSED}"),
            ),
            Alarm::Memorization => (
                format!("{:.2} of the samples are near-copies", self.memorized),
                format!("above {MEMORIZED}, chance is {CHANCE}"),
            ),
            Alarm::Overfitting => (
                format!(
                    "the logits of validation images are {:.2} of the way from training to generated images",
                    self.overfitting
                ),
                format!("above {OVERFITTED}"),
            ),
        };
        let (name, remedy) = (alarm.name(), alarm.remedy());
        format!("{name}: {value} (alarm {threshold}); {remedy}")
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "KID {:.4} ± {:.4}, coverage {:.2}, memorized {:.2}",
            self.kid, self.kid_se, self.coverage, self.memorized
        )?;
        if self.overfitting == 0.0 {
            return Ok(());
        }
        write!(f, ", overfitting {:.2}", self.overfitting)
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.name(), self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};

    #[test]
    fn each_alarm_has_its_cause() {
        let healthy = Measurement {
            step: 1,
            kid: 0.1,
            kid_se: 0.01,
            coverage: 0.8,
            spread: 0.9,
            memorized: 0.05,
            overfitting: 0.1,
            second_kid: None,
        };
        assert!(healthy.alarms().is_empty());
        let of = |change: fn(&mut Measurement)| {
            let mut sick = healthy;
            change(&mut sick);
            sick.alarms()
        };
        assert_eq!(of(|m| m.spread = 0.05), [Alarm::Collapse]);
        let of_a_run = |step: u64, is_transfer: bool| {
            let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 4, 1));
            if is_transfer {
                config.plan.insert("source".into(), "x".into());
            }
            let mut collapsed = healthy;
            (collapsed.spread, collapsed.step) = (0.05, step);
            collapsed.alarms_of(&config)
        };
        assert_eq!(of_a_run(199, false), [], "it has not learned to vary yet");
        assert_eq!(of_a_run(200, false), [Alarm::Collapse]);
        assert_eq!(of_a_run(1, true), [Alarm::Collapse]);
        assert_eq!(of(|m| m.memorized = 0.9), [Alarm::Memorization]);
        assert_eq!(of(|m| m.overfitting = 0.6), [Alarm::Overfitting]);
    }
}
