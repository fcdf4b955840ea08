//! `engraft transfer` and `engraft generate` as programs, with adapters.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

mod common;

use common::{bad, good, pictures};

use engraft::data::{Split, drawn_digits};
use engraft::gan::{TrainConfig, Trainer};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

/// A run of few steps on drawn digits.
fn source(directory: &Path, seed: u64) {
    source_of(directory, seed, 0);
}

/// The same with class-conditional networks.
fn source_of(directory: &Path, seed: u64, classes: u32) {
    let data = drawn_digits(Split::Train, 40, 1);
    let mut config = TrainConfig::standard(&data);
    (config.network, config.batch, config.steps, config.seed) = ("mlp".into(), 8, 2, seed);
    config.classes = classes;
    let mut trainer = Trainer::open(config, data, directory).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
}

/// The shipped source generates light digits on dark; a target of the other polarity gets a warning, and can be inverted.
#[test]
fn another_polarity_gets_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let paper = folder.path().join("paper");
    pictures(&paper, 12);
    for picture in std::fs::read_dir(&paper).unwrap() {
        let path = picture.unwrap().path();
        let mut ink = image::open(&path).unwrap();
        ink.invert();
        ink.save(&path).unwrap();
    }
    let from = concat!(env!("CARGO_MANIFEST_DIR"), "/../source-mnist");
    let plan = [
        "transfer",
        "--from",
        from,
        "--data",
        paper.to_str().unwrap(),
        "--count",
        "100",
        "--dry-run",
    ];
    let [_, plain] = good(&plan);
    assert!(
        plain.contains("polarity") && plain.contains("--invert"),
        "{plain}"
    );
    let [_, inverted] = good(&[&plan[..], &["--invert", "--patch-discriminator"]].concat());
    assert!(!inverted.contains("polarity"), "{inverted}");
    let head = |text: &str, shape: &str| {
        let lines = text.lines().filter(|line| line.contains("head.weight"));
        lines.clone().count() > 0 && lines.clone().all(|line| line.contains(shape))
    };
    assert!(
        head(&plain, " 6272x1 ") && head(&inverted, " 128x1 "),
        "{inverted}"
    );
    let distance = |text: &str| -> f64 {
        let line = text.split_once("KID ").unwrap().1;
        line.split_once(',').unwrap().0.parse().unwrap()
    };
    assert!(distance(&inverted) < distance(&plain), "{inverted}");
}

#[test]
fn json_is_the_last_line_and_the_shipped_source_generates() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    source(at("source").as_ref(), 1);
    pictures(at("pictures").as_ref(), 12);
    let (from, data, out) = (at("source"), at("pictures"), at("run"));
    let mut transfer = vec![
        "transfer", "--data", &data, "--steps", "2", "--from", &from, "--json", "--count", "50", "--out",
        &out,
    ];
    transfer.extend(["--recipe", "fine-tune", "--freeze-g", "hidden1"]);
    let [said, _] = good(&transfer);
    let json: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(json["rows"][0]["method"], "fine-tune-changed");
    assert!(json["winner"].is_null(), "there was one method: {said}");
    assert!(said.contains("--checkpoint best"), "{said}");
    let page = std::fs::read_to_string(Path::new(&out).join("report.html")).unwrap();
    for heading in [
        "Source and result",
        "Samples",
        "Result",
        "Recipe",
        "Nearest",
        "Training",
        "Settings",
    ] {
        assert!(page.contains(&format!("<h2>{heading}")), "{heading}");
    }
    assert!(page.contains("12 training images of") && page.contains("changed by the options"));
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../source-mnist");
    let grid = at("grid.png");
    let [said, _] = good(&["generate", "--from", shipped, "--count", "8", "--out", &grid]);
    assert!(said.contains("8 images"), "{said}");
    bad(
        &["generate", "--from", shipped, "--files", "--out", &grid],
        &["--files", "--out"],
    );
}

