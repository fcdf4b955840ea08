//! Runs with custom data, feature extractors and sample writers.

use crate::trainer::{Event, Trainer, TrainingOutcome};
use crate::{GanError, NpySamples, TrainConfig};
use engraft_data::{DataError, Dataset, Npy, Provenance, TrainingData};
use engraft_metrics::{
    FeatureExtractor, FeatureOutput, Features, InputSpec, MetricsError, RandomFeatures, features,
};
use engraft_tensor::Tensor;
use ndarray::Array2;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Samples of a recording.
const LENGTH: usize = 16;

/// Waves that are computed on request.
struct Waves {
    /// Number of requests so far.
    asked: AtomicUsize,
    /// The request that fails.
    fails: usize,
}

fn waves(fails: usize) -> Arc<dyn TrainingData> {
    let asked = AtomicUsize::new(0);
    Arc::new(Waves { asked, fails })
}

impl TrainingData for Waves {
    fn name(&self) -> &str {
        "waves"
    }

    fn len(&self) -> usize {
        60
    }

    fn shape(&self) -> [usize; 3] {
        [1, LENGTH, 1]
    }

    fn batch(&self, indices: &[usize]) -> Result<Vec<f32>, DataError> {
        if self.asked.fetch_add(1, Ordering::Relaxed) == self.fails {
            return Err(DataError::Unusable {
                place: "the tape".into(),
                expected: "a recording".into(),
                found: "noise".into(),
                advice: "rewind it",
            });
        }
        let wave = |&i: &usize| (0..LENGTH).map(move |t| (t as f32 / (i + 1) as f32).sin());
        Ok(indices.iter().flat_map(wave).collect())
    }

    fn fingerprint(&self) -> String {
        "waves".into()
    }
}

/// Uses the samples themselves as features.
struct AsItIs;

impl FeatureExtractor for AsItIs {
    fn name(&self) -> &str {
        "as-it-is"
    }

    fn hash(&self) -> &str {
        "1"
    }

    fn input(&self) -> InputSpec {
        InputSpec {
            size: [1, LENGTH],
            channels: 1,
            range: [-1.0, 1.0],
        }
    }

    fn dimension(&self) -> usize {
        LENGTH
    }

    fn read(&self, images: &Tensor) -> Result<FeatureOutput, MetricsError> {
        let numbers = images.as_slice().iter().map(|&x| f64::from(x)).collect();
        let points = Array2::from_shape_vec((images.shape()[0], LENGTH), numbers).unwrap();
        Ok(FeatureOutput {
            features: Features::new(points)?,
            classes: None,
        })
    }
}

fn config() -> TrainConfig {
    let mut config = TrainConfig::standard(waves(usize::MAX).as_ref());
    (config.network, config.batch, config.steps) = ("mlp".into(), 4, 6);
    config.validation_images = 24;
    (config.evaluation.every, config.evaluation.images) = (3, 30);
    config.output.checkpoint_every = 2;
    config
}

fn open(data: Arc<dyn TrainingData>, directory: &Path) -> Trainer {
    Trainer::builder(config(), data)
        .features(Arc::new(AsItIs))
        .samples(NpySamples)
        .open(directory)
        .unwrap()
}

fn train(trainer: &mut Trainer) -> (Result<TrainingOutcome, GanError>, Vec<String>) {
    let mut warnings = Vec::new();
    let outcome = trainer.train(&mut |event| {
        if let Event::Warning(text) = event {
            warnings.push(text);
        }
        ControlFlow::Continue(())
    });
    (outcome, warnings)
}

fn files(directory: &Path) -> [Vec<u8>; 3] {
    ["generator.safetensors", "state.bin", "watch.bin"]
        .map(|name| fs::read(directory.join("checkpoints/step-000006").join(name)).unwrap())
}

#[test]
fn a_run_on_audio_with_custom_features_and_samples() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = open(waves(usize::MAX), folder.path());
    let (outcome, warnings) = train(&mut trainer);
    assert_eq!(
        (outcome.unwrap(), warnings),
        (TrainingOutcome::Finished, Vec::<String>::new())
    );
    assert_eq!(trainer.measurements().len(), 2);
    drop(trainer);
    let samples = Npy::open(folder.path().join("samples/step-000006.npy")).unwrap();
    assert_eq!(samples.shape(), [64, 1, LENGTH, 1]);
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("as-it-is"));
    // It resumes with the same extractor; without it the name is unknown.
    drop(open(waves(usize::MAX), folder.path()));
    let saved = crate::SavedRun::open(folder.path()).unwrap().config;
    let error = Trainer::open(saved, waves(usize::MAX), folder.path())
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains("as-it-is") && text.contains("random-rgb-64"),
        "{text}"
    );
}

