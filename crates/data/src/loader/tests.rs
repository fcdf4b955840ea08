//! Search order, accepted files, and errors of each place.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::test_server::{send, serve};

fn idx(sizes: &[u32], first: u8) -> Vec<u8> {
    let count: u32 = sizes.iter().product();
    let sizes_bytes = sizes.iter().flat_map(|size| size.to_be_bytes());
    [0, 0, 8, sizes.len() as u8]
        .into_iter()
        .chain(sizes_bytes)
        .chain((0..count).map(|i| first + i as u8))
        .collect()
}

/// Two images of 2x3 pixels with labels. `first` distinguishes such pairs.
fn pair(first: u8) -> [Vec<u8>; 2] {
    [idx(&[2, 2, 3], first), idx(&[2], first)]
}

fn put(directory: &Path, names: [&str; 2], pair: &[Vec<u8>; 2]) {
    fs::create_dir_all(directory).unwrap();
    names
        .iter()
        .zip(pair)
        .for_each(|(name, bytes)| fs::write(directory.join(name), bytes).unwrap());
}

const NAMES: [&str; 2] = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"];

/// A machine with a data directory, a cache and a release whose pins match `pair(50)`.
struct Machine {
    root: TempDir,
    sums: [String; 2],
    mirror: Option<String>,
}

