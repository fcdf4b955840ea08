//! Conversion of state dicts to and from PyTorch's layouts, on reading and writing only.

use crate::error::LayersError;
use crate::state::{Extra, MAX_FILE_BYTES, StateDict, decode, encode, sealed};
use engraft_base::{read_bounded, write_atomically};
use engraft_tensor::{Real, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the batch counter of PyTorch's batch norm, which this crate does not have.
const COUNTER: &str = "num_batches_tracked";

/// The mapping between a state dict of this crate and one of PyTorch.
///
/// These differences are handled without any rule:
///
/// | tensor | here | PyTorch |
/// |---|---|---|
/// | `weight` of a convolution | `[kh, kw, c_in, c_out]` | `[c_out, c_in, kh, kw]` |
/// | `weight` of a transposed convolution | `[kh, kw, c_out, c_in]` | `[c_in, c_out, kh, kw]` |
/// | `weight` of a dense layer, and any other matrix | `[inputs, outputs]` | `[outputs, inputs]` |
/// | batch norm | four tensors | the same four, and `num_batches_tracked` |
///
/// Rules cover what the tensors alone do not show: different names, which matrices are embeddings (`[classes, size]` on
/// both sides, so [`TorchLayout::embedding`] keeps them), and which feature vectors are flattened images. An image is
/// `[h, w, c]` here and `[c, h, w]` in PyTorch, so its features have another order.
///
/// Prefixes match whole components of names, and refer to this crate's names. Both conversions fail if a rule
/// matches nothing. They are exact inverses.
///
/// ```
/// use engraft_layers::{BatchNorm, Dense, Init, Reshape, Sequential, StateDict, TorchLayout};
///
/// let init = &mut Init::glorot(1);
/// let net = Sequential::<f32>::new()
///     .add("stem", Dense::new(100, 7 * 7 * 256, init).no_bias())
///     .add("norm", BatchNorm::new(7 * 7 * 256))
///     .add("grid", Reshape::new([7, 7, 256]));
/// let layout = TorchLayout::new()
///     .rename("stem", "fc")
///     .image_output("stem", [7, 7, 256])
///     .image_output("norm", [7, 7, 256]);
/// let torch = layout.to_torch(&StateDict::of(&net))?;
/// assert_eq!(torch.get("fc.weight").unwrap().shape(), [7 * 7 * 256, 100]);
/// assert_eq!(layout.from_torch(&torch)?.get("stem.weight").unwrap().shape(), [100, 7 * 7 * 256]);
/// # Ok::<(), engraft_layers::LayersError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TorchLayout {
    renames: Vec<(String, String)>,
    images: Vec<ImageRule>,
    /// Prefixes of matrices that are not transposed.
    embeddings: Vec<String>,
}

/// Features under a prefix that form an image `[h, w, c]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ImageRule {
    side: Side,
    prefix: String,
    image: [usize; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The input of dense layers.
    Input,
    /// The output of dense layers, which a batch norm after them scales.
    Output,
}

/// Direction of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToTorch,
    FromTorch,
}

impl TorchLayout {
    /// No rules: same names, and no layer reads or writes flattened images.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps names under `ours` here to names under `theirs` in PyTorch. If several rules match a name, the one with
    /// the longest prefix applies.
    #[must_use]
    pub fn rename(mut self, ours: &str, theirs: &str) -> Self {
        self.renames.push((ours.into(), theirs.into()));
        self
    }

    /// Marks the matrices under `prefix` as weights of an [`Embedding`](crate::Embedding), which are not transposed.
    #[must_use]
    pub fn embedding(mut self, prefix: &str) -> Self {
        self.embeddings.push(prefix.into());
        self
    }

    /// Marks the dense layers under `prefix` as readers of flattened images `[h, w, c]`.
    #[must_use]
    pub fn image_input(self, prefix: &str, image: [usize; 3]) -> Self {
        self.image(Side::Input, prefix, image)
    }

    /// Marks the outputs of the layers under `prefix` as images `[h, w, c]`: the outputs of dense layers, and all vectors
    /// of batch norms.
    #[must_use]
    pub fn image_output(self, prefix: &str, image: [usize; 3]) -> Self {
        self.image(Side::Output, prefix, image)
    }

    fn image(mut self, side: Side, prefix: &str, image: [usize; 3]) -> Self {
        self.images.push(ImageRule {
            side,
            prefix: prefix.into(),
            image,
        });
        self
    }

