//! The instructions against their definition, and both against sums in `f64`.

use super::*;
use proptest::prelude::*;

/// Numbers of many magnitudes, some below the smallest normal one.
fn number(i: usize) -> f32 {
    let value = ((i * 7919 + 13) % 1009) as f32 / 500.0 - 1.0;
    match i % 97 {
        0 => value * 1e-39,
        n if n % 7 == 0 => value * 1e4,
        _ => value,
    }
}

proptest! {
    /// The instruction and its definition give the same bits, and both are close to the sum in `f64`.
    #[test]
    fn the_instruction_equals_its_definition(
        rows in 1_usize..13, columns in 1_usize..33, depth in 0_usize..9, segments in 0_usize..4,
        contiguous in any::<bool>(), add in any::<bool>(), seed in 0_usize..1000,
    ) {
        let rows = if contiguous { rows.min(Limits::WIDE.neighbors) } else { rows };
        let accum = if add { Accum::Add } else { Accum::Replace };
        let offsets: Vec<[usize; 2]> = (0..segments).map(|s| [s * 3, s * depth * PANEL]).collect();
        let step = if contiguous { rows } else { 1 };
        let starts: Vec<usize> = (0..rows).map(|i| if contiguous { i } else { i * (depth + 9) }).collect();
        let make = |count: usize, seed: usize| -> Vec<Pair> {
            (0..count).map(|i| Pair::pack(number(2 * i + seed), number(2 * i + 1 + seed))).collect()
        };
        let left = make(rows * (depth + 9) + segments * 3 + depth * step, seed);
        let panel = (segments * depth + 1) * PANEL;
        let right = make(2 * panel, seed + 77);
        let row = columns + 3;
        let old: Vec<f32> = (0..rows * row).map(|i| number(i + seed)).collect();
        let targets: Vec<usize> = (0..rows).map(|i| i * row).collect();
        let compute = |definition: bool| {
            let mut out = old.clone();
            let inner = Inner::new(&offsets, depth);
            let left = Left {
                data: &left,
                rows: if contiguous { Rows::Contiguous(0, rows) } else { Rows::At(&starts) },
                step,
            };
            let right = Right { data: &right, start: 0, panel };
            let target = Target { data: &mut out, rows: &targets, columns };
            if definition {
                // SAFETY: `tile` has checked the same operands in the call before.
                unsafe { run::<Pair, [f32; PANEL]>(inner, left, right, target, accum) };
            } else {
                tile(inner, left, right, target, accum);
            }
            out
        };
        let (found, wanted) = (compute(false), compute(true));
        for (f, w) in found.iter().zip(&wanted) {
            prop_assert_eq!(f.to_bits(), w.to_bits(), "{} {}", f, w);
        }
        let half = |Pair(pair): Pair, upper: bool| {
            f64::from(f32::from_bits(if upper { pair & 0xffff_0000 } else { pair << 16 }))
        };
        for i in 0..rows {
            for j in 0..columns {
                let (mut sum, mut size) = (if add { f64::from(old[i * row + j]) } else { 0.0 }, 1e-30);
                for &[l, r] in &offsets {
                    for k in 0..depth {
                        let a = left[starts[i] + l + k * step];
                        let b = right[j / PANEL * panel + r + k * PANEL + j % PANEL];
                        for upper in [false, true] {
                            sum += half(a, upper) * half(b, upper);
                            size += (half(a, upper) * half(b, upper)).abs();
                        }
                    }
                }
                size += f64::from(old[i * row + j]).abs();
                prop_assert!((f64::from(found[i * row + j]) - sum).abs() <= 1e-5 * size);
            }
        }
    }
}

#[test]
#[should_panic(expected = "an operand ends early")]
fn an_operand_that_ends_early_is_refused() {
    let mut out = [0.0; 16];
    tile(
        Inner::new(&[[0, 0]], 3),
        Left {
            data: &[0.0_f32; 2],
            rows: Rows::At(&[0]),
            step: 1,
        },
        Right {
            data: &[0.0; 48],
            start: 0,
            panel: 48,
        },
        Target {
            data: &mut out,
            rows: &[0],
            columns: 16,
        },
        Accum::Replace,
    );
}
