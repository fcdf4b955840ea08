//! Optimizers of the named parameters of a module.

mod adam;
mod clip;
mod rmsprop;
mod schedule;
mod sgd;

pub use adam::{Adam, AdamRule};
pub use clip::{clip_norm, clip_value};
pub use rmsprop::{RMSProp, RMSPropRule};
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdRule};

use crate::error::LayersError;
use crate::module::Module;
use crate::param_filter::ParamFilter;
use crate::parameter::SlotMut;
use crate::visit::{Gradients, parameters, visit_mut};
use engraft_tensor::{Real, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Updates parameters by their gradients.
///
/// State is stored by parameter name. Frozen parameters and parameters without a gradient are unchanged, and so is
/// their state.
pub trait Optimizer<T: Real = f32>: Send {
    /// Updates every trainable parameter of `module` that has an entry in `gradients`.
    ///
    /// # Panics
    /// If the shape of a gradient differs from its parameter, or the size of a parameter differs from the steps before. If
    /// sizes change, for example by adapting again with another rank, make a new optimizer.
    fn step(&mut self, module: &mut dyn Module<T>, gradients: &Gradients<T>);

    /// Learning rate, without the factor of the schedule.
    fn lr(&self) -> f64;

    /// Sets the learning rate. It is a setting, not part of [`state`](Self::state). Groups with their own rate keep it.
    fn set_lr(&mut self, lr: f64);

    /// Everything that the next step depends on, except the settings.
    fn state(&self) -> OptimizerState<T>;

    /// Restores a saved state of an optimizer of `module`.
    ///
    /// # Errors
    /// [`LayersError::OptimizerKind`] if the state belongs to another kind of optimizer.
    /// [`LayersError::Mismatch`] if its moments do not match the module's parameters. In both cases nothing is changed.
    fn load_state(&mut self, state: OptimizerState<T>, module: &dyn Module<T>) -> Result<(), LayersError>;
}

/// Saved state of an optimizer. Counters and tensors are separate, because they go to different files of a
/// checkpoint.
#[derive(Clone, Debug)]
pub struct OptimizerState<T: Real = f32> {
    /// Counters.
    pub counters: OptimizerCounters,
    /// Moments, by moment name and parameter name joined with a dot.
    pub tensors: BTreeMap<String, Tensor<T>>,
}

/// The counters of an optimizer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptimizerCounters {
    /// Kind of optimizer.
    pub kind: String,
    /// Number of steps of the optimizer, which the schedule depends on.
    pub steps: u64,
    /// Number of steps of each parameter, which bias correction depends on. It is 0 for a newly unfrozen parameter.
    pub parameter_steps: BTreeMap<String, u64>,
}

/// The update rule of one parameter. [`RuleOptimizer`] adds state, groups and schedules.
///
/// ```
/// use engraft_layers::{Rates, RuleOptimizer, UpdateRule};
/// use engraft_tensor::Real;
///
/// /// Steps of constant size against the sign of the gradient.
/// #[derive(Clone, Debug)]
/// struct Sign;
///
/// impl UpdateRule for Sign {
///     const KIND: &'static str = "sign";
///     const MOMENTS: &'static [&'static str] = &[];
///
///     fn update<T: Real>(&self, values: &mut [T], gradient: &[T], _: &mut [Vec<T>], rates: &Rates) {
///         for (x, g) in values.iter_mut().zip(gradient) {
///             *x = *x - T::from_f64(rates.lr) * g.signum();
///         }
///     }
/// }
///
/// let optimizer: RuleOptimizer<Sign> = RuleOptimizer::with_rule(Sign, 1e-3);
/// ```
pub trait UpdateRule: Clone + fmt::Debug + Send + 'static {
    /// Name of the optimizer in saved states.
    const KIND: &'static str;
    /// Names of the moments. Every parameter has one tensor per name, of its own size and initially zero.
    const MOMENTS: &'static [&'static str];

    /// Updates the values of one parameter and its moments, which are in the order of [`MOMENTS`](Self::MOMENTS).
    fn update<T: Real>(&self, values: &mut [T], gradient: &[T], moments: &mut [Vec<T>], rates: &Rates);
}

/// Rates and counters for the update of one parameter.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Rates {
    /// Learning rate of this parameter in this step.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of steps of this parameter, including this one.
    pub step: u64,
}

