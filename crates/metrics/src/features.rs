//! The feature extractors of this crate by name.

use crate::color_features::{BUILT_IN, ColorFeatures};
use crate::error::MetricsError;
use crate::extractor::FeatureExtractor;
use crate::feature_network::{FeatureNetwork, IMAGE};
use crate::pretrained::{Inception, MobileNetV2};
use crate::random_features::RandomFeatures;
use std::path::Path;
use std::sync::Arc;

/// The names that [`open`] accepts. `random` selects the `random-rgb` extractor that fits the image size.
pub const NAMES: [&str; 10] = [
    "mnist",
    "fashion-mnist",
    "cifar10",
    "random",
    "random-rgb-32",
    "random-rgb-64",
    "random-rgb-128",
    "random-rgb-256",
    "mobilenet-v2",
    "inception",
];

/// The names of extractors that read a weights file.
pub const WITH_WEIGHTS: [&str; 3] = ["cifar10", "mobilenet-v2", "inception"];

/// Maximum size of a file with color features, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Finds an extractor without a weights file by name; see [`open`].
///
/// ```
/// use engraft_metrics::features;
/// assert_eq!(features::find("random", [64, 48])?.name(), "random-rgb-64");
/// assert_eq!(features::find("mnist", [64, 48])?.dimension(), 128);
/// let error = features::find("fid", [64, 48]).err().expect("it is not there");
/// assert!(error.to_string().contains("fashion-mnist"));
/// # Ok::<(), engraft_metrics::MetricsError>(())
/// ```
///
/// # Errors
/// Those of [`open`].
pub fn find(name: &str, image_size: [usize; 2]) -> Result<Arc<dyn FeatureExtractor>, MetricsError> {
    open(name, None, image_size)
}

/// Opens an extractor by name, for images of a height and width.
///
/// - `mnist`, `fashion-mnist`: classifiers of gray 28x28 images ([`FeatureNetwork`]).
/// - `cifar10`: a classifier of color images ([`ColorFeatures`]).
/// - `random`: an untrained network for color images ([`RandomFeatures`]), the smallest `random-rgb` network that does
///   not shrink the images, or the largest one.
/// - `mobilenet-v2`, `inception`: the networks of [`pretrained`](crate::pretrained). They need a weights file.
///
/// [`about`](FeatureExtractor::about) has what an opened extractor computes, and how the images reach its size.
///
/// # Errors
/// If no extractor has this name (the message lists the names), a weights file is missing or not needed, or it cannot be
/// used.
pub fn open(
    name: &str,
    weights: Option<&Path>,
    image_size: [usize; 2],
) -> Result<Arc<dyn FeatureExtractor>, MetricsError> {
    if weights.is_some() && NAMES.contains(&name) && !WITH_WEIGHTS.contains(&name) {
        return Err(MetricsError::UnusedWeights {
            name: name.into(),
            readers: &WITH_WEIGHTS,
        });
    }
    let needed = || weights.ok_or_else(|| MetricsError::NoWeights { name: name.into() });
    let random = |size| -> Arc<dyn FeatureExtractor> { Arc::new(RandomFeatures::for_size(size)) };
    Ok(match name {
        "mnist" => Arc::new(FeatureNetwork::mnist()),
        "fashion-mnist" => Arc::new(FeatureNetwork::fashion_mnist()),
        "cifar10" => Arc::new(match (weights, BUILT_IN) {
            (None, Some(bytes)) => ColorFeatures::for_images(name, bytes, image_size)?,
            _ => color_features(needed()?, image_size)?,
        }),
        "mobilenet-v2" => Arc::new(MobileNetV2::open(needed()?)?),
        "inception" => Arc::new(Inception::open(needed()?, image_size)?),
        "random" => random(RandomFeatures::fitting_size(image_size)),
        _ => {
            let size = name
                .strip_prefix("random-rgb-")
                .and_then(|size| size.parse().ok());
            let size = size.filter(|size| RandomFeatures::SIZES.contains(size));
            random(size.ok_or_else(|| MetricsError::UnknownExtractor {
                name: name.into(),
                known: &NAMES,
            })?)
        }
    })
}

