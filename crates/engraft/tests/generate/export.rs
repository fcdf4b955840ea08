//! `engraft export` and `engraft import` as programs: formats, existing files, refusals, and the model card.

use super::{Place, run};
use crate::common::{bad, engraft, good};
use engraft::data::{Npy, Split, drawn_digits};
use engraft::export::onnx::proto::Model;
use engraft::gan::CheckpointChoice;
use engraft::layers::StateDict;
use engraft::transfer::adapt::DomainClassifier;
use engraft::transfer::{Experiment, Recipe, TransferMethod, open_source};
use prost::Message;
use std::ops::ControlFlow;
use std::path::Path;

/// A value of the metadata.
fn of(model: &Model, key: &str) -> String {
    let found = model.metadata_props.iter().find(|entry| entry.key == key);
    found.unwrap_or_else(|| panic!("no {key}")).value.clone()
}

fn text(place: &Place, name: &str) -> String {
    String::from_utf8(place.bytes(name)).unwrap()
}

#[test]
fn a_conditional_run_in_every_format() {
    let place = Place::new();
    run(place.at("run").as_ref(), &drawn_digits(Split::Train, 40, 1), 10);
    let (from, out) = (place.at("run"), place.at("digits.onnx"));
    let onnx = ["export", "--from", &from, "--out", &out];
    let [told, _] = good(&[&onnx[..], &["--data-license", "CC0 | <b>", "--examples", "3"]].concat());
    assert!(
        told.contains("generator of 28x28x1 images") && told.contains("parameters"),
        "{told}"
    );
    let model = Model::decode(&place.bytes("digits.onnx")[..]).unwrap();
    let inputs = &model.graph.as_ref().unwrap().input;
    assert_eq!(
        inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(),
        ["z", "labels"]
    );
    let expected = [
        ("image_size", "28x28x1"),
        ("family", "mlp"),
        ("data_images", "40"),
        ("step", "1"),
        ("classes", "10"),
        ("data_license", "CC0 | <b>"),
        ("engraft_version", env!("CARGO_PKG_VERSION")),
    ];
    for (key, value) in expected {
        assert_eq!(of(&model, key), value, "{key}");
    }
    assert_eq!(
        (
            of(&model, "weights_sha256").len(),
            of(&model, "settings_sha256").len()
        ),
        (64, 64)
    );
    for (name, shape) in [
        ("z", vec![3, 100]),
        ("labels", vec![3]),
        ("images", vec![3, 1, 28, 28]),
    ] {
        let array = Npy::open(Path::new(&place.at(&format!("digits.{name}.npy")))).unwrap();
        assert_eq!(array.shape(), shape, "{name}");
    }
    // The same bytes again, and nothing is replaced by accident.
    bad(&onnx, &["digits.onnx exists", "--overwrite"]);
    let before = place.bytes("digits.onnx");
    let license = ["--overwrite", "--data-license", "CC0 | <b>"];
    good(&[&onnx[..], &license].concat());
    assert!(before == place.bytes("digits.onnx"));

    good(&[
        "export",
        "--from",
        &from,
        "--format",
        "pytorch",
        "--out",
        &place.at("digits.py"),
    ]);
    let source = text(&place, "digits.py");
    for part in [
        "class Generator(nn.Module)",
        "def forward(self, z, labels)",
        "nn.Embedding(10, 50)",
    ] {
        assert!(source.contains(part), "{part}: {source}");
    }
    let state: StateDict = StateDict::load(place.at("digits.safetensors")).unwrap();
    assert_eq!(state.metadata()["format"], "pt");
    assert_eq!(
        state.get("conditional.embedding.weight").unwrap().shape(),
        [10, 50]
    );

    let hub = place.at("hub");
    let to_hub = [
        "export",
        "--from",
        &from,
        "--format",
        "hub",
        "--out",
        &hub,
        "--network",
        "discriminator",
    ];
    let more = ["--data-license", "CC0 | <b>", "--license", "mit"];
    good(&[&to_hub[..], &more].concat());
    let card = text(&place, "hub/README.md");
    for part in [
        "---\nlibrary_name: engraft\nlicense: \"mit\"\n",
        "License: CC0 \\| &lt;b&gt;",
        "Not measured.",
        "## Intended use",
        "`labels` [N]: integers from 0 to 9",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert!(!card.contains(place.0.path().to_str().unwrap()), "{card}");
    let config: serde_json::Value = serde_json::from_str(&text(&place, "hub/config.json")).unwrap();
    assert_eq!(config["inputs"][0]["shape"], "[N, 1, 28, 28]");
    assert_eq!(config["run"]["seed"], 1);
    bad(&to_hub, &["model.safetensors exists"]);
}

/// A result of `engraft evaluate --json`.
fn evaluation() -> serde_json::Value {
    let scores = |kid: f64| {
        serde_json::json!({
            "fid": 11.5, "kid": kid, "kid_se": 0.001, "precision": 0.5, "recall": 0.5, "density": 0.5,
            "coverage": 0.5, "diversity": 5.0, "memorised": 0.0125,
        })
    };
    let mut found = scores(0.125);
    found["floor"] = scores(0.0625);
    found["protocol"] = serde_json::json!({
        "features": "mnist", "features_sha256": "ab", "data": "/home/somebody/digits", "split": "test", "data_sha256": "cd",
        "resize": "none", "real": 30, "generated": 40, "train": 50, "floor": 20, "seed": 1,
    });
    found
}

#[test]
fn the_card_has_the_evaluation() {
    let place = Place::new();
    run(place.at("run").as_ref(), &drawn_digits(Split::Train, 40, 1), 0);
    let (from, hub, file) = (place.at("run"), place.at("hub"), place.at("evaluation.json"));
    std::fs::write(&file, evaluation().to_string()).unwrap();
    let to_hub = [
        "export",
        "--from",
        &from,
        "--format",
        "hub",
        "--out",
        &hub,
        "--evaluation",
        &file,
    ];
    good(&to_hub);
    let card = text(&place, "hub/README.md");
    for part in [
        "model-index:",
        "      value: 0.125\n",
        "| KID | 0.12500 | 0.06250 |",
        "Protocol: 40 generated images against 30 real ones of digits (test, SHA-256 `cd`), 50 training images.",
        "Memorized share: 0.0125",
        "![samples](samples.png)",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert!(!card.contains("somebody"));
    std::fs::write(&file, "{\"fid\": 1}").unwrap();
    bad(
        &[&to_hub[..], &["--overwrite"]].concat(),
        &["evaluation.json", "evaluate --json"],
    );
}

#[test]
fn the_card_of_a_transfer_names_its_source() {
    let place = Place::new();
    run(place.at("run").as_ref(), &drawn_digits(Split::Train, 40, 1), 0);
    let source = open_source(place.at("run").as_ref(), CheckpointChoice::Last).unwrap();
    let experiment = Experiment {
        source: &source,
        target: &drawn_digits(Split::Test, 12, 1),
        steps: 1,
        seed: 1,
    };
    let method = TransferMethod::Recipe(Box::new(Recipe::fine_tune(&source).unwrap()));
    let (tuned, hub) = (place.at("tuned"), place.at("hub"));
    experiment
        .train(&method, tuned.as_ref(), &mut |_| ControlFlow::Continue(()))
        .unwrap();
    good(&["export", "--from", &tuned, "--format", "hub", "--out", &hub]);
    let card = text(&place, "hub/README.md");
    let said = "transferred from a GAN trained on drawn-digits (40 images); its weights have the SHA-256";
    assert!(card.contains(said), "{card}");
    let config: serde_json::Value = serde_json::from_str(&text(&place, "hub/config.json")).unwrap();
    assert_eq!(config["metadata"]["source_data"], "drawn-digits");
}

#[test]
fn classifiers_and_feature_networks() {
    let place = Place::new();
    let classifier = DomainClassifier::new([32, 32, 3], 4, 1, 1).unwrap();
    let (file, out) = (place.at("mcd-1.safetensors"), place.at("mcd.onnx"));
    StateDict::of(&classifier)
        .with_metadata("method", "mcd")
        .with_metadata("target", "/home/somebody/pictures")
        .save(&file)
        .unwrap();
    good(&["export", "--classifier", &file, "--out", &out]);
    let model = Model::decode(&place.bytes("mcd.onnx")[..]).unwrap();
    assert_eq!(
        (of(&model, "image_size"), of(&model, "adapt_target")),
        ("32x32x3".into(), "pictures".into())
    );
    let features = place.at("features.onnx");
    good(&["export", "--features", "fashion-mnist", "--out", &features]);
    let model = Model::decode(&place.bytes("features.onnx")[..]).unwrap();
    let outputs: Vec<String> = model
        .graph
        .unwrap()
        .output
        .into_iter()
        .map(|output| output.name)
        .collect();
    assert_eq!(outputs, ["features", "logits"]);
    let other = [
        "export",
        "--features",
        "inception",
        "--out",
        &features,
        "--overwrite",
    ];
    bad(&other, &["--features inception"]);
    std::fs::write(&file, "nothing").unwrap();
    bad(
        &["export", "--classifier", &file, "--out", &out, "--overwrite"],
        &["mcd-1.safetensors"],
    );
}

#[test]
fn wrong_options_are_named() {
    let place = Place::new();
    let out = place.at("a.onnx");
    let wrong: [(&[&str], &[&str]); 9] = [
        (
            &["--from", "mnist", "--opset", "12"],
            &["--opset", "12", "13", "24"],
        ),
        (
            &["--from", "mnist", "--format", "hub", "--opset", "17"],
            &["--opset", "--format onnx"],
        ),
        (
            &["--from", "mnist", "--format", "tflite"],
            &["onnx", "pytorch", "hub"],
        ),
        (
            &["--from", "mnist", "--format", "pytorch", "--out", &out],
            &["a.onnx", ".py"],
        ),
        (&["--from", "mnist", "--out", "a.pt"], &["a.pt", ".onnx"]),
        (&["--from", "no-such-run"], &["no-such-run", "mnist"]),
        (&["--from", "mnist", "--data-license", " "], &["--data-license"]),
        (
            &[
                "--from",
                "mnist",
                "--network",
                "discriminator",
                "--examples",
                "2",
                "--out",
                &out,
            ],
            &["--examples", "generator"],
        ),
        (&[], &["--from", "--classifier", "--features"]),
    ];
    for (options, parts) in wrong {
        bad(&[&["export"], options].concat(), parts);
    }
    assert_eq!(engraft(&["export", "--format", "x"]).status.code(), Some(2));
    assert!(!Path::new(&out).exists());
    let g = place.at("netG.pth");
    std::fs::write(&g, b"PK\x03\x04").unwrap();
    bad(
        &["import", "--generator", &g, "--out", &place.at("source")],
        &["netG.pth", "torch.save"],
    );
    bad(
        &["import", "--generator", &g, "--out", &place.at("")],
        &["has files already", "--overwrite"],
    );
}
