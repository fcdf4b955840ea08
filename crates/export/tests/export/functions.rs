//! Functions and layers that no family of networks has, each as a small network of its own.

use crate::cases::{Case, EXAMPLES, channels_first};
use engraft_export::{InputSpec, trace};
use engraft_layers::{
    GroupNorm, Init, LayerNorm, MinibatchStd, Mode, Module, SelfAttention, Sequential, SlotMut, visit_mut,
};
use engraft_tensor::ndarray::{Array, IxDyn};
use engraft_tensor::{
    Geometry, Padding, Padding1d, Tensor, concat, conv1d, conv2d_grouped, no_grad, select_where, stack,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Height, width and channels of the images.
const IMAGE: [usize; 3] = [4, 6, 8];

/// A function of images, under a name.
type Named = (&'static str, fn(&Tensor) -> Tensor);

fn numbers(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, &mut Pcg64::seed_from_u64(seed))
}

fn functions() -> Vec<Named> {
    vec![
        ("elementwise", |x| x.gelu() + x.silu().sin() * x.cos() + x.erf()),
        ("choices", |x| {
            let positive = x.greater(&Tensor::scalar(0.2));
            let small = x.abs().less(&numbers(&[8], 1).abs());
            let zero = x.relu().equals(&Tensor::scalar(0.0));
            let chosen = select_where(&positive, &x.exp(), &x.tanh());
            (chosen + &small * 0.5 + zero)
                .maximum(&numbers(&[6, 1], 2))
                .minimum(&(x.abs() * 3.0))
        }),
        ("limits", |x| {
            x.clip(-0.5, 0.75) + select_where(x, &Tensor::scalar(1.0), x)
        }),
        ("extremes", |x| {
            let bounded = x.softmax(3) * 3.0 + x.log_softmax(1) * 0.1;
            bounded + x.max_keep(3) * x.min_keep(1)
        }),
        ("selections", |x| {
            let chosen = x.index_select(3, &[2, 0, 7, 7]).flip(1).roll(2, 1);
            let padded = chosen
                .pad_reflect(1, 2, 1)
                .index_add(1, &[0, 4, 4, 1, 2, 3, 0], 5);
            padded.index_add(3, &[1, 0, 1, 2], 3)
        }),
        ("places", |x| {
            let n = x.shape()[0];
            let index = |shape: [usize; 4], size: usize| {
                Array::from_shape_fn(IxDyn(&shape), |at| (at[1] * 3 + at[2] + at[3] * 5) % size)
            };
            let gathered = x.gather(1, &index([n, 2, 6, 8], 4).view());
            gathered.scatter_add(2, &index([n, 2, 6, 8], 3).view(), 3)
        }),
        ("parts", |x| {
            let parts = x.split(3, &[3, 5]);
            let stacked = stack(&[&parts[0], &parts[0].tanh()], 4); // [n, 4, 6, 3, 2]
            concat(&[&stacked.max_keep(4).reshape(parts[0].shape()), &parts[1]], 3)
        }),
        ("windows", |x| {
            let largest = x.max_pool_windows(3, 2, 1); // [n, 2, 3, 8]
            let means = x.avg_pool_inside(3, 2, 1) + x.adaptive_avg_pool([2, 3]);
            largest + means + x.avg_pool_windows(3, 1).max_pool_windows(1, 1, 0).narrow(2, 0, 3)
        }),
        ("sizes", |x| {
            let uneven = x.adaptive_avg_pool([3, 4]);
            uneven.resize_bilinear([7, 9]) + x.resize_bilinear([2, 3]).resize_bilinear([7, 9])
        }),
        ("groups", |x| {
            let geometry = |stride, kernel| {
                Geometry::forward(
                    [4, 6],
                    [kernel; 2],
                    [stride; 2],
                    [1, 1],
                    Padding::Symmetric([kernel / 2; 2]),
                )
            };
            let depthwise =
                conv2d_grouped(x, &numbers(&[3, 3, 1, 8], 3), &geometry(2, 3), 8) + numbers(&[8], 4);
            let grouped = conv2d_grouped(x, &numbers(&[3, 3, 4, 6], 5), &geometry(2, 3), 2);
            let line = x.reshape([x.shape()[0], 24, 8]);
            let line = conv1d(&line, &numbers(&[3, 8, 2], 6), 2, 1, Padding1d::Same); // [n, 12, 2]
            let line = line.reshape([x.shape()[0], 2, 3, 4]);
            concat(&[&depthwise, &grouped, &line], 3)
        }),
        ("products", |x| {
            let rows = x.reshape([x.shape()[0], 24, 8]);
            let scores = rows.batch_matmul_nt(&rows.tanh()).softmax(2); // [n, 24, 24]
            scores.batch_matmul(&rows).batch_matmul_tn(&rows) // [n, 8, 8]
        }),
        ("moments", |x| {
            x / (x.var_keep(&[1, 2], 1) + 1.0).sqrt() + x.norm_keep(&[3])
        }),
        ("layer-norm", |x| LayerNorm::new(8).forward(x, Mode::Eval)),
        ("group-norm", |x| {
            let groups = GroupNorm::new(8, 2).forward(x, Mode::Eval);
            groups + GroupNorm::instance(8).forward(x, Mode::Eval)
        }),
        ("attention", |x| {
            let mut layer = SelfAttention::new(8, &mut Init::glorot(3));
            visit_mut(&mut layer, |name, slot| match slot {
                SlotMut::Parameter(gain) if name == "gain" => gain.set(&Tensor::ones([1])),
                _ => (),
            });
            layer.forward(x, Mode::Eval)
        }),
        ("minibatch-std", |x| MinibatchStd::new(4).forward(x, Mode::Eval)),
    ]
}

/// The functions with examples and their results.
pub(crate) fn all() -> Vec<Case> {
    let input = [InputSpec::numbers("x", IMAGE)];
    let [h, w, c] = IMAGE;
    let case = |(name, f): Named| {
        let x = numbers(&[EXAMPLES, h, w, c], 9);
        let y = no_grad(|| f(&x));
        let graph = trace(&mut Sequential::new(), &input, &["y"], |_, x| vec![f(&x[0])]);
        Case {
            name: format!("{name}-function"),
            graph: graph.unwrap_or_else(|error| panic!("{name}: {error}")),
            input: channels_first(&x),
            labels: None,
            expected: vec![if y.rank() == 4 { channels_first(&y) } else { y }],
        }
    };
    functions().into_iter().map(case).collect()
}

#[test]
fn one_operation_stays_one_operator() {
    let cases = all();
    let operators = |name: &str| -> Vec<String> {
        let case = cases
            .iter()
            .find(|case| case.name == format!("{name}-function"))
            .unwrap();
        let names = case.graph.nodes.iter().map(|node| format!("{:?}", node.operator));
        names
            .map(|name| name.split([' ', '(']).next().unwrap().to_string())
            .collect()
    };
    assert_eq!(operators("limits"), ["Clip", "Where", "Add"]);
    assert_eq!(
        operators("moments").iter().filter(|name| *name == "Sum").count(),
        3
    );
    assert_eq!(
        operators("groups").iter().filter(|name| *name == "Conv").count(),
        3
    );
    assert_eq!(
        operators("sizes").iter().filter(|name| *name == "MatMul").count(),
        2
    );
}

/// A batch must be whole groups, and the graph says so.
#[test]
fn groups_of_the_batch_are_whole() {
    let multiple = |f: fn(&Tensor) -> Tensor| {
        let input = [InputSpec::numbers("x", IMAGE)];
        let graph = trace(&mut Sequential::new(), &input, &["y"], |_, x| vec![f(&x[0])]);
        graph.map(|graph| graph.batch_multiple())
    };
    assert_eq!(
        multiple(|x| MinibatchStd::new(4).forward(x, Mode::Eval)).unwrap(),
        4
    );
    assert_eq!(multiple(|x| x.tanh()).unwrap(), 1);
    // 24 is no multiple of 5, so the whole batch would be one group.
    assert!(multiple(|x| MinibatchStd::new(5).forward(x, Mode::Eval)).is_err());
}
