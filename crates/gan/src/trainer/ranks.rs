//! A run on several ranks: rank 0 leads, the others follow.
//!
//! Rank 0 is a [`Trainer`](crate::Trainer) like any other. It alone opens the run directory, evaluates, and decides what is done.
//! The other ranks hold the same networks, which they get from rank 0, and take part in each step. Their weights stay equal,
//! because all ranks apply the same gradients; this is compared before each checkpoint.

use super::conditioned::conditioned;
use super::progress::Progress;
use super::split::split;
use crate::checkpoint::Checkpoint;
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::training_plan::TrainingPlan;
use engraft_base::sha256_hex;
use engraft_data::TrainingData;
use engraft_layers::{Sequential, Slot, visit};
use engraft_tensor::cpu_features;
use engraft_tensor::shards::Communicator;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What rank 0 tells the others to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// A training step.
    Step,
    /// Begin a phase of the plan.
    Phase(u32),
    /// Take over the state that follows.
    Restore,
    /// Compare the weights.
    Compare,
    /// Stop.
    End,
}

impl Order {
    fn to_bytes(self) -> Vec<u8> {
        let (kind, number) = match self {
            Self::Step => (0, 0),
            Self::Phase(phase) => (1, phase),
            Self::Restore => (2, 0),
            Self::Compare => (3, 0),
            Self::End => (4, 0),
        };
        [&[kind], &number.to_le_bytes()[..]].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, number) = bytes.split_first()?;
        let number = u32::from_le_bytes(number.try_into().ok()?);
        [
            Self::Step,
            Self::Phase(number),
            Self::Restore,
            Self::Compare,
            Self::End,
        ]
        .get(usize::from(*kind))
        .copied()
    }
}

/// Rank 0's connection to the other ranks. They stop when it is dropped.
pub(super) struct Leader {
    communicator: Arc<dyn Communicator>,
}

impl Leader {
    pub(super) fn new(communicator: Arc<dyn Communicator>) -> Self {
        Self { communicator }
    }

    pub(super) fn communicator(&self) -> Arc<dyn Communicator> {
        Arc::clone(&self.communicator)
    }

    /// Why the micro-batches cannot be divided among the ranks.
    pub(super) fn problem(&self, micro_batches: u32) -> Option<String> {
        let ranks = self.communicator.ranks();
        (!(micro_batches as usize).is_multiple_of(ranks)).then(|| {
            format!("micro_batches must be a multiple of the number of ranks, {ranks}, got {micro_batches}")
        })
    }

    pub(super) fn tell(&self, order: Order) {
        self.communicator.broadcast(order.to_bytes());
    }

    /// Gives the other ranks the settings and a checkpoint.
    pub(super) fn restore(&self, config: &TrainConfig, checkpoint: &Checkpoint, rollbacks: u32) {
        self.tell(Order::Restore);
        let state = State {
            settings: config.to_toml(),
            rollbacks,
            step: checkpoint.step,
            options_hash: checkpoint.options_hash.clone(),
            files: checkpoint.files.clone(),
        };
        self.communicator.broadcast(state.to_bytes());
    }

    /// Checks that all ranks have the same weights.
    ///
    /// # Errors
    /// [`GanError::Ranks`] if they differ.
    pub(super) fn compare(&self, gan: &Gan, step: u64) -> Result<(), GanError> {
        self.tell(Order::Compare);
        compare(self.communicator.as_ref(), gan, step)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.communicator.abort("rank 0 panicked");
        } else {
            self.tell(Order::End);
        }
    }
}

/// Compares the weights of all ranks, each of which calls this.
fn compare(communicator: &dyn Communicator, gan: &Gan, step: u64) -> Result<(), GanError> {
    let mut own = sha256_hex(weights(&[&gan.generator, &gan.discriminator]).as_slice()).into_bytes();
    own.extend(sha256_hex(cpu_features().as_bytes()).into_bytes());
    let all = communicator.all_gather(&own);
    let mut ranks = all.chunks_exact(own.len());
    let weights_and_cpu = |rank: &[u8]| [rank[..rank.len() / 2].to_vec(), rank[rank.len() / 2..].to_vec()];
    let [first, cpu] = weights_and_cpu(&own);
    let other = ranks.by_ref().position(|rank| weights_and_cpu(rank)[0] != first);
    let Some(other) = other else { return Ok(()) };
    let has_other_cpu = all
        .chunks_exact(own.len())
        .any(|rank| weights_and_cpu(rank)[1] != cpu);
    let reason = if has_other_cpu {
        "their CPUs have different features, and so other last bits; use machines with equal CPUs"
    } else {
        "a machine computes wrongly, or the ranks run different versions of the program"
    };
    Err(GanError::Ranks {
        reason: format!(
            "step {step}: the weights of rank {other} and rank {} differ: {reason}",
            communicator.rank()
        ),
    })
}

/// The bytes of all parameters and buffers.
fn weights(networks: &[&Sequential]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for network in networks {
        visit(*network, |_, slot| {
            let values = match slot {
                Slot::Parameter(parameter) => parameter.tensor().clone(),
                Slot::Buffer(buffer) => buffer.tensor(),
                Slot::Rng(_) => return,
            };
            bytes.extend(values.as_slice().iter().flat_map(|x| x.to_le_bytes()));
        });
    }
    bytes
}

