//! The graphs of this project's kinds of networks: generators, discriminators, classifiers.

use crate::error::ExportError;
use crate::graph::Graph;
use crate::trace::{InputKind, InputSpec, trace};
use engraft_layers::{Condition, Mode, Module, Sequential};
use engraft_metrics::FeatureExtractor;
use engraft_tensor::Tensor;
use engraft_transfer::adapt::DomainClassifier;

/// Name of the input of latent vectors.
pub const LATENT: &str = "z";
/// Name of the input of labels.
pub const LABELS: &str = "labels";
/// Name of the input or output of images.
pub const IMAGES: &str = "images";
/// Name of the output of a discriminator or classifier.
pub const LOGITS: &str = "logits";
/// Name of the output of a feature network.
pub const FEATURES: &str = "features";

/// The graph of a generator: latent vectors `z [N, latent]`, and `labels [N]` if there are classes, to
/// `images [N, c, h, w]` with values in `[-1, 1]`.
///
/// Batch norms are folded into the weights where they follow a layer with weights; adapters and spectral normalization are
/// merged.
///
/// ```
/// use engraft_export::generator_graph;
/// use engraft_gan::networks::{NetworkFamily, NetworkSpec, mlp::Mlp};
/// use engraft_layers::Init;
/// let spec = NetworkSpec::new([16, 16, 3]).classes(10);
/// let graph = generator_graph(Mlp.generator(&spec, &mut Init::glorot(1)), Mlp.latent_dim(&spec), 10)?;
/// assert_eq!((graph.inputs[0].name.as_str(), graph.inputs[1].name.as_str()), ("z", "labels"));
/// # Ok::<(), engraft_export::ExportError>(())
/// ```
///
/// # Errors
/// Those of [`trace`].
pub fn generator_graph(
    generator: Sequential,
    latent_dim: usize,
    classes: usize,
) -> Result<Graph, ExportError> {
    let mut inputs = vec![InputSpec::numbers(LATENT, [latent_dim])];
    if classes > 0 {
        inputs.push(InputSpec::labels(LABELS, classes));
    }
    let mut graph = trace(&mut generator.folded(), &inputs, &[IMAGES], |net, x| {
        vec![net.forward_with(&x[0], &condition(x), Mode::Eval)]
    })?;
    graph.clip_output(0, -1.0, 1.0);
    Ok(graph)
}

/// The graph of a discriminator: `images [N, packing · c, h, w]`, and `labels [packing · N]` if there are classes, to
/// `logits [N, k]`.
///
/// # Errors
/// Those of [`trace`].
pub fn discriminator_graph(
    discriminator: Sequential,
    image: [usize; 3],
    packing: usize,
    classes: usize,
) -> Result<Graph, ExportError> {
    let [h, w, c] = image;
    let mut inputs = vec![InputSpec::numbers(IMAGES, [h, w, c * packing])];
    if classes > 0 {
        inputs.push(InputSpec {
            name: LABELS.into(),
            kind: InputKind::Labels(classes),
            rows: packing,
        });
    }
    trace(&mut discriminator.folded(), &inputs, &[LOGITS], |net, x| {
        vec![net.forward_with(&x[0], &condition(x), Mode::Eval)]
    })
}

/// The graph of a classifier of `engraft adapt`: `images [N, c, h, w]` to `logits [N, classes]`.
///
/// # Errors
/// Those of [`trace`].
pub fn classifier_graph(classifier: DomainClassifier) -> Result<Graph, ExportError> {
    let inputs = [InputSpec::numbers(IMAGES, classifier.image_size())];
    // In a chain, so that it can be folded.
    let mut chain = Sequential::new().add("network", classifier).folded();
    trace(&mut chain, &inputs, &[LOGITS], |net, x| {
        vec![net.forward(&x[0], Mode::Eval)]
    })
}

/// The graph of a feature extractor: `images [N, c, h, w]` to `features [N, dimension]`, and `logits [N, classes]` of a
/// classifier.
///
/// ```
/// use engraft_export::features_graph;
/// use engraft_metrics::FeatureNetwork;
/// let graph = features_graph(&FeatureNetwork::mnist())?;
/// let outputs: Vec<&str> = graph.outputs.iter().map(|(name, _)| name.as_str()).collect();
/// assert_eq!(outputs, ["features", "logits"]);
/// # Ok::<(), engraft_export::ExportError>(())
/// ```
///
/// # Errors
/// Those of [`trace`], and if the extractor does not [record](FeatureExtractor::recorded) its operations.
pub fn features_graph(extractor: &dyn FeatureExtractor) -> Result<Graph, ExportError> {
    let shape = extractor.input().shape();
    let [h, w, c] = shape;
    let Some(found) = extractor.recorded(&Tensor::zeros([1, h, w, c])) else {
        return Err(ExportError::NotTraceable(format!(
            "the feature extractor {} for images of {h}x{w} is not computed by operations of tensors ({})",
            extractor.name(),
            extractor.about()
        )));
    };
    let outputs: &[&str] = if found.logits.is_some() {
        &[FEATURES, LOGITS]
    } else {
        &[FEATURES]
    };
    let inputs = [InputSpec::numbers(IMAGES, shape)];
    trace(&mut Sequential::new(), &inputs, outputs, |_, x| {
        let found = extractor.recorded(&x[0]);
        let found = found.map(|found| std::iter::once(found.features).chain(found.logits).collect());
        found.unwrap_or_default()
    })
}

/// The condition in the second input, if there is one.
fn condition(inputs: &[Tensor]) -> Condition {
    inputs
        .get(1)
        .map_or(Condition::None, |rows| Condition::Classes(rows.clone()))
}
