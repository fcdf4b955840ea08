//! `cargo xtask benchmark-transfer`: transfer methods and baselines over sources, targets, numbers of images and seeds.

mod classifier_score;
mod methods;

use anyhow::{Context, ensure};
use engraft::cli::{Interrupted, Seeds, catch_interrupts, stop_or_continue};
use engraft_data::{Channels, DataOptions, DataSource, Dataset, DatasetName, LoadOptions, Split, load};
use engraft_gan::{CheckpointChoice, TrainConfig};
use engraft_metrics::{FeatureExtractor, Features, SeedSummary, features, kernel_distance};
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

/// Smallest KID that is used as a denominator.
const TINY: f64 = 1e-3;
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
    /// patch-discriminator, freeze-g, batch-norm, low-rank, singular-values, modulation, output-scale, miner, gradual-unfreezing
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

pub(crate) fn run(mut args: Args) -> anyhow::Result<()> {
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
    let pool = engraft::cli::pool(args.threads)?;
    catch_interrupts("finishing this step, then saving")?;
    pool.install(|| table(&args))?;
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

/// Result of a method with one seed, as it is cached.
#[derive(Serialize, Deserialize)]
struct Cell {
    /// The settings that decided it.
    settings: Value,
    #[serde(flatten)]
    row: ExperimentResult,
    /// KID with second features, for color images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    second_kid: Option<f64>,
    /// Classification accuracy score: test accuracy of a classifier trained on generated images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classifier_accuracy: Option<f64>,
}

fn table(args: &Args) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut cells: BTreeMap<[usize; 4], Vec<Cell>> = BTreeMap::new();
    let mut sources = Vec::new();
    let mut baseline_scores = Vec::new();
    let mut measured = Vec::new();
    for (s, path) in args.from.iter().enumerate() {
        let source = open_source(path, CheckpointChoice::Last)
            .with_context(|| format!("--from {}", path.display()))?;
        let label = label(&source)?;
        for (t, name) in args.targets.iter().enumerate() {
            let target = open_target(args, name, &source)?;
            let about = |network: &dyn FeatureExtractor| format!("{} ({})", network.name(), network.about());
            let second = target
                .second
                .as_ref()
                .map(|(second, _)| format!(", second features {}", about(&**second)));
            measured.push(format!(
                "{name}: features {}{}",
                about(&*target.network),
                second.unwrap_or_default()
            ));
            for (n, &images) in args.train_images.iter().enumerate() {
                if source.config.classes > 0 {
                    let line = classifier_score::by_images(args, &target, images)?;
                    if !baseline_scores.contains(&line) {
                        baseline_scores.push(line);
                    }
                }
                for (m, method) in args.methods.iter().enumerate() {
                    for seed in args.seeds.iter() {
                        let directory = args.out.join(&label).join(&target.name).join(format!(
                            "{images}-{}-{}-{seed}",
                            methods::stored_name(method),
                            args.steps
                        ));
                        let found = cell(args, &source, &target, images, method, seed, &directory)
                            .with_context(|| format!("{}", directory.display()))?;
                        eprintln!(
                            "{:>6.0} s  {label} to {name} {images} {method} seed {seed}: KID {:.4}, coverage {:.3}, copies \
                             {:.3}",
                            start.elapsed().as_secs_f64(),
                            found.row.kid,
                            found.row.coverage,
                            found.row.copies
                        );
                        cells.entry([s, t, n, m]).or_default().push(found);
                    }
                }
            }
        }
        sources.push((source.config.data.clone(), source.sha256()?));
    }
    println!(
        "| source | target | images | method | KID | KID, second features | FID | coverage | diversity | copies | CAS, % |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (&[s, t, n, m], rows) in &cells {
        let of = |value: fn(&ExperimentResult) -> f64, digits: usize| {
            spread(rows.iter().map(|cell| Some(value(&cell.row))), digits)
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            sources[s].0,
            args.targets[t],
            args.train_images[n],
            args.methods[m],
            of(|r| r.kid, 3),
            spread(rows.iter().map(|cell| cell.second_kid), 3),
            of(|r| r.fid, 1),
            of(|r| r.coverage, 3),
            of(|r| r.diversity, 2),
            of(|r| r.copies, 3),
            spread(rows.iter().map(|cell| Some(100.0 * cell.classifier_accuracy?)), 1)
        );
    }
    for line in &baseline_scores {
        println!("{line}");
    }
    for line in against_auto(args, &sources, &cells) {
        println!("{line}");
    }
    for ((data, hash), path) in sources.iter().zip(&args.from) {
        println!("source {data}: {} (SHA-256 {}..)", path.display(), &hash[..12]);
    }
    println!(
        "{} steps; mean ± standard deviation over the seeds {}; {GENERATED} generated images against up to {REAL} \
         test images of the target",
        args.steps, args.seeds
    );
    measured.dedup();
    for line in &measured {
        println!("{line}");
    }
    if !baseline_scores.is_empty() {
        println!(
            "CAS (classification accuracy score): accuracy on all test images of the target of a classifier trained on {} generated \
             images for {} epochs",
            classifier_score::IMAGES,
            classifier_score::EPOCHS
        );
    }
    Ok(())
}

