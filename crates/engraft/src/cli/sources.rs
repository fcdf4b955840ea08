//! `engraft sources`: which of several trained GANs is the best source for a target.

use super::target::Target;
use anyhow::Context;
use engraft_gan::{Control, Which};
use engraft_metrics::{FeatureExtractor, FeatureNetwork};
use engraft_transfer::{Method, Proximity, Source, Trial, features_of, proximity};
use serde_json::json;
use std::path::PathBuf;

/// Images that each source draws.
const GENERATED: usize = 1000;

/// Rank trained GANs as sources for a target: the one whose images hold most of the target's comes first.
#[derive(Debug, clap::Args)]
pub struct Sources {
    /// Run directories
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Target: mnist, fashion-mnist, usps, drawn-digits, mnist-0-4, mnist-5-9, or a folder of pictures
    #[arg(long, value_name = "NAME|DIR")]
    data: String,
    /// Images of the target, at most
    #[arg(long, value_name = "N", default_value_t = 1000)]
    shots: usize,
    /// Seed of the choice of images, and of those drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

impl Sources {
    /// Runs the command.
    ///
    /// # Errors
    /// If a run or the target cannot be used.
    pub fn run(&self) -> anyhow::Result<()> {
        let network = FeatureNetwork::for_data(&self.data);
        let mut ranked: Vec<(String, Proximity)> = Vec::new();
        for path in &self.runs {
            let source = Source::open(path, Which::Last).with_context(|| format!("{}", path.display()))?;
            let target = Target::load(&self.data, source.config.image, Some(self.shots), self.seed)?;
            let trial = Trial {
                source: &source,
                target: &target.train,
                steps: 0,
                seed: self.seed,
            };
            let as_is = trial.train(&Method::SourceAsIs, path, &mut |_| Control::Continue)?;
            let (sampler, _) = as_is.context("nothing to stop")?;
            let drawn = trial.draw(&network, &sampler, GENERATED)?;
            let found = proximity(&features_of(&network, &target.train)?, &drawn)?;
            ranked.push((path.display().to_string(), found));
        }
        let key = |p: &Proximity| (p.recall.unwrap_or(0.0), -p.kid.unwrap_or(f64::INFINITY));
        ranked.sort_by(|(_, a), (_, b)| {
            let (a, b) = (key(a), key(b));
            b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
        });
        if self.json {
            let rows: Vec<_> = ranked
                .iter()
                .map(|(run, found)| json!({ "run": run, "proximity": found }))
                .collect();
            println!(
                "{}",
                json!({ "sources": rows, "protocol": {
                    "features": network.name(), "features_sha256": network.hash(), "data": self.data,
                    "generated": GENERATED, "seed": self.seed,
                } })
            );
        } else {
            for (i, (run, found)) in ranked.iter().enumerate() {
                println!("{}. {run}: {found}", i + 1);
            }
            println!(
                "by recall, then by KID; {GENERATED} images of each source, features {} ({}..), seed {}",
                network.name(),
                &network.hash()[..12],
                self.seed
            );
        }
        Ok(())
    }
}
