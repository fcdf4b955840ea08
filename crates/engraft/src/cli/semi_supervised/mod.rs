//! `engraft semi-supervised`: classifiers from few labels, with and without unlabeled images.

mod jobs;
mod labels;
mod probabilities;
mod report;
mod resume;

use super::data_source::{self, ensure_labels, load_options};
use super::extract::open_run;
use super::options::{Budget, LabelChoice, SemiSupervised};
use super::output_dir::ensure_usable;
use super::process::{Interrupted, catch_interrupts};
use super::progress::bar;
use super::ranks::Ranks;
use super::result_cache;
use anyhow::{Context, ensure};
use engraft_base::{choose, write_atomically};
use engraft_data::{DataOptions, Dataset};
use engraft_gan::{CheckpointChoice, PictureConfig, Sampler};
use engraft_transfer::open_source;
use engraft_transfer::semi_supervised::SemiSupervisedConfig;
use jobs::{Kind, Task};
use labels::Labels;
use report::Report;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Runs the command.
///
/// # Errors
/// If the data is missing or has no labels, the labels cannot be divided among the classes, the generator cannot be used,
/// or training fails.
pub(super) fn run(options: &SemiSupervised) -> anyhow::Result<()> {
    run_on(options, None)
}

/// [`run`] on the ranks of a distributed run, among which the trainings are divided. Each of them calls this.
pub(super) fn run_on(options: &SemiSupervised, ranks: Option<&Ranks>) -> anyhow::Result<()> {
    ensure_usable(options.out.as_deref())?;
    let [whole, mut test] = images_of(options)?;
    let seeds = options.seeds.starting_at(options.first_seed)?;
    let taken = choose(whole.len(), options.train_images.unwrap_or(usize::MAX), seeds[0]);
    let mut train = whole.subset(&taken);
    let missing: Vec<usize> = (whole.class_counts().iter().enumerate())
        .filter(|&(class, &count)| count > 0 && train.class_counts().get(class).is_none_or(|&n| n == 0))
        .map(|(class, _)| class)
        .collect();
    ensure!(
        missing.is_empty(),
        "--train-images {}: the subset has no image of the classes {missing:?} of {}; use more images, or another first seed in \
         --seeds",
        taken.len(),
        options.data
    );
    let generator = match &options.from {
        Some(run) => Some(open_generator(options, run, &train)?),
        None => None,
    };
    if let Some((_, [height, width, _], _)) = generator {
        [train, test] = [train, test].map(|data| data.resized(height, width));
    }
    ensure_shift(options, &train)?;
    let labels = Labels::choose(options, &train, &seeds)?;
    let chosen = labels.of_each_seed(seeds.len());
    let mut settings = SemiSupervisedConfig::new(1, 1);
    settings.batch = options.batch.unwrap_or(settings.batch).min(train.len());
    settings.learning_rate = options.learning_rate.unwrap_or(settings.learning_rate);
    settings.shift = options.shift;
    settings.extra_losses = options.extra_losses.iter().copied().collect();
    let pass = |data: &Dataset| (data.len() / settings.batch) as u64;
    settings.steps = match options.epochs {
        Some(epochs) => epochs * pass(&train),
        None => options.budget.epochs() * pass(&whole),
    };
    let epochs = settings.steps / pass(&train);
    let out = options.out.clone().unwrap_or_else(|| default_directory(options));
    let mut protocol = json!({
        "data": options.data, "train_sha256": result_cache::fingerprint(&train)?, "test_sha256": result_cache::fingerprint(&test)?,
        "labels": options.labels, "classes": train.class_counts().len(), "unlabelled": train.len(), "test": test.len(),
        "seeds": seeds, "shots": options.train_images.map(|images| json!({ "images": images, "seed": seeds[0] })),
        "network": network(&train, &settings),
        "budget": match options.epochs { Some(_) => "given", None => options.budget.name() },
        "epochs": epochs, "steps": settings.steps, "batch": settings.batch,
        "learning_rate": settings.learning_rate, "terms": settings.extra_losses,
        "generator": generator.as_ref().map(|(_, _, about)| about),
        "weights": "averaged, at the end of the budget", "selected_on_test": "nothing",
    });
    labels.describe(&mut protocol);
    if settings.shift > 0 {
        protocol["shift"] = json!(settings.shift);
    }
    let task = Task {
        train: &train,
        test: &test,
        chosen: &chosen,
        seeds: &seeds,
        settings: &settings,
        out: &out,
        protocol: &protocol,
        generator: generator
            .as_ref()
            .map(|(sampler, ..)| (sampler, options.generated)),
        shares_labels: options.label_seed.is_some(),
    };
    let kinds = [Kind::FeatureMatching, Kind::AllLabels, Kind::LabelsOnly];
    if let Some(ranks) = ranks {
        ranks.ensure_same(&protocol, Some(&out))?;
    }
    task.ensure_free(&kinds)?;
    let is_first = ranks.is_none_or(Ranks::is_first);
    if is_first {
        labels.write(&options.data, &out, &whole, &taken)?;
    }
    let trainings = kinds.len() + usize::from(generator.is_some());
    let steps = settings.steps as usize * seeds.len() * trainings;
    let bar = bar("training steps", steps)?;
    catch_interrupts("finishing this step, then saving")?;
    let found = task.run(&kinds, ranks, options.threads, &bar);
    bar.finish_and_clear();
    let found = found.inspect_err(|error| {
        if error.is::<Interrupted>() {
            note!("stopped, saved in {}; the same command resumes", out.display());
        }
    })?;
    let report = Report {
        rows: found,
        test: test.len(),
        out: out.clone(),
        protocol,
        per_class: labels.per_class(&train),
    };
    let json = report.json();
    if is_first {
        write_atomically(&out.join("result.json"), format!("{json}\n").as_bytes())?;
    }
    out!("{report}");
    if options.json {
        out!("{json}");
    }
    Ok(())
}

