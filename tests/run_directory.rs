//! Run directories: exact resume, refusals, damage.

use engraft_data::{Dataset, Provenance};
use engraft_gan::checkpoint::CheckpointStore;
use engraft_gan::{Event, GanError, StepOrder, TrainConfig, Trainer, TrainingOutcome, networks};
use engraft_layers::StateDict;
use engraft_tensor::Tensor;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

/// Images of noise: training only has to be reproducible here.
pub(crate) fn data(count: usize) -> Dataset {
    let pixels = (0..count * 784)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    Dataset::new("noise", Provenance::Memory, pixels, [28, 28, 1], vec![0; count]).unwrap()
}

/// 14 images in batches of 4: an epoch is 3 steps and leaves two images over.
pub(crate) fn config(steps: u64) -> TrainConfig {
    let mut config = TrainConfig::standard(&data(14));
    config.batch = 4;
    config.steps = steps;
    config.output.sample_every = 3;
    config.output.checkpoint_every = 2;
    config
}

/// The same with a small network. `every_network_resumes_to_the_same_bytes` tries the others.
pub(crate) fn small(steps: u64) -> TrainConfig {
    let mut config = config(steps);
    config.network = "mlp".into();
    config
}

pub(crate) fn train(config: TrainConfig, directory: &Path, stop_after: Option<u64>) -> TrainingOutcome {
    let mut trainer = Trainer::open(config, data(14), directory).unwrap();
    trainer
        .train(&mut |event| match event {
            Event::Step { step, .. } if Some(step) == stop_after => ControlFlow::Break(()),
            Event::Warning(text) => panic!("{text}"),
            _ => ControlFlow::Continue(()),
        })
        .unwrap()
}

/// Every file of a run that must not depend on interruptions, without times.
pub(crate) fn content(directory: &Path, step: u64) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory.join(format!("checkpoints/step-{step:06}"))).unwrap() {
        let path = entry.unwrap().path();
        files.insert(
            path.file_name().unwrap().to_str().unwrap().into(),
            fs::read(path).unwrap(),
        );
    }
    for entry in [
        format!("samples/step-{step:06}.png"),
        "losses.svg".into(),
        "run.toml".into(),
    ] {
        files.insert(entry.clone(), fs::read(directory.join(&entry)).unwrap());
    }
    let metrics: String = fs::read_to_string(directory.join("metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| format!("{}\n", &line[..line.find(",\"ms\"").unwrap()]))
        .collect();
    files.insert("metrics.jsonl".into(), metrics.into_bytes());
    files
}

#[test]
fn a_stopped_and_resumed_run_equals_an_uninterrupted_one_byte_for_byte() {
    for order in [StepOrder::Simultaneous, StepOrder::Alternating] {
        let dir = tempfile::tempdir().unwrap();
        let with_order = |steps| {
            let mut config = small(steps);
            config.order = order;
            config
        };
        let whole = dir.path().join("whole");
        assert_eq!(train(with_order(7), &whole, None), TrainingOutcome::Finished);
        let expected = content(&whole, 7);
        assert!(expected.len() >= 9, "{:?}", expected.keys());
        // Within an epoch, at its edge, and by a larger number of steps instead of a stop.
        for k in [1, 3, 5] {
            let parts = dir.path().join(format!("stopped-{k}"));
            assert_eq!(train(with_order(7), &parts, Some(k)), TrainingOutcome::Stopped);
            assert_eq!(train(with_order(7), &parts, None), TrainingOutcome::Finished);
            assert!(content(&parts, 7) == expected, "stopped after {k}, {order:?}");
        }
        let longer = dir.path().join("longer");
        train(with_order(4), &longer, None);
        train(with_order(7), &longer, None);
        assert!(content(&longer, 7) == expected, "{order:?}");
    }
}

/// The same holds for every network, and for color images of another size.
#[test]
fn every_network_resumes_to_the_same_bytes() {
    for network in networks::names() {
        let side = if network == "dcgan64" { 64 } else { 32 };
        let pixels = (0..8 * side * side * 3).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8);
        let data = Dataset::new(
            "noise",
            Provenance::Memory,
            pixels.collect(),
            [side, side, 3],
            vec![0; 8],
        )
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut config = TrainConfig::standard(&data);
        (config.network, config.batch, config.steps) = (network.as_str().into(), 4, 3);
        let run = |name: &str, stop_after: Option<u64>| {
            let directory = dir.path().join(name);
            let mut trainer = Trainer::open(config.clone(), data.clone(), &directory).unwrap();
            let control = |event| match event {
                Event::Step { step, .. } if Some(step) == stop_after => ControlFlow::Break(()),
                Event::Warning(text) => panic!("{text}"),
                _ => ControlFlow::Continue(()),
            };
            trainer.train(&mut { control }).unwrap();
            directory
        };
        let whole = run("whole", None);
        run("parts", Some(2));
        let parts = run("parts", None);
        assert!(content(&parts, 3) == content(&whole, 3), "{network}");
    }
}

