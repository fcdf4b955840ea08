//! `engraft train` as a process: output, interruption, kills and resuming.

#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

use engraft_gan::checkpoint::CheckpointReader;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder with images in MNIST's files, and room for runs. No test sees the user's data or network.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// With 40 images.
    fn new() -> Self {
        Self::with_images(40)
    }

    fn with_images(count: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        let mut images = vec![0, 0, 8, 3];
        images.extend([count, 28, 28].map(u32::to_be_bytes).concat());
        images.extend((0..count * 784).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8));
        fs::write(data.join("train-images-idx3-ubyte"), images).unwrap();
        let mut labels = vec![0, 0, 8, 1];
        labels.extend(count.to_be_bytes());
        labels.extend((0..count).map(|i| (i % 10) as u8));
        fs::write(data.join("train-labels-idx1-ubyte"), labels).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command without arguments for the data.
    fn bare(&self, run: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_engraft"));
        command
            .arg("train")
            .args(["--offline", "--threads", "2", "--out"])
            .arg(self.path(run))
            .args(arguments)
            .env_remove("ENGRAFT_DATA")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("HOME", self.path("home"))
            .stdin(Stdio::null());
        command
    }

    fn command(&self, run: &str, arguments: &[&str]) -> Command {
        let mut command = self.bare(run, arguments);
        command.args(["--batch", "4", "--data"]).arg(self.path("data"));
        command
    }

    fn run(&self, run: &str, arguments: &[&str]) -> Output {
        self.command(run, arguments).output().unwrap()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The checkpoint of a step, and the record without its times.
fn content(run: &Path, step: u64) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(run.join(format!("checkpoints/step-{step:06}")))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().into(),
                fs::read(&path).unwrap(),
            )
        })
        .collect();
    files.sort();
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let timeless = metrics.lines().map(|line| line.split(",\"ms\"").next().unwrap());
    files.push((
        "metrics".into(),
        timeless.collect::<Vec<_>>().join("\n").into_bytes(),
    ));
    files
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn the_first_run_and_a_longer_one() {
    let world = World::new();
    let first = world.run("run", &["--steps", "2"]);
    assert_eq!(code(&first), 0, "{}", text(&first.stderr));
    let shown = text(&first.stdout);
    for part in [
        "40 images 28x28x1",
        "2305472 parameters",
        "213121 parameters",
        "done: 2 steps",
        "step-000002.png",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in {shown}");
    }
    let again = text(&world.run("run", &["--steps", "2"]).stdout);
    assert!(
        again.contains("nothing to do") && again.contains("2 steps"),
        "{again}"
    );
    let longer = text(&world.run("run", &["--steps", "3"]).stdout);
    assert!(
        longer.contains("from step 2") && longer.contains("done: 3 steps"),
        "{longer}"
    );
    let fresh = text(&world.run("run", &["--steps", "1", "--fresh"]).stdout);
    assert!(
        fresh.contains("run.old-1") && fresh.contains("done: 1 steps"),
        "{fresh}"
    );
    let other = world.run("run", &["--steps", "1", "--seed", "5"]);
    assert_eq!(code(&other), 1);
    assert!(
        text(&other.stderr).contains("seed: the run has 1"),
        "{}",
        text(&other.stderr)
    );
    for name in [
        "run.toml",
        "metrics.jsonl",
        "losses.svg",
        "samples/step-000001.png",
    ] {
        assert!(world.path("run").join(name).is_file(), "{name}");
    }
}

#[test]
fn a_run_can_be_repeated_by_its_run_toml() {
    let world = World::new();
    assert_eq!(
        code(&world.run("first", &["--network", "mlp", "--steps", "3", "--seed", "7"])),
        0
    );
    let mut command = world.bare("second", &["--config"]);
    command
        .arg(world.path("first/run.toml"))
        .arg("--data")
        .arg(world.path("data"));
    let output = command.output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(content(&world.path("first"), 3) == content(&world.path("second"), 3));
}

