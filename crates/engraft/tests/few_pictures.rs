//! `engraft train` and `engraft transfer` with 2 to 20 pictures.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

use engraft::data::{Split, drawn_digits};
use std::path::Path;
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../source-mnist");

/// Runs the program. Returns whether it succeeded, standard output and standard error.
fn engraft(arguments: &[&str]) -> (bool, String, String) {
    let found = Command::new(env!("CARGO_BIN_EXE_engraft"))
        .args(arguments)
        .env_remove("ENGRAFT_DATA")
        .output()
        .unwrap();
    let [out, errors] = [found.stdout, found.stderr].map(|text| String::from_utf8(text).unwrap());
    (found.status.success(), out, errors)
}

/// A folder of `n` drawn digits.
fn pictures(folder: &Path, n: usize) {
    std::fs::create_dir(folder).unwrap();
    let digits = drawn_digits(Split::Test, n, 1);
    for i in 0..n {
        let picture = image::GrayImage::from_raw(28, 28, digits.image(i).to_vec()).unwrap();
        picture.save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}

/// The last line of a transfer with `--json`.
fn transfer(data: &str, out: &str, steps: &str) -> (serde_json::Value, String) {
    let (good, text, errors) = engraft(&[
        "transfer", "--from", SOURCE, "--data", data, "--out", out, "--steps", steps, "--json",
    ]);
    assert!(good, "{errors}");
    (
        serde_json::from_str(text.lines().last().unwrap()).unwrap(),
        errors,
    )
}

#[test]
fn two_pictures_train_and_measures_without_meaning_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    pictures(at("two").as_ref(), 2);
    let (result, errors) = transfer(&at("two"), &at("run"), "2");
    assert!(
        errors.contains("split     2 for training, 0 for validation"),
        "{errors}"
    );
    assert!(
        result["left_out"].is_string() && result["rows"][0].get("copies").is_none(),
        "{result}"
    );
    for grid in ["reals.png", "source-and-adapted.png"] {
        assert!(
            errors.contains(grid) || Path::new(&at("run")).join(grid).exists(),
            "{grid}"
        );
    }
    let train = [
        "train",
        "--data",
        &at("two"),
        "--out",
        &at("trained"),
        "--steps",
        "1",
        "--size",
        "28",
    ];
    let (good, _, errors) = engraft(&train);
    assert!(good, "{errors}");
    // One picture is too few, and the message has the number.
    pictures(at("one").as_ref(), 1);
    let (good, _, errors) = engraft(&[
        "transfer",
        "--from",
        SOURCE,
        "--data",
        &at("one"),
        "--out",
        &at("no"),
    ]);
    assert!(!good && errors.contains("at least 2"), "{errors}");
}

#[test]
fn a_changed_folder_names_what_changed_and_the_ways_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    pictures(at("a").as_ref(), 20);
    let train = |data: &str, steps: &str, more: &[&str]| {
        let (data, out) = (at(data), at("run"));
        let all = [
            "train",
            "--data",
            &data,
            "--out",
            &out,
            "--steps",
            steps,
            "--network",
            "mlp",
        ];
        engraft(&[&all, more].concat())
    };
    let (good, out, errors) = train("a", "1", &[]);
    assert!(good && out.contains("reals.png"), "{errors}");
    std::fs::rename(at("a"), at("b")).unwrap();
    let (good, _, errors) = train("b", "2", &[]);
    assert!(good, "{errors}");
    let digit = drawn_digits(Split::Train, 1, 5);
    let picture = image::GrayImage::from_raw(28, 28, digit.image(0).to_vec()).unwrap();
    picture.save(Path::new(&at("b")).join("new.png")).unwrap();
    let (good, _, errors) = train("b", "3", &[]);
    for part in ["new.png", "--accept-changed-data", "transfer --from"] {
        assert!(!good && errors.contains(part), "{part}: {errors}");
    }
    let (good, _, errors) = train("b", "3", &["--accept-changed-data"]);
    assert!(good, "{errors}");
    let settings = std::fs::read_to_string(Path::new(&at("run")).join("run.toml")).unwrap();
    assert!(settings.contains("[[earlier_data]]"), "{settings}");
}
