//! Clusters of images, their files, and runs that are conditioned on them.

use super::*;
use crate::config::TrainConfig;
use crate::saved_run::{CheckpointChoice, SavedRun};
use crate::trainer::Trainer;
use engraft_base::sha256_hex;
use engraft_data::{Dataset, Provenance};
use engraft_layers::Condition;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use std::ops::ControlFlow;

/// Dark images, and one bright image in every twenty. Both have noise.
fn unequal(images: usize) -> Dataset {
    let rng = &mut Pcg64::seed_from_u64(9);
    let pixels = (0..images * 64)
        .map(|i| {
            let level = if is_bright(i / 64) { 220 } else { 20 };
            level + (rng.next_u64() % 16) as u8
        })
        .collect();
    Dataset::unlabeled("unequal", Provenance::Memory, pixels, [8, 8, 1]).unwrap()
}

fn is_bright(image: usize) -> bool {
    image % 20 == 3
}

fn settings(clusters: u32) -> PseudoLabelConfig {
    PseudoLabelConfig {
        clusters,
        components: 4,
        ..PseudoLabelConfig::default()
    }
}

fn all(data: &Dataset) -> Vec<usize> {
    (0..data.len()).collect()
}

fn fitted(images: usize, config: &PseudoLabelConfig) -> PseudoLabels {
    let data = unequal(images);
    PseudoLabels::fit(&data, &all(&data), config).unwrap()
}

fn config(data: &Dataset, clusters: u32) -> TrainConfig {
    let mut config = TrainConfig::standard(data);
    (config.network, config.batch, config.steps) = ("mlp".into(), 16, 4);
    config.validation_images = 0;
    config.evaluation.every = 0;
    config.pseudo_labels = settings(clusters);
    config
}

fn train(config: &TrainConfig, data: &Dataset, run: &Path) -> Trainer {
    let mut trainer = Trainer::open(config.clone(), data.clone(), run).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    trainer
}

/// Hash of every file of the newest checkpoint.
fn checkpoint(run: &Path, step: u64) -> Vec<(String, String)> {
    let folder = crate::RunLayout::new(run).checkpoint(step);
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, sha256_hex(&std::fs::read(path).unwrap()))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn clusters_have_the_shares_of_their_images() {
    let data = unequal(600);
    let found = fitted(600, &settings(2));
    let prior = found.prior();
    assert_eq!(prior.counts(), [570, 30]);
    assert!((prior.shares().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    let labels = found.assign(&data, &all(&data)).unwrap();
    for (i, label) in labels.into_iter().enumerate() {
        assert_eq!(label, usize::from(is_bright(i)), "image {i}");
    }
}

#[test]
fn small_clusters_are_merged() {
    let merged = PseudoLabelConfig {
        min_images: 25,
        ..settings(40)
    };
    let found = fitted(600, &merged);
    assert_eq!(found.clusters(), 40);
    let counts = found.prior().counts().to_vec();
    assert!(counts.len() < 40 && counts.iter().all(|&n| n >= 25), "{counts:?}");
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), 600);
    let data = unequal(600);
    let too_large = PseudoLabelConfig {
        min_images: 400,
        ..settings(2)
    };
    let error = PseudoLabels::fit(&data, &all(&data), &too_large).unwrap_err();
    assert!(matches!(error, GanError::Config { .. }), "{error}");
}

#[test]
fn clusters_do_not_depend_on_threads_and_labels_not_on_other_images() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| fitted(700, &settings(6)))
    };
    let found = on(1);
    assert_eq!(found, on(3));
    let data = unequal(700);
    let labels = found.assign(&data, &all(&data)).unwrap();
    for i in [0, 3, 511, 699] {
        assert_eq!(found.assign(&data, &[i]).unwrap(), [labels[i]]);
    }
}