    /// Converts a state to PyTorch's layout. The result lacks `num_batches_tracked`, which this crate does not have;
    /// [`TorchLayout::to_torch_bytes`] adds it.
    ///
    /// # Errors
    /// [`LayersError::NoSuchName`] if a rule matches nothing. [`LayersError::Layout`] if an image does not fit,
    /// an embedding is not a matrix, or two names would become equal.
    pub fn to_torch<T: Real>(&self, state: &StateDict<T>) -> Result<StateDict<T>, LayersError> {
        self.check_prefixes(state)?;
        let tensors = self.reorder(state.tensors().clone(), Direction::ToTorch)?;
        let tensors = tensors
            .into_iter()
            .map(|(name, tensor)| {
                let theirs = self.renamed(&name, Direction::ToTorch)?;
                Ok((theirs, self.permuted(&name, &tensor, Direction::ToTorch)))
            })
            .collect::<Result<_, LayersError>>()?;
        Ok(StateDict::from_parts(tensors, state.metadata().clone()))
    }

    /// Converts a state from PyTorch's layout.
    ///
    /// # Errors
    /// See [`TorchLayout::to_torch`].
    pub fn from_torch<T: Real>(&self, state: &StateDict<T>) -> Result<StateDict<T>, LayersError> {
        let tensors = state
            .tensors()
            .iter()
            .map(|(name, tensor)| {
                let ours = self.renamed(name, Direction::FromTorch)?;
                let tensor = self.permuted(&ours, tensor, Direction::FromTorch);
                Ok((ours, tensor))
            })
            .collect::<Result<_, LayersError>>()?;
        let renamed = StateDict::from_parts(tensors, state.metadata().clone());
        self.check_prefixes(&renamed)?;
        let tensors = self.reorder(renamed.into_tensors(), Direction::FromTorch)?;
        Ok(StateDict::from_parts(tensors, state.metadata().clone()))
    }

    /// A safetensors file that PyTorch loads with `load_state_dict(load_file(path), strict=True)`.
    ///
    /// # Errors
    /// Those of [`TorchLayout::to_torch`] and [`StateDict::to_bytes`].
    pub fn to_torch_bytes<T: Real>(&self, state: &StateDict<T>) -> Result<Vec<u8>, LayersError> {
        let torch = self.to_torch(state)?.with_metadata("format", "pt");
        let counters: Vec<String> = torch
            .tensors()
            .keys()
            .filter_map(|name| name.strip_suffix("running_mean"))
            .filter(|stem| stem.is_empty() || stem.ends_with('.'))
            .map(|stem| format!("{stem}{COUNTER}"))
            .collect();
        encode(torch.tensors(), torch.metadata(), &counters)
    }

    /// Reads a safetensors file of PyTorch from memory and converts it. Drops `num_batches_tracked`.
    ///
    /// # Errors
    /// Those of [`StateDict::from_bytes`] and [`TorchLayout::from_torch`].
    pub fn from_torch_bytes<T: Real>(&self, bytes: &[u8], path: &Path) -> Result<StateDict<T>, LayersError> {
        let (tensors, metadata) = decode(bytes, path, |name| {
            let is_counter = name.rsplit('.').next() == Some(COUNTER);
            if is_counter {
                Extra::DropCounter
            } else {
                Extra::Refuse
            }
        })?;
        self.from_torch(&StateDict::from_parts(tensors, metadata))
    }

    /// Writes a file for PyTorch, like [`StateDict::save`].
    ///
    /// # Errors
    /// Those of [`TorchLayout::to_torch_bytes`], and [`LayersError::Io`].
    pub fn save<T: Real>(&self, state: &StateDict<T>, path: impl AsRef<Path>) -> Result<(), LayersError> {
        Ok(write_atomically(
            path.as_ref(),
            &sealed(self.to_torch_bytes(state)?)?,
        )?)
    }

    /// Reads a file of PyTorch with at most [`MAX_FILE_BYTES`].
    ///
    /// # Errors
    /// Those of [`TorchLayout::from_torch_bytes`], and [`LayersError::Io`].
    pub fn load<T: Real>(&self, path: impl AsRef<Path>) -> Result<StateDict<T>, LayersError> {
        let path = path.as_ref();
        self.from_torch_bytes(&read_bounded(path, MAX_FILE_BYTES)?, path)
    }

    fn check_prefixes<T: Real>(&self, ours: &StateDict<T>) -> Result<(), LayersError> {
        let prefixes = self
            .renames
            .iter()
            .map(|r| &r.0)
            .chain(self.images.iter().map(|r| &r.prefix))
            .chain(&self.embeddings);
        let matches = |prefix: &str| ours.tensors().keys().any(|name| below(name, prefix).is_some());
        let unmatched: Vec<String> = prefixes.filter(|p| !matches(p)).cloned().collect();
        if !unmatched.is_empty() {
            let names = ours.tensors().keys().cloned().collect();
            return Err(LayersError::NoSuchName { unmatched, names });
        }
        let matrices = || ours.tensors().iter().filter(|(_, tensor)| tensor.rank() == 2);
        for prefix in &self.embeddings {
            if !matrices().any(|(name, _)| below(name, prefix).is_some()) {
                return Err(LayersError::Layout {
                    rule: format!("embedding({prefix:?})"),
                    reason: "there is no matrix with that name".into(),
                });
            }
        }
        Ok(())
    }