#[test]
fn fault_02_settings_of_other_images_are_refused_and_leave_no_directory() {
    let world = World::new();
    assert_eq!(
        code(&world.run("first", &["--network", "mlp", "--steps", "1"])),
        0
    );
    let settings = fs::read_to_string(world.path("first/run.toml")).unwrap();
    // The size of digits is left out.
    assert!(!settings.contains("\nimage ="), "{settings}");
    for (image, expected, named) in [
        // Gray data have no colors.
        ("[28, 28, 3]", 2, "28x28x1"),
        // Resized, they are other images.
        ("[14, 14, 1]", 1, "SHA-256"),
        // No network makes them: neither 0 pixels nor 100 million.
        ("[0, 0, 1]", 2, "0x0x1"),
        ("[10000, 10000, 1]", 2, "10000x10000x1"),
    ] {
        let path = world.path("other.toml");
        fs::write(&path, format!("image = {image}\n{settings}")).unwrap();
        let output = world
            .bare("other", &["--config"])
            .arg(&path)
            .arg("--data")
            .arg(world.path("data"))
            .output()
            .unwrap();
        let message = text(&output.stderr);
        assert_eq!(code(&output), expected, "{image}: {message}");
        assert!(message.contains(named), "{image}: no {named:?} in {message}");
        assert!(!world.path("other").exists(), "{image}");
    }
}

#[test]
fn json_quiet_and_dry_run() {
    let world = World::new();
    let json = world.run("json", &["--steps", "6", "--json"]);
    assert!(json.stderr.is_empty(), "{}", text(&json.stderr));
    let events: Vec<String> = text(&json.stdout)
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["event"]
                .as_str()
                .unwrap()
                .into()
        })
        .collect();
    assert_eq!(
        events[..5],
        ["plan", "begin", "images", "samples", "step"],
        "{events:?}"
    );
    assert_eq!(events.iter().filter(|e| *e == "step").count(), 6);
    assert!(events.contains(&"estimate".to_string()) && events.ends_with(&["end".to_string()]));

    let quiet = world.run("quiet", &["--steps", "1", "--quiet"]);
    assert_eq!((code(&quiet), quiet.stdout.len(), quiet.stderr.len()), (0, 0, 0));

    let dry = world.run("dry", &["--dry-run"]);
    assert_eq!(code(&dry), 0);
    assert!(text(&dry.stdout).contains("discriminator") && !world.path("dry").exists());
}

#[test]
fn wrong_arguments_and_data_have_codes_of_their_own() {
    let world = World::new();
    assert_eq!(code(&world.run("x", &["--steps", "0"])), 2);
    assert_eq!(
        code(&world.run("x", &["--steps", "1", "--batch", "1"])),
        2,
        "given twice"
    );
    let both = world.run("x", &["--epochs", "2", "--set", "steps=3"]);
    assert_eq!(code(&both), 2);
    assert!(
        text(&both.stderr).contains("--set steps="),
        "{}",
        text(&both.stderr)
    );
    let epochs = world.run("x", &["--epochs", "2", "--set", "batch=8", "--dry-run"]);
    assert!(
        text(&epochs.stdout).contains("10 steps"),
        "{}",
        text(&epochs.stdout)
    );
    let too_large = world
        .bare("x", &["--batch", "41", "--data"])
        .arg(world.path("data"))
        .output()
        .unwrap();
    assert_eq!(code(&too_large), 2);
    let labels = world.path("data/train-labels-idx1-ubyte");
    let kept = fs::read(&labels).unwrap();
    let without: Vec<u8> = kept
        .iter()
        .enumerate()
        .map(|(i, &l)| if i >= 8 && l == 3 { 4 } else { l })
        .collect();
    fs::write(&labels, without).unwrap();
    let empty = world.run("x", &["--conditional", "--dry-run"]);
    assert_eq!(code(&empty), 2);
    assert!(
        text(&empty.stderr).contains("no images of class 3"),
        "{}",
        text(&empty.stderr)
    );
    fs::write(&labels, kept).unwrap();
    assert!(
        text(&too_large.stderr).contains("40, got 41"),
        "{}",
        text(&too_large.stderr)
    );
    let nowhere = world.bare("x", &["--data", "no-such-place"]).output().unwrap();
    assert_eq!(code(&nowhere), 3);
    assert!(
        text(&nowhere.stderr).contains("fashion-mnist"),
        "{}",
        text(&nowhere.stderr)
    );
    // Cut off: the header promises more.
    let images = world.path("data/train-images-idx3-ubyte");
    let bytes = fs::read(&images).unwrap();
    fs::write(&images, &bytes[..1000]).unwrap();
    let cut = world.run("x", &["--steps", "1"]);
    assert_eq!(code(&cut), 3);
    assert!(
        text(&cut.stderr).contains("train-images-idx3-ubyte"),
        "{}",
        text(&cut.stderr)
    );
}

