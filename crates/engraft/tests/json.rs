//! What `--json` prints, against the tables of the guide's page `json.md`, in both directions.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

#[path = "classifiers/files.rs"]
mod files;

use engraft::data::{Dataset, Provenance, Split, drawn_digits};
use files::{Data, write_idx};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../../docs/guide/json.md");

/// Fields by path, with their types.
type Fields = BTreeMap<String, BTreeSet<String>>;

/// The tables of the page by command. A field that may be missing has the type `optional` too.
fn documented() -> BTreeMap<String, Fields> {
    let mut commands: BTreeMap<String, Fields> = BTreeMap::new();
    let mut command = String::new();
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            command = title.trim_matches('`').into();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", field, types, _, ""] = cells[..]
            && let Some(field) = field.strip_prefix('`').and_then(|field| field.strip_suffix('`'))
        {
            let types = types
                .split([',', ' '])
                .filter(|part| !part.is_empty() && *part != "or");
            let before = commands
                .entry(command.clone())
                .or_default()
                .insert(field.into(), types.map(Into::into).collect());
            assert!(before.is_none(), "{command}: {field} is listed twice");
        }
    }
    commands
}

/// Adds the fields of a value.
fn collect(value: &Value, path: &str, found: &mut Fields) {
    let kind = match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                collect(value, &path, found);
            }
            return;
        }
        Value::Array(entries) => {
            return entries
                .iter()
                .for_each(|entry| collect(entry, &format!("{path}[]"), found));
        }
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
    };
    found.entry(path.into()).or_default().insert(kind.into());
}

/// Compares what a command printed with its table.
fn compare(command: &str, found: &Fields) {
    let documented = &documented()[command];
    let mut problems = Vec::new();
    for (path, types) in found {
        let whole = path.split_once('.').map(|(first, _)| format!("{first}.*"));
        let entry = documented
            .get(path)
            .or_else(|| documented.get(&whole.unwrap_or_default()));
        match entry {
            // Whole numbers are numbers.
            Some(known) => problems.extend(
                types
                    .iter()
                    .filter(|kind| !(known.contains(*kind) || *kind == "integer" && known.contains("number")))
                    .map(|kind| format!("{path} is {kind}, listed as {known:?}")),
            ),
            None => problems.push(format!("{path} ({types:?}) is not listed")),
        }
    }
    let is_there = |path: &str| match path.strip_suffix('*') {
        Some(start) => found.keys().any(|found| found.starts_with(start)),
        None => found.contains_key(path),
    };
    let missing = documented
        .iter()
        .filter(|(path, types)| !types.contains("optional") && !is_there(path));
    problems.extend(missing.map(|(path, _)| format!("{path} is listed and was not printed")));
    assert!(problems.is_empty(), "{command}: {problems:#?}");
}

/// The shipped source, by its path: the folder of the test has a data set `mnist`.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../source-mnist");

/// Small data sets under known names.
fn data() -> Data {
    let data = Data::new();
    for (split, part, count) in [(Split::Train, "train", 240), (Split::Test, "t10k", 60)] {
        let digits = drawn_digits(split, count, 1);
        write_idx(&data.set("mnist"), part, &digits);
        let pixels = digits.images().iter().map(|v| v / 3 * 2).collect();
        let labels = digits.labels().to_vec();
        let other = Dataset::new("usps", Provenance::Memory, pixels, digits.image_size(), labels).unwrap();
        write_idx(&data.set("usps"), part, &other);
    }
    data
}

/// Runs a command and returns its standard output.
fn printed(data: &Data, arguments: &str) -> String {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let found = data.run(&[&arguments[..], &["--json"]].concat());
    let errors = String::from_utf8_lossy(&found.stderr);
    // The doctor finds that a test is not optimized.
    assert!(found.status.success() || arguments[0] == "doctor", "{errors}");
    String::from_utf8(found.stdout).unwrap()
}

/// Runs a command and compares the object in its last line.
fn check(data: &Data, arguments: &str) {
    let text = printed(data, arguments);
    let mut found = Fields::new();
    collect(
        &serde_json::from_str(text.lines().last().unwrap()).unwrap(),
        "",
        &mut found,
    );
    compare(arguments.split(' ').next().unwrap(), &found);
}

#[test]
fn a_training_and_its_evaluation_print_what_is_listed() {
    let data = data();
    let text = printed(
        &data,
        "train --data mnist --steps 2 --batch 8 --threads 1 --eval-every 1 --checkpoint-every 1 --out run",
    );
    let mut found = Fields::new();
    for line in text.lines() {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let event = value.as_object_mut().unwrap().remove("event").unwrap();
        collect(&value, event.as_str().unwrap(), &mut found);
    }
    compare("train", &found);
    assert!(found.contains_key("measured.kid"), "{found:?}");
    assert!(!found.contains_key("plan.seconds"), "only a dry run times steps");
    check(&data, "evaluate --from run --data mnist --count 40");
    check(&data, "evaluate --from run --data mnist --count 40 --readability");
}

/// With the time and memory that the training takes.
#[test]
fn a_dry_run_prints_its_plan_alone() {
    let data = data();
    let text = printed(
        &data,
        "train --data mnist --network mlp --steps 7 --batch 8 --threads 1 --dry-run --out run",
    );
    let mut plan: Value =
        serde_json::from_str(text.trim_end()).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(plan.as_object_mut().unwrap().remove("event"), Some("plan".into()));
    let mut found = Fields::new();
    collect(&plan, "plan", &mut found);
    for (field, types) in &found {
        let known = documented()["train"].get(field).cloned().unwrap_or_default();
        assert!(
            types.is_subset(&known),
            "{field} is {types:?}, listed as {known:?}"
        );
    }
    for field in documented()["train"]
        .keys()
        .filter(|field| field.starts_with("plan."))
    {
        assert!(
            found.contains_key(field) || field == "plan.pseudo_labels",
            "no {field} in {text}"
        );
    }
    let number = |field: &str| plan[field].as_f64().unwrap();
    let [whole, one] = ["seconds", "seconds_per_step"].map(number);
    assert!(one > 0.0 && (whole - 7.0 * one).abs() < 1e-9 * whole, "{text}");
    // The weights alone need some megabytes.
    assert!(plan["memory"].as_u64().unwrap() > 1 << 20, "{text}");
    assert!(!data.path("run").exists());
}

#[test]
fn a_transfer_and_its_sources_print_what_is_listed() {
    let data = data();
    let options = "--data usps --train-images 20 --count 40";
    let transfer = format!("transfer --from {SOURCE} {options} --steps 1 --batch 4 --threads 1");
    check(&data, &format!("{transfer} --out alone"));
    check(&data, &format!("{transfer} --out all --baselines"));
    check(&data, &format!("sources {options} {SOURCE}"));
}

#[test]
fn trained_classifiers_print_what_is_listed() {
    let data = data();
    let adapt = "adapt --source-data mnist --target-data usps --method mcd --steps 1 --batch 8 --threads 1";
    check(&data, &format!("{adapt} --seeds 1"));
    check(&data, &format!("{adapt} --seeds 2-3 --even-frames"));
    let few_labels = "semi-supervised --data mnist --labels 20 --epochs 1 --threads 1";
    check(&data, &format!("{few_labels} --seeds 1"));
    check(
        &data,
        &format!("{few_labels} --seeds 2 --label-choice clusters --label-seed 3 --shift 1"),
    );
}

#[test]
fn the_doctor_prints_what_is_listed() {
    check(&data(), "doctor --out runs");
}
