//! Layers of arbitrary sizes and geometries.

use engraft_layers::{
    Adapter, AvgPool2x, BatchNorm, ConditionalBatchNorm, Conv2d, ConvTranspose2d, Dense, Dropout, Embedding,
    Flatten, GaussianNoise, Init, LeakyReLU, Mode, Module, ReLU, Reshape, Residual, ScaleShift, Sequential,
    Sigmoid, SlotMut, Softplus, Tanh, Upsample2x, WeightNormDense, adapt, children, visit_mut,
};
use engraft_tensor::{Padding, Real, Tensor};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// One adapter of each kind, and one with more columns than the smallest weights have.
pub(crate) const ADAPTERS: [Adapter; 5] = [
    Adapter::Modulation { rank: 1 },
    Adapter::Modulation { rank: 3 },
    Adapter::LowRank { rank: 2 },
    Adapter::SingularValues,
    Adapter::OutputScale,
];

/// One layer or small network with its input shape.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) kind: Kind,
    /// Shape of the input, including the batch axis.
    pub(crate) input: Vec<usize>,
    pub(crate) bias: bool,
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
    pub(crate) adapter: Option<Adapter>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Conv {
        outputs: usize,
        kernel: [usize; 2],
        stride: usize,
        dilation: usize,
        padding: Padding,
    },
    Transposed {
        outputs: usize,
        kernel: [usize; 2],
        stride: usize,
        dilation: usize,
        padding: Padding,
        extra: [usize; 2],
    },
    Dense {
        outputs: usize,
    },
    WeightNorm {
        outputs: usize,
    },
    Embedding {
        size: usize,
    },
    Norm,
    /// With labels, in a residual block.
    ConditionalNorm,
    ScaleShift,
    AvgPool,
    Upsample,
    /// With a projection if there is a bias.
    Residual,
    Dropout,
    Noise,
    LeakyReLU,
    ReLU,
    Tanh,
    Sigmoid,
    Softplus,
    /// A smooth network with several kinds of layers.
    Chain,
}

impl Configuration {
    pub(crate) fn build<T: Real>(&self) -> Box<dyn Module<T>> {
        let mut module = self.plain();
        if let Some(adapter) = self.adapter {
            let init = &mut Init::normal(self.seed ^ 0xada, 0.5);
            adapt(module.as_mut(), adapter, init);
            let learned = adapter.names();
            visit_mut(module.as_mut(), |path, slot| match slot {
                SlotMut::Parameter(p) if learned.matches(path) => {
                    p.set(&init.weight(p.tensor().shape(), 1, 1));
                }
                _ => (),
            });
        }
        module
    }

    /// Without its adapter.
    fn plain<T: Real>(&self) -> Box<dyn Module<T>> {
        let init = &mut Init::normal(self.seed, 0.5);
        let channels = self.input.last().copied().unwrap_or(1);
        match self.kind {
            Kind::Conv {
                outputs,
                kernel,
                stride,
                dilation,
                padding,
            } => {
                let layer = Conv2d::with_kernel(channels, outputs, kernel, init);
                let layer = layer.stride(stride).dilation(dilation).padding(padding);
                Box::new(if self.bias { layer } else { layer.no_bias() })
            }
            Kind::Transposed {
                outputs,
                kernel,
                stride,
                dilation,
                padding,
                extra,
            } => {
                let layer = ConvTranspose2d::with_kernel(channels, outputs, kernel, init);
                let layer = layer.stride(stride).dilation(dilation).padding(padding);
                let layer = layer.output_padding(extra[0], extra[1]);
                Box::new(if self.bias { layer } else { layer.no_bias() })
            }
            Kind::Dense { outputs } => {
                let layer = Dense::new(channels, outputs, init);
                Box::new(if self.bias { layer } else { layer.no_bias() })
            }
            Kind::WeightNorm { outputs } => Box::new(WeightNormDense::new(channels, outputs, init)),
            Kind::Embedding { size } => Box::new(Embedding::new(channels, size, init)),
            Kind::ScaleShift => Box::new(ScaleShift::new()),
            Kind::AvgPool => Box::new(AvgPool2x),
            Kind::Upsample => Box::new(Upsample2x),
            Kind::Residual => Box::new(residual(channels, self.bias, init)),
            Kind::Norm => Box::new(BatchNorm::new(channels)),
            Kind::ConditionalNorm => Box::new(Labeled::new(channels, init)),
            Kind::Dropout => Box::new(Dropout::new(0.3, init)),
            Kind::Noise => Box::new(GaussianNoise::new(0.4, init)),
            Kind::LeakyReLU => Box::new(LeakyReLU::new(0.2)),
            Kind::ReLU => Box::new(ReLU),
            Kind::Tanh => Box::new(Tanh),
            Kind::Sigmoid => Box::new(Sigmoid),
            Kind::Softplus => Box::new(Softplus),
            Kind::Chain => Box::new(chain(channels, self.bias, init)),
        }
    }

