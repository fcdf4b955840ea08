//! Terms of the loss that stand beside feature matching.

use crate::TransferError;
use crate::parse::with_number;
use serde::Serialize;
use std::str::FromStr;

/// Weights of terms beside feature matching; 0 leaves a term out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ExtraLosses {
    /// Of [`pull_away`](super::pull_away) in the generator's loss.
    pub pull_away: f64,
    /// Of [`conditional_entropy`](super::conditional_entropy) in the discriminator's loss.
    pub conditional_entropy: f64,
}

/// One of the [terms](Terms) with its weight.
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

    /// Reads `pull-away` or `conditional-entropy`, with a weight above 0 if it is not 1, as `pull-away=0.5`.
    ///
    /// # Errors
    /// [`TransferError::Unknown`] for any other text.
    fn from_str(text: &str) -> Result<Self, TransferError> {
        let found = with_number(text).map(|(name, weight)| (name, weight.unwrap_or(1.0)));
        match found.filter(|(_, weight)| *weight > 0.0) {
            Some(("pull-away", weight)) => Ok(Self::PullAway(weight)),
            Some(("conditional-entropy", weight)) => Ok(Self::ConditionalEntropy(weight)),
            _ => Err(TransferError::Unknown {
                what: "term",
                found: text.into(),
                expected:
                    "pull-away or conditional-entropy, with a weight above 0 if it is not 1, as pull-away=0.5"
                        .into(),
            }),
        }
    }
}

impl FromIterator<ExtraLoss> for ExtraLosses {
    /// The weights of these terms, of equal ones the last.
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
    fn terms_are_read_by_name() {
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
            let error = term(wrong).unwrap_err().to_string();
            assert!(error.contains("as pull-away=0.5"), "{error}");
        }
        let terms: ExtraLosses = [ExtraLoss::PullAway(1.0), ExtraLoss::PullAway(2.0)]
            .into_iter()
            .collect();
        assert_eq!((terms.pull_away, terms.conditional_entropy), (2.0, 0.0));
    }
}