#[test]
fn without_mnist_it_says_so_loudly_and_draws_digits() {
    let world = World::new();
    let output = world
        .bare("run", &["--steps", "1", "--batch", "4"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let warning = text(&output.stderr);
    assert!(
        warning.contains("DRAWN DIGITS") && warning.contains("ENGRAFT_DATA"),
        "{warning}"
    );
    assert!(
        text(&output.stdout).contains("drawn-digits, 60000 images"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_second_run_in_the_directory_is_refused() {
    let world = World::new();
    let mut first = world
        .command("run", &["--steps", "100000"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&world.path("run/metrics.jsonl"));
    let second = world.run("run", &["--steps", "1"]);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(code(&second), 1);
    let message = text(&second.stderr);
    assert!(message.contains(&format!("pid {}", first.id())), "{message}");
}

fn wait_for(path: &Path) {
    let start = Instant::now();
    while fs::metadata(path).map_or(0, |m| m.len()) == 0 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{} does not appear",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn fault_07_an_interrupted_run_is_saved_and_resumes_exactly() {
    let world = World::new();
    for (name, expected) in [("INT", 130), ("TERM", 143)] {
        // Enough steps that no machine finishes before the signal arrives.
        let child = world
            .command(name, &["--network", "mlp", "--steps", "100000"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(&world.path(name).join("metrics.jsonl"));
        signal(name, child.id());
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), expected);
        let shown = text(&output.stdout);
        let (_, rest) = shown
            .split_once("stopped and saved after step ")
            .unwrap_or_else(|| panic!("{shown}"));
        let stopped: u64 = rest.split(' ').next().unwrap().parse().unwrap();
        let last = stopped + 2;
        let steps = last.to_string();
        let arguments = ["--network", "mlp", "--steps", &steps];
        let whole = format!("whole-{name}");
        assert_eq!(code(&world.run(name, &arguments)), 0);
        assert_eq!(code(&world.run(&whole, &arguments)), 0);
        assert!(
            content(&world.path(name), last) == content(&world.path(&whole), last),
            "{name}"
        );
    }
}

#[test]
fn divergence_has_its_code_and_every_seed_trains() {
    let world = World::new();
    let seed = u64::MAX.to_string();
    for _ in 0..2 {
        let output = world.run("run", &["--steps", "1", "--seed", &seed]);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    }
    let settings = fs::read_to_string(world.path("run/run.toml")).unwrap();
    let with = |name: &str, change: &dyn Fn(&str) -> String| {
        let path = world.path(name);
        fs::write(&path, change(&settings)).unwrap();
        let mut command = world.bare(name.split('.').next().unwrap(), &["--config"]);
        command
            .arg(path)
            .arg("--data")
            .arg(world.path("data"))
            .output()
            .unwrap()
    };
    let output = with("fast.toml", &|s| s.replace("0.0002", "1e39"));
    let message = text(&output.stderr);
    assert_eq!(code(&output), 4, "{message}");
    assert!(message.contains("step 1"), "{message}");
    let output = with("name.toml", &|s| s.replace("\"mnist\"", "\"../../x\\u001b[31m\""));
    let message = text(&output.stderr);
    assert_eq!(code(&output), 2, "{message}");
    assert!(
        message.contains("data must be") && !message.contains('\u{1b}'),
        "{message}"
    );
}

#[test]
fn the_tutorial_has_its_epochs_at_any_batch() {
    let world = World::new();
    for (arguments, expected) in [
        (&["--batch", "4"][..], "500 steps of 4 images (50.0 epochs)"),
        (&["--batch", "4", "--steps", "7"], "7 steps of 4 images"),
        (&["--batch", "4", "--epochs", "2"], "20 steps of 4 images"),
    ] {
        let output = world
            .bare("dry", &["--preset", "tutorial", "--dry-run"])
            .args(arguments)
            .arg("--data")
            .arg(world.path("data"))
            .output()
            .unwrap();
        let shown = text(&output.stdout);
        assert!(shown.contains(expected), "{shown}");
    }
}

#[cfg(unix)]
#[test]
fn a_named_pipe_for_settings_is_refused() {
    let world = World::new();
    let pipe = world.path("pipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let output = world.bare("run", &["--config"]).arg(&pipe).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("pipe"), "{}", text(&output.stderr));
}

/// `ENGRAFT_KILLS` says how often; the moments are spread over the run at random.
#[cfg(unix)]
#[test]
fn a_killed_run_has_a_checkpoint_and_goes_on_exactly() {
    const STEPS: &str = "16";
    let kills: u32 = std::env::var("ENGRAFT_KILLS").map_or(6, |n| n.parse().unwrap());
    let world = World::new();
    let arguments = [
        "--network",
        "mlp",
        "--steps",
        STEPS,
        "--checkpoint-every",
        "2",
        "--sample-every",
        "3",
        "--quiet",
    ];
    let start = Instant::now();
    assert_eq!(code(&world.run("whole", &arguments)), 0);
    let length = start.elapsed();
    let expected = content(&world.path("whole"), 16);
    let rng = &mut rand_pcg::Pcg64::seed_from_u64(u64::from(std::process::id()));
    for kill in 0..kills {
        let run = format!("killed-{kill}");
        let mut child = world
            .command(&run, &arguments)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moment = length.mul_f64(rng.random_range(0.05..0.95));
        std::thread::sleep(moment);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let found = CheckpointReader::new(&world.path(&run)).latest();
        // Before the first checkpoint there is no run yet to lose.
        let step = found.ok().flatten().map(|loaded| loaded.checkpoint.step);
        println!("killed after {moment:?} ({status}): checkpoint of step {step:?}");
        if world.path(&run).join("metrics.jsonl").exists()
            && fs::metadata(world.path(&run).join("metrics.jsonl"))
                .unwrap()
                .len()
                > 0
        {
            assert!(step.is_some(), "steps were done, but there is no checkpoint");
        }
        assert_eq!(code(&world.run(&run, &arguments)), 0);
        assert!(
            content(&world.path(&run), 16) == expected,
            "killed after {moment:?}"
        );
        fs::remove_dir_all(world.path(&run)).unwrap();
    }
}

/// Images of sizes that the default networks do not support get networks that make them, and the plan says why. Pictures in color are
/// augmented.
#[test]
fn large_pictures_get_the_light_networks() {
    let world = World::new();
    let pictures = world.path("large");
    fs::create_dir_all(&pictures).unwrap();
    for i in 0..10_u8 {
        let picture = image::RgbImage::from_pixel(96, 80, image::Rgb([9 * i, 99, 200]));
        picture.save(pictures.join(format!("{i}.png"))).unwrap();
    }
    let plan = |more: &[&str]| {
        let mut command = world.bare("none", &["--dry-run", "--data"]);
        let output = command.arg(&pictures).args(more).output().unwrap();
        (code(&output), text(&output.stdout))
    };
    for (more, size) in [(&[][..], "64x64x3"), (&["--size", "48"], "48x48x3")] {
        let (code, plan) = plan(more);
        assert!(code == 0 && plan.contains(size), "{plan}");
        assert!(
            plan.contains("light: the images") && plan.contains("steps of 10 images"),
            "{plan}"
        );
    }
    let (done, small) = plan(&["--size", "32"]);
    assert!(
        done == 0 && !small.contains("light") && small.contains("translation, cutout on every image"),
        "{small}"
    );
    assert!(small.contains("10 images overfit soon"), "{small}");
    let (done, named) = plan(&["--network", "light"]);
    assert!(
        done == 0 && named.contains("64x64x3") && !named.contains("light: the images"),
        "{named}"
    );
    let (done, preset) = plan(&["--preset", "light", "--size", "16"]);
    assert!(done == 0 && preset.contains("16x16x3"), "{preset}");
    assert_eq!(plan(&["--size", "36"]).0, 3);
    let residual = ["--network", "residual", "--batch", "4", "--size", "64"];
    assert_eq!(plan(&residual).0, 3);

    for i in 0..10_u8 {
        let picture = image::GrayImage::from_pixel(96, 80, image::Luma([20 * i]));
        picture.save(pictures.join(format!("{i}.png"))).unwrap();
    }
    let (done, gray) = plan(&["--size", "32"]);
    assert!(
        done == 0 && gray.contains("32x32x1") && !gray.contains("augmentation"),
        "{gray}"
    );
    let (done, gray) = plan(&["--size", "16"]);
    assert!(
        done == 0 && gray.contains("light: the images have 16x16"),
        "{gray}"
    );
}

/// A folder of colour pictures, each in the folder of its class: at its own size, or at one that the networks make.
#[test]
fn pictures_of_ones_own_are_trained_on() {
    let world = World::new();
    let pictures = world.path("pictures");
    for class in ["cats", "dogs"] {
        fs::create_dir_all(pictures.join(class)).unwrap();
        for i in 0..52_u8 {
            let color = if class == "cats" { [200, i, 0] } else { [0, i, 200] };
            let picture = image::RgbImage::from_pixel(40, 40, image::Rgb(color));
            picture
                .save(pictures.join(class).join(format!("{i}.png")))
                .unwrap();
        }
    }
    let train = |run: &str, more: &[&str]| {
        let mut command = world.bare(run, &["--conditional", "--batch", "4", "--data"]);
        let output = command.arg(&pictures).args(more).output().unwrap();
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        text(&output.stdout)
    };
    // Every fifth of 104 is kept for evaluate.
    let plan = train("none", &["--dry-run"]);
    for part in [
        "84 images 32x32x3",
        "cats, dogs",
        "(2 classes)",
        "scaled: 104 files",
    ] {
        assert!(plan.contains(part), "no {part:?} in {plan}");
    }
    assert!(train("none", &["--dry-run", "--size", "28", "--train-on-all"]).contains("104 images 28x28x3"));
    let mlp = ["--network", "mlp", "--steps"];
    let said = train("run", &[&mlp[..], &["2"]].concat());
    assert!(said.contains("84 images 40x40x3"), "{said}");
    assert!(train("run", &[&mlp[..], &["3"]].concat()).contains("from step 2"));
    let samples = image::open(world.path("run/samples/step-000003.png")).unwrap();
    assert!(samples.color().has_color());
    let refused = world
        .bare("flat", &["--conditional", "--data"])
        .arg(pictures.join("cats"))
        .output()
        .unwrap();
    assert_eq!(code(&refused), 2);
    assert!(
        text(&refused.stderr).contains("has no labels"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn pseudo_labels_need_no_labels_and_tensorboard_gets_its_file() {
    let world = World::with_images(700);
    let options = [
        "--network",
        "mlp",
        "--pseudo-labels",
        "3",
        "--tensorboard",
        "--steps",
    ];
    for steps in ["1", "2"] {
        let done = world.run("run", &[&options[..], &[steps]].concat());
        assert_eq!(code(&done), 0, "{}", text(&done.stderr));
        assert!(text(&done.stdout).contains("conditioned on 3 clusters"));
    }
    let files = fs::read_dir(world.path("run")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.contains("tfevents")).count(), 2);
}

#[test]
fn by_default_many_images_are_conditioned_on_clusters() {
    let world = World::with_images(11_200);
    let plan = |more: &[&str]| {
        let done = world.run("x", &[&["--dry-run"], more].concat());
        assert_eq!(code(&done), 0, "{}", text(&done.stderr));
        text(&done.stdout)
    };
    let default = plan(&[]);
    assert!(
        default.contains("conditioned on 100 clusters") && default.contains("0.0005"),
        "{default}"
    );
    for other in [
        &["--pseudo-labels", "0"][..],
        &["--network", "mlp"],
        &["--set", "network=mlp"],
        &["--preset", "tutorial"],
        &["--conditional"],
        &["--conditional", "--pseudo-labels", "0"],
    ] {
        let plan = plan(other);
        assert!(
            !plan.contains("clusters") && !plan.contains("0.0005"),
            "{other:?}: {plan}"
        );
    }
}

#[test]
fn pseudo_labels_are_refused_for_few_images_and_with_class_labels() {
    let world = World::new();
    let plan = |more: &[&str]| world.run("x", &[&["--dry-run"], more].concat());
    for (options, part) in [
        (vec!["--pseudo-labels", "4", "--conditional"], "--conditional"),
        (vec!["--pseudo-labels", "1"], "--pseudo-labels"),
        (vec!["--set", "pseudo_labels.clusters=4"], "500"),
    ] {
        let refused = plan(&options);
        assert_eq!(code(&refused), 2, "{options:?}");
        assert!(text(&refused.stderr).contains(part), "{}", text(&refused.stderr));
    }
}

#[test]
fn micro_batches_cut_the_batch_evenly_and_are_a_setting_of_the_run() {
    let world = World::new();
    let uneven = world.run("uneven", &["--micro-batches", "3"]);
    let message = text(&uneven.stderr);
    assert_eq!(code(&uneven), 2, "{message}");
    assert!(
        message.contains("cut the batch of 4 images into equal parts, got 3"),
        "{message}"
    );
    assert!(!world.path("uneven").exists());
    let cut = ["--network", "mlp", "--steps", "2", "--micro-batches", "2"];
    let first = world.run("cut", &cut);
    assert_eq!(code(&first), 0, "{}", text(&first.stderr));
    assert!(text(&first.stdout).contains("2 steps of 4 images in 2 micro-batches"));
    let settings = fs::read_to_string(world.path("cut/run.toml")).unwrap();
    assert!(settings.contains("micro_batches = 2"), "{settings}");
    let whole = world.run("cut", &cut[..4]);
    assert!(
        text(&whole.stderr).contains("micro_batches: the run has 2"),
        "{}",
        text(&whole.stderr)
    );
}

/// Without `--out`, every command with its own settings has a directory of its own.
#[test]
fn other_settings_get_the_next_number_and_the_same_ones_resume() {
    let world = World::new();
    let run = |seed: &str, steps: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_engraft"));
        command
            .args([
                "train",
                "--offline",
                "--threads",
                "2",
                "--batch",
                "4",
                "--network",
                "mlp",
                "--steps",
                steps,
            ])
            .args(["--seed", seed, "--data"])
            .arg(world.path("data"))
            .current_dir(world.dir.path())
            .env_remove("ENGRAFT_DATA");
        let output = command.output().unwrap();
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    };
    for (seed, steps) in [
        ("1", "1"),
        ("2", "1"),
        ("3", "1"),
        ("1", "3"),
        ("2", "2"),
        ("3", "1"),
    ] {
        run(seed, steps);
    }
    let mut found: Vec<(String, usize)> = fs::read_dir(world.path("runs"))
        .unwrap()
        .map(|entry| {
            let run = entry.unwrap();
            let steps = fs::read_to_string(run.path().join("metrics.jsonl")).unwrap();
            (run.file_name().into_string().unwrap(), steps.lines().count())
        })
        .collect();
    found.sort();
    let [first, second, third] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((first.1, second.1, third.1), (3, 2, 1), "{found:?}");
    assert_eq!(second.0, format!("{}-2", first.0));
    assert_eq!(third.0, format!("{}-3", first.0));
}
