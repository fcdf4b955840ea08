//! The trainings of `engraft semi-supervised`, side by side on the threads that there are.

use super::unfinished::Unfinished;
use crate::cli::{kept, workers};
use anyhow::Context;
use engraft_data::Dataset;
use engraft_gan::Sampler;
use engraft_transfer::semi_supervised::{Examples, SemiSupervised, Settings, pseudo_labelled};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Least probability of its class with which a generated image is trained on.
pub(super) const SURE: f64 = 0.95;
/// Times that the test error is looked at on the way, for the record only.
const POINTS: u64 = 10;
/// Steps after which a training is saved, to go on from there if it is interrupted: about a minute and a half.
const SAVE_EVERY: u64 = 2000;
/// What the directories of trainings on the way end with.
const UNFINISHED: &str = "unfinished";

/// What a classifier is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The labelled images; with a generator then also these and generated ones.
    LabelsOnly,
    /// The labelled images, all others without labels, and a generator in training.
    FeatureMatching,
    /// All images with labels.
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

/// How a training ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Test images that are put into a wrong class, after steps.
    pub(super) curve: Vec<(u64, usize)>,
    /// Generated images among those trained on.
    pub(super) generated: Option<usize>,
}

impl Outcome {
    /// Wrong test images at the end.
    pub(super) fn wrong(&self) -> usize {
        self.curve.last().map_or(0, |&(_, wrong)| wrong)
    }
}

/// A method and its outcome for each seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) method: String,
    pub(super) outcomes: Vec<Outcome>,
}

/// What all trainings have in common.
pub(super) struct Task<'a> {
    pub(super) train: &'a Dataset,
    pub(super) test: &'a Dataset,
    /// Indices of the labelled images, for each seed.
    pub(super) chosen: &'a [Vec<usize>],
    pub(super) seeds: &'a [u64],
    pub(super) settings: &'a Settings,
    /// Directory of what is kept, and what decides it.
    pub(super) out: &'a Path,
    pub(super) protocol: &'a Value,
    /// Draws further training images, so many.
    pub(super) generator: Option<(&'a Sampler, usize)>,
}

/// Outcomes by method, of one training and what follows it.
type Found = anyhow::Result<Vec<(String, Outcome)>>;

