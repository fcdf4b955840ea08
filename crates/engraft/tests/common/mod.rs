//! Runs the program and checks how it ends.

use engraft::data::{Split, drawn_digits};
use std::path::Path;
use std::process::{Command, Output};

/// Runs the program with some arguments, without data sets of the user.
#[allow(dead_code)] // not every test needs the output
pub(crate) fn engraft(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_engraft"))
        .args(arguments)
        .env_remove("ENGRAFT_DATA")
        .output()
        .unwrap()
}

/// Runs the program, which must succeed, and returns standard output and standard error.
pub(crate) fn good(arguments: &[&str]) -> [String; 2] {
    let found = engraft(arguments);
    let [out, errors] = [found.stdout, found.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(found.status.success(), "{arguments:?}: {errors}");
    [out, errors]
}

/// Runs the program, which must fail with a message that contains all of `named`.
pub(crate) fn bad(arguments: &[&str], named: &[&str]) {
    let found = engraft(arguments);
    let errors = String::from_utf8_lossy(&found.stderr);
    assert!(!found.status.success(), "{arguments:?}");
    for name in named {
        assert!(errors.contains(name), "{arguments:?}: no {name:?} in {errors}");
    }
}

/// A folder of drawn digits as pictures.
#[allow(dead_code)] // not every test needs it
pub(crate) fn pictures(folder: &Path, n: usize) {
    std::fs::create_dir(folder).unwrap();
    let digits = drawn_digits(Split::Test, n, 1);
    for i in 0..n {
        let picture = image::GrayImage::from_raw(28, 28, digits.image(i).to_vec()).unwrap();
        picture.save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}
