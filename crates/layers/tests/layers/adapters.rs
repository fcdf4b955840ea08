//! Adapters: by hand, at the start, during training, and folded.

use crate::configurations::{ADAPTERS, Configuration, Kind};
use crate::fusion::with_leaky_relu;
use crate::gradients::Function;
use engraft_layers::{
    Adam, Adapter, BatchNorm, Conv2d, ConvTranspose2d, Dense, Init, LeakyReLU, Mode, Module, Optimizer,
    Residual, Sequential, Slot, SlotMut, StateDict, Tanh, adapt, gradients, merge_adapters, parameters,
    visit, visit_mut,
};
use engraft_tensor::{Padding, Real, Tensor};
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Each kind of layer with an input.
fn layers<T: Real>() -> Vec<(Box<dyn Module<T>>, Tensor<T>)> {
    let init = &mut Init::normal(3, 0.5);
    let x = |shape: &[usize]| Tensor::randn(shape, &mut Pcg64::seed_from_u64(4));
    vec![
        (Box::new(Dense::new(5, 4, init)), x(&[3, 5])),
        (Box::new(Dense::new(2, 6, init).no_bias()), x(&[3, 2])),
        (Box::new(Conv2d::new(2, 3, 3, init).same()), x(&[2, 4, 4, 2])),
        (
            Box::new(ConvTranspose2d::new(4, 3, 2, init).stride(2).no_bias()),
            x(&[2, 3, 3, 4]),
        ),
    ]
}

fn set<T: Real>(module: &mut dyn Module<T>, name: &str, value: &Tensor<T>) {
    let mut found = false;
    visit_mut(module, |path, slot| {
        if path == name {
            found = true;
            match slot {
                SlotMut::Parameter(p) => p.set(value),
                SlotMut::Buffer(b) => b.set(value),
                SlotMut::Rng(_) => unreachable!("{name} is a random stream"),
            }
        }
    });
    assert!(found, "{name}");
}

/// Moves every parameter of the adapter away from its initial value.
fn move_away<T: Real>(module: &mut dyn Module<T>, adapter: Adapter) {
    let (learned, rng) = (adapter.names(), &mut Pcg64::seed_from_u64(9));
    visit_mut(module, |path, slot| match slot {
        SlotMut::Parameter(p) if learned.matches(path) => {
            p.set(&(p.tensor() + Tensor::randn(p.tensor().shape(), rng) * T::from_f64(0.3)));
        }
        _ => (),
    });
}

fn identity(n: usize) -> Tensor<f64> {
    Tensor::from_vec(
        [n, n],
        (0..n * n)
            .map(|i| f64::from(u8::from(i % (n + 1) == 0)))
            .collect(),
    )
}

/// An adapted dense layer with weight `[inputs, outputs]`. The output for the identity is the effective weight.
fn adapted(shape: [usize; 2], weight: &[f64], adapter: Adapter) -> Dense<f64> {
    let init = &mut Init::normal(1, 0.1);
    let mut layer = Dense::new(shape[0], shape[1], init).no_bias();
    set(&mut layer, "weight", &Tensor::from_vec(shape, weight.to_vec()));
    assert_eq!(adapt(&mut layer, adapter, init), 1);
    layer
}

fn close(found: &Tensor<f64>, expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.as_slice().iter().zip(expected) {
        assert!((a - b).abs() < 1e-12, "{found:?} is not {expected:?}");
    }
}

#[test]
fn factors_by_hand() {
    let vector = |values: [f64; 2]| Tensor::from_vec([2, 1], values.to_vec());
    for (adapter, expected) in [
        // A Bᵀ = [2, 3]ᵀ · [5, -1] = [10, -2; 15, -3].
        (Adapter::Modulation { rank: 1 }, [11.0, -2.0, 48.0, -8.0]),
        (Adapter::LowRank { rank: 1 }, [11.0, 0.0, 18.0, 1.0]),
    ] {
        let mut layer = adapted([2, 2], &[1.0, 2.0, 3.0, 4.0], adapter);
        set(&mut layer, "adapter.a", &vector([2.0, 3.0]));
        set(&mut layer, "adapter.b", &vector([5.0, -1.0]));
        close(&layer.forward(&identity(2), Mode::Eval), &expected);
    }
}

