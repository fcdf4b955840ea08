//! `cargo xtask train-features`: trains the classifiers whose last hidden layer is the feature space of the metrics.

use anyhow::{Context, bail, ensure};
use engraft_data::{Dataset, DatasetName, LoadOptions, Split, load};
use engraft_gan::dataset_tensor;
use engraft_layers::StateDict;
use engraft_metrics::{
    CLASSES, ColorClassifier, ColorFeatures, FeatureClassifier, FeatureExtractor, FeatureNetwork, Training,
    Variation, train_classifier, train_color_classifier,
};
use engraft_tensor::no_grad;
use std::path::PathBuf;
use std::time::Instant;

/// Train a feature network on a data set and print its test accuracy.
///
/// The weights in engraft-metrics were trained by this command with its default options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Data set: mnist, fashion-mnist or cifar10, found through ENGRAFT_DATA
    #[arg(long, value_parser = ["mnist", "fashion-mnist", "cifar10"])]
    data: String,
    /// Directory of the data set: its official files, or for cifar10 train.zip and test.zip [default: search]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Training epochs [default: 10 for mnist, 14 for fashion-mnist, 16 for cifar10]
    #[arg(long)]
    epochs: Option<usize>,
    /// Seed of weights, dropout, order and shifts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of threads; results do not depend on it [default: number of cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Output file; those of engraft-metrics are in crates/metrics/weights [default: runs/features-NAME.safetensors]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let name: DatasetName = args.data.parse()?;
    let epochs = args.epochs.unwrap_or(match name {
        DatasetName::FashionMnist => 14,
        DatasetName::Cifar10 => 16,
        _ => 10,
    });
    ensure!(epochs > 0, "--epochs must be at least 1");
    let pool = engraft::cli::pool(args.threads)?;
    let mut options = LoadOptions::new().notify(|line| note!("{line}"));
    if let Some(directory) = &args.directory {
        options = options.directory(directory);
    }
    let [train, test] = [Split::Train, Split::Test].map(|split| load(name, split, &options));
    let (train, test) = (train?, test?);
    for data in [&train, &test] {
        ensure_known_labels(data)?;
    }
    let out = match &args.out {
        Some(path) => path.clone(),
        // Not the crate's own file: every metric depends on its weights.
        None => PathBuf::from(format!("runs/features-{name}.safetensors")),
    };
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let (state, is_color) = match name {
        DatasetName::Cifar10 => (
            StateDict::of(&pool.install(|| fit_colors(&train, epochs, args.seed))),
            true,
        ),
        _ => {
            let training = Training {
                epochs,
                seed: args.seed,
                variation: Variation::for_data(name.as_str()),
            };
            (StateDict::of(&pool.install(|| fit(&train, &training))), false)
        }
    };
    let state = state
        .with_metadata("data", name.as_str())
        .with_metadata("epochs", epochs.to_string())
        .with_metadata("seed", args.seed.to_string());
    // Without a SHA-256 inside, as in the files of engraft-metrics: the hash of a network is that of its whole file, and with it
    // the same weights would have another one. It is printed below, and programs contain the files.
    if is_color {
        let state = state.with_metadata("data_sha256", train.sha256());
        // Half the size; the accuracy below is that of the rounded weights.
        engraft_base::write_atomically(&out, &state.to_half_bytes()?)?;
    } else {
        engraft_base::write_atomically(&out, &state.to_bytes()?)?;
    }
    // The accuracy is that of the written file.
    let bytes = std::fs::read(&out).with_context(|| format!("{}", out.display()))?;
    let network: Box<dyn FeatureExtractor> = match is_color {
        true => Box::new(ColorFeatures::for_images(name.as_str(), &bytes, [32; 2])?),
        false => Box::new(FeatureNetwork::from_bytes(name.as_str(), &bytes)?),
    };
    let right = pool.install(|| right_share(&*network, &test))?;
    out!(
        "{name}: accuracy {:.2} % on {} test images",
        100.0 * right,
        test.len()
    );
    out!(
        "{}: {} bytes, SHA-256 {}",
        out.display(),
        bytes.len(),
        network.hash()
    );
    Ok(())
}

/// Refuses labels that the networks have no output for.
fn ensure_known_labels(data: &Dataset) -> anyhow::Result<()> {
    let wrong = data
        .labels()
        .iter()
        .position(|&label| usize::from(label) >= CLASSES);
    if let Some(at) = wrong {
        bail!(
            "{}: the label of image {at} of {} ({}) is {}, expected at most {}",
            data.provenance(),
            data.len(),
            data.name(),
            data.label(at),
            CLASSES - 1
        );
    }
    Ok(())
}

fn fit(train: &Dataset, training: &Training) -> FeatureClassifier {
    let all: Vec<usize> = (0..train.len()).collect();
    let classes: Vec<usize> = train.labels().iter().map(|&label| usize::from(label)).collect();
    let start = Instant::now();
    train_classifier(
        &dataset_tensor(train, &all),
        &classes,
        training,
        &mut |epoch, loss| {
            out!(
                "epoch {epoch}: loss {loss:.4}, {:.0} s",
                start.elapsed().as_secs_f64()
            );
        },
    )
}

fn fit_colors(train: &Dataset, epochs: usize, seed: u64) -> ColorClassifier {
    let all: Vec<usize> = (0..train.len()).collect();
    let classes: Vec<usize> = train.labels().iter().map(|&label| usize::from(label)).collect();
    let start = Instant::now();
    let images = dataset_tensor(train, &all);
    train_color_classifier(&images, &classes, epochs, seed, &mut |epoch, loss| {
        out!(
            "epoch {epoch}: loss {loss:.4}, {:.0} s",
            start.elapsed().as_secs_f64()
        );
    })
}

/// Accuracy from 0 to 1.
fn right_share(network: &dyn FeatureExtractor, data: &Dataset) -> anyhow::Result<f64> {
    let all: Vec<usize> = (0..data.len()).collect();
    let mut right = 0;
    for indices in all.chunks(1000) {
        let found = no_grad(|| network.read(&dataset_tensor(data, indices)))?;
        let classes = found.classes.unwrap_or_default();
        let read = classes.iter().zip(indices);
        right += read
            .filter(|(class, i)| **class == usize::from(data.label(**i)))
            .count();
    }
    Ok(right as f64 / data.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::Provenance;

    #[test]
    fn fault_05_labels_above_9_are_refused_with_file_and_position() {
        let data = |labels: Vec<u8>| {
            let files = Provenance::File("letters".into());
            Dataset::new("mnist", files, vec![0; labels.len()], [1, 1, 1], labels).unwrap()
        };
        ensure_known_labels(&data(vec![0, 9])).unwrap();
        let error = ensure_known_labels(&data(vec![0, 9, 12]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("letters") && error.contains("image 2") && error.contains("12"),
            "{error}"
        );
    }
}
