//! The source of a transfer: a pretrained generator and discriminator with their settings.

use crate::error::TransferError;
use crate::miner::{self, with_miner};
use crate::patch_discriminator::{has_patch_head, with_patch_head};
use engraft_base::hex;
use engraft_gan::networks::{LayerRoles, NetworkRoles};
use engraft_gan::{GanError, Networks, PseudoLabels, Sampler, TrainConfig};
use engraft_layers::{LayersError, Sequential, StateDict};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Folder of the source in the directory of a transfer.
pub(crate) const FOLDER: &str = "source";
pub(crate) const SETTINGS: &str = "run.toml";
const GENERATOR: &str = "generator.safetensors";
const DISCRIMINATOR: &str = "discriminator.safetensors";
/// Only if the classes of the source are clusters.
const PSEUDO_LABELS: &str = "pseudo-labels.safetensors";
/// Largest file of clusters, in bytes. The largest possible one has 0.7 MiB.
const MAX_PSEUDO_LABELS: u64 = 1 << 20;

/// A pretrained generator with its discriminator, as the source of a transfer.
///
/// The directory of a transfer contains a copy of its source in the folder `source`, so it depends on no other directory.
/// [`open_source`](crate::open_source) reads a pretrained GAN from a run.
///
/// ```
/// use engraft_data::{Split, drawn_digits};
/// use engraft_gan::{TrainConfig, untrained_networks};
/// use engraft_transfer::PretrainedGan;
///
/// let config = TrainConfig::standard(&drawn_digits(Split::Train, 20, 1));
/// let networks = untrained_networks(&config)?;
/// let source = PretrainedGan::new(config, &networks.generator, &networks.discriminator);
/// assert_eq!(source.sha256()?.len(), 64);
/// println!("{:?}", source.discriminator_layers()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PretrainedGan {
    /// Settings of the run that trained it.
    pub config: TrainConfig,
    generator: StateDict,
    discriminator: StateDict,
    pseudo_labels: Option<PseudoLabels>,
}

impl PretrainedGan {
    /// A source with these networks, which were trained with `config`.
    pub fn new(config: TrainConfig, generator: &Sequential, discriminator: &Sequential) -> Self {
        Self {
            config,
            generator: StateDict::of(generator),
            discriminator: StateDict::of(discriminator),
            pseudo_labels: None,
        }
    }

    /// The source with the clusters that its networks are conditioned on. A source whose settings have
    /// [pseudo-labels](TrainConfig::pseudo_labels) needs them.
    #[must_use]
    pub fn with_pseudo_labels(self, pseudo_labels: Option<PseudoLabels>) -> Self {
        Self {
            pseudo_labels,
            ..self
        }
    }

    /// The clusters that the networks are conditioned on; `None` for other sources.
    pub fn pseudo_labels(&self) -> Option<&PseudoLabels> {
        self.pseudo_labels.as_ref()
    }

    /// Whether [`PretrainedGan::save`] wrote this directory.
    pub(crate) fn is_saved(directory: &Path) -> bool {
        directory.join(GENERATOR).is_file()
    }

    pub(crate) fn read(directory: &Path) -> Result<Self, TransferError> {
        let config = engraft_gan::read_settings(&directory.join(SETTINGS))?;
        let path = directory.join(PSEUDO_LABELS);
        let pseudo_labels = match config.pseudo_labels.is_on() {
            true => {
                let bytes = engraft_base::read_bounded(&path, MAX_PSEUDO_LABELS).map_err(GanError::from)?;
                let clusters = PseudoLabels::from_bytes(&bytes, &path, config.image, &config.pseudo_labels)?;
                Some(clusters)
            }
            false => None,
        };
        let source = Self {
            config,
            pseudo_labels,
            generator: StateDict::load(directory.join(GENERATOR))?,
            discriminator: StateDict::load(directory.join(DISCRIMINATOR))?,
        };
        source.networks()?;
        Ok(source)
    }

    /// The source with the contents of the files that [`PretrainedGan::save`] writes. Errors name files in `directory`.
    pub(crate) fn from_contents(
        directory: &Path,
        settings: &str,
        generator: &[u8],
        discriminator: &[u8],
    ) -> Result<Self, TransferError> {
        let source = Self {
            config: TrainConfig::from_toml(settings, &directory.join(SETTINGS))?,
            generator: StateDict::from_bytes(generator, &directory.join(GENERATOR))?,
            discriminator: StateDict::from_bytes(discriminator, &directory.join(DISCRIMINATOR))?,
            pseudo_labels: None,
        };
        source.networks()?;
        Ok(source)
    }

