//! What fuzzing does with the bytes of a file: the readers of untrusted files, through their public functions.
//!
//! The fuzz targets in `targets/` and the test `hostile_files` share these functions. Each takes any bytes. Most results are
//! errors, which are fine. A panic is a defect, and so is a result that contradicts itself.
//!
//! A checksum would stop nearly every changed file at the door. So where a file has one, it is tried as it is, and again with
//! the right checksum: a hostile file has one too.

use engraft_base::sha256_hex;
use engraft_data::{
    Damaged, DataOptions, DataSource, Dataset, Fit, Idx, Loaded, Npy, Numbers, Provenance, TrainingData,
};
use engraft_export::pytorch_dcgan;
use engraft_gan::checkpoint::{CheckpointReader, CheckpointStore};
use engraft_gan::{
    CheckpointChoice, Measurement, NetworkConfig, SavedRun, TrainConfig, Trainer, read_measurements,
    untrained_networks,
};
use engraft_layers::{StateDict, TorchLayout};
use engraft_tensor::Real;
use engraft_transfer::{AdapterFile, PretrainedGan, Recipe, TransferConfig, open_source};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;

/// Reads any bytes as one kind of file.
pub(crate) type Reader = fn(&[u8]);

/// The readers by the names of their targets and of their folders of seeds.
pub(crate) const READERS: [(&str, Reader); 11] = [
    ("idx", idx),
    ("npy", npy),
    ("weights", weights),
    ("settings", settings),
    ("source", source),
    ("checkpoint", checkpoint),
    ("adapter", adapter),
    ("pytorch", pytorch),
    ("pictures", pictures),
    ("archive", archive),
    ("measures", measures),
];

/// Reads bytes with the reader of a target.
pub(crate) fn read(target: &str, bytes: &[u8]) {
    let found = READERS.iter().find(|(name, _)| *name == target);
    found.expect("a name in READERS").1(bytes);
}

/// Separates the files in one input, for readers of a directory.
pub(crate) const NEXT_FILE: &[u8] = b"\n<next file>\n";
/// Files of a saved source, in the order of an input.
pub(crate) const SOURCE_FILES: [&str; 4] = [
    "run.toml",
    "generator.safetensors",
    "discriminator.safetensors",
    "pseudo-labels.safetensors",
];
/// Files of a run, in the order of an input: the settings, then those of the checkpoint.
pub(crate) const RUN_FILES: [&str; 9] = [
    "run.toml",
    "manifest.json",
    "state.bin",
    "generator.safetensors",
    "discriminator.safetensors",
    "average.safetensors",
    "optimizers.safetensors",
    "pseudo-labels.safetensors",
    "game.bin",
];
/// Steps of the checkpoint in an input.
pub(crate) const STEP: u64 = 2;
/// Offset of the payload in a file of the training state, and of its length and SHA-256.
const LENGTH: usize = 12;
const CHECKSUM: usize = 20;
const PAYLOAD: usize = 52;

/// A directory of this process that is empty at the start of each use.
fn place() -> PathBuf {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    let place = FOLDER.path().join("place");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).unwrap();
    place
}

/// The parts of an input.
fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(NEXT_FILE.len()).position(|part| part == NEXT_FILE) {
        parts.push(&rest[..at]);
        rest = &rest[at + NEXT_FILE.len()..];
    }
    parts.push(rest);
    parts
}

fn idx(bytes: &[u8]) {
    if let Ok(found) = Idx::from_bytes(bytes, "file") {
        assert_eq!(found.shape().iter().product::<usize>(), found.elements().len());
    }
}

