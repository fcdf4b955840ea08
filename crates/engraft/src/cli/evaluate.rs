//! `engraft evaluate`: metrics of generated images.

use super::classifier::classifier_accuracy;
use super::data_source::{FEWEST_HELD_OUT, changed_files, of_shape, some, with_held_out_or_few};
use super::extract::{Reader, open_run};
use super::options::Evaluate;
use super::readability::Readers;
use super::samples::Samples;
use super::stacked;
use anyhow::{Context, ensure};
use engraft_data::{Dataset, DatasetName, Split, TrainingData};
use engraft_gan::{PictureConfig, SavedRun, training_image_hashes};
use engraft_metrics::{
    ClassCounts, EvaluationInput, EvaluationProtocol, FeatureOutput, RealDataInfo, evaluate, evaluate_few,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::path::Path;

/// Real images below which the numbers say little.
const FEW_REAL: usize = 100;

/// The images to evaluate.
enum Generated {
    ByRun(Box<SavedRun>),
    Samples(Samples),
}

impl Generated {
    fn open(options: &Evaluate) -> anyhow::Result<Self> {
        match (&options.from, &options.samples) {
            (Some(run), _) => Ok(Self::ByRun(Box::new(open_run(run, options.checkpoint)?))),
            (None, Some(path)) => Ok(Self::Samples(Samples::open(
                path,
                &options.pictures,
                options.count,
                options.seed,
            )?)),
            (None, None) => unreachable!("clap requires one of them"),
        }
    }

    fn image(&self) -> [usize; 3] {
        match self {
            Self::ByRun(run) => run.config.image,
            Self::Samples(samples) => samples.image(),
        }
    }

    /// How the pictures of the run were read.
    fn pictures(&self) -> PictureConfig {
        match self {
            Self::ByRun(run) => run.config.pictures,
            Self::Samples(_) => PictureConfig::default(),
        }
    }

    /// Features of the images, and with `readers` the share of images that are readable. A run generates each image once, for both.
    fn read(
        &self,
        reader: &Reader,
        readers: Option<&Readers>,
        options: &Evaluate,
    ) -> anyhow::Result<(FeatureOutput, Option<f64>)> {
        match self {
            Self::ByRun(run) => {
                let mut rng = Pcg64::seed_from_u64(options.seed);
                let mut tally = readers.map(Readers::tally);
                let what = format!("generated (step {})", run.step);
                let found = reader.read(&what, options.count, |start, end| {
                    let images = run.sampler.try_generate(end - start, &mut rng)?;
                    if let Some(tally) = &mut tally {
                        tally.add(&images);
                    }
                    Ok(images)
                });
                let found = match &options.from {
                    Some(from) => found.with_context(|| format!("--from {}", from.display())),
                    None => found,
                };
                Ok((found?, tally.map(|tally| tally.share())))
            }
            Self::Samples(samples) => {
                let images = |start, end| Ok(samples.images(start, end));
                let readable = readers.map(|readers| readers.share(samples.len(), images));
                Ok((samples.read(reader)?, readable.transpose()?))
            }
        }
    }
}

/// How many of the images a run used for training or validation, if it has a record of them.
fn trained_on(run: &Path, images: &Dataset) -> anyhow::Result<Option<usize>> {
    let recorded = training_image_hashes(run)?;
    Ok(recorded.map(|recorded| {
        let found = |images: &Dataset| {
            let hashes = images.image_hashes();
            hashes.iter().filter(|hash| recorded.contains(*hash)).count()
        };
        // A transfer with --invert was trained on the negatives.
        found(images).max(found(&images.inverted()))
    }))
}

/// Runs the command.
///
/// # Errors
/// If images are missing, damaged or too few.
pub(super) fn run(options: &Evaluate) -> anyhow::Result<()> {
    ensure!(
        options.count >= FEWEST_HELD_OUT,
        "--count {}: expected at least {FEWEST_HELD_OUT}, which some metrics need",
        options.count
    );
    if options.data == DatasetName::StackedMnist.as_str() {
        ensure!(
            options.features.features.is_none() && !options.classifier_accuracy && !options.readability,
            "--data stacked-mnist: modes are counted with the mnist features; remove --features, --classifier-accuracy and --readability"
        );
        let run = options
            .from
            .as_deref()
            .context("--data stacked-mnist needs a run; use --from")?;
        return stacked::report(run, options.checkpoint, options.count, options.seed, options.json);
    }
    // Checks come before slow work.
    let generated = Generated::open(options)?;
    let image = generated.image();
    // Refuses names and files that cannot be used before images are read.
    Reader::choose(&options.features, &options.data, image)?;
    let mut how = of_shape(image);
    options.pictures.apply(generated.pictures(), &mut how);
    let (loaded, test) = with_held_out_or_few(&options.data, &how)?;
    let reader = Reader::choose_for(&options.features, &options.data, &loaded.train)?;
    let readers = match options.readability {
        true => {
            ensure!(
                test.is_some(),
                "--readability: --data {} has no test images, and too few to hold some out",
                options.data
            );
            Some(Readers::train(&options.data, &loaded.train, options.seed)?)
        }
        false => None,
    };
    let (output, readable) = generated.read(&reader, readers.as_ref(), options)?;
    let readability = match (&readers, readable, &test) {
        (Some(readers), Some(readable), Some(test)) => Some(readers.beside_real(readable, test)?),
        _ => None,
    };
    let classifiers = match &generated {
        Generated::ByRun(run) if options.classifier_accuracy => Some(classifier_accuracy(
            run,
            [&loaded.train, test.as_ref().unwrap_or(&loaded.train)],
            options.count,
            options.seed,
        )?),
        _ => None,
    };
    let train = reader.read_data("real (train)", &loaded.train)?.features;
    let test = test.map(|test| some(test, options.count, options.seed));
    let seen = match &options.from {
        Some(run) => trained_on(run, test.as_ref().unwrap_or(&loaded.train))?,
        None => None,
    };
    if let (Some(seen @ 1..), Some(run), Some(test)) = (seen, &options.from, &test) {
        note!(
            "warning: {seen} of {} test images were used in the training of {}, so the metrics favor a generator that copies them; \
             give --data other images",
            test.len(),
            run.display()
        );
    }
    let (split, sha256) = match &test {
        Some(test) => (Split::Test, test.sha256()),
        None => (Split::Train, loaded.train.sha256()),
    };
    let images = RealDataInfo {
        data: &options.data,
        split: split.as_str(),
        sha256: &sha256,
    };
    let [height, width, channels] = image;
    let fit = match changed_files(&loaded.report) {
        true if reader.fit.is_identity() => {
            format!("pictures to {height}x{width}x{channels}, which the features take")
        }
        true => format!("pictures to {height}x{width}x{channels}; all: {}", reader.fit),
        false => reader.fit.to_string(),
    };
    let protocol = EvaluationProtocol::new(&*reader.extractor, images, &fit, options.seed);
    let mut found = match &test {
        Some(test) => {
            let compared = EvaluationInput {
                real: &reader.read_data("real (test)", test)?.features,
                train: &train,
                generated: &output.features,
            };
            evaluate(compared, protocol)?
        }
        None => {
            let mut found = evaluate_few(&train, &output.features, protocol)?;
            if seen == Some(0) {
                // No training image of the run is among them.
                (found.protocol.real_is_held_out, found.protocol.train) = (true, 0);
            }
            found
        }
    };
    if let Some(points) = reader.reference_points(&loaded.train, options.seed)? {
        found = found.with_reference(points);
    }
    // The classes of CIFAR-10 say nothing about other color pictures.
    let is_of_data = reader.extractor.name() != DatasetName::Cifar10.as_str()
        || options.data == DatasetName::Cifar10.as_str();
    let classes = output.classes.as_ref().filter(|_| is_of_data);
    let classes = classes.zip(reader.extractor.class_count());
    let classes = classes.map(|(read, count)| ClassCounts::new(read, count));
    if options.json {
        let mut json = serde_json::to_value(&found)?;
        if let Some(classes) = &classes {
            json["classes"] = classes.counts().into();
            json["class_divergence"] = classes.divergence_from_uniform().into();
        }
        if let Some(seen) = seen {
            let name = match test {
                Some(_) => "test_images_trained_on",
                None => "images_trained_on",
            };
            json[name] = seen.into();
        }
        if let Some(found) = &classifiers {
            json["classifier_accuracy"] = serde_json::to_value(found)?;
        }
        if let Some(found) = &readability {
            json["readability"] = serde_json::to_value(found)?;
        }
        out!("{json}");
        return Ok(());
    }
    out!("{found}");
    let all = loaded.train.len();
    match (seen, &test) {
        (Some(0), None) => out!(
            "the run was not trained on these {all} images: memorized is the share of near-copies of them, and says nothing about copies of \
             the run's own training images"
        ),
        (Some(seen), None) if seen < all => out!("the run was trained on {seen} of these {all} images"),
        _ => {}
    }
    if let Some(test) = test.as_ref().filter(|test| test.len() < FEW_REAL) {
        out!(
            "only {} real images measure, so that differences are rough; precision and density also praise images that are all alike or \
             blurred: look at the images",
            test.len()
        );
    }
    if let Some(classes) = &classes {
        let all: usize = classes.counts().iter().sum();
        let share =
            |(class, &count): (usize, &usize)| format!("{class}: {:.1} %", 100.0 * count as f64 / all as f64);
        let shares: Vec<String> = classes.counts().iter().enumerate().map(share).collect();
        out!("classes predicted by the feature network: {}", shares.join("  "));
    }
    if let Some(found) = &readability {
        out!("{found}");
    }
    if let Some(found) = &classifiers {
        out!("{found}");
    }
    Ok(())
}
