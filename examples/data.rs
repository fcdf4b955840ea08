//! Data of one's own, recordings in place of pictures: `cargo run --release --example data`.

use engraft::data::{DataError, TrainingData};
use engraft::gan::{NpySamples, TrainConfig, Trainer};
use std::f32::consts::TAU;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Samples of a recording.
const LENGTH: usize = 256;

/// Tones, each of a pitch of its own, made when they are asked for.
struct Tones;

impl TrainingData for Tones {
    fn name(&self) -> &str {
        "tones"
    }
    fn len(&self) -> usize {
        1000
    }
    fn shape(&self) -> [usize; 3] {
        [1, LENGTH, 1]
    }
    fn batch(&self, indices: &[usize]) -> Result<Vec<f32>, DataError> {
        let tone = |&i: &usize| {
            let waves = 2.0 + i as f32 / 250.0;
            (0..LENGTH).map(move |t| (TAU * waves * t as f32 / LENGTH as f32).sin())
        };
        Ok(indices.iter().flat_map(tone).collect())
    }
    fn fingerprint(&self) -> String {
        format!("tones of {LENGTH} samples")
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = TrainConfig::standard(&Tones);
    (config.network, config.steps) = ("mlp".into(), 100);
    // No feature extractor reads sound, so nothing is measured.
    (config.validation_images, config.evaluation.every) = (0, 0);
    let mut trainer = Trainer::builder(config, Arc::new(Tones) as Arc<dyn TrainingData>)
        .samples(NpySamples)
        .open("runs/tones".as_ref())?;
    trainer.train(&mut |_| ControlFlow::Continue(()))?;
    Ok(())
}
