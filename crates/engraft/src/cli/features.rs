//! `engraft features`: features of images for other programs.

use super::data_source::{self, load_options, some};
use super::extract::Reader;
use super::options::WriteFeatures;
use super::output_dir::ensure_usable_for;
use super::samples::Samples;
use anyhow::Context;
use engraft_data::{DataOptions, Split, write_npy};
use engraft_gan::PictureConfig;

/// Runs the command.
///
/// # Errors
/// If images are missing or damaged, or the file cannot be written.
pub(super) fn run(options: &WriteFeatures) -> anyhow::Result<()> {
    ensure_usable_for(&options.out)?;
    let named = &options.features;
    let (reader, found) = match (&options.data, &options.samples) {
        (Some(name), _) => {
            let mut from = DataOptions::new();
            from.load = load_options();
            from.held_out = true;
            options.pictures.apply(PictureConfig::default(), &mut from);
            from.size = options.size.map(|size| [size; 2]);
            let loaded = data_source::open("data", name, &from)?;
            let images = match options.split {
                Split::Train => loaded.train,
                Split::Test => loaded.test.with_context(|| {
                    format!("--data {name}: there are no held-out images; use --split train, or more images")
                })?,
            };
            let images = some(images, options.count, options.seed);
            let reader = Reader::choose(named, name, images.image_size())?;
            let found = reader.read_data(name, &images)?;
            (reader, found)
        }
        (None, Some(path)) => {
            let samples = Samples::open(path, &options.pictures, options.count, options.seed)?;
            let reader = Reader::choose(named, "", samples.image())?;
            let found = samples.read(&reader)?;
            (reader, found)
        }
        (None, None) => unreachable!("clap requires one of them"),
    };
    let shape = [found.features.len(), found.features.dimension()];
    let values: Vec<f32> = found.features.view().iter().map(|&x| x as f32).collect();
    write_npy(&options.out, &shape, &values)?;
    out!(
        "{}: {} x {} features of {} ({}); input: {}",
        options.out.display(),
        shape[0],
        shape[1],
        reader.extractor.name(),
        reader.extractor.hash(),
        reader.fit
    );
    Ok(())
}
