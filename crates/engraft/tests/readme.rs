//! The commands of the README run, in its order, on small data and with few steps.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

use engraft::data::{Dataset, Split, drawn_digits};
use std::path::Path;
use std::process::Command;

/// Writes a data set as the four IDX files of MNIST.
fn write_idx(folder: &Path, train: &Dataset, test: &Dataset) {
    std::fs::create_dir_all(folder).unwrap();
    for (data, part) in [(train, "train"), (test, "t10k")] {
        let count = (data.len() as u32).to_be_bytes();
        let side = 28_u32.to_be_bytes();
        let images = [&[0, 0, 8, 3], &count[..], &side, &side, data.images()].concat();
        std::fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        let labels = [&[0, 0, 8, 1], &count[..], data.labels()].concat();
        std::fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// Color pictures of 70x66 pixels.
fn write_pictures(folder: &Path, count: u32) {
    std::fs::create_dir(folder).unwrap();
    for i in 0..count {
        let color = |x: u32, y: u32| image::Rgb([(3 * x + i) as u8, (3 * y) as u8, (40 * i) as u8]);
        image::RgbImage::from_fn(70, 66, color)
            .save(folder.join(format!("{i}.png")))
            .unwrap();
    }
}

/// The lines of the README's shell blocks that begin with `engraft `.
fn commands() -> Vec<&'static str> {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    lines.filter_map(|line| line.strip_prefix("engraft ")).collect()
}

#[test]
fn every_command_of_the_readme_runs() {
    let directory = tempfile::tempdir().unwrap();
    let [train, test] = [(Split::Train, 240), (Split::Test, 120)].map(|(split, n)| drawn_digits(split, n, 1));
    for name in ["mnist", "fashion-mnist"] {
        write_idx(&directory.path().join("data").join(name), &train, &test);
    }
    write_pictures(&directory.path().join("my-pictures"), 12);
    let commands = commands();
    assert_eq!(commands.len(), 6, "{commands:?}");
    for command in commands {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        if ["train", "transfer"].contains(&arguments[0]) {
            arguments.extend(["--steps", "2"]);
        }
        if ["evaluate", "transfer"].contains(&arguments[0]) {
            arguments.extend(["--count", "50"]);
        }
        let output = Command::new(env!("CARGO_BIN_EXE_engraft"))
            .args(&arguments)
            .env("ENGRAFT_DATA", directory.path().join("data"))
            .current_dir(directory.path())
            .output()
            .unwrap();
        let [out, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "engraft {command}:\n{out}\n{errors}");
    }
    for made in [
        "runs/mnist/report.html",
        "runs/mine/samples",
        "grid.png",
        "runs/transfer-my-pictures/report.html",
        "runs/transfer-fashion-mnist",
    ] {
        assert!(directory.path().join(made).exists(), "{made}");
    }
}
