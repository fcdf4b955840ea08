//! `engraft features`: the features behind the measures, for other programs.

use super::images::{Network, choose, data, read_data};
use super::options::WriteFeatures;
use super::samples::read_samples;
use engraft_data::write_npy;
use engraft_metrics::FeatureExtractor;

/// Runs the command.
///
/// # Errors
/// If images are missing or damaged, or the file cannot be written.
pub(super) fn run(options: &WriteFeatures) -> anyhow::Result<()> {
    let network = Network::choose(options.features, options.data.as_deref().unwrap_or_default());
    let found = match (&options.data, &options.samples) {
        (Some(name), _) => {
            let images = choose(data(name, options.split)?, options.count, options.seed);
            read_data(&network, name, &images)?
        }
        (None, Some(path)) => read_samples(&network, path, options.count, options.seed)?.0,
        (None, None) => unreachable!("clap requires one of them"),
    };
    let shape = [found.features.len(), found.features.dimension()];
    let values: Vec<f32> = found.features.view().iter().map(|&x| x as f32).collect();
    write_npy(&options.out, &shape, &values)?;
    println!(
        "{}: {} x {} features of the network {} ({})",
        options.out.display(),
        shape[0],
        shape[1],
        network.name(),
        network.hash()
    );
    Ok(())
}
