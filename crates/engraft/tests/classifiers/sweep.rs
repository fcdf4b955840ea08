//! `engraft sweep adapt` as a program.

use crate::adapt::data;
use crate::files::{Data, write_idx};
use engraft::data::{Dataset, Provenance, Split, drawn_digits};
use serde_json::Value;
use std::fs;

/// A sweep with some more options: standard output and standard error.
fn sweep(data: &Data, more: &str) -> Result<[String; 2], String> {
    let start = "sweep adapt --source-data mnist --steps 2 --threads 2";
    let arguments: Vec<&str> = start.split(' ').chain(more.split(' ')).collect();
    let found = data.run(&arguments);
    let [said, errors] = [found.stdout, found.stderr].map(|text| String::from_utf8(text).unwrap());
    match found.status.success() {
        true => Ok([said, errors]),
        false => Err(errors),
    }
}

fn results(data: &Data, out: &str) -> Value {
    serde_json::from_slice(&fs::read(data.path(out).join("sweep.json")).unwrap()).unwrap()
}

#[test]
fn methods_are_ranked_without_labels_or_test_images_of_the_target() {
    let digits = data(|v| v / 3 * 2);
    let over = "--target-data usps --batch 8 --seeds 3 --over method=mcd,dann --out";
    let [said, errors] = sweep(&digits, &format!("{over} swept")).unwrap();
    assert!(
        said.contains("validator ± error") && said.contains("method=dann"),
        "{said}"
    );
    assert!(
        !errors.contains("warning") && !errors.contains(", test"),
        "{errors}"
    );
    let command =
        " adapt --source-data mnist --steps 2 --threads 2 --target-data usps --batch 8 --seeds 3 --method=";
    assert!(said.contains(command) && said.contains("--out DIR"), "{said}");
    let found = results(&digits, "swept");
    let rows = found["combinations"].as_array().unwrap();
    assert!(rows.len() == 2 && rows[0]["scores"].as_array().unwrap().len() == 3);
    let mean = |row: usize| rows[row]["mean"].as_f64().unwrap();
    assert!(mean(0) >= mean(1), "{found}");
    let kept = fs::read_to_string(digits.path("swept/001/2/mcd-1.json")).unwrap();
    assert!(kept.contains("\"accuracy\":null") && kept.contains("\"test_images\":null"));

    // Finished trainings are kept.
    fs::remove_file(digits.path("swept/002/2/dann-2.json")).unwrap();
    let [_, errors] = sweep(&digits, &format!("{over} swept")).unwrap();
    assert_eq!(errors.matches("reused from").count(), 5, "{errors}");
    assert_eq!(results(&digits, "swept"), found);
    let errors = sweep(
        &digits,
        "--target-data usps --seeds 3 --over batch=4,8 --out swept",
    )
    .unwrap_err();
    assert!(
        errors.contains("other combinations") && errors.contains("--out"),
        "{errors}"
    );

    // Other labels and other test images of the target give the same result.
    for (split, part, count, seed) in [(Split::Train, "train", 40, 1), (Split::Test, "t10k", 20, 2)] {
        let other = drawn_digits(split, count, seed);
        let pixels = other.images().iter().map(|&v| v / 3 * 2).collect();
        let labels = other.labels().iter().map(|label| (label + 1) % 10).collect();
        let other = Dataset::new("usps", Provenance::Memory, pixels, other.image_size(), labels).unwrap();
        write_idx(&digits.set("usps"), part, &other);
    }
    sweep(&digits, &format!("{over} others")).unwrap();
    assert_eq!(results(&digits, "others"), found);
}

#[test]
fn the_command_of_a_target_without_labels_finds_the_trainings_of_the_sweep() {
    let data = data(|v| v);
    fs::create_dir(data.path("pictures")).unwrap();
    let digits = drawn_digits(Split::Test, 12, 2);
    for i in 0..12 {
        let picture = image::GrayImage::from_raw(28, 28, digits.image(i).to_vec()).unwrap();
        picture
            .save(data.path("pictures").join(format!("{i:02}.png")))
            .unwrap();
    }
    // Eight combinations: all for a step, the better half for two.
    let over = "--target-data pictures --seeds 1 --over batch=2,3,4,5,6,7,8,9 --out swept";
    let [said, _] = sweep(&data, over).unwrap();
    assert!(
        said.contains("none is certain") && said.contains("fewer than 3 seeds"),
        "{said}"
    );
    let found = results(&data, "swept");
    let steps = found["combinations"].as_array().unwrap().iter();
    let steps: Vec<u64> = steps.map(|row| row["steps"].as_u64().unwrap()).collect();
    assert_eq!(steps, [2, 2, 2, 2, 1, 1, 1, 1]);
    let (_, command) = said.trim().split_once(" adapt ").unwrap();
    let command: Vec<&str> = std::iter::once("adapt").chain(command.split(' ')).collect();
    let repeated = data.run(&command);
    let errors = String::from_utf8(repeated.stderr).unwrap();
    assert!(repeated.status.success(), "{errors}");
    assert_eq!(errors.matches("reused from").count(), 1, "{errors}");
}

#[test]
fn equal_settings_are_trained_once_and_others_are_refused() {
    let data = data(|v| v);
    let [said, errors] = sweep(
        &data,
        "--target-data usps --batch 8 --over even-frames=true,false --over learning-rate-factor=0.5,1,1.0 --dry-run --out none",
    )
    .unwrap();
    assert!(said.is_empty() && !data.path("none").exists());
    assert!(
        errors.contains("left out") && errors.contains("4 combinations"),
        "{errors}"
    );
    // 4 combinations with 5 seeds.
    assert!(
        errors.contains("40 steps in all, 2 trainings at a time"),
        "{errors}"
    );
    for (wrong, named) in [
        ("--over learning-rate=1,2", "method, even-frames"),
        ("--over seeds=1,2", "same images"),
        ("--over validator=entropy,density", "same measures"),
        ("--method mcd,dann --over batch=4,8", "one method"),
        ("--over batch=4,8 --json", "--json"),
        ("--over learning-rate-factor=0,1", "--learning-rate-factor"),
        ("--over method=mcd,source-only", "--method"),
    ] {
        let errors = sweep(&data, &format!("--target-data usps {wrong} --out none")).unwrap_err();
        assert!(errors.contains(named), "{wrong}: no {named:?} in {errors}");
    }
}
