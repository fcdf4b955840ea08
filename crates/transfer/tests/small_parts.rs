//! Parameter-efficient transfers (adapters, batch norms, a miner) with their files, gradual unfreezing, patch discriminators
//! and transfers of transfers, on small networks.

#![allow(clippy::unwrap_used)] // a test fails by it

use engraft_data::{Dataset, Split, drawn_digits};
use engraft_gan::{
    CheckpointChoice, Gan, Networks, RegularizeConfig, Sampler, SpectralNorm, TrainConfig, Trainer, dcgan,
    untrained_networks,
};
use engraft_layers::{Adapter, Condition, Init, ParamFilter, SlotMut, StateDict, freeze, visit_mut};
use engraft_tensor::Tensor;
use engraft_transfer::{
    AdapterFile, Experiment, Phase, PretrainedGan, Recipe, Trainable, Transfer, TransferConfig,
    TransferError, TransferMethod, gradual_unfreezing, open_run, open_source,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

fn target() -> Dataset {
    drawn_digits(Split::Test, 24, 3)
}

/// A source that is hardly trained: only its weights matter here.
fn source_with(seed: u64, change: fn(&mut TrainConfig)) -> PretrainedGan {
    let data = drawn_digits(Split::Train, 40, 1);
    let mut config = TrainConfig::standard(&data);
    (config.network, config.batch, config.steps, config.seed) = ("mlp".into(), 8, 2, seed);
    change(&mut config);
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::open(config, data, folder.path()).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    drop(trainer);
    open_source(folder.path(), CheckpointChoice::Last).unwrap()
}

fn source() -> PretrainedGan {
    source_with(1, |_| ())
}

/// Trains three steps with these trainable parameters of the generator.
fn train(source: &PretrainedGan, directory: &Path, generator: Trainable, change: fn(&mut TransferConfig)) {
    let mut recipe = Recipe::fine_tune(source).unwrap();
    recipe.plan.phases = vec![Phase {
        generator,
        ..Phase::default()
    }];
    change(&mut recipe.plan);
    let experiment = Experiment {
        source,
        target: &target(),
        steps: 3,
        seed: 2,
    };
    let method = TransferMethod::Recipe(Box::new(recipe));
    // Without evaluations, so that the last checkpoint counts.
    let last = |config: &mut TrainConfig| {
        config.evaluation.every = 0;
        Ok(())
    };
    let trained = experiment
        .train_adjusted(&method, directory, &last, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    assert_eq!(trained.unwrap().1, 3);
}

/// The bits of every tensor.
fn bits(state: &StateDict) -> BTreeMap<String, Vec<u32>> {
    let of = |(name, t): (&String, &engraft_tensor::Tensor)| {
        (name.clone(), t.as_slice().iter().map(|x| x.to_bits()).collect())
    };
    state.tensors().iter().map(of).collect()
}

fn pixels(sampler: &Sampler) -> Vec<u32> {
    let images = sampler.generate(5, &mut Pcg64::seed_from_u64(7));
    images.as_slice().iter().map(|x| x.to_bits()).collect()
}

#[test]
fn adapter_files_restore_the_generator_bit_for_bit() {
    let source = source();
    let Networks { generator, .. } = source.networks().unwrap();
    let whole = StateDict::of(&generator).to_bytes().unwrap().len() as u64;
    let of_source = pixels(&source.sampler().unwrap());
    type Set = fn(&mut TransferConfig);
    let kinds: [(Trainable, Set, &str); 3] = [
        (
            Trainable::Adapter,
            |p| p.adapter = Some(Adapter::LowRank { rank: 2 }),
            "adapter.a",
        ),
        (Trainable::BatchNorm, |_| (), "norm.running_mean"),
        (Trainable::Miner, |p| p.miner = Some(32), "out.weight"),
    ];
    for (trained, change, part) in kinds {
        let folder = tempfile::tempdir().unwrap();
        train(&source, folder.path(), trained, change);
        let path = folder.path().join(AdapterFile::NAME);
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size * 10 < whole, "{part}: {size} of {whole} bytes");
        let file = AdapterFile::open(&path).unwrap();
        assert_eq!(file.source_sha256(), source.sha256().unwrap());
        let names: Vec<&String> = file.changed().tensors().keys().collect();
        assert!(names.iter().any(|name| name.ends_with(part)), "{part}: {names:?}");
        // It contains no weights of the source, not even their averages.
        let is_weight = |name: &&&String| name.ends_with("dense.weight") || **name == "to_image.weight";
        assert_eq!(names.iter().find(is_weight), None, "{part}");
        let run = pixels(&open_run(folder.path(), CheckpointChoice::Last).unwrap().sampler);
        assert!(run != of_source, "{part} changed");
        assert!(pixels(&file.sampler(&source).unwrap()) == run, "{part}");
    }
}

/// The vectors of the singular values are not in the file: they follow from the source's weights.
#[test]
fn singular_values_need_no_vectors_in_the_file() {
    let config = TrainConfig::standard(&target());
    let Networks {
        generator,
        discriminator,
        ..
    } = untrained_networks(&config).unwrap();
    let source = PretrainedGan::new(config, &generator, &discriminator);
    let mut plan = Recipe::fine_tune(&source).unwrap().plan;
    plan.adapter = Some(Adapter::SingularValues);
    let transfer = Transfer::new(source.clone(), plan).unwrap();
    let Networks { mut generator, .. } = transfer.initial_networks().unwrap();
    visit_mut(&mut generator, |path, slot| {
        if let SlotMut::Parameter(p) = slot
            && path.ends_with("adapter.scale")
        {
            p.set(&(p.tensor() * 1.25));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(AdapterFile::NAME);
    AdapterFile::from_transfer(&transfer, &generator)
        .unwrap()
        .save(&path)
        .unwrap();
    let file = AdapterFile::open(&path).unwrap();
    let names: Vec<&String> = file.changed().tensors().keys().collect();
    assert!(
        names.len() == 4 && names.iter().all(|name| name.ends_with("adapter.scale")),
        "{names:?}"
    );
    assert!(std::fs::metadata(&path).unwrap().len() < 4096);
    let attached = file.attach(&source).unwrap();
    assert!(bits(&StateDict::of(&attached)) == bits(&StateDict::of(&generator)));
}

#[test]
fn unsuitable_adapter_files_are_errors_with_the_reason() {
    let source = source();
    let folder = tempfile::tempdir().unwrap();
    train(&source, folder.path(), Trainable::Adapter, |p| {
        p.adapter = Some(Adapter::LowRank { rank: 2 })
    });
    let good = folder.path().join(AdapterFile::NAME);
    let other = source_with(5, |_| ());
    let error = AdapterFile::open(&good).unwrap().attach(&other).err().unwrap();
    assert!(matches!(error, TransferError::OtherSource { .. }), "{error}");

    let path = folder.path().join("changed.safetensors");
    let tensors = || StateDict::<f32>::load(&good).unwrap().into_tensors();
    let metadata = StateDict::<f32>::load(&good).unwrap().metadata().clone();
    let write = |tensors, change: &[(&str, &str)]| {
        let file = StateDict::<f32>::from_tensors(tensors);
        let all = metadata.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        all.chain(change.iter().copied())
            .fold(file, |file, (key, value)| file.with_metadata(key, value))
            .save(&path)
            .unwrap();
    };
    let attached = || {
        AdapterFile::open(&path)
            .unwrap()
            .attach(&source)
            .err()
            .unwrap()
            .to_string()
    };
    let mut renamed = tensors();
    let factor = renamed.remove("to_image.adapter.a").unwrap();
    renamed.insert("to_imgae.adapter.a".into(), factor.clone());
    renamed.insert(
        "hidden1.dense.adapter.b".into(),
        engraft_tensor::Tensor::zeros([3, 2]),
    );
    write(renamed, &[]);
    let text = attached();
    assert!(text.contains("to_imgae.adapter.a"), "{text}");
    assert!(
        text.contains("hidden1.dense.adapter.b") && text.contains("[3, 2]"),
        "{text}"
    );
    write(tensors(), &[("adapter", "low-rank=3")]);
    let text = attached();
    assert!(text.contains("[500, 3]") && text.contains("[500, 2]"), "{text}");
    write(tensors(), &[("adapter", "none")]);
    assert!(attached().contains("adapter"));

    let problems = || match AdapterFile::open(&path) {
        Err(TransferError::AdapterFile { problems, .. }) => problems.join("; "),
        found => panic!("{found:?}"),
    };
    write(
        tensors(),
        &[
            ("adapter", "low-rank=99999999"),
            ("miner", "many"),
            ("source_sha256", "../.."),
            ("format", "2"),
        ],
    );
    let text = problems();
    for part in ["low-rank=99999999", "\"many\"", "\"../..\"", "engraft-adapter-1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    write(tensors(), &[("miner", "5000")]);
    assert!(problems().contains("5000"));
    source
        .networks()
        .map(|networks| StateDict::of(&networks.generator).save(&path))
        .unwrap()
        .unwrap();
    assert!(problems().contains("engraft-adapter-1"));
    std::fs::write(&path, "no file").unwrap();
    assert!(AdapterFile::open(&path).is_err());
}

#[test]
fn a_miner_trains_and_the_generator_stays_unchanged() {
    let source = source();
    let folder = tempfile::tempdir().unwrap();
    train(&source, folder.path(), Trainable::Miner, |p| p.miner = Some(16));
    let Networks {
        generator: before, ..
    } = source.networks().unwrap();
    let before = bits(&StateDict::of(&before));
    for file in ["generator", "average"] {
        let path = folder
            .path()
            .join(format!("checkpoints/step-000003/{file}.safetensors"));
        let after = bits(&StateDict::load(path).unwrap());
        assert_eq!(after.len(), before.len() + 4, "{file}");
        for (name, old) in &before {
            assert!(after[name] == *old, "{name} of the {file} changed");
        }
        assert!(after["miner.out.weight"].iter().any(|x| *x != 0), "{file}");
    }
    // A phase cannot train a miner that does not exist.
    let mut plan = Recipe::fine_tune(&source).unwrap().plan;
    plan.phases = vec![Phase {
        generator: Trainable::Miner,
        ..Phase::default()
    }];
    let error = Transfer::new(source.clone(), plan).err().unwrap().to_string();
    assert!(error.contains("plan.miner"), "{error}");
}

#[test]
fn a_miner_does_not_change_the_class_condition() {
    let source = source_with(1, |config| config.classes = 10);
    let folder = tempfile::tempdir().unwrap();
    train(&source, folder.path(), Trainable::Miner, |p| p.miner = Some(8));
    let run = open_run(folder.path(), CheckpointChoice::Last).unwrap();
    assert_eq!(run.sampler.class_count(), 10);
    let file = AdapterFile::open(&folder.path().join(AdapterFile::NAME)).unwrap();
    assert!(pixels(&file.sampler(&source).unwrap()) == pixels(&run.sampler));
}

/// A patch discriminator trains with feature distillation and a frozen block, and stays in another transfer.
#[test]
fn a_patch_discriminator_trains_and_stays_in_the_next_transfer() {
    let source = source_with(1, |config| config.network = "dcgan".into());
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let of = |source: &PretrainedGan| bits(&StateDict::of(&source.networks().unwrap().discriminator));
    train(&source, &at("first"), Trainable::All, |p| {
        p.patch_discriminator = true;
        p.distillation = 0.1;
        p.phases[0].discriminator = Trainable::Except(vec!["block1".into()]);
    });
    let first = open_source(&at("first"), CheckpointChoice::Last).unwrap();
    let (before, after) = (of(&source), of(&first));
    assert_eq!(before["head.weight"].len(), 49 * after["head.weight"].len());
    assert!(before["block1.conv.weight"] == after["block1.conv.weight"]);
    assert!(before["block2.conv.weight"] != after["block2.conv.weight"]);
    let initial = Transfer::new(source.clone(), {
        let mut plan = Recipe::fine_tune(&source).unwrap().plan;
        plan.patch_discriminator = true;
        plan
    });
    let initial = bits(&StateDict::of(
        &initial.unwrap().initial_networks().unwrap().discriminator,
    ));
    assert!(initial["head.weight"] != after["head.weight"], "the head trains");
    // The patch head stays, whether or not the next transfer sets patch_discriminator.
    for (name, asks) in [("asked", true), ("unasked", false)] {
        let mut plan = Recipe::fine_tune(&first).unwrap().plan;
        plan.patch_discriminator = asks;
        let carried = Transfer::new(first.clone(), plan)
            .unwrap()
            .initial_networks()
            .unwrap()
            .discriminator;
        assert!(bits(&StateDict::of(&carried)) == after, "{name}");
    }
    let error = Transfer::new(self::source(), {
        let mut plan = Recipe::fine_tune(&self::source()).unwrap().plan;
        plan.patch_discriminator = true;
        plan
    });
    let error = error.err().unwrap().to_string();
    assert!(error.contains("plan.patch_discriminator"), "{error}");
}

/// Gradient penalties use the sum over the patches of each image.
#[test]
fn patch_discriminators_support_gradient_penalties() {
    let source = source_with(1, |config| {
        config.network = "residual".into();
        (config.regularize.r1_gamma, config.regularize.r2_gamma) = (1.0, 1.0);
    });
    let folder = tempfile::tempdir().unwrap();
    train(&source, folder.path(), Trainable::All, |p| {
        p.patch_discriminator = true
    });
    let learned = open_source(folder.path(), CheckpointChoice::Last).unwrap();
    let head = |source: &PretrainedGan| {
        let discriminator = source.networks().unwrap().discriminator;
        StateDict::of(&discriminator).get("head.weight").unwrap().len()
    };
    assert!(head(&learned) < head(&source));
}

#[test]
fn a_transfer_can_be_the_source_of_another() {
    let source = source();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // The adapter is merged into the weights.
    train(&source, &at("first"), Trainable::Adapter, |p| {
        p.adapter = Some(Adapter::LowRank { rank: 2 })
    });
    let first = open_source(&at("first"), CheckpointChoice::Last).unwrap();
    let (names, whole) = (
        |s: &PretrainedGan| s.networks().unwrap().generator,
        |g| bits(&StateDict::of(&g)),
    );
    let keys = |s: &PretrainedGan| whole(names(s)).into_keys().collect::<Vec<_>>();
    assert_eq!(keys(&first), keys(&source));
    let run = pixels(&open_run(&at("first"), CheckpointChoice::Last).unwrap().sampler);
    assert!(
        pixels(&first.sampler().unwrap()) == run,
        "the source generates the images of the run"
    );
    // Another adapter can be added. A miner stays, also in a transfer without plan.miner.
    train(&first, &at("second"), Trainable::Miner, |p| {
        p.miner = Some(16);
        p.adapter = Some(Adapter::OutputScale);
    });
    let second = open_source(&at("second"), CheckpointChoice::Last).unwrap();
    assert_eq!(keys(&second).len(), keys(&source).len() + 4);
    train(&second, &at("third"), Trainable::All, |_| ());
    let third = open_source(&at("third"), CheckpointChoice::Last).unwrap();
    assert_eq!(keys(&third), keys(&second));
    let run = pixels(&open_run(&at("third"), CheckpointChoice::Last).unwrap().sampler);
    assert!(pixels(&third.sampler().unwrap()) == run);
    assert_eq!(
        third.generator_layers().unwrap(),
        ["hidden1", "hidden2", "to_image"]
    );
    assert!(
        !at("third").join(AdapterFile::NAME).exists(),
        "the whole generator trained"
    );
    // The miner can train further, but its width cannot change.
    let mut plan = Recipe::fine_tune(&third).unwrap().plan;
    plan.miner = Some(17);
    let error = Transfer::new(third, plan).err().unwrap().to_string();
    assert!(error.contains("16") && error.contains("17"), "{error}");
}

#[test]
fn a_run_keeps_its_source() {
    let (source, other) = (source(), source_with(5, |_| ()));
    let folder = tempfile::tempdir().unwrap();
    train(&source, folder.path(), Trainable::BatchNorm, |_| ());
    let experiment = Experiment {
        source: &other,
        target: &target(),
        steps: 3,
        seed: 2,
    };
    let method = TransferMethod::Recipe(Box::new(Recipe::fine_tune(&other).unwrap()));
    let error = experiment
        .train(&method, folder.path(), &mut |_| ControlFlow::Continue(()))
        .err()
        .unwrap();
    assert!(matches!(error, TransferError::OtherSource { .. }), "{error}");
    let kept = open_source(&folder.path().join("source"), CheckpointChoice::Last).unwrap();
    assert_eq!(kept.sha256().unwrap(), source.sha256().unwrap());
}

#[test]
fn a_source_with_spectral_normalization_can_be_transferred() {
    let source = source_with(1, |config| {
        config.regularize = RegularizeConfig {
            spectral_norm: SpectralNorm::Both,
            ..RegularizeConfig::default()
        };
    });
    let folder = tempfile::tempdir().unwrap();
    train(&source, folder.path(), Trainable::Miner, |p| p.miner = Some(8));
    let again = open_source(folder.path(), CheckpointChoice::Last).unwrap();
    let run = pixels(&open_run(folder.path(), CheckpointChoice::Last).unwrap().sampler);
    assert!(pixels(&again.sampler().unwrap()) == run);
}

#[test]
fn gradual_unfreezing_starts_at_the_output() {
    let source = source();
    let layers = source.generator_layers().unwrap();
    let mut recipe = Recipe::fine_tune(&source).unwrap();
    recipe.plan.phases = gradual_unfreezing(&layers, 2, &Phase::default()).unwrap();
    let data = target();
    let mut config = recipe.train_config(&source, &data, 6, 4);
    (config.output.checkpoint_every, config.output.keep_checkpoints) = (1, 9);
    let plan = Transfer::new(source.clone(), recipe.plan).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let plan = std::sync::Arc::new(plan);
    let mut trainer = Trainer::builder(config, data)
        .plan(plan)
        .open(folder.path())
        .unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    let at = |step: u64| {
        let path = folder
            .path()
            .join(format!("checkpoints/step-{step:06}/generator.safetensors"));
        bits(&StateDict::load(path).unwrap())
    };
    for (phase, trainable) in [(0, &layers[2..]), (1, &layers[1..]), (2, &layers[..])] {
        let (before, after) = (at(2 * phase), at(2 * phase + 2));
        for (name, old) in &before {
            let layer = name.split('.').next().unwrap();
            let trains = trainable.iter().any(|name| name == layer);
            assert_eq!(after[name] != *old, trains, "{name} in phase {phase}");
        }
    }
}

#[test]
fn frozen_parameters_keep_their_bits_and_others_change() {
    let init = &mut Init::glorot(1);
    let mut gan = Gan::<f32>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT);
    let frozen_g = ParamFilter::under(["stem", "block1"]);
    let frozen_d = ParamFilter::under(["block1", "block2.norm"]);
    freeze(&mut gan.generator, &frozen_g).unwrap();
    freeze(&mut gan.discriminator, &frozen_d).unwrap();
    let before = [
        bits(&StateDict::of(&gan.generator)),
        bits(&StateDict::of(&gan.discriminator)),
    ];
    let rng = &mut Pcg64::seed_from_u64(2);
    let real = Tensor::uniform([4, 28, 28, 1], -1.0, 1.0, rng);
    for _ in 0..10 {
        gan.step(&real, Condition::None, rng);
    }
    let after = [
        bits(&StateDict::of(&gan.generator)),
        bits(&StateDict::of(&gan.discriminator)),
    ];
    for (network, frozen) in [frozen_g, frozen_d].iter().enumerate() {
        for (name, old) in &before[network] {
            let same = *old == after[network][name];
            assert_eq!(same, frozen.matches(name), "{name} of network {network}");
        }
    }
}
