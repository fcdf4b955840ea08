//! `cargo xtask benchmark-transfer`: transfer methods and baselines over sources, targets, numbers of images and seeds.

mod classifier_score;
mod methods;
mod table;

use anyhow::{Context, ensure};
use engraft::cli::{Interrupted, Ranks, Seeds, catch_interrupts, stop_or_continue};
use engraft_data::{Channels, DataOptions, DataSource, Dataset, DatasetName, LoadOptions, Split, load};
use engraft_gan::{CheckpointChoice, TrainConfig};
use engraft_metrics::{FeatureExtractor, Features, SeedSummary, features};
use engraft_transfer::{
    Experiment, ExperimentResult, FeatureSets, LabeledImages, PretrainedGan, Recipe, TransferMethod,
    dataset_features, domain_distance, evaluate, from_scratch_config, open_source,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// File of a cached result.
const ROW: &str = "row.json";
/// Images that each method generates.
const GENERATED: usize = 1000;
/// Test images of the target for evaluation.
const REAL: usize = 2000;

/// Compare transfer methods and baselines on real data.
///
/// Every combination of source, target, number of images, method and seed is a run, evaluated on test images of the target.
/// Results are cached: the same command resumes an interrupted one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run directories of the sources
    #[arg(
        long,
        alias = "source",
        value_name = "RUN,..",
        value_delimiter = ',',
        default_value = "runs/mnist"
    )]
    from: Vec<PathBuf>,
    /// Targets: names of data sets such as usps, or folders and ZIP files of pictures
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "usps,fashion-mnist,drawn-digits"
    )]
    targets: Vec<String>,
    /// Numbers of training images of the target
    #[arg(
        long,
        alias = "shots",
        value_name = "N,..",
        value_delimiter = ',',
        default_value = "10,25,100,500"
    )]
    train_images: Vec<usize>,
    /// Methods: untuned-source, from-scratch, fine-tune, auto, double-rate, discriminator-warmup, translation, freeze-d,
    /// patch-discriminator, freeze-g, batch-norm, low-rank, singular-values, modulation, output-scale, miner, gradual-unfreezing,
    /// l2-sp, ewc, cdc, dcl; the last four also joined, such as ewc+dcl
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "untuned-source,from-scratch,fine-tune,auto,freeze-d,freeze-g,batch-norm"
    )]
    methods: Vec<String>,
    /// Seeds of the choice of images, of training and of the generated images: a number N (seeds 1 to N), a range such as 3-7,
    /// or a list such as 2,5,9
    #[arg(long, value_name = "SEEDS", default_value = "3")]
    seeds: Seeds,
    /// First seed, if --seeds is a number
    #[arg(long, value_name = "SEED", hide = true)]
    first_seed: Option<u64>,
    /// Feature extractor [default: that of engraft transfer for each target]
    #[arg(long, value_name = "NAME", value_parser = features::NAMES)]
    features: Option<String>,
    /// Weights file of the feature extractor
    #[arg(long, value_name = "FILE.safetensors", requires = "features")]
    weights: Option<PathBuf>,
    /// Training steps of every method
    #[arg(long, default_value_t = 1000)]
    steps: u64,
    /// Small table: usps and fashion-mnist, 10 and 100 images, baselines and auto, 300 steps
    #[arg(long, conflicts_with_all = ["targets", "train_images", "methods", "steps"])]
    quick: bool,
    /// Directory of the runs and results
    #[arg(long, value_name = "DIR", default_value = "runs/benchmark-transfer")]
    out: PathBuf,
    /// Number of threads; results do not depend on it [default: number of cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Runs the command, on the ranks of a distributed run if there are any: each of them calls this.
