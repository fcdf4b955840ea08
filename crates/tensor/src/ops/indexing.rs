//! Elements chosen by their indices, and the adjoint, which adds them back.
//!
//! One pair of operations is behind all of this: [`Take`] copies blocks of contiguous elements from given places, [`AddAt`] adds
//! blocks at these places to zeros. Each is the derivative of the other.

use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use std::sync::Arc;

/// Blocks of contiguous elements and where they are in the larger tensor.
#[derive(Clone)]
pub(super) struct Blocks {
    /// Number of each block: its first element divided by the length.
    places: Arc<[u32]>,
    length: usize,
    name: &'static str,
}

struct Take {
    blocks: Blocks,
    operation: Option<Operation>,
}
struct AddAt {
    blocks: Blocks,
    operation: Option<Operation>,
}

impl<T: Real> Op<T> for Take {
    fn name(&self) -> &'static str {
        self.blocks.name
    }
    fn operation(&self) -> Option<Operation> {
        self.operation.clone()
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        add_at(dy, self.blocks.clone(), inputs[0].shape(), None)
    }
}

impl<T: Real> Op<T> for AddAt {
    fn name(&self) -> &'static str {
        self.blocks.name
    }
    fn operation(&self) -> Option<Operation> {
        self.operation.clone()
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        take(dy, self.blocks.clone(), inputs[0].shape(), None)
    }
}

impl Blocks {
    /// Single elements of a tensor, in the order of the result.
    pub(super) fn of_elements(places: Vec<u32>, name: &'static str) -> Self {
        Self {
            places: places.into(),
            length: 1,
            name,
        }
    }

    /// The blocks that hold index `i` of one axis, for each `i` of `indices`.
    #[track_caller]
    fn along(shape: &[usize], axis: usize, indices: &[usize], name: &'static str) -> Self {
        assert!(axis < shape.len(), "{name}: no axis {axis} in shape {shape:?}");
        let (size, length) = (shape[axis], shape[axis + 1..].iter().product());
        if let Some(index) = indices.iter().find(|&&index| index >= size) {
            panic!("{name}: no index {index} along axis {axis} of shape {shape:?}");
        }
        let outer: usize = shape[..axis].iter().product();
        let places = (0..outer).flat_map(|i| indices.iter().map(move |index| place(i * size + index, name)));
        Self {
            places: places.collect(),
            length,
            name,
        }
    }

    /// The elements whose index along one axis is given, for each position of `index`.
    #[track_caller]
    fn at(shape: &[usize], axis: usize, index: &ArrayViewD<'_, usize>, name: &'static str) -> Self {
        let fits = index.ndim() == shape.len()
            && axis < shape.len()
            && (0..shape.len()).all(|a| a == axis || index.shape()[a] == shape[a]);
        assert!(
            fits,
            "{name}: indices of shape {:?} do not fit a tensor of shape {shape:?} along axis {axis}; all other axes must be equal",
            index.shape()
        );
        let mut places = Vec::with_capacity(index.len());
        for (at, &chosen) in index.indexed_iter() {
            assert!(
                chosen < shape[axis],
                "{name}: no index {chosen} along axis {axis} of shape {shape:?}"
            );
            let of_axis = |a: usize| if a == axis { chosen } else { at[a] };
            let flat = (0..shape.len()).fold(0, |flat, a| flat * shape[a] + of_axis(a));
            places.push(place(flat, name));
        }
        Self::of_elements(places, name)
    }
}

#[track_caller]
fn place(index: usize, name: &str) -> u32 {
    u32::try_from(index).unwrap_or_else(|_| panic!("{name}: at most 2^32 blocks"))
}

