//! Small networks for images of 16 to 256 pixels, for few training images and training on CPUs.
//!
//! *Generator*: a dense layer outputs a feature map of 4 to 7 pixels a side. Each block doubles its size with a
//! [bilinear](UpsampleConv2d::bilinear) [`UpsampleConv2d`], batch norm and a leaky ReLU. Skip-layer excitation ([`SkipExcitation`]) rescales the channels of a
//! block by gates, which it computes from the feature map of a sixteenth of the size. Generators for images below 64 pixels
//! have one such gate, from the first map to the last.
//!
//! *Discriminator*: a convolution, then residual blocks that halve the size. The main branch of a block is a 4x4 convolution
//! with stride 2, the skip branch is average pooling and a 1x1 convolution. There is no batch norm, so the images of a batch
//! do not affect each other's gradients and gradient penalties such as R1 are well defined. With
//! [`ObjectiveConfig::reconstruction`](crate::ObjectiveConfig::reconstruction) it has a [`ReconstructionHead`] after its last but one
//! block, where maps are 8 to 14 pixels a side. It reconstructs half the side of an image, and at most four times that of the map.
//!
//! Default widths: the generator's from the smallest map to the image, the discriminator's from the image to the smallest
//! map. Costs are millions of multiply-adds of one forward pass for one RGB image. A training step costs about three times
//! the generator's and seven times the discriminator's:
//!
//! | size | generator | discriminator | generator cost | discriminator cost | parameters |
//! |---|---|---|---|---|---|
//! | 16 to 28 | 256, 128, 64 | 64, 128, 256 | 18.0 | 27.8 | 1.16 M + 1.29 M |
//! | 32 to 56 | 256, 256, 128, 64 | 64, 128, 256, 256 | 86.4 | 100.5 | 1.75 M + 2.41 M |
//! | 64 to 112 | 256, 256, 128, 64, 32 | 32, 64, 128, 256, 256 | 121.6 | 138.1 | 1.64 M + 2.44 M |
//! | 128 to 224 | 256, 256, 192, 96, 48, 24 | 16, 32, 64, 128, 256, 256 | 305.0 | 177.7 | 2.07 M + 2.45 M |
//! | 256 | 256, 256, 192, 96, 64, 32, 16 | 8, 16, 32, 64, 128, 256, 256 | 541.0 | 221.2 | 2.25 M + 2.45 M |
//!
//! The costs and parameters of a row are those of its first size.
//!
//! *Source*: Liu et al., "Towards faster and stabilized GAN training for high-fidelity few-shot image synthesis", 2021, for
//! both networks, which are smaller here; He et al., "Deep residual learning for image recognition", 2016. The widths are this
//! project's.

