//! `engraft generate`: images from a run.

use super::extract::open_run;
use super::options::Generate;
use super::pair_grid;
use anyhow::{Context, ensure};
use engraft_data::write_npy;
use engraft_gan::{Sampler, sample_grid};
use engraft_tensor::{Tensor, concat};
use engraft_transfer::{AdapterFile, PretrainedGan, open_source};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::path::{Path, PathBuf};

/// Most images in a grid.
const MOST_IN_A_GRID: usize = 1024;

/// Runs the command.
///
/// # Errors
/// If the run cannot be read or the images not written.
pub(super) fn run(options: &Generate) -> anyhow::Result<()> {
    ensure!(options.count > 0, "--count must be at least 1");
    let out = out(options);
    let is_array = out.extension().is_some_and(|e| e == "npy");
    ensure!(
        options.files || is_array || options.count <= MOST_IN_A_GRID,
        "--count {}: a grid has at most {MOST_IN_A_GRID} images; use --files, or an NPY file as --out",
        options.count
    );
    ensure!(
        !(options.files && (is_array || out.extension().is_some_and(|e| e == "png"))),
        "--files --out {}: expected a folder",
        out.display()
    );
    ensure!(
        !(is_array && options.with_source),
        "--with-source --out {}: expected a PNG file; an array of the source needs a separate command",
        out.display()
    );
    let (sampler, of) = open(options)?;
    let images = generate(options, &sampler);
    let count = images.shape()[0];
    if options.files {
        return write_files(options, &images);
    }
    if is_array {
        write_npy(&out, images.shape(), images.as_slice())?;
    } else {
        let images = if options.with_source {
            with_source(options, &images)?
        } else {
            images
        };
        write(&out, &sample_grid(&images, options.columns as usize))?;
    }
    println!("{}: {count} images of {of}", out.display());
    Ok(())
}

fn out(options: &Generate) -> PathBuf {
    let usual = if options.files { "samples" } else { "samples.png" };
    options.out.clone().unwrap_or_else(|| usual.into())
}

/// The generator and its description.
fn open(options: &Generate) -> anyhow::Result<(Sampler, String)> {
    if let Some(path) = &options.adapter {
        let file = AdapterFile::open(path).with_context(|| format!("--adapter {}", path.display()))?;
        let sampler = file
            .sampler(&source(options)?)
            .with_context(|| format!("--adapter {}", path.display()))?;
        return Ok((sampler, format!("the source with {}", path.display())));
    }
    let run = open_run(&options.from, options.checkpoint)?;
    Ok((run.sampler, format!("step {}", run.step)))
}

/// The source: with an adapter file the run itself, otherwise that of the transfer.
fn source(options: &Generate) -> anyhow::Result<PretrainedGan> {
    if options.adapter.is_some() {
        return open_source(&options.from, options.checkpoint)
            .with_context(|| format!("--from {}", options.from.display()));
    }
    let folder = options.from.join("source");
    ensure!(
        folder.is_dir(),
        "--with-source: {} is not a transfer and has no source",
        options.from.display()
    );
    Ok(open_source(&folder, engraft_gan::CheckpointChoice::Last)?)
}

fn generate(options: &Generate, sampler: &Sampler) -> Tensor {
    let rng = &mut Pcg64::seed_from_u64(options.seed);
    if options.interpolate {
        sampler.interpolate(
            options.count.div_ceil(options.columns as usize),
            options.columns as usize,
            rng,
        )
    } else {
        let parts: Vec<Tensor> = engraft_base::batches(options.count, 500)
            .map(|part| sampler.generate(part.len(), rng))
            .collect();
        concat(&parts.iter().collect::<Vec<_>>(), 0)
    }
}

/// Rows of the source's images, each above those of the run for the same latent vectors.
fn with_source(options: &Generate, images: &Tensor) -> anyhow::Result<Tensor> {
    let of_source = generate(options, &source(options)?.sampler()?);
    Ok(pair_grid::rows([&of_source, images], options.columns as usize))
}

fn write_files(options: &Generate, images: &Tensor) -> anyhow::Result<()> {
    let out = out(options);
    std::fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;
    let n = images.shape()[0];
    for i in 0..n {
        let path = out.join(format!("{i:06}.png"));
        write(&path, &engraft_gan::image_png(&images.narrow(0, i, 1)))?;
    }
    println!("{}: {n} files", out.display());
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
