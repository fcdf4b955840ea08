//! Settings that may not change once a run has begun: their differences, and their hash in every checkpoint.

use super::{OutputConfig, TrainConfig, earlier_names};
use engraft_base::sha256_hex;
use std::collections::{BTreeMap, BTreeSet};

/// See [`TrainConfig::fixed_differences`].
pub(super) fn differences(ours: &TrainConfig, wanted: &TrainConfig) -> Vec<String> {
    let [ours, theirs] =
        [ours, wanted].map(|config| settings(config).into_iter().collect::<BTreeMap<_, _>>());
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    // Later settings are written only where they differ from the default.
    let value = |of: &BTreeMap<_, String>, name| of.get(name).map_or("the default".into(), String::clone);
    names
        .into_iter()
        .map(|name| (name, value(&ours, name), value(&theirs, name)))
        .filter(|(_, ours, theirs)| ours != theirs)
        .map(|(name, ours, theirs)| format!("{name}: the run has {ours}, the new settings have {theirs}"))
        .collect()
}

/// See [`TrainConfig::fixed_hash`].
pub(super) fn hash(config: &TrainConfig) -> String {
    let counts = counts(config);
    let text: String = flat(&earlier_names::with_earlier_names(table(config)))
        .into_iter()
        .map(
            |(name, value)| match counts.iter().find(|(_, earlier, _)| *earlier == name) {
                Some((_, _, count)) => (name, count.to_string()),
                None => (name, value),
            },
        )
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    sha256_hex(text.as_bytes())
}

/// Dotted name and value of every setting that may not change once a run has begun.
pub(super) fn settings(config: &TrainConfig) -> Vec<(String, String)> {
    let counts = counts(config);
    let mut flat = flat(&table(config));
    for (name, value) in &mut flat {
        if let Some((_, _, count)) = counts.iter().find(|(count, ..)| count == name) {
            *value = count.to_string();
        }
    }
    flat
}

/// Name, name in an earlier version, and value of the counts: TOML's integers hold only half of the range of `u64`.
pub(super) fn counts(config: &TrainConfig) -> [(&'static str, &'static str, u64); 4] {
    [
        ("images", "images", config.images as u64),
        ("seed", "seed", config.seed),
        ("batch", "batch", config.batch as u64),
        ("ema_half_life", "average_half_life", config.ema_half_life),
    ]
}

/// The settings that may not change once a run has begun, with 0 for the counts.
fn table(config: &TrainConfig) -> toml::Table {
    let small = TrainConfig {
        images: 0,
        seed: 0,
        steps: 0,
        batch: 0,
        ema_half_life: 0,
        output: OutputConfig {
            sample_every: 0,
            checkpoint_every: 0,
            keep_checkpoints: 0,
        },
        ..config.clone()
    };
    let mut table = toml::Table::try_from(small).expect("as in to_toml");
    table.remove("steps");
    table.remove("output");
    table.remove("evaluation");
    table.remove("earlier_data");
    table.remove("cpu");
    table.remove("keep_copies_together");
    table
}

/// Dotted name and value of every setting of a table, in its order.
pub(super) fn flat(table: &toml::Table) -> Vec<(String, String)> {
    let mut flat = Vec::new();
    for (name, value) in table {
        flatten(name, value, &mut flat);
    }
    flat
}

fn flatten(name: &str, value: &toml::Value, flat: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                flatten(&format!("{name}.{key}"), value, flat);
            }
        }
        value => flat.push((name.into(), value.to_string())),
    }
}