/// `runs/semi-supervised-DATA-LABELS`, with a part for each setting of the labels, the images and the training.
fn default_directory(options: &SemiSupervised) -> PathBuf {
    let mut name = format!("semi-supervised-{}-{}", options.data, options.labels);
    let mut add = |part: String| name += &part;
    if let Some(images) = options.train_images {
        add(format!("-of-{images}"));
    }
    if options.label_choice != LabelChoice::Random {
        add(format!("-{}", options.label_choice.name()));
    }
    if let Some(seed) = options.label_seed {
        add(format!("-label-seed-{seed}"));
    }
    if options.shift > 0 {
        add(format!("-shift-{}", options.shift));
    }
    if let Some(batch) = options.batch {
        add(format!("-batch-{batch}"));
    }
    if let Some(rate) = options.learning_rate {
        add(format!("-rate-{rate}"));
    }
    match (options.epochs, options.budget) {
        (Some(epochs), _) => add(format!("-{epochs}-epochs")),
        (None, Budget::Fast) => {}
        (None, Budget::Paper) => add("-paper".into()),
    }
    Path::new("runs").join(name)
}

/// Refuses shifts as large as the images.
fn ensure_shift(options: &SemiSupervised, train: &Dataset) -> anyhow::Result<()> {
    let [height, width, _] = train.image_size();
    ensure!(
        options.shift < height.min(width),
        "--shift {}: the images of {} have {height}x{width} pixels; expected fewer than {}",
        options.shift,
        options.data,
        height.min(width)
    );
    Ok(())
}

/// Training and test images.
fn images_of(options: &SemiSupervised) -> anyhow::Result<[Dataset; 2]> {
    let mut from = DataOptions::new();
    from.load = load_options();
    from.held_out = true;
    options.pictures.apply(PictureConfig::default(), &mut from);
    let loaded = data_source::open("data", &options.data, &from)?;
    ensure_labels(
        "data",
        &options.data,
        &loaded.train,
        "which are needed to count errors",
    )?;
    let test = loaded.test.with_context(|| {
        format!(
            "--data {}: there are no test images; expected at least 100 images or a test set",
            options.data
        )
    })?;
    Ok([loaded.train, test])
}

/// The generator of a run, the size of its images, and its description for the protocol.
fn open_generator(
    options: &SemiSupervised,
    run: &Path,
    train: &Dataset,
) -> anyhow::Result<(Sampler, [usize; 3], serde_json::Value)> {
    let named = || format!("--from {}", run.display());
    if !run.join("generator.safetensors").is_file() {
        // Reports damaged checkpoints.
        open_run(run, CheckpointChoice::Last).with_context(named)?;
    }
    let source = open_source(run, CheckpointChoice::Last).with_context(named)?;
    let [expected, found] = [train.channels(), source.config.image[2]];
    ensure!(
        expected == found,
        "--from {}: its images have {found} channel(s), but those of {} have {expected}; use a run with the same number",
        run.display(),
        options.data
    );
    // The training images at the size of the run, in either polarity.
    let [height, width, _] = source.config.image;
    let images = train.clone().resized(height, width);
    let same = [images.sha256(), images.inverted().sha256()].contains(&source.config.fingerprint);
    if source.config.data == options.data && !same {
        note!(
            "warning: --from {}: the run was trained on other images of {} than those used here, so its row uses more images than \
             the others; use the same --train-images for transfer and this command, and the first of --seeds as transfer's --seed",
            run.display(),
            options.data
        );
    }
    if source.config.data == options.data && source.config.classes > 0 {
        note!(
            "warning: --from {}: the run is class-conditional and used all labels, so its row uses more labels than the others",
            run.display()
        );
    }
    let about = json!({
        "trained_on_the_same_images": same, "told_classes": source.config.classes,
        "run": run.display().to_string(), "data": source.config.data, "sha256": source.sha256()?, "drawn": options.generated,
        "labels": "by the classifier of the labeled images alone", "least_probability": jobs::CONFIDENT,
    });
    let sampler = source.sampler().with_context(named)?;
    Ok((sampler.checked().with_context(named)?, source.config.image, about))
}

/// `784-1000-500-250-250-250-10`.
fn network(train: &Dataset, settings: &SemiSupervisedConfig) -> String {
    let pixels = train.image_size().iter().product();
    let sizes = [pixels].into_iter().chain(settings.hidden.iter().copied());
    let sizes: Vec<String> = sizes
        .chain([train.class_counts().len()])
        .map(|n| n.to_string())
        .collect();
    sizes.join("-")
}
