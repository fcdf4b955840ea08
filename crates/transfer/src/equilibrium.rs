//! Equilibrium of generator and discriminator, as a criterion to end a phase.

use engraft_gan::PhaseProgress;
use std::fmt;

/// Number of steps over which the statistics of the discriminator are averaged.
const WINDOW: usize = 50;
/// Maximum accuracy of the discriminator in equilibrium.
const EVEN: f64 = 0.75;
/// Maximum mean sign of the logits on real images in equilibrium.
const UNSURE: f64 = 0.6;

/// Statistics that show whether generator and discriminator are in equilibrium.
///
/// ```
/// use engraft_gan::PhaseProgress;
/// use engraft_transfer::equilibrium;
///
/// let (accuracy, real_sign) = ([0.6; 60], [0.2; 60]);
/// let progress = PhaseProgress { phase: 0, steps: 60, accuracy: &accuracy, real_sign: &real_sign, measurements: &[] };
/// assert!(equilibrium(&progress).is_some_and(|found| found.is_reached()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equilibrium {
    /// Mean accuracy of the discriminator over the last 50 steps, from 0 to 1; 0.5 is chance.
    pub accuracy: f64,
    /// Mean `r_t = E[sign(D(x))]` of real images over the same steps, from -1 to 1.
    pub real_sign: f64,
    /// Change of the kernel distance (KID) between the last two evaluations, in standard errors. `None` with fewer than two
    /// evaluations.
    pub change: Option<f64>,
}

impl Equilibrium {
    /// Whether the networks are in equilibrium.
    ///
    /// The discriminator's accuracy must be at most 75 % and `r_t` at most 0.6, the target of adaptive augmentation (ADA). If
    /// there are two evaluations, the kernel distance must also change by less than one standard error.
    pub fn is_reached(&self) -> bool {
        self.accuracy <= EVEN
            && self.real_sign <= UNSURE
            && self.change.is_none_or(|change| change.abs() < 1.0)
    }
}

impl fmt::Display for Equilibrium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "discriminator accuracy {:.0} %, r_t {:.2}",
            100.0 * self.accuracy,
            self.real_sign
        )?;
        match self.change {
            Some(change) => write!(f, ", KID change {change:.1} standard errors"),
            None => Ok(()),
        }
    }
}

/// The equilibrium statistics after a step; `None` in the first 49 steps of a phase.
///
/// *Source*: `r_t` is the overfitting heuristic of Karras et al., "Training generative adversarial networks with limited
/// data", 2020, section 3.1. The criterion on the kernel distance is this project's own.
pub fn equilibrium(progress: &PhaseProgress<'_>) -> Option<Equilibrium> {
    let window = |values: &[f64]| {
        let last = values.len().checked_sub(WINDOW)?;
        Some(values[last..].iter().sum::<f64>() / WINDOW as f64)
    };
    let change = match progress.measurements {
        [.., before, last] => {
            let error = before.kid_se.hypot(last.kid_se).max(f64::MIN_POSITIVE);
            Some((last.kid - before.kid) / error)
        }
        _ => None,
    };
    Some(Equilibrium {
        accuracy: window(progress.accuracy)?,
        real_sign: window(progress.real_sign)?,
        change,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equilibrium_averages_over_the_last_fifty_steps() {
        let mut accuracy = vec![1.0; 60];
        let real_sign = vec![0.5; 60];
        let after = |accuracy: &[f64]| {
            equilibrium(&PhaseProgress {
                phase: 0,
                steps: 60,
                accuracy,
                real_sign: &real_sign,
                measurements: &[],
            })
        };
        assert!(!after(&accuracy).unwrap().is_reached());
        accuracy[10..].fill(0.6);
        let found = after(&accuracy).unwrap();
        assert!(found.is_reached() && (found.accuracy - 0.6).abs() < 1e-12);
        let moving = Equilibrium {
            change: Some(-3.0),
            ..found
        };
        assert!(!moving.is_reached(), "the kernel distance still decreases");
        assert!(found.to_string().contains("60"));
        assert_eq!(after(&accuracy[20..60]), None, "too few steps");
    }
}
