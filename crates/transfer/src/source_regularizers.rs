//! Which regularizers keep a transfer close to its source: the key `preserve` of `[plan]`.

use crate::error::TransferError;
use crate::parse::with_number;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::str::FromStr;

/// Term of the generator's loss that keeps it close to the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SourceRegularizer {
    /// No regularizer.
    #[default]
    Nothing,
    /// [`L2Sp`](crate::regularizers::L2Sp) with this weight.
    L2Sp(f64),
    /// [`ElasticWeightConsolidation`](crate::regularizers::ElasticWeightConsolidation) with this weight.
    Ewc(f64),
    /// [`CrossDomainCorrespondence`](crate::regularizers::CrossDomainCorrespondence) with this weight.
    Cdc(f64),
    /// [`DualContrastive`](crate::regularizers::DualContrastive) with this weight, also a term of the discriminator's loss.
    Dcl(f64),
}

impl SourceRegularizer {
    /// The name in `run.toml` and options.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::L2Sp(_) => "l2-sp",
            Self::Ewc(_) => "ewc",
            Self::Cdc(_) => "cdc",
            Self::Dcl(_) => "dcl",
        }
    }

    /// The weight; `None` without a regularizer.
    pub(crate) fn weight(self) -> Option<f64> {
        match self {
            Self::Nothing => None,
            Self::L2Sp(weight) | Self::Ewc(weight) | Self::Cdc(weight) | Self::Dcl(weight) => Some(weight),
        }
    }
}

impl FromStr for SourceRegularizer {
    type Err = TransferError;

    /// Parses `nothing`, or `l2-sp`, `ewc`, `cdc` or `dcl` with a weight, such as `ewc=10`.
    ///
    /// # Errors
    /// [`TransferError::Unknown`] for any other text.
    fn from_str(text: &str) -> Result<Self, TransferError> {
        match with_number(text) {
            Some(("nothing", None)) => Ok(Self::Nothing),
            Some(("l2-sp", Some(weight))) => Ok(Self::L2Sp(weight)),
            Some(("ewc", Some(weight))) => Ok(Self::Ewc(weight)),
            Some(("cdc", Some(weight))) => Ok(Self::Cdc(weight)),
            Some(("dcl", Some(weight))) => Ok(Self::Dcl(weight)),
            _ => Err(TransferError::Unknown {
                what: "regularizer",
                found: text.into(),
                expected: "nothing, or l2-sp, ewc, cdc or dcl with a weight, such as ewc=10".into(),
            }),
        }
    }
}

/// The source regularizers of a transfer: none, one, or several whose terms add up. Each kind is there at most once.
///
/// Their order does not matter: they are kept in the order of their names. `run.toml` has a single one without a list, as
/// in earlier versions, so that the hash of the settings in a checkpoint stays the same.
///
/// ```
/// use engraft_transfer::{SourceRegularizer, SourceRegularizers};
///
/// let several: SourceRegularizers = "ewc=10,dcl=0.5".parse()?;
/// assert_eq!(several.as_slice(), [SourceRegularizer::Dcl(0.5), SourceRegularizer::Ewc(10.0)]);
/// let one = SourceRegularizers::from(SourceRegularizer::Ewc(10.0));
/// assert_eq!(one, "ewc=10".parse()?);
/// assert!("ewc=10,ewc=1".parse::<SourceRegularizers>().is_err());
/// # Ok::<(), engraft_transfer::TransferError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceRegularizers(Vec<SourceRegularizer>);

impl SourceRegularizers {
    /// These regularizers. [`SourceRegularizer::Nothing`] must be alone.
    ///
    /// # Errors
    /// [`TransferError::Config`] if a kind is there twice, or [`SourceRegularizer::Nothing`] has others beside it.
    pub fn new(regularizers: impl IntoIterator<Item = SourceRegularizer>) -> Result<Self, TransferError> {
        Self::checked(regularizers.into_iter().collect()).map_err(|problems| {
            let problems = problems.iter().map(|problem| format!("plan.{problem}"));
            TransferError::Config {
                problems: problems.collect(),
            }
        })
    }

    /// These regularizers, or all problems.
    fn checked(mut all: Vec<SourceRegularizer>) -> Result<Self, Vec<String>> {
        // A sum of floats depends on its order.
        all.sort_by_key(|regularizer| regularizer.name());
        let names: Vec<&str> = all.iter().map(|regularizer| regularizer.name()).collect();
        let mut kinds = names.clone();
        kinds.dedup();
        let mut problems = Vec::new();
        for kind in &kinds {
            let count = names.iter().filter(|name| *name == kind).count();
            if count > 1 {
                problems.push(format!(
                    "regularizer: {kind} is given {count} times; expected each regularizer at most once"
                ));
            }
        }
        let nothing = SourceRegularizer::Nothing.name();
        if kinds.len() > 1 && kinds.contains(&nothing) {
            kinds.retain(|kind| *kind != nothing);
            problems.push(format!(
                "regularizer: {nothing} is given together with {}; expected {nothing} alone, or the others without it",
                kinds.join(", ")
            ));
        }
        if problems.is_empty() {
            all.retain(|regularizer| *regularizer != SourceRegularizer::Nothing);
            Ok(Self(all))
        } else {
            Err(problems)
        }
    }

    /// The regularizers in the order of their names, without [`SourceRegularizer::Nothing`].
    pub fn as_slice(&self) -> &[SourceRegularizer] {
        &self.0
    }
}

impl From<SourceRegularizer> for SourceRegularizers {
    /// One regularizer; none for [`SourceRegularizer::Nothing`].
    fn from(regularizer: SourceRegularizer) -> Self {
        match regularizer {
            SourceRegularizer::Nothing => Self::default(),
            other => Self(vec![other]),
        }
    }
}

