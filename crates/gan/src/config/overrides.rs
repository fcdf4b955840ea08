//! Changes one setting by its name (`--set objective.packing=2`).

use super::TrainConfig;
use super::earlier_names::{is_earlier_name, name_of_today};
use super::limits::beyond_toml;
use crate::error::GanError;
use std::path::Path;

/// Sections in which a name without a section is searched.
const SECTIONS: [&str; 9] = [
    "generator",
    "discriminator",
    "objective",
    "regularize",
    "augment",
    "evaluation",
    "output",
    "network",
    "pseudo_labels",
];

/// Names that other programs use, with those of this one.
const USUAL: [(&str, &str); 9] = [
    ("betas", "beta1"),
    ("lr", "learning_rate"),
    ("batch_size", "batch"),
    ("max_steps", "steps"),
    ("iterations", "steps"),
    ("ema", "ema_half_life"),
    ("ema_decay", "ema_half_life"),
    ("gamma", "r1_gamma"),
    ("loss", "kind"),
];

/// See [`TrainConfig::changed`].
pub(super) fn changed(config: &TrainConfig, change: &str) -> Result<TrainConfig, GanError> {
    let tried = try_change(config, change);
    let (Err(GanError::Config { problems }), Some((name, value))) = (&tried, change.split_once('=')) else {
        return tried;
    };
    let is_unknown =
        problems.iter().any(|p| p.contains("unknown field")) && !problems[0].contains("did you mean");
    let meant = if is_unknown {
        other_places(config, name.trim(), value)
    } else {
        Vec::new()
    };
    if meant.is_empty() {
        return tried;
    }
    Err(GanError::Config {
        problems: vec![format!(
            "{change}: there is no setting {}; did you mean {}?",
            name.trim(),
            meant.join(" or ")
        )],
    })
}

/// The settings that may have been meant by an unknown name: the same name in a section, or the usual name of other programs.
fn other_places(config: &TrainConfig, name: &str, value: &str) -> Vec<String> {
    let (section, last) = name.rsplit_once('.').unwrap_or(("", name));
    let usual = USUAL
        .iter()
        .filter(|(usual, _)| *usual == last)
        .map(|(_, ours)| *ours);
    let names: Vec<&str> = usual.chain([last]).collect();
    let mut places: Vec<String> = Vec::new();
    if section.is_empty() {
        places.extend(names.iter().map(|name| (*name).into()));
        places.extend(
            SECTIONS
                .iter()
                .flat_map(|section| names.iter().map(move |name| format!("{section}.{name}"))),
        );
    } else {
        places.extend(names.iter().map(|name| format!("{section}.{name}")));
    }
    let exists = |place: &String| match try_change(config, &format!("{place}={value}")) {
        Ok(_) => true,
        Err(error) => !error.to_string().contains("unknown field"),
    };
    places
        .into_iter()
        .filter(|place| place != name && exists(place))
        .collect()
}

fn try_change(config: &TrainConfig, change: &str) -> Result<TrainConfig, GanError> {
    let wrong = |reason: String| GanError::Config {
        problems: vec![format!("{change}: {reason}")],
    };
    let (name, text) = change
        .split_once('=')
        .ok_or_else(|| wrong("expected NAME=VALUE, such as objective.packing=2".into()))?;
    let name = name_of_today(name.trim());
    // A word without quotes is a string, such as hinge.
    let value = toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.into()));
    let mut settings = toml::Table::try_from(config).map_err(|e| {
        let mut problems = beyond_toml(config, |_| false);
        if problems.is_empty() {
            problems.push(format!("{change}: {e}"));
        }
        GanError::Config { problems }
    })?;
    let mut at = &mut settings;
    let (sections, last) = match name.rsplit_once('.') {
        Some((sections, last)) => (sections.split('.').collect(), last),
        None => (Vec::new(), name.as_str()),
    };
    for section in sections {
        let entry = at
            .entry(section)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let ("objective" | "network", toml::Value::String(kind)) = (section, &mut *entry) {
            // The short form is a name.
            let kind = toml::Value::String(std::mem::take(kind));
            *entry = toml::Value::Table(toml::Table::from_iter([("kind".to_string(), kind)]));
        }
        at = entry
            .as_table_mut()
            .ok_or_else(|| wrong(format!("{section} is not a section")))?;
    }
    at.insert(last.into(), value);
    let text = toml::to_string(&settings).map_err(|e| wrong(e.to_string()))?;
    TrainConfig::from_toml(&text, Path::new("run.toml")).map_err(|error| match error {
        GanError::ConfigSyntax { reason, .. } => wrong(explained(&reason)),
        other => wrong(other.to_string()),
    })
}

