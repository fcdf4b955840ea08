//! Grids of image pairs: rows of source images, each above the row of their counterparts.

use engraft_gan::sample_grid;
use engraft_tensor::{Tensor, concat};

/// Pairs per row.
const COLUMNS: usize = 16;

/// PNG file of a grid of pairs.
pub(super) fn grid([source, target]: &[Tensor; 2]) -> Vec<u8> {
    sample_grid(&rows([source, target], COLUMNS), COLUMNS)
}

/// Rows of `columns` images of the first, each above the row of the second: `[n, h, w, c]` twice to `[2 n, h, w, c]`.
///
/// If the last row is not full, its counterparts are not below it in a grid.
pub(super) fn rows(both: [&Tensor; 2], columns: usize) -> Tensor {
    let n = both[0].shape()[0];
    let rows: Vec<Tensor> = (0..n)
        .step_by(columns)
        .flat_map(|start| both.map(|images| images.narrow(0, start, columns.min(n - start))))
        .collect();
    concat(&rows.iter().collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counterparts_are_below() {
        let images = |values: &[f32]| Tensor::from_vec([values.len(), 1, 1, 1], values.to_vec());
        let (source, target) = (images(&[1.0, 2.0, 3.0, 4.0]), images(&[10.0, 20.0, 30.0, 40.0]));
        let found = rows([&source, &target], 2);
        assert_eq!(found.as_slice(), [1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]);
        assert_eq!(found.shape(), [8, 1, 1, 1]);
    }
}
