//! `engraft generate`: images from a run.

use super::advice::source_at;
use super::extract::open_run;
use super::latents::{Latents, class};
use super::options::{Generate, Interpolation};
use super::output_dir::{ensure_usable, ensure_usable_for};
use super::pair_grid;
use super::picture_file::{OutputFormat, encode, encode_animation, ensure_new, make_folder_of, write};
use anyhow::{Context, ensure};
use engraft_data::write_npy;
use engraft_gan::{Sampler, image_png, sample_grid};
use engraft_tensor::{Tensor, concat};
use engraft_transfer::{AdapterFile, PretrainedGan, open_source};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Most images in a grid.
const MOST_IN_A_GRID: usize = 1024;
/// Most frames of an animation.
const MOST_FRAMES: usize = 2000;
/// Most files of the default name that are looked at for a free number.
const MOST_SAMPLES: u32 = 10_000;

/// Runs the command.
///
/// # Errors
/// If the run cannot be read, the images do not fit the output, or they cannot be written.
pub(super) fn run(options: &Generate) -> anyhow::Result<()> {
    let (out, format) = check(options)?;
    match options.files {
        true => ensure_usable(Some(&out))?,
        false => ensure_usable_for(&out)?,
    }
    let (sampler, of) = open(options)?;
    let class = class(options, sampler.class_count())?;
    let latents = Latents::choose(options, &sampler, class);
    let count = latents.len();
    ensure!(
        options.files || format == OutputFormat::Npy || format.is_animation() || count <= MOST_IN_A_GRID,
        "{count} images: a grid has at most {MOST_IN_A_GRID}; use --files, or an NPY file as --out"
    );
    ensure!(
        !format.is_animation() || count <= MOST_FRAMES,
        "{count} images: an animation has at most {MOST_FRAMES} frames; use a smaller --interpolate or fewer seeds"
    );
    let names = if options.files {
        latents.file_names(options)
    } else {
        Vec::new()
    };
    for name in &names {
        ensure_new(&out.join(name), options.overwrite)?;
    }
    let images = latents.images(&sampler)?;
    let channels = images.shape()[3];
    ensure!(
        format == OutputFormat::Npy || channels <= 4,
        "--out {}: the images have {channels} channels, but a picture has at most 4; expected an .npy file",
        out.display()
    );
    if options.files {
        for (i, name) in names.iter().enumerate() {
            write(&out.join(name), &image_png(&images.narrow(0, i, 1)))?;
        }
        out!("{}: {count} files", out.display());
        if options.overwrite
            && let Some(warning) = earlier_images(&out, &names)
        {
            note!("warning: {warning}");
        }
        return Ok(());
    }
    if format == OutputFormat::Npy {
        make_folder_of(&out)?;
        write_npy(&out, images.shape(), images.as_slice())?;
    } else {
        let of_source = match options.with_source {
            true => Some(latents.images(&source(options)?.sampler()?)?),
            false => None,
        };
        let bytes = if format.is_animation() {
            encode_animation(&frames(&images, of_source.as_ref()), format)?
        } else {
            let columns = match options.interpolate {
                // A row from each seed to the next.
                Some(Interpolation::Steps(steps)) if count == steps + 1 => count.min(64),
                Some(Interpolation::Steps(steps)) => steps.min(64),
                // No empty columns, except where earlier versions had them.
                _ if options.seeds.is_some() => (options.columns as usize).min(count),
                _ => options.columns as usize,
            };
            let rows = match &of_source {
                Some(of_source) => pair_grid::rows([of_source, &images], columns),
                None => images,
            };
            encode(sample_grid(&rows, columns), format)?
        };
        write(&out, &bytes)?;
    }
    out!("{}: {count} images of {of}", out.display());
    Ok(())
}

/// A warning if the folder has images of an earlier generation besides these `names`: files that are named in the same way.
fn earlier_images(folder: &Path, names: &[String]) -> Option<String> {
    let pattern = |name: &str| {
        let digits = name.strip_suffix(".png")?;
        let (is_seed, digits) = match digits.strip_prefix("seed-") {
            Some(digits) => (true, digits),
            None => (false, digits),
        };
        let is_number = digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(is_seed)
    };
    let wanted = names.first().and_then(|name| pattern(name))?;
    let written: HashSet<&str> = names.iter().map(String::as_str).collect();
    let found = std::fs::read_dir(folder).ok()?.flatten();
    let found = found.filter_map(|entry| entry.file_name().into_string().ok());
    let earlier = found.filter(|name| pattern(name) == Some(wanted) && !written.contains(name.as_str()));
    let earlier: Vec<String> = earlier.collect();
    let first = earlier.iter().min()?;
    Some(format!(
        "{} also has images of an earlier generation: {}, such as {first}. They were neither replaced nor removed; remove them, or \
             choose another --out",
        folder.display(),
        earlier.len()
    ))
}

