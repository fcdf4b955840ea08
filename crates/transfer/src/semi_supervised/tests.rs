//! Whole trainings on small images.

use super::*;
use crate::error::TransferError;
use engraft_data::{Dataset, Provenance};
use engraft_gan::Sampler;
use engraft_gan::checkpoint::CheckpointStore;
use engraft_layers::{Dense, Init, Reshape, Sequential};
use engraft_tensor::Tensor;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Images of 4x4 pixels in three classes: a bright row on noise, whose position is the class.
fn rows(n: usize, seed: u64) -> Dataset {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let labels: Vec<u8> = (0..n).map(|i| (i % 3) as u8).collect();
    let mut pixels = Vec::new();
    for &label in &labels {
        for row in 0..4 {
            let bright = row == usize::from(label);
            pixels.extend((0..4).map(|_| rng.random_range(if bright { 120..=255 } else { 0..=100_u8 })));
        }
    }
    Dataset::new("rows", Provenance::Memory, pixels, [4, 4, 1], labels).unwrap()
}

fn settings(steps: u64, seed: u64) -> SemiSupervisedConfig {
    SemiSupervisedConfig {
        batch: 12,
        hidden: vec![24, 12],
        ..SemiSupervisedConfig::new(steps, seed)
    }
}

fn few_labels<'a>(data: &'a Dataset, unlabeled: Option<&'a Dataset>) -> Examples<'a> {
    Examples {
        labeled: vec![(data, select_labeled(data.labels(), 6, 1).unwrap())],
        unlabeled,
    }
}

#[test]
fn training_reduces_errors_with_and_without_a_generator() {
    let (train, test) = (rows(120, 1), rows(60, 2));
    for unlabeled in [None, Some(&train)] {
        let mut task = SemiSupervised::new(few_labels(&train, unlabeled), settings(150, 1)).unwrap();
        let before = task.error_count(&test);
        let mut steps = Vec::new();
        task.train(&mut |_, step, losses| {
            assert_eq!(losses.adversarial.is_some(), unlabeled.is_some());
            steps.push(step);
        })
        .unwrap();
        assert_eq!(steps, (1..=150).collect::<Vec<u64>>());
        let after = task.error_count(&test);
        assert!(after < 12 && after < before, "{before} and {after} of 60");
    }
}

#[test]
fn results_depend_on_seed_and_extra_losses() {
    let train = rows(60, 1);
    let run = |terms: ExtraLosses, seed| {
        let settings = SemiSupervisedConfig {
            extra_losses: terms,
            ..settings(4, seed)
        };
        let mut task = SemiSupervised::new(few_labels(&train, Some(&train)), settings).unwrap();
        let mut found = Vec::new();
        task.train(&mut |_, _, losses| found.push(losses)).unwrap();
        found
    };
    let plain = run(ExtraLosses::default(), 1);
    assert_eq!(plain, run(ExtraLosses::default(), 1));
    assert_ne!(plain, run(ExtraLosses::default(), 2));
    let [d, g] = plain[0].adversarial.unwrap();
    let with = |pull_away, conditional_entropy| {
        let terms = ExtraLosses {
            pull_away,
            conditional_entropy,
        };
        run(terms, 1)[0].adversarial.unwrap()
    };
    // Losses of the first step, which has the same weights.
    let once = with(1.0, 0.0);
    assert!(once[0] == d && once[1] > g);
    assert!((with(3.0, 0.0)[1] - g - 3.0 * (once[1] - g)).abs() < 1e-4);
    let once = with(0.0, 1.0);
    assert!(once[1] == g && once[0] > d);
}