fn npy(bytes: &[u8]) {
    if let Ok(found) = Npy::from_bytes(bytes, "file") {
        let count = match found.numbers() {
            Numbers::U8(numbers) => numbers.len(),
            Numbers::F32(numbers) => numbers.len(),
            Numbers::F64(numbers) => numbers.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(found.shape().iter().product::<usize>(), count);
    }
    let path = place().join("images.npy");
    fs::write(&path, bytes).unwrap();
    if let Ok(loaded) = DataSource::Npy(path).open(&DataOptions::new()) {
        is_consistent(&loaded);
    }
}

fn weights(bytes: &[u8]) {
    fn read<T: Real>(bytes: &[u8]) {
        let Ok(state) = StateDict::<T>::from_bytes(bytes, "file".as_ref()) else {
            return;
        };
        // Names and metadata may be too long for a file of our own.
        let Ok(written) = state.to_sealed_bytes() else {
            return;
        };
        let again = StateDict::<T>::from_bytes(&written, "again".as_ref()).unwrap();
        assert_eq!(again.metadata(), state.metadata());
        assert!(again.tensors().keys().eq(state.tensors().keys()));
        for (name, tensor) in state.tensors() {
            let other = &again.tensors()[name];
            assert_eq!(
                (other.shape(), other.as_slice()),
                (tensor.shape(), tensor.as_slice())
            );
        }
    }
    read::<f32>(bytes);
    read::<f64>(bytes);
    let layout = TorchLayout::new().rename("hidden", "main.0");
    let _ = layout.from_torch_bytes::<f32>(bytes, "file".as_ref());
}

fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(config) = TrainConfig::from_toml(&text, "run.toml".as_ref()) else {
        return;
    };
    let written = config.to_toml();
    let again = TrainConfig::from_toml(&written, "again".as_ref()).unwrap();
    assert_eq!(again.to_toml(), written);
    let _ = (config.check(), config.names_and_values(), config.layer_roles());
    if let Ok(networks) = untrained_networks(&config) {
        assert_eq!(config.latent_dim().unwrap(), networks.latent_dim);
    }
    if let Ok(plan) = TransferConfig::from_table(&config.plan) {
        let again = TransferConfig::from_table(&plan.to_table()).unwrap();
        assert_eq!(again.to_table(), plan.to_table());
        let _ = plan.phases();
    }
}

fn source(bytes: &[u8]) {
    let place = place();
    for (name, part) in SOURCE_FILES.into_iter().zip(parts(bytes)) {
        fs::write(place.join(name), part).unwrap();
    }
    if let Ok(source) = open_source(&place, CheckpointChoice::Last) {
        assert_eq!(source.sha256().unwrap().len(), 64);
        draws(&source);
    }
}

/// Generates an image.
fn draws(source: &PretrainedGan) {
    let sampler = source.sampler().unwrap();
    assert_eq!(sampler.generate(1, &mut Pcg64::seed_from_u64(1)).shape()[0], 1);
    let _ = Recipe::fine_tune(source);
}

fn checkpoint(bytes: &[u8]) {
    let run = place();
    let folder = run.join(format!("checkpoints/step-{STEP:06}"));
    fs::create_dir_all(&folder).unwrap();
    let files: BTreeMap<&str, &[u8]> = RUN_FILES.into_iter().zip(parts(bytes)).collect();
    for (&name, part) in &files {
        let path = if name == "run.toml" {
            run.join(name)
        } else {
            folder.join(name)
        };
        fs::write(path, part).unwrap();
    }
    resume(&run);
    // The same with right sizes and checksums.
    let manifest = files.get("manifest.json").copied().unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap_or_default();
    let hash = manifest["options_hash"].as_str().unwrap_or_default();
    let contents = files
        .iter()
        .filter(|(name, _)| !["run.toml", "manifest.json"].contains(*name))
        .map(|(name, part)| (name.to_string(), with_checksum(part)))
        .collect();
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let Ok(mut store) = CheckpointStore::open(&run, 1) else {
        return;
    };
    if store.save(STEP, hash, &contents).is_ok() {
        drop(store);
        let loaded = CheckpointReader::new(&run).latest().unwrap().unwrap();
        assert_eq!(
            (loaded.checkpoint.step, loaded.checkpoint.files),
            (STEP, contents)
        );
        resume(&run);
    }
}

/// Opens a run in every way.
fn resume(run: &Path) {
    let _ = CheckpointReader::new(run).latest();
    for choice in [
        CheckpointChoice::Last,
        CheckpointChoice::Best,
        CheckpointChoice::Step(2),
    ] {
        if let Ok(saved) = SavedRun::open_at(run, choice) {
            let _ = saved.sampler.generate(1, &mut Pcg64::seed_from_u64(1));
        }
        let _ = SavedRun::pseudo_labels(run, choice);
    }
    if let Ok(config) = engraft_gan::read_settings(&run.join("run.toml")) {
        let _ = Trainer::open(config, data(), run);
    }
}

/// A file of the training state with the length and the SHA-256 of its payload; other files as they are.
fn with_checksum(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    if file.starts_with(b"ENGRAFTS") && file.len() >= PAYLOAD {
        let (header, payload) = file.split_at_mut(PAYLOAD);
        header[LENGTH..CHECKSUM].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        let digits = sha256_hex(payload);
        for (byte, at) in header[CHECKSUM..].iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        }
    }
    file
}

/// The images of the run in the seeds.
pub(crate) fn data() -> Dataset {
    let pixels = (0..8 * 16).map(|i: u32| (i * 37 % 256) as u8).collect();
    Dataset::unlabeled("dots", Provenance::Memory, pixels, [4, 4, 1]).unwrap()
}

