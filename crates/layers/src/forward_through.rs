//! A forward pass that also returns results of inner layers, by dotted name.

use crate::condition::Condition;
use crate::mode::Mode;
use crate::module::Module;
use crate::taps::Taps;
use engraft_tensor::{Real, Tensor};

/// What [`forward_through`] returns.
#[derive(Clone, Debug)]
pub struct Outputs<T: Real = f32> {
    /// The output of the module.
    pub main: Tensor<T>,
    /// The results of the requested parts, in the order of the request.
    pub parts: Vec<Tensor<T>>,
}

/// Runs a module and returns its output with the results of the parts with the given dotted names. Parts are inner
/// layers or [auxiliary heads](Module::forward_taps).
///
/// ```
/// use engraft_layers::{Condition, Dense, Init, LeakyReLU, Mode, Sequential, forward_through};
/// use engraft_tensor::Tensor;
///
/// let init = &mut Init::glorot(1);
/// let block = |from, to, init: &mut Init| {
///     Sequential::<f32>::new().add("dense", Dense::new(from, to, init)).add("act", LeakyReLU::new(0.2))
/// };
/// let net = Sequential::new()
///     .add("trunk", Sequential::new().add("block1", block(4, 3, init)).add("block2", block(3, 2, init)))
///     .add("head", Dense::new(2, 1, init));
/// let x = Tensor::ones([5, 4]);
/// let outputs = forward_through(&net, &x, &Condition::None, Mode::Eval, &["trunk.block1", "trunk.block2.dense"]);
/// assert_eq!(outputs.main.shape(), [5, 1]);
/// assert_eq!([outputs.parts[0].shape(), outputs.parts[1].shape()], [[5, 3], [5, 2]]);
/// ```
///
/// # Panics
/// If the forward pass hands out nothing with one of the names.
#[must_use]
#[track_caller]
pub fn forward_through<T: Real>(
    module: &dyn Module<T>,
    x: &Tensor<T>,
    condition: &Condition<T>,
    mode: Mode,
    names: &[&str],
) -> Outputs<T> {
    let mut found: Vec<_> = names.iter().map(|name| (name.to_string(), None)).collect();
    let main = module.forward_taps(x, condition, mode, &mut Taps::of(&mut found));
    let mut parts = Vec::new();
    for (name, part) in found {
        let Some(part) = part else {
            panic!(
                "forward_through: no layer {name:?}; the layers are {:?}",
                parts_of(module)
            )
        };
        parts.push(part);
    }
    Outputs { main, parts }
}

/// Number of values in the results of all innermost parts of a module: what a forward pass stores for its gradient.
pub fn stored_values<T: Real>(
    module: &dyn Module<T>,
    x: &Tensor<T>,
    condition: &Condition<T>,
    mode: Mode,
) -> usize {
    let results = results_of_parts(module, x, condition, mode);
    let has_inner = |name: &str| {
        let inner = format!("{name}.");
        results.iter().any(|(other, _)| other.starts_with(&inner))
    };
    let innermost = results.iter().filter(|(name, _)| !has_inner(name));
    innermost.map(|(_, result)| result.len()).sum()
}

/// The results of all parts that hand one out, by dotted name.
fn results_of_parts<T: Real>(
    module: &dyn Module<T>,
    x: &Tensor<T>,
    condition: &Condition<T>,
    mode: Mode,
) -> Vec<(String, Tensor<T>)> {
    let mut found: Vec<_> = parts_of(module).into_iter().map(|name| (name, None)).collect();
    module.forward_taps(x, condition, mode, &mut Taps::of(&mut found));
    found
        .into_iter()
        .filter_map(|(name, result)| Some((name, result?)))
        .collect()
}

