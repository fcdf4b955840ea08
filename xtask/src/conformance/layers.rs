//! Layers: output, gradients of input and parameters, and running statistics.

use super::case::Case;
use anyhow::{Context, ensure};
use engraft_layers::{
    BatchNorm, Conv2d, ConvTranspose2d, Dense, Init, LeakyReLU, Mode, Module, Parameter, ReLU, Sigmoid, Slot,
    SlotMut, Softplus, StateDict, Tanh, TorchLayout, gradients,
};
use engraft_tensor::{Geometry, Padding, Real, Tensor, conv2d as convolve, conv2d_input, grad};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One number for both axes, or `[rows, columns]`.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Pair {
    Both(usize),
    Each([usize; 2]),
}

/// The same, or `[top, bottom, left, right]`.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Border {
    Pair(Pair),
    Explicit([usize; 4]),
}

/// Steps beyond this are a damaged index, and would overflow sizes.
const MAX_STEP: usize = 1 << 16;

impl Pair {
    fn get(self) -> anyhow::Result<[usize; 2]> {
        let pair = match self {
            Self::Both(n) => [n, n],
            Self::Each(pair) => pair,
        };
        ensure!(
            pair.iter().all(|&n| n <= MAX_STEP),
            "{pair:?} is out of any range"
        );
        Ok(pair)
    }
}