    /// Moves kernel axes to the other end, transposes matrices except embeddings, and keeps the rest. `name` is this
    /// crate's. The rank tells the layers apart. Both kinds of convolution follow one rule, because their input and output
    /// axes are mirrored.
    fn permuted<T: Real>(&self, name: &str, tensor: &Tensor<T>, direction: Direction) -> Tensor<T> {
        let is_embedding = || self.embeddings.iter().any(|prefix| below(name, prefix).is_some());
        match (tensor.rank(), direction) {
            (2, _) if !is_embedding() => tensor.transpose(),
            (4, Direction::ToTorch) => tensor.permute(&[3, 2, 0, 1]),
            (4, Direction::FromTorch) => tensor.permute(&[2, 3, 1, 0]),
            _ => tensor.clone(),
        }
    }

    /// The name on the other side. Renaming must be reversible, so that two names never become equal.
    fn renamed(&self, name: &str, direction: Direction) -> Result<String, LayersError> {
        let rename = |name: &str, direction| {
            let rules = self.renames.iter().map(|(ours, theirs)| match direction {
                Direction::ToTorch => (ours, theirs),
                Direction::FromTorch => (theirs, ours),
            });
            rules
                .filter_map(|(from, to)| Some((from.len(), format!("{to}{}", below(name, from)?))))
                .max_by_key(|(length, _)| *length)
                .map_or_else(|| name.to_string(), |(_, renamed)| renamed)
        };
        let other = rename(name, direction);
        let opposite = match direction {
            Direction::ToTorch => Direction::FromTorch,
            Direction::FromTorch => Direction::ToTorch,
        };
        let back = rename(&other, opposite);
        if back == name {
            return Ok(other);
        }
        Err(LayersError::Layout {
            rule: format!("rename {name:?} to {other:?}"),
            reason: format!("{back:?} would get the same name; rename it too, or choose another name"),
        })
    }

    /// Reorders features that are images for the other side. Shapes are this crate's, up to the
    /// order of the features.
    fn reorder<T: Real>(
        &self,
        mut tensors: BTreeMap<String, Tensor<T>>,
        direction: Direction,
    ) -> Result<BTreeMap<String, Tensor<T>>, LayersError> {
        for rule in &self.images {
            let mut used = false;
            for (name, tensor) in &mut tensors {
                if below(name, &rule.prefix).is_some()
                    && let Some(axis) = rule.axis(name, tensor.shape())?
                {
                    *tensor = swap_image(tensor, axis, rule.image, direction);
                    used = true;
                }
            }
            if !used {
                return Err(rule.error("there is no dense layer with that name".into()));
            }
        }
        Ok(tensors)
    }
}

impl ImageRule {
    /// The axis of a tensor under the prefix with the image's features, if it has one.
    fn axis(&self, name: &str, shape: &[usize]) -> Result<Option<usize>, LayersError> {
        let axis = match (self.side, shape) {
            (Side::Input, [_, _]) => 0,
            (Side::Input, _) => return Ok(None),
            (Side::Output, [_, _]) => 1,
            (Side::Output, [_]) => 0,
            (Side::Output, _) => {
                return Err(self.error(format!(
                    "tensor {name:?} of shape {shape:?} does not belong to a dense layer or its norm"
                )));
            }
        };
        let [h, w, c] = self.image;
        let features = h.checked_mul(w).and_then(|n| n.checked_mul(c));
        if features == Some(shape[axis]) {
            return Ok(Some(axis));
        }
        Err(self.error(format!(
            "axis {axis} of tensor {name:?} must have {h} x {w} x {c} features, its shape is {shape:?}"
        )))
    }

    fn error(&self, reason: String) -> LayersError {
        let side = match self.side {
            Side::Input => "image_input",
            Side::Output => "image_output",
        };
        LayersError::Layout {
            rule: format!("{side}({:?}, {:?})", self.prefix, self.image),
            reason,
        }
    }
}

/// The rest of a name after a prefix: empty, or a dot and more.
fn below<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Reorders the features along one axis between `[h, w, c]` and `[c, h, w]`.
fn swap_image<T: Real>(
    tensor: &Tensor<T>,
    axis: usize,
    [h, w, c]: [usize; 3],
    direction: Direction,
) -> Tensor<T> {
    let shape = tensor.shape();
    let before = shape[..axis].iter().product();
    let after = shape[axis + 1..].iter().product();
    let swapped = match direction {
        Direction::ToTorch => tensor.reshape([before, h, w, c, after]).permute(&[0, 3, 1, 2, 4]),
        Direction::FromTorch => tensor.reshape([before, c, h, w, after]).permute(&[0, 2, 3, 1, 4]),
    };
    swapped.reshape(shape)
}