/// The output and its format, after the checks that need no run.
fn check(options: &Generate) -> anyhow::Result<(PathBuf, OutputFormat)> {
    ensure!(options.count > 0, "--count must be at least 1");
    let out = out(options);
    let is_path = matches!(options.interpolate, Some(Interpolation::Steps(_)));
    if is_path {
        ensure!(
            options.seeds.as_ref().is_some_and(|seeds| seeds.0.len() >= 2),
            "--interpolate N: expected at least two seeds to interpolate between, such as --seeds 1,5"
        );
    }
    if options.interpolate == Some(Interpolation::Rows) {
        ensure!(
            options.seeds.is_none(),
            "--interpolate with --seeds: expected the number of images between two seeds, such as --interpolate 24"
        );
        ensure!(
            !options.files,
            "--interpolate with --files: expected --seeds and the number of images between two seeds, such as --interpolate 24"
        );
    }
    if options.files {
        ensure!(
            OutputFormat::of(&out).is_err(),
            "--files --out {}: expected a folder",
            out.display()
        );
        return Ok((out, OutputFormat::Png));
    }
    let format = OutputFormat::of(&out)?;
    ensure!(
        !format.is_animation() || is_path,
        "--out {}: an animation needs --seeds and --interpolate N, such as --seeds 1,5,9 --interpolate 24",
        out.display()
    );
    ensure!(
        !(format == OutputFormat::Npy && options.with_source),
        "--with-source --out {}: expected a picture; an array of the source needs a separate command",
        out.display()
    );
    ensure_new(&out, options.overwrite)?;
    Ok((out, format))
}

fn out(options: &Generate) -> PathBuf {
    let end = if options.files { "" } else { ".png" };
    let numbered = |number: u32| match number {
        1 => format!("samples{end}"),
        _ => format!("samples-{number}{end}"),
    };
    // Nothing is replaced that was not named.
    let free = || {
        (1..MOST_SAMPLES)
            .map(numbered)
            .find(|name| !Path::new(name).exists())
    };
    let usual = || match options.overwrite {
        true => numbered(1),
        false => free().unwrap_or_else(|| numbered(1)),
    };
    options.out.clone().unwrap_or_else(|| usual().into())
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
        return source_at("from", &options.from, options.checkpoint);
    }
    let folder = options.from.join("source");
    ensure!(
        folder.is_dir(),
        "--with-source: {} is not a transfer and has no source",
        options.from.display()
    );
    Ok(open_source(&folder, engraft_gan::CheckpointChoice::Last)?)
}

/// Frames as PNG files: each image, below the source's image for the same latent vector if there is one.
fn frames(images: &Tensor, of_source: Option<&Tensor>) -> Vec<Vec<u8>> {
    (0..images.shape()[0])
        .map(|i| match of_source {
            Some(of_source) => {
                let both = [of_source, images].map(|all| all.narrow(0, i, 1));
                sample_grid(&concat(&[&both[0], &both[1]], 0), 1)
            }
            None => image_png(&images.narrow(0, i, 1)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_an_earlier_generation_are_told_apart_from_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let names = |numbers: std::ops::Range<usize>| -> Vec<String> {
            numbers.map(|number| format!("{number:06}.png")).collect()
        };
        let others = ["seed-000001.png", "notes.txt", "12.png", "00000a.png"].map(String::from);
        for name in names(0..5).iter().chain(&others) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let warning = |names: &[String]| earlier_images(folder.path(), names);
        let said = warning(&names(0..3)).unwrap();
        assert!(said.contains("generation: 2, such as 000003.png"), "{said}");
        assert_eq!(warning(&names(0..5)), None);
        assert_eq!(warning(&[]), None);
        let seeds = warning(&["seed-000002.png".into()]).unwrap();
        assert!(
            seeds.contains("generation: 1, such as seed-000001.png"),
            "{seeds}"
        );
    }
}