#[test]
fn scales_by_hand() {
    let mut layer = adapted([2, 2], &[1.0, 2.0, 3.0, 4.0], Adapter::OutputScale);
    set(
        &mut layer,
        "adapter.scale",
        &Tensor::from_vec([2], vec![10.0, -1.0]),
    );
    close(
        &layer.forward(&identity(2), Mode::Eval),
        &[10.0, -2.0, 30.0, -4.0],
    );
}

/// Singular values 5 and 2, the larger on the second output, with more inputs than outputs and vice versa.
#[test]
fn singular_values_by_hand() {
    let factors = Tensor::from_vec([2], vec![10.0, 3.0]);
    for (shape, weight, expected) in [
        (
            [3, 2],
            [0.0, 5.0, 2.0, 0.0, 0.0, 0.0],
            [0.0, 50.0, 6.0, 0.0, 0.0, 0.0],
        ),
        (
            [2, 3],
            [0.0, 5.0, 0.0, 2.0, 0.0, 0.0],
            [0.0, 50.0, 0.0, 6.0, 0.0, 0.0],
        ),
    ] {
        let mut layer = adapted(shape, &weight, Adapter::SingularValues);
        set(&mut layer, "adapter.scale", &factors);
        close(&layer.forward(&identity(shape[0]), Mode::Eval), &expected);
    }
}

/// `W'ᵀW'` has the eigenvectors of `WᵀW` and `m²` times its eigenvalues, for every kind of layer.
#[test]
fn only_singular_values_move() {
    let mut layer = adapted(
        [4, 3],
        &[2., 1., 0., 0., 3., 1., 1., 1., 1., 0., -2., 1.],
        Adapter::SingularValues,
    );
    let before = layer.forward(&identity(4), Mode::Eval).detach();
    set(
        &mut layer,
        "adapter.scale",
        &Tensor::from_vec([3], vec![2.0, 0.5, -3.0]),
    );
    let after = layer.forward(&identity(4), Mode::Eval).detach();
    let v = StateDict::of(&layer).get("adapter.v").unwrap().clone();
    let [before, after] = [before, after].map(|w| v.matmul_tn(&w.matmul_tn(&w)).matmul(&v));
    for (i, (b, a)) in before.as_slice().iter().zip(after.as_slice()).enumerate() {
        let factor = if i % 4 == 0 { [4.0, 0.25, 9.0][i / 4] } else { 1.0 };
        assert!((b * factor - a).abs() < 1e-10, "{i}: {b} {a}");
        assert!(i % 4 == 0 || b.abs() < 1e-10, "{i}: {b}");
    }
}

/// The same weight in both directions of convolution. With a kernel of 1 they are dense layers.
#[test]
fn every_layer_counts_its_outputs_on_its_own_axis() {
    for adapter in ADAPTERS {
        let init = || Init::normal(2, 0.5);
        let mut dense = Dense::<f64>::new(4, 3, &mut init());
        let mut conv = Conv2d::new(4, 3, 1, &mut init());
        let mut transposed = ConvTranspose2d::new(4, 3, 1, &mut init());
        let weight = parameters(&dense)[0].1.tensor().detach();
        set(
            &mut transposed,
            "weight",
            &weight.transpose().reshape([1, 1, 3, 4]),
        );
        let modules: [&mut dyn Module<f64>; 3] = [&mut dense, &mut conv, &mut transposed];
        let x = Tensor::randn([6, 4], &mut Pcg64::seed_from_u64(1));
        let mut results = Vec::new();
        for (i, module) in modules.into_iter().enumerate() {
            assert_eq!(adapt(module, adapter, &mut init()), 1);
            move_away(module, adapter);
            let shape: &[usize] = if i == 0 { &[6, 4] } else { &[6, 1, 1, 4] };
            results.push(module.forward(&x.reshape(shape), Mode::Eval).reshape([6, 3]));
        }
        close(&results[1], results[0].as_slice());
        close(&results[2], results[0].as_slice());
    }
}

