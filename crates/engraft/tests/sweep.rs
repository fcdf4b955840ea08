//! `engraft sweep` as a program.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

mod common;

use common::{bad, good};
use engraft::data::{Split, drawn_digits};
use engraft::gan::{TrainConfig, Trainer};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;

/// A folder of drawn digits as pictures.
fn pictures(folder: &Path, n: usize) {
    std::fs::create_dir(folder).unwrap();
    let digits = drawn_digits(Split::Test, n, 1);
    for i in 0..n {
        let picture = image::GrayImage::from_raw(28, 28, digits.image(i).to_vec()).unwrap();
        picture.save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}

fn results(out: &str) -> Value {
    serde_json::from_slice(&std::fs::read(Path::new(out).join("sweep.json")).unwrap()).unwrap()
}

#[test]
fn the_best_of_four_trainings_is_found_and_a_stopped_sweep_resumes_to_the_same_table() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    pictures(at("pictures").as_ref(), 260);
    let data = at("pictures");
    let train = |out: &str, more: &[&str]| {
        let mut all = vec![
            "sweep",
            "train",
            "--data",
            &data,
            "--network",
            "mlp",
            "--steps",
            "41",
            "--batch",
            "8",
        ];
        all.extend([
            "--set",
            "evaluation.images=50",
            "--set",
            "evaluation.rollbacks=0",
            "--out",
            out,
        ]);
        all.extend(more);
        all.into_iter().map(String::from).collect::<Vec<String>>()
    };
    // A learning rate that cannot learn anything, and one that diverges.
    let over = [
        "--over",
        "learning-rate=1e-12,2e-4,1e30",
        "--over",
        "objective.kind=hinge",
    ];
    let run = |out: &str, more: &[&str]| {
        let arguments = train(out, &[&over[..], more].concat());
        good(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let [_, plan] = run(&at("none"), &["--dry-run"]);
    assert!(
        plan.contains("002     learning-rate=2e-4 objective.kind=hinge"),
        "{plan}"
    );
    assert!(
        plan.contains("stage     3 of them until step 20\nstage     2 of them until step 40"),
        "{plan}"
    );
    assert!(!Path::new(&at("none")).exists());

    let whole = at("whole");
    let [table, _] = run(&whole, &[]);
    assert!(table.contains("diverged"), "{table}");
    let rows = results(&whole);
    let kid = |row: usize| rows["combinations"][row]["kid"].as_f64();
    assert!(kid(0).unwrap() < kid(1).unwrap() && kid(2).is_none(), "{rows}");
    assert_eq!(rows["combinations"][0]["steps"], 40);
    assert_eq!(rows["combinations"][2]["steps"], 20);
    let best = rows["combinations"][0]["run"].as_str().unwrap();
    assert!(table.contains(&format!("whole/{best}")), "{table}");
    // The same on three threads, from a run that is already at its end and two that have not begun.
    let part = at("part");
    std::fs::create_dir(&part).unwrap();
    std::fs::copy(
        Path::new(&whole).join("plan.json"),
        Path::new(&part).join("plan.json"),
    )
    .unwrap();
    std::fs::rename(Path::new(&whole).join(best), Path::new(&part).join(best)).unwrap();
    run(&part, &["--threads", "3"]);
    assert_eq!(results(&part), rows);
    let arguments = train(&part, &["--over", "batch=8,16"]);
    bad(
        &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        &["other combinations", "--out"],
    );
}

#[test]
fn transfers_are_swept_over_their_recipe_and_settings() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let digits = drawn_digits(Split::Train, 40, 1);
    let mut config = TrainConfig::standard(&digits);
    (config.network, config.batch, config.steps) = ("mlp".into(), 8, 2);
    let mut trainer = Trainer::open(config, digits, at("source").as_ref()).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    pictures(at("pictures").as_ref(), 140);
    let (from, data, out) = (at("source"), at("pictures"), at("out"));
    let sweep = |more: &[&str]| {
        let mut all = vec![
            "sweep", "transfer", "--from", &from, "--data", &data, "--steps", "20", "--batch", "8",
        ];
        all.extend(["--count", "50", "--set", "evaluation.images=50", "--out", &out]);
        all.extend(more);
        all.into_iter().map(String::from).collect::<Vec<String>>()
    };
    let arguments = sweep(&[
        "--over",
        "batch-norm-only=true,false",
        "--over",
        "regularize.r1_gamma=0,1",
    ]);
    let [table, _] = good(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(
        table.contains("batch-norm-only=true regularize.r1_gamma=1"),
        "{table}"
    );
    assert!(
        table.contains("transfer with the options of this sweep"),
        "{table}"
    );
    let rows = results(&out);
    assert_eq!(rows["combinations"].as_array().unwrap().len(), 4);
    let settings = std::fs::read_to_string(Path::new(&out).join("002/run.toml")).unwrap();
    assert!(settings.contains("r1_gamma = 1.0"), "{settings}");
    for (wrong, named) in [
        ("data=a,b", "same images"),
        ("evaluation.every=1,2", "same measures"),
        ("network=mlp,dcgan", "its source"),
        ("batch=0,8", "--batch"),
        ("generator.rate=1,2", "generator.rate"),
        ("mirror=1", "true or false"),
    ] {
        let arguments = sweep(&["--over", wrong]);
        bad(
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
            &[named],
        );
    }
}
