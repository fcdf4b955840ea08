//! Convolutions in groups of channels, and along one axis, composed of [`conv2d`] and of elementwise products.

use super::convolution::conv2d;
use crate::geometry::{Geometry, Padding};
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;

/// Convolution in groups: each group of input channels is convolved with its own filters. With as many groups as input channels
/// it is a depthwise convolution.
///
/// *Shapes*: input `[n, h, w, c]`, weight `[kh, kw, c / groups, c_out]`, output `[n, oh, ow, c_out]`. Output channel `j` reads the
/// input channels of group `j / (c_out / groups)`, as in PyTorch.
///
/// A depthwise convolution with one output per channel is a sum of shifted products. Others run one convolution for each group.
///
/// # Panics
/// If the channels are not a whole number of groups, or a shape does not fit.
#[must_use]
#[track_caller]
pub fn conv2d_grouped<T: Real>(
    x: &Tensor<T>,
    w: &Tensor<T>,
    geometry: &Geometry,
    groups: usize,
) -> Tensor<T> {
    let (&[_, h, width, c], &[kh, kw, c_of_group, c_out]) = (x.shape(), w.shape()) else {
        panic!(
            "conv2d_grouped: expected [n, h, w, c] and [kh, kw, c, c_out], got {:?} and {:?}",
            x.shape(),
            w.shape()
        )
    };
    assert!(
        groups > 0 && c_of_group * groups == c && c_out.is_multiple_of(groups),
        "conv2d_grouped: {groups} groups do not fit input {:?} and weight {:?}",
        x.shape(),
        w.shape()
    );
    assert!(
        [h, width] == geometry.input && [kh, kw] == geometry.kernel,
        "conv2d_grouped: input {:?} and weight {:?} do not fit {geometry:?}",
        x.shape(),
        w.shape()
    );
    if groups == 1 {
        return conv2d(x, w, geometry);
    }
    let operation = Operation::Conv2dGrouped {
        geometry: *geometry,
        groups,
    };
    if c_of_group == 1 && c_out == c {
        return depthwise(x, w, geometry).summarized(operation, &[x, w]);
    }
    let of_group = c_out / groups;
    let parts: Vec<Tensor<T>> = (0..groups)
        .map(|group| {
            let x = x.narrow(3, group * c_of_group, c_of_group);
            conv2d(&x, &w.narrow(3, group * of_group, of_group), geometry)
        })
        .collect();
    super::concat(&parts.iter().collect::<Vec<_>>(), 3).summarized(operation, &[x, w])
}

/// `Σ w[i, j] · x shifted by (i, j)`, channel by channel.
fn depthwise<T: Real>(x: &Tensor<T>, w: &Tensor<T>, g: &Geometry) -> Tensor<T> {
    // Rows and columns of the padded image that the last tap of the last output reads.
    let padded: [usize; 2] =
        [0, 1].map(|a| (g.output[a].saturating_sub(1)) * g.stride[a] + (g.kernel[a] - 1) * g.dilation[a] + 1);
    let image = [0, 1].into_iter().fold(x.clone(), |image, a| {
        let end = padded[a].saturating_sub(g.input[a] + g.pad[a]);
        image.pad(1 + a, g.pad[a], end)
    });
    let channels = w.shape()[3];
    let taps = (0..g.kernel[0]).flat_map(|i| (0..g.kernel[1]).map(move |j| [i, j]));
    let sum = taps.map(|tap| {
        let shifted = [0, 1].into_iter().fold(image.clone(), |image, a| {
            let start = tap[a] * g.dilation[a];
            match g.stride[a] {
                1 => image.narrow(1 + a, start, g.output[a]),
                stride => {
                    let read: Vec<usize> = (0..g.output[a]).map(|i| start + i * stride).collect();
                    image.index_select(1 + a, &read)
                }
            }
        });
        let weight = w.narrow(0, tap[0], 1).narrow(1, tap[1], 1).reshape([channels]);
        shifted * weight
    });
    sum.reduce(|sum, term| sum + term).expect("a kernel has a tap")
}

