//! `engraft evaluate`: how good generated images are.

use super::classifier::classifier_accuracy;
use super::images::{Checkpoint, Fit, LEAST_HELD_OUT, Network, Part, Real, choose, read_data, read_run};
use super::samples::read_samples;
use super::stacked;
use anyhow::{Context, ensure};
use engraft_metrics::{ClassCounts, Compared, Protocol, RealImages, evaluate};
use std::path::PathBuf;

/// Measure generated images against real ones: FID, KID, precision, recall, density, coverage, diversity, memorisation.
///
/// The same measures of real training images stand beside them as the floor. Features come from small networks of this
/// project, so the numbers compare with each other under the same protocol, and not with published FIDs.
#[derive(Debug, clap::Args)]
pub struct Evaluate {
    /// Run directory whose generator draws the images
    #[arg(long, value_name = "RUN", required_unless_present = "samples")]
    from: Option<PathBuf>,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Checkpoint::Last, conflicts_with = "samples")]
    checkpoint: Checkpoint,
    /// Images of any program: an NPY file (bytes, or floats from -1 to 1) or a folder of pictures
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "from")]
    samples: Option<PathBuf>,
    /// Also train classifiers on the generated and on real images, and print how many real test images each reads (some
    /// minutes); for runs that were trained with --conditional
    #[arg(long, requires = "from")]
    classifier_accuracy: bool,
    /// Real images: mnist, fashion-mnist, usps, drawn-digits, mnist-0-4, mnist-5-9, stacked-mnist, or a folder of at least 100 pictures, of which
    /// every fifth by name is held out
    #[arg(long, value_name = "NAME|DIR")]
    data: String,
    /// Part of the real images to compare with
    #[arg(long, value_enum, default_value_t = Part::Test)]
    split: Part,
    /// Images of either kind, at most
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// Feature network [default: the one of the data, else that of mnist]
    #[arg(long, value_enum)]
    features: Option<Network>,
    /// Seed of the generated images, and of the choice of real images and of --samples where there are more than --count
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    /// Runs the command.
    ///
    /// # Errors
    /// If images are missing, damaged or too few, with what to do.
    pub fn run(&self) -> anyhow::Result<()> {
        ensure!(
            self.count >= LEAST_HELD_OUT,
            "--count {}: expected at least {LEAST_HELD_OUT}, as some measures need that many images",
            self.count
        );
        ensure!(
            self.split == Part::Test,
            "--split train: memorisation is measured against images that took no part in training, and these did; \
             leave it out"
        );
        if self.data == stacked::NAME {
            ensure!(
                self.features.is_none() && !self.classifier_accuracy,
                "--data {}: its modes are counted by the feature network of mnist; leave out --features and --classifier-accuracy",
                self.data
            );
            let run = self.from.as_deref().with_context(|| {
                format!(
                    "--data {}: the modes are counted of a run, given by --from",
                    self.data
                )
            })?;
            return stacked::report(run, self.checkpoint, self.count, self.seed, self.json);
        }
        let network = Network::choose(self.features, &self.data);
        // What may be wrong comes before what takes long.
        let named = Real::find(&self.data)?;
        named.ensure_held_out()?;
        let (test, fit_of_real) = named.part(self.split)?;
        let (train_images, _) = named.part(Part::Train)?;
        let (generated, fit) = match (&self.from, &self.samples) {
            (Some(run), _) => read_run(&network, run, self.checkpoint, self.count, self.seed)?,
            (None, Some(path)) => read_samples(&network, path, self.count, self.seed)?,
            (None, None) => unreachable!("clap requires one of them"),
        };
        let classifiers = match &self.from {
            Some(run) if self.classifier_accuracy => Some(classifier_accuracy(
                run,
                self.checkpoint,
                [&train_images, &test],
                self.count,
                self.seed,
            )?),
            _ => None,
        };
        let real = choose(test, self.count, self.seed);
        let sha256 = real.sha256();
        let real = read_data(&network, &format!("real ({})", self.split.name()), &real)?.features;
        let train = read_data(&network, "real (all of train)", &train_images)?.features;
        let images = RealImages {
            data: &self.data,
            split: self.split.name(),
            sha256: &sha256,
        };
        let protocol = Protocol::new(&network, images, Fit::rule(&[fit_of_real, fit]), self.seed);
        let compared = Compared {
            real: &real,
            train: &train,
            generated: &generated.features,
        };
        let found = evaluate(compared, protocol)?;
        let read = generated.classes.unwrap_or_default();
        let classes = ClassCounts::new(&read, engraft_metrics::CLASSES);
        if self.json {
            let mut json = serde_json::to_value(&found)?;
            json["classes"] = classes.counts().into();
            json["class_divergence"] = classes.divergence_from_uniform().into();
            if let Some(found) = &classifiers {
                json["classifier_accuracy"] = serde_json::to_value(found)?;
            }
            println!("{json}");
        } else {
            println!("{found}");
            let shares = classes.counts().iter().enumerate();
            let shares: Vec<String> = shares
                .map(|(class, &count)| format!("{class}: {:.1} %", 100.0 * count as f64 / read.len() as f64))
                .collect();
            println!(
                "classes, as the feature network reads them: {}",
                shares.join("  ")
            );
            if let Some(found) = &classifiers {
                println!("{found}");
            }
        }
        Ok(())
    }
}
