//! The feature extractors of this crate by name.

use crate::error::MetricsError;
use crate::extractor::FeatureExtractor;
use crate::feature_network::{FeatureNetwork, IMAGE};
use crate::random_features::RandomFeatures;
use std::sync::Arc;

/// The names that [`find`] accepts. `random` selects the `random-rgb` extractor that fits the image size.
pub const NAMES: [&str; 7] = [
    "mnist",
    "fashion-mnist",
    "random",
    "random-rgb-32",
    "random-rgb-64",
    "random-rgb-128",
    "random-rgb-256",
];

/// Finds an extractor by name, for images of a height and width.
///
/// The size matters only for `random`: the smallest `random-rgb` extractor that does not shrink the images, or the
/// largest one.
///
/// ```
/// use engraft_metrics::features;
/// assert_eq!(features::find("random", [64, 48])?.name(), "random-rgb-64");
/// assert_eq!(features::find("mnist", [64, 48])?.dimension(), 128);
/// let error = features::find("inception", [64, 48]).err().expect("it is not there");
/// assert!(error.to_string().contains("fashion-mnist"));
/// # Ok::<(), engraft_metrics::MetricsError>(())
/// ```
///
/// # Errors
/// If no extractor has this name. The message lists the names.
pub fn find(name: &str, image_size: [usize; 2]) -> Result<Arc<dyn FeatureExtractor>, MetricsError> {
    let random = |size| -> Arc<dyn FeatureExtractor> { Arc::new(RandomFeatures::for_size(size)) };
    Ok(match name {
        "mnist" => Arc::new(FeatureNetwork::mnist()),
        "fashion-mnist" => Arc::new(FeatureNetwork::fashion_mnist()),
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

/// Name of the default extractor for images `[h, w, c]` of the data set `data`.
///
/// Gray images of 28x28 use a trained classifier: that of Fashion-MNIST for this data set, that of MNIST for
/// all others. All other images use `random`.
///
/// ```
/// use engraft_metrics::features;
/// assert_eq!(features::default_name("fashion-mnist", [28, 28, 1]), "fashion-mnist");
/// assert_eq!(features::default_name("mnist", [32, 32, 3]), "random");
/// ```
pub fn default_name(data: &str, image: [usize; 3]) -> &'static str {
    match (image, data) {
        (IMAGE, "fashion-mnist") => "fashion-mnist",
        (IMAGE, _) => "mnist",
        _ => "random",
    }
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
        assert_eq!(for_images("cats", [32, 32, 1]).name(), "random-rgb-32");
        assert_eq!(for_images("cats", [500, 300, 3]).name(), "random-rgb-256");
    }
}
