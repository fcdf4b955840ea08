//! Optimisers: one step over the named parameters of a module.

mod adam;
mod rmsprop;
mod schedule;
mod sgd;

pub use adam::Adam;
pub use rmsprop::RMSProp;
pub use schedule::Schedule;
pub use sgd::Sgd;

use crate::error::LayersError;
use crate::module::Module;
use crate::names::Names;
use crate::parameter::SlotMut;
use crate::visit::{Gradients, parameters, visit_mut};
use engraft_tensor::{Real, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A rule that changes parameters by their gradients.
///
/// State is kept by parameter name. Frozen parameters, and those without a gradient, are left alone, and
/// so is their state.
pub trait Optimizer<T: Real = f32>: Send {
    /// Changes every trainable parameter of `module` for which `gradients` has an entry.
    ///
    /// # Panics
    /// If a gradient has another shape than its parameter, or the parameter another size than in the steps before: an
    /// optimiser follows one module. What changes sizes, as adapting anew with another rank, needs a new optimiser.
    fn step(&mut self, module: &mut dyn Module<T>, gradients: &Gradients<T>);

    /// Everything that the next step depends on, beside the settings.
    fn state(&self) -> OptimizerState<T>;

    /// Goes to a saved state of an optimiser for `module`.
    ///
    /// # Errors
    /// [`LayersError::OptimizerKind`] if the state was saved by another kind of optimiser;
    /// [`LayersError::Mismatch`] if its moments are not those of the module's parameters. Nothing is changed
    /// then.
    fn load_state(&mut self, state: OptimizerState<T>, module: &dyn Module<T>) -> Result<(), LayersError>;
}

/// Saved state of an optimiser: numbers in one part, tensors in the other, because they go to different
/// files of a checkpoint.
#[derive(Clone, Debug)]
pub struct OptimizerState<T: Real = f32> {
    /// Counters.
    pub counters: OptimizerCounters,
    /// Moments, by `moment name` and parameter name joined with a dot.
    pub tensors: BTreeMap<String, Tensor<T>>,
}

/// The counters of an optimiser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptimizerCounters {
    /// Kind of optimiser.
    pub kind: String,
    /// Steps of the whole optimiser, which drive the schedule.
    pub steps: u64,
    /// Steps of each parameter, which drive the bias correction: a parameter unfrozen late starts at 0.
    pub parameter_steps: BTreeMap<String, u64>,
}

/// What every optimiser can be set to.
#[derive(Clone, Debug)]
struct Settings {
    lr: f64,
    weight_decay: f64,
    schedule: Schedule,
    groups: Vec<(Names, f64)>,
}

impl Settings {
    fn new(lr: f64) -> Self {
        Self {
            lr,
            weight_decay: 0.0,
            schedule: Schedule::Constant,
            groups: Vec::new(),
        }
    }

    /// Learning rate of a parameter: the last group that holds its name decides.
    fn lr_of(&self, name: &str, step: u64) -> f64 {
        let base = self
            .groups
            .iter()
            .rev()
            .find(|(names, _)| names.matches(name))
            .map_or(self.lr, |g| g.1);
        base * self.schedule.factor(step)
    }
}

/// State that is kept for each parameter: `M` moments of its size, and its steps.
#[derive(Clone, Debug)]
struct Moments<T, const M: usize> {
    steps: u64,
    values: [Vec<T>; M],
}

/// Settings and state; what differs between optimisers is the update of one parameter.
#[derive(Clone, Debug)]
struct Core<T, const M: usize> {
    kind: &'static str,
    names: [&'static str; M],
    settings: Settings,
    steps: u64,
    moments: BTreeMap<String, Moments<T, M>>,
}

/// What the update of one parameter gets beside its values, its gradient and its moments.
struct Rates {
    /// Learning rate of this parameter in this step.
    lr: f64,
    /// Decoupled weight decay.
    weight_decay: f64,
    /// Steps of this parameter, this one included.
    step: u64,
}

impl<T: Real, const M: usize> Core<T, M> {
    fn new(kind: &'static str, names: [&'static str; M], lr: f64) -> Self {
        Self {
            kind,
            names,
            settings: Settings::new(lr),
            steps: 0,
            moments: BTreeMap::new(),
        }
    }

