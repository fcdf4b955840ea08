//! Spectral normalization: a weight divided by its largest singular value.

use crate::layer::axes::{matrix, size};
use crate::mode::Mode;
use crate::parameter::{Buffer, Slot, SlotMut};
use engraft_tensor::shards::once_for_all_shards;
use engraft_tensor::{Precision, Real, Tensor, no_grad, with_precision};
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Steps of the power iteration before the first use. After that, each forward pass in training mode takes one.
const START: usize = 20;
/// A vector of at most this length counts as zero: it has no direction, and the weight is not divided by it.
const TINY: f64 = 1e-12;

/// The two singular vectors of a power iteration that follows the changing weight.
///
/// The weight counts as a matrix `W` with `outputs` rows. In training mode each forward pass takes one step,
/// `v ← Wᵀu / ‖Wᵀu‖`, `u ← Wv / ‖Wv‖`, and uses `W / |σ|` with `σ = uᵀWv`. Gradients flow through `W` and `σ`, with `u`
/// and `v` as constants. These are buffers: part of the state, constant in evaluation mode and while frozen.
///
/// After a step `σ` is not negative. It can be negative if the vectors are constant and belong to another weight. The sign
/// then only shows their direction. If `σ` is 0, because the weight is zero or unrelated to the vectors, the weight is
/// used unchanged.
///
/// *Source*: Miyato et al., "Spectral normalization for generative adversarial networks", 2018, algorithm 1.
#[derive(Clone, Debug)]
pub(super) struct Spectral<T: Real> {
    /// `[outputs]`
    u: Buffer<T>,
    /// The other axes of the weight, in their order and flattened.
    v: Buffer<T>,
    /// The output axis of the weight: the last one, or the one before it.
    axis: usize,
}

/// A vector scaled to length 1, or `None` if it is too short to have a direction.
fn direction<T: Real>(x: &Tensor<T>) -> Option<Tensor<T>> {
    let length = x.square().sum().item().sqrt();
    (length > T::from_f64(TINY)).then(|| x / length)
}

/// Start of the power iteration. Any `u` works that is not orthogonal to the singular vector.
fn start<T: Real>(outputs: usize) -> Tensor<T> {
    let start = Tensor::randn([outputs], &mut Pcg64::seed_from_u64(0x5bec));
    direction(&start).unwrap_or(start)
}

/// One step of the power iteration from `u`: the next `u` and `v`, or `None` if the weight maps it to zero.
fn step<T: Real>(matrix: &Tensor<T>, u: &Tensor<T>) -> Option<[Tensor<T>; 2]> {
    let v = direction(&matrix.matmul(&u.reshape([u.len(), 1])))?;
    let u = direction(&matrix.matmul_tn(&v))?;
    Some([u, v])
}

impl<T: Real> Spectral<T> {
    /// Starts a power iteration for `weight` with output axis `axis`.
    pub(super) fn new(weight: &Tensor<T>, axis: usize) -> Self {
        let [others, outputs] = size(weight, axis);
        let spectral = Self {
            u: Buffer::new(start(outputs)),
            v: Buffer::new(Tensor::zeros([others])),
            axis,
        };
        (0..START).for_each(|_| spectral.iterate(weight));
        spectral
    }

    /// The weight as `Wᵀ`, a matrix `[others, outputs]`.
    fn matrix(&self, weight: &Tensor<T>) -> Tensor<T> {
        matrix(weight, self.axis)
    }

    /// One step of the power iteration.
    ///
    /// Zero vectors would stay zero forever. So if the weight maps `u` to zero, the step restarts from the initial `u`. If
    /// that fails too, as for a zero weight, both vectors are unchanged.
    fn iterate(&self, weight: &Tensor<T>) {
        no_grad(|| {
            let matrix = self.matrix(weight);
            let [others, outputs] = [self.v.tensor().len(), self.u.tensor().len()];
            let next = step(&matrix, &self.u.tensor()).or_else(|| step(&matrix, &start(outputs)));
            if let Some([u, v]) = next {
                self.v.set(&v.reshape([others]));
                self.u.set(&u.reshape([outputs]));
            }
        });
    }

