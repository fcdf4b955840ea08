//! Sources that come with this crate.

use crate::error::TransferError;
use crate::pretrained_gan::PretrainedGan;
use std::path::Path;

/// A pretrained GAN that comes with this crate. [`open_source`](crate::open_source) and [`open_run`](crate::open_run) accept
/// its name in place of a directory.
///
/// ```
/// use engraft_transfer::ShippedSource;
/// let mnist = ShippedSource::named("mnist").expect("it is part of the crate");
/// assert_eq!(mnist.open()?.config.image, [28, 28, 1]);
/// # Ok::<(), engraft_transfer::TransferError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ShippedSource {
    /// Name on the command line.
    pub name: &'static str,
    /// Training images, license, training time and command, and measures, as Markdown.
    pub about: &'static str,
    settings: &'static str,
    generator: &'static [u8],
    discriminator: &'static [u8],
}

/// A source from its crate.
#[cfg(any(feature = "source-mnist", feature = "source-google-64"))]
macro_rules! shipped {
    ($name:literal, $weights:ident) => {
        ShippedSource {
            name: $name,
            about: $weights::ABOUT,
            settings: $weights::SETTINGS,
            generator: $weights::GENERATOR,
            discriminator: $weights::DISCRIMINATOR,
        }
    };
}

impl ShippedSource {
    /// All of them. Each is a feature of this crate, on by default, and a crate with nothing but weights.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "source-mnist")]
        shipped!("mnist", engraft_source_mnist),
        #[cfg(feature = "source-google-64")]
        shipped!("google-64", engraft_source_google_64),
    ];

    /// The source with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|source| source.name == name)
    }

    /// The source that a path names: the path is the name, and there is no such file or directory.
    pub(crate) fn at(path: &Path) -> Option<&'static Self> {
        let named = path.to_str().and_then(Self::named)?;
        (!path.exists()).then_some(named)
    }

    /// Reads the networks.
    ///
    /// # Errors
    /// If the crate was built with damaged weights.
    pub fn open(&self) -> Result<PretrainedGan, TransferError> {
        PretrainedGan::from_contents(
            Path::new(self.name),
            self.settings,
            self.generator,
            self.discriminator,
        )
    }

    /// The first line of [`about`](Self::about): what the source generates.
    pub fn title(&self) -> &'static str {
        self.about
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches('#')
            .trim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    /// Every source opens and generates finite images that differ.
    #[test]
    fn each_source_opens_and_generates() {
        for shipped in ShippedSource::ALL {
            let source = shipped.open().unwrap();
            assert!(!shipped.title().is_empty(), "{}", shipped.name);
            let images = source
                .sampler()
                .unwrap()
                .generate(8, &mut Pcg64::seed_from_u64(1));
            let first = images.narrow(0, 0, 1);
            let (all, differences) = (images.as_slice(), (&images - &first).abs().mean().item());
            assert!(
                all.iter().all(|v| v.is_finite()) && differences > 0.01,
                "{}",
                shipped.name
            );
        }
    }
}
