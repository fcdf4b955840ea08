//! Adam on one parameter with given gradients.

use super::case::Case;
use anyhow::{Context, ensure};
use engraft_layers::{Adam, Gradients, Mode, Module, Optimizer, Parameter, slots};
use engraft_tensor::{Real, Tensor};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    lr: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    steps: usize,
}

/// A module that is one parameter.
struct Single<T: Real> {
    param: Parameter<T>,
}

impl<T: Real> Module<T> for Single<T> {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        x.clone()
    }
    slots!(T; Parameter param);
}

pub(crate) fn adam<T: Real>(case: &mut Case<T>) -> anyhow::Result<()> {
    let p: Params = case.params()?;
    let start = case.input("param")?;
    let gradients = case.input("grads")?;
    ensure!(
        gradients.shape().split_first() == Some((&p.steps, start.shape())),
        "gradients {:?} are not {} of the parameter's shape {:?}",
        gradients.shape(),
        p.steps,
        start.shape()
    );
    let mut module = Single {
        param: Parameter::new(start),
    };
    let mut adam = Adam::new(p.lr).betas(p.beta1, p.beta2).eps(p.eps);
    for k in 0..p.steps {
        let gradient = gradients.narrow(0, k, 1).reshape(module.param.tensor().shape());
        adam.step(&mut module, &Gradients::from([("param".to_string(), gradient)]));
        case.compare(&format!("param_after_{}", k + 1), module.param.tensor())?;
    }
    let state = adam.state().tensors;
    for (theirs, ours) in [("m", "first_moment.param"), ("v", "second_moment.param")] {
        let moment = state
            .get(ours)
            .with_context(|| format!("Adam has no moment {ours:?}"))?;
        case.compare(theirs, &moment.reshape(module.param.tensor().shape()))?;
    }
    Ok(())
}
