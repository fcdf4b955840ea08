//! A training with few labels as the files of a checkpoint, and back.

use super::trainer::{Adversary, Examples, SemiSupervised, Settings};
use crate::error::TransferError;
use engraft_base::hex;
use engraft_data::{BatchState, Dataset};
use engraft_gan::GanError;
use engraft_gan::checkpoint::{Checkpoint, decode, encode};
use engraft_layers::{
    Adam, Module, Optimizer, OptimizerCounters, OptimizerState, StateDict, rng_states, set_rng_states,
};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const CLASSIFIER: &str = "classifier.safetensors";
const AVERAGE: &str = "average.safetensors";
const GENERATOR: &str = "generator.safetensors";
const OPTIMIZERS: &str = "optimizers.safetensors";
const STATE: &str = "state.bin";

/// Everything beside tensors that the next step depends on.
#[derive(Serialize, Deserialize)]
struct State {
    /// SHA-256 of what is trained on and how.
    identity: String,
    step: u64,
    labelled: Vec<BatchState>,
    classifier: Streams,
    adversary: Option<AdversaryState>,
}

/// What a network's training depends on beside tensors.
#[derive(Serialize, Deserialize)]
struct Streams {
    counters: OptimizerCounters,
    noise: BTreeMap<String, Pcg64>,
}

#[derive(Serialize, Deserialize)]
struct AdversaryState {
    unlabelled: BatchState,
    latent: Pcg64,
    generator: Streams,
}

/// SHA-256 of the settings, the images, which of them are labelled, and their labels.
pub(super) fn identity(examples: &Examples<'_>, settings: &Settings) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{settings:?}"));
    let mut data = |data: &Dataset, indices: &[usize]| {
        hash.update(format!(
            "{} {:?} {}",
            data.sha256(),
            data.image_size(),
            indices.len()
        ));
        for &i in indices {
            hash.update((i as u64).to_le_bytes());
            hash.update([data.label(i)]);
        }
    };
    for (labelled, indices) in &examples.labelled {
        data(labelled, indices);
    }
    if let Some(unlabelled) = examples.unlabelled {
        data(unlabelled, &[]);
    }
    hex(&hash.finalize())
}

fn streams(network: &dyn Module, optimizer: &Adam) -> (Streams, StateDict) {
    let OptimizerState { counters, tensors } = optimizer.state();
    let noise = rng_states(network);
    (Streams { counters, noise }, StateDict::from_tensors(tensors))
}