impl Machine {
    fn new() -> Self {
        let sums = pair(50).map(|bytes| {
            Sha256::digest(bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        });
        Self {
            root: tempfile::tempdir().unwrap(),
            sums,
            mirror: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn options(&self) -> LoadOptions {
        let data_dirs = DataDirs {
            data_dir: Some(self.path("data")),
            cache_dir: Some(self.path("cache")),
        };
        LoadOptions::new().data_dirs(data_dirs)
    }

    fn load(&self, options: &LoadOptions) -> Result<Dataset, DataError> {
        let pinned = |at: usize| Pinned {
            name: NAMES[at],
            size: pair(50)[at].len() as u64,
            sha256: &self.sums[at],
        };
        let files = Pair {
            images: pinned(0),
            labels: pinned(1),
        };
        let mirrors: Vec<&str> = self.mirror.as_deref().into_iter().collect();
        let release = Release {
            train: files,
            test: files,
            mirrors: &mirrors,
        };
        Search {
            name: "mnist",
            split: Split::Train,
            release: &release,
            options,
            tried: Vec::new(),
        }
        .run()
    }

    fn message(&self, options: &LoadOptions) -> String {
        self.load(options).unwrap_err().to_string()
    }
}

/// A mirror that serves `files` and counts the requests.
fn mirror(files: [Vec<u8>; 2]) -> (String, Arc<AtomicUsize>) {
    let files: HashMap<String, Vec<u8>> = NAMES
        .map(|name| format!("/{name}"))
        .into_iter()
        .zip(files)
        .collect();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let url = serve(move |path, stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        match files.get(path) {
            Some(body) => send(stream, "200 OK", body),
            None => send(stream, "404 Not Found\r\nContent-Length: 0", b""),
        }
    });
    (url, count)
}

#[test]
fn an_explicit_directory_serves_in_both_layouts_and_all_spellings() {
    let spellings = [
        NAMES,
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
        ["train-images.idx3-ubyte", "train-labels.idx1-ubyte.gz"],
    ];
    for (at, names) in spellings.into_iter().enumerate() {
        for layout in ["own", "own/mnist"] {
            let machine = Machine::new();
            put(&machine.path("data/mnist"), NAMES, &pair(1));
            put(&machine.path(layout), names, &pair(7 + at as u8));
            let set = machine
                .load(&machine.options().directory(machine.path("own")))
                .unwrap();
            assert_eq!(
                (set.len(), set.image_size(), set.label(0)),
                (2, [2, 3, 1], 7 + at as u8)
            );
            assert_eq!(set.provenance(), &Provenance::Directory(machine.path(layout)));
        }
    }
}

#[test]
fn an_explicit_directory_without_the_files_is_an_error_that_lists_them() {
    let machine = Machine::new();
    put(&machine.path("data/mnist"), NAMES, &pair(1));
    let options = machine.options().directory(machine.path("own"));
    assert!(
        machine
            .message(&options)
            .contains("own: there is no such directory")
    );
    put(&machine.path("own"), ["another", "other"], &pair(1));
    let message = machine.message(&options);
    assert!(message.starts_with("mnist, train: not found\n"), "{message}");
    for name in ["train-labels-idx1-ubyte.gz", "train-labels.idx1-ubyte"] {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn one_of_the_users_two_files_is_not_passed_over() {
    for (at, other) in [(0, "train-labels"), (1, "train-images")] {
        let machine = Machine::new();
        put(&machine.path("cache/mnist"), NAMES, &pair(50));
        let mut names = ["a", "b"];
        names[at] = NAMES[at];
        put(&machine.path("data/mnist"), names, &pair(1));
        let error = machine.load(&machine.options()).unwrap_err();
        assert!(matches!(error, DataError::HalfMissing { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains(NAMES[at]) && message.contains(&format!("there is no {other}")),
            "{message}"
        );
    }
}

/// Without a writable cache, synthetic digits still work: the caller sees `NotFound`.
#[test]
fn a_cache_that_cannot_be_written_is_a_place_that_did_not_serve() {
    let mut machine = Machine::new();
    let (url, _) = mirror(pair(50));
    machine.mirror = Some(url);
    fs::write(machine.path("cache"), "a file where a directory is needed").unwrap();
    let error = machine.load(&machine.options()).unwrap_err();
    assert!(matches!(error, DataError::NotFound { .. }), "{error}");
}

#[test]
fn the_search_goes_from_the_users_files_over_the_cache_to_the_network() {
    let mut machine = Machine::new();
    let (url, requests) = mirror(pair(50));
    machine.mirror = Some(url);
    // Nothing exists: both files come from the mirror and stay in the cache.
    let set = machine.load(&machine.options()).unwrap();
    assert_eq!(
        (set.label(0), set.provenance()),
        (50, &Provenance::Download(machine.path("cache/mnist")))
    );
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    // Now the cache is used, also offline.
    let set = machine.load(&machine.options().offline()).unwrap();
    assert_eq!(
        (set.label(0), set.provenance()),
        (50, &Provenance::Cache(machine.path("cache/mnist")))
    );
    // The user's own files come first, and may differ from the published ones.
    put(&machine.path("data/mnist"), NAMES, &pair(1));
    assert_eq!(machine.load(&machine.options()).unwrap().label(0), 1);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[test]
fn a_damaged_cache_is_completed_and_never_used() {
    let mut machine = Machine::new();
    let (url, requests) = mirror(pair(50));
    machine.mirror = Some(url);
    let [images, mut labels] = pair(50);
    labels[9] ^= 1;
    put(&machine.path("cache/mnist"), NAMES, &[images, labels]);
    let message = machine.message(&machine.options().offline());
    assert!(
        message.contains("expected SHA-256") && message.contains("download: not allowed (offline)"),
        "{message}"
    );
    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let telling = machine
        .options()
        .notify(|line| LINES.lock().unwrap().push(line.to_owned()));
    assert_eq!(machine.load(&telling).unwrap().label(0), 50);
    // Only the damaged file is fetched.
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    let lines = LINES.lock().unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("not used: ") && lines[0].contains("train-labels"));
    assert!(lines[1].starts_with("fetching http://127.0.0.1:") && lines[1].ends_with("ubyte.gz (10 bytes)"));
}

#[test]
fn when_nothing_is_found_every_place_and_reason_is_reported() {
    let mut machine = Machine::new();
    assert!(
        machine
            .message(&machine.options())
            .contains("download: no mirror is known")
    );
    let (wrong, _) = mirror(pair(51));
    let (none, _) = mirror([vec![], vec![]]);
    machine.mirror = Some(wrong.clone());
    let message = machine.message(&machine.options().mirror(&none));
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 7, "{message}");
    assert!(lines[1].contains("data") && lines[1].ends_with(": there is no such directory"));
    assert!(lines[2].contains("train-images-idx3-ubyte.gz: opening failed: "));
    assert!(lines[3].contains("train-labels-idx1-ubyte.gz: opening failed: "));
    assert!(lines[4].starts_with(&format!(
        "  {none}/train-labels-idx1-ubyte.gz: only 0 of 10 bytes"
    )));
    assert!(lines[5].starts_with(&format!(
        "  {wrong}/train-labels-idx1-ubyte.gz: expected SHA-256 "
    )));
    assert!(
        lines[6].contains("train-images-idx3-ubyte.gz") && lines[6].contains("train-labels-idx1-ubyte.gz")
    );
    assert_eq!(fs::read_dir(machine.path("cache/mnist")).unwrap().count(), 0);
    let message = machine.message(&LoadOptions::new().data_dirs(DataDirs::default()));
    assert!(
        message.contains("ENGRAFT_DATA: not set") && message.contains("cache directory: "),
        "{message}"
    );
}

#[test]
fn faulty_files_of_the_user_are_not_passed_over() {
    let machine = Machine::new();
    put(&machine.path("cache/mnist"), NAMES, &pair(50));
    let data = machine.path("data/mnist");
    let [images, labels] = pair(1);
    put(&data, NAMES, &[images[..20].to_vec(), labels.clone()]);
    let error = machine.load(&machine.options()).unwrap_err();
    assert!(matches!(&error, DataError::Format { .. }), "{error}");
    put(&data, NAMES, &[labels.clone(), images.clone()]);
    let error = machine.load(&machine.options()).unwrap_err();
    assert!(matches!(&error, DataError::Rank { found: 1, .. }), "{error}");
    put(&data, NAMES, &[images.clone(), images.clone()]);
    let error = machine.load(&machine.options()).unwrap_err();
    assert!(matches!(&error, DataError::Rank { found: 3, .. }), "{error}");
    put(&data, NAMES, &[images, idx(&[3], 0)]);
    let error = machine.load(&machine.options()).unwrap_err();
    assert!(
        matches!(
            &error,
            DataError::CountMismatch {
                images: 2,
                labels: 3,
                ..
            }
        ),
        "{error}"
    );
    put(&data, NAMES, &[idx(&[2, 0, 3], 0), labels]);
    let error = machine.load(&machine.options()).unwrap_err();
    assert!(
        matches!(
            &error,
            DataError::ImageSize {
                image_size: [0, 3, 1],
                ..
            }
        ),
        "{error}"
    );
    #[cfg(unix)]
    {
        fs::remove_file(data.join(NAMES[0])).unwrap();
        std::os::unix::fs::symlink("nowhere", data.join(NAMES[0])).unwrap();
        let error = machine.load(&machine.options()).unwrap_err();
        assert!(matches!(error, DataError::File(_)), "{error}");
    }
}

#[test]
fn drawn_digits_need_no_place() {
    let options = LoadOptions::new()
        .data_dirs(DataDirs::default())
        .drawn_count(20)
        .drawn_seed(3);
    let set = load(DatasetName::DrawnDigits, Split::Test, &options).unwrap();
    assert_eq!(set, drawn_digits(Split::Test, 20, 3));
}

#[test]
fn half_of_the_digits_is_what_the_labels_say() {
    let machine = Machine::new();
    put(&machine.path("data/mnist"), NAMES, &pair(4));
    let half = |name| load(name, Split::Train, &machine.options()).unwrap();
    let whole = half(DatasetName::Mnist);
    assert_eq!(whole.labels(), [4, 5]);
    for (name, at) in [(DatasetName::Mnist0To4, 0), (DatasetName::Mnist5To9, 1)] {
        let part = half(name);
        assert_eq!(
            (part.name(), part.labels()),
            (name.as_str(), &whole.labels()[at..=at])
        );
        assert_eq!(part.images(), whole.image(at));
        assert_eq!(part.provenance(), whole.provenance());
    }
    // The missing data set is MNIST.
    let nowhere = machine.options().directory(machine.path("own"));
    let error = load(DatasetName::Mnist5To9, Split::Test, &nowhere).unwrap_err();
    assert!(error.to_string().starts_with("mnist, test: not found"), "{error}");
}
