//! Pooling to a given size.

use super::values::{Site, Values};
use crate::error::ExportError;
use crate::graph::{Dim, Operand};
use crate::operator::{Operator, Window};
use engraft_tensor::Tensor;

/// Average pooling to the size of the result: blocks if they divide the image, else a matrix for the rows and one for the
/// columns, because windows of different sizes are no operator of the formats.
pub(super) fn adaptive_average(values: &mut Values<'_>, site: &Site<'_>) -> Result<Operand, ExportError> {
    let from = values.shape(site.x());
    let (&[n, Dim::Fixed(h), Dim::Fixed(w), c], &[_, Dim::Fixed(rows), Dim::Fixed(columns), _]) =
        (&from[..], &site.shape[..])
    else {
        return Err(site.refuse("needs images of a fixed size"));
    };
    if h.is_multiple_of(rows) && w.is_multiple_of(columns) {
        let window = Window::blocks([h / rows, w / columns]);
        return Ok(values.unary(site, Operator::AveragePool(window)));
    }
    let of_rows = values.builder.constant(means(h, rows), &[], "rows");
    let of_columns = values
        .builder
        .constant(means(w, columns).transpose(), &[], "columns");
    let x = values.operand(site.x());
    let narrow = vec![n, c, Dim::Fixed(h), Dim::Fixed(columns)];
    let x = values.builder.push(Operator::MatMul, vec![x, of_columns], narrow);
    let here = site.here.clone();
    Ok(values.builder.push(Operator::MatMul, vec![of_rows, x], here))
}

/// The matrix `[to, from]` whose row `i` is the mean from `floor(i from / to)` to `ceil((i + 1) from / to)`.
fn means(from: usize, to: usize) -> Tensor {
    let mut matrix = vec![0.0; to * from];
    for (i, row) in matrix.chunks_exact_mut(from).enumerate() {
        let range = i * from / to..((i + 1) * from).div_ceil(to);
        let share = 1.0 / range.len() as f32;
        row[range].fill(share);
    }
    Tensor::from_vec([to, from], matrix)
}
