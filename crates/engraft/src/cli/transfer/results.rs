//! The results of a transfer: the table, its JSON, and the grid of source and result.

use super::{COLUMNS, Evaluated, FEWEST_COMPARED, MANY_COPIES, SHOWN, label};
use crate::cli::extract::Reader;
use crate::cli::options::Transfer;
use crate::cli::target::Target;
use engraft_gan::{Sampler, sample_grid};
use engraft_metrics::{Features, ReferencePoints};
use engraft_transfer::{DomainDistance, compare};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde_json::json;

/// Grid of two generators' images for the same noise, in alternating rows.
pub(super) fn before_and_after(options: &Transfer, source: &Sampler, adapted: &Sampler) -> Vec<u8> {
    let images = [source, adapted].map(|s| s.generate(SHOWN, &mut Pcg64::seed_from_u64(options.seed)));
    let rows: Vec<_> = (0..SHOWN)
        .step_by(COLUMNS)
        .flat_map(|start| images.each_ref().map(|i| i.narrow(0, start, COLUMNS)))
        .collect();
    sample_grid(
        &engraft_tensor::concat(&rows.iter().collect::<Vec<_>>(), 0),
        COLUMNS,
    )
}

/// How the methods were compared, as JSON.
pub(super) fn protocol(options: &Transfer, reader: &Reader, target: &Target) -> serde_json::Value {
    json!({
        "features": reader.extractor.name(), "features_sha256": reader.extractor.hash(), "features_about": reader.extractor.about(), "fit": reader.fit.to_string(), "data": options.data,
        "images": target.train.len(), "real": target.reference.len(),
        "real_is_held_out": target.is_held_out, "generated": options.count, "steps": options.steps,
        "seed": options.seed, "inverted": options.invert,
    })
}

/// Prints the methods and why they are not measured, and returns that as JSON.
pub(super) fn without_measures(
    trained: &[(&str, u64, Sampler)],
    reference: usize,
    protocol: serde_json::Value,
) -> serde_json::Value {
    out!("{:<26}{:>7}", "method", "step");
    for (method, steps, _) in trained {
        out!("{:<26}{steps:>7}", label(method));
    }
    let reason = format!(
        "{reference} reference images are too few for KID, FID, coverage and copies, which need at least {FEWEST_COMPARED}"
    );
    out!("no measures: {reason}; look at the grids");
    let row = |(method, steps, _): &(&str, u64, Sampler)| json!({ "method": method, "steps": steps });
    let rows: Vec<_> = trained.iter().map(row).collect();
    json!({ "rows": rows, "winner": null, "protocol": protocol, "left_out": reason })
}

/// Prints the table and returns it as JSON.
pub(super) fn report(
    options: &Transfer,
    reader: &Reader,
    target: &Target,
    (reference, points): (&Features, Option<&ReferencePoints>),
    found: &DomainDistance,
    evaluated: &[Evaluated],
    untuned_share: f64,
) -> serde_json::Value {
    let protocol = protocol(options, reader, target);
    let no_copies = (untuned_share > MANY_COPIES).then(|| {
        format!(
            "{:.0} % of the images of the untuned source count as copies of the {} training images, so copies of them cannot be \
             told from other images",
            100.0 * untuned_share,
            target.train.len()
        )
    });
    let sets: Vec<&Features> = evaluated.iter().map(|d| &d.features).collect();
    let comparison = compare(reference, &sets, options.seed);
    // A single method has nothing to compare with.
    let winner = comparison.winner().filter(|_| evaluated.len() > 1);
    let winner = winner.map(|i| evaluated[i].result.method.clone());
    out!(
        "{:<26}{:>9}  {:<18}{:>9}{:>11}{:>10}{:>11}{:>9}{:>7}",
        "method",
        "KID",
        "95 % interval",
        "FID",
        "sliced W2",
        "coverage",
        "diversity",
        "copies",
        "step"
    );
    for (i, Evaluated { result, .. }) in evaluated.iter().enumerate() {
        let [low, high] = comparison.interval(i);
        out!(
            "{:<26}{:>9.4}  {:<18}{:>9.2}{:>11}{:>10}{:>11.3}{:>9}{:>7}",
            label(&result.method),
            result.kid,
            format!("{low:.4} to {high:.4}"),
            result.fid,
            result
                .sliced_wasserstein
                .map_or("-".into(), |distance| format!("{distance:.3}")),
            // A coverage that noise reaches too must not look like praise.
            match points {
                Some(points) if !points.is_blind() => format!("{:.3}", result.coverage),
                _ => "-".into(),
            },
            result.diversity,
            match no_copies {
                None => format!("{:.3}", result.copies),
                Some(_) => "-".into(),
            },
            result.steps
        );
    }
    out!(
        "{} generated images per method, against {}; features {} ({}..; {}); seed {}",
        options.count,
        target.about,
        reader.extractor.name(),
        reader.short_hash(),
        reader.extractor.about(),
        options.seed
    );
    match points {
        Some(points) => {
            out!("with these features: {points}");
            if points.is_blind() {
                out!(
                    "warning: noise or blobs cover many real images, so the table does not show whether images are good; choose \
                     other features with --features"
                );
            }
        }
        None => out!(
            "warning: {} real images are too few for a measure: KID and coverage say nothing; look at the grids",
            reference.len()
        ),
    }
    if evaluated.len() > 1 {
        match &winner {
            Some(name) => out!(
                "lowest KID: {}, significant at 95 % (bootstrap over images)",
                label(name)
            ),
            None => {
                out!("no significant difference in KID: the 95 % intervals of the differences contain 0")
            }
        }
    }
    let copying = evaluated[0].result.copies;
    if let Some(reason) = &no_copies {
        out!("no copies: {reason}");
    } else if copying > MANY_COPIES {
        out!(
            "warning: {:.0} % of the generated images are copies of training images; use fewer steps or more images",
            100.0 * copying
        );
    }
    let rows: Vec<_> = evaluated
        .iter()
        .enumerate()
        .map(|(i, d)| {
            let mut value = serde_json::to_value(&d.result).unwrap_or_default();
            value["kid_interval"] = json!(comparison.interval(i));
            if no_copies.is_some() {
                value["copies"] = json!(null);
            }
            value
        })
        .collect();
    let mut value = json!({ "rows": rows, "winner": winner, "reference": points, "proximity": found, "protocol": protocol });
    if let Some(reason) = no_copies {
        value["left_out"] = json!(format!("copies: {reason}"));
    }
    value
}
