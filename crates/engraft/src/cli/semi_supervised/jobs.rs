//! The trainings of `engraft semi-supervised`, run in parallel.

use super::probabilities::{self, Probabilities};
use super::resume::{self, Unfinished};
use crate::cli::process::{Interrupted, stop_or_continue};
use crate::cli::ranks::Ranks;
use crate::cli::{result_cache, spread};
use anyhow::bail;
use engraft_data::Dataset;
use engraft_gan::Sampler;
use engraft_transfer::semi_supervised::{Examples, SemiSupervised, SemiSupervisedConfig, pseudo_labeled};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Smallest predicted probability with which a generated image is used for training.
pub(super) const CONFIDENT: f64 = 0.95;
/// Number of test errors recorded during training, for reference only.
const POINTS: u64 = 10;

/// What a classifier is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The labeled images; with a generator, a second training adds generated ones.
    LabelsOnly,
    /// The labeled images and all images without labels, with a GAN.
    FeatureMatching,
    /// All images with their labels.
    AllLabels,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::LabelsOnly => "labels-only",
            Self::FeatureMatching => "feature-matching",
            Self::AllLabels => "all-labels",
        }
    }
}

/// Result of one training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunResult {
    /// Number of misclassified test images, after each of some steps.
    pub(super) curve: Vec<(u64, usize)>,
    /// Number of generated images in the training set.
    pub(super) generated: Option<usize>,
}

impl RunResult {
    /// Number of misclassified test images at the end.
    pub(super) fn wrong(&self) -> usize {
        self.curve.last().map_or(0, |&(_, wrong)| wrong)
    }
}

/// Results of a method, one for each seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MethodResults {
    pub(super) method: String,
    pub(super) runs: Vec<RunResult>,
    /// Number of test images that the classifiers of all seeds misclassify together, if they share their labeled images.
    pub(super) consensus: Option<usize>,
}

/// What all trainings have in common.
pub(super) struct Task<'a> {
    pub(super) train: &'a Dataset,
    pub(super) test: &'a Dataset,
    /// Indices of the labeled images, for each seed.
    pub(super) chosen: &'a [Vec<usize>],
    pub(super) seeds: &'a [u64],
    pub(super) settings: &'a SemiSupervisedConfig,
    /// Directory of the cached results, and the settings that decide them.
    pub(super) out: &'a Path,
    pub(super) protocol: &'a Value,
    /// Generator of further training images, and their number.
    pub(super) generator: Option<(&'a Sampler, usize)>,
    /// Whether all seeds have the same labeled images. Then the class probabilities of the test images are kept.
    pub(super) shares_labels: bool,
}

/// A finished training.
#[derive(Serialize, Deserialize)]
struct Trained {
    method: String,
    run: RunResult,
    /// Class probabilities of the test images, if they are kept.
    probabilities: Option<Probabilities>,
}

/// One training, and the one that follows it.
type Found = anyhow::Result<Vec<Trained>>;

