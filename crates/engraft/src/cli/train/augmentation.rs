//! The augmentation of a run in words, for the plan.

use engraft_gan::AugmentConfig;

/// What happens to the images that the discriminator sees; `None` if nothing.
pub(super) fn augmentation(config: &AugmentConfig) -> Option<String> {
    let names = config.kinds.iter().map(|kind| match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{kind:?}"),
    });
    let how = match (&config.adaptive, config.probability) {
        (Some(_), _) => "with an adaptive probability".into(),
        (None, None) => "on every image".into(),
        (None, Some(p)) => format!("with probability {p}"),
    };
    let names = names.collect::<Vec<String>>().join(", ");
    (!names.is_empty()).then(|| format!("{names} {how}"))
}