fn at_first<T: Real>() {
    for adapter in ADAPTERS {
        for (mut layer, x) in layers::<T>() {
            let both = |layer: &dyn Module<T>| {
                [
                    layer.forward(&x, Mode::Train),
                    layer.forward(&x, Mode::Eval),
                    with_leaky_relu(layer, &x, Mode::Train, 0.2),
                ]
            };
            let before = both(layer.as_ref());
            let init = &mut Init::he(1);
            assert_eq!(adapt(layer.as_mut(), adapter, init), 1);
            assert_eq!(
                adapt(layer.as_mut(), adapter, init),
                1,
                "a second time changes nothing"
            );
            for (a, b) in before.iter().zip(both(layer.as_ref())) {
                assert_eq!(a.as_slice(), b.as_slice(), "{}", layer.describe());
            }
        }
    }
}

#[test]
fn at_first_nothing_changes_to_the_last_bit() {
    at_first::<f32>();
    at_first::<f64>();
}

#[test]
fn names_and_shapes() {
    let shapes = |adapter| {
        let mut conv = Conv2d::<f32>::new(2, 3, 5, &mut Init::he(1)).no_bias();
        adapt(&mut conv, adapter, &mut Init::he(2));
        let mut found = Vec::new();
        visit(&conv, |path, slot| {
            let (kind, shape) = match slot {
                Slot::Parameter(p) => ("parameter", p.tensor().shape().to_vec()),
                Slot::Buffer(b) => ("buffer", b.tensor().shape().to_vec()),
                Slot::Rng(_) => ("generator", vec![]),
            };
            found.push(format!("{kind} {path} {shape:?}"));
        });
        assert_eq!(found.remove(0), "parameter weight [5, 5, 2, 3]");
        let names: Vec<String> = parameters(&conv).into_iter().map(|(name, _)| name).collect();
        assert!(adapter.names().unmatched(&names).is_empty());
        (conv.describe(), found)
    };
    let factors = ["parameter adapter.a [50, 4]", "parameter adapter.b [3, 4]"];
    for (adapter, says, expected) in [
        (
            Adapter::Modulation { rank: 4 },
            "modulation of rank 4",
            &factors[..],
        ),
        (Adapter::LowRank { rank: 4 }, "low rank 4", &factors[..]),
        (
            Adapter::SingularValues,
            "singular values",
            &["parameter adapter.scale [3]", "buffer adapter.v [3, 3]"][..],
        ),
        (
            Adapter::OutputScale,
            "output scale",
            &["parameter adapter.scale [3]"][..],
        ),
    ] {
        let (text, found) = shapes(adapter);
        assert_eq!(found, expected);
        assert_eq!(text, format!("Conv2d 5x5 2 -> 3, no bias, adapter: {says}"));
    }
}

/// With respect to the input, the weight, the bias and every number of the adapter.
#[test]
fn gradients_are_right_at_both_orders() {
    let (kernel, stride, dilation, padding) = ([2, 3], 2, 1, Padding::Same);
    for adapter in ADAPTERS {
        for (kind, input) in [
            (Kind::Dense { outputs: 3 }, vec![3, 4]),
            (Kind::Dense { outputs: 5 }, vec![3, 2]),
            (
                Kind::Conv {
                    outputs: 3,
                    kernel,
                    stride,
                    dilation,
                    padding,
                },
                vec![2, 4, 4, 2],
            ),
            (
                Kind::Transposed {
                    outputs: 3,
                    kernel,
                    stride,
                    dilation,
                    padding,
                    extra: [0, 0],
                },
                vec![2, 3, 3, 2],
            ),
        ] {
            let configuration = Configuration {
                kind,
                input,
                bias: true,
                mode: Mode::Train,
                seed: 7,
                adapter: Some(adapter),
            };
            let (mut function, point) = Function::new(&configuration);
            for order in [1, 2] {
                function.check(&point, order).unwrap();
            }
        }
    }
}