/// Convolution along one axis.
///
/// *Shapes*: input `[n, length, c]`, weight `[k, c, c_out]`, output `[n, length_out, c_out]`.
///
/// - `padding`: zeros before and after; [`Padding::Same`] and [`Padding::Valid`] as for images.
///
/// # Panics
/// If a shape does not fit, or the stride is 0.
#[must_use]
#[track_caller]
pub fn conv1d<T: Real>(
    x: &Tensor<T>,
    w: &Tensor<T>,
    stride: usize,
    dilation: usize,
    padding: Padding1d,
) -> Tensor<T> {
    let (&[n, length, c], &[k, c_of_w, c_out]) = (x.shape(), w.shape()) else {
        panic!(
            "conv1d: expected [n, length, c] and [k, c, c_out], got {:?} and {:?}",
            x.shape(),
            w.shape()
        )
    };
    let padding = match padding {
        Padding1d::Valid => Padding::Valid,
        Padding1d::Same => Padding::Same,
        Padding1d::Zeros(before, after) => Padding::Explicit([0, 0, before, after]),
    };
    let geometry = Geometry::forward([1, length], [1, k], [1, stride], [1, dilation], padding);
    let y = conv2d(
        &x.reshape([n, 1, length, c]),
        &w.reshape([1, k, c_of_w, c_out]),
        &geometry,
    );
    y.reshape([n, geometry.output[1], c_out])
}

/// Zeros around the input of [`conv1d`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding1d {
    /// None.
    Valid,
    /// As many that the output has `length / stride` entries, rounded up; the odd one comes last.
    Same,
    /// These numbers before and after.
    Zeros(usize, usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    /// Depthwise convolutions and groups of two against one convolution whose weight is 0 between groups.
    #[test]
    fn groups_equal_a_convolution_with_zeros_between_them() {
        let rng = &mut Pcg64::seed_from_u64(1);
        for (groups, c, c_out) in [(4, 4, 4), (2, 4, 6), (1, 3, 2), (3, 3, 6)] {
            for (stride, dilation, padding) in [
                (1, 1, Padding::Same),
                (2, 1, Padding::Symmetric([1, 1])),
                (1, 2, Padding::Valid),
            ] {
                let g = Geometry::forward([7, 6], [3, 2], [stride; 2], [dilation; 2], padding);
                let x = Tensor::<f64>::randn([2, 7, 6, c], rng);
                let w = Tensor::<f64>::randn([3, 2, c / groups, c_out], rng);
                let mut full = ndarray::Array4::<f64>::zeros([3, 2, c, c_out]);
                for ((i, j, input, output), value) in full.indexed_iter_mut() {
                    let (of_input, of_output) = (input / (c / groups), output / (c_out / groups));
                    if of_input == of_output {
                        *value = w.view()[[i, j, input % (c / groups), output]];
                    }
                }
                let [y, expected] = [
                    conv2d_grouped(&x, &w, &g, groups),
                    conv2d(&x, &Tensor::from_array(full), &g),
                ];
                assert_eq!(y.shape(), expected.shape());
                let error = (&y - &expected).abs().sum().item();
                assert!(error < 1e-10, "{groups} groups, {g:?}: {error}");
            }
        }
    }

    #[test]
    fn a_line_by_hand() {
        let x = Tensor::from_vec([1, 4, 1], vec![1.0, 2.0, 3.0, 4.0]);
        let w = Tensor::from_vec([2, 1, 1], vec![1.0, 10.0]);
        assert_eq!(
            conv1d(&x, &w, 1, 1, Padding1d::Valid).as_slice(),
            [21.0, 32.0, 43.0]
        );
        assert_eq!(
            conv1d(&x, &w, 2, 1, Padding1d::Zeros(1, 1)).as_slice(),
            [10.0, 32.0, 4.0]
        );
        assert_eq!(conv1d(&x, &w, 1, 1, Padding1d::Same).shape(), [1, 4, 1]);
    }

    #[test]
    #[should_panic(expected = "3 groups do not fit")]
    fn channels_that_are_no_whole_number_of_groups_are_refused() {
        let g = Geometry::forward([4, 4], [3, 3], [1, 1], [1, 1], Padding::Same);
        let _ = conv2d_grouped(
            &Tensor::<f32>::zeros([1, 4, 4, 4]),
            &Tensor::zeros([3, 3, 1, 4]),
            &g,
            3,
        );
    }
}
