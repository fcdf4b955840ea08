//! Gradient checks in `f64`: derivative rules against central differences along random directions.

use crate::grad::grad_of;
use crate::grad_mode::no_grad;
use crate::tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::fmt;

/// Step of the central difference.
const EPS: f64 = 1e-6;
/// Allowed error relative to the derivative.
const RELATIVE: f64 = 1e-5;
/// Allowed error relative to the function values, for derivatives near zero.
const ABSOLUTE: f64 = 1e-8;
/// Random directions per input. A wrong rule passes only on a set of measure zero, up to the tolerance.
const PROBES: u64 = 3;

/// A derivative that differs from the central difference.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GradcheckError {
    /// 1 for [`gradcheck`], 2 for [`gradgradcheck`].
    pub order: usize,
    /// Index of the input. For [`gradgradcheck`] the last index is the direction that the output is projected on.
    pub input: usize,
    /// Directional derivative computed by the rules.
    pub by_rule: f64,
    /// Directional derivative computed by central differences.
    pub by_difference: f64,
}

impl fmt::Display for GradcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "derivative of order {} with respect to input {} is {:.10e} by its rule, but {:.10e} by central \
             difference; if the function has a kink near the point, move the point",
            self.order, self.input, self.by_rule, self.by_difference
        )
    }
}

impl std::error::Error for GradcheckError {}

/// Checks the gradients of `f` at a point against central differences.
///
/// `f` maps tensors to a tensor of any shape. Input and output are projected on random directions, so the
/// cost is a few evaluations of `f` in total, not one per element. The point must be away from kinks
/// (0 for a ReLU). `f` must be deterministic.
///
/// ```
/// use engraft_tensor::{Tensor, gradcheck};
/// let x = Tensor::from_vec([2], vec![0.5, -1.5]);
/// gradcheck(|x| x[0].tanh() * x[0].square(), &[x]).unwrap();
/// ```
///
/// # Errors
/// The first derivative that differs from its central difference.
pub fn gradcheck(
    f: impl Fn(&[Tensor<f64>]) -> Tensor<f64>,
    at: &[Tensor<f64>],
) -> Result<(), GradcheckError> {
    check(&f, at, 1)
}

/// Checks the second-order gradients of `f`, which a gradient penalty needs.
///
/// Differentiates `Σ_i <grad_i <f(x), v>, w_i>` with random `w` as a function of `x` and `v`. Does not check the
/// first order again, so call [`gradcheck`] too.
///
/// # Errors
/// The first derivative that differs from its central difference.
pub fn gradgradcheck(
    f: impl Fn(&[Tensor<f64>]) -> Tensor<f64>,
    at: &[Tensor<f64>],
) -> Result<(), GradcheckError> {
    let rng = &mut Pcg64::seed_from_u64(0x9a7e);
    let directions: Vec<Tensor<f64>> = at.iter().map(|x| Tensor::randn(x.shape(), rng)).collect();
    let v = Tensor::randn(no_grad(|| f(at)).shape(), rng);
    let projected_gradient = |inputs: &[Tensor<f64>]| {
        let (v, x) = inputs.split_last().expect("the last input is the direction v");
        // Inside the central difference the inputs are constants, but the first gradient still needs a graph.
        let leaves: Vec<Tensor<f64>> = x
            .iter()
            .map(|x| if x.requires_grad() { x.clone() } else { x.as_leaf() })
            .collect();
        let y = (f(&leaves) * v).sum();
        let wrt: Vec<&Tensor<f64>> = leaves.iter().collect();
        let gradients = crate::grad::grad_of_with_graph(&y, &wrt);
        gradients
            .iter()
            .zip(&directions)
            .filter_map(|(g, w)| g.as_ref().map(|g| (g * w).sum()))
            .fold(Tensor::scalar(0.0), |total, term| total + term)
    };
    let point: Vec<Tensor<f64>> = at.iter().cloned().chain([v]).collect();
    check(&projected_gradient, &point, 2)
}

fn check(
    f: &dyn Fn(&[Tensor<f64>]) -> Tensor<f64>,
    at: &[Tensor<f64>],
    order: usize,
) -> Result<(), GradcheckError> {
    let rng = &mut Pcg64::seed_from_u64(0x1cec);
    let leaves: Vec<Tensor<f64>> = at.iter().map(Tensor::as_leaf).collect();
    let y = f(&leaves);
    let dot = |a: &Tensor<f64>, b: &Tensor<f64>| -> f64 {
        a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a * b).sum()
    };
    for _ in 0..PROBES {
        let v = Tensor::randn(y.shape(), rng);
        let gradients = grad_of(&(&y * &v).sum(), &leaves.iter().collect::<Vec<_>>());
        for (input, gradient) in gradients.iter().enumerate() {
            let u = Tensor::randn(at[input].shape(), rng);
            let at_step = |step: f64| {
                let mut moved = at.to_vec();
                moved[input] = &at[input] + &u * step;
                f(&moved)
            };
            let (plus, minus) = (at_step(EPS), at_step(-EPS));
            let by_difference = dot(&(&plus - &minus), &v) / (2.0 * EPS);
            let by_rule = gradient.as_ref().map_or(0.0, |g| dot(g, &u));
            let size = dot(&plus.abs(), &v.abs());
            let allowed = RELATIVE * by_difference.abs().max(by_rule.abs()) + ABSOLUTE * (1.0 + size);
            // A NaN fails every comparison, so it is reported as an error.
            let within = (by_rule - by_difference).abs() <= allowed;
            if !within {
                return Err(GradcheckError {
                    order,
                    input,
                    by_rule,
                    by_difference,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Op;
    use crate::real::Real;

    /// A square with a wrong rule that the caller picks.
    struct WrongSquare {
        factor: f64,
        detached: bool,
    }

    impl<T: Real> Op<T> for WrongSquare {
        fn name(&self) -> &'static str {
            "wrong_square"
        }
        fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
            let x = if self.detached {
                inputs[0].detach()
            } else {
                inputs[0].clone()
            };
            dy * x * T::from_f64(self.factor)
        }
    }

    fn square(x: &Tensor<f64>, factor: f64, detached: bool) -> Tensor<f64> {
        Tensor::from_op(x.view().mapv(|v| v * v), WrongSquare { factor, detached }, &[x])
    }

    #[test]
    fn a_wrong_rule_is_caught_at_first_order() {
        let at = [Tensor::from_vec([3], vec![0.3, -1.0, 2.0])];
        gradcheck(|x| square(&x[0], 2.0, false), &at).unwrap();
        let error = gradcheck(|x| square(&x[0], 2.002, false), &at).unwrap_err();
        assert_eq!((error.order, error.input), (1, 0));
        assert!(error.to_string().contains("by its rule"), "{error}");
    }

    /// A rule that treats an input as a constant is correct at first order and wrong at second.
    #[test]
    fn a_detached_input_is_caught_at_second_order() {
        let at = [Tensor::from_vec([3], vec![0.3, -1.0, 2.0])];
        gradcheck(|x| square(&x[0], 2.0, true), &at).unwrap();
        gradgradcheck(|x| square(&x[0], 2.0, false), &at).unwrap();
        assert_eq!(
            gradgradcheck(|x| square(&x[0], 2.0, true), &at)
                .unwrap_err()
                .order,
            2
        );
    }

    #[test]
    fn not_a_number_never_passes() {
        let x = Tensor::from_vec([1], vec![-1.0]);
        assert!(gradcheck(|x| x[0].ln(), &[x]).is_err());
    }
}