/// An optimizer with an [`UpdateRule`], settings, and state by parameter name.
///
/// [`Adam`], [`RMSProp`] and [`Sgd`] are of this type.
#[derive(Clone, Debug)]
pub struct RuleOptimizer<R, T: Real = f32> {
    rule: R,
    lr: f64,
    weight_decay: f64,
    schedule: Schedule,
    groups: Vec<(ParamFilter, f64)>,
    steps: u64,
    moments: BTreeMap<String, Moments<T>>,
}

/// State of one parameter: moments of its size, and its number of steps.
#[derive(Clone, Debug)]
struct Moments<T> {
    steps: u64,
    values: Vec<Vec<T>>,
}

impl<R: UpdateRule, T: Real> RuleOptimizer<R, T> {
    /// An optimizer with a learning rate, a constant schedule and no weight decay.
    pub fn with_rule(rule: R, lr: f64) -> Self {
        Self {
            rule,
            lr,
            weight_decay: 0.0,
            schedule: Schedule::Constant,
            groups: Vec::new(),
            steps: 0,
            moments: BTreeMap::new(),
        }
    }

    /// Decoupled weight decay: every step also subtracts `lr · weight_decay` times each weight.
    ///
    /// *Source*: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// The learning-rate schedule, by default constant.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Sets another learning rate for the parameters that match a filter. If several groups match a name, the last one
    /// applies.
    #[must_use]
    pub fn group(mut self, names: ParamFilter, lr: f64) -> Self {
        self.groups.push((names, lr));
        self
    }

    /// Checks that every part of every group's filter matches a parameter of the module.
    ///
    /// # Errors
    /// [`LayersError::NoSuchName`] with the parts that match nothing.
    pub fn check(&self, module: &dyn Module<T>) -> Result<(), LayersError> {
        let names: Vec<String> = parameters(module).into_iter().map(|(name, _)| name).collect();
        let unmatched: Vec<String> = self
            .groups
            .iter()
            .flat_map(|(g, _)| g.unmatched(&names))
            .map(Into::into)
            .collect();
        if unmatched.is_empty() {
            Ok(())
        } else {
            Err(LayersError::NoSuchName { unmatched, names })
        }
    }

    /// Learning rate of a parameter in the step after `steps` steps. The last matching group applies.
    fn lr_of(&self, name: &str, steps: u64) -> f64 {
        let group = self.groups.iter().rev().find(|(names, _)| names.matches(name));
        group.map_or(self.lr, |g| g.1) * self.schedule.factor(steps)
    }
}

