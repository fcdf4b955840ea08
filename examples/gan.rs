//! A GAN in 40 lines, with networks of your own: `cargo run --release --example gan`.
//!
//! Trains on synthetic 28x28 digits and writes a grid of samples to `runs/gan.png`.

use engraft::data::{Batches, DataOptions, DataSource};
use engraft::gan::{Gan, Objective, dataset_tensor, sample_grid};
use engraft::layers::{Adam, BatchNorm, Condition, Conv2d, ConvTranspose2d, Dense};
use engraft::layers::{Flatten, Init, LeakyReLU, Reshape, Sequential, Tanh};
use engraft::rand::SeedableRng;
use engraft::rand_pcg::Pcg64;
use std::error::Error;
use std::path::Path;

/// Length of the latent vectors.
const LATENT: usize = 64;
const BATCH: usize = 32;

fn train(steps: usize, grid: &Path) -> Result<(), Box<dyn Error>> {
    // Real images; `dataset_tensor` makes batches [n, 28, 28, 1] with values in [-1, 1].
    let digits = DataSource::parse("drawn-digits")?
        .open(&DataOptions::new())?
        .train;
    let mut batches = Batches::new(digits.len(), BATCH, 1)?;

    // The generator maps [n, LATENT] to images [n, 28, 28, 1].
    let init = &mut Init::glorot(1);
    let generator = Sequential::new()
        .add("stem", Dense::new(LATENT, 7 * 7 * 64, init))
        .add("grid", Reshape::new([7, 7, 64]))
        .add("norm1", BatchNorm::new(64))
        .add("act1", LeakyReLU::new(0.2))
        .add("up1", ConvTranspose2d::new(64, 32, 5, init).stride(2).same()) // [n, 14, 14, 32]
        .add("norm2", BatchNorm::new(32))
        .add("act2", LeakyReLU::new(0.2))
        .add("up2", ConvTranspose2d::new(32, 1, 5, init).stride(2).same()) // [n, 28, 28, 1]
        .add("tanh", Tanh);

    // The discriminator maps images to logits [n, 1]; a high logit means real.
    let discriminator = Sequential::new()
        .add("down1", Conv2d::new(1, 32, 5, init).stride(2).same()) // [n, 14, 14, 32]
        .add("act1", LeakyReLU::new(0.2))
        .add("down2", Conv2d::new(32, 64, 5, init).stride(2).same()) // [n, 7, 7, 64]
        .add("act2", LeakyReLU::new(0.2))
        .add("flat", Flatten)
        .add("head", Dense::new(7 * 7 * 64, 1, init));

    let adam = || Adam::new(2e-4).betas(0.5, 0.999);
    let mut gan = Gan::new(generator, discriminator, LATENT)
        .objective(Objective::NonSaturating)
        .optimizers(adam(), adam());
    gan.check()?; // reports settings and shapes that do not fit together

    let rng = &mut Pcg64::seed_from_u64(1);
    for step in 1..=steps {
        let real = dataset_tensor(&digits, &batches.next_batch());
        let report = gan.step(&real, Condition::None, rng);
        if step % 50 == 0 || step == steps {
            let (g, d) = (report.generator_loss, report.discriminator_loss);
            println!("step {step}: generator loss {g:.3}, discriminator loss {d:.3}");
        }
    }
    std::fs::write(grid, sample_grid(&gan.generate(64, rng), 8))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all("runs")?;
    train(1000, "runs/gan.png".as_ref())
}

#[test]
fn the_example_runs() -> Result<(), Box<dyn Error>> {
    train(3, &tempfile::tempdir()?.path().join("gan.png"))
}
