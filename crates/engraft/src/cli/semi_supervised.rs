//! `engraft semi-supervised`: how much images without labels help a classifier that has few labels.

mod jobs;
mod report;
mod unfinished;

use super::images::{self, Checkpoint, bar};
use super::kept;
use anyhow::{Context, bail, ensure};
use engraft_data::{Dataset, DatasetName, LoadOptions, Split, load};
use engraft_gan::{Sampler, Which};
use engraft_transfer::Source;
use engraft_transfer::semi_supervised::{Settings, Terms, choose_labels};
use jobs::{Kind, Task};
use report::Report;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Train classifiers on a few labels, with and without the images that have none, and print their test errors.
///
/// Three rows are always there: the labelled images alone, feature matching with a generator and all images, and all labels;
/// with --generator also the labelled images together with generated ones. All rows have the same network, the same number of
/// steps and the same seeds. The errors are those at the end: nothing is selected on the test images. The same command goes on
/// where it was interrupted, but for the last minute.
#[derive(Debug, clap::Args)]
pub struct SemiSupervised {
    /// Labelled images: mnist, fashion-mnist, usps or drawn-digits
    #[arg(long, value_name = "NAME")]
    data: String,
    /// Training images to take, with labels or without, the same for all seeds [default: all]: those that transfer takes with
    /// --shots N and, as its --seed, the --first-seed. The steps of a budget stay those for all images
    #[arg(long, value_name = "N", value_parser = some_images)]
    shots: Option<usize>,
    /// Labels, as many of each class; a multiple of the number of classes
    #[arg(long, value_name = "N", default_value_t = 100)]
    labels: usize,
    /// Subsets of labels, each with a seed of its own
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed; the others follow. A long run can be cut into several with it, but with --shots it also says which images
    /// are taken
    #[arg(long, value_name = "SEED", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    first_seed: u64,
    /// fast: for a quarter of an hour on two cores, with five seeds; paper: the authors' 300 passes, hours for each seed
    #[arg(long, value_enum, default_value_t = Budget::Fast)]
    budget: Budget,
    /// Passes over the images without labels, instead of the budget's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    epochs: Option<u64>,
    /// Terms beside feature matching, each with a weight if it is not 1: pull-away, conditional-entropy, as
    /// pull-away=0.5,conditional-entropy
    #[arg(long, value_name = "TERM", value_delimiter = ',', value_parser = term)]
    terms: Vec<Term>,
    /// Run directory, of a transfer too: a row with its images as further training images, under the labels that the
    /// classifier of the labelled images alone gives them. Images of another size than its own are scaled to that, for all rows
    #[arg(long, value_name = "RUN")]
    generator: Option<PathBuf>,
    /// Images that the generator draws; those are kept of which the classifier is sure
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "generator", value_parser = some_images)]
    generated: usize,
    /// Directory for the subsets of labels and the results [default: runs/semi-supervised-DATA-LABELS, with -of-N for --shots,
    /// -N-epochs for --epochs and -paper for that budget]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads [default: all cores]; the numbers do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    threads: Option<u64>,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Budget {
    Fast,
    Paper,
}

impl Budget {
    /// Passes over the images without labels.
    fn epochs(self) -> u64 {
        match self {
            Self::Fast => 6,
            Self::Paper => 300,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Paper => "paper",
        }
    }
}

/// A term and its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Term {
    PullAway(f64),
    ConditionalEntropy(f64),
}

/// A number of images that is not 0.
fn some_images(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number of images, at least 1".into()),
        Ok(count) => Ok(count),
    }
}

/// `pull-away=0.5` and the like.
fn term(text: &str) -> Result<Term, String> {
    let expected = || "expected pull-away or conditional-entropy, with a weight above 0 if it is not 1, as pull-away=0.5";
    let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
    let weight: f64 = weight.parse().map_err(|_| expected())?;
    if !(weight > 0.0 && weight.is_finite()) {
        return Err(expected().into());
    }
    match name {
        "pull-away" => Ok(Term::PullAway(weight)),
        "conditional-entropy" => Ok(Term::ConditionalEntropy(weight)),
        _ => Err(expected().into()),
    }
}

