//! Domain adaptation on small data: every method runs, learns and is reproducible.
#![allow(clippy::unwrap_used)]

use engraft_data::{Dataset, Provenance, Split, drawn_digits};
use engraft_layers::StateDict;
use engraft_transfer::TransferError;
use engraft_transfer::adapt::{
    AdaptationConfig, AdaptationMethod, AdaptationResult, Domains, Validator, adapt,
};

/// Synthetic digits 0 and 1.
fn digits(split: Split, count: usize) -> Dataset {
    let all = drawn_digits(split, count * 6, 1);
    let chosen: Vec<usize> = (0..all.len()).filter(|&i| all.label(i) < 2).take(count).collect();
    all.subset(&chosen)
}

/// The same digits, shifted by one pixel and darker.
fn shifted(data: &Dataset) -> Dataset {
    let [height, width, _] = data.image_size();
    let mut images = Vec::with_capacity(data.images().len());
    for image in data.images().chunks_exact(height * width) {
        for i in 0..height * width {
            let (row, column) = (i / width, i % width);
            let inside = row >= 1 && column >= 1;
            images.push(if inside {
                image[(row - 1) * width + column - 1] / 3 * 2
            } else {
                0
            });
        }
    }
    let labels = data.labels().to_vec();
    Dataset::new("shifted", Provenance::Memory, images, data.image_size(), labels).unwrap()
}

struct Data([Dataset; 4]);

impl Data {
    fn new(count: usize) -> Self {
        let (train, test) = (digits(Split::Train, count), digits(Split::Test, count));
        Self([shifted(&train), shifted(&test), train, test])
    }

    fn domains(&self) -> Domains<'_> {
        let [target, target_test, source, source_test] = &self.0;
        Domains {
            source,
            target,
            source_test,
            target_test: Some(target_test),
        }
    }
}

fn config(method: AdaptationMethod, steps: u64) -> AdaptationConfig {
    AdaptationConfig {
        steps,
        batch: 12,
        eval_every: steps.div_ceil(2),
        ..AdaptationConfig::new(method)
    }
}

fn run(data: &Data, config: &AdaptationConfig, threads: usize) -> AdaptationResult {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| adapt(&data.domains(), config, &mut |_| ()).unwrap())
}

#[test]
fn every_method_gives_the_same_bits_with_any_number_of_threads() {
    let data = Data::new(24);
    for method in AdaptationMethod::ALL {
        let [one, two] = [1, 2].map(|threads| run(&data, &config(method, 3), threads));
        assert_eq!(one.evaluations, two.evaluations, "{method}");
        assert_eq!(one.evaluations.len(), 2);
        assert!(one.evaluations.iter().all(|m| m.loss.is_finite()));
        // Only CoGAN generates pairs, and they are the same too.
        let bits = |found: &AdaptationResult| {
            let pairs = found.pairs.as_ref()?;
            Some(
                pairs
                    .each_ref()
                    .map(|p| p.as_slice().iter().map(|v| v.to_bits()).collect::<Vec<_>>()),
            )
        };
        assert_eq!(one.pairs.is_some(), method == AdaptationMethod::Cogan, "{method}");
        assert!(bits(&one) == bits(&two), "{method}");
    }
}

#[test]
fn methods_learn_an_unlabeled_target() {
    let data = Data::new(60);
    for method in [
        AdaptationMethod::TargetStatistics,
        AdaptationMethod::Dann,
        AdaptationMethod::Adda,
        AdaptationMethod::Mcd,
        AdaptationMethod::Vada,
        AdaptationMethod::Cogan,
    ] {
        let found = run(&data, &config(method, 40), 2);
        let accuracy = found.accuracy().unwrap();
        assert!(accuracy > 0.8, "{method}: {accuracy}");
        assert!(found.oracle_accuracy().unwrap() >= accuracy);
    }
    // Wrong labels of the target only change the supervised baseline.
    let mut wrong = Data::new(60);
    let target = &wrong.0[0];
    let labels = target.labels().iter().map(|l| 1 - l).collect();
    wrong.0[0] = Dataset::new(
        "shifted",
        Provenance::Memory,
        target.images().to_vec(),
        target.image_size(),
        labels,
    )
    .unwrap();
    for (method, same) in [
        (AdaptationMethod::Cdan, true),
        (AdaptationMethod::TargetSupervised, false),
    ] {
        let [right, wrong] = [&data, &wrong].map(|data| run(data, &config(method, 8), 2));
        assert_eq!(right.evaluations == wrong.evaluations, same, "{method}");
    }
}