#[test]
fn a_failure_of_the_data_keeps_the_checkpoint_and_the_run_resumes_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    train(&mut open(waves(usize::MAX), &whole)).0.unwrap();
    // A failure in the evaluation after the third step is only a warning; one in a step ends the run.
    let parts = folder.path().join("parts");
    let mut trainer = open(waves(3), &parts);
    let (outcome, warnings) = train(&mut trainer);
    assert_eq!(outcome.unwrap(), TrainingOutcome::Finished);
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("step 3: ") && warnings[0].contains("the tape"),
        "{warnings:?}"
    );
    drop(trainer);
    let parts = folder.path().join("other");
    let mut trainer = open(waves(2), &parts);
    let error = train(&mut trainer).0.unwrap_err();
    assert!(matches!(error, GanError::Data(_)), "{error}");
    assert_eq!(trainer.step(), 2);
    assert!(parts.join("checkpoints/step-000002").is_dir());
    assert_eq!(train(&mut trainer).0.unwrap(), TrainingOutcome::Finished);
    assert!(files(&parts) == files(&whole));
}

/// Pictures of noise.
fn pictures() -> Dataset {
    let pixels = (0..60 * 16 * 16 * 3_usize).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8);
    Dataset::new(
        "noise",
        Provenance::Memory,
        pixels.collect(),
        [16, 16, 3],
        vec![0; 60],
    )
    .unwrap()
}

fn of_pictures(features: Option<&str>) -> TrainConfig {
    let mut config = TrainConfig::standard(&pictures());
    assert_eq!(
        config.evaluation.features.as_deref(),
        Some(features::for_colors())
    );
    (config.network, config.batch, config.steps) = ("mlp".into(), 4, 2);
    (
        config.validation_images,
        config.evaluation.every,
        config.evaluation.images,
    ) = (24, 2, 30);
    config.evaluation.features = features.map(Into::into);
    config
}

#[test]
fn a_conversion_that_loses_color_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let warnings = |features: Option<&str>, name: &str| {
        let mut trainer =
            Trainer::open(of_pictures(features), pictures(), &folder.path().join(name)).unwrap();
        train(&mut trainer).1
    };
    assert!(warnings(Some("random"), "seen").is_empty());
    for (features, name) in [(None, "old"), (Some("mnist"), "named")] {
        let found = warnings(features, name);
        assert!(
            found.len() == 1 && found[0].contains("evaluation.features"),
            "{found:?}"
        );
    }
    let error = Trainer::open(of_pictures(Some("vgg")), pictures(), &folder.path().join("none"));
    let text = error.err().unwrap().to_string();
    assert!(text.contains("vgg") && text.contains("fashion-mnist"), "{text}");
}

#[test]
fn a_run_with_evaluations_keeps_its_extractor() {
    let folder = tempfile::tempdir().unwrap();
    let mut longer = of_pictures(None);
    train(&mut Trainer::open(longer.clone(), pictures(), folder.path()).unwrap())
        .0
        .unwrap();
    (longer.steps, longer.evaluation.features) = (4, Some("random".into()));
    let given = Trainer::builder(longer.clone(), pictures()).features(Arc::new(RandomFeatures::for_size(32)));
    match given.open(folder.path()).err() {
        Some(GanError::OtherSettings { differences, .. }) => {
            assert!(differences[0].contains("mnist"), "{differences:?}");
        }
        other => panic!("{other:?}"),
    }
    let mut trainer = Trainer::open(longer, pictures(), folder.path()).unwrap();
    assert_eq!(trainer.config().evaluation.features, None);
    let (outcome, warnings) = train(&mut trainer);
    assert_eq!(outcome.unwrap(), TrainingOutcome::Finished);
    assert!(
        warnings[0].contains("mnist") && warnings[0].contains("random"),
        "{warnings:?}"
    );
    assert_eq!(trainer.measurements().len(), 2);
}
