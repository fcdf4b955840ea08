//! `engraft generate` as a program: seeds, classes, truncation, interpolation, formats and existing files; and what `evaluate`
//! does with its images.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

mod common;
#[path = "generate/playground.rs"]
mod playground;

#[path = "generate/export.rs"]
mod export;

use common::{bad, good};

use engraft::data::{Dataset, Npy, Numbers, Provenance, Split, drawn_digits};
use engraft::gan::{TrainConfig, Trainer};
use image::AnimationDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;

/// Trains a run of one step.
fn run(directory: &Path, data: &Dataset, classes: u32) {
    let mut config = TrainConfig::standard(data);
    (config.network, config.batch, config.steps) = ("mlp".into(), 8, 1);
    config.classes = classes;
    let mut trainer = Trainer::open(config, data.clone(), directory).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
}

/// Colored noise-free images: drawn digits, each channel with its own brightness.
fn colored(n: usize) -> Dataset {
    let digits = drawn_digits(Split::Train, n, 1);
    let pixels = digits
        .images()
        .iter()
        .flat_map(|&v| [v, v / 2, 255 - v])
        .collect();
    Dataset::unlabeled("colored", Provenance::Memory, pixels, [28, 28, 3]).unwrap()
}

fn save(data: &Dataset, folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    for i in 0..data.len() {
        let picture = image::RgbImage::from_raw(28, 28, data.image(i).to_vec()).unwrap();
        picture.save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_string()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }

    /// Generates from the run `run` to the file `out`.
    fn generate(&self, out: &str, more: &[&str]) -> Vec<u8> {
        let (from, to) = (self.at("run"), self.at(out));
        good(&[&["generate", "--from", &from, "--out", &to], more].concat());
        self.bytes(out)
    }

    fn array(&self, out: &str, more: &[&str]) -> (Vec<usize>, Vec<f32>) {
        self.generate(out, more);
        let array = Npy::open(Path::new(&self.at(out))).unwrap();
        let Numbers::F32(values) = array.numbers() else {
            panic!("expected f32")
        };
        (array.shape().to_vec(), values.to_vec())
    }
}

#[test]
fn an_image_depends_on_its_seed_alone() {
    let place = Place::new();
    run(place.at("run").as_ref(), &drawn_digits(Split::Train, 40, 1), 0);
    let (shape, many) = place.array("many.npy", &["--seeds", "9,3-5,700"]);
    assert_eq!(shape, [5, 28, 28, 1]);
    for (i, seed) in ["9", "3", "4", "5", "700"].iter().enumerate() {
        let (shape, one) = place.array(&format!("{seed}.npy"), &["--seeds", seed]);
        assert_eq!(shape, [1, 28, 28, 1]);
        assert!(one == many[i * 784..][..784], "seed {seed}");
    }
    assert!(many[..784] != many[784..2 * 784]);
    let (from, folder) = (place.at("run"), place.at("folder"));
    good(&[
        "generate", "--from", &from, "--files", "--out", &folder, "--seeds", "3,9",
    ]);
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["seed-000003.png", "seed-000009.png"]);
    // No truncation changes nothing; with 0, all latent vectors are equal.
    assert_eq!(
        place
            .array("one.npy", &["--seeds", "9,3-5,700", "--truncation", "1"])
            .1,
        many
    );
    let (_, zero) = place.array("zero.npy", &["--seeds", "1,2", "--truncation", "0"]);
    assert!(zero[..784] == zero[784..]);
    let (_, less) = place.array("less.npy", &["--seeds", "9", "--truncation", "0.5"]);
    assert!(less != many[..784] && less != zero[..784]);
    bad(&["generate", "--from", &from, "--seeds", "5-3"], &["5-3", "3-7"]);
    bad(
        &["generate", "--from", &from, "--class", "3"],
        &["--class 3", "--conditional"],
    );
}

