//! State dicts: the named tensors of a module. They can be read, applied, merged and split.

mod safetensors;

pub use safetensors::MAX_FILE_BYTES;
pub(crate) use safetensors::{Extra, decode, encode, encode_with, sealed};

use crate::error::LayersError;
use crate::module::Module;
use crate::param_filter::ParamFilter;
use crate::parameter::{Slot, SlotMut};
use crate::visit::{visit, visit_mut};
use engraft_base::{read_bounded, write_atomically};
use engraft_tensor::{Real, Tensor};
use rand_pcg::Pcg64;
use std::collections::BTreeMap;
use std::path::Path as FilePath;

/// Named tensors with metadata.
///
/// Contains the parameters and buffers of a module. Random streams are separate, see
/// [`rng_states`] and [`set_rng_states`]. Whether a parameter is frozen is a property of the module, not of its
/// state: [`StateDict::apply`] does not change it.
///
/// The file format is [safetensors](https://huggingface.co/docs/safetensors), in the layouts of this crate;
/// see [`TorchLayout`](crate::TorchLayout) for PyTorch's. Equal states give equal bytes.
///
/// ```
/// use engraft_layers::{Dense, Init, Mode, Module, StateDict};
/// use engraft_tensor::Tensor;
///
/// let source = Dense::<f32>::new(3, 2, &mut Init::glorot(1));
/// let state = StateDict::of(&source).with_metadata("step", "1000");
/// let bytes = state.to_bytes()?;
///
/// let mut target = Dense::<f32>::new(3, 2, &mut Init::glorot(2));
/// StateDict::from_bytes(&bytes, "source.safetensors".as_ref())?.apply(&mut target)?;
/// let x = Tensor::ones([1, 3]);
/// assert_eq!(
///     source.forward(&x, Mode::Eval).as_slice(),
///     target.forward(&x, Mode::Eval).as_slice()
/// );
/// # Ok::<(), engraft_layers::LayersError>(())
/// ```
#[derive(Clone, Debug)]
pub struct StateDict<T: Real = f32> {
    tensors: BTreeMap<String, Tensor<T>>,
    metadata: BTreeMap<String, String>,
}

/// Result of [`StateDict::apply_matching`]. All lists are in alphabetical order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Names that received values from the state.
    pub applied: Vec<String>,
    /// Names of the module outside the filter.
    pub kept: Vec<String>,
    /// Names of the state outside the filter.
    pub unused: Vec<String>,
}

