//! Packing (PacGAN): the discriminator evaluates several images together.

use engraft_tensor::{Real, Tensor};

/// Concatenates every `m` consecutive images along their channels: `[n, h, w, c] -> [n / m, h, w, m · c]`.
///
/// A discriminator of packed images can detect lack of diversity, which discourages mode collapse. Its first layer
/// needs `m · c` input channels. `m = 1` returns the images unchanged.
///
/// *Source*: Lin et al., "PacGAN: the power of two samples in generative adversarial networks", 2018.
///
/// ```
/// use engraft_gan::pack;
/// use engraft_tensor::Tensor;
/// let images = Tensor::from_vec([4, 1, 2, 1], vec![1., 2., 3., 4., 5., 6., 7., 8.]);
/// let packs = pack(&images, 2);
/// assert_eq!(packs.shape(), [2, 1, 2, 2]);
/// assert_eq!(packs.as_slice(), [1., 3., 2., 4., 5., 7., 6., 8.]);
/// ```
///
/// # Panics
/// If `m` does not divide `n`, or the images are not `[n, h, w, c]`.
#[must_use]
#[track_caller]
pub fn pack<T: Real>(images: &Tensor<T>, m: usize) -> Tensor<T> {
    if m == 1 {
        return images.clone();
    }
    let [n, h, w, c] = *images.shape() else {
        panic!("pack: images must be [n, h, w, c], got {:?}", images.shape())
    };
    assert!(
        m > 0 && n.is_multiple_of(m),
        "pack: {m} images in a pack do not divide the batch {:?}",
        images.shape()
    );
    images
        .reshape([n / m, m, h, w, c])
        .permute(&[0, 2, 3, 1, 4])
        .reshape([n / m, h, w, m * c])
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::{gradcheck, gradgradcheck};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn each_image_is_a_group_of_channels() {
        let x = Tensor::<f64>::randn([6, 2, 3, 2], &mut Pcg64::seed_from_u64(1));
        let packs = pack(&x, 3);
        for image in 0..6 {
            let expected = x.narrow(0, image, 1);
            let found = packs.narrow(0, image / 3, 1).narrow(3, image % 3 * 2, 2);
            assert_eq!(found.as_slice(), expected.as_slice(), "{image}");
        }
        gradcheck(|x| pack(&x[0], 3), std::slice::from_ref(&x)).unwrap();
        gradgradcheck(|x| pack(&x[0], 2).tanh(), &[x]).unwrap();
    }

    #[test]
    #[should_panic(expected = "[6, 2, 3, 1]")]
    fn packs_must_be_full() {
        let _ = pack(&Tensor::<f32>::zeros([6, 2, 3, 1]), 4);
    }
}
