//! Matrices in slices: layouts, sub-matrices and transposed copies.
#![allow(unsafe_code)]

use crate::kernels::scratch::{Pooled, Scratch};
use std::marker::PhantomData;

/// Rows that are transposed together: a cache line of `f32`.
pub(super) const LINE: usize = 16;

/// Layout of a matrix in its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Row-major.
    Plain,
    /// The slice holds the transposed matrix in row-major order.
    Transposed,
}

/// A matrix in a slice, or a part of one: element `(i, j)` is `data[i · strides[0] + j · strides[1]]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    pub(super) data: &'a [T],
    pub(super) strides: [usize; 2],
}

impl<'a, T> Matrix<'a, T> {
    pub(super) fn new(data: &'a [T], rows: usize, columns: usize, layout: Layout) -> Self {
        let strides = match layout {
            Layout::Plain => [columns, 1],
            Layout::Transposed => [1, rows],
        };
        Self { data, strides }
    }

    /// The sub-matrix that begins at a row and a column.
    pub(super) fn from(self, row: usize, column: usize) -> Self {
        let start = row * self.strides[0] + column * self.strides[1];
        Self {
            data: &self.data[start..],
            ..self
        }
    }

    /// Whether all elements of the given rows and columns are inside the slice.
    pub(super) fn holds(&self, rows: usize, columns: usize) -> bool {
        if rows == 0 || columns == 0 {
            return true;
        }
        let last = |n: usize, stride: usize| (n - 1).checked_mul(stride);
        last(rows, self.strides[0])
            .zip(last(columns, self.strides[1]))
            .and_then(|(row, column)| row.checked_add(column))
            .is_some_and(|last| last < self.data.len())
    }

    /// The transposed matrix.
    pub(super) fn transposed(self) -> Self {
        let [row, column] = self.strides;
        Self {
            strides: [column, row],
            ..self
        }
    }

    /// Whether the elements of each row are contiguous, and those of each column are not.
    pub(super) fn lies_by_rows(&self) -> bool {
        self.strides[1] == 1 && self.strides[0] != 1
    }

    /// A column-major copy of a row-major matrix.
    ///
    /// # Panics
    /// If the matrix has another layout, or an element is outside its slice.
    pub(super) fn turned(&self, rows: usize, columns: usize) -> Turned<T>
    where
        T: Pooled,
    {
        assert!(self.lies_by_rows());
        // An odd number of cache lines apart. With a power of two, all columns would map to a few cache sets.
        let apart = rows.next_multiple_of(LINE) | LINE;
        let mut data = Scratch::take(columns * apart);
        let row = |i: usize| &self.data[i * self.strides[0]..][..columns];
        let whole = rows - rows % LINE;
        for i in (0..whole).step_by(LINE) {
            let lines: [&[T]; LINE] = std::array::from_fn(|r| row(i + r));
            for (j, to) in data.chunks_exact_mut(apart).enumerate() {
                let to = &mut to[i..i + LINE];
                (0..LINE).for_each(|r| to[r] = lines[r][j]);
            }
        }
        for i in whole..rows {
            let columns = data.chunks_exact_mut(apart);
            columns.zip(row(i)).for_each(|(to, &x)| to[i] = x);
        }
        Turned { data, apart }
    }
}

/// A column-major copy of a matrix.
pub(super) struct Turned<T: Pooled> {
    data: Scratch<T>,
    apart: usize,
}

impl<T: Pooled> Turned<T> {
    pub(super) fn matrix(&self) -> Matrix<'_, T> {
        Matrix {
            data: &self.data,
            strides: [1, self.apart],
        }
    }
}

/// Columns of a row-major matrix that one thread writes while other threads write other columns.
pub(super) struct Columns<'a, T> {
    first: *mut T,
    stride: usize,
    rows: usize,
    width: usize,
    _of: PhantomData<&'a mut [T]>,
}

// SAFETY: the type represents a mutable borrow of its columns.
unsafe impl<T: Send> Send for Columns<'_, T> {}

impl<'a, T> Columns<'a, T> {
    /// Splits a matrix of `rows` rows into pieces of `width` columns. The last piece has the rest.
    ///
    /// # Panics
    /// If the slice is not that many rows of at least one column.
    pub(super) fn cut(data: &'a mut [T], rows: usize, width: usize) -> impl Iterator<Item = Self> + 'a {
        let columns = data.len() / rows;
        assert!(columns > 0 && rows * columns == data.len());
        let first = data.as_mut_ptr();
        (0..columns).step_by(width).map(move |start| Self {
            // SAFETY: the offset is within the first row.
            first: unsafe { first.add(start) },
            stride: columns,
            rows,
            width: width.min(columns - start),
            _of: PhantomData,
        })
    }

    /// A whole matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub(super) fn all(data: &'a mut [T], rows: usize, columns: usize) -> Self {
        assert!(rows.checked_mul(columns) == Some(data.len()));
        Self {
            first: data.as_mut_ptr(),
            stride: columns,
            rows,
            width: columns,
            _of: PhantomData,
        }
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> [usize; 2] {
        [self.rows, self.width]
    }

    /// Pointer to the first element, and the strides of rows and columns.
    pub(super) fn raw(&mut self) -> (*mut T, [usize; 2]) {
        (self.first, [self.stride, 1])
    }

    /// The part of a row within these columns.
    pub(super) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows);
        // SAFETY: the row exists, and only this piece borrows these columns of the matrix.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.stride), self.width) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_matrix_holds_the_same() {
        for (rows, columns) in [(1, 3), (5, 1), (16, 2), (31, 7), (48, 33)] {
            // A part of a wider matrix, so rows are not contiguous with each other.
            let data: Vec<f32> = (0..rows * (columns + 2)).map(|i| i as f32).collect();
            let matrix = Matrix::new(&data, rows, columns + 2, Layout::Plain).from(0, 1);
            let turned = matrix.turned(rows, columns);
            let found = turned.matrix();
            assert!(found.holds(rows, columns));
            for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                let at = |of: Matrix<'_, f32>| of.from(i, j).data[0];
                assert_eq!(at(found), at(matrix), "{rows}x{columns} at {i}, {j}");
                let transposed = matrix.transposed().from(j, i).data[0];
                assert_eq!(transposed, at(matrix));
            }
        }
    }

    #[test]
    fn columns_are_parts_of_rows() {
        let mut data: Vec<usize> = (0..2 * 7).collect();
        let found: Vec<Vec<usize>> = Columns::cut(&mut data, 2, 3)
            .map(|mut part| [part.row(0).to_vec(), part.row(1).to_vec()].concat())
            .collect();
        assert_eq!(
            found,
            [vec![0, 1, 2, 7, 8, 9], vec![3, 4, 5, 10, 11, 12], vec![6, 13]]
        );
    }
}
