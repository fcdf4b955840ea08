//! Optional loss terms in addition to feature matching.

use crate::TransferError;
use crate::parse::with_number;
use serde::Serialize;
use std::str::FromStr;

/// Weights of the optional loss terms; 0 disables a term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ExtraLosses {
    /// Weight of [`pull_away`](super::pull_away) in the generator's loss.
    pub pull_away: f64,
    /// Weight of [`conditional_entropy`](super::conditional_entropy) in the discriminator's loss.
    pub conditional_entropy: f64,
}

/// One of the [`ExtraLosses`] with its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ExtraLoss {
    /// [`ExtraLosses::pull_away`].
    PullAway(f64),
    /// [`ExtraLosses::conditional_entropy`].
    ConditionalEntropy(f64),
}

impl FromStr for ExtraLoss {
    type Err = TransferError;

    /// Parses `pull-away` or `conditional-entropy`, with an optional weight above 0 such as `pull-away=0.5`. The default weight
    /// is 1.
    ///
    /// # Errors
    /// [`TransferError::Unknown`] for any other text.
    fn from_str(text: &str) -> Result<Self, TransferError> {
        let found = with_number(text).map(|(name, weight)| (name, weight.unwrap_or(1.0)));
        match found.filter(|(_, weight)| *weight > 0.0) {
            Some(("pull-away", weight)) => Ok(Self::PullAway(weight)),
            Some(("conditional-entropy", weight)) => Ok(Self::ConditionalEntropy(weight)),
            _ => Err(TransferError::Unknown {
                what: "extra loss",
                found: text.into(),
                expected:
                    "pull-away or conditional-entropy, with an optional weight above 0 such as pull-away=0.5"
                        .into(),
            }),
        }
    }
}

impl FromIterator<ExtraLoss> for ExtraLosses {
    /// Collects the weights. The last of several equal terms applies.
    fn from_iter<I: IntoIterator<Item = ExtraLoss>>(all: I) -> Self {
        let mut terms = Self::default();
        for term in all {
            match term {
                ExtraLoss::PullAway(weight) => terms.pull_away = weight,
                ExtraLoss::ConditionalEntropy(weight) => terms.conditional_entropy = weight,
            }
        }
        terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_losses_parse_by_name() {
        let term = |text: &str| text.parse::<ExtraLoss>();
        assert_eq!(term("pull-away").unwrap(), ExtraLoss::PullAway(1.0));
        assert_eq!(
            term("conditional-entropy=0.5").unwrap(),
            ExtraLoss::ConditionalEntropy(0.5)
        );
        for wrong in [
            "pull",
            "pull-away=",
            "pull-away=-1",
            "pull-away=nan",
            "conditional-entropy=inf",
        ] {
            let error = term(wrong).unwrap_err();
            assert!(matches!(&error, TransferError::Unknown { found, .. } if found == wrong));
        }
        let terms: ExtraLosses = [ExtraLoss::PullAway(1.0), ExtraLoss::PullAway(2.0)]
            .into_iter()
            .collect();
        assert_eq!((terms.pull_away, terms.conditional_entropy), (2.0, 0.0));
    }
}
