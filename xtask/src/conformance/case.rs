//! One case in one precision: its tensors, which of them were used, and how far ours lie from them.

use super::index::{Entry, Tolerance};
use anyhow::{Context, bail, ensure};
use engraft_base::read_bounded;
use engraft_layers::StateDict;
use engraft_tensor::{Real, Tensor};
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path};

/// Largest file of a case.
const MAX_CASE_BYTES: u64 = 1 << 30;

/// The distance of one tensor.
#[derive(Clone, Debug)]
pub(crate) struct Score {
    pub(crate) tensor: String,
    pub(crate) error: f64,
    pub(crate) tolerance: f64,
}

impl Score {
    /// Not a number never passes.
    pub(crate) fn passes(&self) -> bool {
        self.error <= self.tolerance
    }

    pub(crate) fn is_worse_than(&self, other: &Self) -> bool {
        let ratio = |s: &Self| {
            if s.error.is_nan() {
                f64::INFINITY
            } else {
                s.error / s.tolerance
            }
        };
        ratio(self) > ratio(other)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:8.1e} of {:7.1e}  {}",
            self.error, self.tolerance, self.tensor
        )
    }
}

/// What a file holds under a name.
enum Stored<T: Real> {
    Real(Tensor<T>),
    Integers(Vec<i64>),
}

/// One case in one precision. Tensors are in PyTorch's layouts.
pub(crate) struct Case<T: Real> {
    pub(crate) name: String,
    params: serde_json::Value,
    tensors: BTreeMap<String, Stored<T>>,
    used: BTreeSet<String>,
    tolerance: f64,
    scores: Vec<Score>,
}

