//! Layers for inference on images `[n, h, w, c]`. Batch norms are folded into the convolutions.
//!
//! Where the operations are recorded, for an export, they are those of `tensor`. Else some have faster loops of their own.

use engraft_tensor::{Geometry, Padding, Tensor, bias_leaky_relu, conv2d, conv2d_grouped, is_recording};
use rayon::prelude::*;

/// Whether operations on `x` are recorded.
pub(super) fn is_recorded(x: &Tensor) -> bool {
    is_recording() && x.requires_grad()
}

/// A convolution with a bias for each output channel.
pub(super) struct Convolution {
    /// `[rows, columns, from, to]`.
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

impl Convolution {
    /// The convolution without an activation; `padding` zeros in rows and columns on both sides.
    pub(super) fn linear(&self, x: &Tensor, stride: usize, padding: [usize; 2]) -> Tensor {
        &self.without_bias(x, stride, padding) + &self.bias
    }

    /// The convolution and a ReLU.
    pub(super) fn relu(&self, x: &Tensor, stride: usize, padding: [usize; 2]) -> Tensor {
        bias_leaky_relu(&self.without_bias(x, stride, padding), &self.bias, 0.0)
    }

    /// The convolution and a ReLU that is clipped at 6.
    pub(super) fn relu6(&self, x: &Tensor, stride: usize, padding: [usize; 2]) -> Tensor {
        if is_recorded(x) {
            return self.linear(x, stride, padding).clip(0.0, 6.0);
        }
        let positive = self.relu(x, stride, padding);
        let shape = positive.shape().to_vec();
        let values = positive.as_slice().par_iter().map(|x| x.min(6.0)).collect();
        Tensor::from_vec(shape, values)
    }

    fn without_bias(&self, x: &Tensor, stride: usize, padding: [usize; 2]) -> Tensor {
        let (x_shape, w_shape) = (x.shape(), self.weight.shape());
        let kernel = [w_shape[0], w_shape[1]];
        if kernel == [1, 1] && stride == 1 && !is_recorded(x) {
            let [n, h, w, from] = [x_shape[0], x_shape[1], x_shape[2], x_shape[3]];
            let product = x
                .reshape([n * h * w, from])
                .matmul(&self.weight.reshape([from, w_shape[3]]));
            return product.reshape([n, h, w, w_shape[3]]);
        }
        let size = [x_shape[1], x_shape[2]];
        let geometry = Geometry::forward(size, kernel, [stride; 2], [1, 1], Padding::Symmetric(padding));
        conv2d(x, &self.weight, &geometry)
    }
}

/// A depthwise 3x3 convolution with one row and column of zeros around the image, and a ReLU that is clipped at 6.
pub(super) struct Depthwise {
    /// `[9, channels]`.
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Depthwise {
    pub(super) fn relu6(&self, x: &Tensor, stride: usize) -> Tensor {
        if is_recorded(x) {
            let (channels, shape) = (self.bias.len(), x.shape());
            let weight = Tensor::from_vec([3, 3, 1, channels], self.weight.clone());
            let padding = Padding::Symmetric([1, 1]);
            let geometry = Geometry::forward([shape[1], shape[2]], [3, 3], [stride; 2], [1, 1], padding);
            let y = conv2d_grouped(x, &weight, &geometry, channels);
            return (y + Tensor::from_vec([channels], self.bias.clone())).clip(0.0, 6.0);
        }
        over_windows(x, stride, 1, |out, windows| {
            out.copy_from_slice(&self.bias);
            for (place, pixel) in windows {
                let weight = &self.weight[place * out.len()..(place + 1) * out.len()];
                for ((y, w), x) in out.iter_mut().zip(weight).zip(pixel) {
                    *y += w * x;
                }
            }
            out.iter_mut().for_each(|y| *y = y.clamp(0.0, 6.0));
        })
    }
}

/// Maximum of each 3x3 window. `padding` rows and columns around the image are ignored.
pub(super) fn max_pool(x: &Tensor, stride: usize, padding: usize) -> Tensor {
    if is_recorded(x) {
        return x.max_pool_windows(3, stride, padding);
    }
    over_windows(x, stride, padding, |out, windows| {
        out.fill(f32::NEG_INFINITY);
        for (_, pixel) in windows {
            for (y, x) in out.iter_mut().zip(pixel) {
                *y = y.max(*x);
            }
        }
    })
}

/// Mean of each 3x3 window around a pixel, over the part inside the image.
pub(super) fn mean_pool(x: &Tensor) -> Tensor {
    if is_recorded(x) {
        return x.avg_pool_inside(3, 1, 1);
    }
    over_windows(x, 1, 1, |out, windows| {
        out.fill(0.0);
        let mut count = 0.0;
        for (_, pixel) in windows {
            count += 1.0;
            for (y, x) in out.iter_mut().zip(pixel) {
                *y += x;
            }
        }
        out.iter_mut().for_each(|y| *y /= count);
    })
}

/// Computes each output pixel from the pixels of its 3x3 window inside the image. They come with their position in the
/// window.
fn over_windows(
    x: &Tensor,
    stride: usize,
    padding: usize,
    compute: impl Fn(&mut [f32], &mut dyn Iterator<Item = (usize, &[f32])>) + Sync,
) -> Tensor {
    let [n, h, w, c] = [x.shape()[0], x.shape()[1], x.shape()[2], x.shape()[3]];
    let [rows, columns] = [h, w].map(|size| (size + 2 * padding - 3) / stride + 1);
    let mut out = vec![0.0; n * rows * columns * c];
    out.par_chunks_exact_mut(columns * c)
        .enumerate()
        .for_each(|(i, line)| {
            let (image, row) = (i / rows, i % rows);
            let inside = |at: usize, tap: usize, size: usize| {
                (at * stride + tap).checked_sub(padding).filter(|&i| i < size)
            };
            for (column, pixel) in line.chunks_exact_mut(c).enumerate() {
                let mut windows = (0..9).filter_map(|place| {
                    let y = inside(row, place / 3, h)?;
                    let x_at = inside(column, place % 3, w)?;
                    let start = ((image * h + y) * w + x_at) * c;
                    Some((place, &x.as_slice()[start..start + c]))
                });
                compute(pixel, &mut windows);
            }
        });
    Tensor::from_vec([n, rows, columns, c], out)
}