impl SemiSupervised {
    /// Runs the command.
    ///
    /// # Errors
    /// If the data is missing or has no labels, the labels cannot be divided among the classes, the generator cannot be used,
    /// or training fails.
    pub fn run(&self) -> anyhow::Result<()> {
        let [whole, mut test] = self.load()?;
        let taken = images::chosen(whole.len(), self.shots.unwrap_or(usize::MAX), self.first_seed);
        let mut train = whole.subset(&taken);
        let missing: Vec<usize> = (whole.class_counts().iter().enumerate())
            .filter(|&(class, &count)| count > 0 && train.class_counts().get(class).is_none_or(|&n| n == 0))
            .map(|(class, _)| class)
            .collect();
        ensure!(
            missing.is_empty(),
            "--shots {}: of the classes {missing:?} of {} no image is among those taken; take more, or others by --first-seed",
            taken.len(),
            self.data
        );
        let generator = match &self.generator {
            Some(run) => Some(self.open_generator(run, &train)?),
            None => None,
        };
        if let Some((_, [height, width, _], _)) = generator {
            [train, test] = [train, test].map(|data| data.resized(height, width));
        }
        let seeds: Vec<u64> = (self.first_seed..self.first_seed + self.seeds).collect();
        let chosen: Result<Vec<Vec<usize>>, _> = seeds
            .iter()
            .map(|&seed| choose_labels(train.labels(), self.labels, seed))
            .collect();
        let chosen = chosen.with_context(|| format!("--data {} --labels {}", self.data, self.labels))?;
        let mut settings = Settings::new(1, 1);
        settings.batch = settings.batch.min(train.len());
        settings.terms = self.terms();
        let pass = |data: &Dataset| (data.len() / settings.batch) as u64;
        settings.steps = match self.epochs {
            Some(epochs) => epochs * pass(&train),
            None => self.budget.epochs() * pass(&whole),
        };
        let epochs = settings.steps / pass(&train);
        let out = self.out.clone().unwrap_or_else(|| {
            let shots = self
                .shots
                .map_or_else(String::new, |shots| format!("-of-{shots}"));
            let budget = match (self.epochs, self.budget) {
                (Some(epochs), _) => format!("-{epochs}-epochs"),
                (None, Budget::Fast) => String::new(),
                (None, Budget::Paper) => "-paper".into(),
            };
            Path::new("runs").join(format!(
                "semi-supervised-{}-{}{shots}{budget}",
                self.data, self.labels
            ))
        });
        let protocol = json!({
            "data": self.data, "train_sha256": kept::fingerprint(&train)?, "test_sha256": kept::fingerprint(&test)?,
            "labels": self.labels, "classes": train.class_counts().len(), "unlabelled": train.len(), "test": test.len(),
            "seeds": seeds, "shots": self.shots.map(|shots| json!({ "images": shots, "seed": self.first_seed })), "label_subsets": "as many of each class, one subset for each seed",
            "network": network(&train, &settings),
            "budget": match self.epochs { Some(_) => "given", None => self.budget.name() },
            "epochs": epochs, "steps": settings.steps, "batch": settings.batch,
            "learning_rate": settings.learning_rate, "terms": settings.terms,
            "generator": generator.as_ref().map(|(_, _, about)| about),
            "weights": "averaged, at the end of the budget", "selected_on_test": "nothing",
        });
        let task = Task {
            train: &train,
            test: &test,
            chosen: &chosen,
            seeds: &seeds,
            settings: &settings,
            out: &out,
            protocol: &protocol,
            generator: generator.as_ref().map(|(sampler, ..)| (sampler, self.generated)),
        };
        let kinds = [Kind::FeatureMatching, Kind::AllLabels, Kind::LabelsOnly];
        task.ensure_free(&kinds)?;
        for (&seed, indices) in seeds.iter().zip(&chosen) {
            let indices = indices.iter().map(|&i| taken[i]).collect();
            self.write_labels(&out, &whole, seed, indices)?;
        }
        let trainings = kinds.len() + usize::from(generator.is_some());
        let steps = settings.steps as usize * seeds.len() * trainings;
        let bar = bar("training steps", steps)?;
        let found = task.run(&kinds, self.threads.map(|n| n as usize), &bar)?;
        bar.finish_and_clear();
        let report = Report {
            rows: found,
            test: test.len(),
            out: out.clone(),
            protocol,
        };
        let json = report.json();
        let path = out.join("result.json");
        std::fs::write(&path, format!("{json}\n")).with_context(|| format!("writing {}", path.display()))?;
        println!("{report}");
        if self.json {
            println!("{json}");
        }
        Ok(())
    }

