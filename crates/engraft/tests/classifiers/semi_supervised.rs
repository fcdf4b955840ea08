//! `engraft semi-supervised` as a program.

use crate::files::{Data, write_idx};
use engraft::data::{Split, drawn_digits};
use serde_json::Value;
use std::fs;

#[test]
fn it_prints_all_rows_and_the_protocol_reproducibly() {
    let folder = Data::new();
    let data = folder.set("mnist");
    write_idx(&data, "train", &drawn_digits(Split::Train, 40, 1));
    write_idx(&data, "t10k", &drawn_digits(Split::Test, 20, 1));
    let print = |threads: &str| {
        let found = folder.run(&[
            "semi-supervised",
            "--data",
            "mnist",
            "--labels",
            "20",
            "--seeds",
            "2",
            "--epochs",
            "2",
            "--extra-losses",
            "pull-away=0.5,conditional-entropy",
            "--threads",
            threads,
            "--json",
        ]);
        let errors = String::from_utf8_lossy(&found.stderr);
        assert!(found.status.success(), "{errors}");
        String::from_utf8(found.stdout).unwrap()
    };
    let out = folder.path("runs/semi-supervised-mnist-20-2-epochs");
    let text = print("1");
    // Results are reused; without them, two threads give the same.
    assert_eq!(text, print("1"));
    std::fs::remove_dir_all(&out).unwrap();
    assert_eq!(text, print("2"));
    let names = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names
        .filter(|name| name.to_string_lossy().contains("unfinished"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let json: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let methods: Vec<&str> = json["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["method"].as_str().unwrap())
        .collect();
    let feature_matching = "feature matching + 0.5 pull-away + conditional entropy";
    assert_eq!(methods, ["supervised only", feature_matching, "all labels"]);
    let row = &json["rows"][1];
    let errors: Vec<f64> = serde_json::from_value(row["errors_percent"].clone()).unwrap();
    assert_eq!(errors.len(), 2);
    assert!((row["mean"].as_f64().unwrap() - (errors[0] + errors[1]) / 2.0).abs() < 1e-9);
    assert_eq!(json["protocol"]["steps"], 2);
    assert_eq!(json["protocol"]["network"], "784-1000-500-250-250-250-10");
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(out.join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("result.json"), json);
    let labels: Vec<u8> = serde_json::from_value(read("labels-seed-2.json")["labels"].clone()).unwrap();
    assert!((0..10).all(|class| labels.iter().filter(|&&l| l == class).count() == 2));
    assert_ne!(
        read("labels-seed-1.json")["indices"],
        read("labels-seed-2.json")["indices"]
    );

    // Other settings do not overwrite results.
    let other = folder.run(&[
        "semi-supervised",
        "--data",
        "mnist",
        "--labels",
        "20",
        "--seeds",
        "1",
        "--epochs",
        "1",
        "--out",
        out.to_str().unwrap(),
    ]);
    let errors = String::from_utf8_lossy(&other.stderr);
    assert!(
        !other.status.success()
            && errors.contains("feature-matching-seed-1.json")
            && errors.contains("--out"),
        "{errors}"
    );
    assert_eq!(read("result.json"), json);
}

#[test]
fn seeds_that_share_their_labels_have_a_consensus() {
    let folder = Data::new();
    let data = folder.set("mnist");
    write_idx(&data, "train", &drawn_digits(Split::Train, 60, 1));
    write_idx(&data, "t10k", &drawn_digits(Split::Test, 20, 1));
    let common = "semi-supervised --data mnist --labels 20 --epochs 1 --batch 20 --threads 1 --json";
    let run = |more: &str| {
        let line = format!("{common} {more}");
        folder.run(&line.split(' ').collect::<Vec<_>>())
    };
    let printed = |more: &str| {
        let found = run(more);
        let errors = String::from_utf8_lossy(&found.stderr);
        assert!(found.status.success(), "{errors}");
        String::from_utf8(found.stdout).unwrap()
    };
    let read = |text: &str| -> Value { serde_json::from_str(text.lines().last().unwrap()).unwrap() };
    let shared = "--label-choice clusters --label-seed 7 --shift 2 --learning-rate 0.001 --seeds";
    let text = printed(&format!("{shared} 1-2"));
    assert!(
        text.contains("\nconsensus, ") && text.contains("another protocol"),
        "{text}"
    );
    let json = read(&text);
    let expected: [(&str, Value); 6] = [
        ("label_choice", "clusters".into()),
        ("label_seed", 7.into()),
        ("shift", 2.into()),
        ("batch", 20.into()),
        ("learning_rate", 0.001.into()),
        ("steps", 3.into()),
    ];
    for (field, value) in expected {
        assert_eq!(json["protocol"][field], value, "{field}");
    }
    for row in json["rows"].as_array().unwrap() {
        let wrong = row["consensus_wrong"].as_u64().unwrap();
        assert_eq!(row["consensus_percent"], 5.0 * wrong as f64);
    }
    let counts: Vec<Vec<usize>> = serde_json::from_value(json["labels_per_class"].clone()).unwrap();
    assert_eq!(counts.len(), 1);
    assert_eq!(counts[0].iter().sum::<usize>(), 20);
    let out = folder
        .path("runs/semi-supervised-mnist-20-clusters-label-seed-7-shift-2-batch-20-rate-0.001-1-epochs");
    let labels: Value = serde_json::from_slice(&fs::read(out.join("labels-seed-7.json")).unwrap()).unwrap();
    assert_eq!(labels["choice"], "clusters");
    assert!(!out.join("labels-seed-1.json").exists());
    // Kept results are reused, and a further seed joins them.
    assert_eq!(printed(&format!("{shared} 1-2")), text);
    let more = read(&printed(&format!("{shared} 1-3")));
    assert_eq!(more["rows"][1]["wrong"][0], json["rows"][1]["wrong"][0]);
    // One classifier is no consensus.
    let one = read(&printed(&format!("{shared} 2-2")));
    assert!(one["rows"][0].get("consensus_wrong").is_none());
    // Probabilities of another training.
    let of = |seed: u64| out.join(format!("feature-matching-seed-{seed}-probabilities.safetensors"));
    let mut bytes = fs::read(of(1)).unwrap();
    *bytes.last_mut().unwrap() ^= 0x40;
    fs::write(of(1), bytes).unwrap();
    let refused = run(&format!("{shared} 1-2"));
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success()
            && errors.contains("feature-matching-seed-1-probabilities.safetensors")
            && errors.contains("move the file away"),
        "{errors}"
    );
    // Without the new settings nothing of this is printed.
    let text = printed("--seeds 1");
    let json = read(&text);
    assert!(!text.contains("consensus") && !text.contains("shift"));
    for field in ["label_choice", "label_seed", "shift"] {
        assert!(json["protocol"].get(field).is_none(), "{field}");
    }
    assert!(json.get("labels_per_class").is_none());
}

#[test]
fn errors_name_the_option_and_the_number() {
    let folder = Data::new();
    let data = folder.set("mnist");
    write_idx(&data, "train", &drawn_digits(Split::Train, 40, 1));
    write_idx(&data, "t10k", &drawn_digits(Split::Test, 20, 1));
    let refused = |arguments: &[&str], named: &[&str]| {
        let found = folder.run(&[&["semi-supervised"], arguments].concat());
        let errors = String::from_utf8_lossy(&found.stderr);
        assert!(
            !found.status.success() && found.stdout.is_empty(),
            "{arguments:?}"
        );
        for name in named {
            assert!(errors.contains(name), "{arguments:?}: no {name:?} in {errors}");
        }
        assert!(
            errors.matches("os error").count() <= 1,
            "the reason once: {errors}"
        );
    };
    refused(
        &["--data", "mnist", "--labels", "15"],
        &["--labels 15", "10 and 20"],
    );
    refused(&["--data", "mnist", "--labels", "100"], &["class 0", "4 image"]);
    refused(&["--data", "mnist"], &["class 9"]);
    refused(
        &["--data", "mnist", "--labels", "41", "--label-choice", "clusters"],
        &["--labels 41", "--label-choice clusters", "from 2 to 40"],
    );
    refused(
        &["--data", "mnist", "--labels", "10", "--shift", "28"],
        &["--shift 28", "28x28", "fewer than 28"],
    );
    refused(&["--data", "mnist", "--batch", "1"], &["--batch", "at least 2"]);
    refused(&["--data", "mnist", "--learning-rate", "0"], &["--learning-rate"]);
    refused(
        &["--data", "mnist", "--labels", "10", "--train-images", "3"],
        &["--train-images 3", "--seeds"],
    );
    let pictures = folder.path("pictures");
    fs::create_dir(&pictures).unwrap();
    let one = image::GrayImage::new(28, 28);
    one.save(pictures.join("one.png")).unwrap();
    refused(&["--data", "pictures"], &["--data pictures", "no labels"]);
    refused(&["--data", "mnits"], &["mnits", "mnist"]);
    refused(&["--data", "mnist", "--extra-losses", "pull"], &["pull-away"]);
    refused(
        &["--data", "mnist", "--labels", "10", "--from", "nowhere"],
        &["--from nowhere"],
    );
    assert!(!folder.path("runs").exists());
}

#[test]
fn few_images_and_a_generator_of_another_size() {
    let folder = Data::new();
    let data = folder.set("usps");
    write_idx(
        &data,
        "train",
        &drawn_digits(Split::Train, 400, 1).resized(16, 16),
    );
    write_idx(&data, "t10k", &drawn_digits(Split::Test, 20, 1).resized(16, 16));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../source-mnist");
    let arguments = [
        "semi-supervised",
        "--data",
        "usps",
        "--train-images",
        "200",
        "--labels",
        "20",
        "--seeds",
        "1",
        "--epochs",
        "40",
        "--generated",
        "200",
        "--json",
        "--from",
        source,
    ];
    let found = folder.run(&arguments);
    let errors = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&found.stdout);
    let json: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(json["protocol"]["unlabelled"], 200);
    assert_eq!(json["protocol"]["shots"]["images"], 200);
    assert_eq!(json["protocol"]["shots"]["seed"], 1);
    assert!(!errors.contains("warning"), "{errors}");
    assert_eq!(json["protocol"]["network"], "784-1000-500-250-250-250-10");
    assert_eq!(json["rows"].as_array().unwrap().len(), 4);
    let out = folder.path("runs/semi-supervised-usps-20-of-200-40-epochs/labels-seed-1.json");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(out).unwrap()).unwrap();
    let indices: Vec<usize> = serde_json::from_value(written["indices"].clone()).unwrap();
    assert!(
        indices.iter().any(|&i| i >= 200),
        "indices of the whole set: {indices:?}"
    );
}
