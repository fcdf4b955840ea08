//! Latent vectors and classes of generated images.

use super::options::{Generate, Interpolation};
use anyhow::{bail, ensure};
use engraft_data::DatasetName;
use engraft_gan::{GanError, RunLayout, Sampler, TrainConfig, class_names, read_settings, slerp};
use engraft_layers::Condition;
use engraft_tensor::{Tensor, concat};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::path::Path;

/// Images per batch.
const BATCH: usize = 500;

/// The latent vectors of the images, with their labels.
pub(super) struct Latents {
    /// `[n, latent]`.
    z: Tensor,
    /// One for each image; empty if the generator is unconditional.
    labels: Vec<usize>,
    /// Images per batch.
    batch: usize,
}

impl Latents {
    /// Latent vectors by the options.
    ///
    /// With `--seeds`, the vector of an image is a function of its seed alone. Batches then have one image, so that the bits of
    /// the image do not depend on the other images.
    pub(super) fn choose(options: &Generate, sampler: &Sampler, class: Option<usize>) -> Self {
        let (latent, classes) = (sampler.latent_dim(), sampler.class_count());
        let cyclic = |n: usize| match sampler.cyclic_labels(n).labels() {
            Some(labels) => labels.to_vec(),
            None => vec![0; n],
        };
        let (z, labels, batch) = match (&options.seeds, options.interpolate) {
            (Some(seeds), interpolation) => {
                let ends: Vec<Tensor> = seeds.0.iter().map(|&seed| of_seed(seed, latent)).collect();
                let label = |seed: u64| sampler.label_of_seed(seed);
                match interpolation {
                    Some(Interpolation::Steps(steps)) => {
                        let mut path: Vec<Tensor> = ends
                            .windows(2)
                            .flat_map(|pair| {
                                (0..steps).map(|i| slerp(&pair[0], &pair[1], i as f64 / steps as f64))
                            })
                            .collect();
                        path.extend(ends.last().cloned());
                        // One class for the whole path: labels cannot be interpolated.
                        let labels = vec![label(seeds.0[0]); path.len()];
                        (stacked(&path), labels, 1)
                    }
                    _ => (
                        stacked(&ends),
                        seeds.0.iter().map(|&seed| label(seed)).collect(),
                        1,
                    ),
                }
            }
            (None, Some(_)) => {
                let columns = options.columns as usize;
                let rows = options.count.div_ceil(columns);
                let rng = &mut Pcg64::seed_from_u64(options.seed);
                let [ends, others] = [0, 1].map(|_| Tensor::randn([rows, latent], rng));
                let all: Vec<Tensor> = (0..rows)
                    .flat_map(|row| {
                        let [a, b] = [&ends, &others].map(|v| v.narrow(0, row, 1));
                        (0..columns).map(move |i| slerp(&a, &b, i as f64 / (columns.max(2) - 1) as f64))
                    })
                    .collect();
                let of_rows = cyclic(rows);
                let labels = (0..all.len()).map(|i| of_rows[i / columns]).collect();
                (stacked(&all), labels, all.len())
            }
            (None, None) => {
                let rng = &mut Pcg64::seed_from_u64(options.seed);
                let parts: Vec<Tensor> = engraft_base::batches(options.count, BATCH)
                    .map(|part| Tensor::randn([part.len(), latent], rng))
                    .collect();
                let labels = match sampler.class_prior() {
                    Some(prior) => prior.spread(options.count),
                    // As many commands before this one: the classes start again with each batch.
                    None => (0..options.count).map(|i| i % BATCH % classes.max(1)).collect(),
                };
                (stacked(&parts), labels, BATCH)
            }
        };
        let labels: Vec<usize> = match (classes, class) {
            (0, _) => Vec::new(),
            (_, Some(class)) => vec![class; z.shape()[0]],
            (_, None) => labels,
        };
        let is_truncated = options.truncation != 1.0;
        Self {
            z: if is_truncated {
                z * options.truncation as f32
            } else {
                z
            },
            labels,
            batch,
        }
    }

