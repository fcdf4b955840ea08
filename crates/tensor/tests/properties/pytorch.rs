//! Values and gradients of operations against PyTorch's (`../reference/make.py`).
#![allow(clippy::unwrap_used)]

use engraft_tensor::ndarray::{ArrayD, array};
use engraft_tensor::{Geometry, Padding, Padding1d, Tensor, conv1d, conv2d_grouped, grad_of};
use serde_json::Value;

fn tensor(found: &Value) -> Tensor<f64> {
    let numbers = |key: &str| found[key].as_array().unwrap().clone();
    let shape: Vec<usize> = numbers("shape")
        .iter()
        .map(|n| n.as_u64().unwrap() as usize)
        .collect();
    Tensor::from_vec(
        shape,
        numbers("values").iter().map(|n| n.as_f64().unwrap()).collect(),
    )
}

fn grouped(x: &[Tensor<f64>], stride: usize, padding: usize, dilation: usize, groups: usize) -> Tensor<f64> {
    let side = |axis: usize| [x[0].shape()[1 + axis], x[1].shape()[axis]];
    let ([h, kh], [w, kw]) = (side(0), side(1));
    let padding = Padding::Symmetric([padding; 2]);
    let geometry = Geometry::forward([h, w], [kh, kw], [stride; 2], [dilation; 2], padding);
    conv2d_grouped(&x[0], &x[1], &geometry, groups)
}

fn ours(name: &str, x: &[Tensor<f64>]) -> Tensor<f64> {
    let index: ArrayD<usize> = array![[2, 0], [1, 1]].into_dyn();
    match name {
        "sin" => x[0].sin(),
        "cos" => x[0].cos(),
        "erf" => x[0].erf(),
        "gelu" => x[0].gelu(),
        "silu" => x[0].silu(),
        "clip" => x[0].clip(-0.5, 0.7),
        "maximum" => x[0].maximum(&x[1]),
        "minimum" => x[0].minimum(&x[1]),
        "max_keep" => x[0].max_keep(1),
        "min_keep" => x[0].min_keep(0),
        "var_keep" => x[0].var_keep(&[0, 2], 1),
        "norm_keep" => x[0].norm_keep(&[1]),
        "index_select" => x[0].index_select(1, &[2, 0, 2]),
        "gather" => x[0].gather(1, &index.view()),
        "roll" => x[0].roll(1, -2),
        "pad_reflect" => x[0].pad_reflect(1, 2, 1),
        "batch_matmul" => x[0].batch_matmul(&x[1]),
        "grouped" => grouped(x, 1, 1, 1, 2),
        "depthwise" => grouped(x, 2, 1, 1, 4),
        "dilated depthwise" => grouped(x, 1, 2, 2, 4),
        "conv1d" => conv1d(&x[0], &x[1], 2, 2, Padding1d::Zeros(1, 1)),
        "bilinear up" => x[0].resize_bilinear([8, 9]),
        "bilinear down" => x[0].resize_bilinear([3, 2]),
        "adaptive" => x[0].adaptive_avg_pool([3, 4]),
        "avg" => x[0].avg_pool_windows(3, 2),
        "max" => x[0].max_pool_windows(3, 2, 1),
        _ => panic!("no operation for {name}"),
    }
}

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    let cases: Value = serde_json::from_str(include_str!("../reference/values.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let list =
            |key: &str| -> Vec<Tensor<f64>> { case[key].as_array().unwrap().iter().map(tensor).collect() };
        let x: Vec<Tensor<f64>> = list("inputs").iter().map(Tensor::as_leaf).collect();
        let y = ours(name, &x);
        let close = |ours: &Tensor<f64>, theirs: &Tensor<f64>, what: &str| {
            assert_eq!(ours.shape(), theirs.shape(), "{name}: {what}");
            let difference = (ours - theirs).abs();
            let most = difference
                .as_slice()
                .iter()
                .fold(0.0, |most: f64, &d| most.max(d));
            assert!(most < 1e-10, "{name}: {what} differs by {most:e}");
        };
        close(&y, &tensor(&case["value"]), "value");
        let gradients = grad_of(&(&y * &y).sum(), &x.iter().collect::<Vec<_>>());
        for (i, (ours, theirs)) in gradients.iter().zip(list("gradients")).enumerate() {
            close(ours.as_ref().unwrap(), &theirs, &format!("gradient {i}"));
        }
    }
}
