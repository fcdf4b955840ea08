//! The tensor: an immutable array with its place in the autograd graph.

use crate::grad_mode::is_recording;
use crate::kernels::scratch;
use crate::op::{Op, Origin, Same, Summary};
use crate::operation::Operation;
use crate::real::Real;
use ndarray::{ArcArray, Array, ArrayD, ArrayViewD, Dimension, IxDyn};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An immutable n-dimensional array that records the operation that computed it.
///
/// Cloning is cheap: it increments one reference count. A tensor is `Send + Sync`. Its values never change.
/// Elements are contiguous in row-major order, so [`Tensor::as_slice`] always works.
///
/// Operations on tensors that [require a gradient](Tensor::requires_grad) extend the graph. The graph is
/// freed with the last tensor that refers to it.
///
/// ```
/// use engraft_tensor::{Tensor, grad};
///
/// let x = Tensor::from_vec([3], vec![1.0, 2.0, 3.0]).as_leaf();
/// let y = (&x * &x).sum();
/// let [dx] = grad(&y, [&x]);
/// assert_eq!(dx.as_slice(), [2.0, 4.0, 6.0]);
/// ```
pub struct Tensor<T: Real = f32>(Arc<Node<T>>);

/// One node of the graph. Ids increase with time, so every input has a smaller id than its output.
struct Node<T: Real> {
    id: u64,
    value: ArcArray<T, IxDyn>,
    requires_grad: bool,
    origin: Option<Origin<T>>,
}

/// Whether an operation on these tensors is recorded.
fn is_recorded<T: Real>(inputs: &[&Tensor<T>]) -> bool {
    is_recording() && inputs.iter().any(|x| x.0.requires_grad || x.0.origin.is_some())
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl<T: Real> Drop for Node<T> {
    /// Returns the memory of the value to the pool. Frees the graph behind this node with an explicit stack: with
    /// recursion, a chain of a million operations would overflow the thread's stack.
    fn drop(&mut self) {
        if let Ok(array) = std::mem::take(&mut self.value).try_into_owned_nocopy() {
            scratch::give(array.into_raw_vec_and_offset().0);
        }
        let Some(origin) = self.origin.take() else { return };
        let mut pending: Vec<Tensor<T>> = origin.into_tensors().collect();
        while let Some(Tensor(node)) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(node)
                && let Some(origin) = node.origin.take()
            {
                pending.extend(origin.into_tensors());
            }
        }
    }
}

impl<T: Real> Clone for Tensor<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Real> fmt::Debug for Tensor<T> {
    /// Prints type, shape and operation, and the values if there are at most 16.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor<{}>{:?}", T::NAME, self.shape())?;
        if let Some(origin) = &self.0.origin {
            write!(f, " from {}", origin.op.name())?;
        } else if self.0.requires_grad {
            write!(f, " leaf")?;
        }
        if self.len() <= 16 {
            write!(f, " {:?}", self.as_slice())
        } else {
            Ok(())
        }
    }
}

impl<T: Real> Tensor<T> {
    fn new(value: ArcArray<T, IxDyn>, requires_grad: bool, origin: Option<Origin<T>>) -> Self {
        debug_assert!(value.is_standard_layout());
        Self(Arc::new(Node {
            id: next_id(),
            value,
            requires_grad,
            origin,
        }))
    }

    /// A constant from an array. Copies the array only if it is not in row-major order.
    pub fn from_array<D: Dimension>(array: Array<T, D>) -> Self {
        let array = array.into_dyn();
        let array = if array.is_standard_layout() {
            array
        } else {
            array.as_standard_layout().into_owned()
        };
        Self::new(array.into_shared(), false, None)
    }

    /// A constant of the given shape, from its elements in row-major order.
    ///
    /// # Panics
    /// If the shape does not have `elements.len()` elements.
    #[track_caller]
    pub fn from_vec(shape: impl AsRef<[usize]>, elements: Vec<T>) -> Self {
        let shape = shape.as_ref();
        let count = elements.len();
        match ArrayD::from_shape_vec(IxDyn(shape), elements) {
            Ok(array) => Self::new(array.into_shared(), false, None),
            Err(_) => panic!("from_vec: shape {shape:?} does not hold {count} elements"),
        }
    }

    /// A constant without axes.
    pub fn scalar(value: T) -> Self {
        Self::from_vec([], vec![value])
    }

    /// A constant of the given shape with every element `value`.
    pub fn full(shape: impl AsRef<[usize]>, value: T) -> Self {
        let shape = shape.as_ref();
        Self::from_vec(shape, vec![value; shape.iter().product()])
    }

    /// A constant of zeros.
    pub fn zeros(shape: impl AsRef<[usize]>) -> Self {
        Self::full(shape, T::zero())
    }

    /// A constant of ones.
    pub fn ones(shape: impl AsRef<[usize]>) -> Self {
        Self::full(shape, T::one())
    }

    /// Independent samples of the standard normal distribution.
    ///
    /// Samples are drawn in `f64` and rounded, so both precisions get the same numbers.
    pub fn randn(shape: impl AsRef<[usize]>, rng: &mut impl Rng) -> Self {
        Self::draw(shape, || StandardNormal.sample(rng))
    }

