//! Reverse-mode differentiation: one pass over the graph, newest node first.

use crate::grad_mode::{Recording, is_recording};
use crate::real::Real;
use crate::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Gradients of the scalar `y` with respect to each tensor of `wrt`. Zeros if `y` does not depend on the tensor.
///
/// # Panics
/// If `y` does not have exactly one element.
#[track_caller]
pub fn grad<T: Real, const N: usize>(y: &Tensor<T>, wrt: [&Tensor<T>; N]) -> [Tensor<T>; N] {
    or_zeros(grad_of(y, &wrt), wrt)
}

/// [`grad`] that returns an error if `y` does not depend on an input.
///
/// ```
/// use engraft_tensor::{Tensor, grad_strict};
/// let (x, w) = (Tensor::scalar(2.0_f32).as_leaf(), Tensor::scalar(3.0));
/// let y = &x * &w;
/// assert_eq!(grad_strict(&y, [&x]).unwrap()[0].item(), 3.0);
/// let error = grad_strict(&y, [&x, &w]).unwrap_err(); // `w` is a constant
/// assert_eq!(error.index, 1);
/// ```
///
/// # Errors
/// [`Unreachable`] with the first input that `y` does not depend on.
///
/// # Panics
/// If `y` does not have exactly one element.
#[track_caller]
pub fn grad_strict<T: Real, const N: usize>(
    y: &Tensor<T>,
    wrt: [&Tensor<T>; N],
) -> Result<[Tensor<T>; N], Unreachable> {
    let found = grad_of(y, &wrt);
    match found.iter().position(Option::is_none) {
        Some(index) => Err(Unreachable {
            index,
            shape: wrt[index].shape().to_vec(),
            requires_grad: wrt[index].requires_grad(),
        }),
        None => Ok(or_zeros(found, wrt)),
    }
}

/// The tensor `y` does not depend on an input through recorded operations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreachable {
    /// Index of the input, from 0.
    pub index: usize,
    /// Shape of the input.
    pub shape: Vec<usize>,
    /// Whether the input requires a gradient. Operations on it are recorded only then.
    pub requires_grad: bool,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.requires_grad {
            "it was not used, or only under no_grad or through detach"
        } else {
            "it is a constant: make it a leaf with as_leaf before it is used"
        };
        write!(
            f,
            "grad: y does not depend on input {} of shape {:?}: {why}",
            self.index, self.shape
        )
    }
}

impl std::error::Error for Unreachable {}

/// [`grad`] that records the gradients, so that they can be differentiated again.
///
/// ```
/// use engraft_tensor::{Tensor, grad, grad_with_graph};
/// let x = Tensor::scalar(2.0_f64).as_leaf();
/// let [dx] = grad_with_graph(&(&(&x * &x) * &x), [&x]); // 3 x²
/// let [ddx] = grad(&dx, [&x]); // 6 x
/// assert_eq!((dx.item(), ddx.item()), (12.0, 12.0));
/// ```
///
/// # Panics
/// If `y` does not have exactly one element.
#[track_caller]
pub fn grad_with_graph<T: Real, const N: usize>(y: &Tensor<T>, wrt: [&Tensor<T>; N]) -> [Tensor<T>; N] {
    or_zeros(grad_of_with_graph(y, &wrt), wrt)
}

/// Gradients of the scalar `y` with respect to each tensor of `wrt`. `None` if `y` does not depend on the tensor.
///
/// Visits only the part of the graph between `y` and `wrt`, and runs only the derivative rules on that path.
///
/// # Panics
/// If `y` does not have exactly one element.
#[track_caller]
pub fn grad_of<T: Real>(y: &Tensor<T>, wrt: &[&Tensor<T>]) -> Vec<Option<Tensor<T>>> {
    gradients(y, wrt, false).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// [`grad_of`] that records the gradients, so that they can be differentiated again.
///
/// # Panics
/// If `y` does not have exactly one element.
#[track_caller]
pub fn grad_of_with_graph<T: Real>(y: &Tensor<T>, wrt: &[&Tensor<T>]) -> Vec<Option<Tensor<T>>> {
    gradients(y, wrt, true).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// A derivative rule that returned a gradient of another shape than its input has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrongShape {
    /// Name of the operation.
    pub operation: &'static str,
    /// Index of the input.
    pub input: usize,
    /// Shape of the input.
    pub expected: Vec<usize>,
    /// Shape of the gradient.
    pub found: Vec<usize>,
}

impl fmt::Display for WrongShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rule of `{}` returned a gradient of the wrong shape for input {}: expected {:?}, found {:?}",
            self.operation, self.input, self.expected, self.found
        )
    }
}

