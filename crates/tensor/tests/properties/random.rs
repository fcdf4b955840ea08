//! Numbers that are drawn from a seed are those of earlier versions: runs and published results depend on them.

use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;

fn bits(drawn: &Tensor<f32>) -> Vec<u32> {
    drawn.as_slice().iter().map(|x| x.to_bits()).collect()
}

/// Computed from the definitions of the generator and of the ziggurat, without the libraries.
#[test]
fn normal_numbers_of_a_seed_never_change() {
    let drawn = Tensor::<f32>::randn([10_000], &mut Pcg64::seed_from_u64(1));
    let found = bits(&drawn);
    let expected: [u32; 4] = [0x3faa_c07e, 0xbfe2_2bf7, 0xbf82_885f, 0x3f69_b788];
    assert_eq!(found[..4], expected, "{:?}", &drawn.as_slice()[..4]);
    // Before the last one, 137 of the numbers took more than one step of the generator, one of them from the tail.
    let last = drawn.as_slice()[9999];
    assert_eq!(found[9999], 0xbc1b_1365, "{last}");
    // The noise of a batch of `f64` is the same, before it is rounded.
    let double = Tensor::<f64>::randn([10_000], &mut Pcg64::seed_from_u64(1));
    assert_eq!(bits(&double.cast()), found);
    assert_eq!(
        double.as_slice()[0].to_bits(),
        0x3ff5_580f_c011_a97a,
        "{}",
        double.as_slice()[0]
    );
}

#[test]
fn uniform_numbers_of_a_seed_never_change() {
    let drawn = Tensor::<f32>::uniform([4], -1.0, 2.0, &mut Pcg64::seed_from_u64(1));
    let expected: [u32; 4] = [0x3fc2_82f1, 0xbf72_b6f1, 0xbf28_8603, 0x3ff9_7a65];
    assert_eq!(bits(&drawn), expected, "{:?}", drawn.as_slice());
    let double = Tensor::<f64>::uniform([4], -1.0, 2.0, &mut Pcg64::seed_from_u64(1));
    assert_eq!(bits(&double.cast()), expected, "{:?}", double.as_slice());
}
