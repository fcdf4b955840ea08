//! Data of your own, audio instead of images: `cargo run --release --example data`.
//!
//! A [`TrainingData`] computes examples on request, so they do not have to fit in memory.

use engraft::data::{DataError, TrainingData};
use engraft::gan::{NpySamples, TrainConfig, Trainer};
use std::error::Error;
use std::f32::consts::TAU;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Samples in a recording.
const LENGTH: usize = 256;

/// 1000 sine waves of different frequencies, as "images" of height 1 with one channel.
struct Tones;

impl TrainingData for Tones {
    fn name(&self) -> &str {
        "tones"
    }

    fn len(&self) -> usize {
        1000
    }

    /// Height, width and channels.
    fn shape(&self) -> [usize; 3] {
        [1, LENGTH, 1]
    }

    /// The examples at these indices one after the other, with values in [-1, 1].
    fn batch(&self, indices: &[usize]) -> Result<Vec<f32>, DataError> {
        let tone = |&i: &usize| {
            let periods = 2.0 + i as f32 / 250.0;
            (0..LENGTH).map(move |t| (TAU * periods * t as f32 / LENGTH as f32).sin())
        };
        Ok(indices.iter().flat_map(tone).collect())
    }

    /// Identifies the data: a run refuses to resume on other data.
    fn fingerprint(&self) -> String {
        format!("tones of {LENGTH} samples")
    }
}

fn train(steps: u64, directory: &Path) -> Result<(), Box<dyn Error>> {
    let mut config = TrainConfig::standard(&Tones);
    // `mlp` supports any shape.
    (config.network, config.steps) = ("mlp".into(), steps);
    // No feature extractor is made for audio, so there is no evaluation and no validation set.
    (config.validation_images, config.evaluation.every) = (0, 0);
    let mut trainer = Trainer::builder(config, Arc::new(Tones) as Arc<dyn TrainingData>)
        .samples(NpySamples) // arrays instead of PNG grids
        .open(directory)?;
    trainer.train(&mut |_| ControlFlow::Continue(()))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    train(100, "runs/tones".as_ref())
}

#[test]
fn the_example_runs() -> Result<(), Box<dyn Error>> {
    train(2, &tempfile::tempdir()?.path().join("run"))
}
