//! `report.html` of a transfer: target, source and result, the table of methods, the recipe, then the training run.

use super::super::options::Transfer;
use super::super::target::Target;
use super::{COLUMNS, label};
use engraft_gan::report::{
    Block, Section, Table, interpolation_png, interpolation_size, nearest_training_images, picture_of,
    run_report, to_html,
};
use engraft_gan::{RunLayout, Sampler};
use engraft_metrics::ReferencePoints;
use engraft_tensor::Tensor;
use engraft_transfer::{DomainDistance, PretrainedGan, Recipe};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde_json::Value;
use std::path::Path;

/// Generated images that are compared with the training images.
const COMPARED: usize = 64;
/// Share of copies above which the report warns.
const COPYING: f64 = 0.2;

/// Meaning of the columns of the table of methods.
const COLUMN_MEANINGS: [(&str, &str); 8] = [
    (
        "KID",
        "Kernel inception distance between the features of generated and real images. Lower is better.",
    ),
    (
        "95 % interval",
        "Interval of the KID by bootstrap over the images. Two methods differ only if the interval of their difference excludes 0.",
    ),
    (
        "FID",
        "Fréchet inception distance between the same features. Lower is better; with few images it is biased upwards.",
    ),
    (
        "sliced W2",
        "Sliced Wasserstein distance between the same features. Lower is better.",
    ),
    (
        "coverage",
        "Share of the real images with a generated image nearby, from 0 to 1. Higher is better.",
    ),
    (
        "diversity",
        "Mean distance between generated images that are closest to the same training image. Near 0, they are all the same.",
    ),
    (
        "copies",
        "Share of generated images that are closer to a training image than training images are to each other. About 0.05 is chance.",
    ),
    (
        "step",
        "Training step of the evaluated checkpoint: the best one on validation images, below 100 images on the training images, or the last one where nothing is measured.",
    ),
];

/// What the page is made from.
pub(super) struct Content<'a> {
    pub(super) options: &'a Transfer,
    /// The run directory.
    pub(super) out: &'a Path,
    /// The path of the source.
    pub(super) from: &'a Path,
    pub(super) source: &'a PretrainedGan,
    pub(super) target: &'a Target,
    pub(super) found: &'a DomainDistance,
    pub(super) recipe: &'a Recipe,
    /// The evaluated generator of the recipe.
    pub(super) adapted: &'a Sampler,
    /// Coverage of noise and the like; `None` if there are too few real images for a measure.
    pub(super) points: Option<&'a ReferencePoints>,
    /// The result, as `--json` prints it.
    pub(super) result: &'a Value,
}

/// Writes `nearest.png` and `interpolation.png` of the evaluated generator, and `report.html`.
///
/// # Errors
/// If the run cannot be read or a file not written.
pub(super) fn write(content: &Content<'_>) -> anyhow::Result<()> {
    let layout = RunLayout::new(content.out);
    let images = content
        .adapted
        .try_generate(COMPARED, &mut Pcg64::seed_from_u64(content.options.seed))?;
    let all: Vec<usize> = (0..content.target.train.len()).collect();
    if let Some(file) = nearest_training_images(&content.target.train, &all, &images)? {
        write_file(&layout.nearest(), &file)?;
    }
    if let Some(file) = interpolation(content) {
        write_file(&layout.interpolation(), &file)?;
    }
    let mut report = run_report(content.out)?;
    let name = Path::new(&content.options.data).file_name().unwrap_or_default();
    report.title = format!("Transfer to {}", name.to_string_lossy());
    let run_facts = std::mem::replace(&mut report.facts, facts(content));
    let kept = ["batch size", "seed"];
    report.facts.extend(
        run_facts
            .into_iter()
            .filter(|(name, _)| kept.contains(&name.as_str())),
    );
    report
        .warnings
        .splice(0..0, warnings(content.result, content.points));
    // After the samples, if there are any.
    let after = report
        .sections
        .iter()
        .position(|s| s.heading == "Samples")
        .map_or(0, |at| at + 1);
    report.sections.splice(
        after..after,
        [
            result(content.result, is_telling(content.points)),
            recipe(content),
        ],
    );
    report.sections.splice(0..0, source_and_adapted(content));
    write_file(&layout.report(), to_html(&report).as_bytes())
}