pub(crate) fn run(mut args: Args, ranks: Option<&Ranks>) -> anyhow::Result<()> {
    let names = |list: &[&str]| list.iter().map(|s| (*s).to_string()).collect();
    if args.quick {
        args.targets = names(&["usps", "fashion-mnist"]);
        args.train_images = vec![10, 100];
        args.methods = names(&["untuned-source", "from-scratch", "fine-tune", "auto"]);
        args.steps = 300;
    }
    for source in &args.from {
        ensure!(
            source.is_dir(),
            "--from {}: this run does not exist; create one with engraft train",
            source.display()
        );
    }
    for method in &mut args.methods {
        *method = methods::name_of_today(method).into();
    }
    methods::check(&args.methods)?;
    args.seeds = Seeds::from(args.seeds.starting_at(args.first_seed)?);
    let pool = engraft::cli::pool(args.threads.or(ranks.map(|ranks| ranks.threads)))?;
    catch_interrupts("finishing this step, then saving")?;
    let found = pool.install(|| fill(&args, ranks))?;
    if ranks.is_none_or(Ranks::is_first) {
        for line in table::lines(&args, &found) {
            out!("{line}");
        }
    }
    Ok(())
}

/// A target and what its evaluation needs.
struct Target {
    name: String,
    train: Dataset,
    network: Arc<dyn FeatureExtractor>,
    real: Features,
    /// Other features that confirm the comparison, for color images, and those of the real images.
    second: Option<(Arc<dyn FeatureExtractor>, Features)>,
    /// All test images.
    test: LabeledImages,
    /// Classes of its images.
    classes: Vec<usize>,
}

impl Target {
    /// The features that measure it.
    fn about(&self, name: &str) -> String {
        let of = |network: &dyn FeatureExtractor| format!("{} ({})", network.name(), network.about());
        let second = self.second.as_ref();
        let second = second.map(|(second, _)| format!(", second features {}", of(&**second)));
        format!(
            "{name}: features {}{}",
            of(&*self.network),
            second.unwrap_or_default()
        )
    }
}

/// Result of a method with one seed, as it is cached.
#[derive(Serialize, Deserialize)]
struct Cell {
    /// The settings that decided it.
    settings: Value,
    #[serde(flatten)]
    row: ExperimentResult,
    /// The same measures with second features, for color images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    second: Option<ExperimentResult>,
    /// Classification accuracy score: test accuracy of a classifier trained on generated images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classifier_accuracy: Option<f64>,
}

/// All cells by source, target, number of images and method, each with its seeds, and what the table says beside them.
#[derive(Default)]
struct Found {
    cells: BTreeMap<[usize; 4], Vec<Cell>>,
    /// Data and SHA-256 of each source.
    sources: Vec<(String, String)>,
    /// Classifier scores of the real images.
    baseline_scores: Vec<String>,
    /// Features for each target.
    measured: Vec<String>,
}

/// Trains and evaluates what has no result yet.
fn fill(args: &Args, ranks: Option<&Ranks>) -> anyhow::Result<Found> {
    let start = Instant::now();
    let mut found = Found::default();
    for (s, path) in args.from.iter().enumerate() {
        let source = open_source(path, CheckpointChoice::Last)
            .with_context(|| format!("--from {}", path.display()))?;
        let label = label(&source)?;
        for (t, name) in args.targets.iter().enumerate() {
            let target = open_target(args, name, &source)?;
            found.measured.push(target.about(name));
            if source.config.classes > 0 {
                for &images in &args.train_images {
                    let line = classifier_score::by_images(args, &target, images)?;
                    if !found.baseline_scores.contains(&line) {
                        found.baseline_scores.push(line);
                    }
                }
            }
            let mut jobs = Vec::new();
            for n in 0..args.train_images.len() {
                for m in 0..args.methods.len() {
                    jobs.extend(args.seeds.iter().map(|seed| (n, m, seed)));
                }
            }
            let directory = |&(n, m, seed): &(usize, usize, u64)| {
                let method = methods::stored_name(&args.methods[m]);
                let name = format!("{}-{method}-{}-{seed}", args.train_images[n], args.steps);
                args.out.join(&label).join(&target.name).join(name)
            };
            let run = |job: &(usize, usize, u64)| -> anyhow::Result<Cell> {
                let (&(n, m, seed), directory) = (job, directory(job));
                let (images, method) = (args.train_images[n], &args.methods[m]);
                let found = cell(args, &source, &target, images, method, seed, &directory)
                    .with_context(|| format!("{}", directory.display()))?;
                note!(
                    "{:>6.0} s  {label} to {name} {images} {method} seed {seed}: KID {:.4}, coverage {:.3}, copies {:.3}",
                    start.elapsed().as_secs_f64(),
                    found.row.kid,
                    found.row.coverage,
                    found.row.copies
                );
                Ok(found)
            };
            let cells: Vec<Cell> = match ranks {
                None => jobs.iter().map(run).collect::<anyhow::Result<_>>()?,
                Some(ranks) => {
                    ranks.ensure_same(&json!([label, target.train.sha256()]), Some(&args.out))?;
                    let done: Vec<bool> = jobs.iter().map(|job| directory(job).join(ROW).exists()).collect();
                    let mine = ranks.share(&done);
                    let own = mine.iter().map(|&at| run(&jobs[at])).collect();
                    ranks.collect(jobs.len(), &mine, own)?
                }
            };
            for ((n, m, _), cell) in jobs.into_iter().zip(cells) {
                found.cells.entry([s, t, n, m]).or_default().push(cell);
            }
        }
        found.sources.push((source.config.data.clone(), source.sha256()?));
    }
    found.measured.dedup();
    Ok(found)
}