    /// Independent samples of the uniform distribution between `low` and `high`.
    ///
    /// Samples are drawn in `f64` and rounded, so both precisions get the same numbers. Rounding can produce
    /// `high` itself: in `f32` between 0 and 1 with probability 2⁻²⁵.
    pub fn uniform(shape: impl AsRef<[usize]>, low: f64, high: f64, rng: &mut impl Rng) -> Self {
        Self::draw(shape, || {
            let unit: f64 = StandardUniform.sample(rng);
            low + (high - low) * unit
        })
    }

    fn draw(shape: impl AsRef<[usize]>, mut sample: impl FnMut() -> f64) -> Self {
        let shape = shape.as_ref();
        let count = shape.iter().product();
        Self::from_vec(shape, (0..count).map(|_| T::from_f64(sample())).collect())
    }

    /// Makes the result of an operation. Custom operations enter the graph here, see [`Op`].
    ///
    /// The operation is recorded if an input requires a gradient or was recorded, unless [`no_grad`](crate::no_grad) switched
    /// recording off. Otherwise the result is a constant.
    pub fn from_op<D: Dimension>(
        value: Array<T, D>,
        op: impl Op<T> + 'static,
        inputs: &[&Tensor<T>],
    ) -> Self {
        let constant = Self::from_array(value);
        if !is_recorded(inputs) {
            return constant;
        }
        Self::from_view(constant.0.value.clone(), op, inputs)
    }

    /// [`Tensor::from_op`] for a value that shares its elements with an input.
    pub(crate) fn from_view(
        value: ArcArray<T, IxDyn>,
        op: impl Op<T> + 'static,
        inputs: &[&Tensor<T>],
    ) -> Self {
        let origin = is_recorded(inputs).then(|| Origin {
            op: Box::new(op),
            inputs: inputs.iter().map(|&x| x.clone()).collect(),
            summary: None,
        });
        let requires_grad = origin.is_some() && inputs.iter().any(|x| x.0.requires_grad);
        Self::new(value, requires_grad, origin)
    }

    /// The same values, through which no gradient flows. Unlike [`Tensor::detach`], [`trace`](crate::trace) finds the operations
    /// behind it: it is for functions that are constant almost everywhere.
    pub(crate) fn without_gradient(&self) -> Self {
        let origin = is_recorded(&[self]).then(|| Origin {
            op: Box::new(Same),
            inputs: vec![self.clone()],
            summary: None,
        });
        Self::new(self.0.value.clone(), false, origin)
    }

    /// The same tensor, which [`trace`](crate::trace) lists as one operation on `inputs`, and not as those that computed it.
    pub(crate) fn summarized(self, operation: Operation, inputs: &[&Self]) -> Self {
        if !is_recorded(&[&self]) {
            return self;
        }
        let summary = Summary {
            operation,
            inputs: inputs.iter().map(|&x| x.clone()).collect(),
        };
        let (value, requires_grad) = (self.0.value.clone(), self.0.requires_grad);
        let origin = Origin {
            op: Box::new(Same),
            inputs: vec![self],
            summary: Some(summary),
        };
        Self::new(value, requires_grad, Some(origin))
    }

    /// The same values as a new leaf of the graph, which requires a gradient.
    #[must_use]
    pub fn as_leaf(&self) -> Self {
        Self::new(self.0.value.clone(), true, None)
    }

    /// The same values as a constant. No gradient flows through it.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self::new(self.0.value.clone(), false, None)
    }

    /// Whether gradients flow to or through this tensor.
    pub fn requires_grad(&self) -> bool {
        self.0.requires_grad
    }

    /// Sizes of the axes. Empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        self.0.value.shape()
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.value.ndim()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.value.len()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.0.value.is_empty()
    }

    /// The elements in row-major order.
    pub fn as_slice(&self) -> &[T] {
        self.0
            .value
            .as_slice()
            .expect("a tensor is always in row-major order")
    }

    /// The elements as an ndarray view.
    pub fn view(&self) -> ArrayViewD<'_, T> {
        self.0.value.view()
    }

    /// The elements as an owned array. Copies only if another tensor shares them.
    pub fn into_array(self) -> ArrayD<T> {
        match Arc::try_unwrap(self.0) {
            Ok(mut node) => std::mem::take(&mut node.value).into_owned(),
            Err(shared) => shared.value.to_owned(),
        }
    }

    /// The element of a tensor with one element.
    ///
    /// # Panics
    /// If the tensor does not have exactly one element.
    #[track_caller]
    pub fn item(&self) -> T {
        match self.as_slice() {
            [value] => *value,
            _ => panic!(
                "item: a tensor of shape {:?} has {} elements, not one",
                self.shape(),
                self.len()
            ),
        }
    }

    /// The same values rounded to another precision, as a constant.
    pub fn cast<U: Real>(&self) -> Tensor<U> {
        Tensor::from_vec(
            self.shape(),
            self.as_slice()
                .iter()
                .map(|x| U::from_f64(x.into_f64()))
                .collect(),
        )
    }

    /// Whether every element is finite.
    pub fn is_finite(&self) -> bool {
        self.as_slice().iter().all(|x| x.is_finite())
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn origin(&self) -> Option<&Origin<T>> {
        self.0.origin.as_ref()
    }

    pub(crate) fn shared(&self) -> &ArcArray<T, IxDyn> {
        &self.0.value
    }
}