/// Without `--out`, every command with its own source and settings has a directory of its own, and resumes there.
#[test]
fn other_transfers_get_the_next_number_and_the_same_ones_resume() {
    let folder = tempfile::tempdir().unwrap();
    for (name, seed) in [("source", 1), ("other", 2)] {
        source(&folder.path().join(name), seed);
    }
    pictures(&folder.path().join("pictures"), 12);
    let transfer = |more: &str| {
        let common = "transfer --data pictures --recipe fine-tune --batch 4 --threads 1 --count 50";
        let output = Command::new(env!("CARGO_BIN_EXE_engraft"))
            .args(common.split(' ').chain(more.split(' ')))
            .current_dir(folder.path())
            .env_remove("ENGRAFT_DATA")
            .output()
            .unwrap();
        let [told, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{more}: {errors}");
        told + &errors
    };
    for (more, name) in [
        ("--from source --steps 2", "transfer-pictures"),
        ("--from source --steps 2 --seed 2", "transfer-pictures-2"),
        ("--from other --steps 2", "transfer-pictures-3"),
        // The run of the source is not that of the result.
        ("--from runs/transfer-pictures --steps 2", "transfer-pictures-4"),
        ("--from source --steps 2 --train-images 10", "transfer-pictures-5"),
        ("--from source --steps 3", "transfer-pictures"),
    ] {
        let told = transfer(more);
        let run = format!("runs/{name}\n");
        assert!(told.contains(&run), "{more}: no {run:?} in {told}");
    }
    // A number that became free is no reason to begin anew.
    let runs = folder.path().join("runs");
    std::fs::remove_dir_all(runs.join("transfer-pictures-3")).unwrap();
    let told = transfer("--from source --steps 3 --train-images 10");
    assert!(told.contains("resuming from step 2"), "{told}");
    let mut steps: Vec<(String, usize)> = std::fs::read_dir(runs)
        .unwrap()
        .map(|entry| {
            let run = entry.unwrap();
            let record = std::fs::read_to_string(run.path().join("metrics.jsonl")).unwrap();
            (run.file_name().into_string().unwrap(), record.lines().count())
        })
        .collect();
    steps.sort();
    let expected = [("", 3), ("-2", 2), ("-4", 2), ("-5", 3)]
        .map(|(number, steps)| (format!("transfer-pictures{number}"), steps));
    assert_eq!(steps, expected);
}

/// The length of the warm-up depends on the number of steps, but a longer total continues the run.
#[test]
fn a_longer_total_continues_a_transfer_with_warmup() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    source(at("source").as_ref(), 1);
    pictures(at("pictures").as_ref(), 12);
    let (from, data, out) = (at("source"), at("pictures"), at("run"));
    let transfer = |steps: &str| {
        good(&[
            "transfer", "--from", &from, "--data", &data, "--out", &out, "--count", "50", "--steps", steps,
        ])
    };
    transfer("10");
    let [_, errors] = transfer("30");
    assert!(errors.contains("resuming from step 10"), "{errors}");
    let metrics = std::fs::read_to_string(at("run/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 30);
}

/// 12 images have another recipe than 42 have; the run keeps its own.
#[test]
fn a_transfer_continues_with_changed_images_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    source(at("source").as_ref(), 1);
    pictures(at("pictures").as_ref(), 42);
    let (from, data, out) = (at("source"), at("pictures"), at("run"));
    let kept = at("kept");
    std::fs::create_dir(&kept).unwrap();
    let move_all = |from: &str, to: &str, numbers: std::ops::Range<usize>| {
        for number in numbers {
            let name = format!("{number:03}.png");
            std::fs::rename(Path::new(from).join(&name), Path::new(to).join(&name)).unwrap();
        }
    };
    move_all(&data, &kept, 12..42);
    let with = |steps: &str, more: &[&str]| -> Vec<String> {
        let words = [
            "transfer",
            "--from",
            &from,
            "--data",
            &data,
            "--out",
            &out,
            "--count",
            "50",
            "--threads",
            "1",
            "--steps",
            steps,
        ];
        words.iter().chain(more).map(ToString::to_string).collect()
    };
    let run = |words: Vec<String>| good(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let [_, said] = run(with("4", &[]));
    assert!(said.contains("auto: few-"), "{said}");
    move_all(&kept, &data, 12..42);
    let refused = with("8", &[]);
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    bad(&refused, &["has 12 images", "--accept-changed-data", "30 added"]);
    let [_, said] = run(with("8", &["--accept-changed-data"]));
    assert!(
        said.contains("auto: few-") && said.contains("whose images have changed"),
        "{said}"
    );
    assert!(said.contains("with 42 images instead of 12"), "{said}");
    // From then on they are the images of the run.
    let [_, said] = run(with("12", &[]));
    assert!(said.contains("resuming from step 8"), "{said}");
    let settings = engraft::gan::read_settings(&Path::new(&out).join("run.toml")).unwrap();
    let earlier = &settings.earlier_data[0];
    assert_eq!((settings.images, earlier.images, earlier.until_step), (42, 12, 4));
    let record = std::fs::read_to_string(at("run/metrics.jsonl")).unwrap();
    assert_eq!(record.lines().count(), 12);
    let without_out: Vec<&str> = vec!["transfer", "--data", &data, "--accept-changed-data"];
    bad(&without_out, &["--out"]);
}

#[test]
fn errors_come_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    source(at("source").as_ref(), 1);
    source_of(at("plain").as_ref(), 1, 10);
    pictures(at("few").as_ref(), 1);
    pictures(at("pictures").as_ref(), 12);
    let transfer = |from: &str, data: &str, named: &[&str]| {
        let [from, data, out] = [from, data, "run"].map(at);
        bad(
            &[
                "transfer", "--from", &from, "--data", &data, "--steps", "2", "--out", &out,
            ],
            named,
        );
    };
    transfer("source", "few", &["few", "at least 2"]);
    transfer("plain", "pictures", &["pictures", "class-conditional"]);
    assert!(!folder.path().join("run").exists());
}

/// The files of the newest checkpoint of a run, and its steps without their times.
fn content(run: &str) -> Vec<(String, Vec<u8>)> {
    let checkpoints = std::fs::read_dir(format!("{run}/checkpoints")).unwrap();
    let newest = checkpoints.map(|entry| entry.unwrap().path()).max().unwrap();
    let mut files: Vec<_> = std::fs::read_dir(newest)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().into(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect();
    files.sort();
    let metrics = std::fs::read_to_string(format!("{run}/metrics.jsonl")).unwrap();
    let steps: Vec<_> = metrics
        .lines()
        .map(|line| line.split(",\"ms\"").next().unwrap())
        .collect();
    files.push(("metrics".into(), steps.join("\n").into_bytes()));
    files
}

/// Table and checkpoint of a resumed transfer are those of one that was never interrupted.
#[cfg(unix)]
#[test]
fn fault_06_an_interrupted_transfer_is_saved_and_resumes_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    source(at("source").as_ref(), 1);
    pictures(at("pictures").as_ref(), 12);
    let (from, data) = (at("source"), at("pictures"));
    let transfer = |out: &str, steps: &str| -> Vec<String> {
        let words = [
            "transfer",
            "--from",
            &from,
            "--data",
            &data,
            "--out",
            out,
            "--recipe",
            "fine-tune",
            "--steps",
            steps,
            "--batch",
            "4",
            "--learning-rate",
            "1e-3",
            "--learning-rate-d",
            "5e-4",
            "--threads",
            "1",
            "--checkpoint-every",
            "1000",
            "--count",
            "50",
        ];
        words.map(String::from).to_vec()
    };
    for (name, expected) in [("INT", 130), ("TERM", 143)] {
        let out = at(name);
        // Enough steps that no machine finishes before the signal arrives.
        let child = Command::new(env!("CARGO_BIN_EXE_engraft"))
            .args(transfer(&out, "1000000"))
            .env_remove("ENGRAFT_DATA")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let metrics = folder.path().join(name).join("metrics.jsonl");
        let start = std::time::Instant::now();
        while std::fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
            assert!(
                start.elapsed().as_secs() < 60,
                "{} does not appear",
                metrics.display()
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let signal = [format!("-{name}"), child.id().to_string()];
        assert!(Command::new("kill").args(&signal).status().unwrap().success());
        let found = child.wait_with_output().unwrap();
        let errors = String::from_utf8(found.stderr).unwrap();
        assert_eq!(found.status.code(), Some(expected), "{errors}");
        assert!(errors.contains("fine-tuning: step 1/1000000 "), "{errors}");
        let (_, rest) = errors
            .split_once("stopped at step ")
            .unwrap_or_else(|| panic!("{errors}"));
        let stopped: u64 = rest.split(',').next().unwrap().parse().unwrap();
        let checkpoint = format!("{out}/checkpoints/step-{stopped:06}");
        assert!(
            Path::new(&checkpoint).is_dir() && errors.contains(&out),
            "{errors}"
        );

        let (steps, whole) = ((stopped + 2).to_string(), at(&format!("whole-{name}")));
        let run = |out: &str| {
            let words = transfer(out, &steps);
            good(&words.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let ([resumed, errors], [complete, _]) = (run(&out), run(&whole));
        assert!(
            errors.contains(&format!("resuming from step {stopped}")),
            "{errors}"
        );
        assert_eq!(resumed.replace(&out, &whole), complete);
        assert!(content(&out) == content(&whole), "{name}");
        let settings = std::fs::read_to_string(format!("{out}/run.toml")).unwrap();
        for setting in [
            "batch = 4",
            "learning_rate = 0.001",
            "learning_rate = 0.0005",
            "checkpoint_every = 1000",
        ] {
            assert!(settings.contains(setting), "{settings}");
        }
    }
    let mut fresh = transfer(&at("INT"), "2");
    fresh.push("--fresh".into());
    good(&fresh.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(folder.path().join("INT.old-1").is_dir());
}

#[test]
fn an_adapter_file_and_the_source_generate_what_the_run_generates() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    source(at("source").as_ref(), 1);
    source(at("other").as_ref(), 2);
    pictures(at("pictures").as_ref(), 12);
    let (from, data, out) = (at("source"), at("pictures"), at("run"));
    let transfer = [
        "transfer",
        "--data",
        &data,
        "--recipe",
        "fine-tune",
        "--steps",
        "3",
        "--count",
        "50",
    ];
    let from_source = [&transfer[..], &["--from", &from]].concat();
    fn joined<'a>(first: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [first, more].concat()
    }
    let [said, _] = good(&joined(&from_source, &["--adapter", "low-rank=2", "--out", &out]));
    let file = at("run/adapter.safetensors");
    assert!(
        said.contains(&format!("engraft generate --from {from} --adapter {file}")),
        "{said}"
    );

    // The run, and the source through the file.
    let (run, adapted) = (at("run.npy"), at("adapted.npy"));
    let draw = |from: &str, more: &[&str], to: &str| {
        good(
            &[
                &[
                    "generate",
                    "--overwrite",
                    "--count",
                    "6",
                    "--from",
                    from,
                    "--out",
                    to,
                ],
                more,
            ]
            .concat(),
        );
        std::fs::read(to).unwrap()
    };
    let adapter = ["--adapter", &file];
    assert!(draw(&out, &[], &run) == draw(&from, &adapter, &adapted));
    assert!(draw(&from, &[], &run) != draw(&from, &adapter, &adapted));
    good(&[
        "generate",
        "--from",
        &from,
        "--adapter",
        &file,
        "--with-source",
        "--out",
        &at("both.png"),
    ]);
    let other = at("other");
    bad(
        &[
            "generate",
            "--overwrite",
            "--from",
            &other,
            "--adapter",
            &file,
            "--out",
            &run,
        ],
        &["--adapter", "SHA-256"],
    );
    let picture = at("both.png");
    bad(
        &["generate", "--from", &from, "--adapter", &picture],
        &["both.png"],
    );

    // A transfer can be a source; errors come before training.
    let onwards = [
        &transfer[..],
        &["--from", &out, "--adapter", "miner", "--dry-run"],
    ]
    .concat();
    let [_, plan] = good(&onwards);
    assert!(
        plan.contains("miner.hidden.weight") && !plan.contains("adapter.a"),
        "{plan}"
    );
    bad(
        &joined(&from_source, &["--patch-discriminator", "--dry-run"]),
        &["dcgan or residual"],
    );
    bad(&joined(&from_source, &["--out", &from]), &["--out", "--from"]);
    bad(
        &joined(&from_source, &["--gradual-unfreezing", "2", "--dry-run"]),
        &["--gradual-unfreezing 2", "4 steps", "--steps is 3"],
    );
    let [_, plan] = good(&joined(&from_source, &["--gradual-unfreezing", "1", "--dry-run"]));
    assert_eq!(plan.matches("\nphase ").count(), 3, "{plan}");
    bad(
        &joined(&from_source, &["--gradual-unfreezing", "1", "--adapter", "miner"]),
        &["--gradual-unfreezing", "--adapter"],
    );
    bad(
        &joined(&from_source, &["--adapter", "low-rank=0"]),
        &["low-rank=RANK", "miner"],
    );
}

/// Without `--from`, a transfer plans with the shipped source that the ranking puts first; a gray source for colors says so.
#[test]
fn the_closest_shipped_source_is_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("color");
    std::fs::create_dir(&path).unwrap();
    for i in 0..12_u8 {
        let red = image::RgbImage::from_fn(28, 28, |x, y| image::Rgb([200, i * 20, ((x * y) % 256) as u8]));
        red.save(path.join(format!("{i}.png"))).unwrap();
    }
    let data = path.to_str().unwrap();
    let [_, plan] = good(&["transfer", "--data", data, "--count", "100", "--dry-run"]);
    let first = plan
        .lines()
        .find_map(|line| line.trim().strip_prefix("1. "))
        .unwrap();
    let best = first.split(':').next().unwrap();
    // A color source comes before a gray one.
    assert_eq!(best, "google-64", "{plan}");
    assert!(
        engraft_transfer::ShippedSource::named(best).is_some() && plan.contains("--from RUN"),
        "{plan}"
    );
    assert!(plan.contains(&format!("source    {best}")), "{plan}");
    let [ranked, _] = good(&["sources", "mnist", "--data", data, "--count", "20"]);
    assert!(ranked.contains("gray"), "{ranked}");
}
