//! Gradient clipping, before the step of an optimizer.

use crate::visit::Gradients;
use engraft_tensor::{Real, Tensor};

/// Scales all gradients by a common factor so that their total norm is at most `max_norm`. Returns the norm before
/// scaling.
///
/// If the norm is not finite, it is returned and the gradients are unchanged.
///
/// *Source*: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013, algorithm 1.
///
/// ```
/// use engraft_layers::{Gradients, clip_norm};
/// use engraft_tensor::Tensor;
///
/// let mut gradients: Gradients = [("weight".to_string(), Tensor::from_vec([2], vec![3.0, -4.0]))].into();
/// assert_eq!(clip_norm(&mut gradients, 1.0), 5.0);
/// assert_eq!(gradients["weight"].as_slice(), [0.6, -0.8]);
/// ```
///
/// # Panics
/// If `max_norm` is not positive.
pub fn clip_norm<T: Real>(gradients: &mut Gradients<T>, max_norm: f64) -> f64 {
    assert!(
        max_norm > 0.0,
        "clip_norm: the norm must be above 0, got {max_norm}"
    );
    let squares = |g: &Tensor<T>| g.as_slice().iter().map(|x| x.into_f64().powi(2)).sum::<f64>();
    let norm = gradients.values().map(squares).sum::<f64>().sqrt();
    if norm.is_finite() && norm > max_norm {
        let factor = T::from_f64(max_norm / norm);
        change(gradients, |x| x * factor);
    }
    norm
}

/// Clamps every number of the gradients to `-limit ..= limit`.
///
/// ```
/// use engraft_layers::{Gradients, clip_value};
/// use engraft_tensor::Tensor;
///
/// let mut gradients: Gradients = [("weight".to_string(), Tensor::from_vec([2], vec![0.2, -4.0]))].into();
/// clip_value(&mut gradients, 0.5);
/// assert_eq!(gradients["weight"].as_slice(), [0.2, -0.5]);
/// ```
///
/// # Panics
/// If `limit` is not positive.
pub fn clip_value<T: Real>(gradients: &mut Gradients<T>, limit: f64) {
    assert!(limit > 0.0, "clip_value: the limit must be above 0, got {limit}");
    let limit = T::from_f64(limit);
    change(gradients, |x| {
        if x > limit {
            limit
        } else if x < -limit {
            -limit
        } else {
            x
        }
    });
}

fn change<T: Real>(gradients: &mut Gradients<T>, rule: impl Fn(T) -> T) {
    for gradient in gradients.values_mut() {
        let values = gradient.as_slice().iter().map(|&x| rule(x)).collect();
        *gradient = Tensor::from_vec(gradient.shape(), values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(a: f64, b: f64) -> Gradients<f64> {
        [("a", a), ("b", b)]
            .map(|(name, x)| (name.to_string(), Tensor::full([1, 1], x)))
            .into()
    }

    #[test]
    fn the_norm_is_that_of_all_gradients_together() {
        let mut gradients = two(6.0, 8.0);
        assert_eq!(clip_norm(&mut gradients, 20.0), 10.0);
        assert_eq!(gradients["b"].item(), 8.0);
        assert_eq!(clip_norm(&mut gradients, 5.0), 10.0);
        assert_eq!((gradients["a"].item(), gradients["b"].item()), (3.0, 4.0));
        assert_eq!(gradients["a"].shape(), [1, 1]);
    }

    #[test]
    fn a_norm_that_is_not_finite_is_returned() {
        let mut gradients = two(f64::NAN, 8.0);
        assert!(clip_norm(&mut gradients, 1.0).is_nan());
        assert_eq!(gradients["b"].item(), 8.0);
    }

    #[test]
    fn values_are_clipped_one_by_one_and_nan_stays() {
        let mut gradients = two(-6.0, f64::NAN);
        clip_value(&mut gradients, 1.0);
        assert_eq!(gradients["a"].item(), -1.0);
        assert!(gradients["b"].item().is_nan());
    }
}
