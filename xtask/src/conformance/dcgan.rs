//! Training steps of a DCGAN: one pass of the generator, one of the discriminator over each batch, both
//! gradients at the old weights, then both optimisers.

use super::case::{Case, max_abs};
use super::index::{Tolerance, TrajectoryTolerance};
use super::layers::{from_torch, to_torch};
use anyhow::{Context, ensure};
use engraft_layers::{
    Adam, BatchNorm, Conv2d, ConvTranspose2d, Dense, Flatten, Gradients, Init, LeakyReLU, Mode, Module,
    Optimizer, Reduction, Reshape, Sequential, StateDict, Tanh, TorchLayout, bce_with_logits, gradients,
};
use engraft_tensor::{ConvAlgorithm, Padding, Real, Tensor, with_conv_algorithm};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    batch: usize,
    steps: usize,
    bn_eps: f64,
    bn_momentum: f64,
    lr: f64,
    beta1: f64,
    beta2: f64,
    adam_eps: f64,
    leaky: f64,
    generator_channels: [usize; 3],
    discriminator_channels: [usize; 2],
    /// Losses of each step by precision.
    loss_g: BTreeMap<String, Vec<f64>>,
    loss_d: BTreeMap<String, Vec<f64>>,
    /// How far the reference's own f32 run ended from its f64 run: nothing of ours to compare with.
    #[serde(default, rename = "f32_run_max_abs_weight_difference")]
    _f32_run: BTreeMap<String, f64>,
    /// Norms of the first gradients, where the gradients themselves are left out.
    #[serde(default)]
    step1_grad_norms_f64: BTreeMap<String, f64>,
    #[serde(default, rename = "note")]
    _note: String,
}

/// Channels beyond this are a damaged index.
const MAX_CHANNELS: usize = 1024;

/// Bias before a batch norm, which subtracts it again: its gradient is zero up to rounding, so only its size relative to
/// the weight's gradient is checked.
const CANCELLED: (&str, &str) = ("d.c2.bias", "d.c2.weight");

/// A network, the way its names and layouts map to PyTorch's, and the prefix of its tensors in the file.
struct Side<T: Real> {
    net: Sequential<T>,
    layout: TorchLayout,
    prefix: &'static str,
    adam: Adam<T>,
}

impl<T: Real> Side<T> {
    fn generator(p: &Params) -> Self {
        let init = &mut Init::glorot(0);
        let [c0, c1, c2] = p.generator_channels;
        let norm = |c| BatchNorm::new(c).eps(p.bn_eps).momentum(1.0 - p.bn_momentum);
        let act = || LeakyReLU::new(p.leaky);
        let two = Padding::Symmetric([2, 2]);
        let up = |i, o, init: &mut Init| {
            let layer = ConvTranspose2d::new(i, o, 5, init).stride(2).padding(two);
            layer.output_padding(1, 1).no_bias()
        };
        let stem = Sequential::new()
            .add("dense", Dense::new(100, 7 * 7 * c0, init).no_bias())
            .add("norm", norm(7 * 7 * c0))
            .add("act", act());
        let net = Sequential::new()
            .add("stem", stem)
            .add("grid", Reshape::new([7, 7, c0]))
            .add(
                "ct1",
                ConvTranspose2d::new(c0, c1, 5, init).padding(two).no_bias(),
            )
            .add("bn1", norm(c1))
            .add("act1", act())
            .add("ct2", up(c1, c2, init))
            .add("bn2", norm(c2))
            .add("act2", act())
            .add("ct3", up(c2, 1, init))
            .add("tanh", Tanh);
        let layout = TorchLayout::new()
            .rename("stem.dense", "fc")
            .rename("stem.norm", "bn0")
            .image_output("stem", [7, 7, c0]);
        Self::new(net, layout, "g.", p)
    }

