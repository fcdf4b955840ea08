//! The graph: its lifetime, which rules run, and the guarantees of a tensor apart from its values.

use engraft_tensor::{
    Op, Tensor, grad, grad_of, grad_of_with_graph, grad_strict, grad_with_graph, is_recording, no_grad,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The product of two tensors. It counts the calls of each input's rule, and its token counts the living
/// operations.
#[derive(Clone, Default)]
struct Counted {
    calls: Arc<[AtomicUsize; 2]>,
    token: Arc<()>,
}

impl Op<f32> for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }
    fn vjp(&self, i: usize, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Tensor {
        self.calls[i].fetch_add(1, Ordering::Relaxed);
        dy * &inputs[1 - i]
    }
}

impl Counted {
    fn product(&self, a: &Tensor, b: &Tensor) -> Tensor {
        let value = (a.detach() * b.detach()).into_array();
        Tensor::from_op(value, self.clone(), &[a, b])
    }

    fn calls(&self) -> [usize; 2] {
        [0, 1].map(|i| self.calls[i].load(Ordering::Relaxed))
    }

    /// Living nodes.
    fn alive(&self) -> usize {
        Arc::strong_count(&self.token) - 1
    }
}

fn leaf(value: f32) -> Tensor {
    Tensor::full([2], value).as_leaf()
}

fn chain(x: &Tensor, length: usize) -> Tensor {
    (0..length).fold(x.clone(), |y, _| y + 1.0)
}

#[test]
fn dropping_a_million_operations_needs_no_stack() {
    // A thread with the smallest stack. Recursion would overflow it.
    let small = thread::Builder::new().stack_size(64 * 1024).spawn(|| {
        let x = Tensor::<f32>::scalar(0.0).as_leaf();
        let y = chain(&x, 1_000_000);
        let value = y.item();
        drop(y);
        // Also from the middle, and through the last tensor with `into_array`.
        let values = chain(&x, 100_000).into_array();
        (value, values.len())
    });
    assert_eq!(small.unwrap().join().unwrap(), (1_000_000.0, 1));
}

#[test]
fn differentiating_a_long_chain_needs_no_stack() {
    let small = thread::Builder::new().stack_size(256 * 1024).spawn(|| {
        let x = Tensor::<f32>::scalar(1.0).as_leaf();
        let y = (0..50_000).fold(x.clone(), |y, _| &y * &x);
        let [dx] = grad_with_graph(&y, [&x]);
        let [ddx] = grad(&dx, [&x]);
        (dx.item(), ddx.item())
    });
    let n = 50_001.0_f32;
    let (dx, ddx) = small.unwrap().join().unwrap();
    assert_eq!(dx, n);
    assert!((ddx / (n * (n - 1.0)) - 1.0).abs() < 1e-3, "{ddx}");
}

#[test]
fn a_graph_is_freed_with_its_last_tensor() {
    let counted = Counted::default();
    let x = leaf(2.0);
    let y = counted.product(&counted.product(&x, &x), &x);
    assert_eq!(counted.alive(), 2);
    let [dx] = grad(&y.sum(), [&x]);
    drop(y);
    // The gradient is plain numbers and keeps no graph alive.
    assert_eq!(counted.alive(), 0);
    assert_eq!(dx.as_slice(), [12.0, 12.0]);

    let y = counted.product(&x, &x).sum();
    let [recorded] = grad_with_graph(&y, [&x]);
    drop(y);
    drop(recorded);
    assert_eq!(counted.alive(), 0);

    let y = counted.product(&x, &x);
    let (constant, shared) = (y.detach(), y.clone());
    drop(y);
    assert_eq!(counted.alive(), 1, "a clone keeps the graph");
    drop(shared);
    assert_eq!(counted.alive(), 0, "a detached tensor does not");
    assert_eq!(constant.as_slice(), [4.0, 4.0]);
}

#[test]
fn grad_strict_tells_a_constant_from_an_unused_leaf() {
    let (x, unused, constant) = (leaf(2.0), leaf(3.0), Tensor::full([2], 4.0));
    let y = (&x * &constant).sum();
    let [dx] = grad_strict(&y, [&x]).unwrap();
    assert_eq!(dx.as_slice(), [4.0, 4.0]);
    let error = grad_strict(&y, [&x, &unused]).unwrap_err();
    assert_eq!((error.index, error.requires_grad), (1, true));
    let error = grad_strict(&y, [&constant, &x]).unwrap_err();
    assert_eq!((error.index, error.requires_grad), (0, false));
    assert!(error.to_string().contains("input 0 of shape [2]"), "{error}");
}