/// The blocks of `x`, as a tensor of a shape, and what this is called for other programs. A derivative is not called so,
/// although it takes the same blocks.
pub(super) fn take<T: Real>(
    x: &Tensor<T>,
    blocks: Blocks,
    shape: &[usize],
    operation: Option<Operation>,
) -> Tensor<T> {
    let (elements, length) = (x.as_slice(), blocks.length);
    let mut taken = Vec::with_capacity(shape.iter().product());
    for &place in &*blocks.places {
        taken.extend_from_slice(&elements[place as usize * length..][..length]);
    }
    let value = ArrayD::from_shape_vec(IxDyn(shape), taken).expect("one block for each place");
    Tensor::from_op(value, Take { blocks, operation }, &[x])
}

/// Zeros of a shape to which the blocks of `y` are added, in their order.
fn add_at<T: Real>(
    y: &Tensor<T>,
    blocks: Blocks,
    shape: &[usize],
    operation: Option<Operation>,
) -> Tensor<T> {
    let length = blocks.length;
    let mut elements = vec![T::zero(); shape.iter().product()];
    // Without elements there may be places, but no blocks.
    for (&place, block) in blocks.places.iter().zip(y.as_slice().chunks_exact(length.max(1))) {
        let target = &mut elements[place as usize * length..][..length];
        for (sum, &value) in target.iter_mut().zip(block) {
            *sum += value;
        }
    }
    let value = ArrayD::from_shape_vec(IxDyn(shape), elements).expect("the shape has these elements");
    Tensor::from_op(value, AddAt { blocks, operation }, &[y])
}

fn with_size(shape: &[usize], axis: usize, size: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[axis] = size;
    shape
}

/// Stacks tensors of equal shape along a new axis.
///
/// *Shapes*: `k` tensors `[..]` give `[.., k, ..]`, with `k` at `axis`.
///
/// ```
/// use engraft_tensor::{Tensor, stack};
/// let x = Tensor::from_vec([2], vec![1.0, 2.0]);
/// let y = stack(&[&x, &(&x * 10.0)], 1);
/// assert_eq!((y.shape(), y.as_slice()), (&[2, 2][..], &[1.0, 10.0, 2.0, 20.0][..]));
/// ```
///
/// # Panics
/// If there is no tensor, the shapes differ, or `axis` is above their rank.
#[must_use]
#[track_caller]
pub fn stack<T: Real>(tensors: &[&Tensor<T>], axis: usize) -> Tensor<T> {
    let shape = tensors.first().map_or(&[][..], |first| first.shape());
    assert!(
        !tensors.is_empty() && axis <= shape.len() && tensors.iter().all(|t| t.shape() == shape),
        "stack: shapes {:?} cannot be stacked along axis {axis}",
        tensors.iter().map(|t| t.shape()).collect::<Vec<_>>()
    );
    let mut longer = shape.to_vec();
    longer.insert(axis, 1);
    let parts: Vec<_> = tensors.iter().map(|t| t.reshape(&longer)).collect();
    super::concat(&parts.iter().collect::<Vec<_>>(), axis)
}

impl<T: Real> Tensor<T> {
    /// The given indices of one axis, in their order, each as often as it occurs. The adjoint of [`Tensor::index_add`].
    ///
    /// *Shapes*: `[.., n, ..] -> [.., indices.len(), ..]`.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// let rows = Tensor::from_vec([3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    /// assert_eq!(rows.index_select(0, &[2, 0, 2]).as_slice(), [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
    /// ```
    ///
    /// # Panics
    /// If the axis or an index does not exist, or the tensor has more than 2³² blocks.
    #[must_use]
    #[track_caller]
    pub fn index_select(&self, axis: usize, indices: &[usize]) -> Self {
        let blocks = Blocks::along(self.shape(), axis, indices, "index_select");
        let operation = Operation::IndexSelect {
            axis,
            indices: indices.to_vec(),
        };
        let shape = with_size(self.shape(), axis, indices.len());
        take(self, blocks, &shape, Some(operation))
    }

