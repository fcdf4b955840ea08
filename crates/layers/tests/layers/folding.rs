//! A folded network computes the same as the original in evaluation mode.

use crate::fusion::randomize;
use engraft_layers::{
    BatchNorm, Conv2d, ConvTranspose2d, Dense, Dropout, Flatten, Init, LeakyReLU, Mode, Module, Reshape,
    Sequential, SlotMut, StateDict, Tanh, parameters, visit_mut,
};
use engraft_tensor::{Real, Tensor};
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Norms after layers of each kind, with and without bias, after a chain, two in a row, and norms without a layer to
/// fold into.
fn network<T: Real>() -> Sequential<T> {
    let init = &mut Init::normal(3, 0.5);
    let inner = Sequential::new()
        .add("up", ConvTranspose2d::new(4, 5, 3, init).stride(2).same())
        .add("norm", BatchNorm::new(5));
    let block = Sequential::new()
        .add("conv", Conv2d::new(2, 4, 3, init).same().no_bias())
        .add("norm", BatchNorm::new(4).eps(0.1))
        .add("act", LeakyReLU::new(0.2));
    let mut network = Sequential::new()
        .add("lonely", BatchNorm::new(4))
        .add("stem", Dense::new(4, 18, init))
        .add("stem_norm", BatchNorm::new(18))
        .add("drop", Dropout::new(0.5, init))
        .add("grid", Reshape::new([3, 3, 2]))
        .add("kept", BatchNorm::new(2))
        .add("block", block)
        .add("inner", inner)
        .add("second", BatchNorm::new(5))
        .add("tanh", Tanh)
        .add("flat", Flatten)
        .add("head", Dense::new(180, 2, init).no_bias())
        .add("head_norm", BatchNorm::new(2));
    randomize(&mut network, 4);
    network
}

fn distance<T: Real>() -> f64 {
    let x = Tensor::<T>::randn([3, 4], &mut Pcg64::seed_from_u64(5));
    let expected = network::<T>().forward(&x, Mode::Eval);
    let found = network::<T>().folded().forward(&x, Mode::Eval);
    let largest = |t: &Tensor<T>| {
        t.as_slice()
            .iter()
            .fold(0.0, |m: f64, v| m.max(v.abs().into_f64()))
    };
    largest(&(found - &expected)) / largest(&expected)
}

#[test]
fn a_folded_network_computes_the_same() {
    let (single, double) = (distance::<f32>(), distance::<f64>());
    assert!(single < 1e-5 && double < 1e-12, "{single:e}, {double:e}");
}

#[test]
fn what_is_left_keeps_its_name_and_is_frozen() {
    let folded = network::<f32>().folded();
    let names: Vec<_> = parameters(&folded).into_iter().map(|(name, _)| name).collect();
    let expected = [
        "lonely.weight",
        "lonely.bias",
        "stem.weight",
        "stem.bias",
        "kept.weight",
        "kept.bias",
        "block.conv.weight",
        "block.conv.bias",
        "inner.up.weight",
        "inner.up.bias",
        "head.weight",
        "head.bias",
    ];
    assert_eq!(names, expected);
    assert!(parameters(&folded).iter().all(|(_, p)| !p.is_trainable()));
    // A remaining norm uses its running statistics in both modes.
    let x = Tensor::ones([2, 2]);
    let norm = || Sequential::<f32>::new().add("norm", BatchNorm::new(2)).folded();
    assert_eq!(
        norm().forward(&x, Mode::Train).as_slice(),
        norm().forward(&x, Mode::Eval).as_slice()
    );
}

#[test]
fn folding_twice_changes_nothing() {
    let once = network::<f32>().folded();
    let before = StateDict::of(&once);
    let twice = StateDict::of(&once.folded());
    assert_eq!(before.tensors().len(), twice.tensors().len());
    for (name, tensor) in before.tensors() {
        assert_eq!(tensor.as_slice(), twice.get(name).unwrap().as_slice(), "{name}");
    }
}

/// By hand: weight 2, bias 1, then `(y - 3) · 5 / 2 + 7`.
#[test]
fn one_number_by_hand() {
    let mut net = Sequential::<f64>::new()
        .add("dense", Dense::new(1, 1, &mut Init::glorot(1)))
        .add("norm", BatchNorm::new(1).eps(0.0));
    let mut values = [2.0, 1.0, 5.0, 7.0, 3.0, 4.0]
        .into_iter()
        .map(|v| Tensor::full([1], v));
    visit_mut(&mut net, |_, slot| match (slot, values.next().unwrap()) {
        (SlotMut::Parameter(p), v) => p.set(&v.reshape(p.tensor().shape())),
        (SlotMut::Buffer(b), v) => b.set(&v),
        _ => unreachable!("there are no random streams here"),
    });
    let folded = net.folded();
    let found: Vec<_> = parameters(&folded)
        .iter()
        .map(|(_, p)| p.tensor().item())
        .collect();
    assert_eq!(found, [5.0, 2.0]);
}
