//! How much the settings may ask networks to be built for: a file may claim any number, and memory has an end.

use super::TrainConfig;

/// Most classes: labels are bytes.
pub(super) const MOST_CLASSES: u32 = 256;
/// Most numbers in the stack of images that a discriminator is shown, whose first layer grows with them: 16 of the
/// largest images.
const MOST_STACKED: usize = 1 << 18;

/// What asks for more than there can be.
pub(super) fn beyond_limits(config: &TrainConfig) -> Vec<String> {
    let mut problems = config.network_spec().problems();
    let [h, w, c] = config.image;
    // A size that no network takes is told of elsewhere.
    let numbers = h.saturating_mul(w).saturating_mul(c).max(1);
    let most = (MOST_STACKED / numbers).max(1);
    if config.objective.packing as usize > most {
        problems.push(format!(
            "objective.packing must be at most {most} for images of {h}x{w}x{c}, of which a pack may hold \
             {MOST_STACKED} numbers, got {}",
            config.objective.packing
        ));
    }
    if config.classes > MOST_CLASSES {
        problems.push(format!(
            "classes must be 0 or up to {MOST_CLASSES}, got {}",
            config.classes
        ));
    }
    problems
}
