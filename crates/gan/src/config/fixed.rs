//! Settings that may not change once a run has begun: their differences, and their hash in every checkpoint.

use super::{OutputConfig, TrainConfig, earlier_names};
use engraft_base::sha256_hex;
use std::collections::{BTreeMap, BTreeSet};

impl TrainConfig {
    /// The settings that may not change once a run has begun and in which `wanted` differs; one line each.
    pub fn fixed_differences(&self, wanted: &Self) -> Vec<String> {
        let [ours, theirs] = [self, wanted].map(|c| c.fixed().into_iter().collect::<BTreeMap<_, _>>());
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

    /// SHA-256 of the settings that may not change once a run has begun. Settings have the names of an earlier version in it,
    /// so that checkpoints of that version are recognized.
    pub(crate) fn fixed_hash(&self) -> String {
        let text: String = flat(&earlier_names::with_earlier_names(self.fixed_table()))
            .into_iter()
            .map(
                |(name, value)| match self.counts().iter().find(|(_, earlier, _)| *earlier == name) {
                    Some((_, _, count)) => (name, count.to_string()),
                    None => (name, value),
                },
            )
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        sha256_hex(text.as_bytes())
    }

    /// Whether a checkpoint with this hash belongs to these settings, with the present images or with [earlier
    /// ones](Self::earlier_data).
    pub(crate) fn accepts(&self, hash: &str) -> bool {
        let mut earlier = self.earlier_data.iter();
        hash == self.fixed_hash() || earlier.any(|data| data.in_settings(self).fixed_hash() == hash)
    }

    /// Dotted name and value of every setting that may not change once a run has begun.
    pub(super) fn fixed(&self) -> Vec<(String, String)> {
        let mut flat = flat(&self.fixed_table());
        for (name, value) in &mut flat {
            if let Some((_, _, count)) = self.counts().iter().find(|(count, ..)| count == name) {
                *value = count.to_string();
            }
        }
        flat
    }

    /// Name, name in an earlier version, and value of the counts: TOML's integers hold only half of the range of `u64`.
    pub(super) fn counts(&self) -> [(&'static str, &'static str, u64); 4] {
        [
            ("images", "images", self.images as u64),
            ("seed", "seed", self.seed),
            ("batch", "batch", self.batch as u64),
            ("ema_half_life", "average_half_life", self.ema_half_life),
        ]
    }

    /// The settings that may not change once a run has begun, with 0 for the counts.
    fn fixed_table(&self) -> toml::Table {
        let small = Self {
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
            ..self.clone()
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
