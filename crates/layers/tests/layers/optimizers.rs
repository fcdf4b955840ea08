//! Every optimizer minimizes a quadratic, and continues exactly from a saved state.

use engraft_layers::{
    Adam, Dense, Init, Mode, Module, Optimizer, RMSProp, Reduction, Schedule, Sgd, StateDict, gradients, mse,
};
use engraft_tensor::Tensor;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Optimization steps.
const STEPS: u64 = 1000;

/// With a rate that decays to zero, because steps of constant length would oscillate around the minimum.
fn optimizer(kind: usize, lr: f64, momentum: f64) -> Box<dyn Optimizer<f64>> {
    let falling = Schedule::Cosine {
        steps: STEPS,
        floor: 0.0,
    };
    match kind {
        0 => Box::new(Sgd::new(lr).schedule(falling)),
        1 => Box::new(Sgd::new(lr / 2.0).momentum(momentum).schedule(falling)),
        2 => Box::new(RMSProp::new(lr).schedule(falling)),
        3 => Box::new(Adam::new(lr).schedule(falling)),
        _ => Box::new(Adam::new(lr).betas(momentum, 0.999).schedule(falling)),
    }
}

/// Squared distance to the output of another layer, for identity inputs: a quadratic in the weights.
struct Bowl {
    x: Tensor<f64>,
    y: Tensor<f64>,
}

impl Bowl {
    fn new(n: usize, seed: u64) -> (Self, Dense<f64>) {
        let mut unit = vec![0.0; n * n];
        (0..n).for_each(|i| unit[i * n + i] = 1.0);
        let y = Tensor::randn([n, 2], &mut Pcg64::seed_from_u64(seed));
        let bowl = Self {
            x: Tensor::from_vec([n, n], unit),
            y,
        };
        (bowl, Dense::new(n, 2, &mut Init::glorot(seed)))
    }

    fn step(&self, layer: &mut Dense<f64>, optimizer: &mut dyn Optimizer<f64>) -> f64 {
        let loss = mse(&layer.forward(&self.x, Mode::Train), &self.y, Reduction::Sum);
        let found = gradients(&loss, layer);
        optimizer.step(layer, &found);
        loss.item()
    }
}

proptest! {
    #![proptest_config(crate::cases(48))]

    #[test]
    fn goes_down_a_bowl(kind in 0_usize..5, n in 1_usize..6, lr in 0.01_f64..0.05, momentum in 0.0_f64..0.8, seed in any::<u64>()) {
        let (bowl, mut layer) = Bowl::new(n, seed);
        let mut optimizer = optimizer(kind, lr, momentum);
        let start = bowl.step(&mut layer, optimizer.as_mut());
        let end = (0..STEPS).map(|_| bowl.step(&mut layer, optimizer.as_mut())).last().unwrap();
        prop_assert!(end < 0.01 * start + 1e-3, "{start} -> {end}");
    }

    /// Steps, save, load into a new optimizer, steps: the same bits as without the interruption.
    #[test]
    fn a_break_changes_nothing(kind in 0_usize..5, before in 0_usize..6, seed in any::<u64>()) {
        let (bowl, mut straight) = Bowl::new(3, seed);
        let mut one = optimizer(kind, 0.02, 0.5);
        (0..before + 5).for_each(|_| { bowl.step(&mut straight, one.as_mut()); });

        let (_, mut broken) = Bowl::new(3, seed);
        let mut two = optimizer(kind, 0.02, 0.5);
        (0..before).for_each(|_| { bowl.step(&mut broken, two.as_mut()); });
        let mut three = optimizer(kind, 0.02, 0.5);
        three.load_state(two.state(), &broken).unwrap();
        (0..5).for_each(|_| { bowl.step(&mut broken, three.as_mut()); });
        let (a, b) = (StateDict::of(&straight), StateDict::of(&broken));
        for (name, tensor) in a.tensors() {
            prop_assert_eq!(tensor.as_slice(), b.get(name).unwrap().as_slice());
        }
    }
}
