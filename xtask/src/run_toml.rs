//! `cargo xtask docs`: the reference of `run.toml` in `docs/guide/run-toml.md`, from the doc comments of the settings.

mod parser;

use anyhow::{Context, ensure};
use engraft_data::{DataError, TrainingData};
use engraft_gan::toml::{Table, Value};
use engraft_gan::{
    EvaluationConfig, ObjectiveConfig, PictureConfig, PseudoLabelConfig, RegularizeConfig, TrainConfig,
};
use engraft_transfer::{Phase, TransferConfig};
use parser::{Field, Item, enum_variants, struct_fields};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Write the reference of run.toml from the doc comments of the settings.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if the file differs
    #[arg(long)]
    check: bool,
}

/// The file, from the root of the workspace.
const FILE: &str = "docs/guide/run-toml.md";

/// The text before the tables.
const INTRODUCTION: &str = "\
# Settings of a run: `run.toml`

Every run directory has a file `run.toml` with all settings of the run. You can

* change a setting when you start a run: `engraft train --set regularize.r1_gamma=0.5`,
* start a run with the settings of another one: `engraft train --config runs/mnist/run.toml`.

A resumed run keeps its settings; only `steps`, `[output]` and `[evaluation]` may change.
The settings of a preset are written into `run.toml` when a run starts. The file leaves out what is off, such as
`classes = 0` or an empty `[augment]`.

The column *default* has the values of the preset `default` for fewer than 10 000 training images and for color. *Many images* stands for the same preset
from 10 000 gray training images on. Other presets follow where they differ. Values that depend on the number of images are those for 60 000.
`default`, `tutorial` and `r3gan` are those for 28x28x1 images, `light` is that for 64x64x3 images.

<!-- Generated from the doc comments of the settings by `cargo xtask docs`. Do not edit. -->
";

/// A struct of settings: its heading in the file, the prefix of its keys, its source and its name.
struct Section {
    heading: &'static str,
    prefix: &'static str,
    source: &'static str,
    name: &'static str,
}

const fn section(
    heading: &'static str,
    prefix: &'static str,
    source: &'static str,
    name: &'static str,
) -> Section {
    Section {
        heading,
        prefix,
        source,
        name,
    }
}

const GAN: &str = "crates/gan/src/";
const SECTIONS: [Section; 17] = [
    section(
        "Settings outside of sections",
        "",
        "crates/gan/src/config.rs",
        "TrainConfig",
    ),
    section(
        "`[network]`",
        "network",
        "crates/gan/src/config/network.rs",
        "NetworkConfig",
    ),
    section(
        "`[objective]`",
        "objective",
        "crates/gan/src/objective.rs",
        "ObjectiveConfig",
    ),
    section(
        "`[objective.feature_matching]`",
        "objective.feature_matching",
        "crates/gan/src/objective.rs",
        "FeatureMatching",
    ),
    section(
        "`[generator]`",
        "generator",
        "crates/gan/src/config/adam.rs",
        "AdamConfig",
    ),
    section(
        "`[discriminator]`",
        "discriminator",
        "crates/gan/src/config/adam.rs",
        "AdamConfig",
    ),
    section(
        "`[regularize]`",
        "regularize",
        "crates/gan/src/regularization.rs",
        "RegularizeConfig",
    ),
    section(
        "`[augment]`",
        "augment",
        "crates/gan/src/augment/mod.rs",
        "AugmentConfig",
    ),
    section(
        "`[augment.adaptive]`",
        "augment.adaptive",
        "crates/gan/src/augment/adaptive.rs",
        "AdaptiveConfig",
    ),
    section(
        "`[evaluation]`",
        "evaluation",
        "crates/gan/src/config/evaluation.rs",
        "EvaluationConfig",
    ),
    section(
        "`[pseudo_labels]`",
        "pseudo_labels",
        "crates/gan/src/config/pseudo_labels.rs",
        "PseudoLabelConfig",
    ),
    section(
        "`[pictures]`",
        "pictures",
        "crates/gan/src/config/pictures.rs",
        "PictureConfig",
    ),
    section("`[output]`", "output", "crates/gan/src/config.rs", "OutputConfig"),
    section(
        "`[[earlier_data]]`",
        "earlier_data",
        "crates/gan/src/config/earlier_data.rs",
        "EarlierData",
    ),
    section(
        "`[plan]`: a transfer",
        "plan",
        "crates/transfer/src/config.rs",
        "TransferConfig",
    ),
    section(
        "`[[plan.phases]]`",
        "plan.phases",
        "crates/transfer/src/config.rs",
        "Phase",
    ),
    section(
        "`[[plan.rates]]`",
        "plan.rates",
        "crates/transfer/src/config.rs",
        "LearningRateFactor",
    ),
];

