//! Failures of a run: divergence, foreign directories, removed folders, links, callers that stop or panic.

use crate::run_directory::{config, content, data, small, train};
use engraft_gan::checkpoint::{CheckpointReader, RunLock, write_atomically};
use engraft_gan::{Event, GanError, SampleWriter, TrainConfig, Trainer, TrainingOutcome};
use engraft_layers::{Slot, visit};
use engraft_tensor::Tensor;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// At this rate weights overflow in the first step, while its losses are still finite.
#[test]
fn weights_that_are_not_finite_are_detected_in_the_same_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(1);
    config.discriminator.learning_rate = 1e39;
    let mut trainer = Trainer::open(config, data(14), dir.path()).unwrap();
    for _ in 0..2 {
        let error = trainer.train(&mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, GanError::Diverged { step: 1, .. }), "{error}");
        assert!(error.to_string().contains("discriminator"), "{error}");
        assert_eq!(trainer.step(), 0);
    }
    assert!(!dir.path().join("checkpoints/step-000001").exists());
}

/// Training uses batch statistics, so a bad running statistic does not affect the loss.
#[test]
fn a_running_statistic_that_is_not_finite_is_detected_within_a_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(5);
    // A rollback to the last checkpoint would repair it.
    config.evaluation.rollbacks = 0;
    let mut trainer = Trainer::open(config, data(14), dir.path()).unwrap();
    let mut found = false;
    visit(&trainer.gan().generator, |name, slot| {
        if let Slot::Buffer(buffer) = slot
            && name.ends_with("running_var")
        {
            let shape = buffer.tensor().shape().to_vec();
            buffer.set(&Tensor::full(shape, f32::INFINITY));
            found = true;
        }
    });
    assert!(found);
    let error = trainer.train(&mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, GanError::Diverged { step: 1, .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("generator") && text.contains("running_var"),
        "{text}"
    );
}

#[test]
fn a_rate_that_breaks_only_the_statistics_ends_as_divergence() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(50);
    config.generator.learning_rate = 1e8;
    config.discriminator.learning_rate = 1e8;
    let mut trainer = Trainer::open(config, data(14), dir.path()).unwrap();
    let error = trainer.train(&mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, GanError::Diverged { .. }), "{error}");
}

#[test]
fn a_directory_of_another_program_is_left_alone() {
    for (name, content) in [("metrics.jsonl", "{\"loss\": 1}\n"), ("run.toml", "a = 1\n")] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("checkpoints")).unwrap();
        fs::write(dir.path().join(name), content).unwrap();
        let error = Trainer::open(config(1), data(14), dir.path()).err().unwrap();
        assert!(matches!(error, GanError::Occupied { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), content);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is added");
    }
}

#[test]
fn a_run_without_its_checkpoints_is_refused_and_can_be_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(config(2), &run, None);
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let mut other = config(2);
    other.seed = 9;
    let error = Trainer::open(other, data(14), &run).err().unwrap();
    assert!(matches!(error, GanError::Occupied { .. }), "{error}");
    let record = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(record.lines().count(), 2);
    assert!(Trainer::set_aside(&run).unwrap().is_some());
    train(config(2), &run, None);
}

/// A kill before the checkpoint of step 0 leaves no run.
#[test]
fn a_kill_before_the_first_checkpoint_leaves_room_for_a_run() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("checkpoints")).unwrap();
    fs::create_dir(dir.path().join("samples")).unwrap();
    fs::write(dir.path().join("run.lock"), "").unwrap();
    fs::write(dir.path().join("metrics.jsonl"), "").unwrap();
    assert_eq!(train(config(1), dir.path(), None), TrainingOutcome::Finished);
}

