//! Adapters: a small number of new parameters that modify a fixed weight.

use crate::error::LayersError;
use crate::init::Init;
use crate::layer::axes::{along, matrix, size, unmatrix};
use crate::param_filter::ParamFilter;
use crate::parameter::{Buffer, Parameter, Slot, SlotMut};
use engraft_tensor::{Real, Tensor, symmetric_eigen};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How [`adapt`](crate::adapt) modifies the weights of a network.
///
/// The weight of a layer counts as a matrix `W` `[others, outputs]`: the output axis last, the other axes (kernel
/// taps, inputs) in their order and flattened. The layer uses `W'` instead. Initially `W' = W`, to the
/// last bit.
///
/// | adapter | `W'` | parameters |
/// |---|---|---|
/// | `Modulation` | `W ⊙ (1 + A Bᵀ)` | `adapter.a [others, rank]`, `adapter.b [outputs, rank]` |
/// | `LowRank` | `W + A Bᵀ` | `adapter.a [others, rank]`, `adapter.b [outputs, rank]` |
/// | `SingularValues` | `U diag(m ⊙ s) Vᵀ`, where `W = U diag(s) Vᵀ` | `adapter.scale [min(others, outputs)]`: `m` |
/// | `OutputScale` | `W diag(g)` | `adapter.scale [outputs]`: `g` |
///
/// `A` is initialized like the weight of a layer with `others` inputs and `rank` outputs, and `B` with zeros. If both were
/// zero, neither would get a gradient. `A Bᵀ` has no factor `α / rank`; adjust the learning rate instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Adapter {
    /// A factor per number of the weight: 1 plus a low-rank matrix.
    ///
    /// *Source*: Zhao et al., "Few-shot image generation via adaptation-aware kernel modulation", 2022, with rank 1.
    Modulation {
        /// Columns of `A` and `B`.
        rank: usize,
    },
    /// Adds a low-rank matrix to the weight (LoRA).
    ///
    /// *Source*: Hu et al., "LoRA: low-rank adaptation of large language models", 2021, section 4.1.
    LowRank {
        /// Columns of `A` and `B`.
        rank: usize,
    },
    /// Scales the singular values and keeps the singular vectors: `m_i` multiplies the singular value `s_i`,
    /// largest first.
    ///
    /// It is computed as `W + W V diag(m - 1) Vᵀ`, or as `W + U diag(m - 1) Uᵀ W` if there are more outputs than
    /// others. So nothing is divided by a small `s_i`. The vectors are the buffer `adapter.v` (`V` or `U`, square,
    /// as columns). They are computed once when the layer is adapted, at cubic cost in the shorter side, and are part of
    /// the state from then on.
    ///
    /// *Source*: Robb et al., "Few-shot adaptation of generative adversarial networks", 2020, section 3.
    SingularValues,
    /// A factor per output. The factor does not act on the bias. If the bias is trained too, the two form a scale and
    /// shift per output channel.
    ///
    /// *Source*: Noguchi and Harada, "Image generation from small datasets via batch statistics adaptation", 2019,
    /// equation 2.
    OutputScale,
}

impl Adapter {
    /// A filter that matches the adapter's parameters anywhere in a network.
    ///
    /// ```
    /// use engraft_layers::Adapter;
    /// let names = Adapter::LowRank { rank: 2 }.names();
    /// assert!(names.matches("block1.conv.adapter.a"));
    /// assert!(!names.matches("block1.conv.weight"));
    /// ```
    pub fn names(self) -> ParamFilter {
        match self {
            Self::Modulation { .. } | Self::LowRank { .. } => ParamFilter::ending(["adapter.a", "adapter.b"]),
            Self::SingularValues | Self::OutputScale => ParamFilter::ending(["adapter.scale"]),
        }
    }

    /// Maximum rank in settings and files. Programs may use any rank.
    pub const MAX_RANK: usize = 512;

    /// The rank, or `None` for kinds without one.
    pub fn rank(self) -> Option<usize> {
        match self {
            Self::Modulation { rank } | Self::LowRank { rank } => Some(rank),
            Self::SingularValues | Self::OutputScale => None,
        }
    }

    /// The text form that parses to this adapter: `low-rank=4`, `singular-values`.
    ///
    /// ```
    /// use engraft_layers::Adapter;
    /// let adapter: Adapter = "modulation=2".parse()?;
    /// assert_eq!(adapter, Adapter::Modulation { rank: 2 });
    /// assert_eq!(adapter.text(), "modulation=2");
    /// assert!("low-rank=0".parse::<Adapter>().unwrap_err().to_string().contains("low-rank=RANK"));
    /// # Ok::<(), engraft_layers::LayersError>(())
    /// ```
    pub fn text(self) -> String {
        match self {
            Self::Modulation { rank } => format!("modulation={rank}"),
            Self::LowRank { rank } => format!("low-rank={rank}"),
            Self::SingularValues => "singular-values".into(),
            Self::OutputScale => "output-scale".into(),
        }
    }
}

impl FromStr for Adapter {
    type Err = LayersError;

