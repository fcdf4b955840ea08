//! Iteration over a module: every parameter, buffer and random stream with its dotted name.

use crate::module::Module;
use crate::parameter::{Parameter, Slot, SlotMut};
use engraft_tensor::{Real, Tensor, grad_of};
use std::collections::BTreeMap;

/// Runs `inside` with a name appended to the path, and removes it afterwards.
pub(crate) fn at<R>(path: &mut String, name: &str, inside: impl FnOnce(&mut String) -> R) -> R {
    let length = path.len();
    if length > 0 && !name.is_empty() {
        path.push('.');
    }
    path.push_str(name);
    let result = inside(path);
    path.truncate(length);
    result
}

/// Calls `f` for every parameter, buffer and random stream of a module with its dotted name, in a fixed order. A
/// module's own come first, then those of its children.
///
/// ```
/// use engraft_layers::{BatchNorm, Sequential, Slot, visit};
/// let net = Sequential::<f32>::new().add("norm", BatchNorm::new(2));
/// let mut buffers = Vec::new();
/// visit(&net, |name, slot| {
///     if let Slot::Buffer(_) = slot {
///         buffers.push(name.to_string());
///     }
/// });
/// assert_eq!(buffers, ["norm.running_mean", "norm.running_var"]);
/// ```
pub fn visit<'a, T: Real>(module: &'a dyn Module<T>, mut f: impl FnMut(&str, Slot<'a, T>)) {
    walk(module, &mut String::new(), &mut f);
}

fn walk<'a, T: Real>(module: &'a dyn Module<T>, path: &mut String, f: &mut dyn FnMut(&str, Slot<'a, T>)) {
    for (name, slot) in module.slots() {
        at(path, name, |path| f(path, slot));
    }
    for (name, child) in module.children() {
        at(path, name, |path| walk(child, path, f));
    }
}

/// [`visit`] with mutable access.
pub fn visit_mut<T: Real>(module: &mut dyn Module<T>, mut f: impl FnMut(&str, SlotMut<'_, T>)) {
    walk_mut(module, &mut String::new(), &mut f);
}

fn walk_mut<T: Real>(module: &mut dyn Module<T>, path: &mut String, f: &mut dyn FnMut(&str, SlotMut<'_, T>)) {
    for (name, slot) in module.slots_mut() {
        at(path, name, |path| f(path, slot));
    }
    for (name, child) in module.children_mut() {
        at(path, name, |path| walk_mut(child, path, f));
    }
}

/// Every parameter with its dotted name, in the order of [`visit`].
pub fn parameters<T: Real>(module: &dyn Module<T>) -> Vec<(String, &Parameter<T>)> {
    let mut found = Vec::new();
    visit(module, |name, slot| {
        if let Slot::Parameter(parameter) = slot {
            found.push((name.to_string(), parameter));
        }
    });
    found
}

/// Total number of scalar values in the parameters, including frozen ones.
pub fn parameter_count<T: Real>(module: &dyn Module<T>) -> usize {
    parameters(module).iter().map(|(_, p)| p.tensor().len()).sum()
}
/// Gradients by parameter name.
pub type Gradients<T = f32> = BTreeMap<String, Tensor<T>>;

/// Gradients of a scalar with respect to every trainable parameter that it depends on.
///
/// Frozen parameters have no entry. Derivative rules run only on paths to trainable parameters.
///
/// # Panics
/// If `loss` does not have exactly one element.
#[track_caller]
pub fn gradients<T: Real>(loss: &Tensor<T>, module: &dyn Module<T>) -> Gradients<T> {
    let trainable: Vec<_> = parameters(module)
        .into_iter()
        .filter(|(_, parameter)| parameter.is_trainable())
        .collect();
    let wrt: Vec<&Tensor<T>> = trainable
        .iter()
        .map(|(_, parameter)| parameter.tensor())
        .collect();
    let found = grad_of(loss, &wrt);
    trainable
        .into_iter()
        .zip(found)
        .filter_map(|((name, _), g)| Some((name, g?)))
        .collect()
}
