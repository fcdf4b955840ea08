//! A folder in the layout of the Hugging Face hub: weights, configuration, code to load them, and a model card.

use crate::description::{Description, Part, last_part, shape_text};
use crate::error::ExportError;
use crate::graph::Graph;
use crate::torch::torch_network;
use engraft_metrics::{Evaluation, Scores};
use serde_json::{Value, json};
use std::fmt::Write;

/// Names of the files.
pub const NAMES: [&str; 4] = ["model.safetensors", "model.py", "config.json", "README.md"];

/// The files of the folder by name: `model.safetensors`, `model.py`, `config.json` and `README.md`.
///
/// The weights have PyTorch's layout, and `model.py` defines the network for them. `README.md` is a model card: a head in YAML,
/// how to load the network, its training images, the measures with their protocol, and limits.
///
/// ```
/// use engraft_export::{Description, Part, generator_graph, hub};
/// use engraft_gan::networks::{NetworkFamily, NetworkSpec, mlp::Mlp};
/// use engraft_layers::Init;
/// let spec = NetworkSpec::new([8, 8, 1]);
/// let graph = generator_graph(Mlp.generator(&spec, &mut Init::glorot(1)), Mlp.latent_dim(&spec), 0)?;
/// let files = hub::files(&graph, &Description::new(Part::Generator, "tiny", [8, 8, 1]))?;
/// assert!(files.iter().map(|(name, _)| *name).eq(hub::NAMES));
/// # Ok::<(), engraft_export::ExportError>(())
/// ```
///
/// # Errors
/// If the network cannot be written for PyTorch, or a weight is not finite.
pub fn files(graph: &Graph, about: &Description) -> Result<Vec<(&'static str, Vec<u8>)>, ExportError> {
    let torch = torch_network(graph, about.part.class(), &about.sentence())?;
    let metadata = about.metadata(graph).into_iter();
    let state = metadata.fold(torch.state, |state, (name, value)| {
        state.with_metadata(&name, value)
    });
    let contents = [
        state.to_sealed_bytes()?,
        torch.source.into_bytes(),
        pretty(&config(graph, about)).into_bytes(),
        card(graph, about).into_bytes(),
    ];
    Ok(NAMES.into_iter().zip(contents).collect())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The contents of `config.json`.
fn config(graph: &Graph, about: &Description) -> Value {
    let inputs = graph.inputs.iter().map(|input| {
        let kind = if input.classes.is_some() { "int64" } else { "float32" };
        json!({ "name": input.name, "type": kind, "shape": shape_text(&input.shape), "classes": input.classes })
    });
    let outputs = graph.outputs.iter();
    let outputs =
        outputs.map(|(name, operand)| json!({ "name": name, "shape": shape_text(&graph.shape(*operand)) }));
    let metadata = about
        .metadata(graph)
        .into_iter()
        .map(|(name, value)| (name, value.into()));
    let mut config = json!({
        "architectures": [about.part.class()],
        "library": "engraft",
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
        "parameters": graph.parameter_count(),
        "class_names": about.class_names,
        "metadata": metadata.collect::<serde_json::Map<String, Value>>(),
    });
    if let Some(run) = &about.run {
        let settings: Option<Value> = toml_as_json(&run.config().to_toml());
        config["run"] = settings.unwrap_or_default();
    }
    config
}

/// Settings in TOML as JSON.
fn toml_as_json(text: &str) -> Option<Value> {
    let table: engraft_gan::toml::Table = text.parse().ok()?;
    serde_json::to_value(table).ok()
}

/// A text in quotes that YAML reads as JSON does.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The model card.
fn card(graph: &Graph, about: &Description) -> String {
    let title = one_line(&about.title);
    let mut text = yaml(about);
    let _ = write!(text, "\n# {title}\n\n{}\n", one_line(&about.sentence()));
    let _ = write!(
        text,
        "\nThe network has {} parameters. It was exported by engraft {}.\n",
        graph.parameter_count(),
        env!("CARGO_PKG_VERSION")
    );
    if let Some(picture) = &about.picture {
        let _ = write!(text, "\n![samples]({picture})\n");
    }
    text += "\n## How to load\n\n";
    text += &how_to_load(graph, about);
    text += "\n## Intended use\n\n";
    text += intended_use(about.part);
    text += "\n## Training images\n\n";
    text += &training_images(about);
    text += "\n## Measures\n\n";
    text += &measures(about);
    text += "\n## Memorization\n\n";
    text += &memorization(about);
    text += "\n## Limits\n\n";
    text += &limits(about);
    text
}

/// The head that the hub reads.
fn yaml(about: &Description) -> String {
    let mut text = String::from("---\nlibrary_name: engraft\n");
    if let Some(license) = &about.license {
        let _ = writeln!(text, "license: {}", quoted(license));
    }
    text += match about.part {
        Part::Generator => "pipeline_tag: unconditional-image-generation\n",
        Part::Classifier => "pipeline_tag: image-classification\n",
        Part::Features => "pipeline_tag: image-feature-extraction\n",
        Part::Discriminator => "",
    };
    text += "tags:\n- gan\n- safetensors\n- pytorch\n";
    if let (Some(run), Some(found)) = (&about.run, &about.evaluation) {
        let (protocol, scores) = (&found.protocol, &found.scores);
        let _ = write!(
            text,
            "model-index:\n- name: {}\n  results:\n  - task:\n      type: unconditional-image-generation\n    dataset:\n      \
             name: {}\n      type: {}\n      split: {}\n    metrics:\n",
            quoted(&about.title),
            quoted(&run.config().data),
            quoted(&last_part(&protocol.data)),
            quoted(&protocol.split)
        );
        for (kind, value) in [
            ("kid", scores.kid),
            ("fid", scores.fid),
            ("coverage", scores.coverage),
            ("memorized share", scores.memorized),
        ] {
            let name = format!("{kind} with the features {}", protocol.features);
            let _ = write!(
                text,
                "    - type: {}\n      name: {}\n      value: {value}\n",
                quoted(kind),
                quoted(&name)
            );
        }
    }
    text + "---\n"
}

fn how_to_load(graph: &Graph, about: &Description) -> String {
    let inputs = graph.inputs.iter().map(|input| {
        let kind = match input.classes {
            Some(classes) => format!("integers from 0 to {}", classes - 1),
            None if about.part == Part::Generator => "standard normal numbers".into(),
            None => "images with values from -1 to 1".into(),
        };
        format!("- `{}` {}: {kind}", input.name, shape_text(&input.shape))
    });
    let outputs = graph.outputs.iter().map(|(name, operand)| {
        let range = if about.part == Part::Generator {
            ", values from -1 to 1"
        } else {
            ""
        };
        format!("- `{name}` {}{range}", shape_text(&graph.shape(*operand)))
    });
    let image = match about.part {
        Part::Generator => "pixels = ((images + 1) * 127.5).round().to(torch.uint8)\n",
        _ => "",
    };
    let result = if about.part == Part::Generator {
        "images"
    } else {
        "outputs"
    };
    format!(
        "`model.py` needs the packages torch and safetensors.\n\n```python\nimport torch\nfrom model import example, load\n\n\
         network = load(\"model.safetensors\")\nwith torch.no_grad():\n    {result} = network(*example(4))\n{image}```\n\n\
         Inputs:\n\n{}\n\nOutputs:\n\n{}\n",
        inputs.collect::<Vec<_>>().join("\n"),
        outputs.collect::<Vec<_>>().join("\n")
    )
}

fn intended_use(part: Part) -> &'static str {
    match part {
        Part::Generator => {
            "Generating images like the training images, and studying generative models: interpolation, transfer to few images, \
             measures. It is not meant for images that are shown as photographs of real things or people.\n"
        }
        Part::Discriminator => {
            "Further training, and studying generative models. Its logits compare images with those of one generator at one time; \
             they do not detect generated images in general.\n"
        }
        Part::Classifier => "Classifying images like the training images, within the measured accuracy.\n",
        Part::Features => "Comparing sets of images by the distances of their features.\n",
    }
}

