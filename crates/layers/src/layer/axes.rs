//! The weight of a layer as a matrix `[others, outputs]`, and back.

use engraft_tensor::{Real, Tensor};

/// The axes of a weight with the output axis moved to the end.
fn order(rank: usize, axis: usize) -> Vec<usize> {
    let others = (0..rank).filter(|&other| other != axis);
    others.chain([axis]).collect()
}

/// Rows and columns of the matrix of a weight with output axis `axis`.
pub(super) fn size<T: Real>(weight: &Tensor<T>, axis: usize) -> [usize; 2] {
    let outputs = weight.shape()[axis];
    [weight.len() / outputs.max(1), outputs]
}

/// The weight as a matrix `[others, outputs]`: the output axis last, the others in their order and flattened.
pub(super) fn matrix<T: Real>(weight: &Tensor<T>, axis: usize) -> Tensor<T> {
    let size = size(weight, axis);
    if axis + 1 == weight.rank() {
        weight.reshape(size)
    } else {
        weight.permute(&order(weight.rank(), axis)).reshape(size)
    }
}

/// A matrix `[others, outputs]` in the shape of a weight. The inverse of [`matrix`].
pub(super) fn unmatrix<T: Real>(matrix: &Tensor<T>, shape: &[usize], axis: usize) -> Tensor<T> {
    if axis + 1 == shape.len() {
        return matrix.reshape(shape);
    }
    let order = order(shape.len(), axis);
    let moved: Vec<usize> = order.iter().map(|&from| shape[from]).collect();
    let mut back = vec![0; order.len()];
    for (to, &from) in order.iter().enumerate() {
        back[from] = to;
    }
    matrix.reshape(moved).permute(&back)
}

/// A vector over the outputs in a shape that broadcasts along `axis` of a weight of the given rank.
pub(super) fn along<T: Real>(vector: &Tensor<T>, rank: usize, axis: usize) -> Tensor<T> {
    if axis + 1 == rank {
        return vector.clone();
    }
    let mut shape = vec![1; rank - axis];
    shape[0] = vector.len();
    vector.reshape(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_there_and_back() {
        let values: Vec<f64> = (0_u8..24).map(f64::from).collect();
        let weight = Tensor::from_vec([2, 3, 4], values);
        for axis in 0..3 {
            let m = matrix(&weight, axis);
            assert_eq!(m.shape(), size(&weight, axis));
            let back = unmatrix(&m, weight.shape(), axis);
            assert_eq!(back.shape(), weight.shape());
            assert_eq!(back.as_slice(), weight.as_slice(), "axis {axis}");
        }
        // Element [1, 2, 3] with output axis 1: row 1 · 4 + 3, column 2.
        assert_eq!(matrix(&weight, 1).as_slice()[7 * 3 + 2], 23.0);
    }

    #[test]
    fn a_vector_along_each_axis() {
        let vector = Tensor::<f64>::ones([3]);
        assert_eq!(along(&vector, 4, 3).shape(), [3]);
        assert_eq!(along(&vector, 4, 2).shape(), [3, 1]);
    }
}