/// The cause in a message of the TOML parser, which quotes a text that the user has not written; with the closest name if a
/// name is unknown.
fn explained(reason: &str) -> String {
    let cause = reason.lines().last().unwrap_or(reason);
    let mut names = cause.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let closest = names
        .map(|name| (strsim::damerau_levenshtein(name, unknown), name))
        .min()
        .filter(|(distance, _)| cause.starts_with("unknown") && *distance <= unknown.len().div_ceil(3));
    match closest {
        Some((_, name)) => {
            let (problem, _) = cause.split_once(',').unwrap_or((cause, ""));
            format!("{problem}; did you mean {name}?")
        }
        None => without_earlier_names(cause).replace(
            "expected a sequence",
            "expected a list, such as [64, 32] or [\"translation\"]",
        ),
    }
}

/// A list of names without those of an earlier version, which are accepted but not shown.
fn without_earlier_names(cause: &str) -> String {
    match cause.split_once(", expected one of ") {
        Some((problem, names)) => {
            let names: Vec<&str> = names
                .split(", ")
                .filter(|name| !is_earlier_name(name.trim_matches('`')))
                .collect();
            format!("{problem}, expected one of {}", names.join(", "))
        }
        None => cause.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};

    #[test]
    fn a_list_without_brackets_is_explained() {
        let config = TrainConfig::standard(&drawn_digits(Split::Train, 300, 1));
        for change in ["network.widths=64,32", "augment.kinds=translation"] {
            let error = config.changed(change).unwrap_err().to_string();
            assert!(error.contains("expected a list, such as [64, 32]"), "{error}");
        }
    }

    #[test]
    fn names_of_an_earlier_version_are_not_listed() {
        let config = TrainConfig::standard(&drawn_digits(Split::Train, 300, 1));
        let error = config.changed("nonsense=2").unwrap_err().to_string();
        assert!(
            error.contains("`steps`") && !error.contains("held_out"),
            "{error}"
        );
    }

    #[test]
    fn any_setting_can_be_changed_by_its_name() {
        let config = TrainConfig::standard(&drawn_digits(Split::Train, 300, 1));
        let with = |change: &str| config.changed(change);
        let same = |earlier: &str, today: &str| assert_eq!(with(earlier).unwrap(), with(today).unwrap());
        let found = with("objective.packing=2").unwrap();
        assert_eq!(
            (found.objective.packing, found.objective.kind),
            (2, config.objective.kind)
        );
        assert_eq!(with("regularize.r1_gamma=0.5").unwrap().regularize.r1_gamma, 0.5);
        same("regularise.r1=0.5", "regularize.r1_gamma=0.5");
        same("held_out=25", "validation_images=25");
        same("watch.patience=3", "evaluation.patience=3");
        same("objective.critic_steps=3", "objective.n_critic=3");
        assert_eq!(with("average_half_life=7").unwrap().ema_half_life, 7);
        let hinge = with("objective=hinge").unwrap();
        assert_ne!(hinge.objective, config.objective);
        let augmented = with("augment.kinds=[\"translation\"]").unwrap();
        assert_eq!(augmented.augment.kinds.len(), 1);
        for (change, said) in [
            ("steps", "expected NAME=VALUE"),
            ("stesp=3", "did you mean steps?"),
            (
                "lr=1",
                "did you mean generator.learning_rate or discriminator.learning_rate?",
            ),
            ("generator.lr=1", "did you mean generator.learning_rate?"),
            ("batch_size=8", "did you mean batch?"),
            ("r1_gamma=2", "did you mean regularize.r1_gamma?"),
            ("nonsense=2", "unknown field"),
            (
                "betas=0.5",
                "did you mean generator.beta1 or discriminator.beta1?",
            ),
            ("objective=hing", "did you mean hinge?"),
            ("steps=many", "invalid type"),
            ("seed.x=1", "seed is not a section"),
        ] {
            let error = with(change).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(change), "{error}");
        }
    }
}
