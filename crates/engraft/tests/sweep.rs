//! `engraft sweep` as a program.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

mod common;

use common::{bad, good, pictures};
use engraft::data::{Split, drawn_digits};
use engraft::gan::{TrainConfig, Trainer, read_settings};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn results(out: &str) -> Value {
    serde_json::from_slice(&std::fs::read(Path::new(out).join("sweep.json")).unwrap()).unwrap()
}

#[test]
fn the_best_of_three_trainings_is_found_and_a_killed_sweep_resumes_to_the_same_table() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    pictures(at("pictures").as_ref(), 260);
    let data = at("pictures");
    let out = |name: &str| -> Vec<String> {
        let base = "--network mlp --steps 41 --batch 8 --threads 2 --set evaluation.images=50 --out";
        let mut all = vec!["sweep", "train", "--data", &data];
        all.extend(base.split(' '));
        all.into_iter().map(String::from).chain([at(name)]).collect()
    };
    let with = |out: &[String], more: &str| -> Vec<String> {
        out.iter()
            .cloned()
            .chain(more.split(' ').map(String::from))
            .collect()
    };
    // A learning rate that cannot learn anything, and one that diverges.
    let over = "--over learning-rate=1e-12,2e-4,1e30 --over objective.kind=hinge";
    let [_, plan] = good(&strs(&with(&out("none"), &format!("{over} --dry-run"))));
    assert!(
        plan.contains("002     learning-rate=2e-4 objective.kind=hinge"),
        "{plan}"
    );
    assert!(
        plan.contains("3 of them until step 20") && plan.contains("2 of them until step 40"),
        "{plan}"
    );
    assert!(plan.contains("100 steps in all, 2 at a time"), "{plan}");
    assert!(!Path::new(&at("none")).exists());

    let [table, _] = good(&strs(&with(&out("whole"), over)));
    assert!(table.contains("diverged"), "{table}");
    let rows = results(&at("whole"));
    let kid = |row: usize| rows["combinations"][row]["kid"].as_f64();
    assert!(kid(0).unwrap() < kid(1).unwrap() && kid(2).is_none(), "{rows}");
    assert_eq!(rows["combinations"][0]["steps"], 40);
    assert_eq!(rows["combinations"][2]["steps"], 20);
    let best = rows["combinations"][0]["run"].as_str().unwrap();
    assert!(table.contains(&format!("whole/{best}")), "{table}");
    // Its settings without what only a sweep needs.
    assert!(table.contains("whole/best.toml"), "{table}");
    let best_settings = read_settings(&Path::new(&at("whole")).join("best.toml")).unwrap();
    let changes = rows["combinations"][0]["changes"].as_str().unwrap();
    let of_second = changes.contains("learning-rate=2e-4");
    assert_eq!(
        best_settings.generator.learning_rate,
        if of_second { 2e-4 } else { 1e-12 }
    );
    assert!(best_settings.evaluation.rollbacks > 0 && best_settings.steps == 41);
    // The same after a signal, and from a run that is already at its end.
    let arguments = with(&out("part"), over);
    let child = Command::new(env!("CARGO_BIN_EXE_engraft"))
        .args(&arguments)
        .env_remove("ENGRAFT_DATA")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !Path::new(&at("part")).join("001/metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let signal = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(signal.success());
    let ended = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(143), "{errors}");
    assert!(errors.contains("the same command resumes"), "{errors}");
    assert!(!Path::new(&at("part")).join("sweep.json").exists());
    std::fs::remove_dir_all(Path::new(&at("part")).join(best)).unwrap();
    std::fs::rename(
        Path::new(&at("whole")).join(best),
        Path::new(&at("part")).join(best),
    )
    .unwrap();
    good(&strs(&arguments));
    assert_eq!(results(&at("part")), rows);
    bad(
        &strs(&with(&out("part"), "--over regularize.r1_gamma=0,1")),
        &["other combinations", "--out"],
    );
    for (wrong, named) in [
        ("--over batch=8,16", "leave out one of them"),
        ("--over seed=1,2 --over held_out=20,50", "same measures"),
        ("--over learning-rate=1,2 --over learning-rate=3", "twice"),
        ("--over network=mlp", "leave out one of them"),
        ("--over micro-batches=3", "micro"),
        ("--over learning-rate=-1", "--learning-rate"),
        ("--over seed=1,2 --quiet", "--quiet"),
    ] {
        bad(&strs(&with(&out("wrong"), wrong)), &[named]);
    }
}

