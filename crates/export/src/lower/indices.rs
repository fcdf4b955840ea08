//! Elements chosen by constant indices, and their adjoint: selections, and products with matrices of zeros and ones.

use super::layout::{axis_in_graph, in_graph};
use super::values::{Site, Values};
use crate::error::ExportError;
use crate::graph::{Dim, Operand};
use crate::operator::Operator;
use engraft_tensor::Tensor;

/// Most elements of a matrix that adds elements at indices.
const MOST_ELEMENTS: usize = 1 << 24;

const OF_BATCH: &str = "selects examples of the batch";
const PER_EXAMPLE: &str = "has indices that are not the same for every example";

/// The indices of one example, if all `n` examples have the same.
pub(crate) fn per_example(index: &[usize], n: usize) -> Option<&[usize]> {
    let length = index.len().checked_div(n)?;
    let first = &index[..length];
    let is_same = length > 0 && length * n == index.len() && index.chunks(length).all(|part| part == first);
    is_same.then_some(first)
}

/// Some indices of an axis.
pub(super) fn select(
    values: &mut Values<'_>,
    site: &Site<'_>,
    axis: usize,
    indices: &[usize],
) -> Result<Operand, ExportError> {
    if values.shape(site.x())[axis].grows() {
        return Err(site.refuse(OF_BATCH));
    }
    let operator = Operator::Select {
        axis: axis_in_graph(axis, site.shape.len()),
        indices: indices.to_vec(),
    };
    Ok(values.unary(site, operator))
}

/// Entries along an axis added at their indices.
pub(super) fn add(
    values: &mut Values<'_>,
    site: &Site<'_>,
    axis: usize,
    indices: &[usize],
) -> Result<Operand, ExportError> {
    let from = values.shape(site.x());
    let (Dim::Fixed(_), Dim::Fixed(size)) = (from[axis], site.shape[axis]) else {
        return Err(site.refuse("adds examples of the batch"));
    };
    let (axis, rank) = (axis_in_graph(axis, from.len()), from.len());
    let matrix = adding_matrix(site, indices, size)?;
    let mut x = values.operand(site.x());
    // The product is along the last axis.
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(axis, rank - 1);
    let swapped = |shape: &[Dim]| order.iter().map(|&i| shape[i]).collect::<Vec<Dim>>();
    if axis + 1 != rank {
        x = values.transpose(x, &order, swapped(&in_graph(&from)));
    }
    let matrix = values.builder.constant(matrix, &[], "places");
    let sum = values
        .builder
        .push(Operator::MatMul, vec![x, matrix], swapped(&site.here));
    if axis + 1 == rank {
        return Ok(sum);
    }
    Ok(values.transpose(sum, &order, site.here.clone()))
}

/// The matrix `[indices.len(), size]` that adds entry `i` at `indices[i]`.
fn adding_matrix(site: &Site<'_>, indices: &[usize], size: usize) -> Result<Tensor, ExportError> {
    let count = indices.len() * size;
    if count > MOST_ELEMENTS {
        return Err(site.refuse(&format!(
            "would need a matrix of {count} elements, more than {MOST_ELEMENTS}"
        )));
    }
    let mut matrix = vec![0.0; count];
    for (i, index) in indices.iter().enumerate() {
        matrix[i * size + index] += 1.0;
    }
    Ok(Tensor::from_vec([indices.len(), size], matrix))
}

/// Elements chosen along an axis, the same for every example.
pub(super) fn gather(
    values: &mut Values<'_>,
    site: &Site<'_>,
    axis: usize,
    index: &[usize],
) -> Result<Operand, ExportError> {
    let from = values.shape(site.x());
    let (source, result) = (example(site, axis, &from)?, example(site, axis, &site.shape)?);
    let index = of_example(site, index, &result)?;
    let places = flat_places(axis - 1, &index, &result, &source);
    let (n, count) = (from[0], source.iter().product());
    let x = values.operand(site.x());
    let rows = values.reshape(x, &from, &[n, Dim::Fixed(count)]);
    let flat = vec![n, Dim::Fixed(places.len())];
    let operator = Operator::Select {
        axis: 1,
        indices: places,
    };
    let taken = values.builder.push(operator, vec![rows], flat.clone());
    Ok(values.reshape(taken, &flat, &site.shape))
}

/// Elements added at indices along an axis, the same for every example.
pub(super) fn scatter(
    values: &mut Values<'_>,
    site: &Site<'_>,
    axis: usize,
    index: &[usize],
) -> Result<Operand, ExportError> {
    let from = values.shape(site.x());
    let (source, result) = (example(site, axis, &from)?, example(site, axis, &site.shape)?);
    let index = of_example(site, index, &source)?;
    let places = flat_places(axis - 1, &index, &source, &result);
    let size = result.iter().product();
    let matrix = adding_matrix(site, &places, size)?;
    let x = values.operand(site.x());
    let rows = values.reshape(x, &from, &[from[0], Dim::Fixed(places.len())]);
    let matrix = values.builder.constant(matrix, &[], "places");
    let flat = vec![from[0], Dim::Fixed(size)];
    let sum = values
        .builder
        .push(Operator::MatMul, vec![rows, matrix], flat.clone());
    Ok(values.reshape(sum, &flat, &site.shape))
}

/// The sizes of an example: of all axes but the first, which must be that of the batch.
fn example(site: &Site<'_>, axis: usize, shape: &[Dim]) -> Result<Vec<usize>, ExportError> {
    let rest = shape.iter().skip(1).map(|dim| match dim {
        Dim::Fixed(size) => Some(*size),
        _ => None,
    });
    let sizes: Option<Vec<usize>> = rest.collect();
    match sizes {
        Some(sizes) if axis > 0 && shape[0].grows() => Ok(sizes),
        _ => Err(site.refuse(OF_BATCH)),
    }
}

/// The indices of one example.
fn of_example(site: &Site<'_>, index: &[usize], shape: &[usize]) -> Result<Vec<usize>, ExportError> {
    let length: usize = shape.iter().product();
    let rows = index.len().checked_div(length).unwrap_or_default();
    let found = per_example(index, rows).ok_or_else(|| site.refuse(PER_EXAMPLE))?;
    Ok(found.to_vec())
}

/// For each element of a tensor of shape `at`, the place in one of shape `of` whose index along `axis` is the given one.
fn flat_places(axis: usize, index: &[usize], at: &[usize], of: &[usize]) -> Vec<usize> {
    let place = |(flat, &chosen): (usize, &usize)| {
        let (mut rest, mut place, mut step) = (flat, 0, 1);
        for i in (0..at.len()).rev() {
            let along = if i == axis { chosen } else { rest % at[i] };
            rest /= at[i];
            place += along * step;
            step *= of[i];
        }
        place
    };
    index.iter().enumerate().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_by_hand() {
        // Of [2, 3], the elements [0][2], [1][0].
        assert_eq!(flat_places(1, &[2, 0], &[2, 1], &[2, 3]), [2, 3]);
        assert_eq!(flat_places(0, &[1, 0, 1], &[1, 3], &[2, 3]), [3, 1, 5]);
        assert_eq!(per_example(&[1, 2, 1, 2], 2), Some(&[1, 2][..]));
        assert_eq!(per_example(&[1, 2, 1, 3], 2), None);
        assert_eq!(per_example(&[], 2), None);
    }
}