/// Settings of the smallest networks for these images.
pub(crate) fn smallest() -> TrainConfig {
    let mut config = TrainConfig::standard(&data());
    config.network = NetworkConfig {
        widths: vec![2, 2],
        latent: Some(2),
        ..NetworkConfig::from("mlp")
    };
    (config.batch, config.steps, config.validation_images) = (2, STEP, 0);
    (config.evaluation.every, config.output.sample_every) = (0, 1000);
    config
}

/// The source of the adapter files in the seeds.
pub(crate) static OWN_SOURCE: LazyLock<PretrainedGan> = LazyLock::new(|| {
    let config = smallest();
    let networks = untrained_networks(&config).unwrap();
    PretrainedGan::new(config, &networks.generator, &networks.discriminator)
});

fn adapter(bytes: &[u8]) {
    let path = place().join("adapter.safetensors");
    fs::write(&path, bytes).unwrap();
    if let Ok(adapter) = AdapterFile::open(&path) {
        assert_eq!(adapter.source_sha256().len(), 64);
        if let Ok(sampler) = adapter.sampler(&OWN_SOURCE) {
            let _ = sampler.generate(1, &mut Pcg64::seed_from_u64(1));
        }
    }
}

fn pytorch(bytes: &[u8]) {
    let place = place();
    let parts = parts(bytes);
    let paths: Vec<PathBuf> = ["g", "d"].map(|name| place.join(name)).into();
    for (path, part) in paths.iter().zip(&parts) {
        fs::write(path, part).unwrap();
    }
    let discriminator = (parts.len() > 1).then_some(&*paths[1]);
    if let Ok(source) = pytorch_dcgan(&paths[0], discriminator) {
        draws(&source);
    }
}

/// The first byte chooses the options, the rest are pictures, `dataset.json` last.
fn pictures(bytes: &[u8]) {
    let Some((&choice, bytes)) = bytes.split_first() else {
        return;
    };
    let folder = place();
    let names = ["one/a", "two/b", "two/c", "dataset.json"];
    for folder in ["one", "two"].map(|name| folder.join(name)) {
        fs::create_dir(folder).unwrap();
    }
    for (name, part) in names.into_iter().zip(parts(bytes)) {
        fs::write(folder.join(name), part).unwrap();
    }
    opens(&DataSource::Folder(folder), choice);
}

fn archive(bytes: &[u8]) {
    let path = place().join("pictures.zip");
    fs::write(&path, bytes).unwrap();
    opens(&DataSource::Zip(path), 0);
}

/// Opens pictures at once and on demand, with the options of a number.
fn opens(source: &DataSource, choice: u8) {
    let mut options = DataOptions::new();
    options.size = [Some([8, 8]), Some([3, 7]), None][usize::from(choice) % 3];
    options.fit = Fit::ALL[usize::from(choice) / 3 % 3];
    options.damaged = if choice & 64 == 0 {
        Damaged::Skip
    } else {
        Damaged::Keep
    };
    options.held_out = choice & 128 != 0;
    let _ = source.picture_sizes();
    let loaded = source.open(&options);
    if let Ok(loaded) = &loaded {
        is_consistent(loaded);
    }
    if let Ok(lazy) = source.open_lazily(&options) {
        let all: Vec<usize> = (0..lazy.len()).collect();
        let count = lazy.batch(&all).unwrap().len();
        assert_eq!(count, all.len() * lazy.shape().iter().product::<usize>());
        assert!(loaded.is_ok_and(|loaded| loaded.train.sha256() == lazy.fingerprint()));
    }
}

/// A file `measures.jsonl` of a run.
fn measures(bytes: &[u8]) {
    let path = place().join("measures.jsonl");
    fs::write(&path, bytes).unwrap();
    let found = read_measurements(&path).unwrap();
    for one in &found {
        let _ = (one.to_string(), one.score());
        for alarm in one.alarms() {
            let _ = one.alarm_message(alarm);
        }
    }
    assert_eq!(Measurement::best(&found).is_none(), found.is_empty());
    // What was read is written as it was.
    let lines: String = found.iter().map(|one| one.to_json() + "\n").collect();
    fs::write(&path, lines).unwrap();
    assert_eq!(read_measurements(&path).unwrap(), found);
}

fn is_consistent(loaded: &Loaded) {
    for data in [Some(&loaded.train), loaded.test.as_ref()].into_iter().flatten() {
        let each = data.image_size().iter().product::<usize>();
        assert_eq!(data.images().len(), data.len() * each);
    }
}
