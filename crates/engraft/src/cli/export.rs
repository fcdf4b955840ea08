//! `engraft export`: networks for other programs.

use super::advice::{self, source_at};
use super::extract::open_run;
use super::options::{Export, ExportFormat, ExportNetwork};
use super::output_dir::ensure_usable_for;
use super::picture_file::{ensure_new, make_folder_of, write};
use anyhow::{Context, bail, ensure};
use engraft_base::read_bounded;
use engraft_data::write_npy;
use engraft_export::{
    Description, Graph, Part, RunFacts, classifier_graph, discriminator_graph, features_graph,
    generator_graph, hub, onnx, torch_network,
};
use engraft_gan::{Measurement, RunLayout, Sampler, class_names, read_settings, sample_grid};
use engraft_layers::{Condition, StateDict};
use engraft_metrics::{Evaluation, features};
use engraft_tensor::{ConvAlgorithm, Tensor, with_conv_algorithm};
use engraft_transfer::AdapterFile;
use engraft_transfer::adapt::DomainClassifier;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::path::{Path, PathBuf};

/// Largest file of an evaluation, in bytes.
const MAX_EVALUATION: u64 = 1 << 20;
/// Largest `measures.jsonl`, in bytes.
const MAX_MEASURES: u64 = 16 << 20;
/// Longest text of a license, in bytes.
const MAX_LICENSE: usize = 1000;

/// Size of the images of feature networks that read several sizes.
const FEATURE_IMAGE: [usize; 2] = [32, 32];
/// Its own size, to which it would resize others.
const INCEPTION_IMAGE: [usize; 2] = [299, 299];

/// Name of the picture with samples in a folder for the hub.
const PICTURE: &str = "samples.png";
/// Its images, and images in a row.
const SAMPLES: [usize; 2] = [64, 8];

/// A file to write.
type File = (PathBuf, Vec<u8>);

/// Inputs and outputs by name.
type Examples = Vec<(String, Tensor)>;

/// What is exported.
struct Opened {
    graph: Graph,
    about: Description,
    examples: Examples,
    /// A picture of samples, for the hub.
    picture: Option<Vec<u8>>,
}

