//! Parsing of option values: a name, or `name=number`.

use crate::TransferError;
use std::fmt::Display;

/// The value of `all` whose `Display` text is `name`.
///
/// # Errors
/// [`TransferError::Unknown`], which lists every valid name.
pub(crate) fn by_name<T: Copy + Display>(
    all: &[T],
    what: &'static str,
    name: &str,
) -> Result<T, TransferError> {
    let found = all.iter().find(|known| known.to_string() == name);
    found.copied().ok_or_else(|| TransferError::Unknown {
        what,
        found: name.into(),
        expected: all.iter().map(T::to_string).collect::<Vec<_>>().join(", "),
    })
}

/// Splits `ewc=10` into `("ewc", Some(10.0))` and `ewc` into `("ewc", None)`. `None` if no finite number follows `=`.
pub(crate) fn with_number(text: &str) -> Option<(&str, Option<f64>)> {
    let Some((name, number)) = text.split_once('=') else {
        return Some((text, None));
    };
    let number: f64 = number.parse().ok()?;
    number.is_finite().then_some((name, Some(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::{AdaptationMethod, AdaptationProtocol, Validator};

    #[test]
    fn displayed_names_parse_again() {
        for method in AdaptationMethod::ALL {
            assert_eq!(method.to_string().parse::<AdaptationMethod>().unwrap(), method);
        }
        for validator in Validator::ALL {
            assert_eq!(validator.to_string().parse::<Validator>().unwrap(), validator);
        }
        for protocol in AdaptationProtocol::ALL {
            assert_eq!(
                protocol.to_string().parse::<AdaptationProtocol>().unwrap(),
                protocol
            );
        }
        let error = "large".parse::<AdaptationProtocol>().unwrap_err();
        assert!(
            matches!(&error, TransferError::Unknown { found, expected, .. } if found == "large" && expected == "small, full")
        );
    }

    #[test]
    fn a_weight_may_follow_the_name() {
        assert_eq!(with_number("a=0.5"), Some(("a", Some(0.5))));
        assert_eq!(with_number("a"), Some(("a", None)));
        for wrong in ["a=", "a=b", "a=inf", "a=nan"] {
            assert_eq!(with_number(wrong), None);
        }
    }
}
