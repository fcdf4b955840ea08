//! Settings: their text, hash and errors.

use super::*;
use crate::augment::{AdaptiveConfig, Augmentation};
use crate::objective::Objective;
use engraft_data::{Dataset, Provenance};
use std::path::Path;

fn data(n: usize) -> Dataset {
    Dataset::new(
        "mnist",
        Provenance::Memory,
        vec![7; n * 784],
        dcgan::IMAGE,
        vec![0; n],
    )
    .unwrap()
}

#[test]
fn a_config_survives_its_text() {
    for config in [
        TrainConfig::standard(&data(600)),
        TrainConfig::tutorial(&data(600)),
    ] {
        config.check().unwrap();
        let text = config.to_toml();
        assert_eq!(
            TrainConfig::from_toml(&text, Path::new("run.toml")).unwrap(),
            config,
            "{text}"
        );
    }
    assert_eq!(TrainConfig::tutorial(&data(600)).steps, 100);
}

#[test]
fn an_unknown_setting_is_an_error_with_its_line() {
    let text = TrainConfig::standard(&data(600))
        .to_toml()
        .replace("batch =", "bacth =");
    let error = TrainConfig::from_toml(&text, Path::new("some/run.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("some/run.toml") && error.contains("bacth"),
        "{error}"
    );
}

#[test]
fn all_problems_come_at_once() {
    let mut config = TrainConfig::standard(&data(10));
    config.batch = 11;
    config.generator.learning_rate = f64::NAN;
    config.discriminator.beta2 = 1.0;
    config.output.sample_every = 0;
    let text = config.check().unwrap_err().to_string();
    for part in [
        "batch",
        "generator.learning_rate",
        "discriminator.beta2",
        "output.sample_every",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn only_fixed_settings_count_as_different() {
    let run = TrainConfig::standard(&data(600));
    let mut wanted = run.clone();
    wanted.steps = 9;
    wanted.output.sample_every = 1;
    assert!(run.fixed_differences(&wanted).is_empty());
    wanted.batch = 128;
    wanted.generator.beta1 = 0.9;
    assert_eq!(
        run.fixed_differences(&wanted),
        [
            "batch: the run has 64, the new settings have 128",
            "generator.beta1: the run has 0.5, the new settings have 0.9"
        ]
    );
}

#[test]
fn every_seed_and_count_has_a_text_and_a_hash() {
    let mut config = TrainConfig::standard(&data(600));
    let mut table = toml::Table::try_from(&config).unwrap();
    table.retain(|name, _| !["steps", "output", "evaluation"].contains(&name));
    assert_eq!(fixed::settings(&config), fixed::flat(&table));
    config.seed = u64::MAX;
    config.steps = u64::MAX;
    config.ema_half_life = u64::MAX - 1;
    config.output.sample_every = 1 << 63;
    config.check().unwrap();
    let text = config.to_toml();
    assert_eq!(
        TrainConfig::from_toml(&text, Path::new("run.toml")).unwrap(),
        config
    );
    let mut other = config.clone();
    other.seed -= 1;
    assert_ne!(config.fixed_hash(), other.fixed_hash());
    assert_eq!(
        config.fixed_differences(&other),
        ["seed: the run has 18446744073709551615, the new settings have 18446744073709551614"]
    );
}

#[test]
fn a_name_of_data_is_no_path_and_moves_no_cursor() {
    let mut config = TrainConfig::standard(&data(600));
    for name in ["../../x", "x\u{1b}[31m", "", ".", "a b", "a/b"] {
        config.data = name.into();
        let text = config.check().unwrap_err().to_string();
        assert!(
            text.contains("data must be") && !text.contains('\u{1b}'),
            "{text}"
        );
    }
    let text = TrainConfig::from_toml("data = \"\u{1b}[31m\"", Path::new("run.toml"))
        .unwrap_err()
        .to_string();
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn other_images_are_refused() {
    let config = TrainConfig::standard(&data(600));
    config.check_data(&data(600)).unwrap();
    assert!(matches!(
        config.check_data(&data(599)),
        Err(GanError::OtherData { .. })
    ));
    let small = Dataset::new("usps", Provenance::Memory, vec![0; 256], [16, 16, 1], vec![0]).unwrap();
    assert!(matches!(
        config.check_data(&small),
        Err(GanError::ImageSize {
            found: [16, 16, 1],
            ..
        })
    ));
}

/// Settings of a run of an earlier version, whose checkpoints have the hash below.
const EARLIER: &str = r#"
data = "mnist"
images = 600
fingerprint = "0"
seed = 1
held_out = 60
steps = 4000
batch = 64
order = "simultaneous"
average_half_life = 10000

[objective]
kind = "relativistic"
critic_steps = 2

[generator]
learning_rate = 0.0002
beta1 = 0.5
beta2 = 0.999
epsilon = 0.0000001

[discriminator]
learning_rate = 0.0002
beta1 = 0.5
beta2 = 0.999
epsilon = 0.0000001

[regularise]
r1 = 1.0
r2 = 2.0
every = 8

[watch]
every = 500

[output]
sample_every = 100
checkpoint_every = 250
keep_checkpoints = 3
"#;
const EARLIER_HASH: &str = "c8c9d6aaeed287494dc177309d060f805907a7a68ccc9ac731e021a1b8b95634";

#[test]
fn settings_of_an_earlier_version_are_the_same_run() {
    let read = |text: &str| TrainConfig::from_toml(text, Path::new("run.toml")).unwrap();
    let run = read(EARLIER);
    assert_eq!(
        (run.validation_images, run.ema_half_life, run.evaluation.every),
        (60, 10_000, 500)
    );
    assert_eq!((run.objective.n_critic, run.regularize.interval), (2, 8));
    assert_eq!((run.regularize.r1_gamma, run.regularize.r2_gamma), (1.0, 2.0));
    assert_eq!(run.fixed_hash(), EARLIER_HASH);
    let text = run.to_toml();
    for earlier in [
        "held_out",
        "average_half_life",
        "regularise",
        "watch",
        "critic_steps",
        "r1 =",
        "r2 =",
    ] {
        assert!(!text.contains(earlier), "{earlier}: {text}");
    }
    assert_eq!(read(&text), run);

    let mut wanted = run.clone();
    (
        wanted.ema_half_life,
        wanted.regularize.r1_gamma,
        wanted.objective.n_critic,
    ) = (5, 3.0, 3);
    let names: Vec<String> = run.fixed_differences(&wanted);
    for (line, name) in names
        .iter()
        .zip(["ema_half_life", "objective.n_critic", "regularize.r1_gamma"])
    {
        assert!(line.starts_with(name), "{names:?}");
    }
}

/// A run's text with everything set that can stand together, as somebody would write it.
const EVERYTHING: &str = r#"
[objective]
kind = "relativistic"
packing = 2
n_critic = 2
feature_matching = { layer = "block2", weight = 0.5 }

[regularize]
r1_gamma = 1.0
r2_gamma = 2.0
interval = 8
lecam = 0.1
spectral_norm = "discriminator"

[augment]
kinds = ["translation", "cutout", "quarter-turn"]
probability = 0.5
"#;

/// The text of the default settings with other sections.
fn with_sections(sections: &str) -> String {
    let text = TrainConfig::standard(&data(600)).to_toml();
    text.replace("objective = \"non-saturating\"\n", "") + sections
}

#[test]
fn sections_are_read_and_written() {
    let read = |text: &str| TrainConfig::from_toml(text, Path::new("run.toml"));
    let config = read(&with_sections(EVERYTHING)).unwrap();
    assert_eq!(config.objective.kind, Objective::Relativistic);
    assert_eq!((config.objective.packing, config.objective.n_critic), (2, 2));
    assert_eq!((config.regularize.r2_gamma, config.regularize.interval), (2.0, 8));
    assert_eq!(config.regularize.lecam_decay, 0.99);
    assert_eq!(config.augment.kinds[2], Augmentation::QuarterTurn);
    assert_eq!(config.augment.probability, Some(0.5));
    assert_eq!(read(&config.to_toml()).unwrap(), config, "{}", config.to_toml());
    let adaptive = "[objective]\n[augment]\nkinds = [\"flip\"]\n[augment.adaptive]\nimages = 1000\n";
    let config = read(&with_sections(adaptive)).unwrap();
    let expected = AdaptiveConfig {
        images: 1000,
        ..AdaptiveConfig::default()
    };
    assert_eq!(config.augment.adaptive, Some(expected));
    assert_eq!(config.objective, Objective::NonSaturating.into());
    assert_eq!(read(&config.to_toml()).unwrap(), config);
}

#[test]
fn settings_that_are_not_used_leave_no_trace() {
    let text = TrainConfig::standard(&data(600)).to_toml();
    assert!(text.contains("objective = \"non-saturating\"\n"), "{text}");
    for name in ["regulari", "augment", "standing", "packing"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
}

#[test]
fn a_wrong_section_is_named() {
    for (sections, part) in [
        ("[objective]\nkind = \"hing\"\n", "hing"),
        ("[objective]\nkinds = \"hinge\"\n", "kinds"),
        ("[regularize]\nr3 = 1.0\n", "r3"),
        ("[augment]\nkinds = [\"flop\"]\n", "flop"),
        ("[augment.adaptive]\ngoal = 0.5\n", "goal"),
    ] {
        let text = with_sections(sections);
        let text = if sections.starts_with("[objective]") {
            text
        } else {
            format!("objective = \"hinge\"\n{text}")
        };
        let error = TrainConfig::from_toml(&text, Path::new("run.toml"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    let text = format!("objective = 3\n{}", with_sections(""));
    let error = TrainConfig::from_toml(&text, Path::new("run.toml"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("[objective]"), "{error}");
}

#[test]
fn all_invalid_combinations_are_reported_at_once() {
    let mut config = TrainConfig::standard(&data(600));
    config.objective = ObjectiveConfig {
        kind: Objective::Wasserstein,
        label_smoothing: 0.1,
        packing: 7,
        ..ObjectiveConfig::default()
    };
    config.regularize.r1_gamma = 1.0;
    config.augment.adaptive = Some(AdaptiveConfig::default());
    config.standing_batches = 4;
    config.ema_half_life = 0;
    let text = config.check().unwrap_err().to_string();
    for part in [
        "objective.label_smoothing",
        "objective.packing",
        "batch norm (block2.norm)",
        "wasserstein",
        "augment.adaptive",
        "standing_batches",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn every_section_is_fixed_once_a_run_has_begun() {
    let run = TrainConfig::standard(&data(600));
    let mut wanted = run.clone();
    wanted.regularize.lecam = 0.5;
    wanted.augment.kinds = vec![Augmentation::Flip];
    let text = run.fixed_differences(&wanted).join("\n");
    assert!(
        text.contains("regularize.lecam") && text.contains("augment.kinds"),
        "{text}"
    );
    assert_ne!(run.fixed_hash(), wanted.fixed_hash());
}

#[test]
fn labels_of_a_conditional_run_are_part_of_its_hash() {
    let labeled = |last: u8| {
        let labels = vec![0, 1, 1, last];
        Dataset::new(
            "mnist",
            Provenance::Memory,
            vec![7; 4 * 784],
            dcgan::IMAGE,
            labels,
        )
        .unwrap()
    };
    let plain = TrainConfig::standard(&labeled(0));
    let same = plain.clone().with_labels_of(&labeled(0));
    assert_eq!(same, plain, "an unconditional run has no hash of labels");
    plain.check_data(&labeled(1)).unwrap();

    let mut conditional = plain.clone();
    conditional.classes = 2;
    let unlabeled = conditional.clone();
    let conditional = conditional.with_labels_of(&labeled(0));
    assert_eq!(conditional.fingerprint, plain.fingerprint);
    assert_eq!(
        TrainConfig::from_toml(&conditional.to_toml(), Path::new("run.toml")).unwrap(),
        conditional
    );
    conditional.check_data(&labeled(0)).unwrap();
    let error = conditional.check_data(&labeled(1)).unwrap_err();
    assert!(matches!(error, GanError::OtherLabels { .. }), "{error}");
    let other = unlabeled.with_labels_of(&labeled(1));
    assert_ne!(conditional.fixed_hash(), other.fixed_hash());
}

#[test]
fn sizes_beyond_the_limits_are_refused() {
    let mut config = TrainConfig::standard(&data(600));
    (config.objective.packing, config.classes) = (u32::MAX, u32::MAX);
    let text = config.problems().join("\n");
    assert!(
        text.contains("objective.packing must be at most 334 for images of 28x28x1"),
        "{text}"
    );
    assert!(text.contains("classes must be 0 or up to 256"), "{text}");
    // The packs of any batch that somebody may ask for stay.
    config = TrainConfig::tutorial(&data(600));
    (config.objective.packing, config.evaluation.every) = (128, 0);
    assert_eq!(config.problems(), Vec::<String>::new());
}

fn problems_of(config: &TrainConfig) -> Vec<String> {
    match config.check() {
        Ok(()) => Vec::new(),
        Err(GanError::Config { problems }) => problems,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn fault_02_images_of_another_size_than_the_setting_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let data = data(30);
    let mut config = TrainConfig::standard(&data);
    (config.network, config.batch) = ("mlp".into(), 8);
    config.image = [64, 64, 1];
    let error = crate::Trainer::open(config, data, &run).err().unwrap();
    assert!(
        matches!(&error, GanError::Config { problems } if problems[0].contains("64x64x1")),
        "{error}"
    );
    assert!(!run.exists());
}

#[test]
fn fault_03_numbers_that_toml_cannot_hold_are_refused() {
    let config = TrainConfig::standard(&data(600));
    let most = i64::MAX as u64;
    let with = |change: &dyn Fn(&mut TrainConfig, u64), value| {
        let mut config = config.clone();
        change(&mut config, value);
        config
    };
    type Change = fn(&mut TrainConfig, u64);
    let numbers: [(&str, Change); 3] = [
        ("evaluation.every", |c, n| c.evaluation.every = n),
        ("network.latent", |c, n| c.network.latent = Some(n as usize)),
        ("network.widths", |c, n| c.network.widths = vec![n as usize]),
    ];
    for (name, change) in numbers {
        let problems = problems_of(&with(&change, most + 1));
        assert!(
            problems.iter().any(|problem| problem.starts_with(name)),
            "{name}: {problems:?}"
        );
    }
    // The seed has a hash of its own, and runs with large seeds exist.
    let large = with(&|c, n| c.seed = n, u64::MAX);
    assert_eq!(problems_of(&large), [""; 0]);
    assert_eq!(
        TrainConfig::from_toml(&large.to_toml(), Path::new("run.toml")).unwrap(),
        large
    );
    let error = large.changed("steps=3").unwrap_err();
    assert!(
        matches!(&error, GanError::Config { problems } if problems[0].starts_with("seed")),
        "{error}"
    );
}

#[test]
fn fault_13_numbers_of_steps_that_never_end_are_refused() {
    let mut config = TrainConfig::standard(&data(600));
    let set = |config: &mut TrainConfig, [standing, rollbacks, n_critic]: [u32; 3]| {
        (config.standing_batches, config.evaluation.rollbacks) = (standing, rollbacks);
        config.objective.n_critic = n_critic;
    };
    set(&mut config, [10_000, 100, 1000]);
    assert_eq!(problems_of(&config), [""; 0]);
    set(&mut config, [10_001, 101, 1001]);
    let problems = problems_of(&config);
    let expected = [
        ("standing_batches must be at most 10000 (", "got 10001"),
        ("evaluation.rollbacks must be at most 100 (", "got 101"),
        ("objective.n_critic must be at most 1000 (", "got 1001"),
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, (limit, found)) in problems.iter().zip(expected) {
        assert!(
            problem.starts_with(limit) && problem.ends_with(found),
            "{problem}"
        );
    }
    // These have ranges of their own, and the refusals say them too.
    type Change = fn(&mut TrainConfig);
    let ranges: [(&str, Change); 4] = [
        ("objective.packing must be at most 334", |c| {
            c.objective.packing = u32::MAX
        }),
        ("micro_batches must be from 1 to 1024", |c| {
            c.micro_batches = u32::MAX
        }),
        ("evaluation.images must be from 20 to 50000", |c| {
            (c.evaluation.every, c.evaluation.images) = (1, u32::MAX);
        }),
        ("pseudo_labels.clusters must be 0 or up to 256", |c| {
            c.pseudo_labels.clusters = u32::MAX;
        }),
    ];
    for (range, change) in ranges {
        let mut config = TrainConfig::standard(&data(600));
        config.validation_images = 60;
        change(&mut config);
        let problems = config.problems();
        assert!(
            problems.iter().any(|p| p.starts_with(range)),
            "{range}: {problems:?}"
        );
    }
}

#[test]
fn the_precision_is_a_setting_with_two_names() {
    let config = TrainConfig::standard(&engraft_data::drawn_digits(engraft_data::Split::Train, 300, 1));
    assert!(
        !toml::to_string(&config).unwrap().contains("precision"),
        "the default is not written"
    );
    let rounded = config.changed("precision=bf16").unwrap();
    assert_eq!(rounded.precision, engraft_tensor::Precision::Bf16);
    assert!(
        toml::to_string(&rounded)
            .unwrap()
            .contains("precision = \"bf16\"")
    );
    assert!(
        matches!(config.changed("precision=f16"), Err(GanError::Config { problems }) if problems[0].contains("bf16"))
    );
}