    /// Number of images.
    pub(super) fn len(&self) -> usize {
        self.z.shape()[0]
    }

    /// The images `[n, h, w, c]` of a generator.
    ///
    /// # Errors
    /// If a value is not finite.
    pub(super) fn images(&self, sampler: &Sampler) -> Result<Tensor, GanError> {
        let parts: Result<Vec<Tensor>, GanError> = engraft_base::batches(self.len(), self.batch)
            .map(|part| {
                let condition = match self.labels.as_slice() {
                    [] => Condition::None,
                    labels => labels[part.clone()].to_vec().into(),
                };
                sampler.try_generate_from(&self.z.narrow(0, part.start, part.len()), &condition)
            })
            .collect();
        Ok(stacked(&parts?))
    }

    /// A file name for each image: its number, or its seed.
    pub(super) fn file_names(&self, options: &Generate) -> Vec<String> {
        match (&options.seeds, options.interpolate) {
            (Some(seeds), None) => seeds.0.iter().map(|seed| format!("seed-{seed:06}.png")).collect(),
            _ => (0..self.len()).map(|i| format!("{i:06}.png")).collect(),
        }
    }
}

/// The latent vector `[1, latent]` of a seed.
fn of_seed(seed: u64, latent: usize) -> Tensor {
    Tensor::randn([1, latent], &mut Pcg64::seed_from_u64(seed))
}

fn stacked(parts: &[Tensor]) -> Tensor {
    concat(&parts.iter().collect::<Vec<_>>(), 0)
}

/// The label of `--class`, an index or a name.
///
/// # Errors
/// If the generator is unconditional, or has no such class.
pub(super) fn class(options: &Generate, classes: usize) -> anyhow::Result<Option<usize>> {
    let Some(wanted) = &options.class else {
        return Ok(None);
    };
    ensure!(
        classes > 0,
        "--class {wanted}: the generator of {} is not class-conditional; train --conditional or train --pseudo-labels makes one",
        options.from.display()
    );
    let names = names(&options.from)?;
    if let Some(label) = names.iter().position(|name| name == wanted) {
        return Ok(Some(label));
    }
    if let Ok(label) = wanted.parse::<usize>()
        && label < classes
    {
        return Ok(Some(label));
    }
    let is_clusters = settings(&options.from).is_some_and(|config| config.pseudo_labels.is_on());
    let closest = names
        .iter()
        .min_by_key(|name| strsim::damerau_levenshtein(name, wanted));
    let expected = match names.as_slice() {
        [] if is_clusters => "; the classes are clusters of the training images, the largest first".into(),
        [] => "; the run has no names of classes".into(),
        names => format!(
            " or a name of {}; closest: {}",
            names.join(", "),
            closest.map_or("", String::as_str)
        ),
    };
    bail!(
        "--class {wanted}: expected an index from 0 to {}{expected}",
        classes - 1
    )
}

/// The settings of the run, if they can be read.
fn settings(run: &Path) -> Option<TrainConfig> {
    read_settings(&RunLayout::new(run).settings()).ok()
}

/// Names of the classes that a run knows: those of its folders, or of a known data set.
///
/// # Errors
/// If the file with the names cannot be read.
pub(super) fn names(run: &Path) -> anyhow::Result<Vec<String>> {
    let recorded = class_names(run)?;
    if !recorded.is_empty() {
        return Ok(recorded);
    }
    // Clusters are not the classes of the data.
    let data = settings(run)
        .filter(|config| !config.pseudo_labels.is_on())
        .map(|config| config.data);
    let known = data.and_then(|name| name.parse::<DatasetName>().ok());
    let names = known.map_or(&[][..], DatasetName::class_names);
    Ok(names.iter().map(|name| (*name).into()).collect())
}
