//! Losses: their value and their gradient in the prediction.

use super::case::Case;
use anyhow::ensure;
use engraft_layers::{Reduction, bce, bce_with_logits, mse, softmax_cross_entropy as cross_entropy};
use engraft_tensor::{Real, Tensor, grad};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReductionName {
    Mean,
    Sum,
}

impl From<ReductionName> for Reduction {
    fn from(name: ReductionName) -> Self {
        match name {
            ReductionName::Mean => Self::Mean,
            ReductionName::Sum => Self::Sum,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elementwise {
    reduction: ReductionName,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CrossEntropy {
    reduction: ReductionName,
    axis: usize,
}

fn compare<T: Real>(case: &mut Case<T>, input: &Tensor<T>, loss: &Tensor<T>) -> anyhow::Result<()> {
    case.compare("output", loss)?;
    let [gradient] = grad(loss, [input]);
    case.compare("grad_input", &gradient)
}

pub(crate) fn elementwise<T: Real>(case: &mut Case<T>, op: &str) -> anyhow::Result<()> {
    let Elementwise { reduction } = case.params()?;
    let input = case.input("input")?.as_leaf();
    let target = case.input("target")?;
    let loss = match op {
        "bce" => bce(&input, &target, reduction.into()),
        "bce_with_logits" => bce_with_logits(&input, &target, reduction.into()),
        _ => mse(&input, &target, reduction.into()),
    };
    compare(case, &input, &loss)
}

pub(crate) fn softmax_cross_entropy<T: Real>(case: &mut Case<T>) -> anyhow::Result<()> {
    let CrossEntropy { reduction, axis } = case.params()?;
    ensure!(axis == 1, "classes must be along axis 1, not {axis}");
    let input = case.input("input")?.as_leaf();
    let labels = case.labels("target")?;
    let loss = cross_entropy(&input, &labels, reduction.into());
    compare(case, &input, &loss)
}