impl Task<'_> {
    /// Trains every kind with every seed, divided among ranks if there are any, and groups the results by method. The slowest kinds
    /// should come first.
    pub(super) fn run(
        &self,
        kinds: &[Kind],
        ranks: Option<&Ranks>,
        threads: Option<usize>,
        bar: &ProgressBar,
    ) -> anyhow::Result<Vec<MethodResults>> {
        let jobs = self.jobs(kinds);
        let is_done = |&(kind, seed): &(Kind, usize)| self.result(&self.about(kind, seed).0).exists();
        let run = |&(kind, seed): &(Kind, usize)| self.run_or_reuse(kind, seed, bar);
        let found = spread::each(ranks, &jobs, threads, is_done, run)?;
        let mut methods: Vec<(String, Vec<Trained>)> = Vec::new();
        for trained in found.into_iter().flatten() {
            match methods.iter_mut().find(|(name, _)| *name == trained.method) {
                Some((_, all)) => all.push(trained),
                None => methods.push((trained.method.clone(), vec![trained])),
            }
        }
        let mut rows: Vec<MethodResults> = Vec::new();
        for (method, all) in methods {
            let (runs, probabilities): (Vec<_>, Vec<_>) =
                all.into_iter().map(|t| (t.run, t.probabilities)).unzip();
            let probabilities: Option<Vec<Probabilities>> = probabilities.into_iter().collect();
            let several = probabilities.filter(|all| all.len() > 1);
            rows.push(MethodResults {
                method,
                runs,
                consensus: several.map(|all| Probabilities::misclassified_by_mean(&all, self.test)),
            });
        }
        rows.sort_by_key(|row| ORDER.iter().position(|name| row.method.starts_with(name)));
        Ok(rows)
    }

    /// Every kind with every seed.
    fn jobs(&self, kinds: &[Kind]) -> Vec<(Kind, usize)> {
        let each = |&kind| (0..self.seeds.len()).map(move |seed| (kind, seed));
        kinds.iter().flat_map(each).collect()
    }

    /// Checks that the directory has no results and no interrupted trainings of other settings.
    ///
    /// # Errors
    /// If there is one.
    pub(super) fn ensure_free(&self, kinds: &[Kind]) -> anyhow::Result<()> {
        for (kind, seed) in self.jobs(kinds) {
            let (name, settings) = self.about(kind, seed);
            let result = self.result(&name);
            let most = self.test.len();
            result_cache::ensure_free(&result, &settings, |found: &Vec<(String, RunResult)>| {
                let mut wrong = found.iter().flat_map(|(_, run)| &run.curve);
                match wrong.find(|(_, wrong)| *wrong > most) {
                    Some((step, wrong)) => Some(format!(
                        "{wrong} misclassified test images at step {step}, of {most}"
                    )),
                    None => self
                        .read_probabilities(&name, found)
                        .err()
                        .map(|error| format!("{error:#}")),
                }
            })?;
            let ours = self.unfinished_path(&name, &settings);
            let other = resume::of(self.out, &name).find(|path| *path != ours && !result.exists());
            if let Some(other) = other {
                bail!(
                    "{}: contains an interrupted training of other settings or of another version; choose another directory with \
                     --out, or move it away",
                    other.display()
                );
            }
        }
        Ok(())
    }

    /// Name of a training, and the settings that decide its result.
    fn about(&self, kind: Kind, seed: usize) -> (String, Value) {
        let mut settings = self.protocol.clone();
        settings["seeds"] = json!([self.seeds[seed]]);
        (format!("{}-seed-{}", kind.name(), self.seeds[seed]), settings)
    }

    /// File of its cached result.
    fn result(&self, name: &str) -> PathBuf {
        self.out.join(format!("{name}.json"))
    }

    /// File of the class probabilities of the test images.
    fn probabilities_path(&self, name: &str) -> PathBuf {
        self.out.join(format!("{name}-probabilities.safetensors"))
    }

    /// The kept probabilities of results, or `None` of each if none are kept.
    ///
    /// # Errors
    /// If they cannot be read, or do not have these results.
    fn read_probabilities(
        &self,
        name: &str,
        found: &[(String, RunResult)],
    ) -> anyhow::Result<Vec<Option<Probabilities>>> {
        if !self.shares_labels {
            return Ok(vec![None; found.len()]);
        }
        let expected = found.iter().map(|(method, run)| (method.as_str(), run.wrong()));
        let classes = self.train.class_counts().len();
        let all = probabilities::read(&self.probabilities_path(name), expected, self.test, classes)?;
        Ok(all.into_iter().map(Some).collect())
    }

    /// Directory of its checkpoints until it is finished.
    fn unfinished_path(&self, name: &str, settings: &Value) -> PathBuf {
        let tag = result_cache::tag(settings);
        self.out.join(format!("{name}-{tag}{}", resume::ENDING))
    }

    /// Runs one training, or reuses its cached result.
    fn run_or_reuse(&self, kind: Kind, seed: usize, bar: &ProgressBar) -> Found {
        let (name, settings) = self.about(kind, seed);
        let path = self.result(&name);
        let unfinished_path = self.unfinished_path(&name, &settings);
        let tell = |line: &str| bar.suspend(|| note!("{line}"));
        let kept = || -> Option<Vec<Trained>> {
            let found: Vec<(String, RunResult)> = result_cache::read(&path, &settings)?;
            let all = self.read_probabilities(&name, &found).ok()?;
            tell(&format!("reused from {}", path.display()));
            resume::remove(&unfinished_path, &tell);
            let found = found.into_iter().zip(all);
            let one = |((method, run), probabilities)| Trained {
                method,
                run,
                probabilities,
            };
            Some(found.map(one).collect())
        };
        if let Some(found) = kept() {
            return Ok(found);
        }
        let unfinished = Unfinished::open(&unfinished_path)?;
        // Another process may have finished it meanwhile.
        if let Some(found) = kept() {
            return Ok(found);
        }
        let found = self.train(kind, seed, &unfinished, bar)?;
        if self.shares_labels {
            let all = found
                .iter()
                .filter_map(|one| Some((one.method.as_str(), one.probabilities.as_ref()?)));
            probabilities::write(&self.probabilities_path(&name), all)?;
        }
        let results: Vec<(&String, &RunResult)> = found.iter().map(|one| (&one.method, &one.run)).collect();
        result_cache::write(&path, &settings, &results)?;
        unfinished.remove(&tell);
        Ok(found)
    }

    /// The name of feature matching with its extra losses.
    fn feature_matching(&self) -> String {
        let terms = self.settings.extra_losses;
        let mut name = FEATURE_MATCHING.to_owned();
        for (weight, term) in [
            (terms.pull_away, "pull-away"),
            (terms.conditional_entropy, "conditional entropy"),
        ] {
            if weight == 1.0 {
                name += &format!(" + {term}");
            } else if weight != 0.0 {
                name += &format!(" + {weight} {term}");
            }
        }
        name
    }

    fn train(&self, kind: Kind, seed: usize, unfinished: &Unfinished, bar: &ProgressBar) -> Found {
        let labeled = || vec![(self.train, self.chosen[seed].clone())];
        let one = |name, labeled, unlabeled| {
            let examples = Examples { labeled, unlabeled };
            self.one(name, seed, examples, unfinished, bar)
        };
        match kind {
            Kind::FeatureMatching => {
                let (_, trained) = one(&self.feature_matching(), labeled(), Some(self.train))?;
                Ok(vec![trained])
            }
            Kind::AllLabels => {
                let all = vec![(self.train, (0..self.train.len()).collect())];
                let (_, trained) = one(ALL_LABELS, all, None)?;
                Ok(vec![trained])
            }
            Kind::LabelsOnly => {
                let (classifier, trained) = one(LABELS_ONLY, labeled(), None)?;
                let mut found = vec![trained];
                if let Some((sampler, count)) = self.generator {
                    let size = self.train.image_size();
                    let generated =
                        pseudo_labeled(&classifier, size, sampler, count, CONFIDENT, self.seeds[seed])?;
                    let mut both = labeled();
                    both.push((&generated, (0..generated.len()).collect()));
                    let examples = Examples {
                        labeled: both,
                        unlabeled: None,
                    };
                    let (_, mut trained) = self.one(GENERATED, seed, examples, unfinished, bar)?;
                    trained.run.generated = Some(generated.len());
                    found.push(trained);
                }
                Ok(found)
            }
        }
    }

    /// Runs one training, resuming it if it was interrupted.
    fn one<'d>(
        &self,
        name: &str,
        seed: usize,
        examples: Examples<'d>,
        unfinished: &Unfinished,
        bar: &ProgressBar,
    ) -> anyhow::Result<(SemiSupervised<'d>, Trained)> {
        let mut settings = self.settings.clone();
        settings.seed = self.seeds[seed];
        let steps = settings.steps;
        let tell = |line: &str| bar.suspend(|| note!("{line}"));
        let new = SemiSupervised::new(examples, settings)?;
        let (mut saves, mut task, mut curve) = unfinished.training(&name.replace(' ', "-"), new, &tell)?;
        bar.inc(task.steps_done());
        while task.steps_done() < steps {
            let losses = task.step()?;
            bar.inc(1);
            let step = task.steps_done();
            let point = |step: u64| step * POINTS / steps;
            if point(step) > point(step - 1) {
                let wrong = task.error_count(self.test);
                curve.push((step, wrong));
                let of = match losses.adversarial {
                    Some([d, g]) => format!(
                        "es {:.3} labeled, {d:.3} unlabeled, {g:.4} generator",
                        losses.labeled
                    ),
                    None => format!(" {:.3}", losses.labeled),
                };
                let (seed, percent) = (self.seeds[seed], percent(wrong, self.test.len()));
                tell(&format!(
                    "{name}, seed {seed}, step {step} of {steps}: test error {percent:.2} %, loss{of}"
                ));
            }
            if stop_or_continue().is_break() && step < steps {
                saves.save(&task, &curve, &tell)?;
                return Err(Interrupted.into());
            }
            saves.save_when_due(&task, &curve, &tell)?;
        }
        if name == LABELS_ONLY && self.generator.is_some() {
            // The next training needs this classifier again if it is interrupted.
            saves.save(&task, &curve, &tell)?;
        }
        let kept = self.shares_labels && !self.test.is_empty();
        let trained = Trained {
            method: name.into(),
            run: RunResult {
                curve,
                generated: None,
            },
            probabilities: kept.then(|| Probabilities::new(&task.dataset_probabilities(self.test))),
        };
        Ok((task, trained))
    }
}