#[test]
fn a_class_is_chosen_by_index_or_name() {
    let place = Place::new();
    let digits = drawn_digits(Split::Train, 40, 1);
    let names = (0..10).map(|digit| format!("digit {digit}"));
    run(place.at("run").as_ref(), &digits.with_class_names(names), 10);
    let (_, cyclic) = place.array("all.npy", &["--count", "10"]);
    let (_, seven) = place.array("seven.npy", &["--count", "10", "--class", "7"]);
    let (_, named) = place.array("named.npy", &["--count", "10", "--class", "digit 7"]);
    assert!(seven == named && seven != cyclic);
    assert!(seven[7 * 784..8 * 784] == cyclic[7 * 784..8 * 784]);
    let from = place.at("run");
    bad(
        &["generate", "--from", &from, "--class", "digit7"],
        &["digit7", "0 to 9", "digit 7"],
    );
    bad(
        &["generate", "--from", &from, "--class", "10"],
        &["--class 10", "0 to 9"],
    );
}

/// Nine dark images for each bright one.
fn unequal() -> Dataset {
    let pixels = (0..600 * 64).map(|i| {
        let noise = (i * 37 % 11) as u8;
        if i / 64 % 10 == 3 { 230 + noise } else { 10 + noise }
    });
    Dataset::unlabeled("unequal", Provenance::Memory, pixels.collect(), [8, 8, 1]).unwrap()
}

#[test]
fn clusters_are_generated_in_their_shares() {
    let place = Place::new();
    let data = unequal();
    let mut config = TrainConfig::standard(&data);
    (config.network, config.batch, config.steps) = ("mlp".into(), 8, 1);
    config.pseudo_labels.clusters = 2;
    (config.validation_images, config.evaluation.every) = (0, 0);
    let from = place.at("run");
    let mut trainer = Trainer::open(config, data, from.as_ref()).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    drop(trainer);
    let (_, all) = place.array("all.npy", &["--count", "200"]);
    let (_, common) = place.array("common.npy", &["--count", "200", "--class", "0"]);
    let (_, rare) = place.array("rare.npy", &["--count", "200", "--class", "1"]);
    let equal = |other: &[f32]| {
        let pairs = all.chunks_exact(64).zip(other.chunks_exact(64));
        pairs.filter(|(a, b)| a == b).count()
    };
    assert!(equal(&rare) <= 25, "{} rare images of 200", equal(&rare));
    assert_eq!(equal(&common) + equal(&rare), 200);
    let (_, seeds) = place.array("seeds.npy", &["--seeds", "5,6"]);
    let (_, again) = place.array("again.npy", &["--seeds", "6"]);
    assert!(seeds[64..] == again[..]);
    bad(
        &["generate", "--from", &from, "--class", "2"],
        &["--class 2", "0 to 1", "clusters"],
    );
}

#[test]
fn interpolations_are_files_and_animations() {
    let place = Place::new();
    run(place.at("run").as_ref(), &colored(40), 0);
    let path = ["--seeds", "1,5,9", "--interpolate", "4"];
    let (shape, frames) = place.array("path.npy", &path);
    assert_eq!(shape, [9, 28, 28, 3]);
    let (_, ends) = place.array("ends.npy", &["--seeds", "1,5,9"]);
    let size = 28 * 28 * 3;
    for (frame, end) in [(0, 0), (4, 1), (8, 2)] {
        let apart = frames[frame * size..][..size].iter().zip(&ends[end * size..]);
        assert!(
            apart.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-4,
            "frame {frame}"
        );
    }
    let gif = GifDecoder::new(Cursor::new(place.generate("path.gif", &path))).unwrap();
    assert_eq!(gif.into_frames().collect_frames().unwrap().len(), 9);
    let apng = PngDecoder::new(Cursor::new(place.generate("path.apng", &path))).unwrap();
    assert!(apng.is_apng().unwrap());
    assert_eq!(
        apng.apng().unwrap().into_frames().collect_frames().unwrap().len(),
        9
    );
    let (from, folder, file) = (place.at("run"), place.at("folder"), place.at("x.gif"));
    good(
        &[
            &["generate", "--from", &from, "--files", "--out", &folder],
            &path[..],
        ]
        .concat(),
    );
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 9);
    let to_file = ["generate", "--from", &from, "--out", &file];
    bad(&[&to_file[..], &["--seeds", "1,5"]].concat(), &["--interpolate"]);
    bad(&[&to_file[..], &["--interpolate", "4"]].concat(), &["--seeds"]);
    bad(
        &[&to_file[..], &["--interpolate", "4", "--seeds", "7"]].concat(),
        &["two seeds"],
    );
    // The rows of earlier versions.
    let rows =
        image::load_from_memory(&place.generate("rows.png", &["--interpolate", "--count", "16"])).unwrap();
    assert_eq!(
        (rows.width(), rows.height()),
        (2 * (8 * 30 + 2), 2 * (2 * 30 + 2))
    );
}