#[test]
fn an_interrupted_training_resumes_bit_for_bit() {
    let train = rows(60, 1);
    let images = Tensor::uniform([5, 16], 0.0, 1.0, &mut Pcg64::seed_from_u64(1));
    let folder = tempfile::tempdir().unwrap();
    for (name, unlabeled, shift) in [
        ("alone", None, 0),
        ("with a generator", Some(&train), 0),
        ("with shifts", Some(&train), 1),
    ] {
        // The learning rate decays from step 6 on, and the sixth batch of 60 images starts an epoch.
        let settings = SemiSupervisedConfig {
            shift,
            ..settings(9, 1)
        };
        let new = || SemiSupervised::new(few_labels(&train, unlabeled), settings.clone()).unwrap();
        let finish = |mut task: SemiSupervised<'_>| {
            let mut losses = Vec::new();
            task.train(&mut |_, _, found| losses.push(found)).unwrap();
            (losses, task.probabilities(&images).as_slice().to_vec())
        };
        let (losses, whole) = finish(new());
        for at in [0, 4, 7, 9] {
            let mut store = CheckpointStore::open(&folder.path().join(format!("{name} {at}")), 1).unwrap();
            let mut task = new();
            for _ in 0..at {
                task.step().unwrap();
            }
            store.save(at, "", &task.checkpoint_files().unwrap()).unwrap();
            let saved = store.latest().unwrap().unwrap().checkpoint;
            let task = new().resume(&saved).unwrap();
            assert_eq!(task.steps_done(), at);
            assert_eq!(
                finish(task),
                (losses[at as usize..].to_vec(), whole.clone()),
                "{name}, {at}"
            );
        }
    }
}

#[test]
fn shifts_change_the_training_and_its_checkpoints() {
    let train = rows(60, 1);
    let new = |shift| {
        let settings = SemiSupervisedConfig {
            shift,
            ..settings(3, 1)
        };
        SemiSupervised::new(few_labels(&train, Some(&train)), settings)
    };
    let first = |shift| new(shift).unwrap().step().unwrap();
    assert_eq!(first(1), first(1));
    assert_ne!(first(0), first(1));
    let folder = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(folder.path(), 1).unwrap();
    store
        .save(0, "", &new(1).unwrap().checkpoint_files().unwrap())
        .unwrap();
    let saved = store.latest().unwrap().unwrap().checkpoint;
    assert!(new(1).unwrap().resume(&saved).is_ok() && new(2).unwrap().resume(&saved).is_err());
    let error = new(4).err().unwrap().to_string();
    assert!(
        error.contains("up to 4 pixels") && error.contains("4x4"),
        "{error}"
    );
}

#[test]
fn a_class_without_a_labeled_image_has_a_probability() {
    let train = rows(60, 1);
    let examples = Examples {
        labeled: vec![(&train, vec![0, 1])],
        unlabeled: None,
    };
    let task = SemiSupervised::new(examples, settings(1, 1)).unwrap();
    let found = task.dataset_probabilities(&train);
    assert_eq!(found.shape(), [60, 3]);
    assert_eq!(misclassified(&found, train.labels()), task.error_count(&train));
}

#[test]
fn a_checkpoint_of_another_training_is_an_error() {
    let (train, other_images) = (rows(60, 1), rows(60, 2));
    let folder = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(folder.path(), 1).unwrap();
    let new = |data, steps| SemiSupervised::new(few_labels(data, None), settings(steps, 1)).unwrap();
    store
        .save(0, "", &new(&train, 3).checkpoint_files().unwrap())
        .unwrap();
    let saved = store.latest().unwrap().unwrap().checkpoint;
    assert!(new(&train, 3).resume(&saved).is_ok());
    let other_labels = Examples {
        labeled: vec![(&train, select_labeled(train.labels(), 6, 2).unwrap())],
        unlabeled: None,
    };
    let others = [
        new(&train, 4),
        new(&other_images, 3),
        SemiSupervised::new(other_labels, settings(3, 1)).unwrap(),
        SemiSupervised::new(few_labels(&train, Some(&train)), settings(3, 1)).unwrap(),
    ];
    for other in others {
        let error = other.resume(&saved).err();
        assert!(
            matches!(error, Some(TransferError::OtherTraining { .. })),
            "{error:?}"
        );
    }
    // The step of the checkpoint is not that of its state.
    store
        .save(2, "", &new(&train, 3).checkpoint_files().unwrap())
        .unwrap();
    let wrong = store.latest().unwrap().unwrap().checkpoint;
    let message = new(&train, 3).resume(&wrong).err().unwrap().to_string();
    assert!(
        message.contains("at step 2") && message.contains("step 0"),
        "{message}"
    );
}

