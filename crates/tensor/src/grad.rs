//! Reverse-mode differentiation: one sweep over the graph, newest node first.

use crate::real::Real;
use crate::recording::{Recording, is_recording};
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Gradients of the scalar `y` with respect to each tensor of `wrt`; zeros where no path leads.
///
/// # Panics
/// If `y` has not exactly one element.
#[track_caller]
pub fn grad<T: Real, const N: usize>(y: &Tensor<T>, wrt: [&Tensor<T>; N]) -> [Tensor<T>; N] {
    or_zeros(grad_of(y, &wrt), wrt)
}

/// As [`grad`], with the gradients themselves recorded, so that they can be differentiated again.
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
/// If `y` has not exactly one element.
#[track_caller]
pub fn grad_with_graph<T: Real, const N: usize>(y: &Tensor<T>, wrt: [&Tensor<T>; N]) -> [Tensor<T>; N] {
    or_zeros(grad_of_with_graph(y, &wrt), wrt)
}

/// Gradients of the scalar `y` with respect to each tensor of `wrt`; `None` where no path leads.
///
/// Only the part of the graph between `y` and `wrt` is visited, and only the rules on that path run.
///
/// # Panics
/// If `y` has not exactly one element.
#[track_caller]
pub fn grad_of<T: Real>(y: &Tensor<T>, wrt: &[&Tensor<T>]) -> Vec<Option<Tensor<T>>> {
    check_scalar(y);
    let _recording = Recording::set(false);
    sweep(y, wrt)
}

/// As [`grad_of`], with the gradients themselves recorded, so that they can be differentiated again.
///
/// # Panics
/// If `y` has not exactly one element.
#[track_caller]
pub fn grad_of_with_graph<T: Real>(y: &Tensor<T>, wrt: &[&Tensor<T>]) -> Vec<Option<Tensor<T>>> {
    check_scalar(y);
    let _recording = Recording::set(true);
    sweep(y, wrt)
}

#[track_caller]
fn check_scalar<T: Real>(y: &Tensor<T>) {
    assert!(
        y.len() == 1,
        "grad: a gradient is taken of one number, but y has shape {:?}; sum or average it first",
        y.shape()
    );
}

fn or_zeros<T: Real, const N: usize>(found: Vec<Option<Tensor<T>>>, wrt: [&Tensor<T>; N]) -> [Tensor<T>; N] {
    let mut found = found.into_iter();
    wrt.map(|x| found.next().flatten().unwrap_or_else(|| Tensor::zeros(x.shape())))
}

/// Ids of the nodes between `y` and `wrt`, both included: the only ones a sweep has to visit.
fn path<T: Real>(y: &Tensor<T>, wrt: &[&Tensor<T>]) -> BTreeMap<u64, bool> {
    let mut seen: BTreeMap<u64, Tensor<T>> = BTreeMap::new();
    let mut pending = vec![y.clone()];
    while let Some(x) = pending.pop() {
        if x.requires_grad() && !seen.contains_key(&x.id()) {
            pending.extend(x.origin().iter().flat_map(|o| o.inputs.iter().cloned()));
            seen.insert(x.id(), x);
        }
    }
    let mut leads: BTreeMap<u64, bool> = BTreeMap::new();
    // Inputs have smaller ids than outputs, so ascending order meets every input first.
    for (&id, x) in &seen {
        let through_inputs = x.origin().is_some_and(|o| {
            o.inputs
                .iter()
                .any(|input| leads.get(&input.id()).is_some_and(|&l| l))
        });
        leads.insert(id, through_inputs || wrt.iter().any(|w| w.id() == id));
    }
    leads
}

fn sweep<T: Real>(y: &Tensor<T>, wrt: &[&Tensor<T>]) -> Vec<Option<Tensor<T>>> {
    let leads = path(y, wrt);
    let on_path = |x: &Tensor<T>| leads.get(&x.id()).is_some_and(|&l| l);
    let mut found: Vec<Option<Tensor<T>>> = vec![None; wrt.len()];
    // Node and the gradient gathered for it so far. The largest id has no consumer left.
    let mut pending: BTreeMap<u64, (Tensor<T>, Tensor<T>)> = BTreeMap::new();
    if on_path(y) {
        pending.insert(y.id(), (y.clone(), Tensor::ones(y.shape())));
    }
    while let Some((id, (x, dx))) = pending.pop_last() {
        for (slot, w) in found.iter_mut().zip(wrt) {
            if w.id() == id {
                *slot = Some(dx.clone());
            }
        }
        let Some(origin) = x.origin() else { continue };
        let wanted: Vec<bool> = origin.inputs.iter().map(on_path).collect();
        if !wanted.contains(&true) {
            continue;
        }
        let products = origin.op.vjps(&wanted, &origin.inputs, &x, &dx);
        drop(dx);
        for (input, product) in origin.inputs.iter().zip(products) {
            let Some(product) = product else { continue };
            assert_eq!(
                product.shape(),
                input.shape(),
                "rule of `{}` returned a gradient of the wrong shape",
                origin.op.name()
            );
            let sum = match pending.remove(&input.id()) {
                Some((_, earlier)) => add(earlier, &product),
                None => product,
            };
            pending.insert(input.id(), (input.clone(), sum));
        }
    }
    found
}

/// `a + b`, in place when nothing else holds `a` and nothing is recorded.
fn add<T: Real>(a: Tensor<T>, b: &Tensor<T>) -> Tensor<T> {
    if is_recording() {
        return &a + b;
    }
    let mut sum = a.into_array();
    crate::kernels::elementwise::add_assign(
        sum.as_slice_mut()
            .expect("a tensor is in row-major order by construction"),
        b.as_slice(),
    );
    Tensor::from_array(sum)
}
