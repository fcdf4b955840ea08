//! Images that a user names: a data set, a folder of pictures, an NPY file, or the generator of a run.

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use engraft_data::{Dataset, DatasetName, LoadOptions, Npy, Numbers, Split, load, load_folder};
use engraft_gan::{SavedRun, Which, feature_view};
use engraft_metrics::{FeatureNetwork, Features, IMAGE, Reading};
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

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Checkpoint {
    /// The newest
    Last,
    /// The one with the lowest KID to the images that the run held out
    Best,
}

impl From<Checkpoint> for Which {
    fn from(checkpoint: Checkpoint) -> Self {
        match checkpoint {
            Checkpoint::Last => Self::Last,
            Checkpoint::Best => Self::Best,
        }
    }
}

/// Part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// What is learned from
    Train,
    /// What is held out
    Test,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// Loads a part of a data set by its name, or of a folder of pictures, as images of the size that features are taken
/// from. Of a folder, every fifth picture in the order of the names is the test part.
pub(super) fn data(name: &str, part: Part) -> anyhow::Result<Dataset> {
    let [height, width, _] = IMAGE;
    if let Ok(known) = name.parse::<DatasetName>() {
        let split = match part {
            Part::Train => Split::Train,
            Part::Test => Split::Test,
        };
        let options = LoadOptions::new().notify(|line| eprintln!("{line}"));
        return Ok(load(known, split, &options)?.resized(height, width));
    }
    ensure!(
        Path::new(name).is_dir(),
        "--data {name}: neither a directory nor one of {}",
        DatasetName::ALL.map(DatasetName::as_str).join(", ")
    );
    let folder = load_folder(name, IMAGE)?;
    if part == Part::Train {
        for report in &folder.reports {
            eprintln!("{report}");
        }
    }
    let wanted = |i: &usize| (i % HELD_OUT == HELD_OUT - 1) == (part == Part::Test);
    let indices: Vec<usize> = (0..folder.data.len()).filter(wanted).collect();
    Ok(folder.data.subset(&indices))
}