/// Color features with weights from a file.
fn color_features(path: &Path, image_size: [usize; 2]) -> Result<ColorFeatures, MetricsError> {
    let bytes =
        engraft_base::read_bounded(path, MAX_BYTES).map_err(|error| MetricsError::PretrainedWeights {
            path: path.into(),
            problem: error.to_string(),
        })?;
    ColorFeatures::for_images("cifar10", &bytes, image_size)
}

/// Name of the default extractor for images `[h, w, c]` of the data set `data`.
///
/// Gray images of 28x28 use a trained classifier: that of Fashion-MNIST for this data set, that of MNIST for
/// all others. All other images use [`for_colors`].
///
/// ```
/// use engraft_metrics::features;
/// assert_eq!(features::default_name("fashion-mnist", [28, 28, 1]), "fashion-mnist");
/// assert_eq!(features::default_name("mnist", [32, 32, 3]), features::for_colors());
/// ```
pub fn default_name(data: &str, image: [usize; 3]) -> &'static str {
    match (image, data) {
        (IMAGE, "fashion-mnist") => "fashion-mnist",
        (IMAGE, _) => "mnist",
        _ => for_colors(),
    }
}

/// Name of the default extractor for color images, and for any images for which the classifiers of digits and clothing are
/// blind: `cifar10` if its weights are built in, otherwise `random`.
pub fn for_colors() -> &'static str {
    if BUILT_IN.is_some() { "cifar10" } else { "random" }
}

/// Name of the extractor that confirms the results of another one: `random` for a trained one, and a trained one for
/// `random`. `None` if there is no trained one, or the first is not one of [`NAMES`].
pub fn second(first: &str) -> Option<&'static str> {
    if !NAMES.contains(&first) {
        return None;
    }
    let confirms = if first.starts_with("random") {
        for_colors()
    } else {
        "random"
    };
    (!first.starts_with(confirms)).then_some(confirms)
}

/// The default extractor for images `[h, w, c]` of the data set `data`, see [`default_name`].
pub fn for_images(data: &str, image: [usize; 3]) -> Arc<dyn FeatureExtractor> {
    let [h, w, _] = image;
    find(default_name(data, image), [h, w]).expect("the name is known")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found() {
        for name in NAMES {
            if name == "cifar10" && BUILT_IN.is_some() {
                assert_eq!(find(name, [100, 30]).unwrap().name(), name);
                continue;
            }
            if WITH_WEIGHTS.contains(&name) {
                let error = find(name, [28, 28]).err().unwrap();
                assert!(matches!(error, MetricsError::NoWeights { .. }), "{error}");
                let error = open(name, Some("missing.safetensors".as_ref()), [28, 28]);
                let error = error.err().unwrap();
                assert!(error.to_string().contains("missing.safetensors"), "{error}");
                continue;
            }
            let error = open(name, Some("a.safetensors".as_ref()), [28, 28])
                .err()
                .unwrap();
            assert!(matches!(error, MetricsError::UnusedWeights { .. }), "{error}");
            let found = find(name, [100, 30]).unwrap();
            match name {
                "random" => assert_eq!(found.name(), "random-rgb-128"),
                _ => assert_eq!(found.name(), name),
            }
        }
        for name in ["", "random-rgb", "random-rgb-33", "MNIST"] {
            assert!(find(name, [28, 28]).is_err(), "{name}");
        }
    }

    #[test]
    fn a_new_run_measures_what_its_images_show() {
        assert_eq!(for_images("digits", [28, 28, 1]).name(), "mnist");
        let [small, large] =
            [[32, 32, 1], [500, 300, 3]].map(|shape| for_images("cats", shape).name().to_string());
        match for_colors() {
            "random" => assert_eq!([small, large], ["random-rgb-32", "random-rgb-256"]),
            name => assert_eq!([small, large], [name; 2]),
        }
    }

    #[test]
    fn results_are_confirmed_on_other_features() {
        assert_eq!(second("mnist"), Some("random"));
        assert_eq!(second("inception"), Some("random"));
        assert_ne!(second("random-rgb-32"), Some("random"));
        assert_eq!(second("my-features"), None);
    }
}