impl Border {
    fn get(self) -> anyhow::Result<Padding> {
        match self {
            Self::Pair(pair) => Ok(Padding::Symmetric(pair.get()?)),
            Self::Explicit(sides) => {
                ensure!(
                    sides.iter().all(|&n| n <= MAX_STEP),
                    "padding {sides:?} is out of any range"
                );
                Ok(Padding::Explicit(sides))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Convolution {
    kernel: Pair,
    stride: Pair,
    padding: Border,
    dilation: Pair,
    groups: usize,
    bias: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transposed {
    kernel: Pair,
    stride: Pair,
    padding: Option<Border>,
    /// Instead of padding: rows and columns cut from the full result.
    crop: Option<[usize; 4]>,
    output_padding: Option<Pair>,
    dilation: Pair,
    groups: usize,
    bias: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Norm {
    training: bool,
    eps: f64,
    momentum: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Linear {
    bias: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaky {
    slope: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// `[n, c, h, w] -> [n, h, w, c]`; what is no image stays.
pub(crate) fn from_torch<T: Real>(x: &Tensor<T>) -> Tensor<T> {
    if x.rank() == 4 {
        x.permute(&[0, 2, 3, 1])
    } else {
        x.clone()
    }
}

/// `[n, h, w, c] -> [n, c, h, w]`; what is no image stays.
pub(crate) fn to_torch<T: Real>(x: &Tensor<T>) -> Tensor<T> {
    if x.rank() == 4 {
        x.permute(&[0, 3, 1, 2])
    } else {
        x.clone()
    }
}

/// Gives the module the case's tensors, runs it both ways, and compares everything.
fn check<T: Real>(case: &mut Case<T>, module: &mut dyn Module<T>, mode: Mode) -> anyhow::Result<()> {
    let layout = TorchLayout::new();
    let names: Vec<String> = StateDict::of(module).into_tensors().into_keys().collect();
    let mut given = BTreeMap::new();
    for name in &names {
        given.insert(name.clone(), case.input(name)?);
    }
    layout
        .from_torch(&StateDict::from_tensors(given.clone()))?
        .apply(module)?;

    let x = from_torch(&case.input("input")?).as_leaf();
    let y = module.forward(&x, mode);
    case.compare("output", &to_torch(&y))?;
    let dy = from_torch(&case.input("grad_output")?);
    ensure!(
        dy.shape() == y.shape(),
        "grad_output has another shape than the output"
    );
    let loss = (&y * &dy).sum();
    let [dx] = grad(&loss, [&x]);
    case.compare("grad_input", &to_torch(&dx))?;
    let found = layout.to_torch(&StateDict::from_tensors(gradients(&loss, module)))?;
    for (name, gradient) in found.tensors() {
        case.compare(&format!("grad_{name}"), gradient)?;
    }

    // What the pass changed must be what the reference changed.
    for (name, after) in layout.to_torch(&StateDict::of(module))?.tensors() {
        if case.has(&format!("{name}_after")) {
            case.compare(&format!("{name}_after"), after)?;
        } else {
            let unchanged = given
                .get(name)
                .is_some_and(|before| before.as_slice() == after.as_slice());
            ensure!(unchanged, "the pass changed {name:?}, the reference did not");
        }
    }
    Ok(())
}

/// A layer with different steps along rows and columns, which the layers of the crate do not offer: the
/// tensor operation itself.
struct Map<T: Real> {
    weight: Parameter<T>,
    bias: Option<Parameter<T>>,
    geometry: Geometry,
    transposed: bool,
}

impl<T: Real> Module<T> for Map<T> {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        let y = if self.transposed {
            conv2d_input(x, self.weight.tensor(), &self.geometry)
        } else {
            convolve(x, self.weight.tensor(), &self.geometry)
        };
        self.bias.iter().fold(y, |y, bias| y + bias.tensor())
    }
    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        let weight = ("weight", Slot::Parameter(&self.weight));
        let bias = self.bias.iter().map(|bias| ("bias", Slot::Parameter(bias)));
        std::iter::once(weight).chain(bias).collect()
    }
    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        let weight = ("weight", SlotMut::Parameter(&mut self.weight));
        let bias = self
            .bias
            .iter_mut()
            .map(|bias| ("bias", SlotMut::Parameter(bias)));
        std::iter::once(weight).chain(bias).collect()
    }
}

/// What both kinds of convolution read from the shapes: images, kernel, channels of the weight.
fn sizes<T: Real>(case: &Case<T>, kernel: Pair, groups: usize, bias: bool) -> anyhow::Result<Sizes> {
    ensure!(groups == 1, "{groups} groups are not supported");
    ensure!(
        bias == case.has("bias"),
        "the settings say bias {bias}, the file says otherwise"
    );
    let &[outer, inner, kh, kw] = case.shape("weight")? else {
        anyhow::bail!(
            "the weight must have four axes, not shape {:?}",
            case.shape("weight")?
        );
    };
    ensure!(
        kernel.get()? == [kh, kw],
        "the weight's kernel is not the settings'"
    );
    let image = |name: &str| match *case.shape(name)? {
        [_, _, h, w] => Ok([h, w]),
        _ => anyhow::bail!("{name:?} must be images, not shape {:?}", case.shape(name)?),
    };
    Ok(Sizes {
        input: image("input")?,
        output: image("output")?,
        kernel: [kh, kw],
        outer,
        inner,
    })
}

struct Sizes {
    input: [usize; 2],
    output: [usize; 2],
    kernel: [usize; 2],
    outer: usize,
    inner: usize,
}

/// In cases that are named so, the explicit border must be the one of `Same`, which is used instead.
fn same_if_named<T: Real>(
    case: &Case<T>,
    explicit: Padding,
    geometry: impl Fn(Padding) -> Geometry,
) -> anyhow::Result<Padding> {
    if !case.name.contains("_same_") {
        return Ok(explicit);
    }
    let (same, given) = (geometry(Padding::Same), geometry(explicit));
    ensure!(same == given, "`same` gives {same:?}, the case {given:?}");
    Ok(Padding::Same)
}

pub(crate) fn conv2d<T: Real>(case: &mut Case<T>) -> anyhow::Result<()> {
    let p: Convolution = case.params()?;
    let s = sizes(case, p.kernel, p.groups, p.bias)?;
    let (stride, dilation) = (p.stride.get()?, p.dilation.get()?);
    let geometry = |padding| Geometry::forward(s.input, s.kernel, stride, dilation, padding);
    let padding = same_if_named(case, p.padding.get()?, geometry)?;
    let g = geometry(padding);
    ensure!(
        g.output == s.output,
        "the output has {:?} rows and columns, ours {:?}",
        s.output,
        g.output
    );
    if stride[0] != stride[1] || dilation[0] != dilation[1] {
        return check(
            case,
            &mut map(
                [s.kernel[0], s.kernel[1], s.inner, s.outer],
                s.outer,
                p.bias,
                g,
                false,
            ),
            Mode::Train,
        );
    }
    let layer = Conv2d::with_kernel(s.inner, s.outer, s.kernel, &mut Init::glorot(0));
    let layer = layer.stride(stride[0]).dilation(dilation[0]).padding(padding);
    let mut layer = if p.bias { layer } else { layer.no_bias() };
    check(case, &mut layer, Mode::Train)
}

pub(crate) fn conv_transpose2d<T: Real>(case: &mut Case<T>) -> anyhow::Result<()> {
    let p: Transposed = case.params()?;
    let s = sizes(case, p.kernel, p.groups, p.bias)?;
    let (stride, dilation) = (p.stride.get()?, p.dilation.get()?);
    let extra = p.output_padding.map_or(Ok([0, 0]), Pair::get)?;
    let explicit = match (p.padding, p.crop) {
        (Some(border), None) => border.get()?,
        (None, Some(crop)) => Border::Explicit(crop).get()?,
        _ => anyhow::bail!("there must be either padding or crop"),
    };
    let geometry = |padding| Geometry::transposed(s.input, s.kernel, stride, dilation, padding, extra);
    let padding = same_if_named(case, explicit, geometry)?;
    let g = geometry(padding);
    ensure!(
        g.input == s.output,
        "the output has {:?} rows and columns, ours {:?}",
        s.output,
        g.input
    );
    if stride[0] != stride[1] || dilation[0] != dilation[1] {
        return check(
            case,
            &mut map(
                [s.kernel[0], s.kernel[1], s.inner, s.outer],
                s.inner,
                p.bias,
                g,
                true,
            ),
            Mode::Train,
        );
    }
    let layer = ConvTranspose2d::with_kernel(s.outer, s.inner, s.kernel, &mut Init::glorot(0));
    let layer = layer.stride(stride[0]).dilation(dilation[0]).padding(padding);
    let layer = layer.output_padding(extra[0], extra[1]);
    let mut layer = if p.bias { layer } else { layer.no_bias() };
    check(case, &mut layer, Mode::Train)
}

fn map<T: Real>(
    weight: [usize; 4],
    outputs: usize,
    bias: bool,
    geometry: Geometry,
    transposed: bool,
) -> Map<T> {
    Map {
        weight: Parameter::new(Tensor::zeros(weight)),
        bias: bias.then(|| Parameter::new(Tensor::zeros([outputs]))),
        geometry,
        transposed,
    }
}

pub(crate) fn batch_norm<T: Real>(case: &mut Case<T>) -> anyhow::Result<()> {
    let p: Norm = case.params()?;
    let channels = *case
        .shape("weight")?
        .first()
        .context("the weight must have one axis")?;
    // PyTorch's momentum is the share of the batch, ours that of the past.
    let mut layer = BatchNorm::new(channels).eps(p.eps).momentum(1.0 - p.momentum);
    let mode = if p.training { Mode::Train } else { Mode::Eval };
    check(case, &mut layer, mode)
}

pub(crate) fn linear<T: Real>(case: &mut Case<T>) -> anyhow::Result<()> {
    let p: Linear = case.params()?;
    ensure!(
        p.bias == case.has("bias"),
        "the settings say bias {}, the file says otherwise",
        p.bias
    );
    let &[outputs, inputs] = case.shape("weight")? else {
        anyhow::bail!(
            "the weight must be a matrix, not shape {:?}",
            case.shape("weight")?
        );
    };
    let layer = Dense::new(inputs, outputs, &mut Init::glorot(0));
    let mut layer = if p.bias { layer } else { layer.no_bias() };
    check(case, &mut layer, Mode::Train)
}

pub(crate) fn activation<T: Real>(case: &mut Case<T>, op: &str) -> anyhow::Result<()> {
    let mut layer: Box<dyn Module<T>> = if op == "leaky_relu" {
        let Leaky { slope } = case.params()?;
        Box::new(LeakyReLU::new(slope))
    } else {
        let Nothing {} = case.params()?;
        match op {
            "relu" => Box::new(ReLU),
            "tanh" => Box::new(Tanh),
            "sigmoid" => Box::new(Sigmoid),
            "softplus" => Box::new(Softplus),
            other => anyhow::bail!("activation {other:?} is not known"),
        }
    };
    check(case, layer.as_mut(), Mode::Train)
}
