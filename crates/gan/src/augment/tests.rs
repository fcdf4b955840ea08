//! Augmentations by hand, their derivatives, and their random draws.

use super::*;
use engraft_tensor::{grad, grad_with_graph, gradcheck, gradgradcheck};
use rand::SeedableRng;
use rand_pcg::Pcg64;

const ALL: [Augmentation; 7] = [
    Augmentation::Brightness,
    Augmentation::Saturation,
    Augmentation::Contrast,
    Augmentation::Translation,
    Augmentation::Cutout,
    Augmentation::Flip,
    Augmentation::QuarterTurn,
];

fn rng(seed: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed)
}

fn images(seed: u64) -> Tensor<f64> {
    Tensor::uniform([6, 8, 8, 3], -1.0, 1.0, &mut rng(seed))
}

/// Image `i` of a batch.
fn image(batch: &Tensor<f64>, i: usize) -> Vec<f64> {
    let size = batch.len() / batch.shape()[0];
    batch.as_slice()[i * size..][..size].to_vec()
}

#[test]
fn derivatives_match_differences_at_both_orders() {
    for kind in ALL {
        let changed = |x: &[Tensor<f64>]| kind.apply(&x[0], 0.7, &mut rng(3));
        let at = [Tensor::randn([3, 4, 4, 2], &mut rng(5))];
        gradcheck(changed, &at).unwrap_or_else(|e| panic!("{kind:?}: {e}"));
        gradgradcheck(|x| changed(x).tanh(), &at).unwrap_or_else(|e| panic!("{kind:?}: {e}"));
    }
}

/// As in R1: the gradient of a discriminator through the augmentation, differentiated in its weight.
#[test]
fn a_penalty_differentiates_through_every_kind() {
    let config = AugmentConfig {
        kinds: ALL.to_vec(),
        ..AugmentConfig::default()
    };
    let penalty = |w: &[Tensor<f64>]| {
        let x = Tensor::randn([3, 4, 4, 2], &mut rng(5)).as_leaf();
        let seen = config.apply(&x, 0.8, &mut rng(6)).reshape([3, 32]);
        let [slope] = grad_with_graph(&seen.matmul(&w[0]).tanh().sum(), [&x]);
        slope.square().sum()
    };
    gradcheck(penalty, &[Tensor::randn([32, 1], &mut rng(7)) * 0.3]).unwrap();
}

#[test]
fn probability_0_changes_nothing_and_draws_are_as_many() {
    for kind in ALL {
        let x = images(1);
        let (mut never, mut always) = (rng(2), rng(2));
        assert_eq!(
            kind.apply(&x, 0.0, &mut never).as_slice(),
            x.as_slice(),
            "{kind:?}"
        );
        let changed = kind.apply(&x, 1.0, &mut always);
        assert_ne!(changed.as_slice(), x.as_slice(), "{kind:?}");
        assert_eq!(never, always, "{kind:?}");
    }
}

#[test]
fn each_image_has_its_own_random_amount() {
    for kind in ALL {
        let x = images(1);
        let first = kind.apply(&x, 0.5, &mut rng(9));
        assert_eq!(first.as_slice(), kind.apply(&x, 0.5, &mut rng(9)).as_slice());
        // Over several samples, some images of a batch are changed and some are not.
        let (mut changed, mut kept) = (0, 0);
        for seed in 0..8 {
            let y = kind.apply(&x, 0.5, &mut rng(seed));
            for i in 0..6 {
                if image(&y, i) == image(&x, i) {
                    kept += 1;
                } else {
                    changed += 1;
                }
            }
        }
        assert!(changed >= 5 && kept >= 10, "{kind:?}: {changed} and {kept}");
    }
}

#[test]
fn colors_by_hand() {
    let x = images(2);
    let bright = Augmentation::Brightness.apply(&x, 1.0, &mut rng(1));
    let saturated = Augmentation::Saturation.apply(&x, 1.0, &mut rng(1));
    let contrasted = Augmentation::Contrast.apply(&x, 1.0, &mut rng(1));
    for i in 0..6 {
        let before = image(&x, i);
        let shift = image(&bright, i)[0] - before[0];
        assert!(shift.abs() <= 0.5 && shift != 0.0);
        for (a, b) in before.iter().zip(image(&bright, i)) {
            assert!((a + shift - b).abs() < 1e-12);
        }
        let after = image(&saturated, i);
        let mean = |pixel: &[f64]| pixel.iter().sum::<f64>() / 3.0;
        let factor = (after[0] - mean(&before[..3])) / (before[0] - mean(&before[..3]));
        assert!((0.0..2.0).contains(&factor));
        for (a, b) in before.chunks(3).zip(after.chunks(3)) {
            assert!((mean(a) - mean(b)).abs() < 1e-12);
            assert!(((a[1] - mean(a)) * factor - (b[1] - mean(b))).abs() < 1e-12);
        }
        let (after, mean) = (image(&contrasted, i), before.iter().sum::<f64>() / 192.0);
        let factor = (after[0] - mean) / (before[0] - mean);
        assert!((0.5..1.5).contains(&factor));
        for (a, b) in before.iter().zip(after) {
            assert!(((a - mean) * factor + mean - b).abs() < 1e-12);
        }
    }
}

