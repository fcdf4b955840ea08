//! Folders of pictures as people have them, given to the program.

#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder for pictures and runs, in which the program is started.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A folder with so many pictures of `side` pixels.
    fn folder(&self, name: &str, count: u32, side: u32) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..count {
            picture(i, side, side)
                .save(folder.join(format!("{i:03}.png")))
                .unwrap();
        }
        folder
    }

    fn run_in(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_engraft"));
        command
            .args(arguments)
            .current_dir(folder)
            .env_remove("ENGRAFT_DATA")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    fn train(&self, arguments: &[&str]) -> Output {
        let small = [
            "train",
            "--network",
            "mlp",
            "--size",
            "8",
            "--batch",
            "4",
            "--eval-every",
            "0",
        ];
        self.run_in(self.0.path(), &[&small[..], arguments].concat())
    }
}

/// A picture in color, different for each number.
fn picture(i: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(i * 5) as u8, (x * 30) as u8, (y * 20 + i) as u8])
    })
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes))
        .concat()
}

fn code(output: &Output, expected: i32) -> String {
    let text = text(output);
    assert_eq!(output.status.code(), Some(expected), "{text}");
    text
}

#[test]
fn folders_of_any_name_are_data() {
    let world = World::new();
    let names = [
        ("my photos (2024)", "my-photos-2024"),
        ("Öl", "Oel"),
        ("cats+dogs", "cats-dogs"),
        (".hidden", "hidden"),
    ];
    for (name, plain) in names {
        world.folder(name, 8, 8);
        let shown = code(&world.train(&["--data", name, "--dry-run"]), 0);
        assert!(shown.contains(&format!("runs/{plain}")), "{shown}");
    }
    let arguments = [
        "train",
        "--network",
        "mlp",
        "--size",
        "8",
        "--batch",
        "4",
        "--dry-run",
        "--data",
        ".",
    ];
    let shown = code(&world.run_in(&world.path(".hidden"), &arguments), 0);
    assert!(shown.contains("runs/hidden"), "{shown}");
}

#[test]
fn a_run_keeps_how_its_pictures_were_read_and_lists_the_files() {
    let world = World::new();
    let folder = world.folder("set", 9, 8);
    let wide = picture(40, 24, 8);
    wide.save(folder.join("wide.png")).unwrap();
    let clear = RgbaImage::from_pixel(8, 8, Rgba([9, 9, 9, 0]));
    clear.save(folder.join("clear.png")).unwrap();
    let mut jpeg = Cursor::new(Vec::new());
    DynamicImage::from(picture(50, 32, 32))
        .write_to(&mut jpeg, ImageFormat::Jpeg)
        .unwrap();
    let jpeg = jpeg.into_inner();
    fs::write(folder.join("cut.jpg"), &jpeg[..jpeg.len() * 6 / 10]).unwrap();
    let arguments = [
        "--data",
        "set",
        "--out",
        "run",
        "--fit",
        "pad",
        "--background",
        "#102030",
        "--mirror",
    ];
    let train =
        |steps: &str, more: &[&str]| world.train(&[&arguments[..], &["--steps", steps], more].concat());

    let shown = code(&train("2", &[]), 0);
    for expected in [
        "11 for training, 0 for validation, 0 held out",
        "(1 left out)",
        "cut.jpg",
        "#102030",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let settings = fs::read_to_string(world.path("run/run.toml")).unwrap();
    for expected in [
        "[pictures]",
        "fit = \"pad\"",
        "background = \"#102030\"",
        "mirror = true",
    ] {
        assert!(settings.contains(expected), "{settings}");
    }
    let report = fs::read_to_string(world.path("run/data-report.txt")).unwrap();
    for expected in [
        "set/cut.jpg: left out: damaged",
        "set/wide.png: scaled",
        "set/clear.png: transparency",
    ] {
        assert!(report.contains(expected), "{report}");
    }
    // The same command continues it; other pixels are refused.
    let shown = code(&train("4", &[]), 0);
    assert!(shown.contains("resuming from step 2"), "{shown}");
    let shown = code(
        &world.train(&["--data", "set", "--out", "run", "--steps", "6", "--mirror"]),
        1,
    );
    assert!(shown.contains("pictures.fit"), "{shown}");
    // Damaged pictures can be an error.
    let shown = code(&train("6", &["--damaged", "refuse"]), 3);
    assert!(shown.contains("cut.jpg"), "{shown}");
    // How pictures are read is no setting of the training.
    code(
        &world.train(&["--data", "set", "--dry-run", "--set", "pictures.fit=pad"]),
        2,
    );
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf_8_and_control_characters_do_no_harm() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    let folder = world.folder("set", 6, 8);
    let mut png = Cursor::new(Vec::new());
    picture(9, 8, 8).write_to(&mut png, ImageFormat::Png).unwrap();
    let png = png.into_inner();
    for (name, bytes) in [
        (&b"caf\xe9.png"[..], &png[..]),
        (b"\x1b[31mred.png", &png[..20]),
        (b"new\nline.png", &png),
        (b"caf\xe8.png", &png[..20]),
    ] {
        fs::write(folder.join(std::ffi::OsStr::from_bytes(name)), bytes).unwrap();
    }
    let shown = code(
        &world.train(&["--data", "set", "--out", "run", "--steps", "1"]),
        0,
    );
    assert!(!shown.contains('\u{1b}') && shown.contains("red.png"), "{shown}");
    assert!(shown.contains("8 for training"), "{shown}");
}

#[test]
fn a_folder_of_stylegan_has_labels_and_no_folders_as_classes() {
    let world = World::new();
    let write = |json: &str| {
        let folder = world.folder("set/00000", 12, 8);
        world.folder("set/00001", 12, 8);
        fs::write(folder.join("../dataset.json"), json).unwrap();
        code(
            &world.train(&["--data", "set", "--dry-run", "--conditional"]),
            if json.contains("null") { 2 } else { 0 },
        )
    };
    let labels: Vec<String> = (0..24)
        .map(|i| format!("[\"{:05}/{:03}.png\", {}]", i / 12, i % 12, i % 3))
        .collect();
    let shown = write(&format!("{{\"labels\": [{}]}}", labels.join(", ")));
    assert!(
        shown.contains("3 classes") && shown.contains("fewer than 10 pictures: 0 8, 1 8, 2 8"),
        "{shown}"
    );
    let shown = write("{\"labels\": null}");
    assert!(shown.contains("--conditional"), "{shown}");
}