/// Learning rates decay to the end of the sweep, not to that of each stage.
#[test]
fn a_decay_is_a_share_of_the_steps_of_all_stages() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    pictures(at("pictures").as_ref(), 260);
    let data = at("pictures");
    let with = |command: &str, out: &str, more: &[&str]| {
        let options = "--network mlp --steps 16 --batch 8 --threads 2 --set evaluation.images=50 --set learning_rate_decay=0.75 --data";
        let words = command.split(' ').chain(options.split(' '));
        let words = words.chain([data.as_str(), "--out", out]);
        let words = words.chain(more.iter().copied()).map(String::from);
        words.collect::<Vec<String>>()
    };
    let over = ["--over", "learning-rate=1e-4,2e-4,4e-4"];
    let sweep = || good(&strs(&with("sweep train", &at("swept"), &over)));
    let [_, said] = sweep();
    assert!(!said.contains("also differ in learning rate"), "{said}");
    let rows = results(&at("swept"));
    // Without times.
    let losses = |run: &str| -> Vec<Value> {
        let lines = std::fs::read_to_string(Path::new(run).join("metrics.jsonl")).unwrap();
        let parsed = lines.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("ms").unwrap();
            line
        });
        parsed.collect()
    };
    let run = |row: usize| {
        at(&format!(
            "swept/{}",
            rows["combinations"][row]["run"].as_str().unwrap()
        ))
    };
    let rate = rows["combinations"][0]["changes"].as_str().unwrap();
    good(&strs(&with("train", &at("alone"), &[&format!("--{rate}")])));
    assert_eq!(losses(&run(0)), losses(&at("alone")));
    // The one that was dropped.
    let settings = read_settings(&Path::new(&run(2)).join("run.toml")).unwrap();
    assert_eq!((settings.steps, losses(&run(2)).len()), (16, 8));
    sweep();
    assert_eq!((results(&at("swept")), losses(&run(2)).len()), (rows.clone(), 8));
    // Runs that need no more steps are those of the same settings too.
    let other = [&over[..], &["--set", "objective.label_smoothing=0.1"][..]].concat();
    bad(
        &strs(&with("sweep train", &at("swept"), &other)),
        &["other settings", "--out"],
    );
}

/// Two settings of the preset differ, of which the sweep names one.
#[test]
fn a_learning_rate_that_the_preset_changes_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    pictures(at("pictures").as_ref(), 260);
    let plan = |more: &str| {
        let (data, out) = (at("pictures"), at("out"));
        let words = [
            "sweep",
            "train",
            "--data",
            &data,
            "--out",
            &out,
            "--dry-run",
            "--network",
            "mlp",
            "--over",
        ];
        let [_, said] = good(&words.into_iter().chain(more.split(' ')).collect::<Vec<_>>());
        said
    };
    let said = plan("preset=default,tutorial --steps 16 --batch 8 --set evaluation.images=50");
    assert!(said.contains("also differ in learning rate"), "{said}");
    assert!(said.contains("1e-4 in 002; 2e-4 in 001"), "{said}");
    let same =
        plan("preset=default,tutorial --learning-rate 1e-4 --steps 16 --batch 8 --set evaluation.images=50");
    assert!(!same.contains("also differ in learning rate"), "{same}");
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
    let sweep = |more: &str| -> Vec<String> {
        let mut all = vec![
            "sweep", "transfer", "--from", &from, "--data", &data, "--out", &out,
        ];
        all.extend("--steps 20 --batch 8 --count 50 --set evaluation.images=50".split(' '));
        all.extend(more.split(' '));
        all.into_iter().map(String::from).collect()
    };
    let over = "--over batch-norm-only=true,false --over regularize.r1_gamma=0,1 --over objective.kind=non-saturating";
    let [table, _] = good(&strs(&sweep(over)));
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
    // The recipe for an image count of 112 and an untrained source may be fine-tuning itself.
    let [_, plan] = good(&strs(&sweep(
        "--over recipe=fine-tune --over mirror=false,true --over batch-norm-only=false --dry-run",
    )));
    assert!(plan.contains("2 combinations"), "{plan}");
    let [_, plan] = good(&strs(&sweep(
        "--over output.sample_every=2 --over regularize.r1_gamma=1,1.0 --dry-run",
    )));
    assert!(
        plan.contains("left out") && plan.contains("1 combinations"),
        "{plan}"
    );
    for (wrong, named) in [
        ("data=a,b", "same images"),
        ("seed=1,2", "same images"),
        ("evaluation.images=50,60", "same measures"),
        ("network=mlp,dcgan", "its source"),
        ("generator.rate=1,2", "generator.rate"),
        ("mirror=1", "true or false"),
    ] {
        bad(&strs(&sweep(&format!("--over {wrong}"))), &[named]);
    }
}
