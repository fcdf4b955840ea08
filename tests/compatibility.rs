//! Runs of an earlier version, in `fixtures/`, still open, resume, generate and evaluate with the same results; see `fixtures/README.md`.
//!
//! The numbers are those of that version on another machine, so they are compared within a tolerance; `compatibility/compare.sh`
//! compares bytes on one machine.

use engraft_base::choose;
use engraft_data::{Dataset, Split, drawn_digits};
use engraft_gan::{CheckpointChoice, Event, Sampler, Trainer, TrainingPlan, read_settings};
use engraft_metrics::{FeatureExtractor, FeatureNetwork, Features, frechet_distance, kernel_distance};
use engraft_transfer::{AdapterFile, Transfer, dataset_features, open_run, open_source};
use flate2::read::GzDecoder;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

/// Relative tolerance of losses and distances, absolute one of pixels.
const TOLERANCE: f64 = 2e-3;

static TRAINED_ON: LazyLock<Dataset> = LazyLock::new(|| drawn_digits(Split::Train, 60_000, 0));

/// A copy of a fixture, unpacked.
fn fixture(name: &str) -> TempDir {
    fn unpack(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let (from, name) = entry.map(|e| (e.path(), e.file_name())).unwrap();
            if from.is_dir() {
                unpack(&from, &to.join(name));
            } else if from.extension().is_some_and(|e| e == "gz") {
                let mut bytes = Vec::new();
                let packed = fs::File::open(&from).unwrap();
                GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
                fs::write(to.join(name).with_extension(""), bytes).unwrap();
            } else {
                fs::copy(&from, to.join(name)).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name);
    unpack(&from, folder.path());
    folder
}

#[track_caller]
fn is_near(found: f64, expected: f64) {
    let difference = (found - expected).abs();
    assert!(
        difference <= TOLERANCE * expected.abs().max(1.0),
        "{found}, not {expected}"
    );
}

/// Mean, standard deviation and one pixel of 20 images of seed 3.
#[track_caller]
fn draws(sampler: &Sampler, [mean, deviation, pixel]: [f64; 3]) {
    let images = sampler.generate(20, &mut Pcg64::seed_from_u64(3));
    let pixels: Vec<f64> = images.as_slice().iter().map(|&p| p.into()).collect();
    let of = |sum: f64| sum / pixels.len() as f64;
    let found = of(pixels.iter().sum());
    is_near(found, mean);
    is_near(
        of(pixels.iter().map(|p| (p - found).powi(2)).sum()).sqrt(),
        deviation,
    );
    is_near(pixels[3 * 784 + 10 * 28 + 10], pixel);
}

/// FID and KID of 200 images to 200 test images.
#[track_caller]
fn measures(sampler: &Sampler, [fid, kid]: [f64; 2]) {
    let network = FeatureNetwork::mnist();
    let test = drawn_digits(Split::Test, 10_000, 0);
    let real = dataset_features(&network, &test.subset(&choose(10_000, 200, 1))).unwrap();
    let images = sampler.generate(200, &mut Pcg64::seed_from_u64(1));
    let drawn: Features = network.read(&images).unwrap().features;
    is_near(frechet_distance(&real, &drawn).unwrap(), fid);
    is_near(kernel_distance(&real, &drawn).unwrap().value, kid);
}

/// Trains one step more, and gives the losses of generator and discriminator.
fn goes_on(run: &Path, data: Dataset, plan: Option<Arc<dyn TrainingPlan>>) -> [f64; 2] {
    let mut config = read_settings(&run.join("run.toml")).unwrap();
    config.steps += 1;
    let mut trainer = Trainer::builder(config, data);
    if let Some(plan) = plan {
        trainer = trainer.plan(plan);
    }
    let mut trainer = trainer.open(run).unwrap();
    let mut losses = Vec::new();
    trainer
        .train(&mut |event| {
            match event {
                Event::Step { report, .. } => {
                    losses.push([report.generator_loss, report.discriminator_loss]);
                }
                Event::Warning(text) => panic!("{text}"),
                _ => {}
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(losses.len(), 1);
    losses[0]
}

#[test]
fn a_run_of_the_earlier_version() {
    let run = fixture("mlp");
    let saved = open_run(run.path(), CheckpointChoice::Last).unwrap();
    assert_eq!((saved.step, saved.warnings.len()), (4, 0));
    draws(&saved.sampler, [-0.007_691, 0.906_759, 0.074_177]);
    measures(&saved.sampler, [670.7287, 310.7442]);
    let [generator, discriminator] = goes_on(run.path(), TRAINED_ON.clone(), None);
    is_near(generator, 9.809_534);
    is_near(discriminator, 3.850_792);
}

#[test]
fn a_class_conditional_run_of_the_earlier_version() {
    let run = fixture("dcgan-classes");
    let saved = open_run(run.path(), CheckpointChoice::Last).unwrap();
    assert_eq!((saved.step, saved.sampler.class_count()), (2, 10));
    draws(&saved.sampler, [-0.130_957, 0.858_976, 0.999_866]);
    measures(&saved.sampler, [824.5487, 521.7141]);
    let [generator, discriminator] = goes_on(run.path(), TRAINED_ON.clone(), None);
    is_near(generator, 0.712_509);
    is_near(discriminator, 2.027_270);
}

#[test]
fn a_transfer_of_the_earlier_version_and_its_adapter_file() {
    let (run, source) = (fixture("low-rank"), fixture("mlp"));
    let drawn = [-0.007_694, 0.906_753, 0.075_272];
    let saved = open_run(run.path(), CheckpointChoice::Last).unwrap();
    assert_eq!(saved.step, 20);
    draws(&saved.sampler, drawn);
    measures(&saved.sampler, [670.7283, 310.7406]);
    let source = open_source(source.path(), CheckpointChoice::Last).unwrap();
    let adapter = AdapterFile::open(&run.path().join(AdapterFile::NAME)).unwrap();
    draws(&adapter.sampler(&source).unwrap(), drawn);
    let target = TRAINED_ON.subset(&choose(60_000, 50, 1)).inverted();
    let plan = Transfer::open(run.path()).unwrap();
    let [generator, discriminator] = goes_on(run.path(), target, Some(Arc::new(plan)));
    is_near(generator, 23.143_053);
    is_near(discriminator, 15.456_352);
}

/// With other settings or another version the command would refuse the directory.
#[test]
fn kept_results_of_the_earlier_version_are_taken() {
    let kept = fixture("few-labels");
    let read = |name: &str| fs::read(kept.path().join(name)).unwrap();
    let written = || {
        fs::metadata(kept.path().join("all-labels-seed-1.json"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let (result, before) = (read("result.json"), written());
    let out = kept.path().to_string_lossy();
    let command = "semi-supervised --data drawn-digits --shots 200 --labels 10 --seeds 1 --epochs 1 --out";
    let arguments: Vec<&str> = command.split(' ').chain([out.as_ref()]).collect();
    engraft::cli::run(&arguments).unwrap();
    assert_eq!(written(), before, "written again");
    assert_eq!(read("result.json"), result);
}
