//! Names that settings had in an earlier version: files with them are read, and checkpoints are known by a hash of them.

use toml::{Table, Value};

/// Section (empty for the settings outside of sections), name of today and name of the earlier version.
///
/// Each pair is also an `alias` of the setting's field, for files.
const EARLIER: [(&str, &str, &str); 8] = [
    ("", "validation_images", "held_out"),
    ("", "ema_half_life", "average_half_life"),
    ("", "regularize", "regularise"),
    ("", "evaluation", "watch"),
    ("objective", "n_critic", "critic_steps"),
    ("regularize", "r1_gamma", "r1"),
    ("regularize", "r2_gamma", "r2"),
    ("regularize", "interval", "every"),
];

/// The settings with the names of the earlier version, in the same order.
pub(super) fn with_earlier_names(settings: Table) -> Table {
    renamed("", settings)
}

fn renamed(section: &str, settings: Table) -> Table {
    let settings = settings.into_iter().map(|(name, value)| {
        let value = match value {
            Value::Table(table) if section.is_empty() => Value::Table(renamed(&name, table)),
            value => value,
        };
        let found = EARLIER
            .iter()
            .find(|(at, today, _)| *at == section && *today == name);
        (found.map_or(name, |(_, _, earlier)| (*earlier).into()), value)
    });
    settings.collect()
}

/// Whether a name without its section is only of an earlier version. `every` is also a name of today.
pub(super) fn is_earlier_name(name: &str) -> bool {
    name != "every" && EARLIER.iter().any(|(_, _, earlier)| *earlier == name)
}

/// The name of today of a setting `section.name` or `name`.
pub(super) fn name_of_today(dotted: &str) -> String {
    let today = |section: &str, name: &str| {
        let found = EARLIER
            .iter()
            .find(|(at, _, earlier)| *at == section && *earlier == name);
        found.map_or_else(|| name.to_owned(), |(_, today, _)| (*today).into())
    };
    match dotted.split_once('.') {
        Some((section, name)) => {
            let section = today("", section);
            let name = today(&section, name);
            format!("{section}.{name}")
        }
        None => today("", dotted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mapped_both_ways() {
        for (earlier, today) in [
            ("held_out", "validation_images"),
            ("regularise.every", "regularize.interval"),
            ("regularise.lecam", "regularize.lecam"),
            ("watch.every", "evaluation.every"),
            ("objective.critic_steps", "objective.n_critic"),
            ("augment.adaptive.every", "augment.adaptive.every"),
            ("seed", "seed"),
        ] {
            assert_eq!(name_of_today(earlier), today);
            assert_eq!(name_of_today(today), today);
            let table: Table = toml::from_str(&format!("{today} = 1")).unwrap();
            let expected: Table = toml::from_str(&format!("{earlier} = 1")).unwrap();
            assert_eq!(with_earlier_names(table), expected);
        }
    }
}
