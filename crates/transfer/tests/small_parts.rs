//! What trains in the place of a generator's weights (adapters, batch norms, a miner), the file it goes into, gradual
//! unfreezing, a discriminator of patches, and a transfer of a transfer, on networks small enough for it.

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

/// A source that has hardly learned anything: here it is its weights that count.
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

/// Three steps in which this trains of the generator.
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
    let trained = experiment
        .train(&method, directory, &mut |_| ControlFlow::Continue(()))
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
fn source_and_small_file_are_the_adapted_generator_bit_for_bit() {
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
        // Of the source's own weights nothing is in it, averaged or not.
        let is_weight = |name: &&&String| name.ends_with("dense.weight") || **name == "to_image.weight";
        assert_eq!(names.iter().find(is_weight), None, "{part}");
        let run = pixels(&open_run(folder.path(), CheckpointChoice::Last).unwrap().sampler);
        assert!(run != of_source, "{part} learned something");
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
fn an_adapter_file_that_does_not_fit_is_refused_with_the_reason() {
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
    assert!(text.contains("unexpected: to_imgae.adapter.a"), "{text}");
    assert!(
        text.contains("hidden1.dense.adapter.b: expected shape [500, 2], found [3, 2]"),
        "{text}"
    );
    write(tensors(), &[("adapter", "low-rank=3")]);
    assert!(attached().contains("expected shape [500, 3], found [500, 2]"));
    write(tensors(), &[("adapter", "none")]);
    assert!(attached().contains("unexpected: "));

    let refused = || AdapterFile::open(&path).unwrap_err().to_string();
    write(
        tensors(),
        &[
            ("adapter", "low-rank=99999999"),
            ("miner", "many"),
            ("source_sha256", "../.."),
            ("format", "2"),
        ],
    );
    let text = refused();
    for part in [
        "from 1 to 512",
        "expected a width or none, found \"many\"",
        "64 hexadecimal digits",
        "engraft-adapter-1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    write(tensors(), &[("miner", "5000")]);
    assert!(refused().contains("from 1 to 4096 numbers, got 5000"));
    source
        .networks()
        .map(|networks| StateDict::of(&networks.generator).save(&path))
        .unwrap()
        .unwrap();
    assert!(refused().contains("none of that name"));
    std::fs::write(&path, "no file").unwrap();
    assert!(AdapterFile::open(&path).is_err());
}

#[test]
fn a_miner_learns_and_the_generator_keeps_every_byte() {
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
            assert!(after[name] == *old, "{name} of the {file} moved");
        }
        assert!(after["miner.out.weight"].iter().any(|x| *x != 0), "{file}");
    }
    // Without a miner there is nothing to train.
    let mut plan = Recipe::fine_tune(&source).unwrap().plan;
    plan.phases = vec![Phase {
        generator: Trainable::Miner,
        ..Phase::default()
    }];
    let error = Transfer::new(source.clone(), plan).err().unwrap().to_string();
    assert!(error.contains("set plan.miner"), "{error}");
}

#[test]
fn a_miner_leaves_the_class_behind_the_latent_vector_alone() {
    let source = source_with(1, |config| config.classes = 10);
    let folder = tempfile::tempdir().unwrap();
    train(&source, folder.path(), Trainable::Miner, |p| p.miner = Some(8));
    let run = open_run(folder.path(), CheckpointChoice::Last).unwrap();
    assert_eq!(run.sampler.class_count(), 10);
    let file = AdapterFile::open(&folder.path().join(AdapterFile::NAME)).unwrap();
    assert!(pixels(&file.sampler(&source).unwrap()) == pixels(&run.sampler));
}

/// A discriminator of patches learns beside feature distillation, keeps its frozen block, and goes on in another transfer.
#[test]
fn a_discriminator_of_patches_learns_and_is_carried_on() {
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
    let begun = Transfer::new(source.clone(), {
        let mut plan = Recipe::fine_tune(&source).unwrap().plan;
        plan.patch_discriminator = true;
        plan
    });
    let begun = bits(&StateDict::of(
        &begun.unwrap().initial_networks().unwrap().discriminator,
    ));
    assert!(begun["head.weight"] != after["head.weight"], "the head learned");
    // Patches stay, whether the next transfer asks for them or not.
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
    assert!(
        error.contains("plan.patch_discriminator") && error.contains("expected dcgan"),
        "{error}"
    );
}

/// The penalties of the source's settings look at each image's patches together.
#[test]
fn patches_go_with_a_gradient_penalty() {
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
fn a_transfer_is_the_source_of_another() {
    let source = source();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // The adapter becomes part of the weights ..
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
        "the source is what the run draws"
    );
    // .. and may come again; a miner stays, through a transfer that does not ask for one.
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
        "all of the generator trained"
    );
    // The miner learns on, but cannot be made wider.
    let mut plan = Recipe::fine_tune(&third).unwrap().plan;
    plan.miner = Some(17);
    let error = Transfer::new(third, plan).err().unwrap().to_string();
    assert!(
        error.contains("a hidden layer of 16 already") && error.contains("got 17"),
        "{error}"
    );
}

#[test]
fn a_run_keeps_the_source_that_it_was_begun_from() {
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
    let there = open_source(&folder.path().join("source"), CheckpointChoice::Last).unwrap();
    assert_eq!(there.sha256().unwrap(), source.sha256().unwrap());
}

#[test]
fn a_source_with_spectral_normalization_is_carried_like_any_other() {
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
fn a_generator_thaws_from_its_output_backwards() {
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
    for (phase, thawed) in [(0, &layers[2..]), (1, &layers[1..]), (2, &layers[..])] {
        let (before, after) = (at(2 * phase), at(2 * phase + 2));
        for (name, old) in &before {
            let layer = name.split('.').next().unwrap();
            let moves = thawed.iter().any(|thawed| thawed == layer);
            assert_eq!(after[name] != *old, moves, "{name} in phase {phase}");
        }
    }
}

#[test]
fn what_is_frozen_keeps_its_bytes_and_the_rest_moves() {
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