#[test]
fn translations_reach_an_eighth_and_bring_zeros() {
    let ones = Tensor::<f64>::ones([400, 16, 8, 1]);
    let moved = Augmentation::Translation.apply(&ones, 1.0, &mut rng(4));
    let mut seen = [[0; 3]; 5];
    for i in 0..400 {
        let one = image(&moved, i);
        let lit = |y: usize, x: usize| one[y * 8 + x] == 1.0;
        let rows = (0..16).filter(|&y| lit(y, 4)).count();
        let columns = (0..8).filter(|&x| lit(8, x)).count();
        assert_eq!(one.iter().sum::<f64>(), (rows * columns) as f64);
        let vertical = if lit(0, 4) { 16 - rows } else { 2 + 16 - rows };
        let horizontal = if lit(8, 0) { 8 - columns } else { 1 + 8 - columns };
        seen[vertical][horizontal] += 1;
    }
    // Shifts of at most 2 of 16 rows and 1 of 8 columns, all equally likely.
    assert!(seen.iter().flatten().all(|n| (8..=60).contains(n)), "{seen:?}");
    let at = |v: &[f64]| Tensor::from_vec([1, 1, 8, 1], v.to_vec());
    let x = at(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let y = Augmentation::Translation.apply(&x, 1.0, &mut rng(0));
    let expected = [
        x.clone(),
        at(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
        at(&[2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 0.0]),
    ];
    assert!(expected.iter().any(|e| e.as_slice() == y.as_slice()), "{y:?}");
}

#[test]
fn cutout_takes_half_of_either_side_and_less_at_the_border() {
    let cut = Augmentation::Cutout.apply(&Tensor::<f64>::ones([300, 8, 6, 2]), 1.0, &mut rng(4));
    let mut whole = 0;
    for i in 0..300 {
        let one = image(&cut, i);
        let zeros = one.iter().filter(|&&v| v == 0.0).count();
        assert!((2 * 2 * 2..=4 * 3 * 2).contains(&zeros), "{zeros}");
        assert!(one.chunks(2).all(|pixel| pixel[0] == pixel[1]));
        whole += usize::from(zeros == 4 * 3 * 2);
    }
    assert!((90..250).contains(&whole), "{whole}");
}

#[test]
fn turns_and_flips_by_hand() {
    let x = Tensor::from_vec([1, 2, 2, 1], vec![1.0, 2.0, 3.0, 4.0]);
    let turns = [
        [1.0, 2.0, 3.0, 4.0],
        [2.0, 4.0, 1.0, 3.0],
        [4.0, 3.0, 2.0, 1.0],
        [3.0, 1.0, 4.0, 2.0],
    ];
    let mut found = Vec::new();
    for seed in 0..40 {
        let y = Augmentation::QuarterTurn.apply(&x, 1.0, &mut rng(seed));
        let which = turns.iter().position(|t| t == y.as_slice()).unwrap();
        found.push(which);
        let flipped = Augmentation::Flip.apply(&x, 1.0, &mut rng(seed));
        let mirrored = flipped.as_slice() == [2.0, 1.0, 4.0, 3.0];
        assert!(mirrored || flipped.as_slice() == x.as_slice());
    }
    assert!((0..4).all(|turn| found.contains(&turn)), "{found:?}");
}

#[test]
fn a_gradient_reaches_only_pixels_that_remain() {
    let x = Tensor::<f64>::ones([2, 4, 4, 1]).as_leaf();
    let cut = Augmentation::Cutout.apply(&x, 1.0, &mut rng(1));
    let [dx] = grad(&cut.sum(), [&x]);
    assert_eq!(dx.as_slice(), cut.as_slice());
}

#[test]
fn invalid_settings_are_named() {
    let mut config = AugmentConfig {
        kinds: vec![Augmentation::Flip, Augmentation::Flip],
        probability: Some(1.5),
        adaptive: Some(AdaptiveConfig {
            target: f64::NAN,
            images: 0,
            every: 4,
        }),
    };
    let mut problems = Vec::new();
    config.problems(&mut problems);
    let text = problems.join("\n");
    for part in [
        "lists flip",
        "got 1.5",
        "augment.probability and augment.adaptive",
        "augment.adaptive.target",
        "augment.adaptive.images",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    config.kinds.clear();
    config.problems(&mut problems);
    assert!(
        problems.last().unwrap().contains("augment.kinds")
            || problems.iter().any(|p| p.contains("augment.kinds is empty")),
        "{problems:?}"
    );
    config.kinds = vec![Augmentation::Saturation, Augmentation::QuarterTurn];
    assert_eq!(config.problems_with_images([8, 6, 1]).len(), 2);
    assert!(config.problems_with_images([8, 8, 3]).is_empty());
}
