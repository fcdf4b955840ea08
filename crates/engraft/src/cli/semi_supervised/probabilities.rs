//! Class probabilities of the test images: files next to the results, and the consensus of several classifiers.

use anyhow::{Context, bail, ensure};
use engraft_data::Dataset;
use engraft_layers::StateDict;
use engraft_tensor::Tensor;
use engraft_transfer::semi_supervised::{consensus, misclassified};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Largest file, in bytes.
const MOST: u64 = 1 << 30;

/// Class probabilities of the test images, as ranks exchange them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Probabilities {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Probabilities {
    /// Probabilities `[n, classes]`.
    pub(super) fn new(tensor: &Tensor) -> Self {
        Self {
            shape: tensor.shape().to_vec(),
            values: tensor.as_slice().to_vec(),
        }
    }

    fn tensor(&self) -> Tensor {
        Tensor::from_vec(self.shape.clone(), self.values.clone())
    }

    /// Number of test images that the mean of several classifiers' probabilities misclassifies. All must be of these images.
    pub(super) fn misclassified_by_mean(all: &[Self], test: &Dataset) -> usize {
        let tensors: Vec<Tensor> = all.iter().map(Self::tensor).collect();
        misclassified(&consensus(&tensors), test.labels())
    }
}

/// Writes the probabilities of some trainings by their names.
///
/// # Errors
/// If the file cannot be written, or a probability is not finite.
pub(super) fn write<'p>(
    path: &Path,
    all: impl Iterator<Item = (&'p str, &'p Probabilities)>,
) -> anyhow::Result<()> {
    let tensors: BTreeMap<String, Tensor> = all.map(|(name, of)| (key(name), of.tensor())).collect();
    Ok(StateDict::from_tensors(tensors).save(path)?)
}

/// Reads the probabilities of trainings with these names, which misclassify these numbers of test images. The networks distinguish
/// `of_network` classes.
///
/// # Errors
/// If the file is missing or damaged, or has other results.
pub(super) fn read<'n>(
    path: &Path,
    expected: impl Iterator<Item = (&'n str, usize)>,
    test: &Dataset,
    of_network: usize,
) -> anyhow::Result<Vec<Probabilities>> {
    let file: StateDict = StateDict::load_at_most(path, MOST)?;
    let shown = path.display();
    let one = |(name, wrong): (&str, usize)| {
        let found = file
            .get(&key(name))
            .with_context(|| format!("{shown}: there are no probabilities of {name}"))?;
        let [n, classes] = *found.shape() else {
            bail!(
                "{shown}: {name} has the shape {:?}; expected a row for each test image",
                found.shape()
            )
        };
        ensure!(
            [n, classes] == [test.len(), of_network],
            "{shown}: {name} has {n}x{classes} probabilities; expected {}x{of_network}",
            test.len()
        );
        let now = misclassified(found, test.labels());
        ensure!(
            now == wrong,
            "{shown}: the probabilities of {name} misclassify {now} test images; expected {wrong}, as in the result"
        );
        Ok(Probabilities::new(found))
    };
    expected.map(one).collect()
}

/// Name of a tensor.
fn key(name: &str) -> String {
    name.replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::Provenance;

    #[test]
    fn a_file_gives_back_what_was_written_and_nothing_else() {
        let test = Dataset::new("x", Provenance::Memory, vec![0; 3], [1, 1, 1], vec![0, 1, 1]).unwrap();
        let of = |values: [f32; 6]| Probabilities::new(&Tensor::from_vec([3, 2], values.to_vec()));
        // Two wrong, one wrong, and none by the mean.
        let one = of([0.9, 0.1, 0.55, 0.45, 0.55, 0.45]);
        let other = of([0.4, 0.6, 0.1, 0.9, 0.3, 0.7]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probabilities.safetensors");
        let names = ["supervised only", "other"];
        write(&path, names.into_iter().zip([&one, &other])).unwrap();
        let found = read(&path, names.into_iter().zip([2, 1]), &test, 2).unwrap();
        assert_eq!(found, [one, other]);
        assert_eq!(Probabilities::misclassified_by_mean(&found, &test), 0);
        for (expected, named) in [
            (("other", 0), "expected 0"),
            (("none", 1), "no probabilities of none"),
        ] {
            let error = read(&path, [expected].into_iter(), &test, 2)
                .unwrap_err()
                .to_string();
            assert!(error.contains(named), "{error}");
        }
        let fewer = test.subset(&[0, 1]);
        assert!(read(&path, [("other", 1)].into_iter(), &fewer, 2).is_err());
        assert!(read(&path, [("other", 1)].into_iter(), &test, 3).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path, [("other", 1)].into_iter(), &test, 2).is_err());
    }
}
