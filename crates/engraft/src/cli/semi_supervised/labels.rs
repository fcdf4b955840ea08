//! The labeled images of `engraft semi-supervised`: their choice, the file that lists them, and what the protocol says.

use crate::cli::options::{LabelChoice, SemiSupervised};
use crate::cli::parallel;
use anyhow::Context;
use engraft_base::{sha256_hex, write_atomically};
use engraft_data::Dataset;
use engraft_transfer::semi_supervised::{COMPONENTS, select_labeled, select_representative};
use serde_json::{Value, json};
use std::path::Path;

/// Subsets of labeled images: one for each seed, or one for all.
pub(super) struct Labels {
    choice: LabelChoice,
    /// The seed that all trainings share, if they do.
    shared: Option<u64>,
    /// Seed of each subset.
    seeds: Vec<u64>,
    /// Indices of the labeled images of each subset.
    subsets: Vec<Vec<usize>>,
}

impl Labels {
    /// Chooses the labeled images of the trainings with these seeds.
    ///
    /// # Errors
    /// If the labels cannot be divided among the classes, or there are too many.
    pub(super) fn choose(options: &SemiSupervised, train: &Dataset, seeds: &[u64]) -> anyhow::Result<Self> {
        let (choice, count) = (options.label_choice, options.labels);
        let seeds = options
            .label_seed
            .map_or_else(|| seeds.to_vec(), |seed| vec![seed]);
        let one = |&seed: &u64| {
            let found = match choice {
                LabelChoice::Random => select_labeled(train.labels(), count, seed),
                LabelChoice::Clusters => select_representative(train, count, seed),
            };
            Ok(found?)
        };
        let named = || match choice {
            LabelChoice::Random => format!("--data {} --labels {count}", options.data),
            LabelChoice::Clusters => format!(
                "--data {} --labels {count} --label-choice {}",
                options.data,
                choice.name()
            ),
        };
        Ok(Self {
            choice,
            shared: options.label_seed,
            subsets: parallel::each(&seeds, options.threads, one).with_context(named)?,
            seeds,
        })
    }

    /// Indices of the labeled images for each of `count` seeds.
    pub(super) fn of_each_seed(&self, count: usize) -> Vec<Vec<usize>> {
        self.subsets.iter().cycle().take(count).cloned().collect()
    }

    /// Adds the choice to the protocol. The default choice leaves it as it was in earlier versions.
    pub(super) fn describe(&self, protocol: &mut Value) {
        let which = match self.choice {
            LabelChoice::Random => "as many of each class".to_owned(),
            LabelChoice::Clusters => {
                protocol["label_choice"] = json!(self.choice.name());
                // The clusters come from floating-point numbers, whose last bits may differ between CPUs.
                let indices = format!("{:?}", self.subsets);
                protocol["labels_sha256"] = json!(sha256_hex(indices.as_bytes()));
                format!(
                    "the image nearest to the centroid of each of as many k-means clusters, on {COMPONENTS} principal components"
                )
            }
        };
        let whose = match self.shared {
            None => "one subset for each seed",
            Some(seed) => {
                protocol["label_seed"] = json!(seed);
                "one subset for all seeds"
            }
        };
        protocol["label_subsets"] = json!(format!("{which}, {whose}"));
    }

    /// Labeled images of each class in each subset, if a choice leaves that open.
    pub(super) fn per_class(&self, train: &Dataset) -> Option<Vec<Vec<usize>>> {
        let classes = train.class_counts().len();
        let counts = |subset: &Vec<usize>| {
            let mut counts = vec![0; classes];
            subset
                .iter()
                .for_each(|&i| counts[usize::from(train.label(i))] += 1);
            counts
        };
        (self.choice == LabelChoice::Clusters).then(|| self.subsets.iter().map(counts).collect())
    }

    /// Writes the indices of the labeled images in the whole training set, so that others can use the same subsets. The training
    /// images are those at `taken`.
    ///
    /// # Errors
    /// If the directory cannot be written to.
    pub(super) fn write(
        &self,
        data: &str,
        out: &Path,
        whole: &Dataset,
        taken: &[usize],
    ) -> anyhow::Result<()> {
        std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
        for (seed, subset) in self.seeds.iter().zip(&self.subsets) {
            let indices: Vec<usize> = subset.iter().map(|&i| taken[i]).collect();
            let labels: Vec<u8> = indices.iter().map(|&i| whole.label(i)).collect();
            let mut text = json!({
                "data": data, "split": "train", "images_sha256": whole.sha256(), "seed": seed, "indices": indices,
                "labels": labels,
            });
            if self.choice != LabelChoice::Random {
                text["choice"] = json!(self.choice.name());
            }
            let path = out.join(format!("labels-seed-{seed}.json"));
            write_atomically(&path, format!("{text}\n").as_bytes())?;
        }
        Ok(())
    }
}