#[test]
fn samples_that_cannot_be_written_cost_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let samples = dir.path().join("samples");
    let mut trainer = Trainer::open(config(4), data(14), dir.path()).unwrap();
    let mut warnings = Vec::new();
    let outcome = trainer.train(&mut |event| {
        match event {
            Event::Step { step: 1, .. } => {
                fs::remove_dir_all(&samples).unwrap();
                fs::write(&samples, "in the way").unwrap();
            }
            Event::Warning(text) => warnings.push(text),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.unwrap(), TrainingOutcome::Finished);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("step 3: "), "{warnings:?}");
    assert!(dir.path().join("checkpoints/step-000004").is_dir());
    drop(trainer);
    // A removed folder and its missing grid are written again.
    fs::remove_file(&samples).unwrap();
    train(config(4), dir.path(), None);
    assert!(samples.join("step-000004.png").is_file());
}

#[test]
fn a_stop_in_response_to_any_event_ends_and_saves_the_run() {
    type Which = fn(&Event) -> bool;
    let cases: [(u64, Which); 4] = [
        (0, |e| matches!(e, Event::Samples { step: 0, .. })),
        (2, |e| matches!(e, Event::Checkpoint { step: 2, .. })),
        (3, |e| matches!(e, Event::Samples { step: 3, .. })),
        (6, |e| matches!(e, Event::Warning(_))),
    ];
    for (at, which) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut trainer = Trainer::open(config(9), data(14), dir.path()).unwrap();
        let curves = dir.path().join("losses.svg");
        let outcome = trainer.train(&mut |event| {
            if matches!(event, Event::Step { step: 4, .. }) {
                // The next curves, of step 6, cannot replace a directory: a warning.
                fs::remove_file(&curves).unwrap();
                fs::create_dir_all(curves.join("in the way")).unwrap();
            }
            if which(&event) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!((outcome.unwrap(), trainer.step()), (TrainingOutcome::Stopped, at));
        let checkpoint = format!("checkpoints/step-{at:06}");
        assert!(dir.path().join(&checkpoint).is_dir(), "{checkpoint}");
    }
}

#[cfg(unix)]
#[test]
fn a_named_pipe_for_settings_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    train(config(1), dir.path(), None);
    let path = dir.path().join("run.toml");
    fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let mut other = config(1);
    other.seed = 2;
    let text = Trainer::open(other, data(14), dir.path())
        .err()
        .unwrap()
        .to_string();
    assert!(text.contains("pipe"), "{text}");
}

/// With networks whose checkpoints are small.
fn tiny(steps: u64) -> TrainConfig {
    let mut config = small(steps);
    config.network.widths = vec![16, 8];
    config
}

/// The run loses the steps after its last checkpoint and nothing else, as after a kill.
#[test]
fn a_panic_of_the_caller_leaves_a_run_that_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    train(tiny(5), &whole, None);
    let expected = content(&whole, 5);
    type Which = fn(&Event) -> bool;
    let cases: [(&str, u64, Which); 3] = [
        ("step", 2, |e| matches!(e, Event::Step { step: 3, .. })),
        ("samples", 2, |e| matches!(e, Event::Samples { step: 3, .. })),
        ("checkpoint", 4, |e| {
            matches!(e, Event::Checkpoint { step: 4, .. })
        }),
    ];
    for (name, last, which) in cases {
        let run = dir.path().join(name);
        let outcome = std::panic::catch_unwind(|| {
            let mut trainer = Trainer::open(tiny(5), data(14), &run).unwrap();
            trainer.train(&mut |event| {
                assert!(!which(&event), "the caller panics");
                ControlFlow::Continue(())
            })
        });
        let payload = outcome.err().unwrap_or_else(|| panic!("{name}: no such event"));
        assert_eq!(
            payload.downcast_ref::<&str>(),
            Some(&"the caller panics"),
            "{name}"
        );
        drop(RunLock::acquire(&run).unwrap_or_else(|error| panic!("{name}: {error}")));
        let newest = CheckpointReader::new(&run).latest().unwrap().unwrap();
        assert_eq!(
            (newest.checkpoint.step, newest.warnings),
            (last, vec![]),
            "{name}"
        );
        assert_eq!(train(tiny(5), &run, None), TrainingOutcome::Finished, "{name}");
        assert!(content(&run, 5) == expected, "{name}");
    }
}

