//! The form of the objective in a `run.toml`: its name if nothing else is set, else a table.

use crate::objective::{Objective, ObjectiveConfig};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

pub(super) fn serialize<S: Serializer>(config: &ObjectiveConfig, serializer: S) -> Result<S::Ok, S::Error> {
    if *config == config.kind.into() {
        config.kind.serialize(serializer)
    } else {
        config.serialize(serializer)
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectiveConfig, D::Error> {
    deserializer.deserialize_any(Form)
}

struct Form;

impl<'de> Visitor<'de> for Form {
    type Value = ObjectiveConfig;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of an objective, or a table [objective]")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Objective::deserialize(StrDeserializer::new(name)).map(Into::into)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        ObjectiveConfig::deserialize(MapAccessDeserializer::new(map))
    }
}