/// Mean and standard deviation, if there are no missing values.
fn spread(figures: impl Iterator<Item = Option<f64>>, digits: usize) -> String {
    let figures: Option<Vec<f64>> = figures.collect();
    let spread = figures.and_then(|figures| SeedSummary::of(&figures));
    spread.map_or_else(String::new, |spread| format!("{spread:.digits$}"))
}

/// KID of each other method by that of `auto`, seed by seed: of few seeds a spread says less than whether all agree.
fn against_auto(
    args: &Args,
    sources: &[(String, String)],
    cells: &BTreeMap<[usize; 4], Vec<Cell>>,
) -> Vec<String> {
    let Some(auto) = args.methods.iter().position(|method| method == "auto") else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for (&[s, t, n, m], rows) in cells.iter().filter(|(at, _)| at[3] != auto) {
        let ratios = rows.iter().zip(&cells[&[s, t, n, auto]]);
        let ratios: Vec<String> = ratios
            .map(|(other, own)| times(other.row.kid, own.row.kid))
            .collect();
        lines.push(format!(
            "{} to {}, {} images: KID of {} divided by that of auto: {}",
            sources[s].0,
            args.targets[t],
            args.train_images[n],
            args.methods[m],
            ratios.join(", ")
        ));
    }
    lines
}

/// `a / b` of two KIDs. Unbiased estimates near 0 may be negative, so a small denominator gives no ratio.
fn times(a: f64, b: f64) -> String {
    if b > TINY {
        format!("{:.2}", a / b)
    } else {
        "-".into()
    }
}

/// Name of the directory of a source's results: its data and the beginning of its hash.
fn label(source: &PretrainedGan) -> anyhow::Result<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let data: String = source.config.data.chars().map(plain).collect();
    Ok(format!("{data}-{}", &source.sha256()?[..8]))
}

fn open_target(args: &Args, name: &str, source: &PretrainedGan) -> anyhow::Result<Target> {
    let load_options = LoadOptions::new().notify(|line| eprintln!("{line}"));
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
    let kept = directory.join("row.json");
    if let Ok(text) = std::fs::read_to_string(&kept) {
        let found: Option<Cell> = serde_json::from_str(&text).ok();
        return found
            .filter(|cell| with_names_of_today(cell.settings.clone()) == settings)
            .context("the results there are those of other settings; delete the directory, or choose another --out");
    }
    let found = experiment.train(&method, directory, &mut |_| stop_or_continue())?;
    let (sampler, steps) = found.ok_or(Interrupted)?;
    let generated = experiment.generate_features(&*target.network, &sampler, GENERATED)?;
    let features = FeatureSets {
        real: &target.real,
        training: &trained_on,
        generated: &generated,
    };
    let row = evaluate(method.name(), steps, features)?;
    let second_kid = match &target.second {
        Some((second, real)) => {
            let generated = experiment.generate_features(&**second, &sampler, GENERATED)?;
            Some(kernel_distance(real, &generated)?.value)
        }
        None => None,
    };
    let found = Cell {
        settings,
        row,
        second_kid,
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

    #[test]
    fn distances_near_zero_give_no_ratio() {
        assert_eq!(times(0.3, 0.2), "1.50");
        assert_eq!(times(0.3, -0.001), "-");
        assert_eq!(times(0.3, 0.0), "-");
    }
}
