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
    digits(folder, n, 1);
}

fn digits(folder: &Path, n: usize, seed: u64) {
    std::fs::create_dir(folder).unwrap();
    let digits = drawn_digits(Split::Test, n, seed);
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
    let (good, _, errors) = engraft(&["train", "--data", &at("two"), "--out", &at("two")]);
    assert!(
        !good && errors.contains("this is the folder of --data"),
        "{errors}"
    );
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
    let planned = |more: &[&str], state: &str| {
        let (good, out, errors) = train("b", "3", &[more, &["--dry-run"]].concat());
        assert!(good && out.contains(state), "{state}: {out}{errors}");
    };
    planned(&[], "the images have changed");
    planned(&["--accept-changed-data"], "resumes at step 2");
    let (good, _, errors) = train("b", "3", &["--accept-changed-data"]);
    assert!(good, "{errors}");
    planned(&[], "finished: it has all 3 steps");
    let (good, _, errors) = train("b", "4", &[]);
    assert!(good, "{errors}");
    let settings = std::fs::read_to_string(Path::new(&at("run")).join("run.toml")).unwrap();
    assert!(settings.contains("[[earlier_data]]"), "{settings}");
}

/// 24 pictures are measured during the transfer with the named features. `evaluate` knows which pictures the run was trained on.
#[test]
fn a_transfer_of_few_pictures_is_measured_with_the_named_features() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    digits(at("trained").as_ref(), 24, 1);
    digits(at("other").as_ref(), 24, 7);
    let measure = ["--features", "random", "--count", "40"];
    let (data, run) = (at("trained"), at("run"));
    let transfer = [
        "transfer",
        "--from",
        SOURCE,
        "--data",
        &data,
        "--out",
        &run,
        "--steps",
        "2",
        "--patience",
        "2",
    ];
    let (good, _, errors) = engraft(&[&transfer[..], &measure].concat());
    assert!(
        good && errors.contains("24 for training, 0 for validation, the same for evaluation"),
        "{errors}"
    );
    let read = |name: &str| std::fs::read_to_string(Path::new(&run).join(name)).unwrap();
    let settings = read("run.toml");
    assert!(settings.contains("features = \"random\""), "{settings}");
    assert!(read("measures.jsonl").lines().count() >= 1);
    assert!(
        errors.contains("(against the training images)") && !errors.contains("(validation)"),
        "{errors}"
    );
    let [themselves, not] = ["training images themselves", "was not trained on these 24 images"];
    for (data, said, unsaid) in [("trained", themselves, not), ("other", not, themselves)] {
        let evaluate = ["evaluate", "--from", &run, "--data", &at(data)];
        let (good, out, errors) = engraft(&[&evaluate[..], &measure].concat());
        assert!(
            good && out.contains(said) && !out.contains(unsaid),
            "{said}: {out}{errors}"
        );
    }
}