    fn discriminator(p: &Params) -> Self {
        let init = &mut Init::glorot(0);
        let [k1, k2] = p.discriminator_channels;
        let down = |i, o, init: &mut Init| {
            let layer = Conv2d::new(i, o, 5, init).stride(2);
            layer.padding(Padding::Symmetric([2, 2]))
        };
        let net = Sequential::new()
            .add("c1", down(1, k1, init))
            .add("act1", LeakyReLU::new(p.leaky))
            .add("c2", down(k1, k2, init))
            .add(
                "bn",
                BatchNorm::new(k2).eps(p.bn_eps).momentum(1.0 - p.bn_momentum),
            )
            .add("act2", LeakyReLU::new(p.leaky))
            .add("flatten", Flatten)
            .add("fc", Dense::new(7 * 7 * k2, 1, init));
        let layout = TorchLayout::new().image_input("fc", [7, 7, k2]);
        Self::new(net, layout, "d.", p)
    }

    fn new(net: Sequential<T>, layout: TorchLayout, prefix: &'static str, p: &Params) -> Self {
        Self {
            net,
            layout,
            prefix,
            adam: Adam::new(p.lr).betas(p.beta1, p.beta2).eps(p.adam_eps),
        }
    }

    /// Takes the initial weights of the file; running statistics start at 0 and 1, as ours do.
    fn import(&mut self, case: &mut Case<T>) -> anyhow::Result<()> {
        let given = case.inputs_under(&format!("init.{}", self.prefix))?;
        let mut all = self.layout.to_torch(&StateDict::of(&self.net))?.into_tensors();
        all.retain(|name, _| name.contains("running_"));
        all.extend(given.into_tensors());
        self.layout
            .from_torch(&StateDict::from_tensors(all))?
            .apply(&mut self.net)?;
        Ok(())
    }

    /// Gradients under the names and in the layouts of the file.
    fn exported(&self, gradients: &Gradients<T>) -> anyhow::Result<BTreeMap<String, Tensor<T>>> {
        Ok(self
            .layout
            .to_torch(&StateDict::from_tensors(gradients.clone()))?
            .into_tensors())
    }

    fn compare_gradients(&self, case: &mut Case<T>, p: &Params, found: &Gradients<T>) -> anyhow::Result<()> {
        let exported = self.exported(found)?;
        let tolerance = case.tolerance();
        for (name, gradient) in &exported {
            let full = format!("{}{name}", self.prefix);
            let tensor = format!("step1.grad.{full}");
            let neighbour = (full == CANCELLED.0).then(|| CANCELLED.1.trim_start_matches(self.prefix));
            let neighbour = neighbour.and_then(|n| exported.get(n));
            match (case.has(&tensor), neighbour) {
                (true, Some(weight)) => {
                    case.compare_at_scale(&tensor, gradient, max_abs(weight), tolerance)?
                }
                (true, None) => case.compare(&tensor, gradient)?,
                (false, _) => ensure!(
                    p.step1_grad_norms_f64.contains_key(&full),
                    "there is neither {tensor:?} nor its norm"
                ),
            }
            if let Some(&norm) = p.step1_grad_norms_f64.get(&full) {
                let length = |x: &Tensor<T>| {
                    x.as_slice()
                        .iter()
                        .map(|v| v.into_f64().powi(2))
                        .sum::<f64>()
                        .sqrt()
                };
                let scale = neighbour.map_or(norm, length);
                case.score(
                    &format!("norm of {tensor}"),
                    (length(gradient) - norm).abs() / scale,
                    tolerance,
                );
            }
        }
        Ok(())
    }

    /// Compares weights (and at the end running statistics) under a prefix of the file.
    fn compare_state(
        &self,
        case: &mut Case<T>,
        stage: &str,
        allowed: &TrajectoryTolerance,
    ) -> anyhow::Result<()> {
        for (name, tensor) in self.layout.to_torch(&StateDict::of(&self.net))?.tensors() {
            let full = format!("{stage}.{}{name}", self.prefix);
            if stage == "final" || case.has(&full) {
                let exception = allowed.exceptions.get(&full);
                case.compare_at_scale(&full, tensor, 1.0, *exception.unwrap_or(&allowed.weights_max_abs))?;
            }
        }
        Ok(())
    }
}

/// What is compared in addition to losses and weights.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FirstStep {
    /// Fakes, logits and gradients of the first step, at the tolerance of single operations.
    Compared,
    /// Nothing: among a hundred thousand leaky ReLUs, a few arguments lie closer to 0 than any rounding, and each
    /// that falls on the other side moves the gradient of a bias by its whole share.
    Left,
}

