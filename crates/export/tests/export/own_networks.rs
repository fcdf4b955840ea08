//! Networks outside the families, and networks that cannot be exported.

use crate::interpreter::{Value, run};
use engraft_export::{ExportError, Graph, InputSpec, Operator, Window, onnx, trace};
use engraft_layers::{Mode, Module, Sequential};
use engraft_tensor::{Op, Real, Tensor, concat};
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// A function of images.
type Function = Box<dyn Fn(&Tensor) -> Tensor>;

/// The graph of a function of images `[n, 4, 6, 2]`.
fn graph_of(f: impl Fn(&Tensor) -> Tensor) -> Result<Graph, ExportError> {
    let input = [InputSpec::numbers("x", [4, 6, 2])];
    trace(&mut Sequential::new(), &input, &["y"], |_, x| vec![f(&x[0])])
}

/// Operations that no family uses, in one function.
#[test]
fn operations_that_move_and_reduce() {
    let f = |x: &Tensor| {
        let n = x.shape()[0];
        let halves = [x.narrow(2, 0, 3), x.narrow(2, 3, 3)];
        let joined = concat(&[&halves[1], &halves[0], &x.abs()], 2).pad(1, 1, 2); // [n, 7, 12, 2]
        let turned = joined.permute(&[0, 2, 1, 3]).upsample_nearest(2); // [n, 24, 14, 2]
        let pooled = turned.max_pool(2).sum_keep(&[1]); // [n, 1, 7, 2]
        let whole = (pooled.exp() + 1.0).ln().broadcast_to(&[n, 3, 7, 2]);
        let rows = whole.reshape([n, 3, 14]).permute(&[0, 2, 1]); // [n, 14, 3]
        let scaled = rows * Tensor::from_vec([3], vec![1.0, -2.0, 0.5]);
        let normalized = &scaled - scaled.mean_keep(&[1, 2]);
        (normalized.square().sum_axes(&[2]) + 1e-3).sqrt().softplus()
    };
    let graph = graph_of(f).unwrap();
    let x = Tensor::randn([5, 4, 6, 2], &mut Pcg64::seed_from_u64(1));
    let (expected, given) = (f(&x), x.permute(&[0, 3, 1, 2]));
    let given = Value::new(
        given.shape(),
        given.as_slice().iter().map(|&v| v.into()).collect(),
    );
    let found = run(&onnx::encode(&graph, "", &[]), vec![("x", given)]);
    assert_eq!(found[0].shape, expected.shape());
    for (a, &b) in found[0].data.iter().zip(expected.as_slice()) {
        assert!(
            (a - f64::from(b)).abs() < 1e-4 * f64::from(b).abs().max(1.0),
            "{a} {b}"
        );
    }
}

struct Unknown;

impl<T: Real> Op<T> for Unknown {
    fn name(&self) -> &'static str {
        "sine"
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.clone()
    }
}

#[test]
fn what_cannot_be_exported_is_named() {
    let sine = |x: &Tensor| Tensor::from_op(x.view().mapv(f32::sin), Unknown, &[x]);
    let argmax = |x: &Tensor| x.gather(1, &x.argmax(1).view()) + x.min_keep(1);
    let refused: [(&str, Function); 9] = [
        (
            "\"gather\" (number 0 of the forward pass) depends on the number",
            Box::new(argmax),
        ),
        ("\"index_select\"", Box::new(|x| x.flip(0))),
        ("mixes the examples", Box::new(|x| x.softmax(0))),
        ("\"sine\"", Box::new(move |x| sine(&x.tanh()))),
        (
            "\"mul\" (number 1 of the forward pass) has an operand that depends",
            Box::new(|x| x.tanh() * x.detach()),
        ),
        ("does not depend on the input", Box::new(|x| x.detach())),
        ("selects examples", Box::new(|x| x.tanh().narrow(0, 0, 1))),
        ("\"reshape\"", Box::new(|x| x.sum_keep(&[0]).tanh().reshape([48]))),
        (
            "depends on the number of examples",
            Box::new(|x| x * x.shape()[0] as f32),
        ),
    ];
    for (part, f) in refused {
        let error = graph_of(f).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_mean_of_blocks_is_one_operator() {
    let graph = graph_of(|x| engraft_layers::AvgPool2x.forward(x, Mode::Eval)).unwrap();
    let operators: Vec<_> = graph.nodes.iter().map(|node| &node.operator).collect();
    assert_eq!(operators, [&Operator::AveragePool(Window::blocks([2, 2]))]);
}
