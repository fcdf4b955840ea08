//! Numbers with a shape.

use engraft_export::onnx::proto::TensorProto;

/// Element types of ONNX.
pub(super) const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// Numbers with a shape; integers are stored as numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f64>,
}

impl Value {
    pub(crate) fn new(shape: &[usize], data: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len());
        Self {
            shape: shape.to_vec(),
            data,
        }
    }

    pub(super) fn of(tensor: &TensorProto) -> Self {
        let bytes = &tensor.raw_data;
        let data = match tensor.data_type {
            FLOAT => bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()).into())
                .collect(),
            INT64 => bytes
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64)
                .collect(),
            other => panic!("type {other}"),
        };
        let shape: Vec<usize> = tensor.dims.iter().map(|&size| size as usize).collect();
        Self::new(&shape, data)
    }

    pub(super) fn ints(&self) -> Vec<i64> {
        self.data.iter().map(|&v| v as i64).collect()
    }

    /// A value of the given shape from the index of each element.
    pub(super) fn from_fn(shape: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Self {
        let count = shape.iter().product();
        let mut at = vec![0; shape.len()];
        let mut data = Vec::with_capacity(count);
        for _ in 0..count {
            data.push(f(&at));
            for axis in (0..shape.len()).rev() {
                at[axis] += 1;
                if at[axis] < shape[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
        Self::new(shape, data)
    }

    pub(super) fn at(&self, index: &[usize]) -> f64 {
        let place = index
            .iter()
            .zip(&self.shape)
            .fold(0, |place, (i, size)| place * size + i);
        self.data[place]
    }

    /// The element at the end of a longer index, where axes of size 1 repeat.
    pub(super) fn broadcast(&self, index: &[usize]) -> f64 {
        let own = &index[index.len() - self.shape.len()..];
        let own: Vec<usize> = own
            .iter()
            .zip(&self.shape)
            .map(|(&i, &size)| if size == 1 { 0 } else { i })
            .collect();
        self.at(&own)
    }
}
