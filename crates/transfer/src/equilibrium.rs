//! When generator and discriminator balance.

use engraft_gan::PhaseProgress;
use std::fmt;

/// Steps over which the discriminator is judged.
const WINDOW: usize = 50;
/// Accuracy up to which the discriminator is no longer ahead: three of four judgements.
const EVEN: f64 = 0.75;
/// Mean sign of the logits on real images up to which it is not sure of them.
const UNSURE: f64 = 0.6;

/// How far generator and discriminator are from balance: neither is ahead, and nothing changes any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equilibrium {
    /// Mean accuracy of the discriminator over the last 50 steps; one half is a coin's.
    pub accuracy: f64,
    /// Mean `r_t` over the same steps, 0 where real images get as many negative as positive logits.
    pub real_sign: f64,
    /// Change of the kernel distance between the last two measurements in units of its standard error; `None` before
    /// there are two.
    pub change: Option<f64>,
}

impl Equilibrium {
    /// Whether the networks balance: the discriminator is right in at most three of four cases, `r_t` is at most the 0.6
    /// that adaptive augmentation aims at, and the kernel distance changes by less than its standard error. Before there are two
    /// measurements, and where nothing is measured, the first two decide.
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
            "the discriminator is right in {:.0} of 100 cases, r_t is {:.2}",
            100.0 * self.accuracy,
            self.real_sign
        )?;
        match self.change {
            Some(change) => write!(f, ", KID changed by {change:.1} standard errors"),
            None => Ok(()),
        }
    }
}

/// The balance after a step; `None` in the first 50 steps of a phase.
///
/// The signal is that of adaptive augmentation (Karras et al., "Training generative adversarial networks with limited
/// data", 2020, section 3.1); the change of the kernel distance is this project's.
pub fn equilibrium(seen: &PhaseProgress<'_>) -> Option<Equilibrium> {
    let window = |values: &[f64]| {
        let last = values.len().checked_sub(WINDOW)?;
        Some(values[last..].iter().sum::<f64>() / WINDOW as f64)
    };
    let change = match seen.measurements {
        [.., before, last] => {
            let error = before.kid_se.hypot(last.kid_se).max(f64::MIN_POSITIVE);
            Some((last.kid - before.kid) / error)
        }
        _ => None,
    };
    Some(Equilibrium {
        accuracy: window(seen.accuracy)?,
        real_sign: window(seen.real_sign)?,
        change,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fifty_steps_decide() {
        let mut accuracy = vec![1.0; 60];
        let real_sign = vec![0.5; 60];
        let seen = |accuracy: &[f64]| {
            equilibrium(&PhaseProgress {
                phase: 0,
                steps: 60,
                accuracy,
                real_sign: &real_sign,
                measurements: &[],
            })
        };
        assert!(!seen(&accuracy).unwrap().is_reached());
        accuracy[10..].fill(0.6);
        let found = seen(&accuracy).unwrap();
        assert!(found.is_reached() && (found.accuracy - 0.6).abs() < 1e-12);
        let moving = Equilibrium {
            change: Some(-3.0),
            ..found
        };
        assert!(!moving.is_reached(), "the kernel distance still falls");
        assert!(found.to_string().contains("60 of 100"));
        assert_eq!(seen(&accuracy[20..60]), None, "too few steps");
    }
}
