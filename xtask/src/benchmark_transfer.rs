//! `cargo xtask benchmark-transfer`: methods of transfer beside their controls, over targets, numbers of images and seeds.

use anyhow::{Context, ensure};
use engraft_data::{Dataset, DatasetName, LoadOptions, Split, load};
use engraft_gan::{Control, Which};
use engraft_metrics::{FeatureNetwork, Features};
use engraft_transfer::{Method, Phase, Recipe, Row, Source, Trained, Trial, features_of, measure, proximity};
use rand::SeedableRng;
use rand::seq::index;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Images that each method draws.
const GENERATED: usize = 1000;
/// Test images that they are compared with.
const REAL: usize = 2000;

/// Compare methods of transfer and their controls on real data.
///
/// Every cell (target, images, method, seed) is a run of its own, measured on test images of the target, and kept: the
/// same command again goes on where the last one stopped.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run directory of the source, as train-mnist leaves it
    #[arg(long, value_name = "RUN", default_value = "runs/mnist")]
    source: PathBuf,
    /// Targets
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "usps,fashion-mnist,drawn-digits"
    )]
    targets: Vec<String>,
    /// Numbers of target images
    #[arg(long, value_delimiter = ',', default_value = "10,25,100,500")]
    shots: Vec<usize>,
    /// Methods: source-as-is, from-scratch, fine-tune, auto, freeze-d, freeze-g, batch-norm
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "source-as-is,from-scratch,fine-tune,auto,freeze-d,freeze-g,batch-norm"
    )]
    methods: Vec<String>,
    /// Seeds: of the choice of images, of training, of the images drawn
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Training steps of every method
    #[arg(long, default_value_t = 1000)]
    steps: u64,
    /// The small table: usps and fashion-mnist, 10 and 100 images, controls and auto, 300 steps
    #[arg(long)]
    quick: bool,
    /// Directory of the runs and their results
    #[arg(long, value_name = "DIR", default_value = "runs/benchmark-transfer")]
    out: PathBuf,
    /// Threads; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(crate) fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    let names = |list: &[&str]| list.iter().map(|s| (*s).to_string()).collect();
    if args.quick {
        args.targets = names(&["usps", "fashion-mnist"]);
        args.shots = vec![10, 100];
        args.methods = names(&["source-as-is", "from-scratch", "fine-tune", "auto"]);
        args.steps = 300;
    }
    ensure!(
        args.source.is_dir(),
        "--source {}: there is no such run; cargo xtask train-mnist makes one",
        args.source.display()
    );
    let pool = crate::pool(args.threads)?;
    pool.install(|| table(&args))?;
    Ok(ExitCode::SUCCESS)
}

/// A target with what it is measured with.
struct Target {
    name: String,
    train: Dataset,
    network: FeatureNetwork,
    real: Features,
}

fn table(args: &Args) -> anyhow::Result<()> {
    let source = Source::open(&args.source, Which::Last)?;
    let start = Instant::now();
    let mut cells: BTreeMap<(usize, usize, usize), Vec<Row>> = BTreeMap::new();
    for (t, name) in args.targets.iter().enumerate() {
        let target = open_target(name, &source)?;
        for (n, &shots) in args.shots.iter().enumerate() {
            for (m, method) in args.methods.iter().enumerate() {
                for seed in 1..=args.seeds {
                    let directory = args
                        .out
                        .join(name)
                        .join(format!("{shots}-{method}-{}-{seed}", args.steps));
                    let row = cell(args, &source, &target, shots, method, seed, &directory)
                        .with_context(|| format!("{}", directory.display()))?;
                    eprintln!(
                        "{:>6.0} s  {name} {shots} {method} seed {seed}: KID {:.4}, coverage {:.3}, copies {:.3}",
                        start.elapsed().as_secs_f64(),
                        row.kid,
                        row.coverage,
                        row.copies
                    );
                    cells.entry((t, n, m)).or_default().push(row);
                }
            }
        }
    }
    println!(
        "| target | images | method | KID | FID | coverage | diversity | copies |\n|---|---|---|---|---|---|---|---|"
    );
    for ((t, n, m), rows) in &cells {
        let of = |value: fn(&Row) -> f64, digits: usize| mean_and_deviation(rows, value, digits);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            args.targets[*t],
            args.shots[*n],
            args.methods[*m],
            of(|r| r.kid, 3),
            of(|r| r.fid, 1),
            of(|r| r.coverage, 3),
            of(|r| r.diversity, 2),
            of(|r| r.copies, 3)
        );
    }
    println!(
        "source {} (SHA-256 {}..); {} steps; mean ± standard deviation over {} seeds; {GENERATED} generated images against \
         up to {REAL} test images of the target; features of the network trained on Fashion-MNIST for that target, on \
         MNIST for the others",
        args.source.display(),
        &source.sha256()?[..12],
        args.steps,
        args.seeds
    );
    Ok(())
}

