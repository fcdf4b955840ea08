//! The module: a forward pass with children, parameters and buffers.

use crate::condition::Condition;
use crate::layer::parametrization::Parametrization;
use crate::mode::Mode;
use crate::parameter::{Slot, SlotMut};
use crate::taps::Taps;
use engraft_tensor::{Real, Tensor};

/// A layer or network: a function of a tensor with its own state.
///
/// Implement [`forward`](Module::forward), and declare what the module contains. The macro
/// [`children!`](crate::children) declares other modules. The macro [`slots!`](crate::slots) declares the module's own
/// parameters, buffers and random streams. Counting, saving, loading, freezing, optimizing, adapters and spectral
/// normalization then work without further code.
///
/// ```
/// use engraft_layers::{Dense, Init, Mode, Module, Parameter, Sequential, children, parameters, slots};
/// use engraft_tensor::{Real, Tensor};
///
/// /// `scale · x` with one trainable number.
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
/// /// A module with children.
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
    /// Computes the output for `x`. In [`Mode::Train`] buffers and random streams are updated.
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T>;

    /// [`forward`](Module::forward) with a condition, for example class labels. The default ignores the condition. A
    /// module with children passes it on to them, as [`Sequential`](crate::Sequential) does.
    fn forward_with(&self, x: &Tensor<T>, condition: &Condition<T>, mode: Mode) -> Tensor<T> {
        let _ = condition;
        self.forward(x, mode)
    }

    /// [`forward_with`](Module::forward_with) that also hands out the results of the parts in `taps`. These are features of
    /// inner layers, or the outputs of auxiliary heads, which are computed only on request.
    /// [`forward_through`](crate::forward_through) requests parts by dotted name.
    ///
    /// [`Sequential`](crate::Sequential) hands out the results of its layers and passes the request on to them. Other
    /// modules with children can do the same:
    ///
    /// ```
    /// use engraft_layers::{Condition, Dense, Mode, Module, Sequential, Taps, children};
    /// use engraft_tensor::Tensor;
    ///
    /// /// A discriminator with an optional class output.
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

    /// The child modules by name, in a fixed order. Names contain no dots. A wrapper may give its child an empty name.
    /// The child's parameters then have the same names as without the wrapper.
    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        Vec::new()
    }

    /// Mutable access to [`children`](Module::children), with the same names and order.
    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        Vec::new()
    }

    /// The parameters, buffers and random streams of the module itself, by name, in a fixed order. In the list of a whole
    /// network they come before those of the children.
    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        Vec::new()
    }

    /// Mutable access to [`slots`](Module::slots), with the same names and order.
    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        Vec::new()
    }

    /// A one-line description for tables: `Conv2d 5x5 64 -> 128, stride 2, same`.
    fn describe(&self) -> String {
        "module".into()
    }

    /// How the module can be fused with the layer before or after it in a chain. `None` for most modules.
    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        None
    }

    /// Mutable access to [`fusion`](Module::fusion), for folding.
    fn fusion_mut(&mut self) -> Option<&mut dyn Fusion<T>> {
        None
    }

    /// The parametrization of the weight of a dense or convolutional layer. `None` for other modules.
    #[doc(hidden)]
    fn parametrization_mut(&mut self) -> Option<&mut Parametrization<T>> {
        None
    }

    /// How the forward pass connects the children, for tables.
    #[doc(hidden)]
    fn arrangement(&self) -> Arrangement {
        Arrangement::Opaque
    }
}

/// How a forward pass connects the children of a module.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// Unknown. A table shows the module as one row.
    Opaque,
    /// One after the other.
    Chain,
    /// In parallel: each reads the module's input, and its result has the shape of the module's output.
    Parallel,
}

/// Fusion with neighboring layers in a chain, which saves passes over memory, and folding of layers into weights for
/// evaluation.
pub trait Fusion<T: Real = f32>: Module<T> {
    /// The slope if the module is exactly a leaky ReLU (0 for a ReLU). `None` for other modules.
    ///
    /// A chain then runs it together with the layer before it by [`Fusion::forward_leaky_relu`]. The slope
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

    /// Scale and shift, `[c]` each, if the module computes `x · scale + shift` per channel (last axis) in evaluation mode.
    /// `None` for other modules.
    fn eval_affine(&self) -> Option<[Tensor<T>; 2]> {
        None
    }

    /// Changes the parameters so that the module computes `y · scale + shift` instead of `y`, with scale and shift `[c]`
    /// per channel. Returns `false` and changes nothing if the module cannot do this.
    fn fold_affine(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        let _ = (scale, shift);
        false
    }

    /// Prepares the module for evaluation only, after its children have been folded; see
    /// [`Sequential::folded`](crate::Sequential::folded).
    fn fold(&mut self) {}
}

/// Writes [`Module::children`] and [`Module::children_mut`] of a struct with fields that are modules: `children!(stem, body)`.
/// Use `children!(T; stem, body)` if the element type is a type parameter `T` instead of `f32`.
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

/// Writes [`Module::slots`] and [`Module::slots_mut`] of a struct with fields that are parameters, buffers or random streams:
/// `slots!(Parameter weight, Buffer mean)`. Use `slots!(T; ..)` if the element type is a type parameter `T`.
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