/// Enums of settings: source and name.
const ENUMS: [(&str, &str); 12] = [
    ("crates/gan/src/objective.rs", "Objective"),
    ("crates/gan/src/objective.rs", "StepOrder"),
    ("crates/tensor/src/precision.rs", "Precision"),
    ("crates/gan/src/regularization.rs", "SpectralNorm"),
    ("crates/gan/src/augment/mod.rs", "Augmentation"),
    ("crates/data/src/picture.rs", "Fit"),
    ("crates/data/src/levels.rs", "Levels"),
    ("crates/data/src/damaged.rs", "Damaged"),
    ("crates/layers/src/layer/adapter.rs", "Adapter"),
    ("crates/transfer/src/config.rs", "Trainable"),
    ("crates/transfer/src/source_regularizers.rs", "SourceRegularizer"),
    ("crates/gan/src/networks/family.rs", "GeneratorNorm"),
];

/// Keys whose values come from the data of the run.
const FROM_DATA: [&str; 7] = [
    "data",
    "images",
    "image",
    "fingerprint",
    "labels",
    "keep_copies_together",
    "earlier_data",
];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let path = root().join(FILE);
    let text = reference()?;
    if args.check {
        let found = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(
            found == text,
            "{FILE} differs from the doc comments of the settings; run cargo xtask docs"
        );
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    out!("wrote {FILE}");
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn source(file: &str) -> anyhow::Result<String> {
    let path = root().join(file);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// The whole text.
fn reference() -> anyhow::Result<String> {
    let presets = presets()?;
    let mut text = INTRODUCTION.to_owned();
    for section in &SECTIONS {
        let item = struct_fields(&source(section.source)?, section.name)
            .with_context(|| format!("{}: no struct {}", section.source, section.name))?;
        write_section(&mut text, section, &item, &presets)?;
    }
    text += "\n## Values\n";
    for (file, name) in ENUMS {
        let item = enum_variants(&source(file)?, name).with_context(|| format!("{file}: no enum {name}"))?;
        write!(
            text,
            "\n### {}\n\n{}\n\n| value | meaning |\n|---|---|\n",
            title(name),
            item.docs
        )?;
        for variant in &item.fields {
            writeln!(text, "| {} | {} |", written(variant), cell(&variant.docs))?;
        }
    }
    Ok(text)
}

fn write_section(
    text: &mut String,
    section: &Section,
    item: &Item,
    presets: &[(&'static str, BTreeMap<String, String>)],
) -> anyhow::Result<()> {
    write!(
        text,
        "\n## {}\n\n{}\n\n| key | type | default | meaning |\n|---|---|---|---|\n",
        section.heading, item.docs
    )?;
    for field in &item.fields {
        let key = dotted(section.prefix, &field.key);
        let default = default(&key, field, presets);
        writeln!(
            text,
            "| `{}` | {} | {default} | {} |",
            field.key,
            kind(&field.kind),
            cell(&field.docs)
        )?;
    }
    let earlier: Vec<String> = item
        .fields
        .iter()
        .filter_map(|field| Some(format!("`{}` (now `{}`)", field.alias.as_ref()?, field.key)))
        .collect();
    // The keys of a plan are those of the earlier version; its aliases are not written.
    if !earlier.is_empty() && section.source.starts_with(GAN) {
        writeln!(
            text,
            "\nNames of an earlier version that are still read: {}.",
            earlier.join(", ")
        )?;
    }
    Ok(())
}

fn dotted(prefix: &str, key: &str) -> String {
    match prefix {
        "" => key.into(),
        prefix => format!("{prefix}.{key}"),
    }
}

/// The default of a key, and where the presets differ from it.
fn default(key: &str, field: &Field, presets: &[(&'static str, BTreeMap<String, String>)]) -> String {
    if FROM_DATA.contains(&key) {
        return "from the data".into();
    }
    if key == "cpu" {
        return "from the machine".into();
    }
    let value = |settings: &BTreeMap<String, String>| settings.get(key).cloned();
    let Some(usual) = value(&presets[0].1) else {
        let listed = field.kind.trim_start_matches("Vec<").trim_end_matches('>');
        return match (is_table(listed), field.is_optional) {
            (true, _) => "see below",
            (false, true) => "none",
            (false, false) => "required",
        }
        .into();
    };
    let mut text = format!("`{usual}`");
    for (preset, settings) in &presets[1..] {
        if let Some(other) = value(settings)
            && other != usual
        {
            text += &format!("; {preset}: `{other}`");
        }
    }
    text
}

/// Images of a size without pixels, for which presets are asked.
struct Shape([usize; 3]);

impl TrainingData for Shape {
    fn name(&self) -> &str {
        "images"
    }

    fn len(&self) -> usize {
        60_000
    }

    fn shape(&self) -> [usize; 3] {
        self.0
    }

    fn batch(&self, indices: &[usize]) -> Result<Vec<f32>, DataError> {
        Ok(vec![0.0; indices.len() * self.0.iter().product::<usize>()])
    }

    fn fingerprint(&self) -> String {
        String::new()
    }
}

/// The settings of the presets by dotted names, those included that a `run.toml` leaves out.
fn presets() -> anyhow::Result<Vec<(&'static str, BTreeMap<String, String>)>> {
    let (digits, pictures) = (Shape([28, 28, 1]), Shape([64, 64, 3]));
    let presets = [
        ("default", TrainConfig::standard(&digits)),
        ("many images", TrainConfig::many_images(&digits)),
        ("tutorial", TrainConfig::tutorial(&digits)),
        ("r3gan", TrainConfig::r3gan(&digits)),
        ("light", TrainConfig::light(&pictures)),
    ];
    presets
        .into_iter()
        .map(|(name, config)| Ok((name, complete(&config)?)))
        .collect()
}

/// Dotted names and values of settings, with the defaults that a `run.toml` leaves out.
fn complete(config: &TrainConfig) -> anyhow::Result<BTreeMap<String, String>> {
    let mut settings = Table::try_from(config)?;
    let kind = Value::String(config.network.kind.clone());
    let network = Table::from_iter([
        ("kind".to_owned(), kind),
        ("widths".to_owned(), Value::Array(Vec::new())),
    ]);
    let sections = [
        ("network", network),
        (
            "objective",
            Table::try_from(ObjectiveConfig::from(config.objective.kind))?,
        ),
        ("regularize", Table::try_from(RegularizeConfig::default())?),
        ("augment", Table::try_from(engraft_gan::AugmentConfig::default())?),
        ("evaluation", Table::try_from(EvaluationConfig::default())?),
        ("pictures", Table::try_from(PictureConfig::default())?),
        ("pseudo_labels", Table::try_from(PseudoLabelConfig::default())?),
    ];
    for (name, mut defaults) in sections {
        if let Some(Value::Table(set)) = settings.remove(name) {
            defaults.extend(set);
        }
        settings.insert(name.into(), Value::Table(defaults));
    }
    // Left out of a run.toml where they are off.
    for (section, name, off) in [
        ("network", "patch_logits", Value::Boolean(false)),
        ("objective", "reconstruction", Value::Float(0.0)),
    ] {
        if let Some(Value::Table(settings)) = settings.get_mut(section) {
            settings.entry(name).or_insert(off);
        }
    }
    let adaptive = Table::try_from(engraft_gan::augment::AdaptiveConfig::default())?;
    if let Some(Value::Table(augment)) = settings.get_mut("augment") {
        augment.insert("adaptive".into(), Value::Table(adaptive));
    }
    for (name, value) in [
        ("validation_images", 0),
        ("classes", 0),
        ("micro_batches", 1),
        ("standing_batches", 0),
    ] {
        settings.entry(name).or_insert(Value::Integer(value));
    }
    settings.entry("learning_rate_decay").or_insert(Value::Float(0.0));
    settings
        .entry("precision")
        .or_insert_with(|| config.precision.name().into());
    let phase = Phase::default();
    let mut plan = TransferConfig {
        phases: vec![phase],
        ..TransferConfig::default()
    }
    .to_table();
    plan.remove("rates");
    if let Some(Value::Array(phases)) = plan.remove("phases")
        && let Some(phase) = phases.into_iter().next()
    {
        plan.insert("phases".into(), phase);
    }
    plan.insert("patches".into(), Value::Boolean(false));
    settings.insert("plan".into(), Value::Table(plan));
    let mut flat = BTreeMap::new();
    flatten("", &Value::Table(settings), &mut flat);
    Ok(flat)
}

fn flatten(prefix: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                flatten(&dotted(prefix, key), value, flat);
            }
        }
        value => {
            flat.insert(prefix.into(), value.to_string());
        }
    }
}

fn is_table(kind: &str) -> bool {
    kind.ends_with("Config")
        || matches!(
            kind,
            "FeatureMatching" | "Phase" | "LearningRateFactor" | "EarlierData" | "Table"
        )
}

/// A Rust type in words.
fn kind(rust: &str) -> String {
    if let Some(inner) = rust.strip_prefix("Vec<").and_then(|rest| rest.strip_suffix('>')) {
        return match inner {
            "String" | "usize" => format!("list of {}s", kind(inner)),
            _ => format!("list of {}", kind(inner)),
        };
    }
    match rust {
        "String" | "Background" | "PathBuf" => "string".into(),
        "bool" => "`true` or `false`".into(),
        "f64" => "number".into(),
        "u32" | "u64" | "usize" => "integer".into(),
        "[usize; 3]" => "list of 3 integers".into(),
        "Phase" | "LearningRateFactor" | "EarlierData" => "tables".into(),
        "NetworkConfig" | "ObjectiveConfig" => "name or table".into(),
        "SourceRegularizers" => format!("{}, or a list of several", kind("SourceRegularizer")),
        other if is_table(other) => "table".into(),
        other => format!(
            "[{}](#{})",
            title(other).to_lowercase(),
            title(other).to_lowercase().replace(' ', "-")
        ),
    }
}

/// `StepOrder` as `Step order`.
fn title(name: &str) -> String {
    let mut text = String::new();
    for (i, c) in name.chars().enumerate() {
        if i > 0 && c.is_uppercase() {
            text.push(' ');
            text.extend(c.to_lowercase());
        } else {
            text.push(c);
        }
    }
    text
}

/// A variant as it is written in a file.
fn written(variant: &Field) -> String {
    match variant.kind.as_str() {
        "" => format!("`\"{}\"`", variant.key),
        "f64" => format!("`{{ {} = WEIGHT }}`", variant.key),
        "Vec<String>" => format!("`{{ {} = [LAYER, ..] }}`", variant.key),
        _ => format!("`{{ {} = {{ rank = RANK }} }}`", variant.key),
    }
}

/// Text for a cell of a table.
fn cell(docs: &str) -> String {
    docs.replace("\n\n", " ").replace('\n', " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `run.toml` in which everything is set.
    const EVERYTHING: &str = r#"
data = "images"
images = 1000
image = [32, 32, 3]
fingerprint = "00"
seed = 1
validation_images = 100
keep_copies_together = true
steps = 10
batch = 8
micro_batches = 2
classes = 10
labels = "00"
order = "alternating"
precision = "bf16"
ema_half_life = 1000
standing_batches = 4
learning_rate_decay = 0.5
cpu = "x86_64"
[[earlier_data]]
until_step = 5
data = "images"
images = 900
fingerprint = "01"
labels = "01"
[network]
kind = "residual"
widths = [8, 8]
latent = 16
convolutions = 1
norm = "pixel"
patch_logits = true
[objective]
kind = "hinge"
label_smoothing = 0.1
packing = 2
n_critic = 2
feature_matching = { layer = "block2", weight = 0.5 }
reconstruction = 1.0
[generator]
learning_rate = 0.1
beta1 = 0.5
beta2 = 0.9
epsilon = 0.1
[discriminator]
learning_rate = 0.1
beta1 = 0.5
beta2 = 0.9
epsilon = 0.1
[regularize]
r1_gamma = 1.0
r2_gamma = 1.0
gradient_penalty = 1.0
interval = 2
lecam = 0.1
lecam_decay = 0.9
lecam_start = 10
spectral_norm = "both"
[augment]
kinds = ["flip"]
probability = 0.5
adaptive = { target = 0.5, images = 10, every = 2 }
[evaluation]
every = 5
images = 100
patience = 3
rollbacks = 1
features = "random"
weights = "w.safetensors"
[pictures]
fit = "pad"
background = "black"
levels = "full"
damaged = "keep"
mirror = true
[pseudo_labels]
clusters = 20
components = 40
seed = 2
min_images = 30
[output]
sample_every = 1
checkpoint_every = 1
keep_checkpoints = 1
[plan]
source_sha256 = "00"
preserve = [{ ewc = 10.0 }, { dcl = 0.5 }]
distil = 1.0
adapter = { low-rank = { rank = 4 } }
miner = 16
patches = true
[[plan.rates]]
under = ["block1"]
factor = 0.5
[[plan.phases]]
generator = { under = ["block2"] }
discriminator = "all"
steps = 5
until_balance = true
"#;

    /// Keys of the reference, without those that are tables themselves.
    fn documented() -> Vec<String> {
        let mut keys = Vec::new();
        for section in &SECTIONS {
            let item = struct_fields(&source(section.source).unwrap(), section.name).unwrap();
            for field in item.fields {
                let inner = field.kind.trim_start_matches("Vec<").trim_end_matches('>');
                if !is_table(inner) {
                    keys.push(dotted(section.prefix, &field.key));
                }
            }
        }
        keys.sort();
        keys
    }

    /// Keys of a table; those of an enum's variants are values.
    fn keys_of(prefix: &str, value: &Value, documented: &[String], keys: &mut Vec<String>) {
        match value {
            _ if documented.iter().any(|key| key == prefix) => keys.push(prefix.into()),
            Value::Table(table) => {
                for (key, value) in table {
                    keys_of(&dotted(prefix, key), value, documented, keys);
                }
            }
            Value::Array(tables) => {
                for value in tables {
                    keys_of(prefix, value, documented, keys);
                }
            }
            _ => keys.push(prefix.into()),
        }
    }

    #[test]
    fn every_key_of_a_run_is_documented() {
        let documented = documented();
        let config = TrainConfig::from_toml(EVERYTHING, Path::new("run.toml")).unwrap();
        let plan = TransferConfig::from_table(&config.plan).unwrap();
        let mut written = Table::try_from(&config).unwrap();
        written.insert("plan".into(), Value::Table(plan.to_table()));
        let mut keys = Vec::new();
        keys_of("", &Value::Table(written), &documented, &mut keys);
        keys.sort();
        keys.dedup();
        assert_eq!(keys, documented);
    }

    #[test]
    fn the_reference_has_defaults_and_values() {
        let text = reference().unwrap();
        for part in [
            "| `batch` | integer | `64`; tutorial: `256`",
            "`r3gan`",
            "quarter-turn",
            "held_out",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(!text.contains("](crate"), "{text}");
    }
}
