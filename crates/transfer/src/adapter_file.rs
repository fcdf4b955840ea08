//! Adapter files: what a transfer changed of a generator, as a small file beside one shared source.

use crate::config::TransferConfig;
use crate::error::TransferError;
use crate::pretrained_gan::PretrainedGan;
use crate::transfer_plan::Transfer;
use engraft_gan::{CheckpointChoice, Networks, Sampler, SavedRun};
use engraft_layers::{Adapter, Sequential, StateDict};
use std::path::Path;

/// Entries of the file's metadata.
const FORMAT: &str = "format";
const SOURCE: &str = "source_sha256";
const ADAPTER: &str = "adapter";
const MINER: &str = "miner";
/// What they say.
const VERSION: &str = "engraft-adapter-1";
const NONE: &str = "none";

/// The difference between a transferred generator and the one that its transfer began with.
///
/// The file is a safetensors file of those parameters and buffers that differ by a bit, under their names in the
/// generator; what does not differ follows from the source, whose SHA-256 stands in the metadata together with the kind of
/// the adapter and the width of the miner. With the same source it gives the same generator, bit for bit, so that many
/// transfers share one source checkpoint.
///
/// ```no_run
/// use engraft_gan::CheckpointChoice;
/// use engraft_transfer::{AdapterFile, open_source};
/// use rand::SeedableRng;
///
/// let source = open_source("runs/mnist".as_ref(), CheckpointChoice::Last)?;
/// let adapter = AdapterFile::open("runs/transfer-usps/adapter.safetensors".as_ref())?;
/// let images = adapter.sampler(&source)?.generate(64, &mut rand_pcg::Pcg64::seed_from_u64(1));
/// # Ok::<(), engraft_transfer::TransferError>(())
/// ```
#[derive(Clone, Debug)]
pub struct AdapterFile {
    start: TransferConfig,
    changed: StateDict,
}

impl AdapterFile {
    /// Name of the file in the directory of a transfer.
    pub const NAME: &str = "adapter.safetensors";

    /// What a generator of this transfer has other than at the transfer's beginning.
    ///
    /// # Errors
    /// If it has not the names and shapes of the transfer's generator.
    pub fn from_transfer(transfer: &Transfer, generator: &Sequential) -> Result<Self, TransferError> {
        let Networks {
            generator: mut begin, ..
        } = transfer.initial_networks()?;
        let before = StateDict::of(&begin);
        let after = StateDict::of(generator);
        after.apply(&mut begin)?;
        let changed = after.into_tensors().into_iter().filter(|(name, tensor)| {
            let bits = |x: &f32| x.to_bits();
            let old = before.get(name).map(|old| old.as_slice());
            old.is_none_or(|old| !old.iter().map(bits).eq(tensor.as_slice().iter().map(bits)))
        });
        let plan = transfer.config();
        Ok(Self {
            start: TransferConfig {
                source_sha256: plan.source_sha256.clone(),
                adapter: plan.adapter,
                miner: plan.miner,
                ..TransferConfig::default()
            },
            changed: StateDict::from_tensors(changed.collect()),
        })
    }

    /// The adapter of a checkpoint of a transferred run.
    ///
    /// # Errors
    /// Those of [`Transfer::open`] and [`SavedRun::planned_networks`].
    pub fn from_run(directory: &Path, which: CheckpointChoice) -> Result<Self, TransferError> {
        let transfer = Transfer::open(directory)?;
        let (_, networks) = SavedRun::planned_networks(directory, &transfer, which)?;
        Self::from_transfer(&transfer, &networks.generator)
    }

