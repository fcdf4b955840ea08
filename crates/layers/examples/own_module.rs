//! A module of your own: a gated block with child layers and a parameter, trained for some steps.
//!
//! `cargo run -p engraft-layers --example own_module`

use engraft_layers::{
    Adam, Dense, Init, Mode, Module, Optimizer, ParamFilter, Parameter, Reduction, StateDict, children,
    freeze, gradients, mse, parameters, slots,
};
use engraft_tensor::Tensor;
use rand::SeedableRng;

/// `head(tanh(value(x)) · sigmoid(gate(x))) · scale`.
struct Gated {
    value: Dense,
    gate: Dense,
    head: Dense,
    scale: Parameter,
}

impl Gated {
    fn new(inputs: usize, hidden: usize, init: &mut Init) -> Self {
        Self {
            value: Dense::new(inputs, hidden, init),
            gate: Dense::new(inputs, hidden, init),
            head: Dense::new(hidden, 1, init),
            scale: Parameter::new(Tensor::scalar(1.0)),
        }
    }
}

impl Module for Gated {
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let value = self.value.forward(x, mode).tanh();
        let gate = self.gate.forward(x, mode).sigmoid();
        self.head.forward(&(value * gate), mode) * self.scale.tensor()
    }

    // These two lines are all that saving, loading, freezing and optimizers need.
    children!(value, gate, head);
    slots!(Parameter scale);
}

/// Runs the example.
pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut net = Gated::new(2, 16, &mut Init::glorot(1));
    for (name, parameter) in parameters(&net) {
        println!("{name}: {:?}", parameter.tensor().shape());
    }

    // Learn the product of two numbers.
    let x = Tensor::uniform([64, 2], -1.0, 1.0, &mut rand_pcg::Pcg64::seed_from_u64(1));
    let y = x.narrow(1, 0, 1) * x.narrow(1, 1, 1);
    let mut adam = Adam::new(1e-2);
    let mut losses = Vec::new();
    for _ in 0..300 {
        let loss = mse(&net.forward(&x, Mode::Train), &y, Reduction::Mean);
        let found = gradients(&loss, &net);
        losses.push(loss.item());
        // Free the graph before the step. The optimizer then updates the weights in place.
        drop(loss);
        adam.step(&mut net, &found);
    }
    println!(
        "mean squared error: {:.4} before, {:.4} after",
        losses[0], losses[299]
    );
    assert!(losses[299] < losses[0] / 4.0);

    // A state dict copies the weights to another instance. A frozen part has no gradients.
    let mut copy = Gated::new(2, 16, &mut Init::glorot(2));
    StateDict::of(&net).apply(&mut copy)?;
    assert_eq!(
        copy.forward(&x, Mode::Eval).as_slice(),
        net.forward(&x, Mode::Eval).as_slice()
    );
    freeze(&mut copy, &ParamFilter::under(["value", "gate"]))?;
    let found = gradients(&copy.forward(&x, Mode::Train).sum(), &copy);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        ["head.bias", "head.weight", "scale"]
    );
    Ok(())
}
