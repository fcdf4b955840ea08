//! Converts the state of a run to the files of a checkpoint and back.

use crate::adversarial_loss::LossState;
use crate::checkpoint::{Checkpoint, decode, encode};
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::monitor::MonitorState;
use crate::pseudo_labels::PseudoLabels;
use engraft_data::BatchState;
use engraft_layers::{
    LayersError, OptimizerCounters, OptimizerState, Sequential, StateDict, rng_states, set_rng_states,
};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const GENERATOR: &str = "generator.safetensors";
const DISCRIMINATOR: &str = "discriminator.safetensors";
const AVERAGE: &str = "average.safetensors";
const OPTIMIZERS: &str = "optimizers.safetensors";
const STATE: &str = "state.bin";
/// Only if the loss has a state, such as adaptive augmentation.
const LOSS_STATE: &str = "game.bin";
/// Only if the run was evaluated, rolled back or is in a later phase.
const MONITOR: &str = "watch.bin";
/// Only if the classes of the run are clusters.
const PSEUDO_LABELS: &str = "pseudo-labels.safetensors";

/// Everything except tensors that the next step depends on.
#[derive(Serialize, Deserialize)]
pub(crate) struct TrainState {
    pub(crate) step: u64,
    pub(crate) latent: Pcg64,
    pub(crate) batches: BatchState,
    generator_counters: OptimizerCounters,
    discriminator_counters: OptimizerCounters,
    generator_streams: BTreeMap<String, Pcg64>,
    discriminator_streams: BTreeMap<String, Pcg64>,
}

/// The files of a checkpoint.
pub(crate) fn to_files(
    step: u64,
    gan: &Gan,
    average: Option<&Sequential>,
    latent: &Pcg64,
    batches: BatchState,
    monitor: &MonitorState,
    pseudo_labels: Option<&PseudoLabels>,
) -> Result<BTreeMap<String, Vec<u8>>, GanError> {
    let (g, d) = (
        gan.generator_optimizer.state(),
        gan.discriminator_optimizer.state(),
    );
    let moments = StateDict::from_tensors(g.tensors)
        .with_prefix("generator")
        .merge(StateDict::from_tensors(d.tensors).with_prefix("discriminator"))?;
    // These networks have valid names and shapes, so a tensor that cannot be saved is not finite.
    let bytes = |what: &str, dict: &StateDict| {
        dict.to_bytes().map_err(|error| match error {
            LayersError::Unsavable { reason } => GanError::Diverged {
                step,
                reason: format!("{what}: {reason}"),
            },
            other => other.into(),
        })
    };
    let state = TrainState {
        step,
        latent: latent.clone(),
        batches,
        generator_counters: g.counters,
        discriminator_counters: d.counters,
        generator_streams: rng_states(&gan.generator),
        discriminator_streams: rng_states(&gan.discriminator),
    };
    let mut files = BTreeMap::from([
        (
            GENERATOR.into(),
            bytes("the generator", &StateDict::of(&gan.generator))?,
        ),
        (
            DISCRIMINATOR.into(),
            bytes("the discriminator", &StateDict::of(&gan.discriminator))?,
        ),
        (OPTIMIZERS.into(), bytes("the optimizers", &moments)?),
        (STATE.into(), encode(&state)?),
    ]);
    if gan.loss.has_state() {
        files.insert(LOSS_STATE.into(), encode(&gan.loss.state)?);
    }
    if *monitor != MonitorState::default() {
        files.insert(MONITOR.into(), encode(monitor)?);
    }
    if let Some(clusters) = pseudo_labels {
        files.insert(PSEUDO_LABELS.into(), clusters.to_bytes()?);
    }
    if let Some(average) = average {
        let average = bytes("the EMA generator", &StateDict::of(average))?;
        files.insert(AVERAGE.into(), average);
    }
    Ok(files)
}

/// The clusters in a checkpoint of a run with pseudo-labels; `None` for other runs.
pub(crate) fn pseudo_labels(
    checkpoint: &Checkpoint,
    config: &TrainConfig,
) -> Result<Option<PseudoLabels>, GanError> {
    if !config.pseudo_labels.is_on() {
        return Ok(None);
    }
    PseudoLabels::from_bytes(
        checkpoint.file(PSEUDO_LABELS)?,
        &checkpoint.file_path(PSEUDO_LABELS),
        config.image,
        &config.pseudo_labels,
    )
    .map(Some)
}