/// Closed paths through the latent space, as an animated PNG file.
fn interpolation(content: &Content<'_>) -> Option<Vec<u8>> {
    let sampler = content.adapted;
    let [h, w, _] = content.source.config.image;
    let [paths, frames] = interpolation_size(h.max(w));
    let rng = &mut Pcg64::seed_from_u64(content.options.seed);
    let ends = [0, 1].map(|_| Tensor::randn([paths, sampler.latent_dim()], rng));
    let condition = sampler.cyclic_labels(paths);
    interpolation_png([&ends[0], &ends[1]], frames, &mut |z| {
        sampler.generate_from(z, &condition)
    })
}

fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    Ok(engraft_base::write_atomically(path, bytes)?)
}

fn facts(content: &Content<'_>) -> Vec<(String, String)> {
    let Content {
        options,
        from,
        source,
        target,
        found,
        recipe,
        result,
        ..
    } = content;
    let [h, w, c] = source.config.image;
    let color = if c == 1 { "gray" } else { "color" };
    [
        (
            "target",
            format!(
                "{} training images of {}, {w}x{h} pixels, {color}",
                target.train.len(),
                options.data
            ),
        ),
        (
            "source",
            format!("GAN trained on {} ({})", source.config.data, from.display()),
        ),
        ("distance", found.to_string()),
        ("recipe", label(&recipe.name)),
        (
            "training",
            format!(
                "{} steps; the evaluated checkpoint is that of step {}",
                options.steps, result["rows"][0]["steps"]
            ),
        ),
        ("measured against", target.about.clone()),
    ]
    .map(|(name, value)| (name.into(), value))
    .to_vec()
}

/// Whether coverage shows that images are good: noise does not reach it too.
fn is_telling(points: Option<&ReferencePoints>) -> bool {
    points.is_some_and(|points| !points.is_blind())
}

