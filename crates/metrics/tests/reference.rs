//! The measures against reference implementations, on the same points (`reference/generate.py`).

use engraft_metrics::{Features, frechet_distance, kernel_distance, prdc};
use ndarray::Array2;
use serde_json::Value;

/// The points that `generate.py` makes.
fn features(n: usize, d: usize, seed: u32, shift: f64) -> Features {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state) / 2.0_f64.powi(32)
    };
    let u = Array2::from_shape_simple_fn((n, d + 2), &mut uniform);
    let points = Array2::from_shape_fn((n, d), |(i, j)| {
        let mixed = u[[i, j]] + 0.5 * u[[i, j + 1]] - 0.75 * u[[i, j + 2]] + shift;
        if mixed > 0.0 { mixed } else { 0.1 * mixed }
    });
    Features::new(points).expect("finite points")
}

#[test]
fn every_measure_agrees() {
    let values: Value = serde_json::from_str(include_str!("reference/values.json")).unwrap();
    let mut checked = 0;
    for case in values["cases"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64();
        let size = |key: &str| number(key).unwrap() as usize;
        let shift = number("shift").unwrap();
        let x = features(size("real"), size("dimension"), 1, 0.0);
        let y = features(size("fake"), size("dimension"), 2, shift);
        let (fid, kid) = (
            frechet_distance(&x, &y).unwrap(),
            kernel_distance(&x, &y).unwrap().value,
        );
        let overlap = prdc(&x, &y).unwrap();
        for (key, found) in [
            ("fid_scipy", fid),
            ("fid_torchmetrics", fid),
            ("kid_torchmetrics", kid),
            ("kid_torch_fidelity", kid),
            ("precision", overlap.precision),
            ("recall", overlap.recall),
            ("density", overlap.density),
            ("coverage", overlap.coverage),
        ] {
            let Some(expected) = number(key) else { continue };
            let error = (found - expected).abs() / expected.abs().max(1e-12);
            println!("{key}: {found} against {expected}, relative difference {error:.1e}");
            assert!(error < 1e-9, "{key}: {found} against {expected}");
            checked += 1;
        }
    }
    assert_eq!(checked, 22);
}