#[test]
fn the_name_decides_the_format_and_files_are_kept() {
    let place = Place::new();
    run(place.at("run").as_ref(), &colored(40), 0);
    let kinds = [
        ("a.png", image::ImageFormat::Png),
        ("a.jpg", image::ImageFormat::Jpeg),
        ("A.JPEG", image::ImageFormat::Jpeg),
        ("new/folder/a.webp", image::ImageFormat::WebP),
    ];
    for (name, kind) in kinds {
        let bytes = place.generate(name, &["--count", "4"]);
        assert_eq!(image::guess_format(&bytes).unwrap(), kind, "{name}");
        assert!(
            image::load_from_memory(&bytes).unwrap().color().has_color(),
            "{name}"
        );
    }
    let from = place.at("run");
    for wrong in ["a.tga", "a"] {
        bad(
            &["generate", "--from", &from, "--out", &place.at(wrong)],
            &[wrong, ".png", ".jpg", ".webp", ".npy", ".gif", ".apng"],
        );
    }
    let before = place.bytes("a.png");
    let file = place.at("a.png");
    let again = [
        "generate", "--from", &from, "--out", &file, "--seed", "2", "--count", "4",
    ];
    bad(&again, &["a.png", "--overwrite"]);
    assert_eq!(place.bytes("a.png"), before);
    good(&[&again[..], &["--overwrite"]].concat());
    assert_ne!(place.bytes("a.png"), before);
    let folder = place.at("folder");
    let files = [
        "generate", "--from", &from, "--files", "--out", &folder, "--count", "3",
    ];
    good(&files);
    bad(&files, &["000000.png", "--overwrite"]);
    let [_, said] = good(&[&files[..], &["--overwrite"]].concat());
    assert!(!said.contains("earlier generation"), "{said}");
    let [_, said] = good(&[&files[..files.len() - 1], &["1", "--overwrite"]].concat());
    assert!(
        said.contains("earlier generation: 2, such as 000001.png"),
        "{said}"
    );
    bad(
        &[
            "generate",
            "--from",
            &place.at("rum"),
            "--out",
            &place.at("b.png"),
        ],
        &["--from", "rum", "no such directory", &from],
    );
}

#[test]
fn evaluate_takes_color_arrays_and_warns_of_training_images() {
    let place = Place::new();
    let data = colored(120);
    save(&data, place.at("pictures").as_ref());
    let others: Vec<usize> = (0..data.len()).filter(|i| i % 5 != 4).collect();
    run(place.at("run").as_ref(), &data.subset(&others), 0);
    run(place.at("seen").as_ref(), &data, 0);
    let (pictures, array) = (place.at("pictures"), place.at("a.npy"));
    place.generate("a.npy", &["--count", "60"]);
    let evaluate = ["evaluate", "--data", &pictures, "--count", "60", "--json"];
    let [out, _] = good(&[&evaluate[..], &["--samples", &array]].concat());
    let of_samples: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    let of = |run: &str| {
        let [out, errors] = good(&[&evaluate[..], &["--from", &place.at(run)]].concat());
        let json: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
        (json, errors)
    };
    let (json, errors) = of("run");
    assert_eq!(json["test_images_trained_on"], 0, "{errors}");
    assert!(!errors.contains("used in the training"), "{errors}");
    assert_eq!(
        json["kid"], of_samples["kid"],
        "the array has the images of the run"
    );
    let (json, errors) = of("seen");
    assert_eq!(json["test_images_trained_on"], 24);
    assert!(
        errors.contains("24 of 24") && errors.contains("warning"),
        "{errors}"
    );
}