use super::conditional;
use super::family::{GeneratorNorm, LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
use super::reconstruction::{self, ReconstructionHead};
use engraft_layers::{
    AvgPool2x, BatchNorm, Condition, Conv2d, Dense, Flatten, Init, LeakyReLU, Mode, Module, PatchHead,
    PixelNorm, Reshape, Residual, Sequential, SkipExcitation, Tanh, Taps, UpsampleConv2d, named,
};
use engraft_tensor::{Real, Tensor};
use rand::Rng;

/// Length of the latent vector.
pub const LATENT: usize = 128;

/// Slope of every leaky ReLU.
const SLOPE: f64 = 0.2;

/// Sides of the smallest map.
const STARTS: std::ops::RangeInclusive<usize> = 4..=7;

/// How often a network may double or halve its maps.
const DOUBLINGS: std::ops::RangeInclusive<u32> = 2..=6;

/// Largest side of an image.
const LARGEST: usize = 256;

/// Blocks between a map and the one whose channels it gates: a sixteenth of the size.
const GATE_DISTANCE: usize = 4;

/// Most convolutions at each size.
const MOST_CONVOLUTIONS: usize = 2;

/// Size of the smallest feature map and number of doublings from it to this image size; `None` for unsupported sizes.
fn plan_of(image: [usize; 3]) -> Option<([usize; 2], u32)> {
    let [height, width, _] = image;
    DOUBLINGS.rev().find_map(|doublings| {
        let start = |side: usize| {
            let start = side >> doublings;
            (side <= LARGEST && start << doublings == side && STARTS.contains(&start)).then_some(start)
        };
        Some(([start(height)?, start(width)?], doublings))
    })
}

/// The widths of both networks, the generator's from the smallest map on, the discriminator's from the image on.
fn widths_of(spec: &NetworkSpec, doublings: u32) -> [Vec<usize>; 2] {
    let maps = doublings as usize + 1;
    if spec.widths.len() == 2 * maps {
        return [spec.widths[..maps].to_vec(), spec.widths[maps..].to_vec()];
    }
    if spec.widths.len() == maps {
        return [spec.widths.clone(), spec.widths.iter().rev().copied().collect()];
    }
    let (generator, discriminator): (&[usize], &[usize]) = match doublings {
        2 => (&[256, 128, 64], &[64, 128, 256]),
        3 => (&[256, 256, 128, 64], &[64, 128, 256, 256]),
        4 => (&[256, 256, 128, 64, 32], &[32, 64, 128, 256, 256]),
        5 => (&[256, 256, 192, 96, 48, 24], &[16, 32, 64, 128, 256, 256]),
        _ => (&[256, 256, 192, 96, 64, 32, 16], &[8, 16, 32, 64, 128, 256, 256]),
    };
    [generator.to_vec(), discriminator.to_vec()]
}

/// Factor from Glorot's to He's standard deviation for leaky ReLUs of this slope.
fn he(fan_in: usize, fan_out: usize) -> f64 {
    ((fan_in + fan_out) as f64 / (fan_in as f64 * (1.0 + SLOPE * SLOPE))).sqrt()
}

/// A 3x3 convolution of stride 1 with He initialization.
fn conv<T: Real>(from: usize, to: usize, init: &mut Init) -> Conv2d<T> {
    Conv2d::new(from, to, 3, init).same().scaled(he(from, to))
}

/// One block of the generator: twice the size, and gates from a smaller map.
struct Block<T: Real> {
    layers: Sequential<T>,
    gate: Option<SkipExcitation<T>>,
}

/// The blocks of the generator, with the gates that reach over several of them.
///
/// Its children are `block1`, `block2`, and so on. A gate is `gate` in its block.
struct Pyramid<T: Real> {
    blocks: Vec<(String, Block<T>)>,
}

impl<T: Real> Pyramid<T> {
    fn new(widths: &[usize], start: [usize; 2], spec: &NetworkSpec, init: &mut Init) -> Self {
        let (last, norm) = (widths.len() - 1, spec.norm.unwrap_or_default());
        let blocks = (1..=last).map(|i| {
            let (from, to) = (widths[i - 1], widths[i]);
            let mut up = UpsampleConv2d::new(from, to, init)
                .bilinear()
                .scaled(he(from, to));
            if norm == GeneratorNorm::Batch {
                up = up.no_bias();
            }
            let layers = Sequential::new().add("conv", up);
            let mut layers = normalized(layers, "norm", norm, to).add("act", LeakyReLU::new(SLOPE));
            if spec.convolutions.unwrap_or(1) > 1 {
                let mut second = conv(to, to, init);
                if norm == GeneratorNorm::Batch {
                    second = second.no_bias();
                }
                layers = normalized(layers.add("conv2", second), "norm2", norm, to)
                    .add("act2", LeakyReLU::new(SLOPE));
            }
            let low = low_map(i, last);
            let gate = low.map(|low| SkipExcitation::new(widths[low], to, start, 1 << low, init));
            (block_name(i), Block { layers, gate })
        });
        Self {
            blocks: blocks.collect(),
        }
    }
}

/// Adds the normalization of a map with `channels` channels.
fn normalized<T: Real>(
    layers: Sequential<T>,
    name: &str,
    norm: GeneratorNorm,
    channels: usize,
) -> Sequential<T> {
    match norm {
        GeneratorNorm::Batch => layers.add(name, BatchNorm::new(channels)),
        GeneratorNorm::Pixel => layers.add(name, PixelNorm),
    }
}

/// The map that gates block `i` of `last`; map 0 is the input of the first block.
fn low_map(i: usize, last: usize) -> Option<usize> {
    let distance = GATE_DISTANCE.min(last);
    i.checked_sub(distance)
}

fn block_name(i: usize) -> String {
    format!("block{i}")
}

impl<T: Real> Module<T> for Block<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.layers.forward(x, mode)
    }

    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        let gate = self.gate.iter().map(|gate| ("gate", gate as &dyn Module<T>));
        std::iter::once(("", &self.layers as &dyn Module<T>))
            .chain(gate)
            .collect()
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        let gate = self.gate.iter_mut();
        let gate = gate.map(|gate| ("gate", gate as &mut dyn Module<T>));
        std::iter::once(("", &mut self.layers as &mut dyn Module<T>))
            .chain(gate)
            .collect()
    }
}

