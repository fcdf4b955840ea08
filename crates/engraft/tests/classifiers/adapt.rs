//! `engraft adapt` as a program.

use crate::files::{Data, write_idx};
use engraft::data::{Dataset, Provenance, Split, drawn_digits};
use serde_json::Value;
use std::fs;

/// Digits as MNIST, and the same in half the contrast as USPS.
pub(crate) fn data(change: impl Fn(u8) -> u8) -> Data {
    let data = Data::new();
    for (split, part, count) in [(Split::Train, "train", 40), (Split::Test, "t10k", 20)] {
        let digits = drawn_digits(split, count, 1);
        write_idx(&data.set("mnist"), part, &digits);
        let pixels = digits.images().iter().map(|&v| change(v)).collect();
        let labels = digits.labels().to_vec();
        let other = Dataset::new("usps", Provenance::Memory, pixels, digits.image_size(), labels).unwrap();
        write_idx(&data.set("usps"), part, &other);
    }
    data
}

const SMALL: [&str; 13] = [
    "adapt",
    "--source-data",
    "mnist",
    "--target-data",
    "usps",
    "--method",
    "mcd",
    "--seeds",
    "2",
    "--steps",
    "2",
    "--batch",
    "8",
];

#[test]
fn it_prints_the_baselines_and_the_method_reproducibly() {
    let data = data(|v| v / 3 * 2);
    let print = |threads: &str, more: &[&str]| {
        let found = data.run(&[&SMALL[..], &["--json", "--threads", threads], more].concat());
        let errors = String::from_utf8_lossy(&found.stderr);
        assert!(found.status.success(), "{errors}");
        String::from_utf8(found.stdout).unwrap()
    };
    let text = print("1", &[]);
    assert_eq!(text, print("2", &["--out", "kept"]));
    assert_eq!(text, print("1", &["--out", "kept"]));
    // Results are reused while the settings are the same.
    let takes = |more: &[&str]| {
        let found = data.run(&[&SMALL[..], &["--out", "kept"], more].concat());
        assert!(found.status.success());
        String::from_utf8_lossy(&found.stderr)
            .matches("reused from")
            .count()
    };
    assert_eq!(takes(&[]), 8);
    std::fs::remove_file(data.path("kept/mcd-1.safetensors")).unwrap();
    assert_eq!(takes(&[]), 7);
    let other = data.run(&[&SMALL[..], &["--out", "kept", "--validator", "entropy"]].concat());
    let errors = String::from_utf8_lossy(&other.stderr);
    assert!(
        !other.status.success() && errors.contains(".json") && errors.contains("--out"),
        "{errors}"
    );
    assert!(data.path("kept/mcd-2.safetensors").exists());
    let json: Value = serde_json::from_str(&text).unwrap();
    let methods: Vec<&str> = json["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["method"].as_str().unwrap())
        .collect();
    assert_eq!(
        methods,
        ["source-only", "target-statistics", "mcd", "target-supervised"]
    );
    assert_eq!(json["protocol"]["target_images"], 40);
    assert_eq!(json["protocol"]["unused_images"], 0);
    assert!(json["cells"][0]["unused"].is_null(), "all images are used");
    assert_eq!(json["cells"].as_array().unwrap().len(), 8);

    let table = data.run(&[&SMALL[..], &["--out", "kept"]].concat());
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("| mcd | ") && table.contains("oracle"), "{table}");
}

#[test]
fn even_frames_are_recorded_and_change_no_other_result() {
    let data = data(|v| v / 3 * 2);
    let run = |more: &[&str]| {
        let found = data.run(&[&SMALL[..], &["--json"], more].concat());
        let [said, errors] = [found.stdout, found.stderr].map(|text| String::from_utf8(text).unwrap());
        (found.status.success(), said, errors)
    };
    let settings = |out: &str| -> Value {
        let kept = fs::read(data.path(out).join("mcd-1.json")).unwrap();
        serde_json::from_slice::<Value>(&kept).unwrap()["settings"].take()
    };
    let (is_good, plain, errors) = run(&["--out", "plain"]);
    assert!(is_good && !errors.contains("even frames"), "{errors}");
    let (is_good, even, errors) = run(&["--even-frames", "--out", "even"]);
    assert!(is_good && errors.contains("even frames"), "{errors}");
    let [plain, even] = [plain, even].map(|text| serde_json::from_str::<Value>(&text).unwrap());
    // Without the option, the keys of kept results are those from before it existed.
    assert!(plain["protocol"]["even_frames"].is_null() && settings("plain")["even_frames"].is_null());
    assert!(even["protocol"]["even_frames"] == true && settings("even")["even_frames"] == true);
    assert_ne!(plain["protocol"]["sha256"], even["protocol"]["sha256"]);
    let (is_good, _, errors) = run(&["--even-frames", "--out", "plain"]);
    assert!(!is_good && errors.contains("other settings"), "{errors}");
    let (is_good, _, errors) = run(&["--out", "even"]);
    assert!(!is_good && errors.contains("other settings"), "{errors}");
    let table = data.run(&[&SMALL[..], &["--even-frames", "--out", "even"]].concat());
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("all with even frames"), "{table}");
    let classifier = fs::read(data.path("even/mcd-1.safetensors")).unwrap();
    assert!(String::from_utf8_lossy(&classifier).contains("even_frames"));
}

