//! `engraft sources`: ranks trained GANs as sources for a transfer.

use super::extract::Reader;
use super::options::Sources;
use super::target::Target;
use anyhow::Context;
use engraft_gan::CheckpointChoice;
use engraft_transfer::{
    DomainDistance, Experiment, TransferMethod, dataset_features, domain_distance, open_source,
};
use serde_json::json;
use std::ops::ControlFlow;

/// Images that each source generates.
const GENERATED: usize = 1000;

/// Runs the command.
///
/// # Errors
/// If a run or the target cannot be used.
pub(super) fn run(options: &Sources) -> anyhow::Result<()> {
    // The same extractor for all, so that the numbers are comparable.
    let mut features = options.features.clone();
    let mut last = None;
    let mut ranked: Vec<(String, DomainDistance)> = Vec::new();
    for path in &options.runs {
        let source =
            open_source(path, CheckpointChoice::Last).with_context(|| format!("{}", path.display()))?;
        let target = Target::load(
            &options.data,
            source.config.image,
            Some(options.train_images),
            options.seed,
        )?;
        let reader = Reader::choose_for(&features, &options.data, &target.train)?;
        features.features = Some(reader.extractor.name().into());
        let experiment = Experiment {
            source: &source,
            target: &target.train,
            steps: 0,
            seed: options.seed,
        };
        let as_is = experiment.train(&TransferMethod::Untuned, path, &mut |_| ControlFlow::Continue(()))?;
        let (sampler, _) = as_is.context("nothing to stop")?;
        let features_of_source = experiment.generate_features(&*reader.extractor, &sampler, GENERATED)?;
        let found = domain_distance(
            &dataset_features(&*reader.extractor, &target.train)?,
            &features_of_source,
        )?;
        ranked.push((path.display().to_string(), found));
        last = Some(reader);
    }
    let reader = last.context("clap requires a run")?;
    let key = |p: &DomainDistance| (p.recall.unwrap_or(0.0), -p.kid.unwrap_or(f64::INFINITY));
    ranked.sort_by(|(_, a), (_, b)| {
        let (a, b) = (key(a), key(b));
        b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    if options.json {
        let rows: Vec<_> = ranked
            .iter()
            .map(|(run, found)| json!({ "run": run, "proximity": found }))
            .collect();
        println!(
            "{}",
            json!({ "sources": rows, "protocol": {
                "features": reader.extractor.name(), "features_sha256": reader.extractor.hash(), "data": options.data,
                "generated": GENERATED, "seed": options.seed,
            } })
        );
    } else {
        for (i, (run, found)) in ranked.iter().enumerate() {
            println!("{}. {run}: {found}", i + 1);
        }
        println!(
            "ranked by recall, then by KID; {GENERATED} images per source; features {} ({}..; {}); seed {}",
            reader.extractor.name(),
            reader.short_hash(),
            reader.extractor.about(),
            options.seed
        );
    }
    Ok(())
}
