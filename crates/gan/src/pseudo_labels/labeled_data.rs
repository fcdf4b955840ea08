//! Training data whose labels are clusters.

use super::PseudoLabels;
use crate::error::GanError;
use engraft_data::{DataError, Provenance, TrainingData};
use std::sync::Arc;

/// The examples of other data, with the labels of clusters instead of their own.
pub(crate) struct ClusterData {
    data: Arc<dyn TrainingData>,
    labels: Vec<usize>,
    classes: usize,
}

impl ClusterData {
    /// The data with the labels of these clusters, which are computed for every example.
    ///
    /// # Errors
    /// If an example cannot be read.
    pub(crate) fn new(data: Arc<dyn TrainingData>, clusters: &PseudoLabels) -> Result<Self, GanError> {
        let all: Vec<usize> = (0..data.len()).collect();
        Ok(Self {
            labels: clusters.assign(data.as_ref(), &all)?,
            classes: clusters.counts.len(),
            data,
        })
    }

    /// Label of each example.
    pub(crate) fn labels(&self) -> &[usize] {
        &self.labels
    }
}

impl TrainingData for ClusterData {
    fn name(&self) -> &str {
        self.data.name()
    }

    fn len(&self) -> usize {
        self.data.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.data.shape()
    }

    fn batch(&self, indices: &[usize]) -> Result<Vec<f32>, DataError> {
        self.data.batch(indices)
    }

    fn label(&self, index: usize) -> Option<usize> {
        Some(self.labels[index])
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn fingerprint(&self) -> String {
        self.data.fingerprint()
    }

    fn image_hashes(&self) -> Vec<String> {
        self.data.image_hashes()
    }

    fn image_names(&self) -> Vec<String> {
        self.data.image_names()
    }

    fn provenance(&self) -> &Provenance {
        self.data.provenance()
    }
}
