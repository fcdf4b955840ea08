//! Runs on several ranks, which are threads here.

use super::tests::{Small, content, data, everything_on};
use super::*;
use engraft_tensor::shards::{Traffic, thread_ranks};
use std::path::Path;
use std::thread;

fn config(which: usize, steps: u64) -> TrainConfig {
    let mut config = everything_on(which, steps);
    (config.batch, config.micro_batches) = (8, 4);
    config.pictures.mirror = true;
    config
}

/// Trains on ranks, and returns what rank 0 found and the bytes that it sent.
fn train(config: &TrainConfig, directory: &Path, ranks: usize, stop_after: u64) -> (TrainingOutcome, u64) {
    let builder = || Trainer::builder(config.clone(), data()).plan(Arc::new(Small));
    thread::scope(|scope| {
        let mut all = thread_ranks(ranks)
            .into_iter()
            .map(|rank| Arc::new(Traffic::new(rank)));
        let first = all.next().unwrap();
        for rank in all {
            scope.spawn(move || builder().communicator(rank).follow().unwrap());
        }
        let mut trainer = builder().communicator(first.clone()).open(directory).unwrap();
        let outcome = trainer.train(&mut |event| match event {
            Event::Step { step, .. } if step == stop_after => ControlFlow::Break(()),
            Event::Warning(text) => panic!("{text}"),
            _ => ControlFlow::Continue(()),
        });
        (outcome.unwrap(), first.count().bytes)
    })
}

#[test]
fn a_run_has_the_same_bytes_on_any_number_of_ranks_and_resumes_on_another() {
    let dir = tempfile::tempdir().unwrap();
    for which in 0..3 {
        let config = config(which, 4);
        let alone = dir.path().join(format!("alone-{which}"));
        assert_eq!(train(&config, &alone, 1, 9), (TrainingOutcome::Finished, 0));
        let expected = content(&alone, 4);
        let together = dir.path().join(format!("ranks-{which}"));
        for (ranks, stop) in [(2, 1), (4, 3), (1, 9)] {
            let (outcome, sent) = train(&config, &together, ranks, stop);
            assert_eq!(
                (outcome == TrainingOutcome::Stopped, sent > 0),
                (stop < 4, ranks > 1)
            );
        }
        for (name, bytes) in &content(&together, 4) {
            assert!(bytes == &expected[name], "run {which}: {name}");
        }
    }
}

#[test]
fn ranks_that_do_not_divide_the_micro_batches_are_refused_and_others_stop() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        let mut ranks = thread_ranks(3).into_iter().map(Arc::new);
        let first = ranks.next().unwrap();
        let followers: Vec<_> = ranks
            .map(|rank| scope.spawn(|| Trainer::builder(config(0, 4), data()).communicator(rank).follow()))
            .collect();
        let opened = Trainer::builder(config(0, 4), data())
            .communicator(first)
            .open(dir.path());
        let error = opened.map(|_| ()).unwrap_err().to_string();
        assert!(
            error.contains("multiple of the number of ranks, 3, got 4"),
            "{error}"
        );
        for follower in followers {
            follower.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_rank_with_other_images_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        let mut ranks = thread_ranks(2).into_iter().map(Arc::new);
        let (first, second) = (ranks.next().unwrap(), ranks.next().unwrap());
        let other = engraft_data::drawn_digits(engraft_data::Split::Train, 26, 1);
        let following = scope.spawn(|| {
            let builder = Trainer::builder(config(0, 4), other).plan(Arc::new(Small));
            builder.communicator(second).follow()
        });
        let leading = scope.spawn(|| {
            let builder = Trainer::builder(config(0, 4), data()).plan(Arc::new(Small));
            let mut trainer = builder.communicator(first).open(dir.path()).unwrap();
            let _ = trainer.train(&mut |_| ControlFlow::Continue(()));
        });
        assert!(matches!(
            following.join().unwrap(),
            Err(GanError::OtherData { .. })
        ));
        assert!(leading.join().is_err(), "rank 0 cannot go on alone");
    });
    let left = crate::checkpoint::CheckpointReader::new(dir.path())
        .steps()
        .unwrap();
    assert_eq!(left, [0]);
}
