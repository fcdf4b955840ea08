//! Upper limits of the sizes of networks, so that a damaged or hostile file cannot exhaust the memory.

use super::TrainConfig;

/// Most classes: labels are bytes.
pub(super) const MOST_CLASSES: u32 = 256;
/// Most numbers in a pack of images, with which the discriminator's first layer grows: 16 of the largest images.
const MOST_STACKED: usize = 1 << 18;

/// Most batches of standing statistics: with more, a grid or a checkpoint takes minutes and the statistics stay the same.
const MOST_STANDING: u32 = 10_000;
/// Most rollbacks: each halves the learning rates, so nothing is learned after more.
const MOST_ROLLBACKS: u32 = 100;
/// Most discriminator steps per generator step: the authors of the Wasserstein objective use 5, and 100 for the first steps. They are
/// one step of a run, which a signal does not interrupt.
const MOST_N_CRITIC: u32 = 1000;
/// Most micro-batches: each has a thread.
const MOST_MICRO_BATCHES: u32 = 1024;
/// The largest integer of TOML.
const MOST_TOML: u64 = i64::MAX as u64;

/// Numbers of a run that would take hours or never end.
pub(super) fn without_end(config: &TrainConfig) -> Vec<String> {
    let limits = [
        (
            "standing_batches",
            config.standing_batches,
            MOST_STANDING,
            "more do not change the statistics",
        ),
        (
            "evaluation.rollbacks",
            config.evaluation.rollbacks,
            MOST_ROLLBACKS,
            "each halves the learning rates",
        ),
        (
            "objective.n_critic",
            config.objective.n_critic,
            MOST_N_CRITIC,
            "more train the discriminator instead of the generator",
        ),
    ];
    let mut problems = Vec::new();
    for (name, found, most, reason) in limits {
        if found > most {
            problems.push(format!("{name} must be at most {most} ({reason}), got {found}"));
        }
    }
    problems
}

/// A problem of the number of micro-batches.
pub(super) fn micro_batches(config: &TrainConfig) -> Option<String> {
    let (count, batch) = (config.micro_batches, config.batch);
    let packing = config.objective.packing.max(1);
    let piece = (count as usize).saturating_mul(packing as usize);
    if !(1..=MOST_MICRO_BATCHES).contains(&count) {
        return Some(format!(
            "micro_batches must be from 1 to {MOST_MICRO_BATCHES}, got {count}"
        ));
    }
    let packs = if packing > 1 {
        format!(" of whole packs of {packing} images")
    } else {
        String::new()
    };
    (count > 1 && !batch.is_multiple_of(piece)).then(|| {
        format!("micro_batches must cut the batch of {batch} images into equal parts{packs}, got {count}")
    })
}

/// Numbers that a TOML table cannot hold, with their names.
pub(super) fn beyond_toml(config: &TrainConfig, is_exempt: impl Fn(&str) -> bool) -> Vec<String> {
    /// Dotted name and value of every number that is too large.
    fn find(name: &str, value: &serde_json::Value, found: &mut Vec<(String, u64)>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (key, value) in fields {
                    let dot = if name.is_empty() { "" } else { "." };
                    find(&format!("{name}{dot}{key}"), value, found);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| find(name, item, found)),
            value => found.extend(
                value
                    .as_u64()
                    .filter(|&n| n > MOST_TOML)
                    .map(|n| (name.into(), n)),
            ),
        }
    }
    let mut found = Vec::new();
    find("", &serde_json::to_value(config).unwrap_or_default(), &mut found);
    let text = |(name, n): &(String, u64)| {
        format!("{name} must be at most {MOST_TOML}, the largest integer of TOML, got {n}")
    };
    found.retain(|(name, _)| !is_exempt(name));
    found.iter().map(text).collect()
}

/// Settings beyond the limits.
pub(super) fn beyond_limits(config: &TrainConfig) -> Vec<String> {
    let mut problems = config.network_spec().problems();
    let [h, w, c] = config.image;
    // Sizes that no network takes are reported by `NetworkSpec::problems`.
    let numbers = h.saturating_mul(w).saturating_mul(c).max(1);
    let most = (MOST_STACKED / numbers).max(1);
    if config.objective.packing as usize > most {
        problems.push(format!(
            "objective.packing must be at most {most} for images of {h}x{w}x{c} (a pack may have {MOST_STACKED} numbers), got {}",
            config.objective.packing
        ));
    }
    if config.classes > MOST_CLASSES {
        problems.push(format!(
            "classes must be 0 or up to {MOST_CLASSES}, got {}",
            config.classes
        ));
    }
    config.pseudo_labels.beyond_limits(&mut problems);
    problems
}
