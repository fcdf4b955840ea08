//! Archives of real pictures, if this machine has them.

use std::path::PathBuf;
use std::time::Instant;

use engraft_data::{Channels, DataDirs, DataOptions, DataSource, TrainingData};

/// A file in the directory of `ENGRAFT_DATA`, or `None` with a message if it does not exist.
fn below_data(file: &str) -> Option<PathBuf> {
    let found = DataDirs::from_env()
        .data_dir
        .map(|data| data.join(file))
        .filter(|path| path.exists());
    if found.is_none() {
        println!("not run for {file}: it is not below ENGRAFT_DATA");
    }
    found
}

#[test]
fn archives_of_emoji_and_photos() {
    let facts = [
        ("emoji/google.zip", 3781, 64, 9, "transparency shown on white: "),
        ("emoji/twitter.zip", 3781, 64, 9, "transparency shown on white: "),
        ("emoji/noto-128.zip", 1769, 128, 0, ""),
        ("emoji/twemoji-128.zip", 600, 128, 0, ""),
        ("cifar10/test.zip", 10000, 32, 10, ""),
    ];
    for (file, count, side, classes, total) in facts {
        let Some(path) = below_data(file) else { continue };
        let source = DataSource::parse(path.to_str().unwrap()).unwrap();
        let start = Instant::now();
        let loaded = source.open(&DataOptions::new()).unwrap();
        println!(
            "{file}: {:?}\n  {}",
            start.elapsed(),
            loaded.report.totals.join("\n  ")
        );
        for line in loaded.report.files.iter().take(3) {
            println!("    {line}");
        }
        assert_eq!(
            (loaded.train.len(), loaded.train.image_size()),
            (count, [side, side, 3])
        );
        assert_eq!(
            (loaded.train.classes(), loaded.train.class_names().len()),
            (classes, classes)
        );
        assert!(loaded.report.totals.iter().any(|line| line.starts_with(total)));
        let lazy = source.open_lazily(&DataOptions::new()).unwrap();
        assert_eq!(
            (lazy.fingerprint(), lazy.labels_fingerprint()),
            (
                loaded.train.sha256(),
                TrainingData::labels_fingerprint(&loaded.train)
            )
        );
        assert_eq!(
            lazy.batch(&[count - 1, 7]).unwrap(),
            loaded.train.batch_f32(&[count - 1, 7])
        );
    }
}

#[test]
fn directories_of_idx_files() {
    for (file, name, size) in [("usps", "usps", [16, 16]), ("mnist/..", "mnist", [28, 28])] {
        let Some(path) = below_data(file) else { continue };
        let source = DataSource::parse(path.to_str().unwrap()).unwrap();
        assert!(matches!(source, DataSource::Idx(_)), "{source}");
        let mut options = DataOptions::new();
        (options.held_out, options.channels) = (true, Channels::Rgb);
        let loaded = source.open(&options).unwrap();
        println!("{}", loaded.report.totals.join("\n"));
        let [h, w] = size;
        assert_eq!(
            (loaded.train.name(), loaded.train.image_size()),
            (name, [h, w, 3])
        );
        assert!(loaded.has_own_test && loaded.report.totals[1].contains(&format!("{w}x{h}x1")));
    }
}
