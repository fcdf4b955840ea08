//! `engraft playground`: a web page with a generator.

use super::extract::open_run_of;
use super::latents::names;
use super::options::Playground;
use super::output_dir::ensure_usable_for;
use super::picture_file::{ensure_new, write};
use anyhow::{Context, ensure};
use engraft_base::{to_byte, to_bytes};
use engraft_gan::{CheckpointChoice, GanError, Sampler, SavedRun, principal_directions};
use engraft_layers::Condition;
use engraft_playground::{Generator, Model, Page, noise};
use engraft_tensor::Tensor;
use std::path::{Path, PathBuf};

/// Number of sliders.
const DIRECTIONS: usize = 8;
/// Seed of the latent vectors at which the directions are measured.
const DIRECTION_SEED: u64 = 1;
/// Seeds whose images on the page are compared with those of `generate`.
const COMPARED: u64 = 4;
/// Largest difference of a byte of these images.
const TOLERANCE: u8 = 1;
/// Pages above this size are slow to open.
const LARGE: usize = 64 << 20;

/// Runs the command.
///
/// # Errors
/// If a run cannot be read, the runs do not fit together, a generator cannot be stored, or the page cannot be written.
pub(super) fn run(options: &Playground) -> anyhow::Result<()> {
    let out = &options.out;
    let extension = out.extension().unwrap_or_default().to_ascii_lowercase();
    ensure!(
        extension == "html" || extension == "htm",
        "--out {}: expected a file name that ends with .html",
        out.display()
    );
    ensure_new(out, options.overwrite)?;
    ensure_usable_for(out)?;
    let shown = shown(options)?;
    let [first, others @ ..] = shown.as_slice() else {
        unreachable!("--from is always shown")
    };
    let (latent, classes) = (first.run.sampler.latent_dim(), first.run.sampler.class_count());
    for other in others {
        let sampler = &other.run.sampler;
        ensure!(
            sampler.latent_dim() == latent,
            "{} has latent vectors of {} numbers, {} of {latent}; runs side by side need the same length, as a source and its \
             transfer have",
            other.path.display(),
            sampler.latent_dim(),
            first.path.display()
        );
        ensure!(
            classes == 0 || sampler.class_count() == 0 || sampler.class_count() == classes,
            "{} has {} classes, {} has {classes}; runs side by side need the same number",
            other.path.display(),
            sampler.class_count(),
            first.path.display()
        );
    }
    let conditional = shown.iter().find(|shown| shown.run.sampler.class_count() > 0);
    let class_names = conditional.map_or(Ok(Vec::new()), |shown| names(&shown.path))?;
    let directions = principal_directions(&first.run.sampler, DIRECTIONS, DIRECTION_SEED);
    ensure!(
        directions.is_finite(),
        "{}: for some latent vectors the generator's images are not finite; its weights are damaged or too large: use another \
         checkpoint",
        first.path.display()
    );
    let title = shown.iter().map(|shown| shown.name.as_str()).collect::<Vec<_>>();
    let page = Page {
        title: title.join(" and "),
        latent,
        class_names,
        directions: directions
            .as_slice()
            .chunks(latent)
            .map(<[f32]>::to_vec)
            .collect(),
        models: shown.into_iter().map(Shown::model).collect::<Result<_, _>>()?,
    };
    let html = page.to_html();
    write(out, html.as_bytes())?;
    if html.len() > LARGE {
        note!(
            "warning: {} is large; a browser takes seconds to open it",
            out.display()
        );
    }
    out!(
        "{}: {:.1} MB; open it in a browser",
        out.display(),
        html.len() as f64 / 1e6
    );
    Ok(())
}

/// A run on the page.
struct Shown {
    path: PathBuf,
    name: String,
    run: SavedRun,
    /// The images of the first seeds as bytes.
    expected: Vec<Vec<u8>>,
}

/// The runs of the options, in the order of the page: the source first.
fn shown(options: &Playground) -> anyhow::Result<Vec<Shown>> {
    let open = |option: &str, path: &Path, which, name: String| -> anyhow::Result<Shown> {
        let run = open_run_of(option, path, which)?;
        Ok(Shown {
            path: path.into(),
            name,
            expected: expected(&run.sampler).with_context(|| format!("--{option} {}", path.display()))?,
            run,
        })
    };
    let from = open("from", &options.from, options.checkpoint, name_of(&options.from))?;
    if options.with_source {
        let folder = options.from.join("source");
        ensure!(
            folder.is_dir(),
            "--with-source: {} is not a transfer and has no source",
            options.from.display()
        );
        let source = open(
            "from",
            &folder,
            CheckpointChoice::Last,
            format!("source of {}", from.name),
        )?;
        return Ok(vec![source, from]);
    }
    let mut all = vec![from];
    if let Some(beside) = &options.beside {
        all.push(open("beside", beside, options.checkpoint, name_of(beside))?);
    }
    Ok(all)
}

/// The name of a run: that of its directory.
fn name_of(path: &Path) -> String {
    let full = path.canonicalize();
    let path = full.as_deref().unwrap_or(path);
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

impl Shown {
    /// The generator for the page. Its weights are rounded to 16 bits, if that changes no byte of an image by more than 1.
    fn model(self) -> anyhow::Result<Model> {
        let Self {
            path,
            name,
            run,
            expected,
        } = self;
        let named = || format!("the generator of {}", path.display());
        let [height, width, channels] = run.config.image;
        let about = format!(
            "{}, step {}, network {}, images of {height}x{width}x{channels}",
            run.config.data, run.step, run.config.network.kind
        );
        let latent = run.sampler.latent_dim();
        let programs = run.sampler.into_programs().with_context(named)?;
        let generator = Generator::new(programs, latent).with_context(named)?;
        for is_rounded in [true, false] {
            let model = Model::new(&*name, &*about, &generator, is_rounded);
            let stored = Generator::from_bytes(&model.bytes).with_context(named)?;
            if difference(&stored, &expected) <= TOLERANCE {
                return Ok(model);
            }
        }
        Err(anyhow::anyhow!(
            "its images differ from those of generate when its operations are stored and run again; a page needs a network \
             whose operations do not depend on the values of one example"
        ))
        .with_context(named)
    }
}

/// The images of the first seeds as bytes.
///
/// # Errors
/// If one is not finite.
fn expected(sampler: &Sampler) -> Result<Vec<Vec<u8>>, GanError> {
    let (latent, classes) = (sampler.latent_dim(), sampler.class_count());
    (0..COMPARED)
        .map(|seed| {
            let z = Tensor::from_vec([1, latent], noise(seed, latent));
            let condition = match classes {
                0 => Condition::None,
                _ => Condition::from([label(seed, classes)]),
            };
            let image = sampler.try_generate_from(&z, &condition)?;
            Ok(to_bytes(image.as_slice()))
        })
        .collect()
}

fn label(seed: u64, classes: usize) -> usize {
    (seed % classes.max(1) as u64) as usize
}

/// The largest difference of a byte between the images of the first seeds and those expected.
fn difference(generator: &Generator, expected: &[Vec<u8>]) -> u8 {
    let (latent, classes) = (generator.latent_dim(), generator.class_count());
    (0..)
        .zip(expected)
        .flat_map(|(seed, expected)| {
            let image = generator.generate(&noise(seed, latent), label(seed, classes));
            let differences: Vec<u8> = image
                .as_slice()
                .iter()
                .zip(expected)
                .map(|(&x, &byte)| to_byte(x).abs_diff(byte))
                .collect();
            differences
        })
        .max()
        .unwrap_or(0)
}
