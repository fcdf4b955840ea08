//! Fused layers compute the same as separate layers.

use crate::configurations::configurations;
use engraft_layers::{
    BatchNorm, Condition, Conv2d, Dense, Flatten, Fusion, Init, LeakyReLU, Mode, Module, ReLU, Sequential,
    SlotMut, StateDict, parameters, visit_mut,
};
use engraft_tensor::{Real, Tensor, grad_of, grad_of_with_graph};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Normal parameters and running means, positive running variances.
pub(crate) fn randomize<T: Real>(module: &mut dyn Module<T>, seed: u64) {
    let rng = &mut Pcg64::seed_from_u64(seed);
    visit_mut(module, |path, slot| match slot {
        SlotMut::Parameter(p) => p.set(&Tensor::randn(p.tensor().shape(), rng)),
        SlotMut::Buffer(b) => {
            let x = Tensor::randn(b.tensor().shape(), rng);
            let is_variance = path.ends_with("var");
            b.set(&if is_variance {
                x.abs() + T::from_f64(0.1)
            } else {
                x
            });
        }
        SlotMut::Rng(_) => (),
    });
}

/// The module and a following leaky ReLU, fused if the module supports it.
pub(crate) fn with_leaky_relu<T: Real>(
    module: &dyn Module<T>,
    x: &Tensor<T>,
    mode: Mode,
    slope: f64,
) -> Tensor<T> {
    match module.fusion() {
        Some(module) => module.forward_leaky_relu(x, &Condition::None, mode, slope),
        None => module.forward(x, mode).leaky_relu(slope),
    }
}

/// The output of `f` at `x`, and the gradients of both orders in `x` and in the module's parameters.
fn derivatives(
    module: &dyn Module<f64>,
    x: &Tensor<f64>,
    f: impl Fn(&Tensor<f64>) -> Tensor<f64>,
) -> Vec<Tensor<f64>> {
    let x = x.as_leaf();
    let mut wrt = vec![&x];
    wrt.extend(parameters(module).iter().map(|(_, p)| p.tensor()));
    let y = f(&x);
    let loss = (&y * y.tanh()).sum();
    let first = grad_of(&loss, &wrt);
    let recorded = grad_of_with_graph(&loss, &wrt);
    let squares = recorded.iter().flatten().map(|d| d.square().sum());
    let second = grad_of(&squares.fold(Tensor::scalar(0.0), |a, b| a + b), &wrt);
    let gradients = [first, recorded, second].into_iter().flatten().flatten();
    std::iter::once(y.clone()).chain(gradients).collect()
}

fn agree(together: &[Tensor<f64>], apart: &[Tensor<f64>]) -> Result<(), TestCaseError> {
    prop_assert_eq!(together.len(), apart.len());
    let largest = apart
        .iter()
        .flat_map(|t| t.as_slice())
        .fold(1.0_f64, |m, v| m.max(v.abs()));
    for (i, (a, b)) in together.iter().zip(apart).enumerate() {
        prop_assert_eq!(a.shape(), b.shape());
        let worst = (a - b).abs().as_slice().iter().fold(0.0_f64, |m, &v| m.max(v));
        prop_assert!(
            worst <= 1e-11 * largest,
            "result {}: {:e} of {:e}",
            i,
            worst,
            largest
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(crate::cases(192))]

    /// Every layer with a following leaky ReLU, including running statistics.
    #[test]
    fn a_leaky_relu_may_join_any_layer(configuration in configurations(), slope in 0_usize..3) {
        let slope = [0.0, 0.3, 1.0][slope];
        let mut modules = [configuration.build::<f64>(), configuration.build::<f64>()];
        modules.iter_mut().for_each(|m| randomize(m.as_mut(), configuration.seed));
        let [one, other] = &modules;
        let (x, mode) = (configuration.input(), configuration.mode);
        let together = derivatives(one.as_ref(), &x, |x| with_leaky_relu(one.as_ref(), x, mode, slope));
        let apart = derivatives(other.as_ref(), &x, |x| other.forward(x, mode).leaky_relu(slope));
        agree(&together, &apart)?;
        let states = modules.each_ref().map(|m| StateDict::of(m.as_ref()).into_tensors());
        for (name, tensor) in &states[0] {
            prop_assert_eq!(tensor.as_slice(), states[1][name].as_slice(), "{}", name);
        }
    }
}

/// Every pair in a chain: with and without something to fuse, two activations in a row, first and last ones, and a slope
/// that cannot be fused.
fn network() -> Sequential<f64> {
    let init = &mut Init::normal(3, 0.5);
    let block = Sequential::new()
        .add("conv", Conv2d::new(2, 3, 3, init).same())
        .add("norm", BatchNorm::new(3));
    let mut network = Sequential::new()
        .add("first", LeakyReLU::new(0.7))
        .add("block", block)
        .add("act", ReLU)
        .add("conv", Conv2d::new(3, 4, 3, init).stride(2).same())
        .add("leaky", LeakyReLU::new(0.2))
        .add("again", LeakyReLU::new(0.5))
        .add("norm", BatchNorm::new(4))
        .add("bent", LeakyReLU::new(-0.4))
        .add("flat", Flatten)
        .add("dense", Dense::new(16, 3, init))
        .add("last", LeakyReLU::new(0.1));
    randomize(&mut network, 8);
    network
}

#[test]
fn a_chain_computes_what_its_layers_compute() {
    let x = Tensor::randn([5, 4, 4, 2], &mut Pcg64::seed_from_u64(6));
    for mode in [Mode::Train, Mode::Eval] {
        let net = network();
        let together = derivatives(&net, &x, |x| net.forward(x, mode));
        let net = network();
        let one_by_one = |x: &Tensor<f64>| {
            let layers = net.layers().iter();
            layers.fold(x.clone(), |x, (_, layer)| layer.forward(&x, mode))
        };
        agree(&together, &derivatives(&net, &x, one_by_one)).unwrap();
    }
}

/// Records which of its methods ran.
struct Witness;

impl Module<f32> for Witness {
    fn forward(&self, x: &Tensor, _: Mode) -> Tensor {
        x + 10.0
    }
    fn fusion(&self) -> Option<&dyn Fusion> {
        Some(self)
    }
}

impl Fusion for Witness {
    fn forward_leaky_relu(&self, x: &Tensor, _: &Condition, _: Mode, slope: f64) -> Tensor {
        x + 100.0 + f32::from_f64(slope)
    }
}

#[test]
fn only_a_leaky_relu_that_follows_is_joined() {
    let run = |net: Sequential| net.forward(&Tensor::zeros([1]), Mode::Eval).item();
    let chain = || Sequential::<f32>::new().add("w", Witness);
    assert_eq!(run(chain()), 10.0);
    assert_eq!(run(chain().add("act", ReLU)), 100.0);
    assert_eq!(run(chain().add("act", LeakyReLU::new(0.5))), 100.5);
    assert_eq!(run(chain().add("act", LeakyReLU::new(-0.5))), 10.0);
    assert_eq!(run(chain().add("v", Witness).add("act", ReLU)), 110.0);
    assert_eq!(run(Sequential::new().add("act", ReLU).add("w", Witness)), 10.0);
}
