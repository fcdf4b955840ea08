//! Transfer learning from a folder of pictures: `cargo run --release --example transfer`.
//!
//! Trains a small GAN on synthetic digits, writes a folder with 60 pictures of rings, and fine-tunes the GAN on them.
//! In practice the source is a GAN that was trained for long, and the folder has your pictures.

use engraft::data::{Channels, DataOptions, DataSource};
use engraft::gan::{CheckpointChoice, TrainConfig, Trainer, image_png};
use engraft::metrics::FeatureNetwork;
use engraft::tensor::Tensor;
use engraft::transfer::{
    Experiment, FeatureSets, Recipe, TransferMethod, dataset_features, domain_distance, evaluate, open_source,
};
use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

/// Writes `count` PNG files of 28x28 pixels: bright rings of different sizes on black.
fn write_pictures(folder: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for i in 0..count {
        let radius = 5.0 + (i % 12) as f32 / 2.0;
        let ring = |y: usize, x: usize| {
            let distance = (y as f32 - 13.5).hypot(x as f32 - 13.5);
            (2.0 - (distance - radius).abs()).clamp(-1.0, 1.0)
        };
        let pixels = (0..28 * 28).map(|p| ring(p / 28, p % 28)).collect();
        let image = Tensor::from_vec([1, 28, 28, 1], pixels);
        fs::write(folder.join(format!("ring-{i:03}.png")), image_png(&image))?;
    }
    Ok(())
}

fn transfer(steps: u64, directory: &Path) -> Result<(), Box<dyn Error>> {
    let mut on_event = |_| ControlFlow::Continue(());

    // The source: a GAN in a run directory.
    let digits = DataSource::parse("drawn-digits")?
        .open(&DataOptions::new())?
        .train;
    let mut config = TrainConfig::standard(&digits);
    (config.network, config.steps, config.evaluation.every) = ("mlp".into(), steps, 0);
    let source_run = directory.join("source");
    Trainer::open(config, digits, &source_run)?.train(&mut on_event)?;
    let source = open_source(&source_run, CheckpointChoice::Last)?;

    // The target: a folder of pictures, converted to the shape of the source's images.
    let pictures = directory.join("pictures");
    write_pictures(&pictures, 60)?;
    let mut options = DataOptions::new();
    (options.size, options.channels) = (Some([28, 28]), Channels::Gray);
    let path = pictures.to_str().ok_or("the path is not UTF-8")?;
    let target = DataSource::parse(path)?.open(&options)?.train;

    // The recipe depends on the number of images and on the distance between the domains.
    let experiment = Experiment {
        source: &source,
        target: &target,
        steps,
        seed: 1,
    };
    let network = FeatureNetwork::mnist();
    let real = dataset_features(&network, &target)?;
    let untuned = experiment.generate_features(&network, &source.sampler()?, 200)?;
    let distance = domain_distance(&real, &untuned)?;
    let recipe = Recipe::recommended(&source, target.len(), &distance, steps)?;
    println!(
        "{distance}\nrecipe {}: {}",
        recipe.name,
        recipe.reasons.join("; ")
    );

    // Fine-tune, then compare KID before and after; lower is better. To report results, set `real` to pictures that
    // are not in the training set.
    let method = TransferMethod::Recipe(Box::new(recipe));
    let result = experiment.train(&method, &directory.join("transfer"), &mut on_event)?;
    let (sampler, step) = result.ok_or("the run was stopped")?;
    let tuned = experiment.generate_features(&network, &sampler, 200)?;
    for (name, step, features) in [("untuned source", 0, &untuned), ("transfer", step, &tuned)] {
        let features = FeatureSets {
            real: &real,
            training: &real,
            generated: features,
        };
        let result = evaluate(name, step, features)?;
        println!("{name}: KID {:.4} ± {:.4}", result.kid, result.kid_se);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    transfer(300, "runs/rings".as_ref())
}

#[test]
fn the_example_runs() -> Result<(), Box<dyn Error>> {
    transfer(4, tempfile::tempdir()?.path())
}