impl Task<'_> {
    /// Trains every kind with every seed, and sorts the outcomes into rows. The kinds that take longest should come first.
    pub(super) fn run(
        &self,
        kinds: &[Kind],
        threads: Option<usize>,
        bar: &ProgressBar,
    ) -> anyhow::Result<Vec<Row>> {
        let jobs: Vec<(Kind, usize)> = kinds
            .iter()
            .flat_map(|&kind| (0..self.seeds.len()).map(move |seed| (kind, seed)))
            .collect();
        let found = workers::each(&jobs, threads, |&(kind, seed)| self.keep(kind, seed, bar))?;
        let mut rows: Vec<Row> = Vec::new();
        for (method, outcome) in found.into_iter().flatten() {
            match rows.iter_mut().find(|row| row.method == method) {
                Some(row) => row.outcomes.push(outcome),
                None => rows.push(Row {
                    method,
                    outcomes: vec![outcome],
                }),
            }
        }
        rows.sort_by_key(|row| ORDER.iter().position(|name| row.method.starts_with(name)));
        Ok(rows)
    }

    /// One training, or what an earlier command with the same settings found.
    fn keep(&self, kind: Kind, seed: usize, bar: &ProgressBar) -> Found {
        let settings = self.kept_settings(seed);
        let path = self.path(kind, seed, "json");
        if let Some(found) = kept::read(&path, &settings) {
            bar.suspend(|| eprintln!("kept from {}", path.display()));
            return Ok(found);
        }
        let found = self.train(kind, seed, bar)?;
        kept::write(&path, &settings, &found)?;
        let unfinished = self.path(kind, seed, UNFINISHED);
        std::fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
        Ok(found)
    }

    /// What decides the numbers of one seed.
    fn kept_settings(&self, seed: usize) -> Value {
        let mut settings = self.protocol.clone();
        settings["seeds"] = json!([self.seeds[seed]]);
        settings
    }

    /// Where a training is kept.
    fn path(&self, kind: Kind, seed: usize, extension: &str) -> PathBuf {
        let name = format!("{}-seed-{}.{extension}", kind.name(), self.seeds[seed]);
        self.out.join(name)
    }

    /// The name of feature matching with its terms.
    fn feature_matching(&self) -> String {
        let terms = self.settings.terms;
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

    fn train(&self, kind: Kind, seed: usize, bar: &ProgressBar) -> Found {
        let labelled = || vec![(self.train, self.chosen[seed].clone())];
        let examples = |labelled, unlabelled| Examples { labelled, unlabelled };
        let one = |name: &str, examples| self.one((name, kind), seed, examples, bar);
        match kind {
            Kind::FeatureMatching => {
                let name = self.feature_matching();
                let (_, outcome) = one(&name, examples(labelled(), Some(self.train)))?;
                Ok(vec![(name, outcome)])
            }
            Kind::AllLabels => {
                let all = vec![(self.train, (0..self.train.len()).collect())];
                let (_, outcome) = one(ALL_LABELS, examples(all, None))?;
                Ok(vec![(ALL_LABELS.into(), outcome)])
            }
            Kind::LabelsOnly => {
                let (classifier, outcome) = one(LABELS_ONLY, examples(labelled(), None))?;
                let mut found = vec![(LABELS_ONLY.into(), outcome)];
                if let Some((sampler, count)) = self.generator {
                    let size = self.train.image_size();
                    let drawn = pseudo_labelled(&classifier, size, sampler, count, SURE, self.seeds[seed])?;
                    let mut both = labelled();
                    both.push((&drawn, (0..drawn.len()).collect()));
                    let (_, mut outcome) = self.one((GENERATED, kind), seed, examples(both, None), bar)?;
                    outcome.generated = Some(drawn.len());
                    found.push((GENERATED.into(), outcome));
                }
                Ok(found)
            }
        }
    }

    /// One training, from where it stands.
    fn one<'d>(
        &self,
        (name, kind): (&str, Kind),
        seed: usize,
        examples: Examples<'d>,
        bar: &ProgressBar,
    ) -> anyhow::Result<(SemiSupervised<'d>, Outcome)> {
        let mut settings = self.settings.clone();
        settings.seed = self.seeds[seed];
        let steps = settings.steps;
        let directory = self.path(kind, seed, UNFINISHED).join(name.replace(' ', "-"));
        let task = SemiSupervised::new(examples, settings)?;
        let tell = |line: &str| bar.suspend(|| eprintln!("{line}"));
        let (mut unfinished, mut task, mut curve) =
            Unfinished::open(&directory, self.kept_settings(seed), task, &tell)?;
        bar.inc(task.steps_done());
        while task.steps_done() < steps {
            let losses = task.step()?;
            bar.inc(1);
            let step = task.steps_done();
            let point = |step: u64| step * POINTS / steps;
            if point(step) > point(step - 1) {
                let wrong = task.wrong(self.test);
                curve.push((step, wrong));
                let of = match losses.adversarial {
                    Some([d, g]) => format!(
                        "es {:.3} labelled, {d:.3} unlabelled, {g:.4} generator",
                        losses.labelled
                    ),
                    None => format!(" {:.3}", losses.labelled),
                };
                let (seed, percent) = (self.seeds[seed], percent(wrong, self.test.len()));
                tell(&format!(
                    "{name}, seed {seed}, step {step} of {steps}: {percent:.2} % wrong, loss{of}"
                ));
            }
            if step.is_multiple_of(SAVE_EVERY) || step == steps {
                unfinished.save(&task, &curve, &tell)?;
            }
        }
        let generated = None;
        Ok((task, Outcome { curve, generated }))
    }
}

const LABELS_ONLY: &str = "supervised only";
const FEATURE_MATCHING: &str = "feature matching";
const GENERATED: &str = "generated images as training data";
const ALL_LABELS: &str = "all labels";
/// Of the rows.
const ORDER: [&str; 4] = [LABELS_ONLY, FEATURE_MATCHING, GENERATED, ALL_LABELS];

/// Share in per cent.
pub(super) fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