impl std::error::Error for WrongShape {}

/// The gradients, recorded or not, or the first rule that returned a wrong shape.
#[track_caller]
pub(crate) fn gradients<T: Real>(
    y: &Tensor<T>,
    wrt: &[&Tensor<T>],
    is_recorded: bool,
) -> Result<Vec<Option<Tensor<T>>>, WrongShape> {
    check_scalar(y);
    let _recording = Recording::set(is_recorded);
    sweep(y, wrt)
}

#[track_caller]
fn check_scalar<T: Real>(y: &Tensor<T>) {
    assert!(
        y.len() == 1,
        "grad: y must have exactly one element, but has shape {:?}; sum or average it first",
        y.shape()
    );
}

fn or_zeros<T: Real, const N: usize>(found: Vec<Option<Tensor<T>>>, wrt: [&Tensor<T>; N]) -> [Tensor<T>; N] {
    let mut found = found.into_iter();
    wrt.map(|x| found.next().flatten().unwrap_or_else(|| Tensor::zeros(x.shape())))
}

/// Ids of the nodes between `y` and `wrt`, both included. The backward pass visits only these.
fn path<T: Real>(y: &Tensor<T>, wrt: &[&Tensor<T>]) -> BTreeMap<u64, bool> {
    let mut seen: BTreeMap<u64, Tensor<T>> = BTreeMap::new();
    let mut pending = vec![y.clone()];
    while let Some(x) = pending.pop() {
        if x.requires_grad() && !seen.contains_key(&x.id()) {
            pending.extend(x.origin().iter().flat_map(|o| o.inputs.iter().cloned()));
            seen.insert(x.id(), x);
        }
    }
    let targets: BTreeSet<u64> = wrt.iter().map(|w| w.id()).collect();
    let mut leads: BTreeMap<u64, bool> = BTreeMap::new();
    // Inputs have smaller ids than outputs, so ascending order visits every input first.
    for (&id, x) in &seen {
        let through_inputs = x.origin().is_some_and(|o| {
            o.inputs
                .iter()
                .any(|input| leads.get(&input.id()).is_some_and(|&l| l))
        });
        leads.insert(id, through_inputs || targets.contains(&id));
    }
    leads
}

fn sweep<T: Real>(y: &Tensor<T>, wrt: &[&Tensor<T>]) -> Result<Vec<Option<Tensor<T>>>, WrongShape> {
    let leads = path(y, wrt);
    let on_path = |x: &Tensor<T>| leads.get(&x.id()).is_some_and(|&l| l);
    let mut found: Vec<Option<Tensor<T>>> = vec![None; wrt.len()];
    let mut slots: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (slot, w) in wrt.iter().enumerate() {
        slots.entry(w.id()).or_default().push(slot);
    }
    // Nodes with the gradient accumulated so far. The largest id has no consumer left.
    let mut pending: BTreeMap<u64, (Tensor<T>, Tensor<T>)> = BTreeMap::new();
    if on_path(y) {
        pending.insert(y.id(), (y.clone(), Tensor::ones(y.shape())));
    }
    while let Some((id, (x, dx))) = pending.pop_last() {
        for &slot in slots.get(&id).into_iter().flatten() {
            found[slot] = Some(dx.clone());
        }
        let Some(origin) = x.origin() else { continue };
        let wanted: Vec<bool> = origin.inputs.iter().map(on_path).collect();
        if !wanted.contains(&true) {
            continue;
        }
        let products = origin.op.vjps(&wanted, &origin.inputs, &x, &dx);
        drop(dx);
        for (i, (input, product)) in origin.inputs.iter().zip(products).enumerate() {
            let Some(product) = product else { continue };
            if product.shape() != input.shape() {
                return Err(WrongShape {
                    operation: origin.op.name(),
                    input: i,
                    expected: input.shape().to_vec(),
                    found: product.shape().to_vec(),
                });
            }
            let sum = match pending.remove(&input.id()) {
                Some((_, earlier)) => add(earlier, &product),
                None => product,
            };
            pending.insert(input.id(), (input.clone(), sum));
        }
    }
    Ok(found)
}

/// `a + b`, in place if `a` has no other owner and nothing is recorded.
fn add<T: Real>(a: Tensor<T>, b: &Tensor<T>) -> Tensor<T> {
    if is_recording() {
        return &a + b;
    }
    let mut sum = a.into_array();
    crate::kernels::elementwise::add_assign(
        sum.as_slice_mut().expect("a tensor is always in row-major order"),
        b.as_slice(),
    );
    Tensor::from_array(sum)
}