fn training_images(about: &Description) -> String {
    let license = about.data_license.as_deref();
    let license = license.map_or("not stated; ask who exported the model".to_string(), one_line);
    let Some(run) = &about.run else {
        return format!("- License: {license}\n");
    };
    let config = run.config();
    if config.images == 0 {
        return format!("- Unknown: the network was trained by another program\n- License: {license}\n");
    }
    let mut text = format!(
        "- Data: {}\n- Number of images: {}\n- Size: {}, values from -1 to 1\n- SHA-256 of the pixels: `{}`\n- License: {license}\n",
        one_line(&config.data),
        config.images,
        about.size(),
        config.fingerprint
    );
    if config.network_classes() > 0 {
        let kind = if config.pseudo_labels.is_on() {
            "clusters of the images"
        } else {
            "labels"
        };
        let _ = writeln!(text, "- Classes: {} ({kind})", config.network_classes());
    }
    if !about.class_names.is_empty() {
        let names: Vec<String> = about.class_names.iter().map(|name| one_line(name)).collect();
        let _ = writeln!(text, "- Names of the classes: {}", names.join(", "));
    }
    if let Some(source) = config.plan.get("source_sha256").and_then(|value| value.as_str()) {
        let _ = writeln!(
            text,
            "- The network was transferred from a GAN{}; its weights have the SHA-256 `{source}`, and its training images count too",
            one_line(&run.source_images())
        );
    }
    text
}

