//! What an exported network is: its origin, for metadata and the model card.

use crate::graph::{Dim, Graph};
use engraft_gan::{Measurement, TrainConfig};
use engraft_metrics::Evaluation;
use std::fmt;
use std::path::Path;

/// Which network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Maps latent vectors to images.
    Generator,
    /// Maps images to logits of being real.
    Discriminator,
    /// Maps images to logits of classes.
    Classifier,
    /// Maps images to features.
    Features,
}

impl Part {
    /// Its name in messages and file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Discriminator => "discriminator",
            Self::Classifier => "classifier",
            Self::Features => "features",
        }
    }

    /// The name of its class in Python.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Generator => "Generator",
            Self::Discriminator => "Discriminator",
            Self::Classifier => "Classifier",
            Self::Features => "Features",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A network with its origin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Description {
    /// Which network it is.
    pub part: Part,
    /// A short name for titles.
    pub title: String,
    /// Height, width and channels of an image.
    pub image: [usize; 3],
    /// The settings of the run, if it comes from one.
    pub run: Option<RunFacts>,
    /// License of the training images, in the words of the user.
    pub data_license: Option<String>,
    /// License of the weights, in the words of the user.
    pub license: Option<String>,
    /// Names of the classes, by label.
    pub class_names: Vec<String>,
    /// The result of `engraft evaluate`.
    pub evaluation: Option<Evaluation>,
    /// The last measurement of the training, and the name of its feature network.
    pub measurement: Option<(Measurement, String)>,
    /// Name of a picture with samples, which the caller puts beside the model card.
    pub picture: Option<String>,
    /// Further metadata.
    pub more: Vec<(String, String)>,
}

/// The run of a network.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// The settings, without folders of the user.
    config: TrainConfig,
    /// Training step of the weights.
    step: u64,
    /// SHA-256 of the settings in full.
    settings_sha256: String,
    /// Name and number of the images of a transfer's source.
    source: Option<(String, usize)>,
}

impl RunFacts {
    /// A run at a step. Names of folders are left out of the files: of a path, only the last part stays.
    pub fn new(config: &TrainConfig, step: u64) -> Self {
        let mut public = config.clone();
        public.data = last_part(&config.data);
        public.evaluation.weights = None;
        public.cpu.clear();
        for earlier in &mut public.earlier_data {
            earlier.data.clone_from(&public.data);
        }
        Self {
            config: public,
            step,
            settings_sha256: engraft_base::sha256_hex(config.to_toml().as_bytes()),
            source: None,
        }
    }

    /// The run of a transfer with the settings of its source, whose images the card names.
    #[must_use]
    pub fn with_source(mut self, source: &TrainConfig) -> Self {
        self.source = Some((last_part(&source.data), source.images));
        self
    }

    /// What the source of a transfer was trained on, as a clause for people; empty if it is not known.
    pub(crate) fn source_images(&self) -> String {
        match &self.source {
            None => String::new(),
            Some((_, 0)) => " that another program trained".into(),
            Some((data, images)) => format!(" trained on {data} ({images} images)"),
        }
    }

    /// The settings, without folders of the user.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }
}

impl Description {
    /// A network with a title and nothing else.
    pub fn new(part: Part, title: &str, image: [usize; 3]) -> Self {
        Self {
            part,
            title: title.into(),
            image,
            run: None,
            data_license: None,
            license: None,
            class_names: Vec::new(),
            evaluation: None,
            measurement: None,
            picture: None,
            more: Vec::new(),
        }
    }

    /// Height, width and channels as text.
    pub(crate) fn size(&self) -> String {
        let [height, width, channels] = self.image;
        format!("{height}x{width}x{channels}")
    }

    /// One sentence about the network, for people.
    pub fn sentence(&self) -> String {
        let size = self.size();
        let what = match self.part {
            Part::Generator => format!("generator of {size} images"),
            Part::Discriminator => format!("discriminator of {size} images"),
            Part::Classifier => format!("classifier of {size} images"),
            Part::Features => format!("feature network for {size} images"),
        };
        let from = match self.run.as_ref().map(|run| (&run.config, run.step)) {
            None => String::new(),
            Some((config, _)) if config.images == 0 => ", trained by another program".into(),
            Some((config, step)) => {
                format!(
                    ", trained on {} ({} images), step {step}",
                    config.data, config.images
                )
            }
        };
        format!("{}: {what}{from}.", self.title)
    }

    /// Names and values for files that have room for them: version, sizes, origin, hashes and licenses.
    ///
    /// `weights_sha256` is the hash of the exported numbers. `settings_sha256` is that of the run's `run.toml`.
    pub fn metadata(&self, graph: &Graph) -> Vec<(String, String)> {
        let mut found: Vec<(&str, String)> = vec![
            ("engraft_version", env!("CARGO_PKG_VERSION").into()),
            ("network", self.part.to_string()),
            ("image_size", self.size()),
            ("image_layout", "N, channels, height, width".into()),
            ("value_range", "-1 to 1".into()),
            ("weights_sha256", weights_sha256(graph)),
        ];
        if let Some(run) = &self.run {
            let config = &run.config;
            found.extend([
                ("family", config.network.to_string()),
                ("step", run.step.to_string()),
                ("data", config.data.clone()),
                ("data_images", config.images.to_string()),
                ("data_sha256", config.fingerprint.clone()),
                ("settings_sha256", run.settings_sha256.clone()),
            ]);
            if let Some(source) = config.plan.get("source_sha256").and_then(|value| value.as_str()) {
                found.push(("source_sha256", source.into()));
                let images = run.source.as_ref().filter(|(_, images)| *images > 0);
                found.extend(images.map(|(data, _)| ("source_data", data.clone())));
            }
        }
        if let Some(classes) = graph.inputs.iter().find_map(|input| input.classes) {
            found.push(("classes", classes.to_string()));
        }
        if graph.batch_multiple() > 1 {
            found.push(("batch_multiple", graph.batch_multiple().to_string()));
        }
        if !self.class_names.is_empty() {
            found.push(("class_names", self.class_names.join(", ")));
        }
        found.extend(
            self.data_license
                .iter()
                .map(|license| ("data_license", license.clone())),
        );
        found.extend(self.license.iter().map(|license| ("license", license.clone())));
        let found = found.into_iter().map(|(name, value)| (name.to_string(), value));
        found.chain(self.more.iter().cloned()).collect()
    }
}

/// The last part of a path, or a name itself.
pub(crate) fn last_part(data: &str) -> String {
    let last = Path::new(data).file_name();
    last.map_or_else(|| "pictures".into(), |name| name.to_string_lossy().into_owned())
}

/// SHA-256 of all constants of a graph: names, sizes and numbers.
fn weights_sha256(graph: &Graph) -> String {
    let mut bytes = Vec::new();
    for constant in &graph.constants {
        bytes.extend(format!("{} {:?}\n", constant.name, constant.value.shape()).into_bytes());
        bytes.extend(constant.value.as_slice().iter().flat_map(|v| v.to_le_bytes()));
    }
    engraft_base::sha256_hex(&bytes)
}

/// The sizes of an input or output as a list for people.
pub(crate) fn shape_text(shape: &[Dim]) -> String {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => size.to_string(),
        Dim::Batch(1) => "N".into(),
        Dim::Batch(factor) => format!("{factor}N"),
        Dim::Share(part) => format!("N/{part}"),
    };
    format!("[{}]", shape.iter().map(size).collect::<Vec<_>>().join(", "))
}