    /// Zeros with `size` indices along one axis, to which entry `i` of this tensor is added at `indices[i]`. The adjoint of
    /// [`Tensor::index_select`].
    ///
    /// *Shapes*: `[.., indices.len(), ..] -> [.., size, ..]`.
    ///
    /// # Panics
    /// If the axis does not exist or has another size than `indices`, or an index is not below `size`.
    #[must_use]
    #[track_caller]
    pub fn index_add(&self, axis: usize, indices: &[usize], size: usize) -> Self {
        assert!(
            self.shape().get(axis) == Some(&indices.len()),
            "index_add: {} indices for axis {axis} of shape {:?}",
            indices.len(),
            self.shape()
        );
        let shape = with_size(self.shape(), axis, size);
        let blocks = Blocks::along(&shape, axis, indices, "index_add");
        let operation = Operation::IndexAdd {
            axis,
            indices: indices.to_vec(),
        };
        add_at(self, blocks, &shape, Some(operation))
    }

    /// For each position of `index`, the element whose index along `axis` is the one given there. The adjoint of
    /// [`Tensor::scatter_add`].
    ///
    /// *Shapes*: `[.., n, ..]` and indices `[.., k, ..]` give `[.., k, ..]`; all other axes are equal.
    ///
    /// ```
    /// use engraft_tensor::{Tensor, ndarray::array};
    /// let x = Tensor::from_vec([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    /// assert_eq!(x.gather(1, &array![[2], [0]].into_dyn().view()).as_slice(), [3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the shapes do not fit, or an index does not exist.
    #[must_use]
    #[track_caller]
    pub fn gather(&self, axis: usize, index: &ArrayViewD<'_, usize>) -> Self {
        let operation = Operation::Gather {
            axis,
            index: index.iter().copied().collect(),
        };
        self.gathered(axis, index, operation)
    }

    /// [`Tensor::gather`] with what it is called for other programs.
    #[track_caller]
    pub(super) fn gathered(&self, axis: usize, index: &ArrayViewD<'_, usize>, operation: Operation) -> Self {
        let blocks = Blocks::at(self.shape(), axis, index, "gather");
        take(self, blocks, index.shape(), Some(operation))
    }

    /// Zeros with `size` indices along `axis`, to which each element is added at the index given for it. The adjoint of
    /// [`Tensor::gather`].
    ///
    /// *Shapes*: `[.., k, ..]` and indices of the same shape give `[.., size, ..]`.
    ///
    /// # Panics
    /// If the shapes differ, the axis does not exist, or an index is not below `size`.
    #[must_use]
    #[track_caller]
    pub fn scatter_add(&self, axis: usize, index: &ArrayViewD<'_, usize>, size: usize) -> Self {
        assert!(
            index.shape() == self.shape() && axis < self.rank(),
            "scatter_add: indices of shape {:?} along axis {axis} for a tensor of shape {:?}",
            index.shape(),
            self.shape()
        );
        let shape = with_size(self.shape(), axis, size);
        let operation = Operation::ScatterAdd {
            axis,
            index: index.iter().copied().collect(),
        };
        let blocks = Blocks::at(&shape, axis, index, "scatter_add");
        add_at(self, blocks, &shape, Some(operation))
    }