/// Layers of each kind, in a chain and in a skip path, with and without a following norm, fused and not. The last one
/// has spectral normalization.
fn network(adapter: Option<Adapter>) -> Sequential<f64> {
    let init = &mut Init::normal(5, 0.5);
    let branch = Sequential::new()
        .add("conv", Conv2d::new(2, 2, 3, init).same())
        .add("act", LeakyReLU::new(0.2));
    let skip = Sequential::new().add("conv", Conv2d::new(2, 2, 1, init).no_bias());
    let mut network = Sequential::new()
        .add("block", Residual::new(branch).skip(skip))
        .add("up", ConvTranspose2d::new(2, 3, 2, init).stride(2).no_bias())
        .add("norm", BatchNorm::new(3))
        .add("act", Tanh)
        .add("last", Conv2d::new(3, 1, 3, init).spectral_norm());
    if let Some(adapter) = adapter {
        assert_eq!(adapt(&mut network, adapter, init), 4);
        move_away(&mut network, adapter);
    }
    network
}

#[test]
fn folding_puts_the_adapter_into_the_weight() {
    let x = Tensor::randn([2, 3, 3, 2], &mut Pcg64::seed_from_u64(8));
    let plain = network(None).folded();
    let plain_names: Vec<String> = StateDict::of(&plain).into_tensors().into_keys().collect();
    for adapter in ADAPTERS {
        let whole = network(Some(adapter));
        whole.forward(&x, Mode::Train);
        let expected = whole.forward(&x, Mode::Eval);
        assert_ne!(
            expected.as_slice(),
            network(None).forward(&x, Mode::Eval).as_slice()
        );
        let folded = whole.folded();
        close(&folded.forward(&x, Mode::Eval), expected.as_slice());
        let names: Vec<String> = StateDict::of(&folded).into_tensors().into_keys().collect();
        assert_eq!(names, plain_names);
    }
}

#[test]
fn the_adapted_weight_is_normalized() {
    let init = &mut Init::normal(2, 0.5);
    let mut layer = Dense::<f64>::new(3, 1, init).no_bias().spectral_norm();
    adapt(&mut layer, Adapter::LowRank { rank: 1 }, init);
    move_away(&mut layer, Adapter::LowRank { rank: 1 });
    (0..50).for_each(|_| drop(layer.forward(&identity(3), Mode::Train)));
    // One output: the weight is a vector, and the singular value is its length.
    let length = layer.forward(&identity(3), Mode::Eval).square().sum().item();
    assert!((length - 1.0).abs() < 1e-12, "{length}");
}

#[test]
fn a_state_goes_there_and_back() {
    let x = Tensor::randn([2, 3, 3, 2], &mut Pcg64::seed_from_u64(8));
    for adapter in ADAPTERS {
        let source = network(Some(adapter));
        let bytes = StateDict::of(&source).to_bytes().unwrap();
        let mut target = network(Some(adapter));
        visit_mut(&mut target, |_, slot| match slot {
            SlotMut::Parameter(p) => p.update(|values| values.fill(0.1)),
            SlotMut::Buffer(b) => b.set(&Tensor::ones(b.tensor().shape())),
            SlotMut::Rng(_) => (),
        });
        let state = StateDict::from_bytes(&bytes, "adapted".as_ref()).unwrap();
        state.apply(&mut target).unwrap();
        assert_eq!(
            target.forward(&x, Mode::Eval).as_slice(),
            source.forward(&x, Mode::Eval).as_slice()
        );
    }
}