/// What the reader must know before the table.
fn warnings(result: &Value, points: Option<&ReferencePoints>) -> Vec<String> {
    let few = format!(
        "{} real images are too few for a measure: KID and coverage say nothing. Look at the images.",
        result["protocol"]["real"]
    );
    let blind = "Noise or blobs cover many real images with these features, so the table does not show whether images are good. \
                 Choose other features with --features.";
    let second = &result["second"];
    let disagreement = format!(
        "Second features ({}) prefer another method: {}. Look at the images of both.",
        second["features"].as_str().unwrap_or_default(),
        label(second["lowest"].as_str().unwrap_or_default())
    );
    [
        copying(result),
        points.is_none().then_some(few),
        points
            .is_some_and(ReferencePoints::is_blind)
            .then(|| blind.into()),
        (second["agrees"] == false).then_some(disagreement),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A warning if the result copies training images.
fn copying(result: &Value) -> Option<String> {
    let copies = result["rows"][0]["copies"]
        .as_f64()
        .filter(|&copies| copies > COPYING)?;
    Some(format!(
        "{:.0} % of the generated images are copies of training images. Use fewer steps or more images.",
        100.0 * copies
    ))
}

fn source_and_adapted(content: &Content<'_>) -> Option<Section> {
    let path = content.out.join("source-and-adapted.png");
    let height = content.source.config.image[0];
    let caption = format!(
        "Pairs of rows, {COLUMNS} latent vectors each. Upper row: the source. Lower row: the same latent vectors after the transfer."
    );
    let picture = picture_of(&path, height, &caption)?;
    Some(Section::new("Source and result").block(Block::Pictures(vec![picture])))
}

/// The table of methods.
///
/// `is_telling`: whether coverage shows that images are good.
fn result(result: &Value, is_telling: bool) -> Section {
    let rows = result["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let number =
        |value: &Value, digits: usize| value.as_f64().map_or("-".into(), |v| format!("{v:.digits$}"));
    let row = |row: &Value| {
        let interval = &row["kid_interval"];
        vec![
            label(row["method"].as_str().unwrap_or_default()),
            number(&row["kid"], 4),
            format!("{} to {}", number(&interval[0], 4), number(&interval[1], 4)),
            number(&row["fid"], 2),
            number(&row["sliced_wasserstein"], 3),
            // A coverage that noise reaches too must not look like praise.
            number(
                if is_telling {
                    &row["coverage"]
                } else {
                    &Value::Null
                },
                3,
            ),
            number(&row["diversity"], 3),
            number(&row["copies"], 3),
            number(&row["steps"], 0),
        ]
    };
    let protocol = &result["protocol"];
    let text = |name: &str| protocol[name].as_str().unwrap_or_default().to_string();
    let held_out = match protocol["real_is_held_out"].as_bool() {
        Some(false) => "training images (there are too few to hold some out)",
        _ => "real images that were not trained on",
    };
    let table = Table {
        head: std::iter::once("method")
            .chain(COLUMN_MEANINGS.map(|(name, _)| name))
            .map(String::from)
            .collect(),
        rows: rows.iter().map(row).collect(),
        ends_with_text: false,
        caption: format!(
            "{} generated images per method against {} {held_out}. Features of {} ({}). Seed {}.",
            protocol["generated"],
            protocol["real"],
            text("features"),
            text("features_about"),
            protocol["seed"]
        ),
    };
    let mut section = Section::new("Result");
    if rows.len() > 1 {
        section = section.paragraph(match result["winner"].as_str() {
            Some(name) => format!(
                "Lowest KID: {}. The difference to every other method is significant at 95 %.",
                label(name)
            ),
            None => "No method is significantly better: the 95 % intervals of the KID differences contain 0."
                .into(),
        });
    } else {
        section = section.paragraph(
            "One method. --baselines also measures the untuned source, training from scratch and plain fine-tuning.",
        );
    }
    let meanings = COLUMN_MEANINGS.map(|(name, meaning)| (name.to_string(), meaning.to_string()));
    section.block(Block::Table(table)).block(Block::Definitions {
        title: "What the columns mean".into(),
        definitions: meanings.to_vec(),
        is_open: true,
    })
}

fn recipe(content: &Content<'_>) -> Section {
    Section::new("Recipe")
        .paragraph(format!(
            "{}. The settings are at the end of the page.",
            label(&content.recipe.name)
        ))
        .block(Block::List(content.recipe.reasons.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_gan::report::Report;
    use serde_json::json;

    fn row(method: &str, copies: f64) -> Value {
        json!({
            "method": method, "kid": 0.1234567, "kid_se": 0.01, "fid": 3.0, "coverage": 0.5, "diversity": 0.25,
            "copies": copies, "steps": 300, "kid_interval": [0.11, 0.14],
        })
    }

    fn page(result_json: &Value) -> String {
        let mut report = Report::new("test");
        report.sections.push(result(result_json, true));
        to_html(&report)
    }

    #[test]
    fn the_table_has_every_method_with_its_interval() {
        let protocol = json!({ "features": "<net>", "features_about": "28x28", "real": 20, "seed": 1 });
        let both = json!({
            "rows": [row("some-far", 0.0), row("from-scratch", 0.0)], "winner": "some-far", "protocol": protocol,
        });
        let html = page(&both);
        for part in [
            "auto: some-far",
            "from scratch",
            "0.1235",
            "0.1100 to 0.1400",
            "&lt;net&gt;",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("--baselines"));
        let one = json!({ "rows": [row("some-far", 0.0)], "winner": null, "protocol": protocol });
        assert!(page(&one).contains("--baselines"));
    }

    #[test]
    fn a_coverage_that_noise_reaches_is_not_shown() {
        let one = json!({ "rows": [row("some-far", 0.0)], "winner": null, "protocol": {} });
        let shown = |is_telling| format!("{:?}", result(&one, is_telling)).contains("0.500");
        assert_eq!([shown(true), shown(false)], [true, false]);
        let found = warnings(
            &json!({ "protocol": { "real": 8 }, "second": { "agrees": false } }),
            None,
        );
        assert!(found.len() == 2 && found[0].contains('8'));
    }

    #[test]
    fn copies_get_a_warning() {
        assert!(
            copying(&json!({ "rows": [row("a", 0.5)] }))
                .unwrap()
                .contains("50 %")
        );
        assert_eq!(copying(&json!({ "rows": [row("a", 0.1)] })), None);
    }
}
