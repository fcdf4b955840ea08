//! The section `[pseudo_labels]` of a run: clusters of the training images as classes.

use super::TrainConfig;
use serde::{Deserialize, Serialize};

/// Most clusters.
const MOST_CLUSTERS: u32 = 256;
/// Most principal components.
const MOST_COMPONENTS: u32 = 300;

/// Self-conditioning: a class-conditional GAN whose classes are clusters of the training images. It needs no human labels.
///
/// Before the first step, k-means divides the training images into clusters, by the principal components of their pixels.
/// Large images are first reduced by average pooling to at most 300 values. The networks are then conditioned on the cluster
/// of each image. Generated images get the clusters in the same shares as the training images.
///
/// The classes of such a run are clusters. They usually differ from the classes of a person.
///
/// ```toml
/// [pseudo_labels]
/// clusters = 20
/// ```
///
/// *Source*: Liu et al., "Diverse image generation via self-conditioned GANs", 2020, with clusters of pixels instead of
/// features of the discriminator, computed once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PseudoLabelConfig {
    /// Number of clusters, from 2 to 256; 0 means none. There should be at least 100 training images for each.
    pub clusters: u32,
    /// Number of principal components of the pixels, from 1 to 300.
    pub components: u32,
    /// Seed of the first centroids.
    pub seed: u32,
    /// Fewest images of a cluster. A smaller cluster is merged into the nearest one. 0 means the larger of 10 and 0.2 % of the
    /// training images.
    pub min_images: u32,
}

impl Default for PseudoLabelConfig {
    fn default() -> Self {
        Self {
            clusters: 0,
            components: 50,
            seed: 1,
            min_images: 0,
        }
    }
}

impl PseudoLabelConfig {
    /// Fewest training images for which clusters are computed.
    pub const FEWEST_IMAGES: usize = 500;

    /// The clusters of [`TrainConfig::many_images`]: 100, so that each has 100 images or more on average.
    pub fn of_many_images() -> Self {
        Self {
            clusters: 100,
            ..Self::default()
        }
    }

    /// Whether the run is conditioned on clusters.
    pub fn is_on(&self) -> bool {
        self.clusters > 0
    }

    /// Fewest images of a cluster for this number of training images.
    pub fn fewest_images(&self, training_images: usize) -> u64 {
        match self.min_images {
            0 => (training_images as u64 / 500).max(10),
            given => given.into(),
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Values beyond the limits, also of a saved run.
    pub(super) fn beyond_limits(&self, problems: &mut Vec<String>) {
        if self.clusters > MOST_CLUSTERS {
            problems.push(format!(
                "pseudo_labels.clusters must be 0 or up to {MOST_CLUSTERS}, got {}",
                self.clusters
            ));
        }
        if !(1..=MOST_COMPONENTS).contains(&self.components) {
            problems.push(format!(
                "pseudo_labels.components must be from 1 to {MOST_COMPONENTS}, got {}",
                self.components
            ));
        }
    }

    /// Problems of a run with these settings.
    pub(super) fn problems(&self, config: &TrainConfig, problems: &mut Vec<String>) {
        if self.is_default() {
            return;
        }
        if self.clusters < 2 {
            problems.push(format!(
                "pseudo_labels.clusters must be at least 2, got {}; remove [pseudo_labels] to train without clusters",
                self.clusters
            ));
            return;
        }
        if config.classes > 0 {
            problems.push(format!(
                "pseudo_labels and class labels exclude each other: the run has {} classes and pseudo_labels.clusters = {}; \
                 set classes to 0 to use clusters, or remove pseudo_labels to use the labels",
                config.classes, self.clusters
            ));
        }
        // The clusters of a transfer come from its source.
        if config.plan.is_empty() && config.trained_on() < Self::FEWEST_IMAGES {
            problems.push(format!(
                "pseudo_labels needs at least {} training images, found {}: conditioning on small clusters causes \
                 mode collapse; train without pseudo_labels",
                Self::FEWEST_IMAGES,
                config.trained_on()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};

    fn standard(images: usize) -> TrainConfig {
        TrainConfig::standard(&drawn_digits(Split::Train, images, 1))
    }

    #[test]
    fn settings_are_written_and_read() {
        let mut config = standard(200);
        let (text, hash) = (config.to_toml(), config.fixed_hash());
        assert!(!text.contains("pseudo_labels"), "{text}");
        config = config.changed("pseudo_labels.clusters=7").unwrap();
        assert_eq!(config.pseudo_labels.components, 50);
        assert_eq!((config.network_classes(), config.network_spec().classes), (7, 7));
        assert_ne!(config.fixed_hash(), hash);
        let read = TrainConfig::from_toml(&config.to_toml(), "run.toml".as_ref()).unwrap();
        assert_eq!(read, config);
    }

    #[test]
    fn few_images_labels_and_values_out_of_range_are_refused() {
        let problems = |images: usize, changes: &[&str]| {
            let change = |config: TrainConfig, change: &&str| config.changed(change).unwrap();
            changes.iter().fold(standard(images), change).problems()
        };
        let clusters = "pseudo_labels.clusters=5";
        assert!(problems(600, &[clusters]).is_empty());
        for (images, changes, part) in [
            (400, vec![clusters], "500"),
            (600, vec![clusters, "classes=10"], "set classes to 0"),
            (600, vec!["pseudo_labels.clusters=1"], "at least 2"),
            (600, vec!["pseudo_labels.seed=3"], "clusters"),
            (600, vec!["pseudo_labels.clusters=300"], "256"),
            (600, vec![clusters, "pseudo_labels.components=0"], "components"),
        ] {
            let found = problems(images, &changes);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(part), "{found:?}");
        }
    }

    #[test]
    fn the_smallest_cluster_depends_on_the_number_of_images() {
        let config = PseudoLabelConfig::default();
        assert_eq!([600, 60_000].map(|n| config.fewest_images(n)), [10, 120]);
        let given = PseudoLabelConfig {
            min_images: 3,
            ..config
        };
        assert_eq!(given.fewest_images(60_000), 3);
    }
}
