//! Gradients of every layer in its input and parameters, first and second order, against differences.

use crate::configurations::{Configuration, configurations};
use engraft_layers::{Adapter, Module, gradients, parameters, rng_states, set_rng_states, visit_mut};
use engraft_tensor::{Real, Tensor, grad_of, grad_of_with_graph};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;

/// Step of the central difference.
const STEP: f64 = 1e-6;

/// The input first, then every parameter.
pub(crate) type Point = Vec<Tensor<f64>>;

/// A layer as a function of its input and parameters.
pub(crate) struct Function {
    configuration: Configuration,
    module: Box<dyn Module<f64>>,
    generators: BTreeMap<String, Pcg64>,
    /// Random projections of the output and of its gradients.
    v: Tensor<f64>,
    directions: Point,
}

impl Function {
    pub(crate) fn new(configuration: &Configuration) -> (Self, Point) {
        let rng = &mut Pcg64::seed_from_u64(0x9a7e);
        let module = configuration.build::<f64>();
        let mut point = vec![configuration.input()];
        point.extend(
            parameters(module.as_ref())
                .iter()
                .map(|(_, p)| p.tensor().detach()),
        );
        let generators = rng_states(module.as_ref());
        let v = Tensor::randn(module.forward(&point[0], configuration.mode).shape(), rng);
        let directions = point.iter().map(|x| Tensor::randn(x.shape(), rng)).collect();
        let configuration = configuration.clone();
        (
            Self {
                configuration,
                module,
                generators,
                v,
                directions,
            },
            point,
        )
    }

    /// `<f(x), v>` at order 1, `Σ_i <∂<f(x), v>/∂x_i, w_i>` at order 2, with the leaves of its graph.
    fn evaluate(&mut self, point: &[Tensor<f64>], order: usize) -> (Point, Tensor<f64>) {
        let mut values = point[1..].iter();
        visit_mut(self.module.as_mut(), |_, slot| {
            if let engraft_layers::SlotMut::Parameter(parameter) = slot {
                parameter.set(values.next().expect("one value per parameter"));
            }
        });
        set_rng_states(self.module.as_mut(), &self.generators).expect("the states come from this module");
        let mut leaves = vec![point[0].as_leaf()];
        leaves.extend(
            parameters(self.module.as_ref())
                .iter()
                .map(|(_, p)| p.tensor().clone()),
        );
        let y = (self.module.forward(&leaves[0], self.configuration.mode) * &self.v).sum();
        if order == 1 {
            return (leaves, y);
        }
        let wrt: Vec<&Tensor<f64>> = leaves.iter().collect();
        let found = grad_of_with_graph(&y, &wrt);
        let terms = found
            .iter()
            .zip(&self.directions)
            .filter_map(|(g, w)| Some((g.as_ref()? * w).sum()));
        let total = terms.fold(Tensor::scalar(0.0), |total, term| total + term);
        (leaves, total)
    }

    pub(crate) fn check(&mut self, point: &[Tensor<f64>], order: usize) -> Result<(), TestCaseError> {
        let rng = &mut Pcg64::seed_from_u64(0x1cec);
        let (leaves, y) = self.evaluate(point, order);
        let by_rule = grad_of(&y, &leaves.iter().collect::<Vec<_>>());
        for (i, gradient) in by_rule.iter().enumerate() {
            let u = Tensor::randn(point[i].shape(), rng);
            let mut at = |step: f64| {
                let mut moved = point.to_vec();
                moved[i] = &point[i] + &u * step;
                self.evaluate(&moved, order).1.item()
            };
            let (plus, minus) = (at(STEP), at(-STEP));
            let difference = (plus - minus) / (2.0 * STEP);
            let rule = gradient.as_ref().map_or(0.0, |g| (g * &u).sum().item());
            // The second term bounds the rounding of the two values, amplified by the division.
            let allowed = 1e-5 * rule.abs().max(difference.abs()) + 1e-8 * (1.0 + plus.abs());
            prop_assert!(
                (rule - difference).abs() <= allowed,
                "order {order}, input {i}: {rule:e} by rule, {difference:e} by difference"
            );
        }
        Ok(())
    }
}

/// Output and every gradient of `Σ y²`, as `f64`.
fn everything<T: Real>(configuration: &Configuration) -> BTreeMap<String, Tensor<f64>> {
    let module = configuration.build::<T>();
    let x = configuration.input::<T>().as_leaf();
    let y = module.forward(&x, configuration.mode);
    let loss = y.square().sum();
    let mut found: BTreeMap<_, _> = gradients(&loss, module.as_ref()).into_iter().collect();
    found.extend(
        grad_of(&loss, &[&x])
            .into_iter()
            .flatten()
            .map(|g| ("input of it".to_string(), g)),
    );
    found.insert("output of it".into(), y.detach());
    found.into_iter().map(|(name, t)| (name, t.cast())).collect()
}

proptest! {
    #![proptest_config(crate::cases(192))]

    #[test]
    fn gradients_are_right_at_both_orders(configuration in configurations()) {
        let (mut function, point) = Function::new(&configuration);
        function.check(&point, 1)?;
        function.check(&point, 2)?;
    }

    #[test]
    fn f32_follows_f64(configuration in configurations()) {
        // If two singular values are close together, rounding decides which vectors belong to them.
        prop_assume!(configuration.adapter != Some(Adapter::SingularValues));
        let (single, double) = (everything::<f32>(&configuration), everything::<f64>(&configuration));
        prop_assert!(single.keys().eq(double.keys()));
        // A gradient may cancel to zero (a bias before a batch norm), so the largest one is the scale.
        let scale = double.values().flat_map(|t| t.as_slice()).fold(1.0_f64, |m, v| m.max(v.abs()));
        for (name, exact) in &double {
            let distance = (&single[name] - exact).abs();
            let worst = distance.as_slice().iter().fold(0.0_f64, |m, &v| m.max(v));
            prop_assert!(worst <= 1e-4 * scale && single[name].is_finite(), "{name}: {worst:e} of {scale:e}");
        }
    }
}
