//! The maps against their definition, and the instructions of a CPU against the plain model.
#![allow(unsafe_code)]

use super::model::Model;
use super::product::*;
use super::*;
use crate::kernels::direct::rounded_copy;
use crate::kernels::gemm::Accum;
use crate::kernels::reference::{geometries, maps, values};
use proptest::prelude::*;

/// Numbers of many magnitudes, some below the smallest normal one.
#[cfg(target_arch = "x86_64")]
fn number(i: usize) -> f32 {
    let value = ((i * 7919 + 13) % 1009) as f32 / 500.0 - 1.0;
    match i % 97 {
        0 => value * 1e-39,
        // Rounded up to the smallest normal number, if it did not count as zero first.
        2 => f32::from_bits(0x007f_ffff),
        3 => f32::from_bits(0x0080_0000),
        1 => value * 1e-20,
        n if n % 7 == 0 => value * 1e4,
        _ => value,
    }
}

fn single(x: Vec<f64>) -> Vec<f32> {
    x.into_iter().map(|x| x as f32).collect()
}

/// The three maps.
fn compute<U: Unit, const PARTS: usize>(
    g: &Geometry,
    sizes: [usize; 3],
    [x, w, dy]: [&[f32]; 3],
) -> [Vec<f32>; 3] {
    let mut found = [dy, x, w].map(|like| vec![f32::NAN; like.len()]);
    let [y, dx, dw] = &mut found;
    forward::<U, PARTS>(g, sizes, x, w, y);
    input::<U, PARTS>(g, sizes, dy, w, dx);
    weight::<U, PARTS>(g, sizes, x, dy, dw);
    found
}

/// The largest errors of the three maps relative to the largest number, against the definition in `f64` for the operands,
/// rounded if there is one part.
fn errors<U: Unit, const PARTS: usize>(g: &Geometry, n: usize, [c_in, c_out]: [usize; 2]) -> [f64; 3] {
    let operands = [
        values(n * g.input[0] * g.input[1] * c_in, 1),
        values(g.taps() * c_in * c_out, 2),
        values(n * g.positions() * c_out, 3),
    ]
    .map(single);
    let exact = operands.each_ref().map(|x| -> Vec<f64> {
        let rounded = if PARTS == 2 {
            x.clone()
        } else {
            rounded_copy(x).to_vec()
        };
        rounded.into_iter().map(f64::from).collect()
    });
    let wanted = maps(g, n, [c_in, c_out], [&exact[0], &exact[1], &exact[2]]);
    let [x, w, dy] = &operands;
    let found = compute::<U, PARTS>(g, [n, c_in, c_out], [x, w, dy]);
    std::array::from_fn(|i| {
        let largest = wanted[i].iter().fold(1e-30_f64, |a, b| a.max(b.abs()));
        let pairs = found[i].iter().zip(&wanted[i]);
        pairs
            .map(|(&f, w)| (f64::from(f) - w).abs() / largest)
            .fold(0.0, f64::max)
    })
}

/// Numbers of images that use one and two tiles, and more than one block.
fn images() -> impl Strategy<Value = usize> {
    prop_oneof![1_usize..4, 15_usize..19, Just(33)]
}

fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1_usize..4, 15_usize..19, 31_usize..36]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_three_maps_equal_the_definition(
        g in geometries(1..9), n in images(), c_in in channels(), c_out in channels(),
    ) {
        let found = errors::<Model, 1>(&g, n, [c_in, c_out]);
        prop_assert!(found.iter().all(|&e| e < 5e-6), "{:?} for {:?}, one part", found, g);
        let found = errors::<Model, 2>(&g, n, [c_in, c_out]);
        prop_assert!(found.iter().all(|&e| e < 2e-5), "{:?} for {:?}, two parts", found, g);
    }
}

#[cfg(target_arch = "x86_64")]
mod with_amx {
    use super::*;

    /// Bit for bit: packing, the instructions, and how the work is cut.
    fn assert_same<const PARTS: usize>(g: &Geometry, sizes: [usize; 3], seed: usize) {
        let [n, c_in, c_out] = sizes;
        let make = |count: usize, seed: usize| (0..count).map(|i| number(i + seed)).collect::<Vec<_>>();
        let x = make(n * g.input[0] * g.input[1] * c_in, seed);
        let w = make(g.taps() * c_in * c_out, seed + 100);
        let dy = make(n * g.positions() * c_out, seed + 300);
        let found = compute::<Amx, PARTS>(g, sizes, [&x, &w, &dy]);
        let wanted = compute::<Model, PARTS>(g, sizes, [&x, &w, &dy]);
        for (map, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            for (i, (f, w)) in found.iter().zip(wanted).enumerate() {
                assert_eq!(
                    f.to_bits(),
                    w.to_bits(),
                    "map {map} of {g:?}, {sizes:?}, {PARTS} parts, {i}: {f} {w}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_instructions_equal_the_model(
            g in geometries(1..9), n in images(), c_in in channels(), c_out in channels(), seed in 0_usize..1000,
        ) {
            if Amx::is_available() {
                assert_same::<1>(&g, [n, c_in, c_out], seed);
                assert_same::<2>(&g, [n, c_in, c_out], seed);
            }
        }
    }

    #[test]
    fn a_number_that_is_not_finite_stays_in_its_image() {
        let g = Geometry::forward([1, 1], [1, 1], [1, 1], [1, 1], crate::Padding::Valid);
        for special in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let x = [special, 1.0, 2.0];
            let mut y = [0.0; 3];
            forward::<Model, 2>(&g, [3, 1, 1], &x, &[2.0], &mut y);
            assert!(!y[0].is_finite() && y[1..] == [2.0, 4.0]);
            if Amx::is_available() {
                forward::<Amx, 2>(&g, [3, 1, 1], &x, &[2.0], &mut y);
                assert!(!y[0].is_finite() && y[1..] == [2.0, 4.0]);
            }
        }
    }
}

/// Rectangles, ranges of the inner index and panels are cut by the number of threads; the bits are not.
#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let g = Geometry::forward([5, 4], [3, 2], [1, 2], [1, 1], crate::Padding::Same);
    let sizes = [70, 70, 40];
    let [x, w, dy] = [
        70 * g.input[0] * g.input[1] * 70,
        g.taps() * 70 * 40,
        70 * g.positions() * 40,
    ]
    .map(|len| single(values(len, len as u64)));
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| compute::<Model, 1>(&g, sizes, [&x, &w, &dy]))
    };
    let found = on(1);
    assert!(found == on(2) && found == on(5));
}

