//! How far two checkpoints of one run, or two arrays of images, are apart: `difference EXPECTED FOUND`.
//!
//! For class-conditional runs, whose sums may be taken in another order from one version to the next. The numbers of a
//! network may differ by [`MEAN`] in the mean and by [`MOST`] at most: the first is far below a step of Adam at 2e-4, the
//! second is twice the way of the ten steps that the comparison takes, as a gradient near zero may change its sign.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Mean of the absolute differences, at most.
const MEAN: f64 = 2e-6;
/// Largest difference, at most.
const MOST: f64 = 4e-3;

/// The header of a safetensors or NPY file, which has the names and shapes, and the numbers behind it.
fn parts(path: &Path) -> (Vec<u8>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let header = match bytes.starts_with(b"\x93NUMPY") {
        true => 10 + usize::from(u16::from_le_bytes(bytes[8..10].try_into().unwrap())),
        false => 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize,
    };
    let numbers = bytes[header..].chunks_exact(4);
    let numbers = numbers.map(|number| f32::from_le_bytes(number.try_into().unwrap()));
    (bytes[..header].into(), numbers.collect())
}

/// Tells the differences of two files, and whether they are small.
fn is_near(expected: &Path, found: &Path) -> bool {
    let (path, expected, found) = (found.display(), parts(expected), parts(found));
    if expected.0 != found.0 {
        println!("{path}: other names or shapes");
        return false;
    }
    let (mut sum, mut most) = (0.0, 0.0_f64);
    for (a, b) in expected.1.iter().zip(&found.1) {
        let difference = f64::from((a - b).abs());
        (sum, most) = (sum + difference, most.max(difference));
    }
    let mean = sum / expected.1.len() as f64;
    println!("{path}: mean difference {mean:.1e}, largest {most:.1e}");
    mean <= MEAN && most <= MOST
}

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = std::env::args().skip(1).map(Into::into).collect();
    let [expected, found] = &paths[..] else {
        eprintln!("two checkpoints are needed, as RUN/checkpoints/step-000004, or two NPY files");
        return ExitCode::FAILURE;
    };
    let is_near = if expected.is_dir() {
        let networks = ["generator", "discriminator", "average"].map(|name| format!("{name}.safetensors"));
        let networks = networks.iter().filter(|name| expected.join(name).exists());
        // Each is compared, so that every difference is printed.
        let far = networks.filter(|name| !is_near(&expected.join(name), &found.join(name)));
        far.count() == 0
    } else {
        is_near(expected, found)
    };
    if is_near {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
