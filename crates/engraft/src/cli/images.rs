//! Images that a user names: a data set, a folder of pictures, or the generator of a run; those of a file: `samples.rs`.

use anyhow::ensure;
use clap::ValueEnum;
use engraft_data::{Dataset, DatasetName, LoadOptions, Split, Treatment, load, load_folder};
use engraft_gan::{CheckpointChoice, SavedRun, feature_view};
use engraft_metrics::{FeatureExtractor, FeatureNetwork, FeatureOutput, Features, IMAGE};
use engraft_tensor::Tensor;
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand::seq::index;
use rand_pcg::Pcg64;
use std::path::Path;

/// Images that are read at a time.
const BATCH: usize = 500;
/// Of a folder of pictures every fifth is held out.
const HELD_OUT: usize = 5;
/// Fewest held-out images: memorisation is told from the closest twentieth of them.
pub(super) const LEAST_HELD_OUT: usize = 20;

/// Which feature network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Network {
    /// Trained on MNIST
    Mnist,
    /// Trained on Fashion-MNIST
    FashionMnist,
}

impl Network {
    /// The network asked for, or the one that fits the data: Fashion-MNIST's for that, MNIST's for all else.
    pub(super) fn choose(wanted: Option<Self>, data: &str) -> FeatureNetwork {
        match wanted {
            Some(Self::Mnist) => FeatureNetwork::mnist(),
            Some(Self::FashionMnist) => FeatureNetwork::fashion_mnist(),
            None => FeatureNetwork::for_data(data),
        }
    }
}

/// Whether images came as the feature network takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    AsTheyAre,
    /// Some had another size or were in colour.
    Changed,
}

impl Fit {
    fn of_size(size: [usize; 3]) -> Self {
        if size == IMAGE {
            Self::AsTheyAre
        } else {
            Self::Changed
        }
    }

    /// The rule by which images were made to fit, for the protocol.
    pub(super) fn rule(all: &[Self]) -> &'static str {
        if all.contains(&Self::Changed) {
            "Catmull-Rom to 28x28, grey by ITU-R BT.709"
        } else {
            "none"
        }
    }
}

/// Real images that a user names.
pub(super) enum Real {
    Known(DatasetName),
    /// All pictures of a folder: its name, what was decoded, and how.
    Pictures(String, Dataset, Fit),
}

impl Real {
    /// A known data set, which is not loaded yet, or a folder, which is.
    pub(super) fn find(name: &str) -> anyhow::Result<Self> {
        if let Ok(known) = name.parse() {
            return Ok(Self::Known(known));
        }
        ensure!(
            Path::new(name).is_dir(),
            "--data {name}: neither a directory nor one of {}",
            DatasetName::ALL.map(DatasetName::as_str).join(", ")
        );
        let (data, fit) = pictures(Path::new(name))?;
        Ok(Self::Pictures(name.into(), data, fit))
    }

    /// Checks that enough images are held out.
    pub(super) fn ensure_held_out(&self) -> anyhow::Result<()> {
        if let Self::Pictures(name, data, _) = self {
            let (found, needed) = (data.len(), HELD_OUT * LEAST_HELD_OUT);
            ensure!(
                found >= needed,
                "--data {name}: found {found} pictures, expected at least {needed}: every fifth is held out, and \
                 memorisation needs {LEAST_HELD_OUT} held-out pictures (here {}); add pictures",
                found / HELD_OUT
            );
        }
        Ok(())
    }

    /// A part of them, as images of the size that features are taken from. Of a folder, every fifth picture in the order
    /// of the names is the test part.
    pub(super) fn part(&self, split: Split) -> anyhow::Result<(Dataset, Fit)> {
        match self {
            Self::Known(known) => {
                let options = LoadOptions::new().notify(|line| eprintln!("{line}"));
                let data = load(*known, split, &options)?;
                let [height, width, _] = IMAGE;
                Ok((data.resized(height, width), Fit::of_size(data.image_size())))
            }
            Self::Pictures(_, data, fit) => {
                let wanted = |i: &usize| (i % HELD_OUT == HELD_OUT - 1) == (split == Split::Test);
                let indices: Vec<usize> = (0..data.len()).filter(wanted).collect();
                Ok((data.subset(&indices), *fit))
            }
        }
    }
}

/// Decodes a folder of pictures, and tells what was done to each.
pub(super) fn pictures(path: &Path) -> anyhow::Result<(Dataset, Fit)> {
    let folder = load_folder(path, IMAGE)?;
    let mut fit = Fit::AsTheyAre;
    for report in &folder.reports {
        eprintln!("{report}");
        if matches!(report.what, Treatment::Changed(_)) {
            fit = Fit::Changed;
        }
    }
    Ok((folder.data, fit))
}

