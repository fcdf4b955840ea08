//! `engraft generate`: images from a run.

use super::images::Checkpoint;
use super::pairs;
use anyhow::{Context, ensure};
use engraft_data::write_npy;
use engraft_gan::{Sampler, sample_grid};
use engraft_tensor::{Tensor, concat};
use engraft_transfer::{AdapterFile, Source, open_run};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::path::{Path, PathBuf};

/// Images on a sheet, at most.
const MOST_ON_A_SHEET: usize = 1024;

/// Draw images from a run: a sheet, single files, or an array.
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// Run directory, of a training or of a transfer
    #[arg(long, value_name = "RUN")]
    from: PathBuf,
    /// Draw through the adapter file of a transfer, of which --from is the source
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Checkpoint::Last)]
    checkpoint: Checkpoint,
    /// Images
    #[arg(long, default_value_t = 64)]
    count: usize,
    /// PNG file of a sheet, NPY file of an array [n, h, w, c] from -1 to 1, or with --files a folder [default: samples.png, or
    /// samples]
    #[arg(long, value_name = "FILE|DIR")]
    out: Option<PathBuf>,
    /// Write each image as a PNG file of its own
    #[arg(long)]
    files: bool,
    /// Beside each row of a transfer's images, the same noise through its source
    #[arg(long, conflicts_with = "files")]
    with_source: bool,
    /// In each row, walk from one image to another
    #[arg(long, conflicts_with = "files")]
    interpolate: bool,
    /// Images in a row of a sheet
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    columns: u64,
    /// Seed of the noise
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Generate {
    /// Runs the command.
    ///
    /// # Errors
    /// If the run cannot be read or the images not written.
    pub fn run(&self) -> anyhow::Result<()> {
        ensure!(self.count > 0, "--count must be at least 1");
        let out = self.out();
        let is_array = out.extension().is_some_and(|e| e == "npy");
        ensure!(
            self.files || is_array || self.count <= MOST_ON_A_SHEET,
            "--count {}: a sheet shows at most {MOST_ON_A_SHEET} images; take --files, or an NPY file as --out",
            self.count
        );
        ensure!(
            !(self.files && (is_array || out.extension().is_some_and(|e| e == "png"))),
            "--files --out {}: expected a folder, as each image becomes a file of its own",
            out.display()
        );
        ensure!(
            !(is_array && self.with_source),
            "--with-source makes a sheet, and --out {} is an array: draw the source's images by a command of its own",
            out.display()
        );
        let (sampler, of) = self.open()?;
        let images = self.draw(&sampler);
        let drawn = images.shape()[0];
        if self.files {
            return self.write_files(&images);
        }
        if is_array {
            write_npy(&out, images.shape(), images.as_slice())?;
        } else {
            let images = if self.with_source {
                self.beside_source(&images)?
            } else {
                images
            };
            write(&out, &sample_grid(&images, self.columns as usize))?;
        }
        println!("{}: {drawn} images of {of}", out.display());
        Ok(())
    }

    fn out(&self) -> PathBuf {
        let usual = if self.files { "samples" } else { "samples.png" };
        self.out.clone().unwrap_or_else(|| usual.into())
    }

    /// The generator, and what it is in words.
    fn open(&self) -> anyhow::Result<(Sampler, String)> {
        if let Some(path) = &self.adapter {
            let file = AdapterFile::open(path).with_context(|| format!("--adapter {}", path.display()))?;
            let sampler = file
                .sampler(&self.source()?)
                .with_context(|| format!("--adapter {}", path.display()))?;
            return Ok((sampler, format!("the source through {}", path.display())));
        }
        let run = open_run(&self.from, self.checkpoint.into())?;
        for warning in &run.warnings {
            eprintln!("warning: {warning}");
        }
        Ok((run.sampler, format!("step {}", run.step)))
    }

    /// The source: with an adapter file the run itself, else the one beside a transfer.
    fn source(&self) -> anyhow::Result<Source> {
        if self.adapter.is_some() {
            return Source::open(&self.from, self.checkpoint.into())
                .with_context(|| format!("--from {}", self.from.display()));
        }
        let folder = self.from.join("source");
        ensure!(
            folder.is_dir(),
            "--with-source: {} is no transfer, it has no source beside it",
            self.from.display()
        );
        Ok(Source::open(&folder, engraft_gan::Which::Last)?)
    }

    fn draw(&self, sampler: &Sampler) -> Tensor {
        let rng = &mut Pcg64::seed_from_u64(self.seed);
        if self.interpolate {
            sampler.interpolate(
                self.count.div_ceil(self.columns as usize),
                self.columns as usize,
                rng,
            )
        } else {
            let parts: Vec<Tensor> = (0..self.count)
                .step_by(500)
                .map(|start| sampler.generate(500.min(self.count - start), rng))
                .collect();
            concat(&parts.iter().collect::<Vec<_>>(), 0)
        }
    }

    /// Rows of the source's images, each above the same noise through the run's generator.
    fn beside_source(&self, images: &Tensor) -> anyhow::Result<Tensor> {
        let of_source = self.draw(&self.source()?.sampler()?);
        Ok(pairs::rows([&of_source, images], self.columns as usize))
    }

    fn write_files(&self, images: &Tensor) -> anyhow::Result<()> {
        let out = self.out();
        std::fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;
        let n = images.shape()[0];
        for i in 0..n {
            let path = out.join(format!("{i:06}.png"));
            write(&path, &engraft_gan::image_png(&images.narrow(0, i, 1)))?;
        }
        println!("{}: {n} files", out.display());
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
