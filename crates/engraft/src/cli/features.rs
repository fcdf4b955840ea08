//! `engraft features`: the features behind the measures, for other programs.

use super::images::{Network, Part, choose, data, read_data};
use super::samples::read_samples;
use engraft_data::write_npy;
use engraft_metrics::FeatureExtractor;
use std::path::PathBuf;

/// Write the features of images as an NPY file, one row of 128 numbers for each image.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub struct WriteFeatures {
    /// Real images: mnist, fashion-mnist, usps, drawn-digits, mnist-0-4, mnist-5-9, or a folder of pictures
    #[arg(long, value_name = "NAME|DIR", group = "input")]
    data: Option<String>,
    /// Images of any program: an NPY file (bytes, or floats from -1 to 1) or a folder of pictures
    #[arg(long, value_name = "FILE|DIR", group = "input")]
    samples: Option<PathBuf>,
    /// Part of the real images
    #[arg(long, value_enum, default_value_t = Part::Test, conflicts_with = "samples")]
    split: Part,
    /// Images at most
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// Seed of the choice, of real images or of samples, where there are more than --count
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Feature network [default: the one of the data, else that of mnist]
    #[arg(long, value_enum)]
    features: Option<Network>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl WriteFeatures {
    /// Runs the command.
    ///
    /// # Errors
    /// If images are missing or damaged, or the file cannot be written.
    pub fn run(&self) -> anyhow::Result<()> {
        let network = Network::choose(self.features, self.data.as_deref().unwrap_or_default());
        let found = match (&self.data, &self.samples) {
            (Some(name), _) => {
                let images = choose(data(name, self.split)?, self.count, self.seed);
                read_data(&network, name, &images)?
            }
            (None, Some(path)) => read_samples(&network, path, self.count, self.seed)?.0,
            (None, None) => unreachable!("clap requires one of them"),
        };
        let shape = [found.features.len(), found.features.dimension()];
        let values: Vec<f32> = found.features.view().iter().map(|&x| x as f32).collect();
        write_npy(&self.out, &shape, &values)?;
        println!(
            "{}: {} x {} features of the network {} ({})",
            self.out.display(),
            shape[0],
            shape[1],
            network.name(),
            network.hash()
        );
        Ok(())
    }
}