const LABELS_ONLY: &str = "supervised only";
const FEATURE_MATCHING: &str = "feature matching";
const GENERATED: &str = "generated images as training data";
const ALL_LABELS: &str = "all labels";
/// Order of the rows.
const ORDER: [&str; 4] = [LABELS_ONLY, FEATURE_MATCHING, GENERATED, ALL_LABELS];

/// Share in percent.
pub(super) fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};
    use engraft_transfer::semi_supervised::select_labeled;

    #[test]
    fn an_interrupted_training_ends_as_an_uninterrupted_one() {
        let (train, test) = (
            drawn_digits(Split::Train, 60, 1),
            drawn_digits(Split::Test, 200, 1),
        );
        let mut settings = SemiSupervisedConfig::new(20, 1);
        (settings.batch, settings.hidden) = (20, vec![16]);
        let chosen = [select_labeled(train.labels(), 20, 1).unwrap()];
        let folder = tempfile::tempdir().unwrap();
        let protocol = json!({ "steps": 20 });
        let task = |out| Task {
            train: &train,
            test: &test,
            chosen: &chosen,
            seeds: &[1],
            settings: &settings,
            out,
            protocol: &protocol,
            generator: None,
            shares_labels: false,
        };
        let bar = ProgressBar::hidden();
        let whole = folder.path().join("whole");
        std::fs::create_dir_all(&whole).unwrap();
        let kinds = [Kind::FeatureMatching];
        let expected = task(&whole).run(&kinds, None, Some(1), &bar).unwrap();
        assert_eq!(expected[0].runs[0].curve.len(), 10);
        let names = |out: &PathBuf| -> Vec<String> {
            let entries = std::fs::read_dir(out).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        assert_eq!(names(&whole), ["feature-matching-seed-1.json"]);

        // One step, saved with a curve that no training would record.
        let cut = folder.path().join("cut");
        let tag = result_cache::tag(&json!({ "steps": 20, "seeds": [1] }));
        let unfinished_path = cut.join(format!("feature-matching-seed-1-{tag}.unfinished"));
        let unfinished = Unfinished::open(&unfinished_path).unwrap();
        let examples = Examples {
            labeled: vec![(&train, chosen[0].clone())],
            unlabeled: Some(&train),
        };
        let new = SemiSupervised::new(examples, settings.clone()).unwrap();
        let (mut saves, mut begun, _) = unfinished.training("feature-matching", new, &|_| ()).unwrap();
        begun.step().unwrap();
        saves.save(&begun, &vec![(1, 177)], &|_| ()).unwrap();
        drop((saves, unfinished));
        // Another unfinished training in the same place, of other settings.
        let other = cut.join("feature-matching-seed-1-00000000.unfinished");
        drop(Unfinished::open(&other).unwrap());
        let refused = task(&cut).ensure_free(&kinds).unwrap_err().to_string();
        assert!(
            refused.contains("seed-1-00000000.unfinished") && refused.contains("--out"),
            "{refused}"
        );

        let found = task(&cut).run(&kinds, None, Some(1), &bar).unwrap();
        let curve = &found[0].runs[0].curve;
        assert_eq!(curve[0], (1, 177), "it resumes from the checkpoint");
        assert_eq!(curve[1..], expected[0].runs[0].curve);
        assert!(!unfinished_path.exists() && other.exists());

        // The process was killed between writing the result and removing the directory.
        drop(Unfinished::open(&unfinished_path).unwrap());
        assert_eq!(task(&cut).run(&kinds, None, Some(1), &bar).unwrap(), found);
        assert!(!unfinished_path.exists() && other.exists());
        task(&cut).ensure_free(&kinds).unwrap();
    }
}