#[test]
fn labels_of_unlabelled_images_are_not_read() {
    let train = rows(60, 1);
    let other = Dataset::new(
        "rows",
        Provenance::Memory,
        train.images().to_vec(),
        [4, 4, 1],
        vec![0; 60],
    )
    .unwrap();
    let run = |unlabeled| {
        let mut task = SemiSupervised::new(few_labels(&train, Some(unlabeled)), settings(3, 1)).unwrap();
        let mut found = Vec::new();
        task.train(&mut |_, _, losses| found.push(losses)).unwrap();
        found
    };
    assert_eq!(run(&train), run(&other));
}

#[test]
fn generated_images_get_labels_of_certain_predictions() {
    let train = rows(120, 1);
    let mut task = SemiSupervised::new(few_labels(&train, None), settings(100, 1)).unwrap();
    task.train(&mut |_, _, _| ()).unwrap();
    let generator = || {
        Sequential::new()
            .add("dense", Dense::new(3, 16, &mut Init::normal(2, 1.0)))
            .add("grid", Reshape::new([4, 4, 1]))
    };
    let sampler = Sampler::new(generator(), 3);
    let generate = |min_probability| pseudo_labeled(&task, [4, 4, 1], &sampler, 40, min_probability, 5);
    let (all, certain) = (generate(0.0).unwrap(), generate(0.9).unwrap());
    assert!(
        all.len() == 40 && certain.len() < 40 && !certain.is_empty(),
        "{}",
        certain.len()
    );
    // The labels are predictions of the classifier, so it makes no errors on them.
    assert_eq!(task.error_count(&all), 0);
    assert_eq!(task.error_count(&certain), 0);
    let problem = |found: Result<Dataset, TransferError>| match found {
        Err(TransferError::SemiSupervised { problems }) => problems.join("; "),
        found => panic!("{found:?}"),
    };
    assert!(problem(generate(1.1)).contains("1.1"));
    let wide = pseudo_labeled(&task, [2, 8, 1], &sampler, 4, 0.5, 5);
    assert!(problem(wide).contains("[4, 4, 1]"));
    // Generated and labeled images train a classifier together.
    let mut examples = few_labels(&train, None);
    examples.labeled.push((&certain, (0..certain.len()).collect()));
    let mut both = SemiSupervised::new(examples, settings(2, 1)).unwrap();
    both.train(&mut |_, _, losses| assert!(losses.labeled.is_finite()))
        .unwrap();
}

#[test]
fn invalid_data_and_settings_report_all_problems() {
    let (train, wide) = (
        rows(60, 1),
        Dataset::new("wide", Provenance::Memory, vec![0; 160], [2, 4, 1], vec![0; 20]).unwrap(),
    );
    let text = |examples, settings| {
        let found = SemiSupervised::new(examples, settings);
        found.err().unwrap().to_string()
    };
    let found = text(few_labels(&train, Some(&wide)), SemiSupervisedConfig::new(0, 1));
    assert!(
        found.contains("0 steps") && found.contains("[2, 4, 1]"),
        "{found}"
    );
    let none = Examples {
        labeled: vec![],
        unlabeled: None,
    };
    assert!(matches!(
        SemiSupervised::new(none, SemiSupervisedConfig::new(1, 1)).err(),
        Some(TransferError::SemiSupervised { .. })
    ));
}
