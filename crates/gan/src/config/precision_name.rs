//! The precision in a `run.toml`, by its name.

use engraft_tensor::Precision;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature of skip_serializing_if"
)]
pub(super) fn is_default(precision: &Precision) -> bool {
    *precision == Precision::default()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature of serialize_with"
)]
pub(super) fn serialize<S: Serializer>(precision: &Precision, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(precision.name())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Precision, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}
