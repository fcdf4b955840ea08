//! The network family `tower`: blocks that double the size in the generator, convolutions that halve it in the discriminator.

use engraft::gan::networks::{LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
use engraft::layers::{BatchNorm, Conv2d, Dense, Flatten, LeakyReLU, Reshape, Sequential, Tanh};
use engraft::layers::{Init, Mode, Module, children};
use engraft::tensor::Tensor;

/// Channels of the smallest map, which is 4x4; each block has half as many.
const WIDE: usize = 128;

/// A module of your own: its forward pass, and its children.
struct Up {
    conv: Conv2d<f32>,
    norm: BatchNorm<f32>,
}

impl Module for Up {
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.norm.forward(&self.conv.forward(&x.upsample_nearest(2), mode), mode).relu()
    }
    children!(conv, norm);
}

pub struct Tower;

impl NetworkFamily for Tower {
    fn name(&self) -> &str {
        "tower"
    }

    fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
        let fits = spec.image[..2] == [64, 64] && spec.classes == 0;
        fits.then_some(()).ok_or("it supports unconditional images of 64x64".into())
    }

    fn latent_dim(&self, spec: &NetworkSpec) -> usize {
        spec.latent_dim.unwrap_or(64)
    }

    fn generator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        let stem = Dense::new(self.latent_dim(spec), 4 * 4 * WIDE, init);
        let mut g = Sequential::new().add("stem", stem).add("grid", Reshape::new([4, 4, WIDE]));
        for i in 0..4 {
            let conv = Conv2d::new(WIDE >> i, WIDE >> (i + 1), 3, init).same();
            g = g.add(&format!("up{i}"), Up { conv, norm: BatchNorm::new(WIDE >> (i + 1)) });
        }
        g.add("head", Conv2d::new(WIDE >> 4, spec.image[2], 3, init).same()).add("tanh", Tanh)
    }

    fn discriminator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        let (mut d, mut from) = (Sequential::new(), spec.packed_shape()[2]);
        for i in 0..4 {
            let conv = Conv2d::new(from, WIDE >> (3 - i), 3, init).stride(2).same();
            d = d.add(&format!("down{i}"), conv).add(&format!("act{i}"), LeakyReLU::new(0.2));
            from = WIDE >> (3 - i);
        }
        d.add("flat", Flatten).add("head", Dense::new(4 * 4 * WIDE, 1, init))
    }

    fn roles(&self, _: &NetworkSpec) -> LayerRoles {
        let four = |name: &str| (0..4).map(|i| name.replace('#', &i.to_string())).collect();
        let mut roles = LayerRoles::default();
        roles.generator = NetworkRoles { stem: Some("stem".into()), blocks: four("up#"), ..roles.generator };
        (roles.generator.norms, roles.generator.head) = (four("up#.norm"), "head".into());
        roles.discriminator =
            NetworkRoles { blocks: four("down#"), head: "head".into(), ..roles.discriminator };
        roles
    }
}
