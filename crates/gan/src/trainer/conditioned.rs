//! Training data with the labels that a run is conditioned on.

use crate::checkpoint::Checkpoint;
use crate::checkpoint_state;
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::pseudo_labels::{ClusterData, PseudoLabels};
use crate::training_plan::TrainingPlan;
use engraft_data::TrainingData;
use std::sync::Arc;

/// Training data, and the clusters that label them.
type ConditionedData = (Arc<dyn TrainingData>, Option<Arc<PseudoLabels>>);

/// The data with the labels of clusters and the clusters, if the run has pseudo-labels. The clusters are those of the
/// checkpoint, of the plan, or of the training images, in this order.
pub(super) fn conditioned(
    config: &TrainConfig,
    data: Arc<dyn TrainingData>,
    trained_on: &[usize],
    plan: &dyn TrainingPlan,
    found: Option<&Checkpoint>,
) -> Result<ConditionedData, GanError> {
    if !config.pseudo_labels.is_on() {
        return Ok((data, None));
    }
    let saved = match found {
        Some(checkpoint) => checkpoint_state::pseudo_labels(checkpoint, config)?,
        None => plan.pseudo_labels().cloned(),
    };
    let clusters = match saved {
        Some(clusters) => clusters,
        None => PseudoLabels::fit(data.as_ref(), trained_on, &config.pseudo_labels)?,
    };
    let data = ClusterData::new(data, &clusters)?;
    let labels: Vec<usize> = trained_on.iter().map(|&i| data.labels()[i]).collect();
    let clusters = clusters.of_training_images(&labels)?;
    Ok((Arc::new(data), Some(Arc::new(clusters))))
}
