//! How far two checkpoints of one run, or two arrays of images, are apart:
//! `cargo run -p engraft-tests --example difference EXPECTED FOUND`.
//!
//! For class-conditional runs, whose sums may be taken in another order from one version to the next. The numbers of a
//! network may differ by [`MEAN`] in the mean and by [`MOST`] at most: the first is far below a step of Adam at 2e-4, the
//! second is twice the way of the ten steps that the comparison takes, as a gradient near zero may change its sign.

#![allow(clippy::unwrap_used)]

use engraft_layers::StateDict;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Mean of the absolute differences, at most.
const MEAN: f64 = 2e-6;
/// Largest difference, at most.
const MOST: f64 = 4e-3;

/// All numbers of a state dict, by name, or of an NPY file of `f32`.
fn numbers(path: &Path) -> Vec<(String, Vec<f32>)> {
    if path.extension().is_some_and(|e| e == "npy") {
        let bytes = std::fs::read(path).unwrap();
        let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let values = bytes[header..].chunks_exact(4);
        let values = values.map(|v| f32::from_le_bytes(v.try_into().unwrap()));
        return vec![("images".into(), values.collect())];
    }
    let state = StateDict::<f32>::load(path).unwrap();
    let tensors = state.into_tensors().into_iter();
    tensors
        .map(|(name, tensor)| (name, tensor.as_slice().to_vec()))
        .collect()
}

/// Tells the differences of two files, and whether they are small.
fn is_near(expected: &Path, found: &Path) -> bool {
    let (mut sum, mut count, mut most) = (0.0, 0.0, 0.0_f64);
    let (path, expected, found) = (found, numbers(expected), numbers(found));
    assert_eq!(expected.len(), found.len(), "{}: other tensors", path.display());
    for ((name, a), (other, b)) in expected.iter().zip(&found) {
        assert_eq!((name, a.len()), (other, b.len()), "{}", path.display());
        for (a, b) in a.iter().zip(b) {
            let difference = f64::from((a - b).abs());
            (sum, count, most) = (sum + difference, count + 1.0, most.max(difference));
        }
    }
    let mean = sum / count;
    println!(
        "{}: mean difference {mean:.1e}, largest {most:.1e}",
        path.display()
    );
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
        networks.fold(true, |near, name| {
            is_near(&expected.join(name), &found.join(name)) && near
        })
    } else {
        is_near(expected, found)
    };
    if is_near {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
