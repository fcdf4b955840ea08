//! Network families: generators and discriminators by name, built for the shape of the images.
//!
//! A [`NetworkFamily`] builds both networks for a [`NetworkSpec`]. A registry finds families by name. Built in are
//! [`dcgan`], [`residual`] and [`mlp`] for small images, [`light`] for images of 16 to 256 pixels, and [`dcgan64`]. A
//! program [registers](register) its own families before it opens a run.
//!
//! Cost for one 28x28x1 image, in millions of multiply-adds:
//!
//! | network | generator | discriminator | training step | parameters |
//! |---|---|---|---|---|
//! | `dcgan` | 51.7 | 10.4 | 228 | 2.31 M + 0.21 M |
//! | `residual` | 25.5 | 25.1 | 252 | 0.70 M + 0.23 M |
//! | `mlp` | 0.7 | 0.5 | 6 | 0.69 M + 0.52 M |
//!
//! A simultaneous step costs three times the generator plus seven times the discriminator: each gradient costs as much as
//! a forward pass, and the discriminator runs on two batches. Kernels of 5x5 skip more multiplications than those of 3x3.
//! The time of `residual` relative to `dcgan` is therefore higher than the table says. See [`light`] and [`dcgan64`] for
//! their costs.
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
pub(crate) mod reconstruction;
pub mod residual;

pub use conditional::{ConditionalGenerator, ProjectionDiscriminator};
pub use family::{GeneratorNorm, LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
pub use reconstruction::ReconstructionHead;

use crate::error::GanError;
use engraft_layers::Sequential;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// A generator, a discriminator, and the length of the latent vectors.
pub struct Networks {
    /// Maps latent vectors `[n, latent_dim]` to images `[n, h, w, c]`.
    pub generator: Sequential,
    /// Maps images to logits `[n, 1]`.
    pub discriminator: Sequential,
    /// Length of a latent vector.
    pub latent_dim: usize,
}

/// Number of built-in families, which come first.
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

/// Registers a family under its name in this process. Replaces a registered family of the same name.
///
/// # Panics
/// If a built-in family has this name, or it contains other characters than letters, digits and dashes.
#[track_caller]
pub fn register(family: impl NetworkFamily + 'static) {
    let name = family.name().to_string();
    assert!(
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
        "networks: a family's name must consist of letters, digits and dashes, got {name:?}"
    );
    let mut families = FAMILIES.write().unwrap_or_else(PoisonError::into_inner);
    let at = families.iter().position(|known| known.name() == name);
    assert!(
        at.is_none_or(|at| at >= BUILT_IN),
        "networks: {name} is a built-in family; choose another name"
    );
    match at {
        Some(at) => families[at] = Arc::new(family),
        None => families.push(Arc::new(family)),
    }
}

/// Finds a family by name.
///
/// # Errors
/// [`GanError::Config`] with the known names.
pub fn find(name: &str) -> Result<Arc<dyn NetworkFamily>, GanError> {
    let found = families().into_iter().find(|family| family.name() == name);
    found.ok_or_else(|| GanError::Config {
        problems: vec![format!(
            "network: unknown network {name:?}; expected one of {} (custom families must be registered before a run is \
             opened)",
            names().join(", ")
        )],
    })
}

/// Names of all families, built-in ones first.
pub fn names() -> Vec<String> {
    families()
        .iter()
        .map(|family| family.name().to_string())
        .collect()
}

fn families() -> Vec<Arc<dyn NetworkFamily>> {
    FAMILIES.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Finds a family that supports a specification; `data` names the images in the error.
///
/// # Errors
/// [`GanError::Config`] if the name is unknown, [`GanError::ImageSize`] if the family does not support the
/// specification.
pub(crate) fn find_for(
    name: &str,
    spec: &NetworkSpec,
    data: &str,
) -> Result<Arc<dyn NetworkFamily>, GanError> {
    let family = find(name)?;
    let Err(reason) = family.check(spec) else {
        return Ok(family);
    };
    // Widths belong to one family, so they are left out here.
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
