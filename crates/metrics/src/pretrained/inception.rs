//! The Inception network of published FIDs, in the form of pytorch-fid.

use super::layers::{Convolution, is_recorded, max_pool, mean_pool};
use super::weights::{Official, Weights};
use crate::error::MetricsError;
use crate::extractor::{FeatureExtractor, FeatureOutput, InputSpec, RecordedFeatures, read_features};
use crate::resize::bilinear;
use engraft_tensor::{Tensor, concat};
use std::path::Path;

const SIZE: usize = 299;
const FEATURES: usize = 2048;
/// Images per batch.
const BATCH: usize = 8;
const EPSILON: f32 = 1e-3;

/// The SHA-256 of the weights of published FIDs begins with this, in the file of the PyTorch port:
/// `pt_inception-2015-12-05-6726825d.pth`.
pub const INCEPTION_WEIGHTS: &str = "6726825d";

/// The weights of published FIDs.
const OFFICIAL: Official = Official {
    name: "pt_inception-2015-12-05 of pytorch-fid",
    file: INCEPTION_WEIGHTS,
    tensors: None,
};

/// A convolution of a branch: its name within the block, output channels, kernel and stride. The padding keeps the size
/// with stride 1 and is 0 with stride 2.
type Step = (&'static str, usize, [usize; 2], usize);

/// What a branch of a block reads.
#[derive(Clone, Copy)]
enum Pool {
    None,
    Mean,
    Max,
    /// Of stride 2.
    MaxDown,
}

struct Branch {
    pool: Pool,
    convolutions: Vec<(Convolution, usize)>,
    /// Two convolutions in parallel at the end of the branch, if it splits there.
    split: Vec<Convolution>,
}

impl Branch {
    fn forward(&self, x: &Tensor) -> Tensor {
        let mut x = match self.pool {
            Pool::None => x.clone(),
            Pool::Mean => mean_pool(x),
            Pool::Max => max_pool(x, 1, 1),
            Pool::MaxDown => max_pool(x, 2, 0),
        };
        for (convolution, stride) in &self.convolutions {
            x = apply(convolution, &x, *stride);
        }
        if self.split.is_empty() {
            return x;
        }
        let parts: Vec<Tensor> = self.split.iter().map(|part| apply(part, &x, 1)).collect();
        concat(&parts.iter().collect::<Vec<_>>(), 3)
    }
}

fn apply(convolution: &Convolution, x: &Tensor, stride: usize) -> Tensor {
    let kernel = convolution.weight.shape();
    let padding = if stride == 1 {
        [kernel[0] / 2, kernel[1] / 2]
    } else {
        [0, 0]
    };
    convolution.relu(x, stride, padding)
}

/// Builds blocks in the order in which they follow each other.
struct Builder {
    weights: Weights,
    channels: usize,
}

impl Builder {
    fn convolution(&mut self, name: &str, from: usize, to: usize, kernel: [usize; 2]) -> Convolution {
        let [convolution, norm] = ["conv", "bn"].map(|part| format!("{name}.{part}"));
        self.weights
            .convolution([&convolution, &norm], [from, to], kernel)
    }

    fn branch(&mut self, block: &str, pool: Pool, steps: &[Step], split: &[Step]) -> (Branch, usize) {
        let mut from = self.channels;
        let mut convolutions = Vec::new();
        for &(name, to, kernel, stride) in steps {
            convolutions.push((
                self.convolution(&format!("{block}.{name}"), from, to, kernel),
                stride,
            ));
            from = to;
        }
        let parts = split.iter();
        let split_parts = parts
            .map(|&(name, to, kernel, _)| self.convolution(&format!("{block}.{name}"), from, to, kernel))
            .collect();
        let width = split.iter().map(|step| step.1).sum::<usize>();
        let branch = Branch {
            pool,
            convolutions,
            split: split_parts,
        };
        (branch, if split.is_empty() { from } else { width })
    }

    fn block(&mut self, name: &str, branches: &[(Pool, &[Step], &[Step])]) -> Vec<Branch> {
        let built: Vec<(Branch, usize)> = branches
            .iter()
            .map(|(pool, steps, split)| self.branch(name, *pool, steps, split))
            .collect();
        self.channels = built.iter().map(|(_, width)| width).sum();
        built.into_iter().map(|(branch, _)| branch).collect()
    }

    /// 35x35: 1x1, 5x5, two 3x3, and a pooled branch of `pooled` channels.
    fn block_a(&mut self, name: &str, pooled: usize) -> Vec<Branch> {
        self.block(
            name,
            &[
                (Pool::None, &[("branch1x1", 64, [1, 1], 1)], &[]),
                (
                    Pool::None,
                    &[("branch5x5_1", 48, [1, 1], 1), ("branch5x5_2", 64, [5, 5], 1)],
                    &[],
                ),
                (
                    Pool::None,
                    &[
                        ("branch3x3dbl_1", 64, [1, 1], 1),
                        ("branch3x3dbl_2", 96, [3, 3], 1),
                        ("branch3x3dbl_3", 96, [3, 3], 1),
                    ],
                    &[],
                ),
                (Pool::Mean, &[("branch_pool", pooled, [1, 1], 1)], &[]),
            ],
        )
    }

    /// 35x35 to 17x17.
    fn block_b(&mut self, name: &str) -> Vec<Branch> {
        self.block(
            name,
            &[
                (Pool::None, &[("branch3x3", 384, [3, 3], 2)], &[]),
                (
                    Pool::None,
                    &[
                        ("branch3x3dbl_1", 64, [1, 1], 1),
                        ("branch3x3dbl_2", 96, [3, 3], 1),
                        ("branch3x3dbl_3", 96, [3, 3], 2),
                    ],
                    &[],
                ),
                (Pool::MaxDown, &[], &[]),
            ],
        )
    }

    /// 17x17, with 7x7 convolutions in two factors of `c` channels.
    fn block_c(&mut self, name: &str, c: usize) -> Vec<Branch> {
        self.block(
            name,
            &[
                (Pool::None, &[("branch1x1", 192, [1, 1], 1)], &[]),
                (
                    Pool::None,
                    &[
                        ("branch7x7_1", c, [1, 1], 1),
                        ("branch7x7_2", c, [1, 7], 1),
                        ("branch7x7_3", 192, [7, 1], 1),
                    ],
                    &[],
                ),
                (
                    Pool::None,
                    &[
                        ("branch7x7dbl_1", c, [1, 1], 1),
                        ("branch7x7dbl_2", c, [7, 1], 1),
                        ("branch7x7dbl_3", c, [1, 7], 1),
                        ("branch7x7dbl_4", c, [7, 1], 1),
                        ("branch7x7dbl_5", 192, [1, 7], 1),
                    ],
                    &[],
                ),
                (Pool::Mean, &[("branch_pool", 192, [1, 1], 1)], &[]),
            ],
        )
    }

    /// 17x17 to 8x8.
    fn block_d(&mut self, name: &str) -> Vec<Branch> {
        self.block(
            name,
            &[
                (
                    Pool::None,
                    &[("branch3x3_1", 192, [1, 1], 1), ("branch3x3_2", 320, [3, 3], 2)],
                    &[],
                ),
                (
                    Pool::None,
                    &[
                        ("branch7x7x3_1", 192, [1, 1], 1),
                        ("branch7x7x3_2", 192, [1, 7], 1),
                        ("branch7x7x3_3", 192, [7, 1], 1),
                        ("branch7x7x3_4", 192, [3, 3], 2),
                    ],
                    &[],
                ),
                (Pool::MaxDown, &[], &[]),
            ],
        )
    }

    /// 8x8. The first such block has a mean in its pooled branch, the second a maximum.
    fn block_e(&mut self, name: &str, pool: Pool) -> Vec<Branch> {
        self.block(
            name,
            &[
                (Pool::None, &[("branch1x1", 320, [1, 1], 1)], &[]),
                (
                    Pool::None,
                    &[("branch3x3_1", 384, [1, 1], 1)],
                    &[("branch3x3_2a", 384, [1, 3], 1), ("branch3x3_2b", 384, [3, 1], 1)],
                ),
                (
                    Pool::None,
                    &[
                        ("branch3x3dbl_1", 448, [1, 1], 1),
                        ("branch3x3dbl_2", 384, [3, 3], 1),
                    ],
                    &[
                        ("branch3x3dbl_3a", 384, [1, 3], 1),
                        ("branch3x3dbl_3b", 384, [3, 1], 1),
                    ],
                ),
                (pool, &[("branch_pool", 192, [1, 1], 1)], &[]),
            ],
        )
    }
}

/// The features of published FIDs: 2048 pooled numbers of the Inception network of 2015, in the form of pytorch-fid.
///
/// Its pooling differs from torchvision's `inception_v3`: means leave out the border's zeros, and the last block has a
/// maximum instead of a mean. Images of any size are resized to 299x299 by linear interpolation without antialiasing, as
/// pytorch-fid does. clean-fid and the TensorFlow original resize differently, and their FIDs differ from these.
///
/// The weights are read from a safetensors file that the user supplies. [`CONVERT`](super::CONVERT) writes one from
/// `pt_inception-2015-12-05-6726825d.pth`, which pytorch-fid downloads.
///
/// An image takes 5.7 billion multiply-adds.
///
/// *Source*: Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016; Heusel et al., "GANs trained
/// by a two time-scale update rule converge to a local Nash equilibrium", 2017.
pub struct Inception {
    hash: String,
    origin: String,
    image: [usize; 2],
    /// Convolutions with their strides and paddings. `true` means that a pooling follows.
    stem: Vec<(Convolution, usize, usize, bool)>,
    blocks: Vec<Vec<Branch>>,
}

impl Inception {
    /// The network with the weights of a safetensors file, for images of a height and width.
    ///
    /// # Errors
    /// If the file cannot be read, or a weight is missing or has another shape.
    pub fn open(path: impl AsRef<Path>, image_size: [usize; 2]) -> Result<Self, MetricsError> {
        let (weights, hash) = Weights::read(path.as_ref(), EPSILON)?;
        Self::from_weights(weights, hash, image_size)
    }

    fn from_weights(weights: Weights, hash: String, image: [usize; 2]) -> Result<Self, MetricsError> {
        let mut builder = Builder { weights, channels: 3 };
        let mut stem = Vec::new();
        for (name, to, kernel, stride, padding, is_pooled) in [
            ("Conv2d_1a_3x3", 32, 3, 2, 0, false),
            ("Conv2d_2a_3x3", 32, 3, 1, 0, false),
            ("Conv2d_2b_3x3", 64, 3, 1, 1, true),
            ("Conv2d_3b_1x1", 80, 1, 1, 0, false),
            ("Conv2d_4a_3x3", 192, 3, 1, 0, true),
        ] {
            let convolution = builder.convolution(name, builder.channels, to, [kernel; 2]);
            stem.push((convolution, stride, padding, is_pooled));
            builder.channels = to;
        }
        let blocks = vec![
            builder.block_a("Mixed_5b", 32),
            builder.block_a("Mixed_5c", 64),
            builder.block_a("Mixed_5d", 64),
            builder.block_b("Mixed_6a"),
            builder.block_c("Mixed_6b", 128),
            builder.block_c("Mixed_6c", 160),
            builder.block_c("Mixed_6d", 160),
            builder.block_c("Mixed_6e", 192),
            builder.block_d("Mixed_7a"),
            builder.block_e("Mixed_7b", Pool::Mean),
            builder.block_e("Mixed_7c", Pool::Max),
        ];
        let origin = builder.weights.origin(&OFFICIAL);
        builder.weights.finish()?;
        Ok(Self {
            hash,
            origin,
            image,
            stem,
            blocks,
        })
    }

    /// Features `[n, 2048]` of images `[n, h, w, 3]` with values in `[-1, 1]`.
    fn forward(&self, images: &Tensor) -> Tensor {
        let mut x = if images.shape()[1..3] == [SIZE; 2] {
            images.clone()
        } else if is_recorded(images) {
            images.resize_bilinear([SIZE; 2])
        } else {
            bilinear(images, [SIZE; 2])
        };
        for (convolution, stride, padding, is_pooled) in &self.stem {
            x = convolution.relu(&x, *stride, [*padding; 2]);
            if *is_pooled {
                x = max_pool(&x, 2, 0);
            }
        }
        for block in &self.blocks {
            let parts: Vec<Tensor> = block.iter().map(|branch| branch.forward(&x)).collect();
            x = concat(&parts.iter().collect::<Vec<_>>(), 3);
        }
        x.mean_axes(&[1, 2])
    }
}

impl FeatureExtractor for Inception {
    fn name(&self) -> &str {
        "inception"
    }

    /// SHA-256 of the weights file.
    fn hash(&self) -> &str {
        &self.hash
    }

    fn input(&self) -> InputSpec {
        InputSpec {
            size: self.image,
            channels: 3,
            range: [-1.0, 1.0],
        }
    }

    fn dimension(&self) -> usize {
        FEATURES
    }

    fn about(&self) -> String {
        format!(
            "{FEATURES} features of Inception as in pytorch-fid, bilinear to {SIZE}x{SIZE} without antialiasing; {}",
            self.origin
        )
    }

    fn read(&self, images: &Tensor) -> Result<FeatureOutput, MetricsError> {
        read_features(self, images, BATCH, |part| self.forward(part))
    }

    fn recorded(&self, images: &Tensor) -> Option<RecordedFeatures> {
        Some(RecordedFeatures::without_logits(self.forward(images)))
    }
}