impl<T: Real> Module<T> for Pyramid<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.forward_taps(x, &Condition::None, mode, &mut Taps::none())
    }

    fn forward_with(&self, x: &Tensor<T>, condition: &Condition<T>, mode: Mode) -> Tensor<T> {
        self.forward_taps(x, condition, mode, &mut Taps::none())
    }

    fn forward_taps(
        &self,
        x: &Tensor<T>,
        condition: &Condition<T>,
        mode: Mode,
        taps: &mut Taps<'_, T>,
    ) -> Tensor<T> {
        let mut maps = vec![x.clone()];
        for (i, (name, block)) in self.blocks.iter().enumerate() {
            let y = named(name, || {
                let y = block
                    .layers
                    .forward_taps(&maps[i], condition, mode, &mut taps.under(name));
                match (&block.gate, low_map(i + 1, self.blocks.len())) {
                    (Some(gate), Some(low)) => gate.apply(&maps[low], &y, mode),
                    _ => y,
                }
            });
            taps.put(name, &y);
            maps.push(y);
        }
        maps.swap_remove(self.blocks.len())
    }

    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        let blocks = self.blocks.iter();
        blocks
            .map(|(name, block)| (name.as_str(), block as &dyn Module<T>))
            .collect()
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        let blocks = self.blocks.iter_mut();
        blocks
            .map(|(name, block)| (name.as_str(), block as &mut dyn Module<T>))
            .collect()
    }

    fn describe(&self) -> String {
        format!(
            "{} blocks of UpsampleConv2d with skip-layer excitation",
            self.blocks.len()
        )
    }
}

/// [`plan_of`] for a specification that the family supports; panics for others.
#[track_caller]
fn checked(spec: &NetworkSpec) -> ([usize; 2], u32) {
    plan_of(spec.image).unwrap_or_else(|| panic!("light: there is no network for images {:?}", spec.image))
}

/// The generator of a specification: latent vectors to images with values in `[-1, 1]`.
///
/// # Panics
/// If [`Light`] refuses the specification.
pub fn build_generator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let (start, doublings) = checked(spec);
    let [widths, _] = widths_of(spec, doublings);
    let [.., channels] = spec.image;
    let (first, last) = (widths[0], widths[doublings as usize]);
    let [h, w] = start;
    let (latent, spread) = (Light.latent_dim(spec), conditional::EMBEDDING_STD);
    conditional::generator(spec, latent, spread, init, |inputs, init| {
        let outputs = h * w * first;
        let norm = spec.norm.unwrap_or_default();
        let mut dense = Dense::new(inputs, outputs, init).scaled(he(inputs, outputs));
        if norm == GeneratorNorm::Batch {
            dense = dense.no_bias();
        }
        let stem = Sequential::new()
            .add("dense", dense)
            .add("grid", Reshape::new([h, w, first]));
        let stem = normalized(stem, "norm", norm, first).add("act", LeakyReLU::new(SLOPE));
        let pyramid = Pyramid::new(&widths, start, spec, init);
        Sequential::new()
            .add("stem", stem)
            .add("pyramid", pyramid)
            .add("to_image", conv(last, channels, init))
            .add("tanh", Tanh)
    })
}

/// Half the size: `(act(conv(x)) + conv(average(x))) / √2`. The factor is part of the initial weights.
fn down<T: Real>(from: usize, to: usize, convolutions: usize, init: &mut Init) -> Residual<T> {
    let half = 0.5_f64.sqrt();
    let strided = Conv2d::new(from, to, 4, init).stride(2).same();
    let mut branch = Sequential::new()
        .add("conv", strided.scaled(half * he(from, to)))
        .add("act", LeakyReLU::new(SLOPE));
    if convolutions > 1 {
        branch = branch
            .add("conv2", conv(to, to, init))
            .add("act2", LeakyReLU::new(SLOPE));
    }
    let pointwise = Conv2d::new(from, to, 1, init).scaled(half * he(from, to));
    let skip = Sequential::new().add("pool", AvgPool2x).add("conv", pointwise);
    Residual::new(branch).skip(skip)
}