    /// # Errors
    /// [`LayersError::NoSuchAdapter`] for any other text, and for a rank of 0 or above [`Adapter::MAX_RANK`].
    fn from_str(text: &str) -> Result<Self, LayersError> {
        let unknown = || LayersError::NoSuchAdapter {
            most: Self::MAX_RANK,
            found: text.into(),
        };
        let rank = |rank: &str| {
            let rank = rank.parse().ok();
            rank.filter(|rank| (1..=Self::MAX_RANK).contains(rank))
                .ok_or_else(unknown)
        };
        match text.split_once('=') {
            None if text == "singular-values" => Ok(Self::SingularValues),
            None if text == "output-scale" => Ok(Self::OutputScale),
            Some(("low-rank", n)) => Ok(Self::LowRank { rank: rank(n)? }),
            Some(("modulation", n)) => Ok(Self::Modulation { rank: rank(n)? }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Modulation { rank } => write!(f, "modulation of rank {rank}"),
            Self::LowRank { rank } => write!(f, "low rank {rank}"),
            Self::SingularValues => write!(f, "singular values"),
            Self::OutputScale => write!(f, "output scale"),
        }
    }
}

/// The parameters of an adapter for one weight.
#[derive(Clone, Debug)]
pub(super) struct Adaptation<T: Real> {
    adapter: Adapter,
    /// The output axis of the weight.
    axis: usize,
    parts: Parts<T>,
}

#[derive(Clone, Debug)]
enum Parts<T: Real> {
    /// The factors of a low-rank matrix.
    Factors { a: Parameter<T>, b: Parameter<T> },
    /// A factor per output, or per singular value if there are vectors.
    Scale {
        scale: Parameter<T>,
        v: Option<Buffer<T>>,
    },
}

impl<T: Real> Adaptation<T> {
    /// An adapter that does not change `weight` yet. `axis` is its output axis.
    #[track_caller]
    pub(super) fn new(adapter: Adapter, weight: &Tensor<T>, axis: usize, init: &mut Init) -> Self {
        let [others, outputs] = size(weight, axis);
        let parts = match adapter {
            Adapter::Modulation { rank } | Adapter::LowRank { rank } => {
                assert!(
                    rank > 0,
                    "adapt: {adapter} of a weight {:?} has nothing to learn; the rank must be at least 1",
                    weight.shape()
                );
                Parts::Factors {
                    a: Parameter::new(init.weight(&[others, rank], others, rank)),
                    b: Parameter::new(Tensor::zeros([outputs, rank])),
                }
            }
            Adapter::SingularValues => {
                let w = matrix(&weight.detach().cast::<f64>(), axis);
                let square = if others < outputs {
                    w.matmul_nt(&w)
                } else {
                    w.matmul_tn(&w)
                };
                let n = others.min(outputs);
                let v = Tensor::from_vec([n, n], symmetric_eigen(square.as_slice(), n).vectors);
                Parts::Scale {
                    scale: Parameter::new(Tensor::ones([n])),
                    v: Some(Buffer::new(v.cast())),
                }
            }
            Adapter::OutputScale => Parts::Scale {
                scale: Parameter::new(Tensor::ones([outputs])),
                v: None,
            },
        };
        Self { adapter, axis, parts }
    }

    pub(super) fn adapter(&self) -> Adapter {
        self.adapter
    }

    /// The weight that replaces `weight`.
    pub(super) fn adapted(&self, weight: &Tensor<T>) -> Tensor<T> {
        let in_shape = |m: &Tensor<T>| unmatrix(m, weight.shape(), self.axis);
        match &self.parts {
            Parts::Factors { a, b } => {
                let product = in_shape(&a.tensor().matmul_nt(b.tensor()));
                match self.adapter {
                    Adapter::Modulation { .. } => weight * (product + T::one()),
                    _ => weight + product,
                }
            }
            Parts::Scale { scale, v: None } => weight * along(scale.tensor(), weight.rank(), self.axis),
            Parts::Scale { scale, v: Some(v) } => {
                let (v, w) = (v.tensor(), matrix(weight, self.axis));
                // Zero as long as all factors are 1, regardless of rounding in the vectors.
                let change = (&v * (scale.tensor() - T::one())).matmul_nt(&v);
                let [others, outputs] = size(weight, self.axis);
                weight
                    + in_shape(&if others < outputs {
                        change.matmul(&w)
                    } else {
                        w.matmul(&change)
                    })
            }
        }
    }

    pub(super) fn slots(&self) -> Vec<(&'static str, Slot<'_, T>)> {
        match &self.parts {
            Parts::Factors { a, b } => vec![
                ("adapter.a", Slot::Parameter(a)),
                ("adapter.b", Slot::Parameter(b)),
            ],
            Parts::Scale { scale, v } => {
                let scale = ("adapter.scale", Slot::Parameter(scale));
                let v = v.iter().map(|v| ("adapter.v", Slot::Buffer(v)));
                std::iter::once(scale).chain(v).collect()
            }
        }
    }

    pub(super) fn slots_mut(&mut self) -> Vec<(&'static str, SlotMut<'_, T>)> {
        match &mut self.parts {
            Parts::Factors { a, b } => vec![
                ("adapter.a", SlotMut::Parameter(a)),
                ("adapter.b", SlotMut::Parameter(b)),
            ],
            Parts::Scale { scale, v } => {
                let scale = ("adapter.scale", SlotMut::Parameter(scale));
                let v = v.iter_mut().map(|v| ("adapter.v", SlotMut::Buffer(v)));
                std::iter::once(scale).chain(v).collect()
            }
        }
    }
}