    /// Values for the input, none of them near the kink of a ReLU.
    pub(crate) fn input<T: Real>(&self) -> Tensor<T> {
        let x = Tensor::<f64>::randn(&self.input, &mut Pcg64::seed_from_u64(self.seed ^ 0x5eed));
        let away = x.as_slice().iter().map(|v| T::from_f64(v + 0.1_f64.copysign(*v)));
        Tensor::from_vec(&self.input, away.collect())
    }
}

/// Gives a class-conditional network the labels 0, 1, 2 in turn.
struct Labeled<T: Real> {
    network: Sequential<T>,
}

impl<T: Real> Labeled<T> {
    fn new(channels: usize, init: &mut Init) -> Self {
        let mut norm = ConditionalBatchNorm::new(3, channels);
        visit_mut(&mut norm, |_, slot| {
            if let SlotMut::Parameter(p) = slot {
                p.set(&init.weight(p.tensor().shape(), 1, 1));
            }
        });
        let branch = Sequential::new().add("norm", norm).add("act", Tanh);
        Self {
            network: Sequential::new().add("block", Residual::new(branch)),
        }
    }
}

impl<T: Real> Module<T> for Labeled<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let labels: Vec<usize> = (0..x.shape()[0]).map(|i| i % 3).collect();
        self.network.forward_with(x, &labels.into(), mode)
    }
    children!(T; network);
    fn describe(&self) -> String {
        "Labeled".into()
    }
}

/// A smooth block of networks without normalization, then half the size and the full size again.
fn residual<T: Real>(channels: usize, projection: bool, init: &mut Init) -> Sequential<T> {
    let outputs = if projection { channels + 1 } else { channels };
    let branch = Sequential::new()
        .add("act", Tanh)
        .add("conv", Conv2d::new(channels, outputs, 3, init).same().scaled(0.7))
        .add("gain", ScaleShift::new());
    let block = Residual::new(branch);
    let block = if projection {
        block.skip(Sequential::new().add("conv", Conv2d::new(channels, outputs, 1, init)))
    } else {
        block
    };
    Sequential::new()
        .add("block", block)
        .add("down", AvgPool2x)
        .add("up", Upsample2x)
}

/// Reads images of 4 x 4.
fn chain<T: Real>(channels: usize, bias: bool, init: &mut Init) -> Sequential<T> {
    let conv = Conv2d::new(channels, 3, 3, init).stride(2).same();
    let block = Sequential::new()
        .add("conv", if bias { conv } else { conv.no_bias() })
        .add("norm", BatchNorm::new(3))
        .add("act", Softplus);
    Sequential::new()
        .add("block", block)
        .add("up", ConvTranspose2d::new(3, 2, 2, init).stride(2).same())
        .add("drop", Dropout::new(0.2, init))
        .add("flat", Flatten)
        .add("head", Dense::new(4 * 4 * 2, 6, init))
        .add("tanh", Tanh)
        .add("grid", Reshape::new([2, 3]))
}

fn padding() -> impl Strategy<Value = Padding> {
    prop_oneof![
        Just(Padding::Valid),
        Just(Padding::Same),
        [0_usize..3, 0..3].prop_map(Padding::Symmetric),
        [0_usize..3, 0..3, 0..3, 0..3].prop_map(Padding::Explicit),
    ]
}