    /// `W / |σ|`, in training mode after one more step of the power iteration. Always in full precision: an error of `σ` would
    /// be one of every weight.
    pub(super) fn normalized(&self, weight: &Tensor<T>, mode: Mode) -> Tensor<T> {
        with_precision(Precision::F32, || self.divided(weight, mode))
    }

    fn divided(&self, weight: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let vectors = || [self.u.tensor(), self.v.tensor()];
        let [u, v] = match mode == Mode::Train && !self.u.is_frozen() && !self.v.is_frozen() {
            // One step for each batch, not for each of its shards.
            true => once_for_all_shards(|| {
                self.iterate(weight);
                vectors()
            }),
            false => vectors(),
        };
        let row = v.reshape([1, v.len()]).matmul(&self.matrix(weight));
        let sigma = row.matmul(&u.reshape([u.len(), 1])).reshape([]);
        if sigma.item().abs() <= T::from_f64(TINY) {
            // Without this, the first update of a zero weight would be divided by almost zero and explode.
            return weight.clone();
        }
        weight / sigma.abs()
    }

    pub(super) fn slots(&self) -> Vec<(&'static str, Slot<'_, T>)> {
        vec![("u", Slot::Buffer(&self.u)), ("v", Slot::Buffer(&self.v))]
    }

