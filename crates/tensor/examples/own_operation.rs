//! An operation of your own: Swish, with a derivative rule that is checked at first and second order.
//!
//! `cargo run -p engraft-tensor --example own_operation`

use engraft_tensor::{GradcheckError, Op, Real, Tensor, grad, gradcheck, gradgradcheck};

/// `y = x · sigmoid(beta · x)`.
///
/// *Source*: Ramachandran, Zoph and Le, "Searching for activation functions", 2017.
struct Swish {
    beta: f64,
}

impl<T: Real> Op<T> for Swish {
    fn name(&self) -> &'static str {
        "swish"
    }

    /// `dy · (s + beta · x · s · (1 - s))` with `s = sigmoid(beta · x)`.
    ///
    /// The rule uses tensor operations only. So it can be differentiated again, as a gradient penalty does.
    fn vjp(&self, _input: usize, inputs: &[Tensor<T>], _output: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let scaled = &inputs[0] * T::from_f64(self.beta);
        let s = scaled.sigmoid();
        dy * (&s + &(scaled * &s * (-&s + T::one())))
    }
}

/// Computes the value with plain ndarray code and records the operation.
fn swish<T: Real>(x: &Tensor<T>, beta: f64) -> Tensor<T> {
    let value = x.view().mapv(|x| {
        let scaled = T::from_f64(beta) * x;
        x / (T::one() + (-scaled).exp())
    });
    Tensor::from_op(value, Swish { beta }, &[x])
}

/// Runs the example.
pub(crate) fn main() -> Result<(), GradcheckError> {
    // The checks compare the rule with central differences in f64.
    let point = [Tensor::from_vec([4], vec![-2.0, -0.3, 0.4, 1.5])];
    gradcheck(|x| swish(&x[0], 1.5), &point)?;
    gradgradcheck(|x| swish(&x[0], 1.5), &point)?;

    // From now on it is an operation like any other, also in f32.
    let x = Tensor::from_vec([3], vec![-1.0_f32, 0.0, 1.0]).as_leaf();
    let [dx] = grad(&swish(&x, 1.0).sum(), [&x]);
    println!("swish({:?}) has the derivative {:?}", x.as_slice(), dx.as_slice());
    assert_eq!(dx.as_slice()[1], 0.5);
    Ok(())
}