impl FromStr for SourceRegularizers {
    type Err = TransferError;

    /// Parses one regularizer, or several that are separated by commas, such as `ewc=10,dcl=0.5`.
    ///
    /// # Errors
    /// Those of [`SourceRegularizer::from_str`] and of [`SourceRegularizers::new`].
    fn from_str(text: &str) -> Result<Self, TransferError> {
        let all: Result<Vec<SourceRegularizer>, TransferError> = text.split(',').map(str::parse).collect();
        Self::new(all?)
    }
}

impl Serialize for SourceRegularizers {
    /// Writes `"nothing"`, a single regularizer, or a list of several.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [] => SourceRegularizer::Nothing.serialize(serializer),
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SourceRegularizers {
    /// Reads a single regularizer or a list.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = match toml::Value::deserialize(deserializer)? {
            toml::Value::Array(several) => several,
            one => vec![one],
        };
        let all: Result<Vec<SourceRegularizer>, toml::de::Error> =
            all.into_iter().map(toml::Value::try_into).collect();
        let all = all.map_err(|error| Error::custom(error.message()))?;
        Self::checked(all).map_err(|problems| Error::custom(problems.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TransferConfig;

    const EWC: SourceRegularizer = SourceRegularizer::Ewc(10.0);
    const DCL: SourceRegularizer = SourceRegularizer::Dcl(0.5);

    #[test]
    fn regularizers_parse_by_name() {
        let read = |text: &str| text.parse::<SourceRegularizer>();
        assert_eq!(read("nothing").unwrap(), SourceRegularizer::Nothing);
        assert_eq!(read("ewc=10").unwrap(), EWC);
        assert_eq!(read("l2-sp=0.5").unwrap(), SourceRegularizer::L2Sp(0.5));
        assert_eq!(read("dcl=0.5").unwrap(), DCL);
        for wrong in ["ewc", "ewc=much", "ewd=1", "nothing=1"] {
            let error = read(wrong).unwrap_err();
            assert!(matches!(&error, TransferError::Unknown { found, .. } if found == wrong));
            let error = format!("dcl=0.5,{wrong}")
                .parse::<SourceRegularizers>()
                .unwrap_err();
            assert!(matches!(&error, TransferError::Unknown { found, .. } if found == wrong));
        }
    }

    #[test]
    fn several_regularizers_have_one_order_and_nothing_is_none() {
        let both = SourceRegularizers::new([EWC, DCL]).unwrap();
        assert_eq!(both, "ewc=10,dcl=0.5".parse().unwrap());
        assert_eq!(both, "dcl=0.5,ewc=10".parse().unwrap());
        assert_eq!(both.as_slice(), [DCL, EWC]);
        for none in [
            SourceRegularizers::new([]).unwrap(),
            "nothing".parse().unwrap(),
            SourceRegularizer::Nothing.into(),
        ] {
            assert_eq!(none, SourceRegularizers::default());
        }
    }

    #[test]
    fn a_kind_twice_and_nothing_beside_others_are_errors() {
        for (wrong, named) in [
            ("ewc=10,dcl=1,ewc=2", &["plan.regularizer: ewc"] as &[&str]),
            ("nothing,nothing", &["plan.regularizer: nothing"]),
            (
                "nothing,ewc=1,cdc=1,cdc=1",
                &["nothing is given together with cdc, ewc", "cdc is given 2 times"],
            ),
        ] {
            let error = wrong.parse::<SourceRegularizers>().unwrap_err();
            assert!(matches!(error, TransferError::Config { .. }));
            let text = error.to_string();
            assert!(named.iter().all(|part| text.contains(part)), "{wrong}: {text}");
        }
    }

    /// The key `preserve` of a plan as it is written for what is read.
    fn written(value: &str) -> Result<toml::Value, TransferError> {
        let table = toml::from_str(&format!("preserve = {value}")).unwrap();
        let config = TransferConfig::from_table(&table)?;
        let mut again = config.to_table();
        assert_eq!(TransferConfig::from_table(&again).unwrap(), config);
        Ok(again.remove("preserve").unwrap())
    }

    /// The hash of the settings in every checkpoint covers what is written, so a single regularizer is not a list.
    #[test]
    fn none_and_one_are_written_as_before_and_several_as_a_list() {
        for (read, expected) in [
            ("\"nothing\"", "\"nothing\""),
            ("[]", "\"nothing\""),
            ("{ ewc = 10.0 }", "{ ewc = 10.0 }"),
            ("{ ewc = 10 }", "{ ewc = 10.0 }"),
            ("[{ ewc = 10.0 }]", "{ ewc = 10.0 }"),
            (
                "[{ ewc = 10.0 }, { dcl = 0.5 }]",
                "[{ dcl = 0.5 }, { ewc = 10.0 }]",
            ),
        ] {
            let expected: toml::Table = toml::from_str(&format!("preserve = {expected}")).unwrap();
            assert_eq!(written(read).unwrap(), expected["preserve"], "{read}");
        }
        for (wrong, named) in [
            ("[{ ewc = 1.0 }, { ewc = 2.0 }]", "[plan]: regularizer: ewc"),
            ("[\"nothing\", { ewc = 2.0 }]", "together with ewc"),
            ("{ ewd = 1.0 }", "ewd"),
            ("[{ dcl = 1.0 }, { ewd = 1.0 }]", "ewd"),
            ("3", "[plan]"),
        ] {
            let error = written(wrong).unwrap_err().to_string();
            assert!(error.contains(named), "{wrong}: {error}");
        }
    }
}
