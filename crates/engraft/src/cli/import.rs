//! `engraft import`: GANs that other programs trained.

use super::options::{Import, ImportFormat};
use super::output_dir::ensure_usable;
use anyhow::{Context, ensure};
use engraft_export::pytorch_dcgan;

/// Runs the command.
///
/// # Errors
/// If a file cannot be read or has other weights, or the directory has files already.
pub(super) fn run(options: &Import) -> anyhow::Result<()> {
    let shown = options.out.display();
    let mut entries = std::fs::read_dir(&options.out).into_iter().flatten().flatten();
    let is_foreign = entries.next().is_some() && !options.overwrite;
    ensure!(
        !is_foreign,
        "{shown} has files already; choose another --out, or replace an earlier import with --overwrite"
    );
    ensure_usable(Some(&options.out))?;
    let source = match options.format {
        ImportFormat::PyTorchDcgan => pytorch_dcgan(&options.generator, options.discriminator.as_deref())?,
    };
    let sampler = source.sampler()?.checked();
    sampler.with_context(|| format!("--generator {}", options.generator.display()))?;
    source.save(&options.out)?;
    let [height, width, channels] = source.config.image;
    out!("{shown}: a source of {height}x{width}x{channels} images for transfer --from and generate --from");
    if options.discriminator.is_none() {
        note!(
            "warning: without --discriminator, a transfer begins with an untrained discriminator and needs more images"
        );
    }
    Ok(())
}