#[test]
fn the_factor_multiplies_every_learning_rate_of_the_classifier() {
    let data = Data::new(24);
    let weights = |method, steps, learning_rate_factor| -> Vec<f32> {
        let config = AdaptationConfig {
            learning_rate_factor,
            eval_every: steps,
            ..config(method, steps)
        };
        let tensors = StateDict::of(&run(&data, &config, 2).classifier).into_tensors();
        let weights = tensors.iter().filter(|(name, _)| !name.contains("running"));
        weights
            .flat_map(|(_, tensor)| tensor.as_slice().to_vec())
            .collect()
    };
    // Of two steps, the second one trains the copy of ADDA.
    for method in AdaptationMethod::ALL {
        let moved = |factor: f64| {
            let [first, last] = [1, 2].map(|steps| weights(method, steps, factor));
            let moves = first.iter().zip(&last).map(|(a, b)| (a - b).abs());
            moves.fold(0.0, f32::max)
        };
        let [none, all] = [1e-9, 1.0].map(moved);
        assert!(none < 1e-6 && all > 1e-4, "{method}: {none} and {all}");
    }
}

#[test]
fn the_validator_selects_and_baselines_use_the_last_checkpoint() {
    let data = Data::new(24);
    let by = |validator| AdaptationConfig {
        validator,
        eval_every: 1,
        ..config(AdaptationMethod::Mcd, 6)
    };
    for validator in Validator::ALL {
        let found = run(&data, &by(validator), 2);
        let score = |i: usize| found.evaluations[i].validators.score(validator);
        assert!((0..6).all(|i| score(i) <= score(found.selected)));
    }
    let baseline = run(&data, &config(AdaptationMethod::SourceOnly, 4), 2);
    assert_eq!(baseline.selected, 1);
}

#[test]
fn pairs_are_those_of_the_selected_checkpoint() {
    let data = Data::new(24);
    let mut before_the_last = false;
    for validator in Validator::ALL {
        let train = |steps| {
            let config = AdaptationConfig {
                validator,
                eval_every: 1,
                ..config(AdaptationMethod::Cogan, steps)
            };
            run(&data, &config, 2)
        };
        let all = train(5);
        before_the_last |= all.selected < 4;
        // A training that ends at this step selects the same checkpoint.
        let until = train(all.evaluations[all.selected].step);
        assert_eq!(until.selected, all.selected);
        let [all, until] = [all, until].map(|found| found.pairs.unwrap());
        for (pairs, same) in all.iter().zip(&until) {
            assert_eq!(pairs.shape(), [64, 28, 28, 1]);
            assert!(pairs.as_slice() == same.as_slice(), "{validator}");
        }
    }
    assert!(
        before_the_last,
        "every validator selected the last checkpoint, so this test checks nothing"
    );
}

#[test]
fn invalid_settings_and_data_report_all_problems() {
    let data = Data::new(24);
    let mut domains = data.domains();
    let other = domains.target.resized(32, 32);
    domains.target = &other;
    let config = AdaptationConfig {
        steps: 0,
        batch: 1,
        learning_rate_factor: f64::NAN,
        ..config(AdaptationMethod::Mcd, 1)
    };
    match adapt(&domains, &config, &mut |_| ()).err() {
        Some(TransferError::Config { problems }) => {
            let text = problems.join("; ");
            for part in ["eval_every", "batch", "learning_rate_factor", "[32, 32, 1]"] {
                assert!(text.contains(part), "{text}");
            }
        }
        found => panic!("{found:?}"),
    }
}
