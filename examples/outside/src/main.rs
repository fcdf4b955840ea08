//! Networks of your own for 64x64 color pictures: training, resume, transfer and evaluation.
//! `cargo run --release -- PICTURES.zip OTHERS.zip DIRECTORY`.

mod tower;

use engraft::base::choose;
use engraft::data::{Channels, DataOptions, DataSource, Dataset};
use engraft::gan::{CheckpointChoice, TrainConfig, Trainer, networks};
use engraft::metrics::RandomFeatures;
use engraft::transfer::{TransferMethod, Recipe, Experiment, FeatureSets, dataset_features, evaluate, open_source};
use std::{env, error::Error, ops::ControlFlow, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |i| env::args().nth(i).ok_or("expected PICTURES.zip OTHERS.zip DIRECTORY");
    let out = PathBuf::from(argument(3)?);
    let (first, second) = (out.join("source"), out.join("transfer"));
    networks::register(tower::Tower);

    // Train 20 steps, then resume the run to 25.
    let data = load(&argument(1)?)?;
    let mut config = TrainConfig::standard(&data);
    (config.network, config.batch, config.evaluation.every) = ("tower".into(), 16, 0);
    let mut on_event = |_| ControlFlow::Continue(());
    for steps in [20, 25] {
        config.steps = steps;
        Trainer::open(config.clone(), data.clone(), &first)?.train(&mut on_event)?;
    }

    // Transfer to 90 of the other pictures.
    let (source, others) = (open_source(&first, CheckpointChoice::Last)?, load(&argument(2)?)?);
    let target = others.subset(&choose(others.len(), 90, 1));
    let experiment = Experiment { source: &source, target: &target, steps: 20, seed: 1 };
    let recipe = TransferMethod::Recipe(Box::new(Recipe::fine_tune(&source)?));
    let (sampler, steps) = experiment.train(&recipe, &second, &mut on_event)?.ok_or("stopped")?;

    // Evaluate on 300 of them.
    let network = RandomFeatures::for_size(64);
    let real = dataset_features(&network, &others.subset(&choose(others.len(), 300, 2)))?;
    let (known, drawn) = (dataset_features(&network, &target)?, experiment.generate_features(&network, &sampler, 300)?);
    let features = FeatureSets {
        real: &real,
        training: &known,
        generated: &drawn,
    };
    let row = evaluate("transfer", steps, features)?;
    println!("after {steps} steps: KID {:.4}, FID {:.2}, coverage {:.2}", row.kid, row.fid, row.coverage);
    Ok(())
}

/// The pictures of a ZIP archive or a folder.
fn load(path: &str) -> Result<Dataset, Box<dyn Error>> {
    let mut options = DataOptions::new();
    (options.size, options.channels) = (Some([64, 64]), Channels::Rgb);
    Ok(DataSource::parse(path)?.open(&options)?.train)
}