#[test]
fn only_rules_on_the_path_run() {
    let counted = Counted::default();
    let (x, w) = (leaf(2.0), leaf(3.0));
    let frozen = Tensor::full([2], 5.0);
    // (x · frozen) · w, in x only
    let y = counted.product(&counted.product(&x, &frozen), &w).sum();
    let [dx] = grad(&y, [&x]);
    assert_eq!(dx.as_slice(), [15.0, 15.0]);
    assert_eq!(counted.calls(), [2, 0]);
    // In w only: neither the first product's rules nor that of its value run.
    let [dw] = grad(&y, [&w]);
    assert_eq!(dw.as_slice(), [10.0, 10.0]);
    assert_eq!(counted.calls(), [2, 1]);
    // A frozen prefix adds no node.
    assert!(!counted.product(&frozen, &frozen).requires_grad());
    assert_eq!(counted.alive(), 2);
    // In an intermediate tensor, the pass ends there.
    let half = counted.product(&x, &frozen);
    let before = counted.calls();
    let [d_half] = grad(&counted.product(&half, &w).sum(), [&half]);
    assert_eq!(d_half.as_slice(), [3.0, 3.0]);
    assert_eq!(counted.calls(), [before[0] + 1, before[1]]);
}

#[test]
fn a_node_with_many_consumers_is_differentiated_once() {
    let counted = Counted::default();
    let (x, w) = (leaf(1.0), Tensor::full([2], 2.0));
    let shared = counted.product(&x, &w);
    // 2^20 paths lead through twenty doublings, but one rule call each is enough.
    let y = (0..20).fold(shared, |y, _| &y + &y);
    let [dx] = grad(&y.sum(), [&x]);
    assert_eq!(dx.as_slice(), [2_097_152.0, 2_097_152.0]);
    assert_eq!(counted.calls(), [1, 0]);
}

#[test]
fn what_is_out_of_reach_has_no_gradient() {
    let (x, other, constant) = (leaf(2.0), leaf(1.0), Tensor::<f32>::zeros([3]));
    let y = x.square().sum();
    let found = grad_of(&y, &[&x, &other, &constant, &x]);
    let known: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(known, [true, false, false, true]);
    let [dx, d_other, d_constant] = grad(&y, [&x, &other, &constant]);
    assert_eq!(dx.as_slice(), [4.0, 4.0]);
    assert_eq!(
        (d_other.as_slice(), d_other.shape()),
        ([0.0; 2].as_slice(), [2].as_slice())
    );
    assert_eq!(d_constant.shape(), [3]);
    // A constant loss, and the loss itself.
    assert!(grad_of(&Tensor::<f32>::scalar(1.0), &[&x])[0].is_none());
    assert_eq!(grad(&y, [&y])[0].item(), 1.0);
    // A new leaf with the same values is another tensor.
    assert!(
        grad_of(&y, &[&x.as_leaf(), &x.detach()])
            .iter()
            .all(Option::is_none)
    );
}

#[test]
fn recording_is_a_scope() {
    let x = leaf(2.0);
    assert!(is_recording());
    no_grad(|| {
        assert!(!is_recording() && !x.square().requires_grad());
        // A gradient with a graph is always recorded, and the scope continues afterwards.
        let y = x.as_leaf();
        let _ = grad_of_with_graph(&Tensor::<f32>::scalar(1.0), &[&y]);
        assert!(!is_recording());
        no_grad(|| ());
        assert!(!is_recording());
    });
    let panicked = std::panic::catch_unwind(|| no_grad(|| -> () { panic!("inside") }));
    assert!(panicked.is_err() && is_recording());
    let [dx] = grad(&x.square().sum(), [&x]);
    assert!(!dx.requires_grad());
    let [dx] = grad_with_graph(&x.square().sum(), [&x]);
    assert!(dx.requires_grad());
}

#[test]
fn tensors_cross_threads() {
    const fn shared_and_sent<S: Send + Sync + 'static>() {}
    const {
        shared_and_sent::<Tensor<f32>>();
        shared_and_sent::<Tensor<f64>>();
    }
    let x = leaf(3.0);
    let square = {
        let x = x.clone();
        thread::spawn(move || x.square()).join().unwrap()
    };
    let gradients: Vec<f32> = thread::scope(|s| {
        let tasks: Vec<_> = (0..3)
            .map(|_| s.spawn(|| grad(&(&square * &x).sum(), [&x])[0].as_slice()[0]))
            .collect();
        tasks.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(gradients, [27.0; 3]);
}

#[test]
fn debug_output_is_short() {
    let x = Tensor::<f32>::from_vec([2], vec![1.0, -2.5]);
    assert_eq!(format!("{x:?}"), "Tensor<f32>[2] [1.0, -2.5]");
    assert_eq!(format!("{:?}", x.as_leaf()), "Tensor<f32>[2] leaf [1.0, -2.5]");
    let large = chain(&Tensor::<f64>::zeros([64, 28, 28, 1]).cast().as_leaf(), 100);
    assert_eq!(format!("{large:?}"), "Tensor<f32>[64, 28, 28, 1] from affine");
}

#[test]
#[should_panic(expected = "rule of `short` returned a gradient of the wrong shape")]
fn a_rule_of_the_wrong_shape_is_refused() {
    struct Short;
    impl Op<f32> for Short {
        fn name(&self) -> &'static str {
            "short"
        }
        fn vjp(&self, _: usize, _: &[Tensor], _: &Tensor, dy: &Tensor) -> Tensor {
            dy.sum()
        }
    }
    let x = leaf(1.0);
    let y = Tensor::from_op(x.clone().into_array(), Short, &[&x]);
    let _ = grad(&y.sum(), [&x]);
}
