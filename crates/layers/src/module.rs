//! The module: a forward pass, and what it is made of.

use crate::condition::Condition;
use crate::layer::parametrization::Parametrization;
use crate::mode::Mode;
use crate::parameter::{Slot, SlotMut};
use crate::taps::Taps;
use engraft_tensor::{Real, Tensor};

/// A function of a tensor with state of its own.
///
/// Implementing it takes [`forward`](Module::forward) and, for a module that is made of others or holds something, what it
/// is made of: its children by name (the macro [`children!`](crate::children) writes both methods) and its own parameters,
/// buffers and random streams (the macro [`slots!`](crate::slots)). Counting, saving, loading, freezing, optimizing,
/// adapters and spectral normalization are functions over these.
///
/// ```
/// use engraft_layers::{Dense, Init, Mode, Module, Parameter, Sequential, children, parameters, slots};
/// use engraft_tensor::{Real, Tensor};
///
/// /// `scale · x` with one learned number.
/// struct Scale<T: Real> {
///     scale: Parameter<T>,
/// }
///
/// impl<T: Real> Module<T> for Scale<T> {
///     fn forward(&self, x: &Tensor<T>, _mode: Mode) -> Tensor<T> {
///         x * self.scale.tensor()
///     }
///     slots!(T; Parameter scale);
/// }
///
/// /// A module made of others.
/// struct Net {
///     body: Sequential,
///     scale: Scale<f32>,
/// }
///
/// impl Module for Net {
///     fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
///         self.scale.forward(&self.body.forward(x, mode), mode)
///     }
///     children!(body, scale);
/// }
///
/// let net = Net {
///     body: Sequential::new().add("dense", Dense::new(3, 2, &mut Init::glorot(1))),
///     scale: Scale { scale: Parameter::new(Tensor::scalar(2.0)) },
/// };
/// assert_eq!(net.forward(&Tensor::ones([4, 3]), Mode::Eval).shape(), [4, 2]);
/// let names: Vec<_> = parameters(&net).into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["body.dense.weight", "body.dense.bias", "scale.scale"]);
/// ```
pub trait Module<T: Real = f32>: Send + Sync {
    /// Computes the output for `x`. In [`Mode::Train`] buffers and random streams move on.
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T>;

    /// As [`forward`](Module::forward), under a condition, as the labels of the examples. A module that has no use for
    /// it ignores it; one that is made of others hands it on to them, as [`Sequential`](crate::Sequential) does.
    fn forward_with(&self, x: &Tensor<T>, condition: &Condition<T>, mode: Mode) -> Tensor<T> {
        let _ = condition;
        self.forward(x, mode)
    }

    /// As [`forward_with`](Module::forward_with), and hands out what parts of this module put out where `taps` asks for it:
    /// features of inner layers, or what an auxiliary head says, which is computed only then.
    /// [`forward_through`](crate::forward_through) asks by dotted names.
    ///
    /// [`Sequential`](crate::Sequential) hands out the results of its layers, and asks the layers themselves for what lies
    /// within them. A module that is made of others may do as much:
    ///
    /// ```
    /// use engraft_layers::{Condition, Dense, Mode, Module, Sequential, Taps, children};
    /// use engraft_tensor::Tensor;
    ///
    /// /// A discriminator that can also tell the class.
    /// struct WithClassifier {
    ///     body: Sequential,
    ///     judge: Dense,
    ///     classifier: Dense,
    /// }
    ///
    /// impl Module for WithClassifier {
    ///     fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
    ///         self.forward_taps(x, &Condition::None, mode, &mut Taps::none())
    ///     }
    ///     fn forward_taps(&self, x: &Tensor, condition: &Condition, mode: Mode, taps: &mut Taps) -> Tensor {
    ///         let features = self.body.forward_taps(x, condition, mode, &mut taps.under("body"));
    ///         if taps.wants("classifier") {
    ///             taps.put("classifier", &self.classifier.forward(&features, mode));
    ///         }
    ///         self.judge.forward(&features, mode)
    ///     }
    ///     children!(body, judge, classifier);
    /// }
    /// ```
    fn forward_taps(
        &self,
        x: &Tensor<T>,
        condition: &Condition<T>,
        mode: Mode,
        taps: &mut Taps<'_, T>,
    ) -> Tensor<T> {
        let _ = taps;
        self.forward_with(x, condition, mode)
    }