/// The measurements in a checkpoint.
pub(crate) fn monitor_state(checkpoint: &Checkpoint) -> Result<MonitorState, GanError> {
    if !checkpoint.files.contains_key(MONITOR) {
        return Ok(MonitorState::default());
    }
    let path = checkpoint.file_path(MONITOR);
    let state: MonitorState = decode(checkpoint.file(MONITOR)?, &path)?;
    let measured = state.measurements.iter().map(|m| ("a measurement", m.step));
    let began = ("the start of a phase", state.phase_start);
    let late = measured.chain([began]).find(|(_, step)| *step > checkpoint.step);
    match late {
        None => Ok(state),
        Some((what, step)) => Err(GanError::Format {
            path,
            offset: None,
            expected: format!("events up to step {}, the step in the manifest", checkpoint.step),
            found: format!("{what} at step {step}"),
            advice: "restore the checkpoint from a backup or remove it",
        }),
    }
}

/// Loads a discriminator from a checkpoint.
pub(crate) fn restore_discriminator(
    checkpoint: &Checkpoint,
    discriminator: &mut Sequential,
) -> Result<(), GanError> {
    let path = checkpoint.file_path(DISCRIMINATOR);
    let dict: StateDict = StateDict::from_bytes(checkpoint.file(DISCRIMINATOR)?, &path)?;
    Ok(dict.apply(discriminator)?)
}

/// Loads the generator that samples come from: the EMA generator, or the live one without EMA.
pub(crate) fn restore_ema_generator(
    checkpoint: &Checkpoint,
    config: &TrainConfig,
    generator: &mut Sequential,
) -> Result<(), GanError> {
    let name = if config.ema_half_life > 0 {
        AVERAGE
    } else {
        GENERATOR
    };
    let dict: StateDict = StateDict::from_bytes(checkpoint.file(name)?, &checkpoint.file_path(name))?;
    Ok(dict.apply(generator)?)
}

/// Loads the networks, their optimizers and the state of the loss from a checkpoint.
pub(crate) fn restore(
    checkpoint: &Checkpoint,
    gan: &mut Gan,
    average: Option<&mut Sequential>,
) -> Result<TrainState, GanError> {
    let dict = |name: &str| -> Result<StateDict, GanError> {
        Ok(StateDict::from_bytes(
            checkpoint.file(name)?,
            &checkpoint.file_path(name),
        )?)
    };
    let load =
        |name: &str, module: &mut Sequential| -> Result<(), GanError> { Ok(dict(name)?.apply(module)?) };
    load(GENERATOR, &mut gan.generator)?;
    load(DISCRIMINATOR, &mut gan.discriminator)?;
    if let Some(average) = average {
        load(AVERAGE, average)?;
    }
    let state: TrainState = decode(checkpoint.file(STATE)?, &checkpoint.file_path(STATE))?;
    if state.step != checkpoint.step {
        return Err(GanError::Format {
            path: checkpoint.file_path(STATE),
            offset: None,
            expected: format!("the state of step {}, the step in the manifest", checkpoint.step),
            found: format!("the state of step {}", state.step),
            advice: "restore the checkpoint from a backup or remove it",
        });
    }
    let (g_moments, rest) = dict(OPTIMIZERS)?.split_prefix("generator");
    let (d_moments, _) = rest.split_prefix("discriminator");
    let optimizer_state = |counters: &OptimizerCounters, moments: StateDict| OptimizerState {
        counters: counters.clone(),
        tensors: moments.into_tensors(),
    };
    let g_state = optimizer_state(&state.generator_counters, g_moments);
    let d_state = optimizer_state(&state.discriminator_counters, d_moments);
    gan.generator_optimizer.load_state(g_state, &gan.generator)?;
    gan.discriminator_optimizer
        .load_state(d_state, &gan.discriminator)?;
    if gan.loss.has_state() {
        let loss_state: LossState = decode(checkpoint.file(LOSS_STATE)?, &checkpoint.file_path(LOSS_STATE))?;
        gan.loss.state = loss_state;
    }
    set_rng_states(&mut gan.generator, &state.generator_streams)?;
    set_rng_states(&mut gan.discriminator, &state.discriminator_streams)?;
    Ok(state)
}
