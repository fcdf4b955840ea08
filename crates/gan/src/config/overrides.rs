//! One setting changed by its name.

use super::TrainConfig;
use crate::error::GanError;
use std::path::Path;

/// See [`TrainConfig::changed`].
pub(super) fn changed(config: &TrainConfig, change: &str) -> Result<TrainConfig, GanError> {
    let wrong = |reason: String| GanError::Config {
        problems: vec![format!("{change}: {reason}")],
    };
    let (name, text) = change
        .split_once('=')
        .ok_or_else(|| wrong("expected NAME=VALUE, as objective.packing=2".into()))?;
    // A bare word is a string, as in hinge.
    let value = toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.into()));
    let mut settings = toml::Table::try_from(config).map_err(|e| wrong(e.to_string()))?;
    let mut at = &mut settings;
    let (sections, last) = match name.rsplit_once('.') {
        Some((sections, last)) => (sections.split('.').collect(), last),
        None => (Vec::new(), name),
    };
    for section in sections {
        let entry = at
            .entry(section)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let ("objective" | "network", toml::Value::String(kind)) = (section, &mut *entry) {
            // Its short form.
            let kind = toml::Value::String(std::mem::take(kind));
            *entry = toml::Value::Table(toml::Table::from_iter([("kind".to_string(), kind)]));
        }
        at = entry
            .as_table_mut()
            .ok_or_else(|| wrong(format!("{section} is no section")))?;
    }
    at.insert(last.into(), value);
    let text = toml::to_string(&settings).map_err(|e| wrong(e.to_string()))?;
    TrainConfig::from_toml(&text, Path::new("run.toml")).map_err(|e| wrong(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};

    #[test]
    fn any_setting_can_be_changed_by_its_name() {
        let config = TrainConfig::standard(&drawn_digits(Split::Train, 300, 1));
        let with = |change: &str| config.changed(change);
        let found = with("objective.packing=2").unwrap();
        assert_eq!(
            (found.objective.packing, found.objective.kind),
            (2, config.objective.kind)
        );
        assert_eq!(with("regularise.r1=0.5").unwrap().regularize.r1, 0.5);
        let hinge = with("objective=hinge").unwrap();
        assert_ne!(hinge.objective, config.objective);
        let augmented = with("augment.kinds=[\"translation\"]").unwrap();
        assert_eq!(augmented.augment.kinds.len(), 1);
        for (change, said) in [
            ("steps", "expected NAME=VALUE"),
            ("stesp=3", "unknown field `stesp`"),
            ("steps=many", "invalid type"),
            ("seed.x=1", "seed is no section"),
        ] {
            let error = with(change).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(change), "{error}");
        }
    }
}