/// What a rank needs to take part in a run.
#[derive(Debug, PartialEq)]
struct State {
    settings: String,
    rollbacks: u32,
    step: u64,
    options_hash: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl State {
    /// Each part after its length.
    fn to_bytes(&self) -> Vec<u8> {
        let numbers = [
            self.rollbacks.to_le_bytes().to_vec(),
            self.step.to_le_bytes().to_vec(),
        ]
        .concat();
        let mut parts = vec![self.settings.as_bytes(), self.options_hash.as_bytes(), &numbers];
        for (name, content) in &self.files {
            parts.extend([name.as_bytes(), content]);
        }
        let framed = parts
            .iter()
            .flat_map(|part| [&(part.len() as u64).to_le_bytes()[..], part].concat());
        framed.collect()
    }

    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            let (len, rest) = bytes.split_at_checked(8)?;
            let len = usize::try_from(u64::from_le_bytes(len.try_into().ok()?)).ok()?;
            let (part, rest) = rest.split_at_checked(len)?;
            parts.push(part);
            bytes = rest;
        }
        let [settings, options_hash, numbers, files @ ..] = parts.as_slice() else {
            return None;
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let (rollbacks, step) = numbers.split_at_checked(4)?;
        let files = files
            .chunks_exact(2)
            .map(|file| Some((text(file[0])?, file[1].to_vec())));
        Some(Self {
            settings: text(settings)?,
            rollbacks: u32::from_le_bytes(rollbacks.try_into().ok()?),
            step: u64::from_le_bytes(step.try_into().ok()?),
            options_hash: text(options_hash)?,
            files: files.collect::<Option<_>>()?,
        })
    }
}

/// Takes part in the run of rank 0 until it ends.
///
/// # Errors
/// If this rank cannot read the data or has others, or does not understand rank 0.
pub(super) fn follow(
    data: &Arc<dyn TrainingData>,
    plan: &dyn TrainingPlan,
    communicator: &Arc<dyn Communicator>,
) -> Result<(), GanError> {
    let mut run: Option<Follower> = None;
    loop {
        let order = Order::from_bytes(&communicator.broadcast(Vec::new()));
        match (order, &mut run) {
            (Some(Order::End), _) => return Ok(()),
            (Some(Order::Restore), run) => {
                let state = State::from_bytes(&communicator.broadcast(Vec::new()));
                let state = state.ok_or_else(|| misunderstood(communicator.as_ref()))?;
                *run = Some(Follower::at(state, data, plan, communicator)?);
            }
            (Some(Order::Step), Some(run)) => run.step()?,
            (Some(Order::Phase(phase)), Some(run)) => plan.begin_phase(phase, &mut run.progress.gan),
            (Some(Order::Compare), Some(run)) => {
                // Rank 0 reports a difference, and ends the run.
                let _ = compare(communicator.as_ref(), &run.progress.gan, run.progress.step);
            }
            _ => return Err(misunderstood(communicator.as_ref())),
        }
    }
}

fn misunderstood(communicator: &dyn Communicator) -> GanError {
    GanError::Ranks {
        reason: format!(
            "rank {} got an order that it does not know; all ranks must run the same version of the program",
            communicator.rank()
        ),
    }
}

/// The state of a rank other than 0.
struct Follower {
    config: TrainConfig,
    data: Arc<dyn TrainingData>,
    trained_on: Vec<usize>,
    progress: Progress,
}

impl Follower {
    fn at(
        state: State,
        data: &Arc<dyn TrainingData>,
        plan: &dyn TrainingPlan,
        communicator: &Arc<dyn Communicator>,
    ) -> Result<Self, GanError> {
        let config = TrainConfig::from_toml(&state.settings, Path::new("run.toml of rank 0"))?;
        config.check_data(data.as_ref())?;
        let [_, trained_on] = split(&config, data.as_ref());
        let checkpoint = Checkpoint {
            step: state.step,
            path: PathBuf::from("checkpoint of rank 0"),
            options_hash: state.options_hash,
            crate_version: String::new(),
            files: state.files,
        };
        let (data, clusters) = conditioned(&config, Arc::clone(data), &trained_on, plan, Some(&checkpoint))?;
        let mut progress = Progress::at(&checkpoint, &config, trained_on.len(), plan, state.rollbacks)?;
        progress.set_pseudo_labels(clusters);
        progress
            .gan
            .distribute(config.micro_batches as usize, Arc::clone(communicator));
        Ok(Self {
            config,
            data,
            trained_on,
            progress,
        })
    }

    fn step(&mut self) -> Result<(), GanError> {
        let batches = self.progress.next_batches(self.config.objective.n_critic);
        let indices: Vec<usize> = batches.iter().map(|&i| self.trained_on[i]).collect();
        let (real, condition) = self.progress.inputs(self.data.as_ref(), &indices, &self.config)?;
        match self.progress.train(&real, condition) {
            // Rank 0 has diverged as well, and decides what to do.
            Ok(_) | Err(GanError::Diverged { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_states_survive_the_way_and_damaged_ones_are_refused() {
        for order in [
            Order::Step,
            Order::Phase(7),
            Order::Restore,
            Order::Compare,
            Order::End,
        ] {
            assert_eq!(Order::from_bytes(&order.to_bytes()), Some(order));
        }
        assert_eq!(Order::from_bytes(&[9, 0, 0, 0, 0]), None);
        let state = State {
            settings: "steps = 3".into(),
            rollbacks: 2,
            step: 1 << 40,
            options_hash: "abc".into(),
            files: BTreeMap::from([("a".into(), vec![1, 2]), ("b".into(), Vec::new())]),
        };
        let bytes = state.to_bytes();
        assert_eq!(State::from_bytes(&bytes).as_ref(), Some(&state));
        for cut in [1, 9, 20, 30, bytes.len() - 1] {
            assert_eq!(State::from_bytes(&bytes[..cut]), None, "{cut}");
        }
    }
}
