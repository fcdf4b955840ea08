//! Second signals, SIGHUP, and programs that die while they write.

use super::{Data, below, digits, ending, ends_with, limited, signal, spawn, text, tiny_source, wait_until};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;

/// What the first signal prints.
const NOTICE: &str = "interrupt again to stop immediately";

/// Sends SIGINT, waits for the notice, sends SIGTERM, and checks that it ends the program, which saves nothing.
#[track_caller]
fn ends_at_the_second_signal(mut child: Child) {
    signal("INT", &child);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    while !said.iter().any(|line: &String| line.contains(NOTICE)) {
        match lines.next() {
            Some(line) => said.push(line.unwrap()),
            None => panic!("no notice in {said:?}"),
        }
    }
    signal("TERM", &child);
    said.extend(lines.map_while(Result::ok));
    assert_eq!(child.wait().unwrap().code(), Some(143), "{said:?}");
    assert!(!said.join("\n").contains("stopped"), "{said:?}");
}

/// The statistics do not look at signals, which are noticed nonetheless.
#[test]
fn fault_06_signals_during_standing_statistics_are_noticed_and_the_second_ends_them() {
    let data = digits();
    let command = "train --data mnist --network mlp --batch 8 --threads 1 --quiet --out run --set standing_batches=10000";
    let child = spawn(&data, &command.split(' ').collect::<Vec<_>>());
    // It is made right before the first checkpoint, which needs the statistics.
    let record = data.path("run/metrics.jsonl");
    wait_until("the record", || record.exists());
    ends_at_the_second_signal(child);
    let checkpoint = data.path("run/checkpoints/step-000000");
    assert!(!checkpoint.exists(), "the statistics were over");
}

/// Waits until a command is in its first step, and sends both signals.
fn ends_in_its_first_step(data: &Data, command: &str, run: &str) {
    // A step of a thousand steps of the discriminator takes seconds.
    let command = format!("{command} --threads 1 --set objective.n_critic=1000");
    let child = spawn(data, &command.split(' ').collect::<Vec<_>>());
    // It is written right before the first step.
    let report = data.path(run).join("report.html");
    wait_until(run, || report.exists());
    ends_at_the_second_signal(child);
    let record = fs::read_to_string(data.path(run).join("metrics.jsonl")).unwrap();
    assert_eq!(record, "", "{run}: the step was finished");
}

#[test]
fn fault_06_a_second_signal_ends_a_training_at_once() {
    let data = digits();
    ends_in_its_first_step(&data, "train --data mnist --batch 40 --out run", "run");
}

#[test]
fn fault_06_a_second_signal_ends_a_sweep_at_once() {
    let data = digits();
    super::pictures(&data.path("pictures"), 260);
    let sweep = "sweep train --data pictures --batch 64 --out swept --over seed=1,2";
    ends_in_its_first_step(&data, sweep, "swept/001");
}

#[test]
fn fault_06_a_second_signal_ends_a_transfer_at_once() {
    let data = digits();
    let transfer = format!(
        "transfer --from {} --data usps --batch 40 --count 50 --out tuned --recipe fine-tune",
        super::SOURCE
    );
    ends_in_its_first_step(&data, &transfer, "tuned");
}

/// While it labels a million generated images, which takes longer than its trainings.
#[test]
fn fault_06_a_second_signal_ends_semi_supervised_learning_at_once() {
    let data = digits();
    tiny_source(&data.path("source"));
    let more = "--epochs 1 --from source --generated 1000000";
    let child = spawn(
        &data,
        &[&super::FEW_LABELS[..], &more.split(' ').collect::<Vec<_>>()].concat(),
    );
    let labels_only = || {
        let unfinished = ending(&data.path("kept"), ".unfinished");
        let found = unfinished
            .iter()
            .map(|folder| folder.join("supervised-only/checkpoints/step-000001/manifest.json"))
            .find(|path| path.exists());
        found.is_some()
    };
    wait_until("the classifier that labels", labels_only);
    ends_at_the_second_signal(child);
    assert!(!data.path("kept/result.json").exists());
}

#[test]
fn fault_06_a_hangup_saves_the_run_and_has_its_own_code() {
    let data = digits();
    let command = "train --data mnist --network mlp --batch 8 --threads 1 --steps 1000000 --out run";
    let child = spawn(&data, &command.split(' ').collect::<Vec<_>>());
    let record = data.path("run/metrics.jsonl");
    wait_until("a step", || {
        fs::metadata(&record).is_ok_and(|about| about.len() > 0)
    });
    signal("HUP", &child);
    let found = child.wait_with_output().unwrap();
    ends_with(&found, 129);
    let told = text(&found.stdout);
    let (_, rest) = told
        .split_once("stopped and saved after step ")
        .unwrap_or_else(|| panic!("{told}"));
    let step: u64 = rest.split(' ').next().unwrap().parse().unwrap();
    let checkpoint = data.path(&format!("run/checkpoints/step-{step:06}"));
    assert!(checkpoint.is_dir(), "{told}");
}

/// The system ends a process whose file becomes too long with SIGXFSZ: in the middle of the file, on every machine.
#[test]
fn fault_06_a_program_that_dies_while_it_writes_leaves_the_earlier_file() {
    const SIGXFSZ: i32 = 25;
    let data = digits();
    tiny_source(&data.path("source"));
    let out = data.set("out");
    for command in [
        "generate --from source --count 100 --overwrite --out out/a.npy",
        "generate --from source --overwrite --out out/a.png",
        "export --from source --overwrite --out out/a.onnx",
        "playground --from source --overwrite --out out/a.html",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let file = data.path(arguments.last().unwrap());
        fs::write(&file, "earlier").unwrap();
        let found = limited(&data, "ulimit -c 0 && ulimit -f 8", &arguments);
        let errors = text(&found.stderr);
        assert_eq!(found.status.signal(), Some(SIGXFSZ), "{command}: {errors}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "earlier", "{command}");
        // It had begun: what it wrote is under another name.
        let parts: Vec<_> = below(&out).into_iter().filter(|path| *path != file).collect();
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let [part] = &parts[..] else {
            panic!("{command}: {parts:?}")
        };
        assert!(
            name(part).starts_with(&format!(".engraft-{}", name(&file))) && name(part).ends_with(".tmp"),
            "{command}: {parts:?}"
        );
        assert!(fs::metadata(part).unwrap().len() > 0, "{command}");
        fs::remove_file(part).unwrap();
        // The same command with room replaces the file.
        ends_with(&data.run(&arguments), 0);
        assert!(fs::metadata(&file).unwrap().len() > 8192, "{command}");
        fs::remove_file(&file).unwrap();
    }
}
