//! The source of a transfer: a trained pair, and where it came from.

use crate::error::TransferError;
use engraft_gan::{Pair, Sampler, SavedRun, TrainConfig, Which};
use engraft_layers::{Sequential, StateDict};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Folder of a transferred run that holds its source.
pub(crate) const FOLDER: &str = "source";
const SETTINGS: &str = "run.toml";
const GENERATOR: &str = "generator.safetensors";
const DISCRIMINATOR: &str = "discriminator.safetensors";

/// A trained generator and its discriminator, to be carried to another domain.
///
/// A transferred run keeps its source beside it, in its folder `source`, so that it depends on no other directory.
#[derive(Clone, Debug)]
pub struct Source {
    /// Settings of the run that trained it.
    pub config: TrainConfig,
    generator: StateDict,
    discriminator: StateDict,
}

impl Source {
    /// The source in a run directory, or in one that [`Source::save`] wrote.
    ///
    /// # Errors
    /// If there is no intact checkpoint, or its files do not belong together.
    pub fn open(directory: &Path, which: Which) -> Result<Self, TransferError> {
        if directory.join(GENERATOR).is_file() {
            return Self::read(directory);
        }
        if directory.join(FOLDER).is_dir() {
            return Err(TransferError::Config {
                problems: vec![format!(
                    "{} is itself a transfer; to carry it further is not possible yet: name the run that it came from",
                    directory.display()
                )],
            });
        }
        let (config, (generator, discriminator, _)) = SavedRun::networks(directory, which)?;
        Ok(Self::new(config, &generator, &discriminator))
    }

    /// The source with these networks, trained by these settings.
    pub fn new(config: TrainConfig, generator: &Sequential, discriminator: &Sequential) -> Self {
        Self {
            config,
            generator: StateDict::of(generator),
            discriminator: StateDict::of(discriminator),
        }
    }

    fn read(directory: &Path) -> Result<Self, TransferError> {
        let source = Self {
            config: engraft_gan::read_settings(&directory.join(SETTINGS))?,
            generator: StateDict::load(directory.join(GENERATOR))?,
            discriminator: StateDict::load(directory.join(DISCRIMINATOR))?,
        };
        source.networks()?;
        Ok(source)
    }

    /// Writes it to a directory.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), TransferError> {
        std::fs::create_dir_all(directory).map_err(|reason| TransferError::Io {
            path: directory.into(),
            reason,
        })?;
        self.generator.save(directory.join(GENERATOR))?;
        self.discriminator.save(directory.join(DISCRIMINATOR))?;
        let path = directory.join(SETTINGS);
        std::fs::write(&path, self.config.to_toml()).map_err(|reason| TransferError::Io { path, reason })
    }

    /// The networks, with all of both trainable.
    ///
    /// # Errors
    /// If the weights are not those of the networks that the settings name.
    pub fn networks(&self) -> Result<Pair, TransferError> {
        let (mut generator, mut discriminator, latent) = engraft_gan::random_networks(&self.config)?;
        self.generator.apply(&mut generator)?;
        self.discriminator.apply(&mut discriminator)?;
        Ok((generator, discriminator, latent))
    }

    /// The generator, for drawing.
    ///
    /// # Errors
    /// As [`Source::networks`].
    pub fn sampler(&self) -> Result<Sampler, TransferError> {
        let (generator, _, latent) = self.networks()?;
        Ok(Sampler::new(generator, latent).classes(self.config.classes as usize))
    }

    /// SHA-256 of the weights, in hexadecimal.
    ///
    /// # Errors
    /// If a weight is not finite.
    pub fn sha256(&self) -> Result<String, TransferError> {
        let mut hash = Sha256::new();
        for dict in [&self.generator, &self.discriminator] {
            hash.update(dict.to_bytes()?);
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
