//! Adapter files: the changes of a transfer to a generator, as a small file that belongs to a shared source.

use crate::config::TransferConfig;
use crate::error::TransferError;
use crate::pretrained_gan::PretrainedGan;
use crate::transfer_plan::Transfer;
use engraft_gan::{CheckpointChoice, ClassPrior, Networks, PseudoLabels, Sampler, SavedRun};
use engraft_layers::{Adapter, Sequential, StateDict};
use std::path::Path;

/// Keys of the file's metadata.
const FORMAT: &str = "format";
const SOURCE: &str = "source_sha256";
const ADAPTER: &str = "adapter";
const MINER: &str = "miner";
/// Training images of each cluster, separated by commas; only if the classes are clusters.
const COUNTS: &str = "pseudo_label_counts";
/// Largest number of images of a cluster.
const MOST_IMAGES: u64 = 1 << 40;
/// Values of the metadata.
const VERSION: &str = "engraft-adapter-1";
const NONE: &str = "none";

/// The difference between a transferred generator and the generator at the start of the transfer.
///
/// The file is a safetensors file. It holds every parameter and buffer that changed by at least one bit, under its name in
/// the generator. The rest comes from the source. The metadata holds the source's SHA-256, the adapter and the width of the
/// miner. File and source together give the same generator bit for bit, so many transfers can share one source checkpoint.
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
    /// Training images of each cluster, if the classes are clusters.
    counts: Option<Vec<u64>>,
}

impl AdapterFile {
    /// Name of the file in the directory of a transfer.
    pub const NAME: &str = "adapter.safetensors";

    /// The parameters and buffers in which `generator` differs from the transfer's
    /// [initial generator](Transfer::initial_networks).
    ///
    /// # Errors
    /// If names or shapes of `generator` are not those of the transfer's generator.
    pub fn from_transfer(transfer: &Transfer, generator: &Sequential) -> Result<Self, TransferError> {
        let Networks {
            generator: mut initial,
            ..
        } = transfer.initial_networks()?;
        let before = StateDict::of(&initial);
        let after = StateDict::of(generator);
        after.apply(&mut initial)?;
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
            counts: None,
        })
    }

    /// The adapter file of a checkpoint in the directory of a transfer.
    ///
    /// # Errors
    /// Those of [`Transfer::open`] and [`SavedRun::planned_networks`].
    pub fn from_run(directory: &Path, which: CheckpointChoice) -> Result<Self, TransferError> {
        let transfer = Transfer::open(directory)?;
        let (config, networks) = SavedRun::planned_networks(directory, &transfer, which)?;
        let clusters = match config.pseudo_labels.is_on() {
            true => SavedRun::pseudo_labels(directory, which)?,
            false => None,
        };
        Ok(Self {
            counts: clusters.map(|clusters| clusters.prior().counts().to_vec()),
            ..Self::from_transfer(&transfer, &networks.generator)?
        })
    }

    /// Reads an adapter file.
    ///
    /// # Errors
    /// If the file is not a valid safetensors file. [`TransferError::AdapterFile`] lists every problem of its metadata.
    pub fn open(path: &Path) -> Result<Self, TransferError> {
        let file: StateDict = StateDict::load(path)?;
        let mut problems = Vec::new();
        let entry = |name: &str| file.metadata().get(name).map(String::as_str);
        if entry(FORMAT) != Some(VERSION) {
            problems.push(format!(
                "expected the metadata {FORMAT} = {VERSION:?}, found {:?}",
                entry(FORMAT).unwrap_or("no such entry")
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
        let counts = entry(COUNTS).map(|text| {
            let counts: Option<Vec<u64>> = text.split(',').map(|count| count.parse().ok()).collect();
            let is_valid =
                |counts: &Vec<u64>| counts.iter().all(|&n| n < MOST_IMAGES) && counts.iter().any(|&n| n > 0);
            counts.filter(is_valid)
        });
        if counts == Some(None) {
            problems.push(format!(
                "metadata {COUNTS}: expected numbers of images separated by commas, found {:?}",
                entry(COUNTS).unwrap_or_default()
            ));
        }
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
        Ok(Self {
            start,
            changed,
            counts: counts.flatten(),
        })
    }

    /// Writes the file atomically.
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
        let file = match &self.counts {
            Some(counts) => {
                let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
                file.with_metadata(COUNTS, counts.join(","))
            }
            None => file,
        };
        Ok(file.save(path)?)
    }

    /// SHA-256 of the weights of its source, in hexadecimal.
    pub fn source_sha256(&self) -> &str {
        &self.start.source_sha256
    }

    /// The adapter on the generator's weights; `None` without one.
    pub fn adapter(&self) -> Option<Adapter> {
        self.start.adapter
    }

    /// Width of the hidden layer of the [`Miner`](crate::Miner) that the transfer added; `None` without one.
    pub fn miner(&self) -> Option<usize> {
        self.start.miner
    }

    /// The parameters and buffers that differ from those of the source.
    pub fn changed(&self) -> &StateDict {
        &self.changed
    }

    /// The transferred generator.
    ///
    /// # Errors
    /// [`TransferError::OtherSource`] for another source than that of the file. A mismatch error lists every unknown name and
    /// every wrong shape.
    pub fn attach(&self, source: &PretrainedGan) -> Result<Sequential, TransferError> {
        let Networks { mut generator, .. } =
            Transfer::new(source.clone(), self.start.clone())?.initial_networks()?;
        let mut state = StateDict::of(&generator).into_tensors();
        state.extend(self.changed.tensors().clone());
        StateDict::from_tensors(state).apply(&mut generator)?;
        Ok(generator)
    }

    /// A sampler that generates images with the transferred generator.
    ///
    /// # Errors
    /// As [`AdapterFile::attach`].
    pub fn sampler(&self, source: &PretrainedGan) -> Result<Sampler, TransferError> {
        let generator = self.attach(source)?;
        let latent = source.config.latent_dim()?;
        let of_source = source.pseudo_labels().map(PseudoLabels::prior);
        // The shares of the target's images, for the clusters of the source.
        let prior = match (&self.counts, of_source) {
            (Some(counts), Some(prior)) if counts.len() == prior.classes() => {
                Some(ClassPrior::from_counts(counts))
            }
            (_, prior) => prior,
        };
        Ok(Sampler::new(generator, latent)
            .classes(source.config.network_classes() as usize)
            .prior(prior))
    }
}