/// A kill loses the steps after the last checkpoint; they are repeated.
#[test]
fn steps_after_the_last_checkpoint_are_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, killed) = (dir.path().join("whole"), dir.path().join("killed"));
    train(small(5), &whole, None);
    train(small(5), &killed, Some(3));
    // As if the process had been killed between step 3 and its checkpoint.
    fs::remove_dir_all(killed.join("checkpoints/step-000003")).unwrap();
    train(small(5), &killed, None);
    assert!(content(&killed, 5) == content(&whole, 5));
}

#[test]
fn a_damaged_newest_checkpoint_falls_back_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    train(small(4), dir.path(), None);
    let path = dir.path().join("checkpoints/step-000004/generator.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut trainer = Trainer::open(small(4), data(14), dir.path()).unwrap();
    assert_eq!(trainer.step(), 2);
    let mut warnings = Vec::new();
    trainer
        .train(&mut |event| {
            if let Event::Warning(text) = event {
                warnings.push(text);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(warnings[0].contains("generator.safetensors"), "{warnings:?}");
}

#[test]
fn other_settings_are_refused_with_every_difference() {
    let dir = tempfile::tempdir().unwrap();
    train(small(2), dir.path(), None);
    let mut other = small(2);
    other.batch = 5;
    other.seed = 9;
    match Trainer::open(other, data(14), dir.path()).err() {
        Some(GanError::OtherSettings { differences, .. }) => {
            let has = |key: &str| differences.iter().any(|line| line.starts_with(key));
            assert!(
                differences.len() == 2 && has("batch") && has("seed"),
                "{differences:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        Trainer::open(small(2), data(15), dir.path()),
        Err(GanError::OtherData { .. })
    ));
}

#[test]
fn setting_aside_keeps_the_old_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    assert!(Trainer::set_aside(&run).unwrap().is_none());
    train(small(1), &run, None);
    let old = Trainer::set_aside(&run).unwrap().unwrap();
    assert!(old.ends_with("run.old-1") && old.join("run.toml").is_file() && !run.exists());
    let open = Trainer::open(small(1), data(14), &old).unwrap();
    assert!(matches!(Trainer::set_aside(&old), Err(GanError::Locked { .. })));
    drop(open);
    fs::create_dir(&run).unwrap();
    fs::write(run.join("thesis.txt"), "precious").unwrap();
    assert!(matches!(Trainer::set_aside(&run), Err(GanError::NotARun { .. })));
}

/// A checkpoint with correct checksums and wrong content, like a hostile file.
#[test]
fn a_consistent_but_wrong_checkpoint_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    train(small(2), dir.path(), None);
    let good = {
        let store = CheckpointStore::open(dir.path(), 3).unwrap();
        store.latest().unwrap().unwrap().checkpoint
    };
    let one = StateDict::<f32>::from_tensors(BTreeMap::from([("x".to_string(), Tensor::zeros([2]))]));
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("generator.safetensors", one.to_bytes().unwrap()),
        (
            "discriminator.safetensors",
            good.files["generator.safetensors"].clone(),
        ),
        ("average.safetensors", Vec::new()),
        ("optimizers.safetensors", one.to_bytes().unwrap()),
        ("optimizers.safetensors", b"not a safetensors file".to_vec()),
        ("state.bin", vec![0xff; 300]),
        ("state.bin", good.files["state.bin"][..100].to_vec()),
    ];
    for (name, bytes) in wrong {
        let mut files = good.files.clone();
        files.insert(name.into(), bytes);
        let mut store = CheckpointStore::open(dir.path(), 3).unwrap();
        store.save(2, &good.options_hash, &files).unwrap();
        drop(store);
        let text = Trainer::open(small(2), data(14), dir.path())
            .err()
            .unwrap()
            .to_string();
        assert!(text.len() < 20_000 && !text.is_empty(), "{name}: {text}");
    }
}

/// At a huge learning rate training stops within a step and leaves the last checkpoint intact.
#[test]
fn divergence_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(50);
    config.generator.learning_rate = 1e30;
    config.discriminator.learning_rate = 1e30;
    let mut trainer = Trainer::open(config.clone(), data(14), dir.path()).unwrap();
    let error = trainer.train(&mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, GanError::Diverged { .. }), "{error}");
    drop(trainer);
    assert!(Trainer::open(config, data(14), dir.path()).is_ok());
}
