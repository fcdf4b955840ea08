//! The commands of `cargo xtask`, as processes.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn counts_beyond_memory_are_refused() {
    let huge = u64::MAX.to_string();
    for (command, argument) in [
        ("drawn-digits", "--count"),
        ("bench-step", "--steps"),
        ("bench-step", "--warmup"),
    ] {
        let output = xtask(&[command, argument, &huge]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(argument), "{errors}");
    }
}

#[test]
fn train_mnist_is_the_program_s_train() {
    let plan = xtask(&["train-mnist", "--offline", "--data", "drawn-digits", "--dry-run", "--json"]);
    assert_eq!(plan.status.code(), Some(0));
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!((&plan["event"], &plan["out"]), (&"plan".into(), &"runs/drawn-digits".into()));
    let wrong = xtask(&["train-mnist", "--data", "no-such-place"]);
    assert_eq!(wrong.status.code(), Some(3));
}