impl<T: Real> Default for StateDict<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Real> StateDict<T> {
    /// An empty state without metadata.
    pub fn new() -> Self {
        Self {
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// The parameters and buffers of a module, without copying.
    pub fn of(module: &dyn Module<T>) -> Self {
        let mut tensors = BTreeMap::new();
        visit(module, |path, slot| {
            let tensor = match slot {
                Slot::Parameter(parameter) => parameter.tensor().detach(),
                Slot::Buffer(buffer) => buffer.tensor(),
                Slot::Rng(_) => return,
            };
            tensors.insert(path.to_string(), tensor);
        });
        Self::from_tensors(tensors)
    }

    /// A state of the given tensors, as constants: averaged weights, moments of an optimizer, gradients.
    pub fn from_tensors(tensors: BTreeMap<String, Tensor<T>>) -> Self {
        Self {
            tensors: tensors.into_iter().map(|(name, t)| (name, t.detach())).collect(),
            metadata: BTreeMap::new(),
        }
    }

    /// The tensors, without the metadata.
    pub fn into_tensors(self) -> BTreeMap<String, Tensor<T>> {
        self.tensors
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor<T>> {
        &self.tensors
    }

    /// One tensor.
    pub fn get(&self, name: &str) -> Option<&Tensor<T>> {
        self.tensors.get(name)
    }

    /// Texts that are saved with the tensors.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Adds or replaces an entry of the metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The same values in another precision.
    #[must_use]
    pub fn cast<U: Real>(&self) -> StateDict<U> {
        StateDict {
            tensors: self.tensors.iter().map(|(n, t)| (n.clone(), t.cast())).collect(),
            metadata: self.metadata.clone(),
        }
    }

    /// Puts `prefix` and a dot before every name, so that several modules fit into one state.
    #[must_use]
    pub fn with_prefix(self, prefix: &str) -> Self {
        let rename = |(name, tensor)| (format!("{prefix}.{name}"), tensor);
        Self {
            tensors: self.tensors.into_iter().map(rename).collect(),
            metadata: self.metadata,
        }
    }

    /// Splits off the tensors under `prefix` and removes it from their names. Both parts keep the metadata.
    ///
    /// ```
    /// use engraft_layers::StateDict;
    /// use engraft_tensor::Tensor;
    /// let half = |n| StateDict::<f32>::from_tensors([("weight".into(), Tensor::ones([n]))].into());
    /// let both = half(1).with_prefix("g").merge(half(2).with_prefix("d"))?;
    /// let (g, rest) = both.split_prefix("g");
    /// assert_eq!(g.get("weight").unwrap().shape(), [1]);
    /// assert_eq!(rest.get("d.weight").unwrap().shape(), [2]);
    /// # Ok::<(), engraft_layers::LayersError>(())
    /// ```
    #[must_use]
    pub fn split_prefix(self, prefix: &str) -> (Self, Self) {
        let (mut under, mut rest) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in self.tensors {
            match name.strip_prefix(prefix).and_then(|n| n.strip_prefix('.')) {
                Some(short) => under.insert(short.to_string(), tensor),
                None => rest.insert(name, tensor),
            };
        }
        let part = |tensors| Self {
            tensors,
            metadata: self.metadata.clone(),
        };
        (part(under), part(rest))
    }

    /// The tensors and metadata of both states.
    ///
    /// # Errors
    /// [`LayersError::Mismatch`] with every tensor that is in both, and every metadata entry with different values.
    pub fn merge(mut self, other: Self) -> Result<Self, LayersError> {
        let twice = other.tensors.keys().filter(|n| self.tensors.contains_key(*n));
        let differs = |(k, v): &(&String, &String)| self.metadata.get(*k).is_some_and(|mine| mine != *v);
        let unequal = other.metadata.iter().filter(differs).map(|(k, _)| k);
        let clashes: Vec<String> = twice.chain(unequal).cloned().collect();
        if !clashes.is_empty() {
            return Err(LayersError::Mismatch {
                what: "the state to merge".into(),
                missing: Vec::new(),
                unexpected: clashes,
                shapes: Vec::new(),
            });
        }
        self.tensors.extend(other.tensors);
        self.metadata.extend(other.metadata);
        Ok(self)
    }

    /// Applies these values to a module. Names and shapes must match exactly. Frozen parameters stay
    /// frozen, but receive their values.
    ///
    /// # Errors
    /// [`LayersError::Mismatch`] with every missing, unexpected and wrongly shaped name. Then nothing is changed.
    pub fn apply(&self, module: &mut dyn Module<T>) -> Result<(), LayersError> {
        self.apply_matching(module, &ParamFilter::all()).map(|_| ())
    }

    /// Applies the values whose names match a filter, for a network that shares a part with the saved one.
    ///
    /// Inside the filter it is as strict as [`StateDict::apply`].
    ///
    /// # Errors
    /// [`LayersError::NoSuchName`] if a part of the filter matches neither a name of the module nor of the
    /// state, and the errors of [`StateDict::apply`]. In all cases nothing is changed.
    pub fn apply_matching(
        &self,
        module: &mut dyn Module<T>,
        names: &ParamFilter,
    ) -> Result<Applied, LayersError> {
        let own = Self::of(module);
        let mut all: Vec<String> = own.tensors.keys().chain(self.tensors.keys()).cloned().collect();
        all.sort();
        all.dedup();
        let unmatched = names.unmatched(&all);
        if !unmatched.is_empty() {
            let unmatched = unmatched.into_iter().map(Into::into).collect();
            return Err(LayersError::NoSuchName {
                unmatched,
                names: all,
            });
        }
        let mut report = Applied::default();
        let (mut missing, mut unexpected, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
        for name in all {
            match (own.get(&name), self.get(&name)) {
                (Some(_), _) if !names.matches(&name) => report.kept.push(name),
                (None, _) if !names.matches(&name) => report.unused.push(name),
                (Some(own), Some(new)) if own.shape() != new.shape() => {
                    shapes.push((name, own.shape().to_vec(), new.shape().to_vec()));
                }
                (Some(_), Some(_)) => report.applied.push(name),
                (Some(_), None) => missing.push(name),
                (None, _) => unexpected.push(name),
            }
        }
        if !(missing.is_empty() && unexpected.is_empty() && shapes.is_empty()) {
            return Err(LayersError::Mismatch {
                what: "the state".into(),
                missing,
                unexpected,
                shapes,
            });
        }
        visit_mut(module, |path, slot| {
            let name = path.to_string();
            let Some(value) = self.get(&name).filter(|_| names.matches(&name)) else {
                return;
            };
            match slot {
                SlotMut::Parameter(parameter) => parameter.set(value),
                SlotMut::Buffer(buffer) => buffer.set(value),
                SlotMut::Rng(_) => (),
            }
        });
        Ok(report)
    }

    /// The state as a safetensors file in memory.
    ///
    /// # Errors
    /// [`LayersError::Unsavable`] if the state could not be loaded again: a value is not finite, a name is the reserved
    /// `__metadata__`, or names and metadata are too long.
    pub fn to_bytes(&self) -> Result<Vec<u8>, LayersError> {
        encode(&self.tensors, &self.metadata, &[])
    }

    /// The contents of the file that [`StateDict::save`] writes: those of [`StateDict::to_bytes`], with a SHA-256 of the file.
    ///
    /// # Errors
    /// Those of [`StateDict::to_bytes`].
    pub fn to_sealed_bytes(&self) -> Result<Vec<u8>, LayersError> {
        sealed(self.to_bytes()?)
    }

    /// [`StateDict::to_bytes`] at about half the size: tensors with two or more axes are rounded to `F16`. Tensors with one
    /// axis, such as biases and batch-norm statistics, keep their type.
    ///
    /// ```
    /// use engraft_layers::StateDict;
    /// use engraft_tensor::Tensor;
    /// let state = StateDict::<f32>::from_tensors([("weight".into(), Tensor::full([4, 8], 0.1))].into());
    /// let read = StateDict::<f32>::from_bytes(&state.to_half_bytes()?, "weights.safetensors".as_ref())?;
    /// let weight = read.get("weight").expect("it was written");
    /// assert_eq!(weight.as_slice()[0], 0.099975586); // the nearest half
    /// # Ok::<(), engraft_layers::LayersError>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`StateDict::to_bytes`], and [`LayersError::Unsavable`] if a rounded value is beyond ±65504.
    pub fn to_half_bytes(&self) -> Result<Vec<u8>, LayersError> {
        encode_with(&self.tensors, &self.metadata, &[], |tensor| tensor.rank() > 1)
    }

    /// Reads a safetensors file from memory. Accepts `F16`, `BF16`, `F32` and `F64` and converts them to `T`.
    ///
    /// Memory use is bounded for hostile files: the size of the tensors as `T`, and about eight bytes per byte of the
    /// header, which is at most 1 MiB long.
    ///
    /// # Errors
    /// [`LayersError::Format`] with `path`, the tensor and what was expected, if the file is damaged, has
    /// another element type, or a value is not finite as `T`. Also if the file has another SHA-256 than
    /// [`StateDict::save`] wrote into it.
    pub fn from_bytes(bytes: &[u8], path: &FilePath) -> Result<Self, LayersError> {
        let (tensors, metadata) = decode(bytes, path, |_| Extra::Refuse)?;
        Ok(Self { tensors, metadata })
    }

    /// Writes a safetensors file atomically and syncs it to disk. An existing file is replaced in one step.
    ///
    /// The file has its SHA-256 in its metadata, as `engraft_sha256`. Reading compares it, and removes it from
    /// [`StateDict::metadata`]. A file without it is read too.
    ///
    /// # Errors
    /// Those of [`StateDict::to_bytes`], and [`LayersError::Io`].
    pub fn save(&self, path: impl AsRef<FilePath>) -> Result<(), LayersError> {
        Ok(write_atomically(path.as_ref(), &self.to_sealed_bytes()?)?)
    }

    /// [`StateDict::save`] with the contents of [`StateDict::to_half_bytes`].
    ///
    /// # Errors
    /// Those of [`StateDict::to_half_bytes`], and [`LayersError::Io`].
    pub fn save_half(&self, path: impl AsRef<FilePath>) -> Result<(), LayersError> {
        Ok(write_atomically(path.as_ref(), &sealed(self.to_half_bytes()?)?)?)
    }

    /// Reads a safetensors file of at most [`MAX_FILE_BYTES`].
    ///
    /// # Errors
    /// Those of [`StateDict::from_bytes`], and [`LayersError::Io`].
    pub fn load(path: impl AsRef<FilePath>) -> Result<Self, LayersError> {
        Self::load_at_most(path, MAX_FILE_BYTES)
    }

    /// [`StateDict::load`] with another limit for the file size.
    ///
    /// # Errors
    /// See [`StateDict::load`].
    pub fn load_at_most(path: impl AsRef<FilePath>, max_bytes: u64) -> Result<Self, LayersError> {
        let path = path.as_ref();
        Self::from_bytes(&read_bounded(path, max_bytes)?, path)
    }

    pub(crate) fn from_parts(
        tensors: BTreeMap<String, Tensor<T>>,
        metadata: BTreeMap<String, String>,
    ) -> Self {
        Self { tensors, metadata }
    }
}

/// States of the random streams of a module, by dotted name.
pub fn rng_states<T: Real>(module: &dyn Module<T>) -> BTreeMap<String, Pcg64> {
    let mut states = BTreeMap::new();
    visit(module, |path, slot| {
        if let Slot::Rng(rng) = slot {
            states.insert(path.to_string(), rng.state());
        }
    });
    states
}

/// Restores saved states of the random streams of a module.
///
/// # Errors
/// [`LayersError::Mismatch`] with every name that only the module or only `states` has. Then nothing is changed.
pub fn set_rng_states<T: Real>(
    module: &mut dyn Module<T>,
    states: &BTreeMap<String, Pcg64>,
) -> Result<(), LayersError> {
    let own = rng_states(module);
    let only = |a: &BTreeMap<String, Pcg64>, b: &BTreeMap<String, Pcg64>| -> Vec<String> {
        a.keys().filter(|n| !b.contains_key(*n)).cloned().collect()
    };
    let (missing, unexpected) = (only(&own, states), only(states, &own));
    if !(missing.is_empty() && unexpected.is_empty()) {
        return Err(LayersError::Mismatch {
            what: "the set of random states".into(),
            missing,
            unexpected,
            shapes: Vec::new(),
        });
    }
    visit_mut(module, |path, slot| {
        if let SlotMut::Rng(rng) = slot
            && let Some(state) = states.get(path)
        {
            rng.set(state.clone());
        }
    });
    Ok(())
}
