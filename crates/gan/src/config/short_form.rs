//! The short form of a section of a `run.toml`: a name if nothing else is set, otherwise a table.

use crate::objective::{Objective, ObjectiveConfig};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::marker::PhantomData;

/// Settings that can be abbreviated by a name.
pub(super) trait ShortForm: Serialize + DeserializeOwned {
    /// What is expected in a file, for messages.
    const EXPECTED: &str;

    /// The settings of a name.
    fn from_name<E: Error>(name: &str) -> Result<Self, E>;

    /// The name, if nothing else is set.
    fn short(&self) -> Option<impl Serialize>;
}

impl ShortForm for ObjectiveConfig {
    const EXPECTED: &str = "the name of an objective, or a table [objective]";

    fn from_name<E: Error>(name: &str) -> Result<Self, E> {
        Objective::deserialize(StrDeserializer::new(name)).map(Into::into)
    }

    fn short(&self) -> Option<impl Serialize> {
        (*self == self.kind.into()).then_some(self.kind)
    }
}

pub(super) fn serialize<C: ShortForm, S: Serializer>(config: &C, serializer: S) -> Result<S::Ok, S::Error> {
    match config.short() {
        Some(name) => name.serialize(serializer),
        None => config.serialize(serializer),
    }
}

pub(super) fn deserialize<'de, C: ShortForm, D: Deserializer<'de>>(deserializer: D) -> Result<C, D::Error> {
    deserializer.deserialize_any(Form(PhantomData))
}

struct Form<C>(PhantomData<C>);

impl<'de, C: ShortForm> Visitor<'de> for Form<C> {
    type Value = C;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(C::EXPECTED)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<C, E> {
        C::from_name(name)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<C, A::Error> {
        C::deserialize(MapAccessDeserializer::new(map))
    }
}