/// The discriminator of a specification: [packed images](NetworkSpec::packed_shape) to logits `[n / packing, 1]`, or with
/// patch logits to one for each position of the smallest map.
///
/// # Panics
/// If [`Light`] refuses the specification.
pub fn build_discriminator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let ([h, w], doublings) = checked(spec);
    let [_, widths] = widths_of(spec, doublings);
    let [.., channels] = spec.packed_shape();
    let layer = |conv: Conv2d<T>| {
        Sequential::new()
            .add("conv", conv)
            .add("act", LeakyReLU::new(SLOPE))
    };
    let mut trunk = Sequential::new().add("from_image", layer(conv(channels, widths[0], init)));
    for i in 1..widths.len() {
        let block = down(widths[i - 1], widths[i], spec.convolutions.unwrap_or(1), init);
        trunk = trunk.add(&format!("down{i}"), block);
        if spec.reconstruction && i + 2 == widths.len() {
            let doublings = (doublings as usize - 2).min(reconstruction::MOST_DOUBLINGS);
            // Weights of its own stream: those of the other layers are the same with and without the head.
            let own = &mut Init::glorot(init.clone().generator().next_u64());
            let head = ReconstructionHead::new(widths[i], channels, doublings, own);
            trunk = trunk.add(reconstruction::NAME, head);
        }
    }
    let last = widths[doublings as usize];
    let trunk = trunk
        .add("last", layer(conv(last, last, init)))
        .add("flat", Flatten);
    if spec.patch_logits {
        return trunk.add("head", PatchHead::with_init(last, init));
    }
    conditional::discriminator(spec, trunk, h * w * last, init)
}

/// The family `light`, for images with sides of 4 to 7 times a power of two, from 16 to 256 pixels.
///
/// Its widths are the channels of the generator's maps, from the smallest on; the discriminator has the same in
/// reverse order, or its own widths, from the image to the smallest map. `convolutions = 2` puts a second convolution into
/// each block of both networks. `norm = "pixel"` replaces batch norm, and `patch_logits` gives the discriminator one logit for
/// each position of its smallest map. Each reads a window around its position that is wider than the image by a quarter.
///
/// ```
/// use engraft_gan::networks::{NetworkFamily, NetworkSpec, light::Light};
/// assert!([16, 28, 32, 48, 64, 96, 128, 256].iter().all(|&s| Light.check(&NetworkSpec::new([s, s, 3])).is_ok()));
/// assert!(Light.check(&NetworkSpec::new([72, 72, 3])).is_err());
/// let narrow = NetworkSpec::new([64, 64, 3]).widths([64, 64, 32, 16, 8]);
/// assert!(Light.check(&narrow).is_ok());
/// ```
pub struct Light;

impl NetworkFamily for Light {
    fn name(&self) -> &str {
        "light"
    }

    fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
        spec.check_channels()?;
        let Some((_, doublings)) = plan_of(spec.image) else {
            return Err(
                "it supports images of 16 to 256 pixels whose height and width are 4 to 7 times the same power of two, such as 16, 28, \
                 32, 48, 64, 96, 128, 192 and 256, with 1 to 4 channels"
                    .into(),
            );
        };
        let maps = doublings as usize + 1;
        if ![0, maps, 2 * maps].contains(&spec.widths.len()) {
            let [h, w, _] = spec.image;
            return Err(format!(
                "network.widths must be {maps} numbers for images of {h}x{w}, or {} with those of the discriminator, or none, \
                 got {:?}",
                2 * maps,
                spec.widths
            ));
        }
        if spec.patch_logits && spec.classes > 0 {
            return Err("network.patch_logits and classes exclude each other".into());
        }
        match spec.convolutions {
            None | Some(1..=MOST_CONVOLUTIONS) => Ok(()),
            Some(other) => Err(format!(
                "network.convolutions must be from 1 to {MOST_CONVOLUTIONS}, got {other}"
            )),
        }
    }

    fn latent_dim(&self, spec: &NetworkSpec) -> usize {
        spec.latent_dim.unwrap_or(LATENT)
    }

    fn generator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        build_generator(spec, init)
    }

    fn discriminator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        build_discriminator(spec, init)
    }

    fn roles(&self, spec: &NetworkSpec) -> LayerRoles {
        let (_, doublings) = checked(spec);
        let blocks = || (1..=doublings as usize).map(|i| format!("pyramid.{}", block_name(i)));
        let mut norms = vec!["stem.norm".to_string()];
        for block in blocks() {
            norms.push(format!("{block}.norm"));
            if spec.convolutions.unwrap_or(1) > 1 {
                norms.push(format!("{block}.norm2"));
            }
        }
        if spec.norm == Some(GeneratorNorm::Pixel) {
            // They have no parameters.
            norms.clear();
        }
        let downs = (1..=doublings).map(|i| format!("down{i}"));
        let roles = LayerRoles {
            generator: NetworkRoles {
                stem: Some("stem".into()),
                blocks: blocks().collect(),
                head: "to_image".into(),
                norms,
                ..NetworkRoles::default()
            },
            discriminator: NetworkRoles {
                stem: Some("from_image".into()),
                blocks: downs.chain(["last".to_string()]).collect(),
                head: "head".into(),
                features: Some("flat".into()),
                feature_map: Some("last".into()),
                ..NetworkRoles::default()
            },
        };
        conditional::roles(spec, roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{
        Adam, Gradients, Optimizer, StateDict, gradients, parameter_count, parameters, summary, visit,
    };
    use engraft_tensor::{grad_with_graph, gradcheck, gradgradcheck, no_grad};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;
    use rayon::ThreadPoolBuilder;

    /// Narrow networks of 16 pixels.
    fn narrow(classes: usize) -> NetworkSpec {
        NetworkSpec::new([16, 16, 3])
            .widths([6, 5, 4])
            .latent_dim(3)
            .classes(classes)
    }

    #[test]
    fn sizes_are_those_that_the_stages_allow() {
        let plan = |side| plan_of([side, side, 3]).map(|([h, _], doublings)| (h, doublings));
        let of = [16, 28, 32, 40, 64, 96, 128, 192, 224, 256].map(plan);
        let expected = [
            (4, 2),
            (7, 2),
            (4, 3),
            (5, 3),
            (4, 4),
            (6, 4),
            (4, 5),
            (6, 5),
            (7, 5),
            (4, 6),
        ];
        assert_eq!(of, expected.map(Some));
        assert!(
            [0, 8, 12, 18, 30, 36, 72, 288, 320, 512]
                .iter()
                .all(|&side| plan(side).is_none())
        );
        assert_eq!(plan_of([64, 96, 3]), Some(([4, 6], 4)));
        assert_eq!(plan_of([32, 64, 3]), None);
        let refused = |spec: NetworkSpec| Light.check(&spec).unwrap_err();
        assert!(refused(NetworkSpec::new([64, 64, 5])).contains("channels"));
        assert!(refused(NetworkSpec::new([64, 64, 3]).widths([1, 2, 3])).contains("network.widths"));
        let mut deep = NetworkSpec::new([16, 16, 3]);
        deep.convolutions = Some(3);
        assert!(refused(deep).contains("network.convolutions"));
    }

    /// The table of the documentation: multiply-adds in millions of both networks, parameters in hundredths of a million.
    #[test]
    fn costs_are_those_of_the_documentation() {
        let costs = |side: usize| {
            let spec = NetworkSpec::new([side, side, 3]);
            let g = build_generator::<f32>(&spec, &mut Init::glorot(1));
            let d = build_discriminator::<f32>(&spec, &mut Init::glorot(2));
            let mut of_g = 0;
            for (name, parameter) in parameters(&g) {
                let (count, [start, _]) = (parameter.tensor().len(), plan_of(spec.image).unwrap().0);
                of_g += match name
                    .strip_prefix("pyramid.block")
                    .and_then(|rest| rest.split_once('.'))
                {
                    // 16 instead of 9 taps, once for each pixel of the smaller map.
                    Some((i, "conv.weight")) => {
                        count * 16 / 9 * (start << (i.parse::<usize>().unwrap() - 1)).pow(2)
                    }
                    Some((_, "gate.squeeze.weight" | "gate.excite.weight")) => count,
                    None if name == "to_image.weight" => count * side * side,
                    None if name == "stem.dense.weight" => count,
                    _ => 0,
                };
            }
            let rows = summary(&d, &spec.image).rows.into_iter();
            let of_d: usize = rows
                .map(|row| {
                    let places = |shape: &[usize]| match *shape {
                        [h, w, _] => h * w,
                        _ => 1,
                    };
                    row.parameters * places(&row.input).min(places(&row.output))
                })
                .sum();
            let millions = [of_g, of_d].map(|v| (v as f64 / 1e5).round() / 10.0);
            let counts = [parameter_count(&g), parameter_count(&d)];
            (millions, counts.map(|v| (v as f64 / 1e4).round() / 100.0))
        };
        assert_eq!(
            [16, 32, 64, 128, 256].map(costs),
            [
                ([18.0, 27.8], [1.16, 1.29]),
                ([86.4, 100.5], [1.75, 2.41]),
                ([121.6, 138.1], [1.64, 2.44]),
                ([305.0, 177.7], [2.07, 2.45]),
                ([541.0, 221.2], [2.25, 2.45]),
            ]
        );
    }

    /// Names are what files hold: they must not change.
    #[test]
    fn names_of_the_parameters() {
        let mut spec = NetworkSpec::new([64, 64, 3]).widths([2; 5]).classes(2);
        spec.convolutions = Some(2);
        let names = |net: Sequential<f32>| -> Vec<String> {
            parameters(&net).into_iter().map(|(name, _)| name).collect()
        };
        let g = names(build_generator(&spec, &mut Init::glorot(1)));
        let d = names(build_discriminator(&spec, &mut Init::glorot(1)));
        let body = "conditional.body";
        for name in [
            "conditional.embedding.weight".to_string(),
            format!("{body}.stem.dense.weight"),
            format!("{body}.stem.norm.weight"),
            format!("{body}.pyramid.block1.conv.weight"),
            format!("{body}.pyramid.block1.norm2.bias"),
            format!("{body}.pyramid.block4.gate.squeeze.weight"),
            format!("{body}.pyramid.block4.gate.excite.bias"),
            format!("{body}.to_image.bias"),
        ] {
            assert!(g.contains(&name), "{name} is not in {g:?}");
        }
        assert_eq!(g.iter().filter(|name| name.contains("gate")).count(), 4);
        for name in [
            "projection.features.from_image.conv.weight",
            "projection.features.down4.branch.conv2.weight",
            "projection.features.down4.skip.conv.weight",
            "projection.features.last.conv.bias",
            "projection.head.weight",
        ] {
            assert!(d.iter().any(|found| found == name), "{name} is not in {d:?}");
        }
        let roles = Light.roles(&spec);
        let g_norms = g
            .iter()
            .filter(|name| name.contains("norm") && name.ends_with("weight"));
        assert_eq!(roles.generator.norms.len(), g_norms.count());
        assert!(!d.iter().any(|name| name.contains("norm")));
    }

    /// Maps of several blocks gate others at 128 pixels: 4 gates 64, 8 gates 128.
    #[test]
    fn gates_reach_over_four_blocks() {
        let lows = |last: usize| (1..=last).map(|i| low_map(i, last)).collect::<Vec<_>>();
        assert_eq!(lows(2), [None, Some(0)]);
        assert_eq!(lows(4), [None, None, None, Some(0)]);
        assert_eq!(lows(6), [None, None, None, Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn gradients_are_right_at_both_orders() {
        let spec = narrow(0);
        let g = build_generator::<f64>(&spec, &mut Init::glorot(1));
        let d = build_discriminator::<f64>(&spec, &mut Init::glorot(2));
        let z = Tensor::randn([2, 3], &mut Pcg64::seed_from_u64(3));
        let game = |z: &[Tensor<f64>]| d.forward(&g.forward(&z[0], Mode::Eval), Mode::Eval);
        gradcheck(game, std::slice::from_ref(&z)).unwrap();
        gradgradcheck(game, &[z]).unwrap();
    }

    /// A step of both losses and R1 reaches every weight, with the same bits on any number of threads.
    #[test]
    fn every_weight_learns_and_threads_do_not_change_a_bit() {
        let spec = narrow(2);
        let step = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut g = build_generator::<f32>(&spec, &mut Init::glorot(1));
                let mut d = build_discriminator::<f32>(&spec, &mut Init::glorot(2));
                let (rng, labels) = (&mut Pcg64::seed_from_u64(3), Condition::from([0, 1, 1]));
                let (z, x) = (
                    Tensor::randn([3, 3], rng),
                    Tensor::randn([3, 16, 16, 3], rng).as_leaf(),
                );
                let fake = g.forward_with(&z, &labels, Mode::Train);
                let judged = d.forward_with(&fake, &labels, Mode::Train).softplus().mean();
                let [slope] = grad_with_graph(&d.forward_with(&x, &labels, Mode::Train).sum(), [&x]);
                let of_d = gradients(&(&judged + slope.square().sum()), &d);
                let of_g = gradients(&judged, &g);
                let moved = |found: &Gradients<f32>, net: &Sequential<f32>| {
                    for (name, _) in parameters(net) {
                        let gradient = found
                            .get(&name)
                            .unwrap_or_else(|| panic!("{name} has no gradient"));
                        assert!(
                            gradient.is_finite() && gradient.abs().sum().item() > 0.0,
                            "{name}"
                        );
                    }
                };
                moved(&of_g, &g);
                moved(&of_d, &d);
                Adam::new(1e-3).step(&mut g, &of_g);
                Adam::new(1e-3).step(&mut d, &of_d);
                let images = no_grad(|| g.forward_with(&z, &labels, Mode::Eval));
                let logits = no_grad(|| d.forward_with(&images, &labels, Mode::Eval));
                [images, logits].map(|t| t.as_slice().to_vec())
            })
        };
        let one = step(1);
        assert!([2, 5].into_iter().all(|threads| step(threads) == one));
    }

    /// Pixel norm has no parameters and patch logits have one value per position; an unconditional pair takes a step with both.
    #[test]
    fn pixel_norm_and_patch_logits() {
        let mut spec = narrow(0);
        (spec.norm, spec.patch_logits) = (Some(GeneratorNorm::Pixel), true);
        assert_eq!(Light.check(&spec), Ok(()));
        let g = build_generator::<f64>(&spec, &mut Init::glorot(1));
        let d = build_discriminator::<f64>(&spec, &mut Init::glorot(2));
        assert!(Light.roles(&spec).generator.norms.is_empty());
        assert!(!parameters(&g).iter().any(|(name, _)| name.contains("norm")));
        let z = Tensor::randn([2, 3], &mut Pcg64::seed_from_u64(3));
        let images = g.forward(&z, Mode::Train);
        let alone = g.forward(&z.narrow(0, 1, 1), Mode::Train);
        let difference = (images.narrow(0, 1, 1) - alone).abs().sum().item();
        assert!(
            difference < 1e-12,
            "images of a batch depend on each other: {difference}"
        );
        assert_eq!(d.forward(&images, Mode::Train).shape(), [2, 16]);
        let game = |z: &[Tensor<f64>]| d.forward(&g.forward(&z[0], Mode::Train), Mode::Train);
        gradcheck(game, std::slice::from_ref(&z)).unwrap();
        assert!(Light.check(&NetworkSpec { classes: 2, ..spec }).is_err());
    }

    /// In evaluation batch norms can be folded away, also in blocks with a gate.
    #[test]
    fn folding_keeps_the_pictures() {
        let spec = narrow(0);
        let build = || build_generator::<f64>(&spec, &mut Init::glorot(1));
        let (g, z) = (build(), Tensor::randn([2, 3], &mut Pcg64::seed_from_u64(3)));
        for _ in 0..3 {
            let _ = g.forward(&z, Mode::Train);
        }
        let before = g.forward(&z, Mode::Eval);
        let state = StateDict::of(&g);
        let mut again = build();
        state.apply(&mut again).unwrap();
        let folded = again.folded();
        let difference = (folded.forward(&z, Mode::Eval) - &before).abs().sum().item();
        assert!(difference < 1e-10, "{difference}");
        let mut norms = 0;
        visit(&folded, |name, _| {
            norms += usize::from(name.contains("pyramid") && name.contains("norm"))
        });
        assert_eq!(norms, 0);
    }
}