/// [Finds](Real::find) real images and loads a [part](Real::part) of them.
pub(super) fn data(name: &str, split: Split) -> anyhow::Result<Dataset> {
    Ok(Real::find(name)?.part(split)?.0)
}

/// Indices of at most `count` of `n` images, in ascending order, chosen by the seed where there are more.
pub(super) fn chosen(n: usize, count: usize, seed: u64) -> Vec<usize> {
    if n <= count {
        return (0..n).collect();
    }
    let mut indices = index::sample(&mut Pcg64::seed_from_u64(seed), n, count).into_vec();
    indices.sort_unstable();
    indices
}

/// At most `count` images, chosen by the seed where there are more, in the order of the data.
pub(super) fn choose(data: Dataset, count: usize, seed: u64) -> Dataset {
    if data.len() <= count {
        return data;
    }
    data.subset(&chosen(data.len(), count, seed))
}

/// The images as a tensor, from -1 to 1.
pub(super) fn tensor(data: &Dataset, indices: &[usize]) -> Tensor {
    let [height, width, channels] = data.image_size();
    Tensor::from_vec([indices.len(), height, width, channels], data.batch_f32(indices))
}

/// A bar on the terminal for `count` images.
pub(super) fn bar(what: &str, count: usize) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg:<30} {bar:30} {pos}/{len}  {elapsed}")?;
    Ok(ProgressBar::new(count as u64)
        .with_style(style)
        .with_message(what.to_owned()))
}

/// Reads features and classes of `count` images, given in batches by `batch`, with a bar on the terminal.
pub(super) fn read(
    network: &FeatureNetwork,
    what: &str,
    count: usize,
    mut batch: impl FnMut(usize, usize) -> Tensor,
) -> anyhow::Result<FeatureOutput> {
    let bar = bar(what, count)?;
    let mut readings = Vec::new();
    for start in (0..count).step_by(BATCH) {
        let end = (start + BATCH).min(count);
        readings.push(network.read(&batch(start, end))?);
        bar.set_position(end as u64);
    }
    bar.finish();
    ensure!(!readings.is_empty(), "there are no {what}");
    let classes = readings
        .iter()
        .flat_map(|r| r.classes.clone().unwrap_or_default())
        .collect();
    let features = Features::stack(readings.into_iter().map(|r| r.features))?;
    Ok(FeatureOutput {
        features,
        classes: Some(classes),
    })
}

/// Reads the images of a data set.
pub(super) fn read_data(
    network: &FeatureNetwork,
    what: &str,
    data: &Dataset,
) -> anyhow::Result<FeatureOutput> {
    let indices: Vec<usize> = (0..data.len()).collect();
    read(network, what, data.len(), |start, end| {
        tensor(data, &indices[start..end])
    })
}

/// Opens a run, and shows what is wrong with it.
pub(super) fn open_run(run: &Path, which: CheckpointChoice) -> anyhow::Result<SavedRun> {
    let run = engraft_transfer::open_run(run, which)?;
    for warning in &run.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(run)
}

/// Draws `count` images from the generator of a run and reads them.
pub(super) fn read_run(
    network: &FeatureNetwork,
    run: &Path,
    which: CheckpointChoice,
    count: usize,
    seed: u64,
) -> anyhow::Result<(FeatureOutput, Fit)> {
    let run = open_run(run, which)?;
    let mut rng = Pcg64::seed_from_u64(seed);
    let what = format!("generated (step {})", run.step);
    let reading = read(network, &what, count, |start, end| {
        feature_view(&run.sampler.generate(end - start, &mut rng))
    })?;
    Ok((reading, Fit::of_size(run.config.image)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needed_fitting_is_told() {
        let (yes, no) = (Fit::of_size([32, 32, 3]), Fit::of_size(IMAGE));
        assert_eq!((Fit::rule(&[no, no]), yes), ("none", Fit::Changed));
        assert!(Fit::rule(&[no, yes]).starts_with("Catmull-Rom to 28x28"));
    }

    #[test]
    fn a_choice_follows_the_seed() {
        let data = data("drawn-digits", Split::Test).unwrap();
        let [a, b, c] = [1, 1, 2].map(|seed| choose(data.clone(), 50, seed));
        assert!(a.images() == b.images() && a.images() != c.images() && a.len() == 50);
        assert_eq!(choose(data.clone(), 1 << 20, 1).len(), data.len());
    }
}