/// At most `count` images, chosen by the seed where there are more, in the order of the data.
pub(super) fn choose(data: Dataset, count: usize, seed: u64) -> Dataset {
    if data.len() <= count {
        return data;
    }
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut indices = index::sample(&mut rng, data.len(), count).into_vec();
    indices.sort_unstable();
    data.subset(&indices)
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
fn read(
    network: &FeatureNetwork,
    what: &str,
    count: usize,
    mut batch: impl FnMut(usize, usize) -> Tensor,
) -> anyhow::Result<Reading> {
    let bar = bar(what, count)?;
    let mut readings = Vec::new();
    for start in (0..count).step_by(BATCH) {
        let end = (start + BATCH).min(count);
        readings.push(network.read(&batch(start, end))?);
        bar.set_position(end as u64);
    }
    bar.finish();
    ensure!(!readings.is_empty(), "there are no {what}");
    let classes = readings.iter().flat_map(|r| r.classes.iter().copied()).collect();
    let features = Features::stack(readings.into_iter().map(|r| r.features))?;
    Ok(Reading { features, classes })
}

/// Reads the images of a data set.
pub(super) fn read_data(network: &FeatureNetwork, what: &str, data: &Dataset) -> anyhow::Result<Reading> {
    let indices: Vec<usize> = (0..data.len()).collect();
    read(network, what, data.len(), |start, end| {
        tensor(data, &indices[start..end])
    })
}

/// Opens a run, and shows what is wrong with it.
pub(super) fn open_run(run: &Path, which: Checkpoint) -> anyhow::Result<SavedRun> {
    let run = engraft_transfer::open_run(run, which.into())?;
    for warning in &run.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(run)
}

/// Draws `count` images from the generator of a run and reads them.
pub(super) fn read_run(
    network: &FeatureNetwork,
    run: &Path,
    which: Checkpoint,
    count: usize,
    seed: u64,
) -> anyhow::Result<Reading> {
    let run = open_run(run, which)?;
    let mut rng = Pcg64::seed_from_u64(seed);
    let what = format!("generated (step {})", run.step);
    read(network, &what, count, |start, end| {
        feature_view(&run.sampler.generate(end - start, &mut rng))
    })
}

/// Reads at most `count` images, the first, of an NPY file or a folder of pictures.
pub(super) fn read_samples(network: &FeatureNetwork, path: &Path, count: usize) -> anyhow::Result<Reading> {
    if path.is_dir() {
        let folder = load_folder(path, IMAGE)?;
        for report in &folder.reports {
            eprintln!("{report}");
        }
        let first: Vec<usize> = (0..folder.data.len().min(count)).collect();
        return read_data(network, "pictures", &folder.data.subset(&first));
    }
    let array = Npy::open(path)?;
    let images = from_npy(&array).with_context(|| format!("{}", path.display()))?;
    let n = images.shape()[0].min(count);
    read(network, "samples", n, |start, end| {
        images.narrow(0, start, end - start)
    })
}

/// Images from an array `[n, 28, 28]`, `[n, 28, 28, 1]` or `[n, 1, 28, 28]`: bytes from 0 to 255, or floats from -1
/// to 1.
fn from_npy(array: &Npy) -> anyhow::Result<Tensor> {
    let [height, width, _] = IMAGE;
    let n = match *array.shape() {
        [n, h, w] | [n, h, w, 1] | [n, 1, h, w] if [h, w] == [height, width] => n,
        ref other => bail!(
            "expected images [n, {height}, {width}], with an axis of one channel or without, found an array of shape {other:?}"
        ),
    };
    let values: Vec<f32> = match array.numbers() {
        Numbers::U8(bytes) => bytes.iter().map(|&b| f32::from(b) / 127.5 - 1.0).collect(),
        Numbers::F32(values) => values.clone(),
        Numbers::F64(values) => values.iter().map(|&x| x as f32).collect(),
        _ => bail!("expected float32, float64 or uint8"),
    };
    if let Some(at) = values.iter().position(|x| !(-1.001..=1.001).contains(x)) {
        bail!(
            "pixel {} of image {} is {}: floats must be from -1 to 1; scale them, or save bytes from 0 to 255",
            at % (height * width),
            at / (height * width),
            values[at]
        );
    }
    let floats = !matches!(array.numbers(), Numbers::U8(_));
    if floats && values.iter().all(|&x| x >= 0.0) {
        bail!(
            "no pixel is below 0: floats must run from -1 (black) to 1 (white); where x runs from 0 to 1, save 2 x - 1"
        );
    }
    Ok(Tensor::from_vec([n, height, width, 1], values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::write_npy;

    #[test]
    fn arrays_as_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let read = |shape: &[usize], values: &[f32]| {
            write_npy(&path, shape, values).unwrap();
            from_npy(&Npy::open(&path).unwrap())
        };
        for shape in [&[2, 28, 28][..], &[2, 28, 28, 1], &[2, 1, 28, 28]] {
            assert_eq!(read(shape, &[-0.5; 1568]).unwrap().shape(), [2, 28, 28, 1]);
        }
        let error = read(&[2, 14, 56], &[0.5; 1568]).unwrap_err().to_string();
        assert!(error.contains("[2, 14, 56]"), "{error}");
        let error = read(&[2, 28, 28], &[0.5; 1568]).unwrap_err().to_string();
        assert!(error.contains("from -1 (black) to 1"), "{error}");
        let mut values = [0.0; 1568];
        values[784 + 3] = 255.0;
        let error = read(&[2, 28, 28], &values).unwrap_err().to_string();
        assert!(error.contains("pixel 3 of image 1 is 255"), "{error}");
    }

    #[test]
    fn a_choice_follows_the_seed() {
        let data = data("drawn-digits", Part::Test).unwrap();
        let [a, b, c] = [1, 1, 2].map(|seed| choose(data.clone(), 50, seed));
        assert!(a.images() == b.images() && a.images() != c.images() && a.len() == 50);
        assert_eq!(choose(data.clone(), 1 << 20, 1).len(), data.len());
    }
}