/// The dotted name of the first part of a module whose result has a value that is not finite; `None` if all results are finite.
///
/// A module passes its inner parts in front of itself: `block1.dense` is named rather than `block1`.
pub fn first_part_not_finite<T: Real>(
    module: &dyn Module<T>,
    x: &Tensor<T>,
    condition: &Condition<T>,
    mode: Mode,
) -> Option<String> {
    let is_bad = |values: &Tensor<T>| values.as_slice().iter().any(|x| !x.is_finite());
    let bad: Vec<String> = results_of_parts(module, x, condition, mode)
        .into_iter()
        .filter(|(_, result)| is_bad(result))
        .map(|(name, _)| name)
        .collect();
    let mut first = bad.first()?.clone();
    while let Some(inner) = bad.iter().find(|name| name.starts_with(&format!("{first}."))) {
        first.clone_from(inner);
    }
    Some(first)
}

/// The dotted names of all parts of a module.
fn parts_of<T: Real>(module: &dyn Module<T>) -> Vec<String> {
    let mut names = Vec::new();
    for (name, child) in module.children() {
        names.push(name.to_string());
        names.extend(parts_of(child).into_iter().map(|part| format!("{name}.{part}")));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, Init, LeakyReLU, Residual, Sequential, children};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn block(init: &mut Init) -> Sequential<f64> {
        Sequential::new()
            .add("dense", Dense::new(3, 3, init))
            .add("act", LeakyReLU::new(0.2))
    }

    #[test]
    fn parts_of_parts_are_handed_out_and_change_nothing() {
        let init = &mut Init::glorot(1);
        let net = Sequential::new()
            .add("block1", block(init))
            .add("block2", Residual::new(block(init)))
            .add("act", LeakyReLU::new(0.2));
        let x = Tensor::randn([4, 3], &mut Pcg64::seed_from_u64(1));
        let names = ["block2.branch.act", "block1.dense", "block1", "block2", "act"];
        let outputs = forward_through(&net, &x, &Condition::None, Mode::Eval, &names);
        assert_eq!(outputs.main.as_slice(), net.forward(&x, Mode::Eval).as_slice());
        let [branch, dense, first, second, last] = outputs.parts.try_into().unwrap();
        assert_eq!(dense.leaky_relu(0.2).as_slice(), first.as_slice());
        assert_eq!((first + branch).as_slice(), second.as_slice());
        assert_eq!(last.as_slice(), outputs.main.as_slice());
    }

    /// A discriminator with an auxiliary classifier, which runs only on request.
    struct WithClassifier {
        body: Sequential<f64>,
        judge: Dense<f64>,
        classifier: Dense<f64>,
    }

    impl Module<f64> for WithClassifier {
        fn forward(&self, x: &Tensor<f64>, mode: Mode) -> Tensor<f64> {
            self.forward_taps(x, &Condition::None, mode, &mut Taps::none())
        }
        fn forward_taps(
            &self,
            x: &Tensor<f64>,
            condition: &Condition<f64>,
            mode: Mode,
            taps: &mut Taps<'_, f64>,
        ) -> Tensor<f64> {
            let features = self
                .body
                .forward_taps(x, condition, mode, &mut taps.under("body"));
            if taps.wants("classifier") {
                taps.put("classifier", &self.classifier.forward(&features, mode));
            }
            self.judge.forward(&features, mode)
        }
        children!(f64; body, judge, classifier);
    }

    #[test]
    fn an_auxiliary_head_is_asked_for_by_name() {
        let init = &mut Init::glorot(1);
        let net = WithClassifier {
            body: block(init),
            judge: Dense::new(3, 1, init),
            classifier: Dense::new(3, 10, init),
        };
        let x = Tensor::randn([4, 3], &mut Pcg64::seed_from_u64(1));
        let outputs = forward_through(
            &net,
            &x,
            &Condition::None,
            Mode::Train,
            &["classifier", "body.act"],
        );
        assert_eq!(outputs.main.as_slice(), net.forward(&x, Mode::Train).as_slice());
        let of_features = net.classifier.forward(&outputs.parts[1], Mode::Train);
        assert_eq!(outputs.parts[0].as_slice(), of_features.as_slice());
    }
}