/// Any layer; images are small enough for a thousand evaluations.
pub(crate) fn configurations() -> impl Strategy<Value = Configuration> {
    let steps = ([1_usize..4, 1..4], 1_usize..4, 1_usize..3, padding());
    let image = ([1_usize..3, 0..4, 0..4, 1..4], 1_usize..4);
    let convolution = (steps, image, any::<bool>(), [0_usize..2, 0..2], any::<bool>()).prop_map(
        |((kernel, stride, dilation, padding), ([n, h, w, c], outputs), transposed, extra, bias)| {
            let extent = |a: usize| (kernel[a] - 1) * dilation + 1;
            let kind = if transposed {
                let allowed = |e: usize| {
                    if e < stride.max(dilation) && padding != Padding::Same {
                        e
                    } else {
                        0
                    }
                };
                Kind::Transposed {
                    outputs,
                    kernel,
                    stride,
                    dilation,
                    padding,
                    extra: extra.map(allowed),
                }
            } else {
                Kind::Conv {
                    outputs,
                    kernel,
                    stride,
                    dilation,
                    padding,
                }
            };
            // The result of a transposed convolution must be larger than a padding of 2 + 2.
            let size = |a: usize, more: usize| if transposed { 5 + more } else { extent(a) + more };
            (kind, vec![n, size(0, h), size(1, w), c], bias)
        },
    );
    let dense = (1_usize..5, 1_usize..7, 1_usize..7, any::<bool>())
        .prop_map(|(n, inputs, outputs, bias)| (Kind::Dense { outputs }, vec![n, inputs], bias));
    // At least two inputs, because with one only the sign matters.
    let weight_norm = (1_usize..5, 2_usize..7, 1_usize..7)
        .prop_map(|(n, inputs, outputs)| (Kind::WeightNorm { outputs }, vec![n, inputs], true));
    let embedding = (1_usize..5, 1_usize..7, 1_usize..7)
        .prop_map(|(n, classes, size)| (Kind::Embedding { size }, vec![n, classes], true));
    let images = (
        prop_oneof![
            Just(Kind::AvgPool),
            Just(Kind::Upsample),
            Just(Kind::Residual),
            Just(Kind::Residual)
        ],
        [1_usize..3, 1..4, 1..4, 1..4],
        any::<bool>(),
    )
        .prop_map(|(kind, [n, h, w, c], bias)| (kind, vec![n, 2 * h, 2 * w, c], bias));
    let anything = prop_oneof![
        Just(Kind::Norm),
        Just(Kind::ConditionalNorm),
        Just(Kind::ScaleShift),
        Just(Kind::Dropout),
        Just(Kind::Noise),
        Just(Kind::LeakyReLU),
        Just(Kind::ReLU),
        Just(Kind::Tanh),
        Just(Kind::Sigmoid),
        Just(Kind::Softplus),
    ];
    // At least four rows, because the statistics of fewer are too sensitive for a difference quotient.
    let elementwise = (
        anything,
        4_usize..7,
        proptest::collection::vec(1_usize..4, 1..4),
        any::<bool>(),
    )
        .prop_map(|(kind, n, rest, bias)| (kind, [vec![n], rest].concat(), bias));
    let chain = (2_usize..4, 1_usize..3, any::<bool>())
        .prop_map(|(n, c, bias)| (Kind::Chain, vec![n, 4, 4, c], bias));
    let mode = prop_oneof![Just(Mode::Train), Just(Mode::Eval)];
    (
        prop_oneof![4 => convolution, 1 => dense, 1 => weight_norm, 1 => embedding, 2 => images, 3 => elementwise, 1 => chain],
        mode,
        any::<u64>(),
        proptest::option::weighted(0.3, proptest::sample::select(&ADAPTERS[..])),
    )
        .prop_map(|((kind, input, bias), mode, seed, adapter)| Configuration {
            kind,
            input,
            bias,
            mode,
            seed,
            adapter,
        })
}