fn measures(about: &Description) -> String {
    match (&about.evaluation, &about.measurement) {
        (Some(found), _) => evaluation(found),
        (None, Some((found, features))) => format!(
            "Measured during training, at step {}, against {}, with the features {}. They chose the checkpoint and are \
             not results to report.\n\n| measure | value |\n|---|---|\n| KID | {:.5} ± {:.5} |\n| coverage | {:.3} |\n| memorized share \
             | {:.3} (chance: 0.05) |\n",
            found.step,
            reference(about),
            one_line(features),
            found.kid,
            found.kid_se,
            found.coverage,
            found.memorized
        ),
        (None, None) => "Not measured.\n".into(),
    }
}

/// What a run was measured against during its training.
fn reference(about: &Description) -> &'static str {
    match about.run.as_ref().map(|run| run.config().validation_images) {
        Some(0) => "the training images themselves, so that copies of them look good",
        _ => "validation images",
    }
}

/// One of the measures.
type Measure = fn(&Scores) -> f64;

/// A table with the protocol.
fn evaluation(found: &Evaluation) -> String {
    let protocol = &found.protocol;
    let mut text = String::from("| measure | generated | real images (floor) |\n|---|---|---|\n");
    let rows: [(&str, Measure); 8] = [
        ("FID", |s| s.fid),
        ("KID", |s| s.kid),
        ("standard error of KID", |s| s.kid_se),
        ("precision", |s| s.precision),
        ("recall", |s| s.recall),
        ("density", |s| s.density),
        ("coverage", |s| s.coverage),
        ("diversity", |s| s.diversity),
    ];
    for (name, value) in rows {
        let _ = writeln!(
            text,
            "| {name} | {:.5} | {:.5} |",
            value(&found.scores),
            value(&found.floor)
        );
    }
    let _ = write!(
        text,
        "\nProtocol: {} generated images against {} real ones of {} ({}, SHA-256 `{}`), {} training images. Features: {} (SHA-256 `{}`; \
         {}). Resizing: {}. Seed {}. The numbers are comparable only with those of the same protocol, not with published FIDs.\n",
        protocol.generated,
        protocol.real,
        one_line(&last_part(&protocol.data)),
        protocol.split,
        protocol.data_sha256,
        protocol.train,
        one_line(&protocol.features),
        protocol.features_sha256,
        one_line(&protocol.features_about),
        one_line(&protocol.resize),
        protocol.seed
    );
    if !protocol.real_is_held_out {
        text += "\nThe real images are the training images themselves: a generator that copies them has perfect values.\n";
    }
    text
}

fn memorization(about: &Description) -> String {
    let meaning = "the share of generated images that are closer to a training image than real images are";
    match (&about.evaluation, &about.measurement) {
        (Some(found), _) => format!(
            "Memorized share: {:.4} for generated images, {:.4} for real ones ({meaning}; against {} training images).\n",
            found.scores.memorized, found.floor.memorized, found.protocol.train
        ),
        (None, Some((found, _))) => format!(
            "Memorized share during training: {:.3} ({meaning}; 0.05 is chance; at most 1000 training images are compared).\n",
            found.memorized
        ),
        (None, None) => "Not measured. A generator trained on few images may copy them.\n".into(),
    }
}

fn limits(about: &Description) -> String {
    let mut text = format!("- The network reads or makes images of {} only.\n", about.size());
    if about.part == Part::Generator {
        text += "- It shows what its training images show, with their gaps and biases.\n- Single images can be poor; the measures are means \
                 over many.\n";
    }
    if about
        .run
        .as_ref()
        .is_some_and(|run| (1..1000).contains(&run.config().images))
    {
        text += "- It was trained on few images. Compare its images with them before use.\n";
    }
    text
}

/// A text of a user or file without line breaks and without what Markdown would read as a table or HTML.
fn one_line(text: &str) -> String {
    let clean = engraft_base::escaped(text).replace('|', "\\|");
    clean.replace('<', "&lt;").replace('>', "&gt;")
}
