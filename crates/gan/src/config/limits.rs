//! Upper limits of the sizes of networks, so that a damaged or hostile file cannot exhaust the memory.

use super::TrainConfig;

/// Most classes: labels are bytes.
pub(super) const MOST_CLASSES: u32 = 256;
/// Most numbers in a pack of images, with which the discriminator's first layer grows: 16 of the largest images.
const MOST_STACKED: usize = 1 << 18;

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