/// Mean and standard deviation, if there are no missing values.
fn spread(figures: impl Iterator<Item = Option<f64>>, digits: usize) -> String {
    let figures: Option<Vec<f64>> = figures.collect();
    let spread = figures.and_then(|figures| SeedSummary::of(&figures));
    spread.map_or_else(String::new, |spread| format!("{spread:.digits$}"))
}

/// Name of the directory of a source's results: its data and the beginning of its hash.
fn label(source: &PretrainedGan) -> anyhow::Result<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let data: String = source.config.data.chars().map(plain).collect();
    Ok(format!("{data}-{}", &source.sha256()?[..8]))
}

fn open_target(args: &Args, name: &str, source: &PretrainedGan) -> anyhow::Result<Target> {
    let load_options = LoadOptions::new().notify(|line| note!("{line}"));
    let image @ [height, width, channels] = source.config.image;
    let [train, test] = match name.parse::<DatasetName>() {
        Ok(known) => {
            let read = |split| -> anyhow::Result<Dataset> {
                Ok(load(known, split, &load_options)?.resized(height, width))
            };
            [read(Split::Train)?, read(Split::Test)?]
        }
        Err(_) => {
            let mut options = DataOptions::new();
            (options.size, options.held_out, options.load) = (Some([height, width]), true, load_options);
            options.channels = if channels == 1 {
                Channels::Gray
            } else {
                Channels::Rgb
            };
            let loaded = DataSource::parse(name)?.open(&options)?;
            let test = loaded
                .test
                .with_context(|| format!("{name}: there are no held-out pictures"))?;
            [loaded.train, test]
        }
    };
    let plain_name = train.name().to_string();
    let network = match &args.features {
        Some(features) => features::open(features, args.weights.as_deref(), [height, width])?,
        None => features::for_images(name, image),
    };
    let some_real = choose(&test, REAL, 0);
    let second = features::second(network.name()).filter(|_| channels == 3);
    let second = second.map(|second| -> anyhow::Result<_> {
        let second = features::find(second, [height, width])?;
        let real = dataset_features(&*second, &some_real)?;
        Ok((second, real))
    });
    let real = dataset_features(&*network, &some_real)?;
    Ok(Target {
        second: second.transpose()?,
        name: plain_name,
        test: LabeledImages::from_dataset(&test, &(0..test.len()).collect::<Vec<_>>()),
        classes: (test.class_counts().iter().enumerate())
            .filter(|(_, count)| **count > 0)
            .map(|(class, _)| class)
            .collect(),
        train,
        network,
        real,
    })
}

/// A random subset of `count` images, in the order of the data.
fn choose(data: &Dataset, count: usize, seed: u64) -> Dataset {
    data.subset(&engraft_base::choose(data.len(), count, seed))
}

