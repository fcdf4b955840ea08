//! Pseudo-labels: clusters of the training images as their classes.

mod k_means;
mod labeled_data;
mod merging;
mod pooling;
mod principal_components;
mod representatives;

pub use representatives::representative_images;

pub(crate) use labeled_data::ClusterData;

use crate::class_prior::ClassPrior;
use crate::config::PseudoLabelConfig;
use crate::error::GanError;
use engraft_base::equidistant;
use engraft_data::TrainingData;
use engraft_layers::StateDict;
use engraft_tensor::Tensor;
use k_means::{Centroids, k_means};
use merging::merged_labels;
use pooling::Pooling;
use principal_components::PrincipalComponents;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Most images from which components and centroids are computed. Of more images, evenly spaced ones are used.
const MOST_IMAGES: usize = 60_000;
/// Images that are read at once.
const BATCH: usize = 256;
/// More training images than any run has.
const MOST_COUNTED: usize = 1 << 40;
const ADVICE: &str = "restore the file from a backup, or start the run again";

/// The clusters of a run: a function from images to labels, and the number of training images of each label.
///
/// An image is reduced by average pooling and projected on principal components. The nearest centroid gives the label. Only
/// pixels are used, never features of a trained network.
///
/// It is part of every checkpoint, so that images can be generated, evaluated and transferred without the data.
#[derive(Clone, Debug, PartialEq)]
pub struct PseudoLabels {
    pooling: Pooling,
    projection: PrincipalComponents,
    centroids: Centroids,
    /// Label of each centroid. Merged clusters have the same label.
    labels: Vec<usize>,
    /// Training images of each label.
    counts: Vec<u64>,
}

impl PseudoLabels {
    /// Clusters the images at `indices`.
    ///
    /// # Errors
    /// If an image cannot be read; [`GanError::Config`] if the images form a single cluster.
    pub(crate) fn fit(
        data: &dyn TrainingData,
        indices: &[usize],
        config: &PseudoLabelConfig,
    ) -> Result<Self, GanError> {
        let pooling = Pooling::new(data.shape())?;
        let some = equidistant(MOST_IMAGES.min(indices.len()), indices.len());
        let some: Vec<usize> = some.into_iter().map(|i| indices[i]).collect();
        let reduced = reduced(data, &some, &pooling)?;
        let projection = PrincipalComponents::fit(&reduced, pooling.values(), config.components as usize);
        let points = projection.project(&reduced);
        let (width, clusters) = (projection.count(), config.clusters as usize);
        let centroids = k_means(&points, width, clusters, config.seed.into());
        let sizes = counts(&centroids.assign(&points), clusters);
        let fewest = config.fewest_images(some.len());
        let labels = merged_labels(centroids.rows(), width, &sizes, fewest);
        let found = Self {
            counts: vec![0; labels.iter().max().map_or(0, |most| most + 1)],
            pooling,
            projection,
            centroids,
            labels,
        };
        if found.counts.len() < 2 {
            return Err(GanError::Config {
                problems: vec![format!(
                    "pseudo_labels: the images form no two clusters of at least {fewest} images; train without pseudo_labels, or \
                     lower pseudo_labels.min_images"
                )],
            });
        }
        found.of_training_images(&found.assign(data, indices)?)
    }

    /// The same clusters with the numbers of images of these labels.
    ///
    /// # Errors
    /// [`GanError::Config`] if there are no labels.
    pub(crate) fn of_training_images(&self, labels: &[usize]) -> Result<Self, GanError> {
        if labels.is_empty() {
            return Err(GanError::Config {
                problems: vec!["pseudo_labels: there are no training images".into()],
            });
        }
        Ok(Self {
            counts: counts(labels, self.counts.len()),
            ..self.clone()
        })
    }

    /// Labels of the images at `indices`. The label of an image depends on no other image.
    ///
    /// # Errors
    /// If an image cannot be read.
    ///
    /// # Panics
    /// If the images have another shape than those of the clusters.
    pub(crate) fn assign(&self, data: &dyn TrainingData, indices: &[usize]) -> Result<Vec<usize>, GanError> {
        let mut labels = Vec::with_capacity(indices.len());
        for part in indices.chunks(BATCH) {
            labels.extend(self.labels_of(&data.batch(part)?));
        }
        Ok(labels)
    }

    /// Labels of images `[n, h, w, c]` with values from -1 to 1.
    ///
    /// # Panics
    /// If `images` does not have a multiple of `h · w · c` numbers.
    #[track_caller]
    pub fn labels_of(&self, images: &[f32]) -> Vec<usize> {
        let numbers: usize = self.image().iter().product();
        assert!(
            images.len().is_multiple_of(numbers.max(1)),
            "PseudoLabels::labels_of: expected images of {numbers} numbers, got {} numbers",
            images.len()
        );
        let points = self.projection.project(&self.pooling.apply(images));
        let nearest = points.par_chunks_exact(self.projection.count());
        nearest
            .map(|point| self.labels[self.centroids.nearest(point)])
            .collect()
    }

    /// Height, width and channels of the images.
    pub fn image(&self) -> [usize; 3] {
        self.pooling.image()
    }

    /// Height and width to which the images are reduced.
    pub fn reduced_size(&self) -> [usize; 2] {
        self.pooling.size()
    }

    /// Number of clusters before small ones were merged.
    pub fn clusters(&self) -> usize {
        self.centroids.count()
    }