fn set_streams(
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

impl SemiSupervised<'_> {
    /// Everything that the next step depends on, for [`SemiSupervised::resume`], as the files of a [checkpoint](engraft_gan::checkpoint::CheckpointStore):
    /// both networks, the averaged weights, the optimisers, random numbers and the order of the images.
    ///
    /// # Errors
    /// If weights are no longer finite numbers.
    pub fn save(&self) -> Result<BTreeMap<String, Vec<u8>>, TransferError> {
        let (classifier, moments) = streams(&self.classifier, &self.optimizer);
        let mut moments = moments.with_prefix("classifier");
        let mut files = BTreeMap::from([
            (CLASSIFIER.into(), StateDict::of(&self.classifier).to_bytes()?),
            (AVERAGE.into(), StateDict::of(&self.average).to_bytes()?),
        ]);
        let mut adversary = None;
        if let Some(of) = &self.adversary {
            files.insert(GENERATOR.into(), StateDict::of(&of.generator).to_bytes()?);
            let (generator, its_moments) = streams(&of.generator, &of.optimizer);
            moments = moments.merge(its_moments.with_prefix("generator"))?;
            adversary = Some(AdversaryState {
                unlabelled: of.unlabelled.state(),
                latent: of.latent.clone(),
                generator,
            });
        }
        let state = State {
            identity: self.identity.clone(),
            step: self.step,
            labelled: self.labelled.iter().map(|supply| supply.state()).collect(),
            classifier,
            adversary,
        };
        files.insert(OPTIMIZERS.into(), moments.to_bytes()?);
        files.insert(STATE.into(), encode(&state)?);
        Ok(files)
    }

    /// Goes on from a checkpoint of the same training: on the same CPU bit for bit as if it had not been interrupted.
    ///
    /// ```
    /// use engraft_data::{Split, drawn_digits};
    /// use engraft_gan::checkpoint::CheckpointStore;
    /// use engraft_transfer::semi_supervised::{Examples, SemiSupervised, Settings, choose_labels};
    ///
    /// let train = drawn_digits(Split::Train, 40, 1);
    /// let new = || -> Result<_, Box<dyn std::error::Error>> {
    ///     let labelled = vec![(&train, choose_labels(train.labels(), 20, 1)?)];
    ///     let mut settings = Settings::new(3, 1);
    ///     (settings.batch, settings.hidden) = (20, vec![16]);
    ///     Ok(SemiSupervised::new(Examples { labelled, unlabelled: None }, settings)?)
    /// };
    /// let run = tempfile::tempdir()?;
    /// let mut store = CheckpointStore::open(run.path(), 1)?;
    /// let mut task = new()?;
    /// task.step()?;
    /// store.save(task.steps_done(), "", &task.save()?)?;
    ///
    /// let saved = store.latest()?.expect("one was saved").checkpoint;
    /// let mut again = new()?.resume(&saved)?;
    /// assert_eq!(again.step()?, task.step()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If files are missing or damaged, or the checkpoint is that of a training with other images, labels or settings.
    pub fn resume(mut self, checkpoint: &Checkpoint) -> Result<Self, TransferError> {
        let dict = |name: &str| -> Result<StateDict, TransferError> {
            let path = checkpoint.file_path(name);
            Ok(StateDict::from_bytes(checkpoint.file(name)?, &path)?)
        };
        let path = checkpoint.file_path(STATE);
        let state: State = decode(checkpoint.file(STATE)?, &path)?;
        if state.identity != self.identity || state.step > self.settings.steps {
            return Err(TransferError::OtherTraining {
                path: checkpoint.path.clone(),
            });
        }
        let damaged = || GanError::Format {
            path: path.clone(),
            offset: None,
            expected: format!("the state of this training at step {}", checkpoint.step),
            found: format!("another one, of step {}", state.step),
            advice: "remove the checkpoint, or restore it from a copy",
        };
        let whole = state.labelled.len() == self.labelled.len()
            && state.adversary.is_some() == self.adversary.is_some()
            && state.step == checkpoint.step
            && state.classifier.counters.steps == state.step
            && (state.adversary.as_ref()).is_none_or(|of| of.generator.counters.steps == state.step);
        if !whole {
            return Err(damaged().into());
        }
        for (supply, at) in self.labelled.iter_mut().zip(state.labelled) {
            supply.resume(at)?;
        }
        dict(CLASSIFIER)?.apply(&mut self.classifier)?;
        dict(AVERAGE)?.apply(&mut self.average)?;
        let (moments, mut rest) = dict(OPTIMIZERS)?.split_prefix("classifier");
        set_streams(
            &mut self.classifier,
            &mut self.optimizer,
            state.classifier,
            moments,
        )?;
        if let (Some(of), Some(saved)) = (&mut self.adversary, state.adversary) {
            let Adversary {
                unlabelled,
                generator,
                optimizer,
                latent,
            } = of;
            unlabelled.resume(saved.unlabelled)?;
            *latent = saved.latent;
            dict(GENERATOR)?.apply(generator)?;
            let (moments, left) = rest.split_prefix("generator");
            rest = left;
            set_streams(generator, optimizer, saved.generator, moments)?;
        }
        if !rest.tensors().is_empty() {
            return Err(damaged().into());
        }
        self.step = state.step;
        Ok(self)
    }
}
