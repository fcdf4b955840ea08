//! Reads GANs that other programs trained.

use crate::error::ExportError;
use engraft_data::{Dataset, Provenance};
use engraft_gan::networks::{self, NetworkSpec};
use engraft_gan::{NetworkConfig, TrainConfig, untrained_networks};
use engraft_layers::{StateDict, TorchLayout};
use engraft_tensor::Tensor;
use engraft_transfer::PretrainedGan;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Side of the images of the tutorial.
const SIDE: usize = 64;
/// Side of every kernel, and of the first map.
const KERNEL: usize = 4;
/// Images per step of a further training.
const BATCH: usize = 64;
/// Added to variances by PyTorch's batch norm.
const TORCH_EPSILON: f64 = 1e-5;
/// The same here.
const EPSILON: f64 = 1e-3;

/// Layers of the tutorial's networks: number in `main`, name here, number of its batch norm.
type Layers = [(usize, &'static str, Option<usize>)];

const GENERATOR: &Layers = &[
    (0, "stem.dense", Some(1)),
    (3, "block1.conv", Some(4)),
    (6, "block2.conv", Some(7)),
    (9, "block3.conv", Some(10)),
    (12, "to_image", None),
];
const DISCRIMINATOR: &Layers = &[
    (0, "block1.conv", None),
    (2, "block2.conv", Some(3)),
    (5, "block3.conv", Some(6)),
    (8, "block4.conv", Some(9)),
    (11, "head", None),
];

/// A GAN of PyTorch's DCGAN tutorial as the source of a transfer, from the state dicts of `netG` and `netD` in safetensors files.
///
/// The files have the tensors `main.0.weight` and so on, with or without `module.` before them, which `DataParallel` adds. The
/// length of the latent vector, the number of channels and the widths follow from the weights. The networks are those of the
/// family [`dcgan64`](engraft_gan::networks::dcgan64). Without a discriminator, it has initial weights.
///
/// PyTorch's batch norm adds 1e-5 to the variance, and this project's 1e-3. The scales are multiplied by
/// `sqrt((variance + 1e-3) / (variance + 1e-5))`, so that the networks compute the same in evaluation mode.
///
/// *Source*: PyTorch's tutorial "DCGAN tutorial".
///
/// # Errors
/// [`ExportError::File`] if a file has other tensors or sizes, and errors of reading it.
pub fn pytorch_dcgan(generator: &Path, discriminator: Option<&Path>) -> Result<PretrainedGan, ExportError> {
    let g = Source::read(generator, GENERATOR)?;
    let (stem, image) = (g.shape("main.0.weight")?, g.shape("main.12.weight")?);
    let (latent, channels) = (stem[3], image[2]);
    let mut widths = Vec::new();
    for layer in [0, 3, 6, 9] {
        widths.push(g.shape(&format!("main.{layer}.weight"))?[2]);
    }
    let spec = NetworkSpec::new([SIDE, SIDE, channels])
        .latent_dim(latent)
        .widths(widths.clone());
    let family = networks::find("dcgan64")?;
    family.check(&spec).map_err(|reason| g.wrong(reason))?;
    let blank = Dataset::unlabeled(
        "pytorch-dcgan",
        Provenance::Memory,
        vec![0; SIDE * SIDE * channels],
        spec.image,
    )
    .map_err(|error| g.wrong(error.to_string()))?;
    let mut config = TrainConfig::standard(&blank);
    config.network = NetworkConfig {
        latent: Some(latent),
        widths,
        ..NetworkConfig::from("dcgan64")
    };
    // The images are unknown.
    (config.images, config.steps, config.batch) = (0, 0, BATCH);
    let mut networks = untrained_networks(&config)?;
    let weights = g.converted(GENERATOR)?;
    weights
        .apply(&mut networks.generator)
        .map_err(|error| g.wrong(error.to_string()))?;
    if let Some(path) = discriminator {
        let d = Source::read(path, DISCRIMINATOR)?;
        let mut tensors = d.converted(DISCRIMINATOR)?.into_tensors();
        // The tutorial's head has no bias.
        tensors.insert("head.bias".into(), Tensor::zeros([1]));
        let weights = StateDict::from_tensors(tensors);
        weights
            .apply(&mut networks.discriminator)
            .map_err(|error| d.wrong(error.to_string()))?;
    }
    Ok(PretrainedGan::new(
        config,
        &networks.generator,
        &networks.discriminator,
    ))
}

/// A state dict with kernels in this project's layout.
struct Source<'p> {
    path: &'p Path,
    state: StateDict,
}

impl<'p> Source<'p> {
    /// Reads a file and checks that it has the layers of a network and no others.
    fn read(path: &'p Path, layers: &Layers) -> Result<Self, ExportError> {
        let wrong = |reason: String| ExportError::File {
            path: path.into(),
            reason,
        };
        if is_pickle(path)? {
            return Err(wrong(
                "expected a safetensors file, found one of torch.save; convert it: python3 -c \"import torch; from \
                 safetensors.torch import save_file; save_file(torch.load('netG.pth', map_location='cpu', weights_only=True), \
                 'netG.safetensors')\""
                    .into(),
            ));
        }
        let state: StateDict = TorchLayout::new().load(path)?;
        let tensors = state.into_tensors();
        let is_parallel = tensors.keys().all(|name| name.starts_with("module."));
        let rename = |name: String| match name.strip_prefix("module.") {
            Some(rest) if is_parallel => rest.to_string(),
            _ => name,
        };
        let tensors: BTreeMap<String, Tensor> = tensors
            .into_iter()
            .map(|(name, tensor)| (rename(name), tensor))
            .collect();
        let expected: Vec<String> = layers.iter().flat_map(|&(at, _, norm)| names(at, norm)).collect();
        let missing: Vec<&String> = expected
            .iter()
            .filter(|name| !tensors.contains_key(*name))
            .collect();
        let others: Vec<&String> = tensors.keys().filter(|name| !expected.contains(name)).collect();
        if !missing.is_empty() || !others.is_empty() {
            let list = |names: &[&String]| {
                let shown: Vec<String> = names
                    .iter()
                    .take(5)
                    .map(|name| engraft_base::escaped(name))
                    .collect();
                let more = names.len().saturating_sub(shown.len());
                let text = if shown.is_empty() {
                    "none".into()
                } else {
                    shown.join(", ")
                };
                if more > 0 {
                    format!("{text} and {more} more")
                } else {
                    text
                }
            };
            return Err(wrong(format!(
                "these are not the weights of the {} of PyTorch's DCGAN tutorial; missing: {}; not expected: {}",
                if layers[0].1 == "stem.dense" {
                    "generator (netG)"
                } else {
                    "discriminator (netD)"
                },
                list(&missing),
                list(&others)
            )));
        }
        Ok(Self {
            path,
            state: StateDict::from_tensors(tensors),
        })
    }

    fn wrong(&self, reason: impl Into<String>) -> ExportError {
        ExportError::File {
            path: self.path.into(),
            reason: reason.into(),
        }
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, ExportError> {
        self.state
            .get(name)
            .ok_or_else(|| self.wrong(format!("{name} is missing")))
    }

    /// The shape of a kernel `[4, 4, a, b]`.
    fn shape(&self, name: &str) -> Result<[usize; 4], ExportError> {
        match *self.tensor(name)?.shape() {
            [KERNEL, KERNEL, a, b] => Ok([KERNEL, KERNEL, a, b]),
            ref other => Err(self.wrong(format!(
                "{name} must have a kernel of {KERNEL}x{KERNEL}, its shape here is {other:?}"
            ))),
        }
    }

    /// The weights under this project's names.
    fn converted(&self, layers: &Layers) -> Result<StateDict, ExportError> {
        let mut tensors = BTreeMap::new();
        for &(at, name, norm) in layers {
            let weight_name = format!("main.{at}.weight");
            let [.., a, b] = self.shape(&weight_name)?;
            let weight = self.tensor(&weight_name)?;
            let weight = match name {
                // One pixel to 4x4 and back are dense layers.
                "stem.dense" => weight.permute(&[3, 0, 1, 2]).reshape([b, KERNEL * KERNEL * a]),
                "head" => weight.reshape([KERNEL * KERNEL * a, b]),
                _ => weight.clone(),
            };
            tensors.insert(format!("{name}.weight"), weight);
            let Some(norm) = norm else { continue };
            let part = |part: &str| self.tensor(&format!("main.{norm}.{part}"));
            let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            let [scale, bias, mean, var] = [
                part("weight")?,
                part("bias")?,
                part("running_mean")?,
                part("running_var")?,
            ];
            if scale.shape() != var.shape() || var.as_slice().iter().any(|v| *v < 0.0) {
                return Err(self.wrong(format!(
                    "main.{norm}: expected one scale and one variance of at least 0 for each channel"
                )));
            }
            let factor = |v: f32| ((f64::from(v) + EPSILON) / (f64::from(v) + TORCH_EPSILON)).sqrt();
            let factors = var.as_slice().iter().map(|&v| factor(v) as f32).collect();
            let scale = scale * Tensor::from_vec(var.shape(), factors);
            for (part, tensor) in [
                ("weight", &scale),
                ("bias", bias),
                ("running_mean", mean),
                ("running_var", var),
            ] {
                tensors.insert(format!("{stem}.norm.{part}"), tensor.clone());
            }
        }
        Ok(StateDict::from_tensors(tensors))
    }
}

/// Names of the tensors of a layer and its batch norm.
fn names(at: usize, norm: Option<usize>) -> Vec<String> {
    let mut names = vec![format!("main.{at}.weight")];
    let parts = ["weight", "bias", "running_mean", "running_var"];
    names.extend(
        norm.into_iter()
            .flat_map(|norm| parts.map(|part| format!("main.{norm}.{part}"))),
    );
    names
}

/// Whether a file begins as those of `torch.save` do: a ZIP archive or a pickle.
fn is_pickle(path: &Path) -> Result<bool, ExportError> {
    let (file, _) = engraft_base::open_regular(path)?;
    let mut start = Vec::new();
    file.take(4)
        .read_to_end(&mut start)
        .map_err(|error| ExportError::File {
            path: path.into(),
            reason: error.to_string(),
        })?;
    // The same bytes as the length of a header of safetensors would be one of 64 MB.
    Ok(matches!(start[..], [b'P', b'K', 3, 4])
        || matches!(start[..], [0x80, 2..=5, a, b] if [a, b] != [0, 0]))
}