impl Opened {
    fn new(graph: Graph, about: Description) -> Self {
        Self {
            graph,
            about,
            examples: Vec::new(),
            picture: None,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// If the network cannot be read or exported, or files exist or cannot be written.
pub(super) fn run(options: &Export) -> anyhow::Result<()> {
    for (option, text) in [
        ("data-license", &options.data_license),
        ("license", &options.license),
    ] {
        let length = text.as_ref().map_or(1, |text| text.trim().len());
        ensure!(
            (1..=MAX_LICENSE).contains(&length),
            "--{option}: expected a text of at most {MAX_LICENSE} bytes, got {length}"
        );
    }
    let part = match (&options.classifier, &options.features, options.network) {
        (Some(_), ..) => Part::Classifier,
        (_, Some(_), _) => Part::Features,
        (.., ExportNetwork::Generator) => Part::Generator,
        (.., ExportNetwork::Discriminator) => Part::Discriminator,
    };
    ensure!(
        options.examples.is_none() || part == Part::Generator,
        "--examples: expected --network generator; the examples are generated images"
    );
    ensure!(
        options.opset.is_none() || options.format == ExportFormat::Onnx,
        "--opset: expected --format onnx, the only format with versions of operators"
    );
    let out = out(options, part)?;
    for path in outputs(options.format, &out) {
        ensure_new(&path, options.overwrite)?;
        ensure_usable_for(&path)?;
    }
    let Opened {
        graph,
        about,
        examples,
        picture,
    } = open(options, part)?;
    let mut files = files(options, &graph, &about, &out)?;
    files.extend(picture.map(|bytes| (out.join(PICTURE), bytes)));
    for (path, bytes) in &files {
        write(path, bytes)?;
        out!("{}: {} bytes", path.display(), bytes.len());
    }
    let stem = match options.format {
        ExportFormat::Hub => out.join("model"),
        _ => out.clone(),
    };
    for (name, tensor) in &examples {
        let path = stem.with_extension(format!("{name}.npy"));
        ensure_new(&path, options.overwrite)?;
        make_folder_of(&path)?;
        write_npy(&path, tensor.shape(), tensor.as_slice())?;
        out!("{}: {:?}", path.display(), tensor.shape());
    }
    out!(
        "{} {} operators, {} parameters",
        about.sentence(),
        graph.nodes.len(),
        graph.parameter_count()
    );
    if graph.batch_multiple() > 1 {
        out!(
            "the number of images must be a multiple of {}",
            graph.batch_multiple()
        );
    }
    Ok(())
}

/// The output of `--out`, with the extension that belongs to the format.
fn out(options: &Export, part: Part) -> anyhow::Result<PathBuf> {
    let extension = match options.format {
        ExportFormat::Onnx => "onnx",
        ExportFormat::PyTorch => "py",
        ExportFormat::Hub => return Ok(options.out.clone().unwrap_or_else(|| "hub".into())),
    };
    let Some(out) = options.out.clone() else {
        return Ok(format!("{part}.{extension}").into());
    };
    ensure!(
        out.extension().is_some_and(|found| found == extension),
        "--out {}: expected a file .{extension} for --format {}",
        out.display(),
        options.format
    );
    Ok(out)
}

/// The files of a format.
fn outputs(format: ExportFormat, out: &Path) -> Vec<PathBuf> {
    match format {
        ExportFormat::Onnx => vec![out.into()],
        ExportFormat::PyTorch => vec![out.into(), out.with_extension("safetensors")],
        ExportFormat::Hub => hub::NAMES
            .into_iter()
            .chain([PICTURE])
            .map(|name| out.join(name))
            .collect(),
    }
}

fn files(options: &Export, graph: &Graph, about: &Description, out: &Path) -> anyhow::Result<Vec<File>> {
    let metadata = about.metadata(graph);
    Ok(match options.format {
        ExportFormat::Onnx => {
            let opset = options.opset.unwrap_or(onnx::OPSET);
            let bytes = onnx::encode_as(graph, &about.sentence(), &metadata, opset);
            vec![(out.into(), bytes)]
        }
        ExportFormat::PyTorch => {
            let torch = torch_network(graph, about.part.class(), &about.sentence())?;
            let metadata = metadata.into_iter();
            let state = metadata.fold(torch.state, |state, (name, value)| {
                state.with_metadata(name, value)
            });
            vec![
                (out.into(), torch.source.into_bytes()),
                (out.with_extension("safetensors"), state.to_sealed_bytes()?),
            ]
        }
        ExportFormat::Hub => {
            let files = hub::files(graph, about)?.into_iter();
            files.map(|(name, bytes)| (out.join(name), bytes)).collect()
        }
    })
}

/// The network of the options with its description.
fn open(options: &Export, part: Part) -> anyhow::Result<Opened> {
    if let Some(path) = &options.classifier {
        return classifier(path, options);
    }
    if let Some(name) = &options.features {
        return feature_network(name, options);
    }
    let Some(from) = &options.from else {
        bail!("--from: expected a run directory")
    };
    let opened = open_run(from, options.checkpoint)?;
    let (config, step) = (opened.config, opened.step);
    let title = from.file_name().unwrap_or(from.as_os_str()).to_string_lossy();
    let mut about = Description::new(part, &title, config.image);
    let facts = RunFacts::new(&config, step);
    // A transfer has a copy of its source.
    about.run = Some(
        match read_settings(&RunLayout::new(from.join("source")).settings()) {
            Ok(source) => facts.with_source(&source),
            Err(_) => facts,
        },
    );
    about.data_license.clone_from(&options.data_license);
    about.license.clone_from(&options.license);
    about.class_names = class_names(from).unwrap_or_default();
    about.evaluation = options.evaluation.as_deref().map(evaluation).transpose()?;
    let name = || match &config.evaluation.features {
        Some(name) => name.clone(),
        None => features::default_name(&config.data, config.image).into(),
    };
    about.measurement = measurement(from, step).map(|found| (found, name()));
    let classes = config.network_classes() as usize;
    let named = || format!("--from {}", from.display());
    if part == Part::Discriminator {
        ensure!(
            options.adapter.is_none(),
            "--adapter: an adapter file has a generator only; expected --network generator"
        );
        let networks = source_at("from", from, options.checkpoint)?.networks()?;
        let packing = config.network_spec().packing;
        about.more.push(("packing".into(), packing.to_string()));
        let graph = discriminator_graph(networks.discriminator, config.image, packing, classes);
        return Ok(Opened::new(graph.with_context(named)?, about));
    }
    let sampler = match &options.adapter {
        Some(path) => {
            let named = || format!("--adapter {}", path.display());
            let file = AdapterFile::open(path).with_context(named)?;
            let source = source_at("from", from, options.checkpoint)?;
            file.sampler(&source).with_context(named)?
        }
        None => opened.sampler,
    };
    let mut picture = None;
    if options.format == ExportFormat::Hub {
        let [count, columns] = SAMPLES;
        let images = sampler.try_generate(count, &mut Pcg64::seed_from_u64(1))?;
        picture = Some(sample_grid(&images, columns));
        about.picture = Some(PICTURE.into());
    }
    let examples = options
        .examples
        .map(|n| examples(&sampler, n as usize))
        .transpose()?;
    let (latent, classes) = (sampler.latent_dim(), sampler.class_count());
    let graph = generator_graph(sampler.into_generator(), latent, classes).with_context(named)?;
    Ok(Opened {
        graph,
        about,
        examples: examples.unwrap_or_default(),
        picture,
    })
}

/// A classifier that `engraft adapt` saved.
fn classifier(path: &Path, options: &Export) -> anyhow::Result<Opened> {
    let named = || format!("--classifier {}", path.display());
    let state: StateDict = StateDict::load(path).with_context(named)?;
    let classifier = DomainClassifier::from_state(&state).with_context(named)?;
    let title = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut about = Description::new(Part::Classifier, &title, classifier.image_size());
    about.data_license.clone_from(&options.data_license);
    about.license.clone_from(&options.license);
    for (name, value) in state.metadata() {
        // Data can be folders of the user.
        let last = Path::new(value)
            .file_name()
            .map(|last| last.to_string_lossy().into_owned());
        if let (true, Some(last)) = (
            ["method", "source", "target", "seed", "even_frames"].contains(&name.as_str()),
            last,
        ) {
            about.more.push((format!("adapt_{name}"), last));
        }
    }
    Ok(Opened::new(
        classifier_graph(classifier).with_context(named)?,
        about,
    ))
}

/// A feature network by name.
fn feature_network(name: &str, options: &Export) -> anyhow::Result<Opened> {
    let size = match name {
        "inception" => INCEPTION_IMAGE,
        _ => FEATURE_IMAGE,
    };
    let extractor = features::open(name, options.weights.as_deref(), size)
        .map_err(advice::on_weights)
        .with_context(|| format!("--features {name}"))?;
    let mut about = Description::new(Part::Features, extractor.name(), extractor.input().shape());
    about.data_license.clone_from(&options.data_license);
    about.license.clone_from(&options.license);
    about.more = vec![
        ("features".into(), extractor.about()),
        ("features_sha256".into(), extractor.hash().into()),
    ];
    let graph = features_graph(&*extractor).with_context(|| format!("--features {name}"))?;
    Ok(Opened::new(graph, about))
}

/// Latent vectors, labels and images of `n` examples.
fn examples(sampler: &Sampler, n: usize) -> anyhow::Result<Examples> {
    let z = Tensor::randn([n, sampler.latent_dim()], &mut Pcg64::seed_from_u64(1));
    let mut found = vec![(engraft_export::LATENT.to_string(), z.clone())];
    let mut condition = Condition::None;
    if sampler.class_count() > 0 {
        let labels: Vec<usize> = (0..n).map(|i| i % sampler.class_count()).collect();
        let numbers = labels.iter().map(|&label| label as f32).collect();
        found.push((engraft_export::LABELS.into(), Tensor::from_vec([n], numbers)));
        condition = labels.into();
    }
    // Winograd's algorithms have errors of up to 4e-5 after a few layers, more than the difference that is looked for.
    let images = with_conv_algorithm(ConvAlgorithm::Im2col, || {
        sampler.try_generate_from(&z, &condition)
    })?;
    found.push((engraft_export::IMAGES.into(), images.permute(&[0, 3, 1, 2])));
    Ok(found)
}

/// The result of `engraft evaluate --json` in a file.
fn evaluation(path: &Path) -> anyhow::Result<Evaluation> {
    let bytes =
        read_bounded(path, MAX_EVALUATION).with_context(|| format!("--evaluation {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| {
        format!(
            "--evaluation {}: expected the output of engraft evaluate --json",
            path.display()
        )
    })
}

/// The last measurement of a run up to a step.
fn measurement(run: &Path, step: u64) -> Option<Measurement> {
    let bytes = read_bounded(&RunLayout::new(run).measurements(), MAX_MEASURES).ok()?;
    let lines = bytes.split(|&byte| byte == b'\n');
    let mut found = lines.filter_map(|line| serde_json::from_slice::<Measurement>(line).ok());
    found.rfind(|found| found.step <= step)
}
