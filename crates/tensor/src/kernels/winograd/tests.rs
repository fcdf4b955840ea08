//! Winograd's algorithms against the definition of a convolution.

use super::*;
use crate::geometry::Padding;
use crate::kernels::reference::{maps, values};
use proptest::prelude::*;

fn geometry() -> impl Strategy<Value = Geometry> {
    let kernels = prop_oneof![
        (2_usize..6).prop_map(|k| (k, 1_usize)),
        (3_usize..7).prop_map(|k| (k, 2)),
    ];
    (1_usize..17, 1_usize..17, kernels, 0_usize..4, any::<[bool; 2]>()).prop_filter_map(
        "the kernel must fit",
        |(h, w, (kernel, stride), pad, [same, uneven])| {
            let padding = match (same, uneven) {
                (true, _) => Padding::Same,
                (_, false) => Padding::Symmetric([pad, pad]),
                (_, true) => Padding::Explicit([pad, 0, 1, pad]),
            };
            let fits = same || kernel <= h.min(w);
            fits.then(|| Geometry::forward([h, w], [kernel, kernel], [stride, stride], [1, 1], padding))
        },
    )
}

/// Relative errors (Euclidean length) of the three maps.
fn errors<T: Real>(g: &Geometry, n: usize, [c_in, c_out]: [usize; 2]) -> [f64; 3] {
    let winograd = Winograd::new(g, c_in, c_out).expect("the geometry fits");
    let round = |v: Vec<f64>| -> (Vec<T>, Vec<f64>) {
        let rounded: Vec<T> = v.into_iter().map(T::from_f64).collect();
        let exact = rounded.iter().map(|v| v.into_f64()).collect();
        (rounded, exact)
    };
    let (x, x64) = round(values(n * g.input[0] * g.input[1] * c_in, 1));
    let (w, w64) = round(values(g.taps() * c_in * c_out, 2));
    let (dy, dy64) = round(values(n * g.positions() * c_out, 3));
    let wanted = maps(g, n, [c_in, c_out], [&x64, &w64, &dy64]);
    let mut found = [&dy, &x, &w].map(|like| vec![T::nan(); like.len()]);
    let [y, dx, dw] = &mut found;
    winograd.forward(&x, &w, y);
    winograd.input(&dy, &w, dx);
    winograd.weight(&x, &dy, dw);
    std::array::from_fn(|i| {
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
        let difference = norm(&mut found[i].iter().zip(&wanted[i]).map(|(f, w)| f.into_f64() - w));
        difference / norm(&mut wanted[i].iter().copied()).max(1e-300)
    })
}

proptest! {
    #[test]
    fn every_shape_equals_the_definition(
        g in geometry(), n in 1_usize..4, c_in in prop_oneof![1_usize..5, 15_usize..20], c_out in 1_usize..20,
    ) {
        let found = errors::<f64>(&g, n, [c_in, c_out]);
        prop_assert!(found.iter().all(|&e| e < 1e-12), "{found:?} for {g:?}");
        let found = errors::<f32>(&g, n, [c_in, c_out]);
        prop_assert!(found.iter().all(|&e| e < 2e-5), "{found:?} for {g:?}");
    }
}

#[test]
fn the_documented_error_holds_at_the_layers_of_the_dcgan() {
    let same =
        |size, stride| Geometry::forward([size, size], [5, 5], [stride, stride], [1, 1], Padding::Same);
    for (g, channels) in [(same(7, 1), [128, 256]), (same(14, 2), [64, 128])] {
        let found = errors::<f32>(&g, 2, channels);
        println!("{channels:?}: {found:?}");
        assert!(found.iter().all(|&e| e < 2e-5), "{found:?} for {g:?}");
    }
}

#[test]
fn only_what_fits_is_taken() {
    let new = |kernel, stride, dilation, channels: usize| {
        let g = Geometry::forward([12, 12], kernel, stride, dilation, Padding::Same);
        Winograd::new(&g, channels, channels).is_some()
    };
    assert!(new([5, 5], [2, 2], [1, 1], 16) && new([2, 2], [1, 1], [1, 1], 16));
    assert!(!new([5, 3], [1, 1], [1, 1], 16) && !new([3, 3], [1, 2], [1, 1], 16));
    assert!(!new([3, 3], [1, 1], [2, 2], 16) && !new([6, 6], [1, 1], [1, 1], 16));
    assert!(!new([1, 1], [1, 1], [1, 1], 16) && !new([2, 2], [2, 2], [1, 1], 16));
    assert!(!new([3, 3], [1, 1], [1, 1], 0) && !new([3, 3], [3, 3], [1, 1], 16));
}
