//! Accuracy and `r_t` of the discriminator, from its logits.

use crate::objective::Objective;
use engraft_tensor::{Real, Tensor};

/// How well the discriminator separates real from generated images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DiscriminatorStats {
    /// Accuracy, from 0 to 1; 0.5 is chance.
    pub(crate) accuracy: f64,
    /// `r_t`: mean sign of the logits on real images, from -1 to 1.
    pub(crate) real_sign: f64,
}

impl DiscriminatorStats {
    /// Statistics of the logits of one step.
    ///
    /// Logits are compared with the objective's threshold. The Wasserstein and the relativistic objective have
    /// none, because only differences of logits matter. There each real image is compared with one generated image.
    pub(crate) fn of<T: Real>(objective: Objective, real: &Tensor<T>, fake: &Tensor<T>) -> Self {
        let values = |logits: &Tensor<T>| -> Vec<f64> {
            logits.as_slice().iter().map(|&x| Real::into_f64(x)).collect()
        };
        let (real, fake) = (values(real), values(fake));
        let mean_sign = |margins: Vec<f64>| {
            // The sign of 0 is 0 here, which counts as half correct.
            let sum: f64 = margins
                .iter()
                .map(|&m| if m == 0.0 { 0.0 } else { m.signum() })
                .sum();
            sum / margins.len().max(1) as f64
        };
        match objective.threshold() {
            Some(threshold) => {
                let real_sign = mean_sign(real.iter().map(|r| r - threshold).collect());
                let fake_sign = mean_sign(fake.iter().map(|f| threshold - f).collect());
                Self {
                    accuracy: 0.5 + 0.25 * (real_sign + fake_sign),
                    real_sign,
                }
            }
            None => {
                let real_sign = mean_sign(real.iter().zip(&fake).map(|(r, f)| r - f).collect());
                Self {
                    accuracy: 0.5 + 0.5 * real_sign,
                    real_sign,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let real = Tensor::from_vec([4, 1], vec![0.2, 0.8, 3.0, -1.0]);
        let fake = Tensor::<f64>::from_vec([4, 1], vec![0.2, 0.4, -3.0, 0.7]);
        let of = |objective| {
            let DiscriminatorStats { accuracy, real_sign } = DiscriminatorStats::of(objective, &real, &fake);
            [accuracy, real_sign]
        };
        // Three of four real ones and one of four generated ones on the right side of 0.
        assert_eq!(of(Objective::NonSaturating), [0.5, 0.5]);
        // Beyond one half: two real ones, and three generated ones below.
        assert_eq!(of(Objective::LeastSquares), [0.625, 0.0]);
        // One tie, two pairs in the right order, one in the wrong one.
        assert_eq!(of(Objective::Relativistic), [0.625, 0.25]);
    }
}