fn mean_and_deviation(rows: &[Row], value: fn(&Row) -> f64, digits: usize) -> String {
    let n = rows.len() as f64;
    let mean = rows.iter().map(value).sum::<f64>() / n;
    let squares: f64 = rows.iter().map(|r| (value(r) - mean).powi(2)).sum();
    let deviation = (squares / (n - 1.0).max(1.0)).sqrt();
    format!("{mean:.digits$} ± {deviation:.digits$}")
}

fn open_target(name: &str, source: &Source) -> anyhow::Result<Target> {
    let known: DatasetName = name.parse()?;
    let options = LoadOptions::new().notify(|line| eprintln!("{line}"));
    let [height, width, _] = source.config.image;
    let read =
        |split| -> anyhow::Result<Dataset> { Ok(load(known, split, &options)?.resized(height, width)) };
    let network = FeatureNetwork::for_data(name);
    let test = read(Split::Test)?;
    let real = features_of(&network, &choose(&test, REAL, 0))?;
    Ok(Target {
        name: name.into(),
        train: read(Split::Train)?,
        network,
        real,
    })
}

/// `count` images by the seed, in the order of the data.
fn choose(data: &Dataset, count: usize, seed: u64) -> Dataset {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut chosen = index::sample(&mut rng, data.len(), count.min(data.len())).into_vec();
    chosen.sort_unstable();
    data.subset(&chosen)
}

/// One method with one seed: its row, from the disk if it is there.
fn cell(
    args: &Args,
    source: &Source,
    target: &Target,
    shots: usize,
    method: &str,
    seed: u64,
    directory: &Path,
) -> anyhow::Result<Row> {
    let kept = directory.join("row.json");
    if let Ok(text) = std::fs::read_to_string(&kept) {
        return serde_json::from_str(&text).with_context(|| format!("{}", kept.display()));
    }
    let train = choose(&target.train, shots, seed);
    let trial = Trial {
        source,
        target: &train,
        steps: args.steps,
        seed,
    };
    let trained_on = features_of(&target.network, &train)?;
    let method = match method {
        "source-as-is" => Method::SourceAsIs,
        "from-scratch" => Method::FromScratch,
        "auto" => {
            let drawn = trial.draw(&target.network, &source.sampler()?, GENERATED)?;
            let found = proximity(&trained_on, &drawn)?;
            Method::Recipe(Box::new(Recipe::choose(source, shots, &found, args.steps)?))
        }
        other => Method::Recipe(Box::new(fixed(source, other)?)),
    };
    let found = trial.train(&method, directory, &mut |_| Control::Continue)?;
    let (sampler, steps) = found.context("nothing stops it")?;
    let generated = trial.draw(&target.network, &sampler, GENERATED)?;
    let row = measure(method.name(), steps, [&target.real, &trained_on, &generated])?;
    std::fs::create_dir_all(directory)?;
    std::fs::write(&kept, serde_json::to_string(&row)?)?;
    // What was trained can be made again; a table of a hundred runs would fill the disk.
    for folder in ["checkpoints", "source"] {
        let folder = directory.join(folder);
        if folder.is_dir() {
            std::fs::remove_dir_all(&folder)?;
        }
    }
    debug_assert!(!target.name.is_empty());
    Ok(row)
}

/// A recipe of one part only, by its name.
fn fixed(source: &Source, name: &str) -> anyhow::Result<Recipe> {
    let mut recipe = Recipe::fine_tune(source)?;
    recipe.name = name.into();
    let (generator, discriminator, _) = source.networks()?;
    let first = |network: &engraft_layers::Sequential| -> Vec<String> {
        let layers = engraft_layers::Module::layers(network);
        layers.iter().take(1).map(|(layer, _)| layer.clone()).collect()
    };
    let phase = match name {
        "fine-tune" => Phase::default(),
        "freeze-d" => Phase {
            discriminator: Trained::Except(first(&discriminator)),
            ..Phase::default()
        },
        "freeze-g" => Phase {
            generator: Trained::Except(first(&generator)),
            ..Phase::default()
        },
        "batch-norm" => Phase {
            generator: Trained::BatchNorm,
            ..Phase::default()
        },
        _ => anyhow::bail!("--methods {name}: there is no such method"),
    };
    recipe.plan.phases = vec![phase];
    Ok(recipe)
}