    /// Training and test images.
    fn load(&self) -> anyhow::Result<[Dataset; 2]> {
        let Ok(known) = self.data.parse::<DatasetName>() else {
            let names = DatasetName::ALL.map(DatasetName::as_str).join(", ");
            if Path::new(&self.data).is_dir() {
                bail!(
                    "--data {}: a folder of pictures has no labels, and the errors are counted by labels; expected one of {names}, \
                     whose files may lie in the directory that ENGRAFT_DATA names",
                    self.data
                );
            }
            bail!("--data {}: expected one of {names}", self.data)
        };
        let options = LoadOptions::new().notify(|line| eprintln!("{line}"));
        Ok([
            load(known, Split::Train, &options)?,
            load(known, Split::Test, &options)?,
        ])
    }

    fn terms(&self) -> Terms {
        let mut terms = Terms::default();
        for &term in &self.terms {
            match term {
                Term::PullAway(weight) => terms.pull_away = weight,
                Term::ConditionalEntropy(weight) => terms.conditional_entropy = weight,
            }
        }
        terms
    }

    /// The generator of a run, the size of its images, and what there is to tell of it.
    fn open_generator(
        &self,
        run: &Path,
        train: &Dataset,
    ) -> anyhow::Result<(Sampler, [usize; 3], serde_json::Value)> {
        let named = || format!("--generator {}", run.display());
        if !run.join("generator.safetensors").is_file() {
            // Tells of checkpoints that are left out as damaged.
            images::open_run(run, Checkpoint::Last).with_context(named)?;
        }
        let source = Source::open(run, Which::Last).with_context(named)?;
        let [expected, found] = [train.channels(), source.config.image[2]];
        ensure!(
            expected == found,
            "--generator {}: it draws images of {found} channel(s), but those of {} have {expected}; give a run with as many",
            run.display(),
            self.data
        );
        // Its images as the run would have them, in either polarity.
        let [height, width, _] = source.config.image;
        let images = train.clone().resized(height, width);
        let same = [images.sha256(), images.inverted().sha256()].contains(&source.config.fingerprint);
        if source.config.data == self.data && !same {
            eprintln!(
                "warning: --generator {}: it was trained on other images of {} than those taken here, so its row has more of \
                 them than the others; give transfer and this command the same --shots, and --first-seed as its --seed",
                run.display(),
                self.data
            );
        }
        if source.config.data == self.data && source.config.classes > 0 {
            eprintln!(
                "warning: --generator {}: it was told the classes of all its images, so its row has more labels than the others",
                run.display()
            );
        }
        let about = json!({
            "trained_on_the_same_images": same, "told_classes": source.config.classes,
            "run": run.display().to_string(), "data": source.config.data, "sha256": source.sha256()?, "drawn": self.generated,
            "labels": "by the classifier of the labelled images alone", "least_probability": jobs::SURE,
        });
        Ok((source.sampler().with_context(named)?, source.config.image, about))
    }

    /// Writes which of the whole training set's images are labelled, so that others can take the same.
    fn write_labels(
        &self,
        out: &Path,
        whole: &Dataset,
        seed: u64,
        indices: Vec<usize>,
    ) -> anyhow::Result<()> {
        std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
        let labels: Vec<u8> = indices.iter().map(|&i| whole.label(i)).collect();
        let text = json!({
            "data": self.data, "split": "train", "images_sha256": whole.sha256(), "seed": seed, "indices": indices,
            "labels": labels,
        });
        let path = out.join(format!("labels-seed-{seed}.json"));
        std::fs::write(&path, format!("{text}\n")).with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }
}

/// `784-1000-500-250-250-250-10`.
fn network(train: &Dataset, settings: &Settings) -> String {
    let pixels = train.image_size().iter().product();
    let sizes = [pixels].into_iter().chain(settings.hidden.iter().copied());
    let sizes: Vec<String> = sizes
        .chain([train.class_counts().len()])
        .map(|n| n.to_string())
        .collect();
    sizes.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_by_name() {
        assert_eq!(term("pull-away"), Ok(Term::PullAway(1.0)));
        assert_eq!(term("conditional-entropy=0.5"), Ok(Term::ConditionalEntropy(0.5)));
        for wrong in [
            "pull",
            "pull-away=",
            "pull-away=-1",
            "pull-away=nan",
            "conditional-entropy=inf",
        ] {
            assert!(term(wrong).unwrap_err().contains("as pull-away=0.5"), "{wrong}");
        }
    }
}
