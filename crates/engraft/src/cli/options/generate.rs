//! Options of `engraft generate`.

use super::image_count;
use engraft_gan::CheckpointChoice;
use std::path::PathBuf;
use std::str::FromStr;

/// Most seeds of one command.
const MOST: usize = 10_000;

/// Generate images with a trained generator: as a grid, single files, an array, or an animation.
///
/// The extension of --out decides the format. An existing file is replaced only with --overwrite.
#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// Run directory of a training or a transfer
    #[arg(long, value_name = "RUN")]
    pub(crate) from: PathBuf,
    /// Adapter file of a transfer; --from is then its source
    #[arg(long, value_name = "FILE")]
    pub(crate) adapter: Option<PathBuf>,
    /// Checkpoint of the run: last; best, by KID times (2 - coverage) on validation images, or the last one if it is worse by less than
    /// the standard error (checkpoints that copy training images are avoided); or the number of a step
    #[arg(long, value_name = "last|best|STEP", default_value_t = CheckpointChoice::Last)]
    pub(crate) checkpoint: CheckpointChoice,
    /// Number of images
    #[arg(long, default_value_t = 64, value_parser = image_count)]
    pub(crate) count: usize,
    /// Output. A grid: .png, .jpg or .webp. An array [n, h, w, c] from -1 to 1: .npy. An animation of --interpolate N: .gif or
    /// .apng. With --files: a folder [default: samples.png or samples, with a number if it exists]
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Write one PNG file per image; with --seeds its name has the seed
    #[arg(long)]
    pub(crate) files: bool,
    /// Replace existing files
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Show the source's images for the same latent vectors above each row; for transfers
    #[arg(long, conflicts_with = "files")]
    pub(crate) with_source: bool,
    /// Without N: a grid, each row of which interpolates between two latent vectors. With N and --seeds: N images from each seed
    /// to the next (slerp), as a grid, files, an array or an animation
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "rows")]
    pub(crate) interpolate: Option<Interpolation>,
    /// Images per row of the grid
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) columns: u64,
    /// Seed of the latent vectors of all images
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// One image per seed, instead of --count and --seed: a list of seeds and ranges, such as 1,5,9 or 3-7. The image depends on
    /// its seed alone
    #[arg(long, value_name = "LIST", conflicts_with_all = ["count", "seed"])]
    pub(crate) seeds: Option<SeedList>,
    /// Class of all images, by index or name; for class-conditional runs. The classes of a run with --pseudo-labels are clusters
    /// of its training images, not human classes; 0 is the largest [default: all classes in turn, or clusters in the shares of
    /// the training images; with --seeds, the seed decides]
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// Truncation trick: multiply the latent vectors by PSI. Below 1, images are more typical and less diverse
    #[arg(long, value_name = "PSI", default_value_t = 1.0, value_parser = psi)]
    pub(crate) truncation: f64,
}

/// What is interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interpolation {
    /// Each row of a grid, between random latent vectors.
    Rows,
    /// The path through the seeds, with this number of images from each to the next.
    Steps(usize),
}

impl FromStr for Interpolation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "rows" {
            return Ok(Self::Rows);
        }
        match text.parse() {
            Ok(steps) if (1..=1000).contains(&steps) => Ok(Self::Steps(steps)),
            _ => Err("expected a number of images from 1 to 1000".into()),
        }
    }
}

/// Seeds of single images: `1,5,9`, `3-7` or `1,4-6`, in the order of the text. A seed may occur again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeedList(pub(crate) Vec<u64>);

impl FromStr for SeedList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected seeds and ranges such as 1,5,9 or 3-7, at most {MOST}");
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
        let mut seeds = Vec::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            let room = (MOST - seeds.len()) as u64;
            if first > last || last - first >= room {
                return Err(wrong());
            }
            seeds.extend(first..=last);
        }
        Ok(Self(seeds))
    }
}

/// The factor of the latent vectors, from 0 to 2.
fn psi(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(psi) if (0.0..=2.0).contains(&psi) => Ok(psi),
        _ => Err("expected a number from 0 to 2; 1 is no truncation".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_of_seeds() {
        let seeds = |text: &str| text.parse::<SeedList>().map(|list| list.0);
        assert_eq!(seeds("5"), Ok(vec![5]));
        assert_eq!(seeds("1,5,9"), Ok(vec![1, 5, 9]));
        assert_eq!(seeds("3-7"), Ok(vec![3, 4, 5, 6, 7]));
        assert_eq!(seeds("9, 1-2,9"), Ok(vec![9, 1, 2, 9]));
        for wrong in [
            "",
            "1,",
            "5-3",
            "-1",
            "a",
            "0-10000",
            "0-18446744073709551615",
            "1.5",
        ] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
        let steps = |text: &str| text.parse::<Interpolation>();
        assert_eq!(steps("rows"), Ok(Interpolation::Rows));
        assert_eq!(steps("12"), Ok(Interpolation::Steps(12)));
        assert!(steps("0").is_err() && steps("x").is_err());
        assert!(psi("0.7").is_ok() && ["-1", "3", "nan", "a"].iter().all(|text| psi(text).is_err()));
    }
}
