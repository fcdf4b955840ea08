//! Gradient checks in `f64`: derivative rules against central differences along random directions.

use crate::grad::{WrongShape, gradients};
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

/// A derivative that differs from the central difference, or has the wrong shape.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GradcheckError {
    /// 1 for [`gradcheck`], 2 for [`gradgradcheck`].
    pub order: usize,
    /// Index of the input. For [`gradgradcheck`] the last index is the direction that the output is projected on. With a
    /// [wrong shape](Self::wrong_shape), the index of the input of that rule.
    pub input: usize,
    /// Directional derivative computed by the rules. NaN if a rule returned the wrong shape.
    pub by_rule: f64,
    /// Directional derivative computed by central differences. NaN if a rule returned the wrong shape.
    pub by_difference: f64,
    /// The rule that returned a gradient of the wrong shape, if one did.
    pub wrong_shape: Option<WrongShape>,
}

impl GradcheckError {
    fn of_shape(order: usize, wrong: WrongShape) -> Self {
        Self {
            order,
            input: wrong.input,
            by_rule: f64::NAN,
            by_difference: f64::NAN,
            wrong_shape: Some(wrong),
        }
    }
}

impl fmt::Display for GradcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(wrong) = &self.wrong_shape {
            return write!(f, "derivative of order {}: {wrong}", self.order);
        }
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
/// The first derivative that differs from its central difference, or the first rule whose gradient has the wrong shape.
pub fn gradcheck(
    f: impl Fn(&[Tensor<f64>]) -> Tensor<f64>,
    at: &[Tensor<f64>],
) -> Result<(), GradcheckError> {
    check(&|x| Ok(f(x)), at, 1)
}

/// Checks the second-order gradients of `f`, which a gradient penalty needs.
///
/// Differentiates `Σ_i <grad_i <f(x), v>, w_i>` with random `w` as a function of `x` and `v`. Does not check the
/// first order again, so call [`gradcheck`] too.
///
/// # Errors
/// The first derivative that differs from its central difference, or the first rule whose gradient has the wrong shape.
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
        let found = gradients(&y, &wrt, true)?.into_iter().zip(&directions);
        let terms = found.filter_map(|(g, w)| g.map(|g| (g * w).sum()));
        Ok(terms.fold(Tensor::scalar(0.0), |total, term| total + term))
    };
    let point: Vec<Tensor<f64>> = at.iter().cloned().chain([v]).collect();
    check(&projected_gradient, &point, 2)
}

/// A function whose own derivative rules can fail.
type Function<'a> = dyn Fn(&[Tensor<f64>]) -> Result<Tensor<f64>, WrongShape> + 'a;

fn check(f: &Function<'_>, at: &[Tensor<f64>], order: usize) -> Result<(), GradcheckError> {
    let rng = &mut Pcg64::seed_from_u64(0x1cec);
    let leaves: Vec<Tensor<f64>> = at.iter().map(Tensor::as_leaf).collect();
    let wrong = |wrong| GradcheckError::of_shape(order, wrong);
    let y = f(&leaves).map_err(wrong)?;
    let dot = |a: &Tensor<f64>, b: &Tensor<f64>| -> f64 {
        a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a * b).sum()
    };
    for _ in 0..PROBES {
        let v = Tensor::randn(y.shape(), rng);
        let leaves: Vec<_> = leaves.iter().collect();
        let found = gradients(&(&y * &v).sum(), &leaves, false).map_err(wrong)?;
        for (input, gradient) in found.iter().enumerate() {
            let u = Tensor::randn(at[input].shape(), rng);
            let at_step = |step: f64| {
                let mut moved = at.to_vec();
                moved[input] = &at[input] + &u * step;
                f(&moved)
            };
            let plus = at_step(EPS).map_err(wrong)?;
            let minus = at_step(-EPS).map_err(wrong)?;
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
                    wrong_shape: None,
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

    /// The identity of a matrix with a rule that returns a row.
    struct WrongRow;

    impl<T: Real> Op<T> for WrongRow {
        fn name(&self) -> &'static str {
            "wrong_row"
        }
        fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
            dy.narrow(0, 0, 1)
        }
    }

    #[test]
    fn a_gradient_of_the_wrong_shape_is_an_error() {
        let x = [Tensor::<f64>::ones([2, 3])];
        let f = |x: &[Tensor<f64>]| Tensor::from_op(x[0].view().to_owned(), WrongRow, &[&x[0]]);
        for (order, error) in [(1, gradcheck(f, &x)), (2, gradgradcheck(f, &x))] {
            let error = error.unwrap_err();
            let wrong = error.wrong_shape.clone().unwrap();
            assert_eq!((error.order, wrong.operation), (order, "wrong_row"));
            assert_eq!(
                (&wrong.expected[..], &wrong.found[..]),
                (&[2, 3][..], &[1, 3][..])
            );
            assert!(
                error.to_string().contains("expected [2, 3], found [1, 3]"),
                "{error}"
            );
        }
    }

    #[test]
    fn not_a_number_never_passes() {
        let x = Tensor::from_vec([1], vec![-1.0]);
        assert!(gradcheck(|x| x[0].ln(), &[x]).is_err());
    }
}