/// Result of one method with one seed, from the cache if it is there.
fn cell(
    args: &Args,
    source: &PretrainedGan,
    target: &Target,
    images: usize,
    method: &str,
    seed: u64,
    directory: &Path,
) -> anyhow::Result<Cell> {
    let train = choose(&target.train, images, seed);
    let experiment = Experiment {
        source,
        target: &train,
        steps: args.steps,
        seed,
    };
    let trained_on = dataset_features(&*target.network, &train)?;
    let method = match method {
        "untuned-source" => TransferMethod::Untuned,
        "from-scratch" => TransferMethod::FromScratch,
        "auto" => {
            let drawn = experiment.generate_features(&*target.network, &source.sampler()?, GENERATED)?;
            let found = domain_distance(&trained_on, &drawn)?;
            TransferMethod::Recipe(Box::new(Recipe::recommended(source, images, &found, args.steps)?))
        }
        other => TransferMethod::Recipe(Box::new(methods::fixed(source, other, args.steps)?)),
    };
    let run = match &method {
        TransferMethod::Untuned => {
            json!({ "source": source.sha256()?, "seed": seed, "images": train.sha256() })
        }
        TransferMethod::FromScratch => from_scratch_config(source, &train, args.steps, seed)
            .to_toml()
            .into(),
        TransferMethod::Recipe(recipe) => recipe
            .train_config(source, &train, args.steps, seed)
            .to_toml()
            .into(),
    };
    let settings = json!({
        "run": run, "generated": GENERATED, "real": REAL, "features": target.network.hash(),
        // The key of an earlier version, whose results are recognized.
        "taught": [classifier_score::IMAGES, classifier_score::EPOCHS],
    });
    let kept = directory.join(ROW);
    if let Ok(text) = std::fs::read_to_string(&kept) {
        let found: Option<Cell> = serde_json::from_str(&text).ok();
        return found
            .filter(|cell| with_names_of_today(cell.settings.clone()) == settings)
            .context("the results there are those of other settings; delete the directory, or choose another --out");
    }
    let found = experiment.train(&method, directory, &mut |_| stop_or_continue())?;
    let (sampler, steps) = found.ok_or(Interrupted)?;
    let generated = experiment.generate_features(&*target.network, &sampler, GENERATED)?;
    let measure = |real: &Features, training: &Features, generated: &Features| {
        let sets = FeatureSets {
            real,
            training,
            generated,
        };
        evaluate(method.name(), steps, sets)
    };
    let row = measure(&target.real, &trained_on, &generated)?;
    let second = target.second.as_ref().map(|(second, real)| -> anyhow::Result<_> {
        let training = dataset_features(&**second, &train)?;
        let generated = experiment.generate_features(&**second, &sampler, GENERATED)?;
        Ok(measure(real, &training, &generated)?)
    });
    let found = Cell {
        settings,
        row,
        second: second.transpose()?,
        classifier_accuracy: classifier_score::by_generated(target, &sampler, seed)?,
    };
    std::fs::create_dir_all(directory)?;
    engraft_base::write_atomically(&kept, serde_json::to_string(&found)?.as_bytes())?;
    // Checkpoints can be trained again; those of a hundred runs would fill the disk.
    for folder in ["checkpoints", "source"] {
        let folder = directory.join(folder);
        if folder.is_dir() {
            std::fs::remove_dir_all(&folder)?;
        }
    }
    Ok(found)
}

/// The settings of a result whose `run.toml` may be that of an earlier version.
fn with_names_of_today(mut settings: Value) -> Value {
    if let Some(Ok(run)) = settings["run"]
        .as_str()
        .map(|text| TrainConfig::from_toml(text, Path::new("row.json")))
    {
        settings["run"] = run.to_toml().into();
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_an_earlier_version_are_recognized() {
        let data = engraft_data::drawn_digits(Split::Test, 20, 1);
        let config = TrainConfig::standard(&data);
        let text = config.to_toml();
        let earlier = text
            .replace("ema_half_life", "average_half_life")
            .replace("[evaluation]", "[watch]");
        assert_ne!(earlier, text);
        let settings = |run: &str| json!({ "run": run, "real": REAL });
        assert_eq!(with_names_of_today(settings(&earlier)), settings(&text));
        let untuned = json!({ "run": { "source": "a" }, "real": REAL });
        assert_eq!(with_names_of_today(untuned.clone()), untuned);
    }
}
