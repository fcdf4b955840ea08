//! Pairs of networks, by name: built for the size and the channels that the images have.
//!
//! A [`NetworkFamily`] builds pairs of one kind; a registry knows the families by name. Five are built in:
//! [`dcgan`], [`residual`] and [`mlp`] for small images, [`light`] for pictures of 16 to 256 pixels, and [`dcgan64`]. A
//! program [registers](register) its own before it opens a run.
//!
//! Multiply-adds on one image of 28x28x1, in millions, where a simultaneous training step takes three times the
//! generator's and seven times the discriminator's (each gradient costs as much as the pass forward, and the
//! discriminator runs on two batches; kernels of 5x5 are computed with a smaller share of their multiplications than
//! those of 3x3, so that in time the residual pair is further from the reference than the table says):
//!
//! | network | generator | discriminator | training step | parameters |
//! |---|---|---|---|---|
//! | `dcgan` | 51.7 | 10.4 | 228 | 2.31 M + 0.21 M |
//! | `residual` | 25.5 | 25.1 | 252 | 0.70 M + 0.23 M |
//! | `mlp` | 0.7 | 0.5 | 6 | 0.69 M + 0.52 M |
//!
//! Those of [`light`] and [`dcgan64`] stand there.
//!
//! ```
//! use engraft_gan::networks::{self, NetworkSpec};
//! use engraft_layers::{Init, Mode, Module};
//! use engraft_tensor::Tensor;
//!
//! let (family, spec) = (networks::find("dcgan")?, NetworkSpec::new([32, 32, 3]));
//! let g = family.generator(&spec, &mut Init::glorot(1));
//! let d = family.discriminator(&spec, &mut Init::glorot(2));
//! let images = g.forward(&Tensor::zeros([2, family.latent_dim(&spec)]), Mode::Eval);
//! assert_eq!(images.shape(), [2, 32, 32, 3]);
//! assert_eq!(d.forward(&images, Mode::Eval).shape(), [2, 1]);
//!
//! let error = networks::find("vgg").err().unwrap();
//! assert!(error.to_string().contains("dcgan, residual, mlp"));
//! # Ok::<(), engraft_gan::GanError>(())
//! ```

mod conditional;
pub mod dcgan;
pub mod dcgan64;
mod family;
pub mod light;
pub mod mlp;
pub mod residual;

pub use conditional::{ConditionalGenerator, ProjectionDiscriminator};
pub use family::{LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};

use crate::error::GanError;
use engraft_layers::Sequential;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// A generator, a discriminator, and the length of the latent vectors that the generator reads.
pub struct Networks {
    /// Maps latent vectors to images.
    pub generator: Sequential,
    /// Maps images to logits.
    pub discriminator: Sequential,
    /// Length of a latent vector.
    pub latent_dim: usize,
}

/// How many families are built in; they stand first.
const BUILT_IN: usize = 5;

static FAMILIES: LazyLock<RwLock<Vec<Arc<dyn NetworkFamily>>>> = LazyLock::new(|| {
    let built_in: [Arc<dyn NetworkFamily>; BUILT_IN] = [
        Arc::new(dcgan::Dcgan),
        Arc::new(residual::ResidualFamily),
        Arc::new(mlp::Mlp),
        Arc::new(light::Light),
        Arc::new(dcgan64::Dcgan64),
    ];
    RwLock::new(built_in.into())
});

/// Makes a family known by its name in this process, in the place of an earlier one of that name.
///
/// # Panics
/// If the name is that of a built-in family, or not one of letters, digits and dashes.
#[track_caller]
pub fn register(family: impl NetworkFamily + 'static) {
    let name = family.name().to_string();
    assert!(
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
        "networks: the name of a family must be of letters, digits and dashes, got {name:?}"
    );
    let mut families = FAMILIES.write().unwrap_or_else(PoisonError::into_inner);
    let at = families.iter().position(|known| known.name() == name);
    assert!(
        at.is_none_or(|at| at >= BUILT_IN),
        "networks: {name} is a family of this library; choose another name"
    );
    match at {
        Some(at) => families[at] = Arc::new(family),
        None => families.push(Arc::new(family)),
    }
}

/// The family of a name.
///
/// # Errors
/// [`GanError::Config`] with the names that there are.
pub fn find(name: &str) -> Result<Arc<dyn NetworkFamily>, GanError> {
    let found = families().into_iter().find(|family| family.name() == name);
    found.ok_or_else(|| GanError::Config {
        problems: vec![format!(
            "network: there is no network {name:?}; expected one of {} (a family of one's own is registered before a run \
             is opened)",
            names().join(", ")
        )],
    })
}

/// The names of all families, those that are built in first.
pub fn names() -> Vec<String> {
    families()
        .iter()
        .map(|family| family.name().to_string())
        .collect()
}

fn families() -> Vec<Arc<dyn NetworkFamily>> {
    FAMILIES.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The family of a name, if it can build such a pair; `data` names the images in the message.
///
/// # Errors
/// [`GanError::Config`] if there is no such family, [`GanError::ImageSize`] if it cannot.
pub(crate) fn find_for(
    name: &str,
    spec: &NetworkSpec,
    data: &str,
) -> Result<Arc<dyn NetworkFamily>, GanError> {
    let family = find(name)?;
    let Err(reason) = family.check(spec) else {
        return Ok(family);
    };
    // The widths are this family's.
    let plain = NetworkSpec::new(spec.image)
        .classes(spec.classes)
        .packing(spec.packing);
    let fitting = families();
    let fitting = fitting.iter().filter(|family| family.check(&plain).is_ok());
    Err(GanError::ImageSize {
        data: data.into(),
        network: name.into(),
        reason,
        fitting: fitting.map(|family| family.name().to_string()).collect(),
        found: spec.image,
    })
}

#[cfg(test)]
mod tests;