    /// Reads an adapter file.
    ///
    /// # Errors
    /// If it is no sound safetensors file, or its metadata is not that of an adapter file: every problem at once.
    pub fn open(path: &Path) -> Result<Self, TransferError> {
        let file: StateDict = StateDict::load(path)?;
        let mut problems = Vec::new();
        let entry = |name: &str| file.metadata().get(name).map(String::as_str);
        if entry(FORMAT) != Some(VERSION) {
            problems.push(format!(
                "expected the metadata {FORMAT} = {VERSION:?}, found {:?}",
                entry(FORMAT).unwrap_or("none of that name")
            ));
        }
        let source_sha256 = entry(SOURCE).unwrap_or_default().to_string();
        let is_hexadecimal = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        if source_sha256.len() != 64 || !source_sha256.chars().all(is_hexadecimal) {
            problems.push(format!(
                "expected the metadata {SOURCE} of 64 hexadecimal digits, found {source_sha256:?}"
            ));
        }
        let adapter = match entry(ADAPTER) {
            Some(NONE) => None,
            other => match other.unwrap_or_default().parse::<Adapter>() {
                Ok(adapter) => Some(adapter),
                Err(error) => {
                    problems.push(format!("metadata {ADAPTER}: {error}, or {NONE}"));
                    None
                }
            },
        };
        let miner = match entry(MINER) {
            Some(NONE) => None,
            other => match other.unwrap_or_default().parse::<usize>() {
                Ok(hidden) => Some(hidden),
                Err(_) => {
                    problems.push(format!(
                        "metadata {MINER}: expected a width or {NONE}, found {:?}",
                        other.unwrap_or_default()
                    ));
                    None
                }
            },
        };
        let start = TransferConfig {
            source_sha256,
            adapter,
            miner,
            ..TransferConfig::default()
        };
        problems.extend(start.problems());
        if !problems.is_empty() {
            return Err(TransferError::AdapterFile {
                path: path.into(),
                problems,
            });
        }
        let changed = StateDict::from_tensors(file.into_tensors());
        Ok(Self { start, changed })
    }

    /// Writes the file: whole, or not at all.
    ///
    /// # Errors
    /// If a value is not finite, or the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TransferError> {
        let start = &self.start;
        let file = self
            .changed
            .clone()
            .with_metadata(FORMAT, VERSION)
            .with_metadata(SOURCE, start.source_sha256.clone())
            .with_metadata(ADAPTER, start.adapter.map_or(NONE.into(), Adapter::text))
            .with_metadata(
                MINER,
                start.miner.map_or(NONE.into(), |hidden| hidden.to_string()),
            );
        Ok(file.save(path)?)
    }

    /// SHA-256 of the weights of the source that it belongs to.
    pub fn source_sha256(&self) -> &str {
        &self.start.source_sha256
    }

    /// The adapter on the generator's weights, if there is one.
    pub fn adapter(&self) -> Option<Adapter> {
        self.start.adapter
    }

    /// Width of the hidden layer of the [`Miner`](crate::Miner) before the generator, if the transfer put one there.
    pub fn miner(&self) -> Option<usize> {
        self.start.miner
    }

    /// The parameters and buffers that differ from the source's.
    pub fn changed(&self) -> &StateDict {
        &self.changed
    }

    /// The transferred generator.
    ///
    /// # Errors
    /// [`TransferError::OtherSource`] if it was made for another source; a mismatch with every name that the generator
    /// does not have, and every shape that is another.
    pub fn attach(&self, source: &PretrainedGan) -> Result<Sequential, TransferError> {
        let Networks { mut generator, .. } =
            Transfer::new(source.clone(), self.start.clone())?.initial_networks()?;
        let mut state = StateDict::of(&generator).into_tensors();
        state.extend(self.changed.tensors().clone());
        StateDict::from_tensors(state).apply(&mut generator)?;
        Ok(generator)
    }

    /// The transferred generator, for drawing.
    ///
    /// # Errors
    /// As [`AdapterFile::attach`].
    pub fn sampler(&self, source: &PretrainedGan) -> Result<Sampler, TransferError> {
        let generator = self.attach(source)?;
        let latent = source.config.latent_dim()?;
        Ok(Sampler::new(generator, latent).classes(source.config.classes as usize))
    }
}