/// Kernels that meet nothing but padding, and sizes of zero.
#[test]
fn nothing_to_sum_gives_zeros() {
    let padded = Geometry::forward([1, 1], [1, 1], [2, 2], [1, 1], crate::Padding::Symmetric([1, 1]));
    let spread = Geometry::transposed([2, 2], [1, 1], [3, 3], [1, 1], crate::Padding::Same, [0, 0]);
    for (g, sizes) in [
        (padded, [4, 16, 3]),
        (spread, [4, 3, 16]),
        (padded, [0, 16, 3]),
        (padded, [4, 0, 3]),
    ] {
        let [n, c_in, c_out] = sizes;
        let ones = |len: usize| vec![1.0; len];
        let x = ones(n * g.input[0] * g.input[1] * c_in);
        let (w, dy) = (ones(g.taps() * c_in * c_out), ones(n * g.positions() * c_out));
        let wanted = maps(
            &g,
            n,
            [c_in, c_out],
            [&x, &w, &dy]
                .map(|x| vec![1.0; x.len()])
                .each_ref()
                .map(|x| &x[..]),
        );
        let found = compute::<Model, 2>(&g, sizes, [&x, &w, &dy]);
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!(
                found.iter().zip(wanted).all(|(&f, &w)| f64::from(f) == w),
                "{g:?} {sizes:?}"
            );
        }
    }
}

#[test]
fn matrices_equal_the_sums_in_every_layout() {
    use crate::kernels::strided::Layout::{Plain, Transposed};
    let [m, k, n] = [35, 70, 33];
    let [a, b] = [m * k, k * n].map(|len| single(values(len, len as u64)));
    for (of_a, of_b) in [(Plain, Plain), (Plain, Transposed), (Transposed, Plain)] {
        let mut c = vec![f32::NAN; m * n];
        assert!(matrices::<Model, 2>([m, k, n], (&a, of_a), (&b, of_b), &mut c));
        for (i, c) in c.iter().enumerate() {
            let (i, j) = (i / n, i % n);
            let products = (0..k).map(|l| {
                let x = a[if of_a == Plain { i * k + l } else { l * m + i }];
                let y = b[if of_b == Plain { l * n + j } else { j * k + l }];
                f64::from(x) * f64::from(y)
            });
            let (sum, size) = products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
            assert!((f64::from(*c) - sum).abs() < 3.0 / 65536.0 * size);
        }
    }
    assert!(!matrices::<Model, 2>(
        [m, k, n],
        (&a, Transposed),
        (&b, Transposed),
        &mut [0.0; 35 * 33]
    ));
}

#[test]
#[should_panic(expected = "matrix unit: 2 images of 1 and 1 channels")]
fn a_short_slice_is_refused() {
    forward::<Model, 1>(&PIXEL, [2, 1, 1], &[1.0], &[1.0], &mut [0.0; 2]);
}

#[test]
fn a_transposed_tile_turns_back() {
    struct Turn<'a>(&'a mut Tile);
    impl Pack for Turn<'_> {
        #[inline(always)]
        fn run<C: Convert>(self) {
            C::transpose(self.0);
        }
    }
    let mut tile = Tile([[0; SIDE]; SIDE]);
    for i in 0..SIDE * SIDE {
        tile.0[i / SIDE][i % SIDE] = i as u32;
    }
    let before = tile;
    Model::pack(Turn(&mut tile));
    for i in 0..SIDE * SIDE {
        assert_eq!(tile.0[i % SIDE][i / SIDE], i as u32);
    }
    #[cfg(target_arch = "x86_64")]
    if Amx::is_available() {
        Amx::pack(Turn(&mut tile));
        assert_eq!(tile.0, before.0);
    }
    let _ = before;
}

#[test]
#[should_panic(expected = "an operand ends early")]
fn an_operand_that_ends_early_is_refused() {
    let mut out = [0.0];
    let mut block = Block::<Model>::empty();
    block.shape(Shape::new(1, 1));
    let tiles = [Tile([[0; SIDE]; SIDE]); 2];
    let segments = Segments::new(vec![[1, 0]], 1);
    let place = Place { first: 0, step: 1 };
    // SAFETY: no other thread.
    unsafe {
        block.compute::<1>(
            &segments,
            [&tiles, &tiles],
            Output::new(&mut out),
            place,
            Accum::Replace,
        );
    }
}