#[test]
fn coupled_gans_write_a_grid_of_pairs() {
    let data = data(|v| v / 3 * 2);
    let run = |more: &[&str]| {
        let arguments = [
            "adapt",
            "--source-data",
            "mnist",
            "--target-data",
            "usps",
            "--method",
            "cogan",
            "--seeds",
            "1",
            "--steps",
            "2",
            "--batch",
            "8",
            "--out",
            "coupled",
        ];
        let found = data.run(&[&arguments[..], more].concat());
        let [said, errors] = [found.stdout, found.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(found.status.success(), "{errors}");
        (said, errors)
    };
    let grid = data.path("coupled/pairs-cogan-seed-1.png");
    let named = "pairs-cogan-seed-1.png";
    let (said, _) = run(&[]);
    assert!(said.contains("| cogan | ") && said.contains(named), "{said}");
    assert_eq!(said.matches(named).count(), 1);
    let drawn = fs::read(&grid).unwrap();
    // 64 pairs in rows of 16, each row twice.
    let picture = image::load_from_memory(&drawn).unwrap();
    assert_eq!(
        [picture.width(), picture.height()],
        [2 * (16 * 30 + 2), 2 * (8 * 30 + 2)]
    );
    // The grid is named again when results are reused, and generated again if it is missing.
    let (said, errors) = run(&["--json"]);
    assert_eq!(errors.matches("reused from").count(), 4);
    assert!(errors.contains(named) && serde_json::from_str::<Value>(&said).is_ok());
    fs::remove_file(&grid).unwrap();
    let (_, errors) = run(&["--threads", "1"]);
    assert_eq!(errors.matches("reused from").count(), 3);
    assert!(fs::read(&grid).unwrap() == drawn);
}

#[test]
fn images_of_a_folder_without_labels_get_predictions() {
    let data = data(|v| v);
    let folder = data.path("pictures");
    fs::create_dir(&folder).unwrap();
    let digits = drawn_digits(Split::Test, 12, 2);
    for i in 0..12 {
        let picture = image::GrayImage::from_raw(28, 28, digits.image(i).to_vec()).unwrap();
        picture.save(folder.join(format!("{i:02}.png"))).unwrap();
    }
    let arguments = [
        "adapt",
        "--source-data",
        "mnist",
        "--target-data",
        "pictures",
        "--method",
        "adda",
        "--seeds",
        "1",
        "--steps",
        "2",
        "--batch",
        "8",
        "--out",
        "read",
    ];
    let found = data.run(&arguments);
    let errors = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success() && errors.contains("no labels"), "{errors}");
    let read = fs::read_to_string(data.path("read/adda-1.csv")).unwrap();
    assert_eq!(read.lines().count(), 13);
    assert!(read.starts_with("file,class,probability\n\"00.png\","), "{read}");
}

#[test]
fn errors_name_the_option() {
    let inverted = data(|v| 255 - v);
    let refused = |arguments: &[&str]| {
        let found = inverted.run(arguments);
        assert!(!found.status.success());
        String::from_utf8(found.stderr).unwrap()
    };
    let error = refused(&SMALL);
    assert!(
        error.contains("--invert") && error.contains("--allow-domain-mismatch"),
        "{error}"
    );
    let turned = inverted.run(&[&SMALL[..], &["--invert", "--json"]].concat());
    let upright = data(|v| v).run(&[&SMALL[..], &["--json"]].concat());
    assert!(turned.status.success() && turned.stdout == upright.stdout);
    let meant = inverted.run(&[&SMALL[..], &["--allow-domain-mismatch"]].concat());
    assert!(meant.status.success());
    let error = refused(&["adapt", "--source-data", "mnist", "--target-data", "nowhere"]);
    assert!(
        error.contains("--target-data nowhere") && error.contains("mnist"),
        "{error}"
    );
    let error = refused(&["adapt", "--source-data", "mnist", "--target-data", "mnist"]);
    assert!(error.contains("--target-data mnist"), "{error}");
    let error = refused(&[&SMALL[..], &["--allow-domain-mismatch", "--threads", "0"]].concat());
    assert!(error.contains("--threads"), "{error}");
}
