//! What decides the results of an adaptation: settings and images.

use super::super::options::Adapt;
use super::domains::Data;
use engraft_data::Dataset;

/// Steps between two checkpoints.
pub(super) fn every(options: &Adapt) -> u64 {
    options.steps.div_ceil(10)
}

/// The settings that decide the result of a seed.
pub(in crate::cli) fn settings(options: &Adapt, data: &Data, seed: u64) -> serde_json::Value {
    let mut settings = protocol(options, data);
    settings["seeds"] = serde_json::json!([seed]);
    // A name need not be UTF-8.
    settings["files"] = data.files.iter().map(|file| file.to_string_lossy()).collect();
    settings
}

/// What the options and images say about all results, as it is printed.
pub(super) fn protocol(options: &Adapt, data: &Data) -> serde_json::Value {
    let size = options.protocol;
    let images = |d: &Dataset| d.len().min(size.max_images(d.name()));
    let mut protocol = serde_json::json!({
        "protocol": size.to_string(),
        "source": data.source.name(),
        "sha256": data.fingerprints,
        "source_images": images(&data.source),
        "target": data.target.name(),
        "target_images": images(&data.target),
        "test_images": data.target_test.as_ref().map(Dataset::len),
        "unused_images": data.target_test.as_ref().map(|_| data.target.len() - images(&data.target)),
        "image": data.source.image_size(),
        "network": "LeNet 32-48 with batch norm, classifier 100-100",
        "steps": options.steps,
        "batch": options.batch,
        "measured_every": every(options),
        "validator": options.validator.as_str(),
        "seeds": options.seeds.to_json(),
    });
    // Results without these options keep the keys that they had before the options existed.
    if options.even_frames {
        protocol["even_frames"] = true.into();
    }
    if options.learning_rate_factor != 1.0 {
        protocol["learning_rate_factor"] = options.learning_rate_factor.into();
    }
    protocol
}