    /// The modules that this one is made of, by name, in a fixed order. Names have no dots; the child that a mere wrapper
    /// is around may have an empty name, so that what it holds is named as the wrapper's own.
    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        Vec::new()
    }

    /// The same modules under the same names in the same order as [`children`](Module::children), for changing them.
    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        Vec::new()
    }

    /// The parameters, buffers and random streams that this module holds itself, by name, in a fixed order. In the names
    /// of a whole network they stand before those of the children.
    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        Vec::new()
    }

    /// The same slots under the same names in the same order as [`slots`](Module::slots), for changing them.
    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        Vec::new()
    }

    /// One line that says what this is, for tables: `Conv2d 5x5 64 -> 128, stride 2, same`.
    fn describe(&self) -> String {
        "module".into()
    }

    /// What this module can do together with the layer before or behind it in a chain; `None` for most.
    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        None
    }

    /// As [`fusion`](Module::fusion), for folding.
    fn fusion_mut(&mut self) -> Option<&mut dyn Fusion<T>> {
        None
    }

    /// What decides which weight a dense or convolutional layer uses; `None` for any other module.
    #[doc(hidden)]
    fn parametrization_mut(&mut self) -> Option<&mut Parametrization<T>> {
        None
    }

    /// How the forward pass runs the children, for tables.
    #[doc(hidden)]
    fn arrangement(&self) -> Arrangement {
        Arrangement::Opaque
    }
}

/// How a forward pass runs the children of a module.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// In a way of its own: a table shows the module as one.
    Opaque,
    /// One after the other.
    Chain,
    /// Side by side on the module's input, with results of its own result's shape.
    Parallel,
}

/// What a module can do together with its neighbors in a chain, in fewer passes over memory than one after the other, and
/// what of a chain becomes part of a weight where it is only evaluated.
pub trait Fusion<T: Real = f32>: Module<T> {
    /// The slope, for a module that is a leaky ReLU and nothing else (0 for a ReLU); `None` for any other.
    ///
    /// A chain then runs it together with the layer before it, by [`Fusion::forward_leaky_relu`]. The slope
    /// must be finite and not negative.
    fn as_leaky_relu(&self) -> Option<f64> {
        None
    }

    /// Computes `self.forward_with(x, condition, mode).leaky_relu(slope)`, up to rounding.
    fn forward_leaky_relu(
        &self,
        x: &Tensor<T>,
        condition: &Condition<T>,
        mode: Mode,
        slope: f64,
    ) -> Tensor<T> {
        self.forward_with(x, condition, mode).leaky_relu(slope)
    }

    /// Scale and shift, `[c]` each, of a module that is `x · scale + shift` over the channels (the last axis)
    /// in evaluation mode; `None` for any other.
    fn eval_affine(&self) -> Option<[Tensor<T>; 2]> {
        None
    }

    /// Changes the parameters such that the result is `y · scale + shift` where it was `y`, with scale and
    /// shift `[c]` over the channels. A module that cannot do so stays as it is and returns `false`.
    fn fold_affine(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        let _ = (scale, shift);
        false
    }

    /// Makes the module, whose children are folded already, one for evaluation only; see
    /// [`Sequential::folded`](crate::Sequential::folded).
    fn fold(&mut self) {}
}

/// Writes [`Module::children`] and [`Module::children_mut`] of a struct whose children are fields: `children!(stem, body)`,
/// or `children!(T; stem, body)` in a module of numbers of type `T` instead of `f32`.
///
/// ```
/// use engraft_layers::{Dense, Mode, Module, Sequential, children};
/// use engraft_tensor::{Real, Tensor};
///
/// struct Pair<T: Real> {
///     body: Sequential<T>,
///     head: Dense<T>,
/// }
///
/// impl<T: Real> Module<T> for Pair<T> {
///     fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
///         self.head.forward(&self.body.forward(x, mode), mode)
///     }
///     children!(T; body, head);
/// }
/// ```
#[macro_export]
macro_rules! children {
    ($number:ty; $($name:ident),+ $(,)?) => {
        fn children(&self) -> Vec<(&str, &dyn $crate::Module<$number>)> {
            vec![$((stringify!($name), &self.$name as &dyn $crate::Module<$number>)),+]
        }
        fn children_mut(&mut self) -> Vec<(&str, &mut dyn $crate::Module<$number>)> {
            vec![$((stringify!($name), &mut self.$name as &mut dyn $crate::Module<$number>)),+]
        }
    };
    ($($name:ident),+ $(,)?) => { $crate::children!(f32; $($name),+); };
}

/// Writes [`Module::slots`] and [`Module::slots_mut`] of a struct whose parameters, buffers and random streams are fields:
/// `slots!(Parameter weight, Buffer mean)`, or `slots!(T; ..)` in a module of numbers of type `T` instead of `f32`.
#[macro_export]
macro_rules! slots {
    ($number:ty; $($kind:ident $name:ident),+ $(,)?) => {
        fn slots(&self) -> Vec<(&str, $crate::Slot<'_, $number>)> {
            vec![$((stringify!($name), $crate::Slot::$kind(&self.$name))),+]
        }
        fn slots_mut(&mut self) -> Vec<(&str, $crate::SlotMut<'_, $number>)> {
            vec![$((stringify!($name), $crate::SlotMut::$kind(&mut self.$name))),+]
        }
    };
    ($($kind:ident $name:ident),+ $(,)?) => { $crate::slots!(f32; $($kind $name),+); };
}
