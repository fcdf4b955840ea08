//! What one look at a run found.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Measures of a generator in training, against images kept out of it.
///
/// They choose between checkpoints of one run. The held-out images are few, so for a number to report there is
/// [`engraft_metrics::evaluate`] on a test set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measurement {
    /// Steps done.
    pub step: u64,
    /// [Kernel distance](engraft_metrics::kernel_distance) to the held-out images.
    pub kid: f64,
    /// Its standard error.
    pub kid_se: f64,
    /// Share of the held-out images with a generated one in their neighbourhood.
    pub coverage: f64,
    /// Variance of the generated images' features, as a share of the held-out ones'.
    pub spread: f64,
    /// [Share](engraft_metrics::memorized_share) of generated images closer to a training image than real ones are;
    /// 0.05 is chance. Against a thousand training images where there are more.
    #[serde(rename = "memorised")]
    pub memorized: f64,
    /// `(E D(x_train) - E D(x_held_out)) / (E D(x_train) - E D(G(z)))`: 0 where the discriminator judges held-out images
    /// as those it was trained on, 1 where it takes them for generated ones (Karras et al., "Training generative
    /// adversarial networks with limited data", 2020, equation 1).
    pub overfitting: f64,
}

/// Something in a measurement that a user should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alarm {
    /// The generator draws nearly the same image always.
    Collapse,
    /// It draws its training images.
    Memorization,
    /// The discriminator overfits its training images.
    Overfitting,
}

impl Alarm {
    #[doc(hidden)] // earlier spelling
    #[allow(non_upper_case_globals)]
    pub const Memorisation: Self = Self::Memorization;
}

/// Share of the real images' variance below which the generator has collapsed.
const COLLAPSED: f64 = 0.1;
/// Share of memorised images above which that is no chance: four times what real images have.
const MEMORISED: f64 = 0.2;
/// Overfitting above which held-out images look more like generated than like training images.
const OVERFITTED: f64 = 0.5;

/// Share of memorised images that is chance.
const CHANCE: f64 = 0.05;
/// How often the excess over that share is added to the distance, as a share of it.
const PENALTY: f64 = 4.0;

impl Measurement {
    /// What checkpoints are chosen by, the lower the better: the kernel distance, and for each image in a hundred that is
    /// memorised beyond chance four in a hundred of it on top. A generator that copies is close to the data, and no
    /// use; where it sounds [`Alarm::Memorization`], its distance may be 0 and the score says nothing, so that any
    /// checkpoint without this alarm is better.
    pub fn score(&self) -> f64 {
        self.kid.max(0.0) * (1.0 + PENALTY * (self.memorized - CHANCE).max(0.0))
    }

    /// Whether its checkpoint is better than the other's: the lower score, but first of all no memorisation.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        if self.is_memorized() == other.is_memorized() {
            self.score() < other.score()
        } else {
            other.is_memorized()
        }
    }

    /// Whether more images are memorised than chance explains.
    pub(crate) fn is_memorized(&self) -> bool {
        self.memorized > MEMORISED
    }

    /// What it gives cause for concern about.
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
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "KID {:.4} ± {:.4}, coverage {:.2}, memorised {:.2}, overfitting {:.2}",
            self.kid, self.kid_se, self.coverage, self.memorized, self.overfitting
        )
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collapse => {
                "the generator has collapsed: its images vary less than a tenth as much as real ones; try a gradient \
                 penalty, packing or a lower learning rate of the generator"
            }
            Self::Memorization => {
                "the generator repeats training images: more than a fifth of its images are closer to one than real \
                 images are; stop earlier, or train on more images"
            }
            Self::Overfitting => {
                "the discriminator knows the training images by heart: it takes held-out ones for generated ones \
                 rather; try [augment], or stop earlier"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        };
        assert!(healthy.alarms().is_empty());
        let of = |change: fn(&mut Measurement)| {
            let mut sick = healthy;
            change(&mut sick);
            sick.alarms()
        };
        assert_eq!(of(|m| m.spread = 0.05), [Alarm::Collapse]);
        assert_eq!(of(|m| m.memorized = 0.9), [Alarm::Memorization]);
        assert_eq!(of(|m| m.overfitting = 0.6), [Alarm::Overfitting]);
    }
}
