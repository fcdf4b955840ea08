//! Weights of a known network, read by name and shape.

use super::layers::{Convolution, Depthwise};
use crate::error::MetricsError;
use engraft_layers::StateDict;
use engraft_tensor::Tensor;
use std::path::{Path, PathBuf};

/// Maximum size of a weights file, in bytes.
const MAX_BYTES: u64 = 512 << 20;

/// The key of a safetensors file's metadata that has the SHA-256 of PyTorch's file, from which it was converted.
const ORIGIN: &str = "source_sha256";

/// The published weights of a network.
pub(super) struct Official {
    /// Their name.
    pub(super) name: &'static str,
    /// The beginning of the SHA-256 of PyTorch's file.
    pub(super) file: &'static str,
    /// [`Weights::fingerprint`] of the tensors, if it is known.
    pub(super) tensors: Option<&'static str>,
}

/// The tensors of a file, and the problems found so far.
pub(super) struct Weights {
    path: PathBuf,
    state: StateDict,
    /// Added to the variance of each batch norm.
    epsilon: f32,
    problems: Vec<String>,
}

impl Weights {
    /// The tensors of a safetensors file, and the SHA-256 of the file.
    pub(super) fn read(path: &Path, epsilon: f32) -> Result<(Self, String), MetricsError> {
        let bytes =
            engraft_base::read_bounded(path, MAX_BYTES).map_err(|error| MetricsError::PretrainedWeights {
                path: path.into(),
                problem: error.to_string(),
            })?;
        let hash = engraft_base::sha256_hex(&bytes);
        let state = StateDict::from_bytes(&bytes, path)?;
        Ok((Self::new(state, path, epsilon), hash))
    }

    pub(super) fn new(state: StateDict, path: &Path, epsilon: f32) -> Self {
        Self {
            path: path.into(),
            state,
            epsilon,
            problems: Vec::new(),
        }
    }

    /// SHA-256 of the names and values of all tensors, in the order of the names. It does not depend on the layout of the
    /// file.
    fn fingerprint(&self) -> String {
        let mut bytes = Vec::new();
        for (name, tensor) in self.state.tensors() {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
            bytes.extend(tensor.as_slice().iter().flat_map(|value| value.to_le_bytes()));
        }
        engraft_base::sha256_hex(&bytes)
    }

    /// The origin of the weights in words.
    pub(super) fn origin(&self, official: &Official) -> String {
        let &Official { name, file, tensors } = official;
        if tensors.is_some_and(|pinned| self.fingerprint() == pinned) {
            return format!("weights {name}");
        }
        match self.state.metadata().get(ORIGIN) {
            Some(origin) if origin.starts_with(file) => {
                format!("weights {name}, SHA-256 {file}.. according to the file")
            }
            _ => format!("weights other than {name}, or of unknown origin"),
        }
    }

    /// Returns the first problem as an error.
    pub(super) fn finish(self) -> Result<(), MetricsError> {
        let Some(first) = self.problems.first() else {
            return Ok(());
        };
        let others = match self.problems.len() - 1 {
            0 => String::new(),
            n => format!(", and {n} more"),
        };
        Err(MetricsError::PretrainedWeights {
            path: self.path,
            problem: format!("{first}{others}"),
        })
    }

    /// The numbers of a tensor with this shape, or zeros if it is missing.
    fn take(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        match self.state.get(name) {
            Some(tensor) if tensor.shape() == shape && tensor.is_finite() => tensor.as_slice().to_vec(),
            Some(tensor) if tensor.shape() == shape => {
                self.problems
                    .push(format!("{name} has values that are not finite"));
                vec![0.0; shape.iter().product()]
            }
            Some(tensor) => {
                self.problems.push(format!(
                    "{name} has shape {:?}, expected {shape:?}",
                    tensor.shape()
                ));
                vec![0.0; shape.iter().product()]
            }
            None => {
                self.problems.push(format!("{name} is missing"));
                vec![0.0; shape.iter().product()]
            }
        }
    }

    /// Factor and offset of each channel of a batch norm in evaluation.
    fn batch_norm(&mut self, name: &str, channels: usize) -> Vec<[f32; 2]> {
        let [scale, shift, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|part| self.take(&format!("{name}.{part}"), &[channels]));
        if variance.iter().any(|v| *v < 0.0) {
            self.problems.push(format!("{name}.running_var is negative"));
        }
        (0..channels)
            .map(|c| {
                let factor = scale[c] / (variance[c] + self.epsilon).sqrt();
                [factor, shift[c] - mean[c] * factor]
            })
            .collect()
    }

    /// A convolution `[to, from, rows, columns]` without bias, with its batch norm folded in.
    pub(super) fn convolution(
        &mut self,
        [convolution, norm]: [&str; 2],
        [from, to]: [usize; 2],
        kernel: [usize; 2],
    ) -> Convolution {
        let [rows, columns] = kernel;
        let weight = self.take(&format!("{convolution}.weight"), &[to, from, rows, columns]);
        let affine = self.batch_norm(norm, to);
        let mut values = Vec::with_capacity(weight.len());
        for place in 0..rows * columns {
            for input in 0..from {
                values.extend((0..to).map(|output| {
                    weight[(output * from + input) * rows * columns + place] * affine[output][0]
                }));
            }
        }
        Convolution {
            weight: Tensor::from_vec([rows, columns, from, to], values),
            bias: Tensor::from_vec([to], affine.iter().map(|a| a[1]).collect()),
        }
    }

    /// A depthwise 3x3 convolution `[channels, 1, 3, 3]` without bias, with its batch norm folded in.
    pub(super) fn depthwise(&mut self, [convolution, norm]: [&str; 2], channels: usize) -> Depthwise {
        let weight = self.take(&format!("{convolution}.weight"), &[channels, 1, 3, 3]);
        let affine = self.batch_norm(norm, channels);
        let at_place = |place: usize| {
            let (weight, affine) = (&weight, &affine);
            (0..channels).map(move |c| weight[c * 9 + place] * affine[c][0])
        };
        Depthwise {
            weight: (0..9).flat_map(at_place).collect(),
            bias: affine.iter().map(|a| a[1]).collect(),
        }
    }
}