#[test]
fn files_are_read_back_and_wrong_ones_refused() {
    let (config, image) = (settings(6), [8, 8, 1]);
    let found = fitted(600, &config);
    let bytes = found.to_bytes().unwrap();
    let path = Path::new("clusters");
    let read = |bytes: &[u8], image, config: &PseudoLabelConfig| {
        PseudoLabels::from_bytes(bytes, path, image, config)
    };
    assert_eq!(read(&bytes, image, &config).unwrap(), found);
    let more = PseudoLabelConfig {
        components: 5,
        ..config.clone()
    };
    for wrong in [
        read(&bytes, [8, 9, 1], &config),
        read(&bytes, image, &settings(7)),
        read(&bytes, image, &more),
    ] {
        let error = wrong.unwrap_err();
        assert!(matches!(error, GanError::Format { .. }), "{error}");
    }
    assert!(read(&bytes[..bytes.len() - 3], image, &config).is_err());
    let file: StateDict = StateDict::from_bytes(&bytes, path).unwrap();
    for (name, value) in [
        ("labels", 6.0),
        ("labels", 0.5),
        ("labels", -1.0),
        ("counts", 1e30),
        ("counts", 0.0),
    ] {
        let mut tensors = file.tensors().clone();
        let shape = tensors[name].shape().to_vec();
        let numbers = vec![value; shape[0]];
        tensors.insert(name.into(), Tensor::from_vec(shape, numbers));
        let bytes = StateDict::from_tensors(tensors).to_bytes().unwrap();
        let error = read(&bytes, image, &config).unwrap_err();
        assert!(matches!(error, GanError::Format { .. }), "{name}: {error}");
    }
}

/// With uniform sampling, half of the images would have the label of the rare cluster.
#[test]
fn a_run_samples_clusters_in_their_shares() {
    let (data, folder) = (unequal(600), tempfile::tempdir().unwrap());
    let run = folder.path().join("run");
    let trainer = train(&config(&data, 2), &data, &run);
    let rare = |condition: &Condition| {
        let labels = condition.labels().unwrap();
        labels.iter().filter(|&&label| label == 1).count() as f64 / labels.len() as f64
    };
    let of_gan = trainer.gan().cyclic_labels(400);
    let saved = SavedRun::open(&run).unwrap();
    assert_eq!(saved.sampler.class_count(), 2);
    let of_sampler = saved.sampler.cyclic_labels(400);
    let seeds: Vec<usize> = (0..4000).map(|seed| saved.sampler.label_of_seed(seed)).collect();
    let rng = &mut Pcg64::seed_from_u64(4);
    let sampled = crate::latent::sampled_labels(4000, 2, saved.sampler.class_prior(), rng);
    for (labels, what) in [
        (of_gan, "gan"),
        (of_sampler, "sampler"),
        (seeds.into(), "seeds"),
        (sampled, "sample"),
    ] {
        let share = rare(&labels);
        assert!((0.03..0.07).contains(&share), "{what}: {share}");
    }
    // The bytes of the sampler follow its labels.
    let images = saved.sampler.generate(200, &mut Pcg64::seed_from_u64(4));
    let rng = &mut Pcg64::seed_from_u64(4);
    let z = Tensor::randn([200, saved.sampler.latent_dim()], rng);
    let labels = crate::latent::sampled_labels(200, 2, saved.sampler.class_prior(), rng);
    assert_eq!(
        images.as_slice(),
        saved.sampler.generate_from(&z, &labels).as_slice()
    );
    let clusters = SavedRun::pseudo_labels(&run, CheckpointChoice::Last).unwrap();
    assert_eq!(clusters.as_ref(), trainer.pseudo_labels());
}

#[test]
fn a_resumed_run_has_the_same_bytes() {
    let (data, folder) = (unequal(600), tempfile::tempdir().unwrap());
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let long = config(&data, 3);
    train(&long, &data, &whole);
    let short = TrainConfig {
        steps: 2,
        ..long.clone()
    };
    train(&short, &data, &parts);
    let trainer = train(&long, &data, &parts);
    assert_eq!(trainer.step(), 4);
    let files = checkpoint(&whole, 4);
    assert!(
        files.iter().any(|(name, _)| name == "pseudo-labels.safetensors"),
        "{files:?}"
    );
    assert_eq!(files, checkpoint(&parts, 4));
    // Other clusters are other settings.
    drop(trainer);
    let error = Trainer::open(config(&data, 4), data.clone(), &parts)
        .err()
        .unwrap();
    assert!(matches!(error, GanError::OtherSettings { .. }), "{error}");
}