    /// Shares of the labels among the training images.
    pub fn prior(&self) -> ClassPrior {
        ClassPrior::from_counts(&self.counts)
    }

    /// The contents of a safetensors file with mean, components, centroids, labels and counts.
    ///
    /// # Errors
    /// If a number is not finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>, GanError> {
        Ok(self.state().to_bytes()?)
    }

    /// Writes the contents of [`PseudoLabels::to_bytes`] with a SHA-256 of the file, which [`PseudoLabels::from_bytes`] checks.
    ///
    /// # Errors
    /// If a number is not finite, or the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), GanError> {
        Ok(self.state().save(path)?)
    }

    /// All numbers as tensors.
    fn state(&self) -> StateDict {
        let [h, w, c] = self.image();
        let (values, width) = (self.projection.mean.len(), self.projection.count());
        let whole = |numbers: &[usize]| numbers.iter().map(|&n| n as f32).collect::<Vec<_>>();
        let counts: Vec<usize> = self.counts.iter().map(|&count| count as usize).collect();
        let tensors = BTreeMap::from([
            ("image".into(), Tensor::from_vec([3], whole(&[h, w, c]))),
            (
                "mean".into(),
                Tensor::from_vec([values], self.projection.mean.clone()),
            ),
            (
                "components".into(),
                Tensor::from_vec([values, width], self.projection.components.clone()),
            ),
            (
                "centroids".into(),
                Tensor::from_vec([self.clusters(), width], self.centroids.rows().to_vec()),
            ),
            (
                "labels".into(),
                Tensor::from_vec([self.labels.len()], whole(&self.labels)),
            ),
            ("counts".into(), Tensor::from_vec([counts.len()], whole(&counts))),
        ]);
        StateDict::from_tensors(tensors)
    }

    /// Reads the contents of [`PseudoLabels::to_bytes`], for images `[h, w, c]` and these settings; `path` is used in messages.
    ///
    /// # Errors
    /// [`GanError::Format`] if the file is of other images or settings, or its contents do not fit together. Also if it was
    /// changed after [`PseudoLabels::save`] wrote it.
    pub fn from_bytes(
        bytes: &[u8],
        path: &Path,
        image: [usize; 3],
        config: &PseudoLabelConfig,
    ) -> Result<Self, GanError> {
        let file: StateDict = StateDict::from_bytes(bytes, path)?;
        let wrong = |expected: String, found: String| GanError::Format {
            path: path.into(),
            offset: None,
            expected,
            found,
            advice: ADVICE,
        };
        let tensor = |name: &str, shape: &[usize]| -> Result<Vec<f32>, GanError> {
            let found = file.get(name);
            match found {
                Some(tensor)
                    if tensor.shape() == shape && tensor.as_slice().iter().all(|v| v.is_finite()) =>
                {
                    Ok(tensor.as_slice().to_vec())
                }
                Some(tensor) => Err(wrong(
                    format!("finite numbers {name} of the shape {shape:?}"),
                    format!("the shape {:?}", tensor.shape()),
                )),
                None => Err(wrong(format!("the tensor {name}"), "no such tensor".into())),
            }
        };
        let whole = |name: &str, numbers: Vec<f32>, end: usize| -> Result<Vec<usize>, GanError> {
            let is_valid = |n: &f32| *n >= 0.0 && n.fract() == 0.0 && (*n as usize) < end;
            match numbers.iter().all(is_valid) {
                true => Ok(numbers.iter().map(|&n| n as usize).collect()),
                false => Err(wrong(
                    format!("whole numbers below {end} in {name}"),
                    format!("{numbers:?}"),
                )),
            }
        };
        let of = whole("image", tensor("image", &[3])?, usize::MAX)?;
        if of != image {
            return Err(wrong(
                format!("clusters of images of {image:?}"),
                format!("clusters of images of {of:?}"),
            ));
        }
        let pooling = Pooling::new(image)?;
        let (values, clusters) = (pooling.values(), config.clusters as usize);
        let width = (config.components as usize).min(values);
        let projection = PrincipalComponents {
            mean: tensor("mean", &[values])?,
            components: tensor("components", &[values, width])?,
        };
        let centroids = Centroids::new(tensor("centroids", &[clusters, width])?, width);
        let labels = whole("labels", tensor("labels", &[clusters])?, clusters)?;
        let number = labels.iter().max().map_or(0, |most| most + 1);
        let counts = whole("counts", tensor("counts", &[number])?, MOST_COUNTED)?;
        if counts.iter().sum::<usize>() == 0 {
            return Err(wrong("at least one training image".into(), "counts of 0".into()));
        }
        Ok(Self {
            pooling,
            projection,
            centroids,
            labels,
            counts: counts.into_iter().map(|count| count as u64).collect(),
        })
    }
}

/// The images at `indices`, reduced: `[indices.len(), values]`.
///
/// # Errors
/// If an image cannot be read.
fn reduced(data: &dyn TrainingData, indices: &[usize], pooling: &Pooling) -> Result<Vec<f32>, GanError> {
    let mut reduced = Vec::with_capacity(indices.len() * pooling.values());
    for part in indices.chunks(BATCH) {
        reduced.extend(pooling.apply(&data.batch(part)?));
    }
    Ok(reduced)
}

/// How often each label below `number` occurs.
fn counts(labels: &[usize], number: usize) -> Vec<u64> {
    let mut counts = vec![0; number];
    for &label in labels {
        counts[label] += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
