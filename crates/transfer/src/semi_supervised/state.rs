//! What a checkpoint of a training with few labels holds besides the weights.

use crate::error::TransferError;
use engraft_data::BatchState;
use engraft_layers::{
    Adam, Module, Optimizer, OptimizerCounters, OptimizerState, StateDict, rng_states, set_rng_states,
};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The files of a checkpoint.
pub(super) const CLASSIFIER: &str = "classifier.safetensors";
pub(super) const EMA: &str = "average.safetensors";
pub(super) const GENERATOR: &str = "generator.safetensors";
pub(super) const OPTIMIZERS: &str = "optimizers.safetensors";
pub(super) const STATE: &str = "state.bin";

/// Everything except tensors that the next step depends on.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// SHA-256 of data and settings.
    pub(super) identity: String,
    pub(super) step: u64,
    pub(super) labeled: Vec<BatchState>,
    pub(super) classifier: Streams,
    pub(super) adversary: Option<AdversaryState>,
}

/// Optimizer counters and random states of a network.
#[derive(Serialize, Deserialize)]
pub(super) struct Streams {
    pub(super) counters: OptimizerCounters,
    pub(super) noise: BTreeMap<String, Pcg64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct AdversaryState {
    pub(super) unlabeled: BatchState,
    pub(super) latent: Pcg64,
    pub(super) generator: Streams,
}

/// Counters, random states and moments of a network and its optimizer.
pub(super) fn streams(network: &dyn Module, optimizer: &Adam) -> (Streams, StateDict) {
    let OptimizerState { counters, tensors } = optimizer.state();
    let noise = rng_states(network);
    (Streams { counters, noise }, StateDict::from_tensors(tensors))
}

/// The opposite of [`streams`].
///
/// # Errors
/// If they do not fit the network.
pub(super) fn set_streams(
    network: &mut dyn Module,
    optimizer: &mut Adam,
    streams: Streams,
    moments: StateDict,
) -> Result<(), TransferError> {
    let state = OptimizerState {
        counters: streams.counters,
        tensors: moments.into_tensors(),
    };
    optimizer.load_state(state, network)?;
    Ok(set_rng_states(network, &streams.noise)?)
}
