//! The source of a transfer: a trained pair, and where it came from.

use crate::error::TransferError;
use crate::miner::{self, mined};
use crate::patch_discriminator::{has_patch_head, with_patch_head};
use engraft_base::hex;
use engraft_gan::networks::{LayerRoles, NetworkRoles};
use engraft_gan::{Networks, Sampler, TrainConfig};
use engraft_layers::{Sequential, StateDict};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Folder of a transferred run that holds its source.
pub(crate) const FOLDER: &str = "source";
pub(crate) const SETTINGS: &str = "run.toml";
const GENERATOR: &str = "generator.safetensors";
const DISCRIMINATOR: &str = "discriminator.safetensors";

/// A trained generator and its discriminator, to be carried to another domain.
///
/// A transferred run keeps its source beside it, in its folder `source`, so that it depends on no other directory.
#[derive(Clone, Debug)]
pub struct PretrainedGan {
    /// Settings of the run that trained it.
    pub config: TrainConfig,
    generator: StateDict,
    discriminator: StateDict,
}

impl PretrainedGan {
    /// The source with these networks, trained by these settings.
    pub fn new(config: TrainConfig, generator: &Sequential, discriminator: &Sequential) -> Self {
        Self {
            config,
            generator: StateDict::of(generator),
            discriminator: StateDict::of(discriminator),
        }
    }

    /// Whether [`PretrainedGan::save`] wrote this directory.
    pub(crate) fn is_saved(directory: &Path) -> bool {
        directory.join(GENERATOR).is_file()
    }

    pub(crate) fn read(directory: &Path) -> Result<Self, TransferError> {
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
    pub fn networks(&self) -> Result<Networks, TransferError> {
        let Networks {
            mut generator,
            mut discriminator,
            latent_dim,
        } = engraft_gan::untrained_networks(&self.config)?;
        if self.has_patch_head(&discriminator) {
            discriminator = with_patch_head(discriminator, &self.config)?;
        }
        // What decides which weights are used holds buffers of its own.
        let spectral_norm = self.config.regularize.spectral_norm;
        spectral_norm.apply(&mut generator, &mut discriminator);
        if let Some(hidden) = self.miner_width(latent_dim) {
            generator = mined(generator, latent_dim, hidden);
        }
        self.generator.apply(&mut generator)?;
        self.discriminator.apply(&mut discriminator)?;
        Ok(Networks {
            generator,
            discriminator,
            latent_dim,
        })
    }

    /// Whether an earlier transfer put a [`PatchHead`](crate::PatchHead) on the discriminator, which otherwise is as the given
    /// one.
    pub(crate) fn has_patch_head(&self, discriminator: &Sequential) -> bool {
        has_patch_head(&self.discriminator, discriminator, &self.config)
    }

    /// Width of the hidden layer of the miner that the generator has, if it has one for latent vectors of this length.
    pub(crate) fn miner_width(&self, latent: usize) -> Option<usize> {
        let weight = self.generator.get(&format!("{}.hidden.weight", miner::LAYER))?;
        match *weight.shape() {
            [inputs, hidden] if inputs == latent && (1..=miner::MAX_HIDDEN).contains(&hidden) => Some(hidden),
            // Without a miner, such weights are refused by name.
            _ => None,
        }
    }

    /// Width of the hidden layer of the [`Miner`](crate::Miner) in front of the generator, if an earlier transfer put one
    /// there.
    pub fn miner(&self) -> Option<usize> {
        self.miner_width(self.config.latent_dim().ok()?)
    }

    /// Which layers of the networks play which part, as their family says.
    ///
    /// # Errors
    /// If the settings name no family that there is.
    pub fn roles(&self) -> Result<LayerRoles, TransferError> {
        Ok(self.config.layer_roles()?)
    }

    /// Names of the generator's layers that learn, from the noise to the image; the vectors of the classes come first.
    ///
    /// # Errors
    /// [`TransferError::Config`] if the network's family does not name them.
    pub fn generator_layers(&self) -> Result<Vec<String>, TransferError> {
        let roles = self.roles()?.generator;
        let mut layers = self.learned("generator", &roles)?;
        layers.splice(0..0, roles.embedding);
        Ok(layers)
    }

    /// Names of the discriminator's layers that learn, from the image to the logits; the vectors of the classes come last.
    ///
    /// # Errors
    /// [`TransferError::Config`] if the network's family does not name them.
    pub fn discriminator_layers(&self) -> Result<Vec<String>, TransferError> {
        let roles = self.roles()?.discriminator;
        let mut layers = self.learned("discriminator", &roles)?;
        layers.extend(roles.embedding);
        Ok(layers)
    }

    fn learned(&self, network: &str, roles: &NetworkRoles) -> Result<Vec<String>, TransferError> {
        if roles.head.is_empty() {
            return Err(TransferError::Config {
                problems: vec![format!(
                    "network {}: its family does not say which layers of the {network} learn; expected at least the \
                     head in NetworkFamily::roles",
                    self.config.network
                )],
            });
        }
        Ok(roles.learned().into_iter().map(String::from).collect())
    }

    /// The generator, for drawing.
    ///
    /// # Errors
    /// As [`PretrainedGan::networks`].
    pub fn sampler(&self) -> Result<Sampler, TransferError> {
        let Networks {
            generator,
            latent_dim: latent,
            ..
        } = self.networks()?;
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
        Ok(hex(&hash.finalize()))
    }
}