    /// Writes weights and settings to a directory, which [`open_source`](crate::open_source) reads.
    ///
    /// # Errors
    /// [`TransferError::Io`] if the directory cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), TransferError> {
        self.write(directory, |weights, path| weights.save(path))
    }

    /// [`PretrainedGan::save`] at about half the size: weight matrices and kernels are rounded to 16-bit floating point
    /// ([`StateDict::to_half_bytes`]).
    ///
    /// # Errors
    /// As [`PretrainedGan::save`], and if a rounded weight is beyond ±65504.
    pub fn save_half(&self, directory: &Path) -> Result<(), TransferError> {
        self.write(directory, |weights, path| weights.save_half(path))
    }

    fn write(
        &self,
        directory: &Path,
        save: impl Fn(&StateDict, &Path) -> Result<(), LayersError>,
    ) -> Result<(), TransferError> {
        std::fs::create_dir_all(directory).map_err(|reason| TransferError::Io {
            path: directory.into(),
            reason,
        })?;
        save(&self.generator, &directory.join(GENERATOR))?;
        save(&self.discriminator, &directory.join(DISCRIMINATOR))?;
        if let Some(clusters) = &self.pseudo_labels {
            clusters.save(&directory.join(PSEUDO_LABELS))?;
        }
        let settings = self.config.to_toml();
        engraft_base::write_atomically(&directory.join(SETTINGS), settings.as_bytes())
            .map_err(LayersError::from)?;
        Ok(())
    }

    /// The networks with all parameters trainable.
    ///
    /// # Errors
    /// If the weights do not fit the networks of the settings.
    pub fn networks(&self) -> Result<Networks, TransferError> {
        let Networks {
            mut generator,
            mut discriminator,
            latent_dim,
        } = engraft_gan::untrained_networks(&self.config)?;
        if self.has_patch_head(&discriminator) {
            discriminator = with_patch_head(discriminator, &self.config)?;
        }
        // Spectral normalization has buffers, so it comes before the weights are loaded.
        let spectral_norm = self.config.regularize.spectral_norm;
        spectral_norm.apply(&mut generator, &mut discriminator);
        if let Some(hidden) = self.miner_width(latent_dim) {
            generator = with_miner(generator, latent_dim, hidden);
        }
        self.generator.apply(&mut generator)?;
        self.discriminator.apply(&mut discriminator)?;
        Ok(Networks {
            generator,
            discriminator,
            latent_dim,
        })
    }

    /// Whether an earlier transfer replaced the head of this discriminator by a [`PatchHead`](crate::PatchHead).
    pub(crate) fn has_patch_head(&self, discriminator: &Sequential) -> bool {
        has_patch_head(&self.discriminator, discriminator, &self.config)
    }

    /// Width of the hidden layer of the generator's miner, if there is one for latent vectors of this length.
    pub(crate) fn miner_width(&self, latent: usize) -> Option<usize> {
        let weight = self.generator.get(&format!("{}.hidden.weight", miner::LAYER))?;
        match *weight.shape() {
            [inputs, hidden] if inputs == latent && (1..=miner::MAX_HIDDEN).contains(&hidden) => Some(hidden),
            // Other weights of this name are an error when they are loaded.
            _ => None,
        }
    }

    /// Width of the hidden layer of the [`Miner`](crate::Miner) that an earlier transfer added; `None` without one.
    pub fn miner(&self) -> Option<usize> {
        self.miner_width(self.config.latent_dim().ok()?)
    }

    /// Roles of the layers of both networks, as their family defines them.
    ///
    /// # Errors
    /// If the network family of the settings is unknown.
    pub fn roles(&self) -> Result<LayerRoles, TransferError> {
        Ok(self.config.layer_roles()?)
    }

    /// Names of the generator's layers with parameters, from noise to image. The class embedding comes first.
    ///
    /// # Errors
    /// [`TransferError::Config`] if the network family does not name its layers.
    pub fn generator_layers(&self) -> Result<Vec<String>, TransferError> {
        let roles = self.roles()?.generator;
        let mut layers = self.layers_with_parameters("generator", &roles)?;
        layers.splice(0..0, roles.embedding);
        Ok(layers)
    }

    /// Names of the discriminator's layers with parameters, from image to logit. The class embedding comes last.
    ///
    /// # Errors
    /// [`TransferError::Config`] if the network family does not name its layers.
    pub fn discriminator_layers(&self) -> Result<Vec<String>, TransferError> {
        let roles = self.roles()?.discriminator;
        let mut layers = self.layers_with_parameters("discriminator", &roles)?;
        layers.extend(roles.embedding);
        Ok(layers)
    }

    fn layers_with_parameters(
        &self,
        network: &str,
        roles: &NetworkRoles,
    ) -> Result<Vec<String>, TransferError> {
        if roles.head.is_empty() {
            return Err(TransferError::Config {
                problems: vec![format!(
                    "network {}: NetworkFamily::roles names no layers of the {network}; expected at least its head",
                    self.config.network
                )],
            });
        }
        Ok(roles.learned().into_iter().map(String::from).collect())
    }

    /// A sampler that generates images with the source's generator.
    ///
    /// # Errors
    /// As [`PretrainedGan::networks`].
    pub fn sampler(&self) -> Result<Sampler, TransferError> {
        let Networks {
            generator,
            latent_dim: latent,
            ..
        } = self.networks()?;
        Ok(Sampler::new(generator, latent)
            .classes(self.config.network_classes() as usize)
            .prior(self.pseudo_labels.as_ref().map(PseudoLabels::prior)))
    }

    /// SHA-256 of the weights of both networks and of the clusters, if there are any, in hexadecimal.
    ///
    /// # Errors
    /// If a weight is not finite.
    pub fn sha256(&self) -> Result<String, TransferError> {
        let mut hash = Sha256::new();
        for dict in [&self.generator, &self.discriminator] {
            hash.update(dict.to_bytes()?);
        }
        if let Some(clusters) = &self.pseudo_labels {
            hash.update(clusters.to_bytes()?);
        }
        Ok(hex(&hash.finalize()))
    }
}