/// The training steps with the convolution of the smallest rounding error, then with the one that the shape chooses.
pub(crate) fn dcgan<T: Real>(case: &mut Case<T>, tolerance: &Tolerance) -> anyhow::Result<()> {
    with_conv_algorithm(ConvAlgorithm::Im2col, || {
        steps(case, tolerance, FirstStep::Compared)
    })?;
    steps(case, tolerance, FirstStep::Left)
}

fn steps<T: Real>(case: &mut Case<T>, tolerance: &Tolerance, first_step: FirstStep) -> anyhow::Result<()> {
    let p: Params = case.params()?;
    let channels = p.generator_channels.iter().chain(&p.discriminator_channels);
    ensure!(
        channels.into_iter().all(|&c| c <= MAX_CHANNELS),
        "channels are out of any range"
    );
    let single = T::NAME == "f32";
    let allowed = if single {
        &tolerance.dcgan.f32
    } else {
        &tolerance.dcgan.f64
    };
    let (noise, real) = (case.input("noise")?, case.input("real")?);
    ensure!(
        noise.shape() == [p.steps, p.batch, 100] && real.shape() == [p.steps, p.batch, 1, 28, 28],
        "noise {:?} and images {:?} are not {} batches of {}",
        noise.shape(),
        real.shape(),
        p.steps,
        p.batch
    );
    let (mut g, mut d) = (Side::generator(&p), Side::discriminator(&p));
    g.import(case)?;
    d.import(case)?;

    let (mut losses_g, mut losses_d) = (Vec::new(), Vec::new());
    for k in 0..p.steps {
        let z = noise.narrow(0, k, 1).reshape([p.batch, 100]);
        let real = from_torch(&real.narrow(0, k, 1).reshape([p.batch, 1, 28, 28]));
        let fake = g.net.forward(&z, Mode::Train);
        let on_real = d.net.forward(&real, Mode::Train);
        let on_fake = d.net.forward(&fake, Mode::Train);
        let bce = |logits: &Tensor<T>, target: f64| {
            let target = Tensor::full(logits.shape(), T::from_f64(target));
            bce_with_logits(logits, &target, Reduction::Mean)
        };
        let loss_g = bce(&on_fake, 1.0);
        let loss_d = bce(&on_real, 1.0) + bce(&on_fake, 0.0);
        let (dg, dd) = (gradients(&loss_g, &g.net), gradients(&loss_d, &d.net));
        if k == 0 && first_step == FirstStep::Compared {
            case.compare("step1.fake", &to_torch(&fake))?;
            case.compare("step1.logits_real", &on_real)?;
            case.compare("step1.logits_fake", &on_fake)?;
            g.compare_gradients(case, &p, &dg)?;
            d.compare_gradients(case, &p, &dd)?;
        }
        g.adam.step(&mut g.net, &dg);
        d.adam.step(&mut d.net, &dd);
        losses_g.push(loss_g.item());
        losses_d.push(loss_d.item());
        if k == 1 {
            g.compare_state(case, "after2", allowed)?;
            d.compare_state(case, "after2", allowed)?;
        }
    }
    g.compare_state(case, "final", allowed)?;
    d.compare_state(case, "final", allowed)?;
    for (name, ours, listed) in [("loss_g", losses_g, &p.loss_g), ("loss_d", losses_d, &p.loss_d)] {
        let listed = listed
            .get(T::NAME)
            .with_context(|| format!("the settings have no {name} of {}", T::NAME))?;
        ensure!(
            listed.len() == ours.len(),
            "{name} of the settings has {} steps",
            listed.len()
        );
        for (k, (ours, theirs)) in ours.iter().zip(listed).enumerate() {
            let error = (ours.into_f64() - theirs).abs() / theirs.abs().max(1e-30);
            case.score(
                &format!("{name} of the settings, step {}", k + 1),
                error,
                allowed.loss_relative,
            );
        }
        let ours = Tensor::from_vec([ours.len()], ours);
        let scale = max_abs(&ours);
        case.compare_at_scale(name, &ours, scale, allowed.loss_relative)?;
    }
    Ok(())
}