    fn step(
        &mut self,
        module: &mut dyn Module<T>,
        gradients: &Gradients<T>,
        update: impl Fn(&mut [T], &[T], &mut [Vec<T>; M], &Rates),
    ) {
        let Self {
            settings,
            moments,
            steps,
            kind,
            ..
        } = self;
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
                "{kind}: the gradient of {name} has shape {:?}, the parameter {:?}",
                gradient.shape(),
                parameter.tensor().shape()
            );
            let size = gradient.len();
            let entry = moments.entry(name.clone()).or_insert_with(|| Moments {
                steps: 0,
                values: std::array::from_fn(|_| vec![T::zero(); size]),
            });
            // Begun anew, they would be forgotten without a word; `load_state` refuses them too.
            if let Some(moment) = entry.values.iter().find(|values| values.len() != size) {
                panic!(
                    "{kind}: the moments of {name} are of {} numbers, the parameter of shape {:?} has {size}; make a new \
                     optimiser for a module whose sizes changed",
                    moment.len(),
                    gradient.shape()
                );
            }
            // Saturating: a file may claim any count.
            entry.steps = entry.steps.saturating_add(1);
            let rates = Rates {
                lr: settings.lr_of(&name, *steps),
                weight_decay: settings.weight_decay,
                step: entry.steps,
            };
            parameter.update(|values| update(values, gradient.as_slice(), &mut entry.values, &rates));
        });
        self.steps = self.steps.saturating_add(1);
    }

    fn state(&self) -> OptimizerState<T> {
        let mut tensors = BTreeMap::new();
        for (name, moments) in &self.moments {
            for (moment, values) in self.names.iter().zip(&moments.values) {
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
            kind: self.kind.into(),
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
        if kind != self.kind {
            return Err(LayersError::OptimizerKind {
                expected: self.kind,
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
            // The moments of a name that is no parameter stay behind, and are unexpected.
            let Some(&size) = sizes.get(&name) else { continue };
            let values = self.names.map(|moment| {
                let key = format!("{moment}.{name}");
                match state.tensors.remove(&key) {
                    Some(tensor) if tensor.shape() == [size] => return tensor.as_slice().to_vec(),
                    Some(tensor) => shapes.push((key, vec![size], tensor.shape().to_vec())),
                    None => missing.push(key),
                }
                Vec::new()
            });
            loaded.insert(name, Moments { steps: count, values });
        }
        let unexpected: Vec<String> = state.tensors.into_keys().collect();
        if !(missing.is_empty() && unexpected.is_empty() && shapes.is_empty()) {
            return Err(LayersError::Mismatch {
                what: "the state of the optimiser".into(),
                missing,
                unexpected,
                shapes,
            });
        }
        self.steps = steps;
        self.moments = loaded;
        Ok(())
    }

    /// Names that the groups hold must exist.
    fn check(&self, module: &dyn Module<T>) -> Result<(), LayersError> {
        let names: Vec<String> = parameters(module).into_iter().map(|(name, _)| name).collect();
        let unmatched: Vec<String> = self
            .settings
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
}

macro_rules! common_settings {
    () => {
        /// Decoupled weight decay: every step also takes `lr · weight_decay` of each weight away.
        ///
        /// *Source*: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
        #[must_use]
        pub fn weight_decay(mut self, weight_decay: f64) -> Self {
            self.core.settings.weight_decay = weight_decay;
            self
        }

        /// How the learning rate changes with the steps; constant at first.
        #[must_use]
        pub fn schedule(mut self, schedule: Schedule) -> Self {
            self.core.settings.schedule = schedule;
            self
        }

        /// Gives the parameters of a name pattern a learning rate of their own; of several groups that hold
        /// a name the last one decides.
        #[must_use]
        pub fn group(mut self, names: Names, lr: f64) -> Self {
            self.core.settings.groups.push((names, lr));
            self
        }

        /// Checks that every part of every group's pattern matches a parameter of the module.
        ///
        /// # Errors
        /// [`LayersError::NoSuchName`] with what matches nothing.
        pub fn check(&self, module: &dyn Module<T>) -> Result<(), LayersError> {
            self.core.check(module)
        }
    };
}
use common_settings;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, Init};

    #[test]
    fn groups_and_frozen_parameters() {
        let mut layer = Dense::<f64>::new(1, 1, &mut Init::glorot(1));
        let mut sgd = Sgd::new(1.0).group(Names::under(["bias"]), 0.5);
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
    fn a_group_that_matches_nothing_is_an_error() {
        let layer = Dense::<f32>::new(1, 1, &mut Init::glorot(1));
        let adam = Adam::new(1e-3).group(Names::under(["wieght"]), 1e-4);
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
    #[should_panic(expected = "adam: the gradient of weight has shape [1, 2], the parameter [2, 1]")]
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
