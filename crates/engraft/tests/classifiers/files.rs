//! Small data sets in a directory of their own, and the program run there.

use engraft::data::Dataset;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory that `ENGRAFT_DATA` names, deleted at the end.
pub(crate) struct Data(tempfile::TempDir);

impl Data {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The folder of a data set.
    pub(crate) fn set(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Runs `engraft` with some arguments, in the directory.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_engraft"))
            .args(arguments)
            .current_dir(self.0.path())
            .env("ENGRAFT_DATA", self.0.path())
            .output()
            .unwrap()
    }
}

/// Writes images and labels as files of a known data set are named.
pub(crate) fn write_idx(folder: &Path, part: &str, data: &Dataset) {
    let header = |kind: u8, sizes: &[usize]| {
        let sizes = sizes.iter().flat_map(|&n| (n as u32).to_be_bytes());
        [0, 0, 8, kind].into_iter().chain(sizes).collect::<Vec<u8>>()
    };
    let [height, width, _] = data.image_size();
    let images = [&header(3, &[data.len(), height, width]), data.images()].concat();
    let labels = [&header(1, &[data.len()]), data.labels()].concat();
    fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
    fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
}