    /// The reverse order along one axis.
    ///
    /// # Panics
    /// If the axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn flip(&self, axis: usize) -> Self {
        let size = self.shape().get(axis).copied().unwrap_or_default();
        self.index_select(axis, &(0..size).rev().collect::<Vec<_>>())
    }

    /// Moves all entries by `shift` along one axis; those that leave at the end enter at the start.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// let x = Tensor::from_vec([3], vec![1.0, 2.0, 3.0]);
    /// assert_eq!(x.roll(0, 1).as_slice(), [3.0, 1.0, 2.0]);
    /// assert_eq!(x.roll(0, -1).as_slice(), [2.0, 3.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn roll(&self, axis: usize, shift: isize) -> Self {
        let size = self.shape().get(axis).copied().unwrap_or_default();
        let Ok(period @ 1..) = isize::try_from(size) else {
            return self.index_select(axis, &[]);
        };
        let by = shift.rem_euclid(period).unsigned_abs();
        let from: Vec<usize> = (0..size).map(|i| (i + size - by) % size).collect();
        self.index_select(axis, &from)
    }

    /// Adds `before` and `after` entries along one axis by reflection at the first and the last entry, which are not repeated.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// let x = Tensor::from_vec([3], vec![1.0, 2.0, 3.0]);
    /// assert_eq!(x.pad_reflect(0, 2, 1).as_slice(), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, or has no more than `before` or `after` entries.
    #[must_use]
    #[track_caller]
    pub fn pad_reflect(&self, axis: usize, before: usize, after: usize) -> Self {
        let size = self.shape().get(axis).copied().unwrap_or_default();
        assert!(
            before < size && after < size,
            "pad_reflect: {before} and {after} entries must be fewer than those along axis {axis} of shape {:?}",
            self.shape()
        );
        let first = (1..=before).rev();
        let last = (size - 1 - after..size - 1).rev();
        self.index_select(axis, &first.chain(0..size).chain(last).collect::<Vec<_>>())
    }

    /// Parts of the given sizes along one axis.
    ///
    /// # Panics
    /// If the axis does not exist, or the sizes do not add up to its size.
    #[must_use]
    #[track_caller]
    pub fn split(&self, axis: usize, sizes: &[usize]) -> Vec<Self> {
        let total = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
        assert!(
            total.is_some() && total == self.shape().get(axis).copied(),
            "split: sizes {sizes:?} do not add up to axis {axis} of shape {:?}",
            self.shape()
        );
        let mut start = 0;
        sizes
            .iter()
            .map(|&size| {
                start += size;
                self.narrow(axis, start - size, size)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn numbers(shape: &[usize]) -> Tensor<f64> {
        let count: usize = shape.iter().product();
        Tensor::from_vec(shape, (0..count).map(|i| i as f64).collect())
    }

    #[test]
    fn places_by_hand() {
        let x = numbers(&[2, 3, 2]);
        assert_eq!(
            x.index_select(1, &[2, 2]).as_slice(),
            [4.0, 5.0, 4.0, 5.0, 10.0, 11.0, 10.0, 11.0]
        );
        assert_eq!(
            x.index_select(2, &[1]).as_slice(),
            [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]
        );
        let added = numbers(&[3, 1]).index_add(0, &[1, 1, 3], 4);
        assert_eq!(added.as_slice(), [0.0, 1.0, 0.0, 2.0]);
        let index = array![[0, 0], [1, 0]].into_dyn();
        let scattered = numbers(&[2, 2]).scatter_add(1, &index.view(), 3);
        assert_eq!(scattered.as_slice(), [1.0, 0.0, 0.0, 3.0, 2.0, 0.0]);
        assert_eq!(numbers(&[2, 2]).flip(0).as_slice(), [2.0, 3.0, 0.0, 1.0]);
        let parts = numbers(&[4]).split(0, &[1, 0, 3]);
        assert_eq!(parts[2].as_slice(), [1.0, 2.0, 3.0]);
        assert_eq!(Tensor::<f32>::zeros([0, 2]).roll(0, 5).shape(), [0, 2]);
        assert_eq!(
            Tensor::<f32>::zeros([2, 0]).index_select(0, &[1, 1, 0]).shape(),
            [3, 0]
        );
        assert_eq!(
            Tensor::<f32>::zeros([2, 0]).index_add(0, &[1, 1], 3).shape(),
            [3, 0]
        );
    }

    #[test]
    #[should_panic(expected = "index_select: no index 3 along axis 0 of shape [3]")]
    fn an_index_beyond_the_axis_is_named() {
        let _ = numbers(&[3]).index_select(0, &[0, 3]);
    }

    #[test]
    #[should_panic(expected = "split: sizes [1, 1] do not add up to axis 0 of shape [3]")]
    fn parts_that_leave_something_out_are_refused() {
        let _ = numbers(&[3]).split(0, &[1, 1]);
    }
}
