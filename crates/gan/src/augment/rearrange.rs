//! Moves the pixels of images, differently for each image.

use engraft_tensor::{Op, Real, Tensor};
use std::sync::Arc;

/// No source pixel: the result is 0.
const NONE: u32 = u32::MAX;

/// A map that takes each pixel to at most one position. Its adjoint is the reverse map, so one operation serves
/// both directions.
struct Rearrange {
    /// For each pixel of the result, its source.
    sources: Arc<[u32]>,
    /// For each pixel of the input, its target.
    targets: Arc<[u32]>,
}

impl<T: Real> Op<T> for Rearrange {
    fn name(&self) -> &'static str {
        "rearrange"
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        gather(dy, &self.targets, &self.sources)
    }
}

fn gather<T: Real>(x: &Tensor<T>, sources: &Arc<[u32]>, targets: &Arc<[u32]>) -> Tensor<T> {
    let channels = x.shape()[3];
    let mut y = vec![T::zero(); x.len()];
    for (to, &from) in y.chunks_exact_mut(channels.max(1)).zip(sources.iter()) {
        if from != NONE {
            to.copy_from_slice(&x.as_slice()[from as usize * channels..][..channels]);
        }
    }
    let value = Tensor::from_vec(x.shape(), y).into_array();
    let op = Rearrange {
        sources: Arc::clone(sources),
        targets: Arc::clone(targets),
    };
    Tensor::from_op(value, op, &[x])
}

/// Images `[n, h, w, c]` whose pixel `[y, x]` comes from `source(image, [y, x])` of the same image; 0 if the source
/// is `None` or outside.
///
/// # Panics
/// If two pixels have the same source; the adjoint would have to add their gradients.
#[track_caller]
pub(super) fn rearrange<T: Real>(
    images: &Tensor<T>,
    source: impl Fn(usize, [usize; 2]) -> Option<[usize; 2]>,
) -> Tensor<T> {
    let [n, h, w, _] = *images.shape() else {
        panic!("rearrange: images must be [n, h, w, c], got {:?}", images.shape())
    };
    let pixels = n * h * w;
    assert!(
        pixels < NONE as usize,
        "rearrange: {:?} has too many pixels",
        images.shape()
    );
    let (mut sources, mut targets) = (vec![NONE; pixels], vec![NONE; pixels]);
    for (to, slot) in sources.iter_mut().enumerate() {
        let (image, y, x) = (to / (h * w), to / w % h, to % w);
        if let Some([y, x]) = source(image, [y, x])
            && y < h
            && x < w
        {
            let from = (image * h + y) * w + x;
            assert!(
                targets[from] == NONE,
                "rearrange: two pixels from the same source"
            );
            (*slot, targets[from]) = (from as u32, to as u32);
        }
    }
    gather(images, &sources.into(), &targets.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::{gradcheck, gradgradcheck};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn shift(x: &Tensor<f64>) -> Tensor<f64> {
        // The first image one to the right, the second turned upside down.
        rearrange(x, |image, [y, x]| match image {
            0 => Some([y, x.checked_sub(1)?]),
            _ => Some([1 - y, x]),
        })
    }

    #[test]
    fn pixels_move_with_their_channels() {
        let x = Tensor::from_vec([2, 2, 2, 2], (1..17).map(f64::from).collect());
        let expected = [0, 0, 1, 2, 0, 0, 5, 6, 13, 14, 15, 16, 9, 10, 11, 12].map(f64::from);
        assert_eq!(shift(&x).as_slice(), expected);
    }

    #[test]
    fn the_rule_is_the_map_back() {
        let x = Tensor::randn([2, 2, 3, 2], &mut Pcg64::seed_from_u64(1));
        gradcheck(|x| shift(&x[0]), std::slice::from_ref(&x)).unwrap();
        gradgradcheck(|x| shift(&x[0]).square(), &[x]).unwrap();
    }

    #[test]
    #[should_panic(expected = "rearrange")]
    fn a_map_that_copies_is_refused() {
        let _ = rearrange(&Tensor::<f32>::zeros([1, 1, 2, 1]), |_, _| Some([0, 0]));
    }
}
