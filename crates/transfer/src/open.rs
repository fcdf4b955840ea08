//! Opens runs, transfers and saved sources from their directories.

use crate::error::TransferError;
use crate::pretrained_gan::{FOLDER, PretrainedGan};
use crate::shipped::ShippedSource;
use crate::transfer_plan::Transfer;
use engraft_gan::{CheckpointChoice, SavedRun};
use engraft_layers::merge_adapters;
use std::path::Path;

/// Opens a pretrained GAN from a run directory, from a directory that [`PretrainedGan::save`] wrote, or by the name of a
/// [`ShippedSource`].
///
/// The run can be a transfer itself. Its adapters are then merged into the weights, and its [`Miner`](crate::Miner) stays in
/// front of the generator.
///
/// # Errors
/// If there is no intact checkpoint, its files do not belong together, or the network family is not
/// [registered](engraft_gan::networks::register).
pub fn open_source(directory: &Path, which: CheckpointChoice) -> Result<PretrainedGan, TransferError> {
    if let Some(shipped) = ShippedSource::at(directory) {
        return shipped.open();
    }
    if PretrainedGan::is_saved(directory) {
        return PretrainedGan::read(directory);
    }
    let (config, networks) = if directory.join(FOLDER).is_dir() {
        let transfer = Transfer::open(directory)?;
        let (config, mut networks) = SavedRun::planned_networks(directory, &transfer, which)?;
        merge_adapters(&mut networks.generator);
        (config, networks)
    } else {
        SavedRun::networks(directory, which)?
    };
    let clusters = match config.pseudo_labels.is_on() {
        true => SavedRun::pseudo_labels(directory, which)?,
        false => None,
    };
    let source = PretrainedGan::new(config, &networks.generator, &networks.discriminator);
    Ok(source.with_pseudo_labels(clusters))
}

/// Opens a run as [`SavedRun::open_at`] does, and also transfers and [saved](PretrainedGan::save) sources.
///
/// A saved source has only one checkpoint, so `which` is ignored there.
///
/// # Errors
/// Those of [`SavedRun::open_at`]. [`TransferError::OtherSource`] if the source in a transfer's directory was replaced.
pub fn open_run(directory: &Path, which: CheckpointChoice) -> Result<SavedRun, TransferError> {
    let shipped = ShippedSource::at(directory);
    if shipped.is_some() || PretrainedGan::is_saved(directory) {
        let source = shipped.map_or_else(|| PretrainedGan::read(directory), ShippedSource::open)?;
        return Ok(SavedRun {
            step: source.config.steps,
            sampler: source.sampler()?,
            config: source.config,
            warnings: Vec::new(),
        });
    }
    if !directory.join(FOLDER).is_dir() {
        return Ok(SavedRun::open_at(directory, which)?);
    }
    let plan = Transfer::open(directory)?;
    Ok(SavedRun::open_planned(directory, &plan, which)?)
}
