//! The report and the pictures of a run directory.

use super::*;
use crate::RunLayout;
use crate::report::run_report;
use engraft_data::{Split, drawn_digits};
use std::fs;

/// A finished run of a few steps on drawn digits; `data` is its name of the data.
fn run(directory: &Path, data: &str) -> RunLayout {
    let digits = drawn_digits(Split::Train, 40, 1);
    let mut config = TrainConfig::standard(&digits);
    (config.network, config.batch, config.steps) = ("mlp".into(), 8, 3);
    (config.evaluation.every, config.output.sample_every) = (2, 1);
    config.data = data.into();
    let mut trainer = Trainer::open(config, digits, directory).unwrap();
    let _ = trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    RunLayout::new(directory)
}

#[test]
fn a_finished_run_shows_itself() {
    let folder = tempfile::tempdir().unwrap();
    let layout = run(&folder.path().join("a"), "digits");
    for picture in [layout.reals(), layout.nearest(), layout.interpolation()] {
        let bytes = fs::read(&picture).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{}", picture.display());
    }
    let page = fs::read_to_string(layout.report()).unwrap();
    assert!(page.contains("<h1>Training run on digits</h1>"));
    for heading in [
        "Samples",
        "In motion",
        "Nearest training images",
        "Training",
        "Scores on",
        "Settings",
    ] {
        assert!(page.contains(&format!("<h2>{heading}")), "{heading}");
    }
    // Grid, real images, two animations, nearest images.
    assert_eq!(page.matches("<img ").count(), 5);
    assert!(page.contains("r_t") && page.contains("metrics.jsonl"));
    assert!(page.len() < 3 << 20);
    // Read from its files, it is the same report. Only the trainer knows the feature network's hash.
    let read = run_report(layout.directory()).unwrap();
    let headings: Vec<&str> = read.sections.iter().map(|s| s.heading.as_str()).collect();
    assert_eq!(headings.len(), page.matches("<h2>").count());
}

#[test]
fn the_same_run_has_the_same_report() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| {
        let layout = run(&folder.path().join(name), "digits");
        let paths = [
            layout.report(),
            layout.nearest(),
            layout.interpolation(),
            layout.plots(),
        ];
        paths.map(|path| fs::read(path).unwrap())
    });
    assert!(files[0] == files[1]);
}

#[test]
fn pictures_that_a_kill_left_out_are_written_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let layout = run(folder.path(), "digits");
    let read =
        || [layout.nearest(), layout.interpolation(), layout.report()].map(|path| fs::read(path).unwrap());
    let whole = read();
    // Those of a run that was stopped earlier, and none.
    fs::write(layout.interpolation(), "earlier").unwrap();
    let file = fs::File::options()
        .write(true)
        .open(layout.interpolation())
        .unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    run(folder.path(), "digits");
    assert!(read() == whole);
    fs::remove_file(layout.interpolation()).unwrap();
    fs::remove_file(layout.nearest()).unwrap();
    run(folder.path(), "digits");
    assert!(read() == whole);
}