impl<R: UpdateRule, T: Real> Optimizer<T> for RuleOptimizer<R, T> {
    fn step(&mut self, module: &mut dyn Module<T>, gradients: &Gradients<T>) {
        let kind = R::KIND;
        visit_mut(module, |path, slot| {
            let SlotMut::Parameter(parameter) = slot else {
                return;
            };
            let name = path.to_string();
            let Some(gradient) = gradients.get(&name).filter(|_| parameter.is_trainable()) else {
                return;
            };
            assert!(
                gradient.shape() == parameter.tensor().shape(),
                "{kind}: the gradient of {name} has shape {:?}, but the parameter has {:?}",
                gradient.shape(),
                parameter.tensor().shape()
            );
            let lr = self.lr_of(&name, self.steps);
            let size = gradient.len();
            let entry = self.moments.entry(name.clone()).or_insert_with(|| Moments {
                steps: 0,
                values: R::MOMENTS.iter().map(|_| vec![T::zero(); size]).collect(),
            });
            // Resetting them would lose them silently; `load_state` refuses this case too.
            if let Some(moment) = entry.values.iter().find(|values| values.len() != size) {
                panic!(
                    "{kind}: the moments of {name} are of {} numbers, the parameter of shape {:?} has {size}; make a new \
                     optimizer for a module whose sizes changed",
                    moment.len(),
                    gradient.shape()
                );
            }
            // Saturating, because a file may claim any count.
            entry.steps = entry.steps.saturating_add(1);
            let rates = Rates {
                lr,
                weight_decay: self.weight_decay,
                step: entry.steps,
            };
            let rule = &self.rule;
            parameter.update(|values| rule.update(values, gradient.as_slice(), &mut entry.values, &rates));
        });
        self.steps = self.steps.saturating_add(1);
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn state(&self) -> OptimizerState<T> {
        let mut tensors = BTreeMap::new();
        for (name, moments) in &self.moments {
            for (moment, values) in R::MOMENTS.iter().zip(&moments.values) {
                tensors.insert(
                    format!("{moment}.{name}"),
                    Tensor::from_vec([values.len()], values.clone()),
                );
            }
        }
        let parameter_steps = self
            .moments
            .iter()
            .map(|(name, m)| (name.clone(), m.steps))
            .collect();
        let counters = OptimizerCounters {
            kind: R::KIND.into(),
            steps: self.steps,
            parameter_steps,
        };
        OptimizerState { counters, tensors }
    }

    fn load_state(
        &mut self,
        mut state: OptimizerState<T>,
        module: &dyn Module<T>,
    ) -> Result<(), LayersError> {
        let OptimizerCounters {
            kind,
            steps,
            parameter_steps,
        } = state.counters;
        if kind != R::KIND {
            return Err(LayersError::OptimizerKind {
                expected: R::KIND,
                found: kind,
            });
        }
        let sizes: BTreeMap<String, usize> = parameters(module)
            .into_iter()
            .map(|(name, parameter)| (name, parameter.tensor().len()))
            .collect();
        let (mut missing, mut shapes) = (Vec::new(), Vec::new());
        let mut loaded = BTreeMap::new();
        for (name, count) in parameter_steps {
            // Moments of unknown parameter names remain and are reported as unexpected.
            let Some(&size) = sizes.get(&name) else { continue };
            let mut values = Vec::new();
            for moment in R::MOMENTS {
                let key = format!("{moment}.{name}");
                match state.tensors.remove(&key) {
                    Some(tensor) if tensor.shape() == [size] => values.push(tensor.as_slice().to_vec()),
                    Some(tensor) => shapes.push((key, vec![size], tensor.shape().to_vec())),
                    None => missing.push(key),
                }
            }
            loaded.insert(name, Moments { steps: count, values });
        }
        let unexpected: Vec<String> = state.tensors.into_keys().collect();
        if !(missing.is_empty() && unexpected.is_empty() && shapes.is_empty()) {
            return Err(LayersError::Mismatch {
                what: "the optimizer state".into(),
                missing,
                unexpected,
                shapes,
            });
        }
        self.steps = steps;
        self.moments = loaded;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, Init};

    #[test]
    fn groups_and_frozen_parameters() {
        let mut layer = Dense::<f64>::new(1, 1, &mut Init::glorot(1));
        let mut sgd = Sgd::new(1.0).group(ParamFilter::under(["bias"]), 0.5);
        let gradients: Gradients<f64> = [("weight", [1, 1].as_slice()), ("bias", &[1])]
            .map(|(n, shape)| (n.to_string(), Tensor::ones(shape)))
            .into();
        let before: Vec<f64> = parameters(&layer)
            .iter()
            .map(|(_, p)| p.tensor().item())
            .collect();
        sgd.step(&mut layer, &gradients);
        let after: Vec<f64> = parameters(&layer)
            .iter()
            .map(|(_, p)| p.tensor().item())
            .collect();
        assert_eq!((before[0] - after[0], before[1] - after[1]), (1.0, 0.5));
        visit_mut(&mut layer, |_, slot| {
            if let SlotMut::Parameter(p) = slot {
                p.freeze();
            }
        });
        sgd.step(&mut layer, &gradients);
        assert_eq!(parameters(&layer)[0].1.tensor().item(), after[0]);
    }

    #[test]
    fn the_learning_rate_can_be_set_through_the_trait() {
        let mut layer = Dense::<f64>::new(1, 1, &mut Init::glorot(1)).no_bias();
        let mut optimizer: Box<dyn Optimizer<f64>> = Box::new(Sgd::new(1.0));
        optimizer.set_lr(0.25);
        assert_eq!(optimizer.lr(), 0.25);
        let before = parameters(&layer)[0].1.tensor().item();
        let gradients: Gradients<f64> = [("weight".to_string(), Tensor::ones([1, 1]))].into();
        optimizer.step(&mut layer, &gradients);
        assert!((before - parameters(&layer)[0].1.tensor().item() - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_group_that_matches_nothing_is_an_error() {
        let layer = Dense::<f32>::new(1, 1, &mut Init::glorot(1));
        let adam = Adam::new(1e-3).group(ParamFilter::under(["wieght"]), 1e-4);
        let error = adam.check(&layer).unwrap_err().to_string();
        assert!(error.contains("wieght") && error.contains("weight"), "{error}");
    }

    #[test]
    fn a_saved_state_continues_exactly() {
        let gradient = |k: f64| -> Gradients<f64> {
            [
                ("weight".to_string(), Tensor::full([1, 1], k)),
                ("bias".to_string(), Tensor::full([1], -k)),
            ]
            .into()
        };
        let make = || (Dense::<f64>::new(1, 1, &mut Init::glorot(1)), Adam::new(0.1));
        let (mut a, mut opt_a) = make();
        let (mut b, mut opt_b) = make();
        for k in [1.0, 2.0, -1.0] {
            opt_a.step(&mut a, &gradient(k));
            opt_b.step(&mut b, &gradient(k));
            let mut fresh = Adam::new(0.1);
            fresh.load_state(opt_b.state(), &b).unwrap();
            opt_b = fresh;
        }
        for ((_, p), (_, q)) in parameters(&a).iter().zip(parameters(&b)) {
            assert_eq!(p.tensor().as_slice(), q.tensor().as_slice());
        }
        assert!(Sgd::<f64>::new(0.1).load_state(opt_a.state(), &a).is_err());
    }

    #[test]
    #[should_panic(expected = "adam: the gradient of weight has shape [1, 2], but the parameter has [2, 1]")]
    fn a_gradient_of_another_shape_is_refused() {
        let mut layer = Dense::<f64>::new(2, 1, &mut Init::glorot(1));
        let gradients: Gradients<f64> = [("weight".to_string(), Tensor::ones([1, 2]))].into();
        Adam::new(0.1).step(&mut layer, &gradients);
    }

    #[test]
    #[should_panic(
        expected = "adam: the moments of weight are of 2 numbers, the parameter of shape [3, 1] has 3"
    )]
    fn a_parameter_whose_size_changed_is_refused() {
        let mut adam = Adam::new(0.1);
        for inputs in [2, 3] {
            let mut layer = Dense::<f64>::new(inputs, 1, &mut Init::glorot(1));
            let gradients: Gradients<f64> = [("weight".to_string(), Tensor::ones([inputs, 1]))].into();
            adam.step(&mut layer, &gradients);
        }
    }

    #[test]
    fn the_largest_counters_of_a_file_do_not_overflow() {
        let mut layer = Dense::<f64>::new(1, 1, &mut Init::glorot(1));
        let gradients: Gradients<f64> = [("weight".to_string(), Tensor::ones([1, 1]))].into();
        let mut adam = Adam::new(0.1);
        adam.step(&mut layer, &gradients);
        let mut state = adam.state();
        state.counters.steps = u64::MAX;
        state.counters.parameter_steps.insert("weight".into(), u64::MAX);
        adam.load_state(state, &layer).unwrap();
        adam.step(&mut layer, &gradients);
        assert_eq!(adam.state().counters.steps, u64::MAX);
    }

    #[test]
    fn moments_of_another_module_are_refused_by_name() {
        let mut layer = Dense::<f64>::new(2, 1, &mut Init::glorot(1));
        let mut adam = Adam::new(0.1);
        let gradients: Gradients<f64> = [("weight".to_string(), Tensor::ones([2, 1]))].into();
        adam.step(&mut layer, &gradients);
        let wider = Dense::<f64>::new(3, 1, &mut Init::glorot(1));
        let error = Adam::new(0.1)
            .load_state(adam.state(), &wider)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("first_moment.weight: expected shape [3], found [2]"),
            "{error}"
        );
        let mut state = adam.state();
        let moment = state.tensors.remove("second_moment.weight").unwrap();
        state.tensors.insert("second_moment.wieght".into(), moment);
        let error = Adam::new(0.1).load_state(state, &layer).unwrap_err().to_string();
        assert!(
            error.contains("missing: second_moment.weight")
                && error.contains("unexpected: second_moment.wieght"),
            "{error}"
        );
    }
}
