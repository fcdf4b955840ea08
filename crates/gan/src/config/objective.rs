//! The section `[objective]` of a run: the game, and how its two sides meet.

use crate::objective::Objective;
use serde::{Deserialize, Serialize};

/// The objective with all that belongs to it.
///
/// In a `run.toml` a name alone is enough where nothing else is set:
///
/// ```toml
/// objective = "hinge"
/// ```
///
/// ```toml
/// [objective]
/// kind = "wasserstein"
/// critic_steps = 5
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// The adversarial objective; non-saturating at first.
    pub kind: Objective,
    /// How far the label of real images lies below 1; 0 at first. See [`Objective::smoothed_discriminator`].
    pub label_smoothing: f64,
    /// Images that the discriminator judges together, stacked on their channels: all real or all generated; 1 at first.
    /// See [`pack`](crate::pack).
    pub packing: u32,
    /// Steps of the discriminator for one of the generator, each on real images and noise of its own; 1 at first.
    pub critic_steps: u32,
    /// A second wish of the generator: features like those of real images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_matching: Option<FeatureMatching>,
}

/// Feature matching: `weight · ‖E f(x) - E f(G(z))‖²` is added to the generator's loss, with the features `f` that a
/// layer of the discriminator puts out.
///
/// *Source*: Salimans et al., "Improved techniques for training GANs", 2016, section 3.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureMatching {
    /// Name of the layer in the discriminator's outermost chain, as `block2`.
    pub layer: String,
    /// Weight beside the adversarial loss.
    pub weight: f64,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self {
            kind: Objective::default(),
            label_smoothing: 0.0,
            packing: 1,
            critic_steps: 1,
            feature_matching: None,
        }
    }
}

impl From<Objective> for ObjectiveConfig {
    /// The objective with nothing beside it.
    fn from(kind: Objective) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }
}

impl ObjectiveConfig {
    /// What makes no sense in itself, one line for each problem.
    pub(crate) fn problems(&self, problems: &mut Vec<String>) {
        let smoothing = self.label_smoothing;
        if !(0.0..0.5).contains(&smoothing) {
            problems.push(format!(
                "objective.label_smoothing must be from 0 to below 0.5, where real images would look generated, got {smoothing}"
            ));
        } else if smoothing > 0.0 && !self.kind.has_labels() {
            problems.push(format!(
                "objective.label_smoothing is for objectives with labels (minimax, non-saturating, least-squares); \
                 {} compares its logits with none",
                self.kind.name()
            ));
        }
        if self.packing == 0 {
            problems.push("objective.packing must be at least 1, got 0".into());
        }
        if self.critic_steps == 0 {
            problems.push("objective.critic_steps must be at least 1, got 0".into());
        }
        if let Some(FeatureMatching { weight, .. }) = self.feature_matching
            && !(weight.is_finite() && weight > 0.0)
        {
            problems.push(format!(
                "objective.feature_matching.weight must be above 0, got {weight}"
            ));
        }
    }
}

/// The form of the objective in a `run.toml`: its name if nothing else is set, else a table.
pub(super) mod short_form {
    use super::ObjectiveConfig;
    use crate::objective::Objective;
    use serde::de::value::{MapAccessDeserializer, StrDeserializer};
    use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
    use serde::ser::{Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        config: &ObjectiveConfig,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if *config == config.kind.into() {
            config.kind.serialize(serializer)
        } else {
            config.serialize(serializer)
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ObjectiveConfig, D::Error> {
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
}
