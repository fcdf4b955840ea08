//! A programming error panics with the operation and every shape, and reports the caller's line.

use engraft_tensor::{
    Geometry, Padding, Tensor, affine_leaky_relu, batch_norm, batch_norm_leaky_relu, bias_leaky_relu, concat,
    conv2d, conv2d_input, conv2d_weight, grad, grad_of, grad_of_with_graph, grad_with_graph,
};
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Message and file of this thread's last panic.
    static LAST: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Message and file of the panic of `f`.
fn panic_of(f: impl FnOnce()) -> (String, String) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // The hook is global: panics of other tests are passed to the previous hook.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let formatted = payload.downcast_ref::<String>().map(String::as_str);
            let fixed = payload.downcast_ref::<&str>().copied();
            let message = formatted.or(fixed).unwrap_or_default().to_owned();
            let file = info.location().map(|l| l.file().to_owned()).unwrap_or_default();
            LAST.set(Some((message, file)));
            before(info);
        }));
    });
    LAST.set(None);
    assert!(panic::catch_unwind(AssertUnwindSafe(f)).is_err(), "no panic");
    LAST.take().expect("the hook recorded the panic")
}

fn z(shape: &[usize]) -> Tensor<f32> {
    Tensor::zeros(shape)
}

#[test]
fn shapes_that_do_not_fit_are_named_at_the_callers_line() {
    let g = Geometry::forward([4, 4], [3, 3], [1, 1], [1, 1], Padding::Same);
    type Case<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let case = |message, f: Box<dyn Fn()>| -> Case { (message, f) };
    let cases: Vec<Case> = vec![
        case(
            "add: shapes [2] and [3] do not broadcast",
            Box::new(|| drop(z(&[2]) + z(&[3]))),
        ),
        case(
            "sub: shapes [2] and [3] do not",
            Box::new(|| drop(&z(&[2]) - z(&[3]))),
        ),
        case(
            "mul: shapes [2, 2] and [3, 2] do not",
            Box::new(|| drop(z(&[2, 2]) * &z(&[3, 2]))),
        ),
        case(
            "div: shapes [0] and [2] do not",
            Box::new(|| drop(&z(&[0]) / &z(&[2]))),
        ),
        case(
            "softmax: no axis 1 in shape [2]",
            Box::new(|| drop(z(&[2]).softmax(1))),
        ),
        case(
            "softmax: no axis 0 in shape []",
            Box::new(|| drop(z(&[]).log_softmax(0))),
        ),
        case(
            "sum: no axis 2 in shape [1, 2]",
            Box::new(|| drop(z(&[1, 2]).sum_keep(&[0, 2]))),
        ),
        case(
            "no axis 2 in shape [1, 2]",
            Box::new(|| drop(z(&[1, 2]).mean_keep(&[2]))),
        ),
        case(
            "no axis 2 in shape [1, 2]",
            Box::new(|| drop(z(&[1, 2]).sum_axes(&[2]))),
        ),
        case(
            "no axis 2 in shape [1, 2]",
            Box::new(|| drop(z(&[1, 2]).mean_axes(&[2]))),
        ),
        case(
            "sum_to: shape [3] does not broadcast to [2]",
            Box::new(|| drop(z(&[2]).sum_to(&[3]))),
        ),
        case(
            "sum_to: shape [1, 2] does not",
            Box::new(|| drop(z(&[2]).sum_to(&[1, 2]))),
        ),
        case(
            "broadcast_to: shape [2] does not broadcast to [3]",
            Box::new(|| drop(z(&[2]).broadcast_to(&[3]))),
        ),
        case(
            "reshape: shape [2, 3] and [5]",
            Box::new(|| drop(z(&[2, 3]).reshape([5]))),
        ),
        case(
            "permute: [0, 0] is not a permutation of the axes of shape [2, 3]",
            Box::new(|| drop(z(&[2, 3]).permute(&[0, 0]))),
        ),
        case(
            "transpose: expected a matrix with 2 axes",
            Box::new(|| drop(z(&[2]).transpose())),
        ),
        case(
            "narrow: axis 0 of shape [2] has no 1..+2",
            Box::new(|| drop(z(&[2]).narrow(0, 1, 2))),
        ),
        case(
            "narrow: axis 1 of shape [2] has no",
            Box::new(|| drop(z(&[2]).narrow(1, 0, 1))),
        ),
        case(
            "narrow: axis 0",
            Box::new(|| drop(z(&[2]).narrow(0, usize::MAX, 2))),
        ),
        case(
            "pad: no axis 1 in shape [2]",
            Box::new(|| drop(z(&[2]).pad(1, 0, 1))),
        ),
        case(
            "concat: shapes [[2], [3, 1]] cannot be joined along axis 0",
            Box::new(|| drop(concat(&[&z(&[2]), &z(&[3, 1])], 0))),
        ),
        case(
            "concat: shapes [] cannot be joined",
            Box::new(|| drop(concat::<f32>(&[], 0))),
        ),
        case(
            "concat: shapes [[2]] cannot be joined along axis 1",
            Box::new(|| drop(concat(&[&z(&[2])], 1))),
        ),
        case(
            "concat: shapes [[]] cannot be joined along axis 0",
            Box::new(|| drop(concat(&[&z(&[])], 0))),
        ),
        case(
            "matmul: inner sizes differ: [2, 3] and [2, 3]",
            Box::new(|| drop(z(&[2, 3]).matmul(&z(&[2, 3])))),
        ),
        case(
            "matmul_nt: inner sizes differ",
            Box::new(|| drop(z(&[2, 3]).matmul_nt(&z(&[3, 2])))),
        ),
        case(
            "matmul_tn: inner sizes differ",
            Box::new(|| drop(z(&[2, 3]).matmul_tn(&z(&[3, 2])))),
        ),
        case(
            "matmul: expected two matrices",
            Box::new(|| drop(z(&[2, 3]).matmul(&z(&[3])))),
        ),
        case(
            "conv2d: x [1, 4, 4, 3] has 3 channels, w [3, 3, 2, 1] wants 2",
            Box::new(move || drop(conv2d(&z(&[1, 4, 4, 3]), &z(&[3, 3, 2, 1]), &g))),
        ),
        case(
            "conv2d: x must be [n, 4, 4, channels], got [4, 4, 3]",
            Box::new(move || drop(conv2d(&z(&[4, 4, 3]), &z(&[3, 3, 3, 1]), &g))),
        ),
        case(
            "conv2d: w must be [3, 3, c_in, c_out], got [5, 3, 3, 1]",
            Box::new(move || drop(conv2d(&z(&[1, 4, 4, 3]), &z(&[5, 3, 3, 1]), &g))),
        ),
        case(
            "conv2d_input: dy [1, 4, 4, 3] has 3 channels, w [3, 3, 3, 1] wants 1",
            Box::new(move || drop(conv2d_input(&z(&[1, 4, 4, 3]), &z(&[3, 3, 3, 1]), &g))),
        ),
        case(
            "conv2d_weight: x [1, 4, 4, 3] has 1 images, dy [2, 4, 4, 3] has 2",
            Box::new(move || drop(conv2d_weight(&z(&[1, 4, 4, 3]), &z(&[2, 4, 4, 3]), &g))),
        ),
        case(
            "batch_norm: x [0, 3] needs at least one row",
            Box::new(|| drop(batch_norm(&z(&[0, 3]), &z(&[3]), &z(&[3]), 0.1))),
        ),
        case(
            "scale [2] and shift [3] must be [3]",
            Box::new(|| drop(batch_norm(&z(&[1, 3]), &z(&[2]), &z(&[3]), 0.1))),
        ),
        case(
            "batch_norm_leaky_relu: x [2, 3] needs",
            Box::new(|| {
                drop(batch_norm_leaky_relu(&z(&[2, 3]), &z(&[2]), &z(&[3]), 0.1, 0.1));
            }),
        ),
        case(
            "batch_norm_leaky_relu: the slope must be finite and not negative, got -0.1",
            Box::new(|| {
                drop(batch_norm_leaky_relu(&z(&[2, 3]), &z(&[3]), &z(&[3]), 0.1, -0.1));
            }),
        ),
        case(
            "upsample_nearest: the input must be [n, h, w, c], got [2, 3]",
            Box::new(|| drop(z(&[2, 3]).upsample_nearest(2))),
        ),
        case(
            "sum_pool: images of 4x3 are not a whole number of blocks of 2x2 (shape [1, 4, 3, 1])",
            Box::new(|| drop(z(&[1, 4, 3, 1]).sum_pool(2))),
        ),
        case(
            "max_pool: images of 4x3 are not a whole number of blocks of 2x2 (shape [1, 4, 3, 1])",
            Box::new(|| drop(z(&[1, 4, 3, 1]).max_pool(2))),
        ),
        case(
            "sum_pool: the factor must be at least 1, got 0",
            Box::new(|| drop(z(&[1, 4, 3, 1]).sum_pool(0))),
        ),
        case(
            "bias_leaky_relu: the bias [1] must be as long as the last axis of x [2, 3]",
            Box::new(|| drop(bias_leaky_relu(&z(&[2, 3]), &z(&[1]), 0.1))),
        ),
        case(
            "bias_leaky_relu: the bias [] must",
            Box::new(|| drop(bias_leaky_relu(&z(&[]), &z(&[]), 0.1))),
        ),
        case(
            "bias_leaky_relu: the slope must be finite and not negative, got NaN",
            Box::new(|| drop(bias_leaky_relu(&z(&[2, 3]), &z(&[3]), f64::NAN))),
        ),
        case(
            "affine_leaky_relu: scale [3] and shift [2] must be as long as the last axis of x [2, 3]",
            Box::new(|| drop(affine_leaky_relu(&z(&[2, 3]), &z(&[3]), &z(&[2]), 0.1))),
        ),
        case(
            // Not finite in the precision of the tensors.
            "affine_leaky_relu: the slope must be finite and not negative, got 1e300",
            Box::new(|| {
                let x = Tensor::<f32>::zeros([2, 3]);
                let row = Tensor::zeros([3]);
                drop(affine_leaky_relu(&x, &row, &row, 1e300));
            }),
        ),
        case(
            "from_vec: shape [3] does not hold 2 elements",
            Box::new(|| {
                drop(Tensor::from_vec([3], vec![1.0_f32; 2]));
            }),
        ),
        case(
            "item: a tensor of shape [2] has 2 elements",
            Box::new(|| {
                let _ = z(&[2]).item();
            }),
        ),
        case(
            "has shape [2]; sum or average it first",
            Box::new(|| drop(grad(&z(&[2]), [&z(&[2])]))),
        ),
        case(
            "has shape [2]",
            Box::new(|| drop(grad_with_graph(&z(&[2]), [&z(&[2])]))),
        ),
        case("has shape [0]", Box::new(|| drop(grad_of(&z(&[0]), &[])))),
        case(
            "has shape [2]",
            Box::new(|| drop(grad_of_with_graph(&z(&[2]), &[]))),
        ),
        case(
            "a kernel of [5, 5] with dilation [1, 1] spans 5",
            Box::new(|| {
                Geometry::forward([3, 9], [5, 5], [1, 1], [1, 1], Padding::Valid);
            }),
        ),
        case(
            "stride [0, 1] and dilation [1, 1] must be at least 1",
            Box::new(|| {
                Geometry::forward([3, 9], [1, 1], [0, 1], [1, 1], Padding::Valid);
            }),
        ),
        case(
            "conv_transpose2d: output padding [1, 0] must be smaller",
            Box::new(|| {
                Geometry::transposed([3, 3], [3, 3], [1, 1], [1, 1], Padding::Valid, [1, 0]);
            }),
        ),
        case(
            "cuts away all of the 3 rows",
            Box::new(|| {
                Geometry::transposed([1, 1], [3, 3], [1, 1], [1, 1], Padding::Symmetric([2, 2]), [0, 0]);
            }),
        ),
    ];
    for (expected, wrong) in &cases {
        let (message, file) = panic_of(wrong);
        assert!(
            message.contains(expected),
            "`{message}` should contain `{expected}`"
        );
        assert_eq!(file, file!(), "{message}");
    }
}
