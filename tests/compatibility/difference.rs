//! Compares two checkpoints of one run, or two arrays of images: `difference EXPECTED FOUND`.
//!
//! For class-conditional runs, where two versions may add numbers in a different order. The parameters of a network may
//! differ by [`MEAN`] on average and by [`MOST`] at most. The first is far below a step of Adam at 2e-4. The second is twice
//! the distance of the ten steps of the comparison, because a gradient near zero may change its sign.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Largest mean of the absolute differences.
const MEAN: f64 = 2e-6;
/// Largest difference, at most.
const MOST: f64 = 4e-3;

/// The header of a safetensors or NPY file, which holds names and shapes, and the numbers after it.
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

/// Prints the differences of two files and returns whether they are small.
fn is_near(expected: &Path, found: &Path) -> bool {
    let (path, expected, found) = (found.display(), parts(expected), parts(found));
    if expected.0 != found.0 {
        println!("{path}: names or shapes differ");
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
        eprintln!(
            "usage: difference EXPECTED FOUND: two checkpoints, such as RUN/checkpoints/step-000004, or two NPY files"
        );
        return ExitCode::FAILURE;
    };
    let is_near = if expected.is_dir() {
        let networks = ["generator", "discriminator", "average"].map(|name| format!("{name}.safetensors"));
        let networks = networks.iter().filter(|name| expected.join(name).exists());
        // All are compared, so that every difference is printed.
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
