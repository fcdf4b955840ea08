//! `engraft evaluate`: how good generated images are.

use super::images::{Network, Part, choose, data, read_data, read_run, read_samples};
use anyhow::ensure;
use engraft_metrics::{ClassCounts, Compared, Protocol, evaluate};
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
    /// Images of any program: an NPY file (bytes, or floats from -1 to 1) or a folder of pictures
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "from")]
    samples: Option<PathBuf>,
    /// Real images: mnist, fashion-mnist, usps, drawn-digits, or a folder of pictures
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
    /// Seed of the generated images, and of the choice of real ones where there are more than --count
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
            self.count >= 20,
            "--count must be at least 20: some measures need that many"
        );
        ensure!(
            self.split == Part::Test,
            "--split train: memorisation is measured against images that took no part in training, and these did; \
             leave it out"
        );
        let network = Network::choose(self.features, &self.data);
        // What the user gives comes first: it is what may be wrong.
        let generated = match (&self.from, &self.samples) {
            (Some(run), _) => read_run(&network, run, self.count, self.seed)?,
            (None, Some(path)) => read_samples(&network, path, self.count)?,
            (None, None) => unreachable!("clap requires one of them"),
        };
        let real = choose(data(&self.data, self.split)?, self.count, self.seed);
        let real = read_data(&network, &format!("real ({})", self.split.name()), &real)?.features;
        let train = read_data(&network, "real (all of train)", &data(&self.data, Part::Train)?)?.features;
        let protocol = Protocol::new(&network, &self.data, self.split.name(), self.seed);
        let compared = Compared {
            real: &real,
            train: &train,
            generated: &generated.features,
        };
        let found = evaluate(compared, protocol)?;
        let classes = ClassCounts::new(&generated.classes, engraft_metrics::CLASSES);
        if self.json {
            let mut json = serde_json::to_value(&found)?;
            json["classes"] = classes.counts().into();
            json["class_divergence"] = classes.divergence_from_uniform().into();
            println!("{json}");
        } else {
            println!("{found}");
            let shares = classes.counts().iter().enumerate();
            let shares: Vec<String> = shares
                .map(|(class, &count)| {
                    format!(
                        "{class}: {:.1} %",
                        100.0 * count as f64 / generated.classes.len() as f64
                    )
                })
                .collect();
            println!(
                "classes, as the feature network reads them: {}",
                shares.join("  ")
            );
        }
        Ok(())
    }
}