/// An optimizer moves the adapter from its start. Frozen parameters have no gradient and do not change.
#[test]
fn the_adapter_learns_and_the_weight_stays() {
    for adapter in ADAPTERS {
        for (mut layer, x) in layers::<f64>() {
            adapt(layer.as_mut(), adapter, &mut Init::normal(6, 0.1));
            let learned = adapter.names();
            visit_mut(layer.as_mut(), |path, slot| match slot {
                SlotMut::Parameter(p) if !learned.matches(path) => p.freeze(),
                _ => (),
            });
            let before = StateDict::of(layer.as_ref()).into_tensors();
            let mut adam = Adam::new(1e-2);
            let mut losses = Vec::new();
            for _ in 0..20 {
                let loss = (layer.forward(&x, Mode::Train) - 1.0).square().mean();
                losses.push(loss.item());
                let found = gradients(&loss, layer.as_ref());
                assert!(
                    found.keys().all(|name| learned.matches(name)),
                    "{:?}",
                    found.keys()
                );
                adam.step(layer.as_mut(), &found);
            }
            assert!(losses[19] < losses[0], "{}: {losses:?}", layer.describe());
            for (name, after) in StateDict::of(layer.as_ref()).into_tensors() {
                let same = after.as_slice() == before[&name].as_slice();
                assert_eq!(same, !learned.matches(&name), "{name}");
            }
        }
    }
}

#[test]
fn a_module_without_weights_has_nothing_to_adapt() {
    let init = &mut Init::he(1);
    assert_eq!(
        adapt(&mut BatchNorm::<f32>::new(3), Adapter::OutputScale, init),
        0
    );
    assert_eq!(adapt::<f32>(&mut Tanh, Adapter::SingularValues, init), 0);
}

#[test]
#[should_panic(expected = "already has the adapter low rank 1")]
fn one_adapter_for_each_layer() {
    let init = &mut Init::he(1);
    let mut layer = Dense::<f32>::new(2, 2, init);
    adapt(&mut layer, Adapter::LowRank { rank: 1 }, init);
    adapt(&mut layer, Adapter::OutputScale, init);
}

#[test]
#[should_panic(expected = "the rank must be at least 1")]
fn a_rank_of_nothing() {
    let init = &mut Init::he(1);
    adapt(
        &mut Dense::<f32>::new(2, 2, init),
        Adapter::Modulation { rank: 0 },
        init,
    );
}

#[test]
fn in_files_an_adapter_is_its_name() {
    for (adapter, text) in [
        (Adapter::Modulation { rank: 1 }, r#"{"modulation":{"rank":1}}"#),
        (Adapter::LowRank { rank: 4 }, r#"{"low-rank":{"rank":4}}"#),
        (Adapter::SingularValues, r#""singular-values""#),
        (Adapter::OutputScale, r#""output-scale""#),
    ] {
        assert_eq!(serde_json::to_string(&adapter).unwrap(), text);
        assert_eq!(serde_json::from_str::<Adapter>(text).unwrap(), adapter);
    }
}

#[test]
fn a_merged_adapter_is_the_same_to_the_bit_and_leaves_a_layer_that_learns() {
    for adapter in ADAPTERS {
        for (mut layer, x) in layers::<f32>() {
            let init = &mut Init::glorot(8);
            let names = |layer: &dyn Module<f32>| -> Vec<String> {
                parameters(layer).into_iter().map(|(name, _)| name).collect()
            };
            let before = names(layer.as_ref());
            assert_eq!(merge_adapters(layer.as_mut()), 0);
            adapt(layer.as_mut(), adapter, init);
            move_away(layer.as_mut(), adapter);
            let expected = layer.forward(&x, Mode::Train);
            assert_eq!(merge_adapters(layer.as_mut()), 1, "{adapter}");
            assert_eq!(names(layer.as_ref()), before);
            let found = layer.forward(&x, Mode::Train);
            assert_eq!(found.as_slice(), expected.as_slice(), "{adapter}");
            let learned = gradients(&found.sum(), layer.as_ref());
            assert!(learned.contains_key("weight"), "{adapter}");
            // It can be adapted again, also with another kind.
            assert_eq!(adapt(layer.as_mut(), Adapter::OutputScale, init), 1);
        }
    }
}