impl<T: Real> Case<T> {
    /// Reads the file of a case; it must hold what the index says.
    pub(crate) fn open(dir: &Path, entry: &Entry, file: &str, tolerance: &Tolerance) -> anyhow::Result<Self> {
        let plain = matches!(
            Path::new(file).components().collect::<Vec<_>>()[..],
            [Component::Normal(_)]
        );
        ensure!(plain, "{file:?} is not the name of a file in the directory");
        let path = dir.join(file);
        let bytes = read_bounded(&path, MAX_CASE_BYTES)?;
        let parsed = SafeTensors::deserialize(&bytes)
            .with_context(|| format!("{}: no safetensors file", path.display()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in parsed.iter() {
            let promised = entry.shapes.get(name);
            ensure!(
                promised.is_some_and(|p| p == view.shape()),
                "tensor {name:?} has shape {:?}, the index says {promised:?}",
                view.shape()
            );
            tensors.insert(
                name.to_string(),
                stored(name, view.dtype(), view.shape(), view.data())?,
            );
        }
        for name in entry.shapes.keys() {
            ensure!(
                tensors.contains_key(name),
                "tensor {name:?} of the index is not in {file}"
            );
        }
        Ok(Self {
            name: entry.name.clone(),
            params: entry.params.clone(),
            tensors,
            used: BTreeSet::new(),
            tolerance: if T::NAME == "f32" {
                tolerance.f32
            } else {
                tolerance.f64
            },
            scores: Vec::new(),
        })
    }

    /// The settings of the operation; a field that its type does not have is an error.
    pub(crate) fn params<P: DeserializeOwned>(&self) -> anyhow::Result<P> {
        serde_json::from_value(self.params.clone()).context("the settings are not understood")
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor of the file that is an input of the case.
    pub(crate) fn input(&mut self, name: &str) -> anyhow::Result<Tensor<T>> {
        self.used.insert(name.into());
        self.stored(name).cloned()
    }

    /// A list of class indices that is an input of the case.
    pub(crate) fn labels(&mut self, name: &str) -> anyhow::Result<Vec<usize>> {
        self.used.insert(name.into());
        let Some(Stored::Integers(values)) = self.tensors.get(name) else {
            bail!("there is no tensor {name:?} of integers");
        };
        let labels = values.iter().map(|&v| usize::try_from(v));
        labels
            .collect::<Result<_, _>>()
            .with_context(|| format!("{name:?} has a negative label"))
    }

    /// The inputs whose names start with `prefix`, without it.
    pub(crate) fn inputs_under(&mut self, prefix: &str) -> anyhow::Result<StateDict<T>> {
        let names: Vec<String> = self
            .tensors
            .keys()
            .filter(|n| n.starts_with(prefix))
            .cloned()
            .collect();
        let named = names.into_iter().map(|name| {
            let tensor = self.input(&name)?;
            Ok((name[prefix.len()..].to_string(), tensor))
        });
        Ok(StateDict::from_tensors(named.collect::<anyhow::Result<_>>()?))
    }

    fn stored(&self, name: &str) -> anyhow::Result<&Tensor<T>> {
        match self.tensors.get(name) {
            Some(Stored::Real(tensor)) => Ok(tensor),
            Some(Stored::Integers(_)) => bail!("tensor {name:?} must be of floating point"),
            None => bail!("there is no tensor {name:?}"),
        }
    }

    /// The sizes of a tensor, which does not count as a use of it.
    pub(crate) fn shape(&self, name: &str) -> anyhow::Result<&[usize]> {
        self.stored(name).map(Tensor::shape)
    }

    /// Compares ours with the file's, relative to the file's largest value.
    pub(crate) fn compare(&mut self, name: &str, ours: &Tensor<T>) -> anyhow::Result<()> {
        let scale = max_abs(self.stored(name)?);
        let tolerance = self.tolerance;
        self.compare_at_scale(name, ours, scale, tolerance)
    }

    /// Compares ours with the file's: the largest difference, divided by `scale`, against `tolerance`.
    pub(crate) fn compare_at_scale(
        &mut self,
        name: &str,
        ours: &Tensor<T>,
        scale: f64,
        tolerance: f64,
    ) -> anyhow::Result<()> {
        let theirs = self.stored(name)?;
        ensure!(
            ours.shape() == theirs.shape(),
            "{name:?} has shape {:?}, ours {:?}",
            theirs.shape(),
            ours.shape()
        );
        let distance = ours.as_slice().iter().zip(theirs.as_slice());
        let distance = distance
            .map(|(a, b)| (a.into_f64() - b.into_f64()).abs())
            .fold(0.0, larger);
        self.used.insert(name.into());
        self.score(name, distance / scale.max(1e-30), tolerance);
        Ok(())
    }

    /// Records an error that was computed elsewhere.
    pub(crate) fn score(&mut self, what: &str, error: f64, tolerance: f64) {
        self.scores.push(Score {
            tensor: what.into(),
            error,
            tolerance,
        });
    }

    /// The default tolerance of this precision.
    pub(crate) fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// The worst comparison, if every tensor of the file was used.
    pub(crate) fn finish(self) -> anyhow::Result<Score> {
        let unused: Vec<&String> = self.tensors.keys().filter(|n| !self.used.contains(*n)).collect();
        ensure!(
            unused.is_empty(),
            "tensors that nothing was done with: {unused:?}"
        );
        let worse = |worst: Score, next: Score| if next.is_worse_than(&worst) { next } else { worst };
        self.scores
            .into_iter()
            .reduce(worse)
            .context("nothing was compared")
    }
}

/// The larger of two, or not a number if either is that: `f64::max` would hide it.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Largest absolute value; not a number counts as none, the difference to it fails anyway.
pub(crate) fn max_abs<T: Real>(x: &Tensor<T>) -> f64 {
    x.as_slice()
        .iter()
        .map(|v| v.into_f64().abs())
        .fold(0.0, f64::max)
}

fn stored<T: Real>(name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> anyhow::Result<Stored<T>> {
    // Each precision compares in its own type: f64 values rounded to f32 belong to the f32 file.
    let values: Vec<T> = match dtype {
        Dtype::F32 if T::NAME == "f32" => {
            let chunks = data.as_chunks::<4>().0.iter();
            chunks
                .map(|b| T::from_f64(f64::from(f32::from_le_bytes(*b))))
                .collect()
        }
        Dtype::F64 if T::NAME == "f64" => {
            let chunks = data.as_chunks::<8>().0.iter();
            chunks.map(|b| T::from_f64(f64::from_le_bytes(*b))).collect()
        }
        Dtype::I64 => {
            let chunks = data.as_chunks::<8>().0.iter();
            return Ok(Stored::Integers(chunks.map(|b| i64::from_le_bytes(*b)).collect()));
        }
        other => bail!(
            "tensor {name:?} has elements of type {other} in a case of {}",
            T::NAME
        ),
    };
    Ok(Stored::Real(Tensor::from_vec(shape, values)))
}