/// A writer of samples that remembers which loss plots it found.
struct Witness {
    plots: PathBuf,
    found: Arc<Mutex<Vec<u8>>>,
}

impl SampleWriter for Witness {
    fn extension(&self) -> &str {
        "txt"
    }

    fn count(&self) -> usize {
        1
    }

    fn write(&self, _: &Tensor, path: &Path) -> Result<(), GanError> {
        *self.found.lock().unwrap() = fs::read(&self.plots).unwrap();
        write_atomically(path, b"samples")
    }
}

/// A run that was killed before its last samples writes samples and plots again. After a kill between them, with the samples
/// first, the plots would stay those of an earlier step.
#[test]
fn loss_plots_are_written_before_the_samples_of_their_step() {
    let dir = tempfile::tempdir().unwrap();
    let plots = dir.path().join("losses.svg");
    let found = Arc::new(Mutex::new(Vec::new()));
    let witness = Witness {
        plots: plots.clone(),
        found: found.clone(),
    };
    let mut trainer = Trainer::builder(tiny(5), data(14))
        .samples(witness)
        .open(dir.path())
        .unwrap();
    let outcome = trainer.train(&mut |_| ControlFlow::Continue(()));
    assert_eq!(outcome.unwrap(), TrainingOutcome::Finished);
    assert!(dir.path().join("samples/step-000005.txt").is_file());
    assert!(*found.lock().unwrap() == fs::read(plots).unwrap());
}

/// Every file at or below a path, by path.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    if path.is_file() {
        return [(path.into(), fs::read(path).unwrap())].into();
    }
    let entries = fs::read_dir(path).unwrap();
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

/// What a finished run wrote, with links to files outside in the place of its own: whoever hands the directory on must not choose
/// which file is overwritten.
#[cfg(unix)]
#[test]
fn fault_12_links_in_place_of_what_a_run_wrote_leave_their_targets_alone() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let (run, outside) = (dir.path().join("run"), dir.path().join("outside"));
    train(tiny(2), &run, None);
    fs::create_dir(&outside).unwrap();
    let names: Vec<_> = fs::read_dir(&run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(names.len() >= 8, "{names:?}");
    // Written in place: the others are replaced by a rename.
    let in_place = ["metrics.jsonl", "run.lock"];
    let mut replaced = Vec::new();
    for name in names {
        let (path, target) = (run.join(&name), outside.join(&name));
        if path.is_file() && !in_place.iter().any(|own| name == **own) {
            replaced.push((path, target));
            continue;
        }
        fs::rename(&path, &target).unwrap();
        symlink(&target, &path).unwrap();
        let before = files(&target);
        match Trainer::open(tiny(3), data(14), &run).err() {
            Some(GanError::Format { path: found, .. }) => assert_eq!(found, path),
            Some(other) => panic!("{name:?}: {other}"),
            None => panic!("{name:?}: the link was followed"),
        }
        assert!(files(&target) == before, "{name:?}: the target changed");
        fs::remove_file(&path).unwrap();
        fs::rename(&target, &path).unwrap();
    }
    assert!(replaced.len() >= 4, "{replaced:?}");
    for (path, target) in &replaced {
        fs::rename(path, target).unwrap();
        symlink(target, path).unwrap();
    }
    let before = files(&outside);
    let mut trainer = Trainer::open(tiny(3), data(14), &run).unwrap();
    let outcome = trainer.train(&mut |_| ControlFlow::Continue(()));
    assert_eq!(outcome.unwrap(), TrainingOutcome::Finished);
    for (path, bytes) in files(&outside) {
        assert!(before[&path] == bytes, "{}: the target changed", path.display());
    }
    for name in ["run.toml", "losses.svg", "report.html"] {
        assert!(
            !run.join(name).is_symlink(),
            "{name} was written, so it is a file again"
        );
    }
}