    pub(super) fn slots_mut(&mut self) -> Vec<(&'static str, SlotMut<'_, T>)> {
        vec![
            ("u", SlotMut::Buffer(&mut self.u)),
            ("v", SlotMut::Buffer(&mut self.v)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchNorm, Conv2d, ConvTranspose2d, Dense, Init, Module, Sequential, StateDict};
    use crate::{Optimizer, Sgd, gradients, parameters, spectral_normalize, visit_mut};
    use engraft_tensor::{grad, gradcheck, gradgradcheck};

    /// The largest singular value, by many steps from another start.
    fn largest(matrix: &Tensor<f64>) -> f64 {
        let mut u = Tensor::ones([matrix.shape()[1], 1]);
        for _ in 0..2000 {
            u = direction(&matrix.matmul_tn(&matrix.matmul(&u))).unwrap();
        }
        matrix.matmul(&u).square().sum().item().sqrt()
    }

    #[test]
    fn a_diagonal_weight_by_hand() {
        let weight = Tensor::<f64>::from_vec([3, 2], vec![0.0, -3.0, 2.0, 0.0, 0.0, 0.0]);
        let spectral = Spectral::new(&weight, 1);
        for mode in [Mode::Eval, Mode::Train] {
            let normalized = spectral.normalized(&weight, mode);
            let expected = [0.0, -1.0, 2.0 / 3.0, 0.0, 0.0, 0.0];
            for (a, b) in normalized.as_slice().iter().zip(expected) {
                assert!((a - b).abs() < 1e-6, "{normalized:?}");
            }
        }
        assert!((spectral.u.tensor().as_slice()[1].abs() - 1.0).abs() < 1e-6);
        assert!((spectral.v.tensor().as_slice()[0].abs() - 1.0).abs() < 1e-6);
    }

    /// Each kind of layer with its output axis.
    type Case = (Box<dyn Module<f64>>, Vec<usize>, usize);

    fn layers(scale: f64) -> Vec<Case> {
        let init = &mut Init::normal(3, 0.7);
        let dense = Dense::new(5, 4, init).scaled(scale);
        let conv = Conv2d::new(2, 3, 3, init).scaled(scale);
        let transposed = ConvTranspose2d::new(3, 2, 3, init).scaled(scale);
        vec![
            (Box::new(dense.spectral_norm()), vec![2, 5], 1),
            (Box::new(conv.spectral_norm()), vec![2, 4, 4, 2], 3),
            (Box::new(transposed.spectral_norm()), vec![2, 4, 4, 3], 2),
        ]
    }

    /// The largest singular value of the effective weight of a layer with output axis `axis`.
    fn used(layer: &mut dyn Module<f64>, axis: usize) -> f64 {
        let outputs = parameters(layer)[1].1.tensor().len();
        // Folding the identity into the layer makes the normalized weight its weight.
        let fusion = layer.fusion_mut().expect("a layer with a weight");
        fusion.fold_affine(&Tensor::ones([outputs]), &Tensor::zeros([outputs]));
        largest(&matrix(parameters(layer)[0].1.tensor(), axis).detach())
    }

    #[test]
    fn every_layer_gets_a_largest_singular_value_of_1() {
        for (mut layer, shape, axis) in layers(1.0) {
            let x = Tensor::ones(shape);
            for _ in 0..300 {
                layer.forward(&x, Mode::Train);
            }
            let before = layer.forward(&x, Mode::Eval);
            let value = used(layer.as_mut(), axis);
            assert_eq!(layer.forward(&x, Mode::Eval).as_slice(), before.as_slice());
            assert!((value - 1.0).abs() < 1e-6, "axis {axis}: {value}");
        }
    }

    #[test]
    fn a_layer_that_begins_as_zero_learns_and_is_normalized() {
        for (mut layer, shape, axis) in layers(0.0) {
            let x = Tensor::randn(shape, &mut Pcg64::seed_from_u64(5));
            let y = layer.forward(&x, Mode::Train);
            assert!(y.as_slice().iter().all(|v| *v == 0.0));
            let target = Tensor::randn(y.shape(), &mut Pcg64::seed_from_u64(6));
            let found = gradients(&(y - target).square().mean(), layer.as_ref());
            Sgd::new(1e-3).step(layer.as_mut(), &found);
            // Until the vectors match the weight, it is used unchanged instead of scaled by 1e12.
            let y = layer.forward(&x, Mode::Eval);
            assert!(y.as_slice().iter().all(|v| v.abs() < 0.1), "axis {axis}: {y:?}");
            for _ in 0..100 {
                assert!(layer.forward(&x, Mode::Train).is_finite());
            }
            let value = used(layer.as_mut(), axis);
            assert!((value - 1.0).abs() < 1e-6, "axis {axis}: {value}");
        }
    }

    #[test]
    fn vectors_that_know_nothing_of_the_weight_find_it() {
        let weight = Tensor::<f64>::from_vec([2, 2], vec![0.0, 0.0, 0.0, 3.0]);
        // Orthogonal vectors, and zero vectors as in states of earlier versions.
        for [u, v] in [[[1.0, 0.0]; 2], [[0.0; 2]; 2]] {
            let spectral = Spectral::new(&weight, 1);
            spectral.u.set(&Tensor::from_vec([2], u.to_vec()));
            spectral.v.set(&Tensor::from_vec([2], v.to_vec()));
            let rested = spectral.normalized(&weight, Mode::Eval);
            assert_eq!(rested.as_slice(), weight.as_slice());
            let normalized = spectral.normalized(&weight, Mode::Train);
            assert!((normalized.as_slice()[3] - 1.0).abs() < 1e-12, "{normalized:?}");
        }
    }

    #[test]
    fn the_negative_of_a_weight_is_divided_by_the_same_number() {
        let weight = Tensor::<f64>::randn([4, 3], &mut Pcg64::seed_from_u64(7));
        let mut spectral = Spectral::new(&weight, 1);
        let expected = spectral.normalized(&weight, Mode::Eval);
        let leaf = (-&weight).as_leaf();
        spectral.u.freeze();
        for mode in [Mode::Eval, Mode::Train] {
            let y = spectral.normalized(&leaf, mode);
            assert_eq!(y.as_slice(), (-&expected).as_slice());
            gradcheck(|w| spectral.normalized(&w[0], mode), std::slice::from_ref(&leaf)).unwrap();
        }
    }

    /// The bound in the docs of [`spectral_normalize`] is reached, except for the border.
    #[test]
    fn a_convolution_may_change_distances_by_the_root_of_its_taps() {
        let weight = Tensor::<f64>::ones([3, 3, 1, 1]);
        let mut conv = Conv2d::new(1, 1, 3, &mut Init::glorot(1)).spectral_norm();
        visit_mut(&mut conv, |path, slot| {
            if let (SlotMut::Parameter(p), "weight") = (slot, path) {
                p.set(&weight);
            }
        });
        for _ in 0..3 {
            conv.forward(&Tensor::ones([1, 3, 3, 1]), Mode::Train);
        }
        let y = conv.forward(&Tensor::ones([1, 40, 40, 1]), Mode::Eval);
        assert!(y.as_slice().iter().all(|v| (v - 3.0).abs() < 1e-12));
    }

    #[test]
    fn vectors_move_in_training_only_and_are_state() {
        for (layer, shape, _) in layers(1.0) {
            let names: Vec<String> = StateDict::of(layer.as_ref()).into_tensors().into_keys().collect();
            assert_eq!(names, ["bias", "u", "v", "weight"]);
            let x = Tensor::ones(shape);
            let u = || {
                StateDict::of(layer.as_ref())
                    .get("u")
                    .unwrap()
                    .as_slice()
                    .to_vec()
            };
            let before = u();
            layer.forward(&x, Mode::Eval);
            assert_eq!(u(), before);
            layer.forward(&x, Mode::Train);
            assert_ne!(u(), before);
        }
        for (mut layer, shape, _) in layers(1.0) {
            visit_mut(layer.as_mut(), |_, slot| {
                if let SlotMut::Buffer(buffer) = slot {
                    buffer.freeze();
                }
            });
            let before = StateDict::of(layer.as_ref()).into_tensors();
            layer.forward(&Tensor::ones(shape), Mode::Train);
            assert_eq!(
                before["u"].as_slice(),
                StateDict::of(layer.as_ref()).get("u").unwrap().as_slice()
            );
        }
    }

    /// In evaluation mode the vectors are constant, so the layer is a function of its weight. The vectors belong to another
    /// weight, because they are always one step behind.
    #[test]
    fn gradients_flow_through_the_weight_and_its_singular_value() {
        let rng = &mut Pcg64::seed_from_u64(2);
        for (shape, axis) in [(vec![3, 2], 1), (vec![2, 2, 3, 4], 3), (vec![2, 2, 3, 4], 2)] {
            let weight = Tensor::<f64>::randn(&shape, rng);
            let spectral = Spectral::new(&(&weight + Tensor::randn(&shape, rng) * 0.1), axis);
            let normalized = |w: &[Tensor<f64>]| spectral.normalized(&w[0], Mode::Eval);
            gradcheck(normalized, std::slice::from_ref(&weight)).unwrap();
            gradgradcheck(|w| normalized(w).square(), &[weight]).unwrap();
        }
    }

    #[test]
    fn a_chain_is_normalized_as_a_whole_and_folds() {
        let init = &mut Init::normal(6, 0.5);
        let block = Sequential::<f64>::new()
            .add("conv", Conv2d::new(1, 2, 3, init))
            .add("norm", BatchNorm::new(2));
        let mut net = Sequential::new()
            .add("block", block)
            .add("up", ConvTranspose2d::new(2, 1, 2, init));
        assert_eq!(spectral_normalize(&mut net), 2);
        assert_eq!(spectral_normalize(&mut net), 2);
        let x = Tensor::randn([3, 5, 5, 1], &mut Pcg64::seed_from_u64(4));
        net.forward(&x, Mode::Train);
        let expected = net.forward(&x, Mode::Eval);
        let folded = net.folded();
        let worst = (folded.forward(&x, Mode::Eval) - expected).abs();
        assert!(worst.as_slice().iter().all(|v| *v < 1e-12));
        assert!(StateDict::of(&folded).get("block.conv.u").is_none());
    }

    #[test]
    fn a_weight_of_zeros_stays_one() {
        let weight = Tensor::<f32>::zeros([3, 2]).as_leaf();
        let spectral = Spectral::new(&weight, 1);
        let u = spectral.u.tensor();
        let normalized = spectral.normalized(&weight, Mode::Train);
        assert_eq!(normalized.as_slice(), [0.0; 6]);
        assert_eq!(spectral.u.tensor().as_slice(), u.as_slice());
        let [gradient] = grad(&normalized.sum(), [&weight]);
        assert_eq!(gradient.as_slice(), [1.0; 6]);
    }
}
