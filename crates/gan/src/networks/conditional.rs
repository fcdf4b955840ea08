//! Class-conditional networks: a generator with an embedding, a discriminator with a projection.
//!
//! Both read the labels of a batch from the [`Condition`] of the forward pass. The families build them around their
//! own networks, always with the names `conditional.embedding`, `conditional.body`, `projection.features`,
//! `projection.head` and `projection.embedding`.

use super::family::{LayerRoles, NetworkSpec};
use engraft_layers::{Condition, Dense, Embedding, Init, Mode, Module, Sequential, Taps, children, named};
use engraft_tensor::{Real, Tensor, concat};

/// Length of a class embedding, which is concatenated with the latent vector.
const EMBEDDING_SIZE: usize = 50;

/// Initial standard deviation of the class embeddings if batch norm follows the first layer; the latent vectors
/// have 1.
///
/// Batch norm fixes the total variance of noise and class, so the class grows at the expense of the noise until
/// each class is a single image. A small embedding grows more slowly than the discriminator learns the variation
/// within a class.
pub(super) const EMBEDDING_STD: f64 = 0.1;

/// Builds a generator from a function that builds a body with a given number of inputs. Without classes it is the
/// body; with classes a [`ConditionalGenerator`] whose embeddings have the initial standard deviation `spread`.
pub(super) fn generator<T: Real>(
    spec: &NetworkSpec,
    latent_dim: usize,
    spread: f64,
    init: &mut Init,
    body: impl FnOnce(usize, &mut Init) -> Sequential<T>,
) -> Sequential<T> {
    if spec.classes == 0 {
        return body(latent_dim, init);
    }
    let vectors = Tensor::randn([spec.classes, EMBEDDING_SIZE], &mut init.generator());
    let embedding = Embedding::with_weight(vectors * T::from_f64(spread));
    let body = body(latent_dim + EMBEDDING_SIZE, init);
    Sequential::new().add(
        "conditional",
        ConditionalGenerator::new(embedding, body, latent_dim),
    )
}

/// Builds a discriminator from a trunk that outputs `count` features: with a dense head, and with classes a
/// [`ProjectionDiscriminator`].
pub(super) fn discriminator<T: Real>(
    spec: &NetworkSpec,
    trunk: Sequential<T>,
    count: usize,
    init: &mut Init,
) -> Sequential<T> {
    let head = Dense::new(count, 1, init);
    if spec.classes == 0 {
        return trunk.add("head", head);
    }
    // Each class embedding acts as a last layer, so it is initialized like one.
    let embedding = Embedding::with_weight(init.weight(&[spec.classes, count], count, 1));
    Sequential::new().add("projection", ProjectionDiscriminator::new(trunk, head, embedding))
}

/// Roles of the layers for a specification, from those of the unconditional networks.
pub(super) fn roles(spec: &NetworkSpec, roles: LayerRoles) -> LayerRoles {
    if spec.classes == 0 {
        return roles;
    }
    let mut generator = roles.generator.under("conditional.body");
    generator.embedding = Some("conditional.embedding".into());
    let mut discriminator = roles.discriminator.under("projection.features");
    discriminator.head = "projection.head".into();
    discriminator.embedding = Some("projection.embedding".into());
    LayerRoles {
        generator,
        discriminator,
    }
}

/// A class-conditional generator: `body([z, embed(y)])`.
///
/// The class embedding is concatenated with the latent vector. A product would tie the class to the length of the
/// latent vector, and a small value in the embedding would suppress a component of the noise. With concatenation,
/// the first layer adds both with separate weights.
///
/// *Shapes*: latent vectors `[n, latent]` with `n` labels as the condition, to the output of the body.
///
/// *Source*: Mirza and Osindero, "Conditional generative adversarial nets", 2014, section 3.2, with a learned
/// embedding in place of one-hot labels.
///
/// # Panics
/// The forward pass panics without a condition, or if the number of labels is not `n`. It also panics if a label is
/// too large or the latent vectors have another length.
pub struct ConditionalGenerator<T: Real = f32> {
    embedding: Embedding<T>,
    body: Sequential<T>,
    latent: usize,
}

impl<T: Real> ConditionalGenerator<T> {
    /// A generator whose body has `latent` + embedding size inputs.
    pub fn new(embedding: Embedding<T>, body: Sequential<T>, latent: usize) -> Self {
        Self {
            embedding,
            body,
            latent,
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.embedding.classes()
    }

    /// Length of the latent vector.
    pub fn latent(&self) -> usize {
        self.latent
    }

    /// Input of the body.
    fn input(&self, z: &Tensor<T>, condition: &Condition<T>) -> Tensor<T> {
        let class = self.embedding.embed(condition);
        assert!(
            z.shape() == [class.shape()[0], self.latent],
            "ConditionalGenerator: latent vectors must be [{}, {}], one for each label, got {:?}",
            class.shape()[0],
            self.latent,
            z.shape()
        );
        concat(&[z, &class], 1)
    }
}

impl<T: Real> Module<T> for ConditionalGenerator<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.forward_with(x, &Condition::None, mode)
    }

    fn forward_with(&self, x: &Tensor<T>, condition: &Condition<T>, mode: Mode) -> Tensor<T> {
        self.forward_taps(x, condition, mode, &mut Taps::none())
    }

    fn forward_taps(
        &self,
        x: &Tensor<T>,
        condition: &Condition<T>,
        mode: Mode,
        taps: &mut Taps<'_, T>,
    ) -> Tensor<T> {
        let (x, taps) = (self.input(x, condition), &mut taps.under("body"));
        named("body", || self.body.forward_taps(&x, condition, mode, taps))
    }

    children!(T; embedding, body);

    fn describe(&self) -> String {
        let (latent, classes, size) = (self.latent, self.classes(), self.embedding.size());
        format!("ConditionalGenerator {latent} + {classes} classes of {size}")
    }
}

/// A class-conditional discriminator: `head(h) + <embed(y), h>` with `h = features(x)`.
///
/// The head evaluates the image, the projection how well the image fits its label.
///
/// With [packing](crate::pack), `h` are the features of a pack, and `embed(y)` is the mean over its labels. Packs
/// combine images at random, so only a generator with the right class in every image satisfies all packs.
///
/// *Shapes*: images `[n / packing, h, w, c · packing]` with `n` labels as the condition, to logits `[n / packing,
/// 1]`.
///
/// *Source*: Miyato and Koyama, "cGANs with projection discriminator", 2018, equation 4. The mean over a pack is
/// our extension.
///
/// # Panics
/// The forward pass panics without a condition, if the number of labels does not match the images, or if a label is
/// too large.
pub struct ProjectionDiscriminator<T: Real = f32> {
    features: Sequential<T>,
    head: Dense<T>,
    embedding: Embedding<T>,
}

impl<T: Real> ProjectionDiscriminator<T> {
    /// A discriminator whose features are `[n, size]`. The head has `size` inputs, and so have the embeddings.
    pub fn new(features: Sequential<T>, head: Dense<T>, embedding: Embedding<T>) -> Self {
        Self {
            features,
            head,
            embedding,
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.embedding.classes()
    }

    /// Logits of features.
    fn logits(&self, h: &Tensor<T>, condition: &Condition<T>, mode: Mode) -> Tensor<T> {
        let class = self.embedding.embed(condition);
        let (packs, labels) = (h.shape()[0], class.shape()[0]);
        assert!(
            packs > 0 && labels > 0 && labels.is_multiple_of(packs),
            "ProjectionDiscriminator: {packs} images or packs need one label for each image, got {labels}"
        );
        let class = match labels / packs {
            1 => class,
            packing => class
                .reshape([packs, packing, self.embedding.size()])
                .mean_axes(&[1]),
        };
        self.head.forward(h, mode) + (class * h).sum_keep(&[1])
    }
}

impl<T: Real> Module<T> for ProjectionDiscriminator<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.forward_with(x, &Condition::None, mode)
    }

    fn forward_with(&self, x: &Tensor<T>, condition: &Condition<T>, mode: Mode) -> Tensor<T> {
        self.forward_taps(x, condition, mode, &mut Taps::none())
    }

    fn forward_taps(
        &self,
        x: &Tensor<T>,
        condition: &Condition<T>,
        mode: Mode,
        taps: &mut Taps<'_, T>,
    ) -> Tensor<T> {
        let taps = &mut taps.under("features");
        let h = named("features", || {
            self.features.forward_taps(x, condition, mode, taps)
        });
        self.logits(&h, condition, mode)
    }

    children!(T; features, head, embedding);

    fn describe(&self) -> String {
        format!("ProjectionDiscriminator, {} classes", self.classes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{
        BatchNorm, Flatten, Init, Reshape, SlotMut, Tanh, forward_through, gradients, parameters, visit_mut,
    };
    use engraft_tensor::{gradcheck, gradgradcheck};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;
    use std::slice::from_ref;

    /// Two latent numbers, three classes, images of 2x1x2.
    fn pair() -> (ConditionalGenerator<f64>, ProjectionDiscriminator<f64>) {
        let init = &mut Init::normal(4, 0.7);
        let body = Sequential::new()
            .add("hidden", Dense::new(2 + 2, 5, init))
            .add("norm", BatchNorm::new(5))
            .add("act", Tanh)
            .add("to_image", Dense::new(5, 4, init))
            .add("grid", Reshape::new([2, 1, 2]));
        let features = Sequential::new()
            .add("flat", Flatten)
            .add("hidden", Dense::new(4, 3, init))
            .add("act", Tanh);
        let head = Dense::new(3, 1, init);
        let embedding = Embedding::new(3, 3, init);
        (
            ConditionalGenerator::new(Embedding::new(3, 2, init), body, 2),
            ProjectionDiscriminator::new(features, head, embedding),
        )
    }

    #[test]
    fn the_logit_by_hand() {
        let (_, d) = pair();
        let x = Tensor::randn([2, 2, 1, 2], &mut Pcg64::seed_from_u64(1));
        let logits = d.forward_with(&x, &[2, 0].into(), Mode::Eval);
        assert_eq!(logits.shape(), [2, 1]);
        let h = d.features.forward(&x, Mode::Eval);
        let all = parameters(&d);
        let of = |name: &str| all.iter().find(|(n, _)| n == name).unwrap().1.tensor();
        let (w, b, v) = (of("head.weight"), of("head.bias"), of("embedding.weight"));
        for (i, label) in [2, 0].into_iter().enumerate() {
            let by_hand: f64 = (0..3)
                .map(|j| h.as_slice()[3 * i + j] * (w.as_slice()[j] + v.as_slice()[3 * label + j]))
                .sum();
            assert!((logits.as_slice()[i] - by_hand - b.item()).abs() < 1e-12);
        }
    }

    #[test]
    fn labels_matter_and_features_are_accessible() {
        let (g, d) = pair();
        let z = Tensor::randn([4, 2], &mut Pcg64::seed_from_u64(2));
        let labels = Condition::from([0, 1, 2, 1]);
        let images = g.forward_with(&z, &labels, Mode::Eval);
        assert_eq!(images.shape(), [4, 2, 1, 2]);
        let others = g.forward_with(&z, &[1, 1, 2, 1].into(), Mode::Eval);
        let differ = |i: usize| images.as_slice()[4 * i..][..4] != others.as_slice()[4 * i..][..4];
        assert_eq!([0, 1, 2, 3].map(differ), [true, false, false, false]);

        let logits = d.forward_with(&images, &labels, Mode::Eval);
        let others = d.forward_with(&images, &[1, 1, 2, 1].into(), Mode::Eval);
        assert_ne!(others.as_slice(), logits.as_slice());
        let through = |net: &dyn Module<f64>, x: &Tensor<f64>, name: &str| {
            let outputs = forward_through(net, x, &labels, Mode::Eval, &[name]);
            (outputs.parts[0].shape().to_vec(), outputs.main)
        };
        let (shape, again) = through(&d, &images, "features.act");
        assert_eq!((shape, again.as_slice()), (vec![4, 3], logits.as_slice()));
        let (shape, again) = through(&g, &z, "body.act");
        assert_eq!((shape, again.as_slice()), (vec![4, 5], images.as_slice()));
        assert_eq!((g.classes(), g.latent(), d.classes()), (3, 2, 3));
        assert_eq!(
            Module::<f64>::describe(&g),
            "ConditionalGenerator 2 + 3 classes of 2"
        );
    }

    /// Two images in a pack count with the mean of their classes' vectors.
    #[test]
    fn a_pack_has_the_labels_of_its_images() {
        let (_, d) = pair();
        let x = Tensor::randn([2, 2, 1, 2], &mut Pcg64::seed_from_u64(6));
        let logits = |labels: &[usize]| {
            let logits = d.forward_with(&x, &labels.into(), Mode::Eval);
            logits.as_slice().to_vec()
        };
        let (packs, own) = (logits(&[0, 1, 2, 2]), logits(&[0, 2]));
        let other = logits(&[1, 2]);
        assert!((packs[0] - (own[0] + other[0]) / 2.0).abs() < 1e-12);
        assert!((packs[1] - own[1]).abs() < 1e-12);
    }

    /// With respect to the inputs, at both orders: a gradient penalty differentiates the projection.
    #[test]
    fn gradients_are_right_at_both_orders() {
        let (g, d) = pair();
        let rng = &mut Pcg64::seed_from_u64(3);
        let (z, x) = (Tensor::randn([4, 2], rng), Tensor::randn([4, 2, 1, 2], rng));
        let labels = Condition::from([0, 1, 2, 1]);
        let generated = |z: &[Tensor<f64>]| g.forward_with(&z[0], &labels, Mode::Eval);
        let logits = |x: &[Tensor<f64>]| d.forward_with(&x[0], &labels, Mode::Eval);
        let composed = |z: &[Tensor<f64>]| logits(&[generated(z)]);
        gradcheck(generated, from_ref(&z)).unwrap();
        gradgradcheck(generated, from_ref(&z)).unwrap();
        gradcheck(logits, from_ref(&x)).unwrap();
        gradgradcheck(logits, &[x]).unwrap();
        gradgradcheck(composed, &[z]).unwrap();
    }

    /// In every parameter, against central differences along one direction.
    #[test]
    fn every_parameter_learns() {
        let (mut g, mut d) = pair();
        let rng = &mut Pcg64::seed_from_u64(4);
        let z = Tensor::randn([4, 2], rng);
        let labels = Condition::from([0, 1, 2, 1]);
        fn loss(
            g: &ConditionalGenerator<f64>,
            d: &ProjectionDiscriminator<f64>,
            z: &Tensor<f64>,
            labels: &Condition<f64>,
        ) -> Tensor<f64> {
            let images = g.forward_with(z, labels, Mode::Train);
            d.forward_with(&images, labels, Mode::Train).softplus().mean()
        }
        let at = loss(&g, &d, &z, &labels);
        let by_rule = [gradients(&at, &g), gradients(&at, &d)];
        assert_eq!(by_rule.each_ref().map(|g| g.len()), [7, 5]);
        for (network, by_rule) in by_rule.iter().enumerate() {
            for (name, gradient) in by_rule {
                let direction = Tensor::randn(gradient.shape(), rng);
                let mut moved = |step: f64| {
                    let mut shift = |path: &str, slot: SlotMut<'_, f64>| {
                        if let SlotMut::Parameter(p) = slot
                            && path == *name
                        {
                            p.set(&(p.tensor() + &direction * step));
                        }
                    };
                    match network {
                        0 => visit_mut(&mut g, &mut shift),
                        _ => visit_mut(&mut d, &mut shift),
                    }
                    loss(&g, &d, &z, &labels).item()
                };
                let plus = moved(1e-6);
                let minus = moved(-2e-6);
                moved(1e-6);
                let difference = (plus - minus) / 2e-6;
                let rule = (gradient * &direction).sum().item();
                assert!(
                    (rule - difference).abs() < 1e-7,
                    "{name}: {rule} by rule, {difference} by difference"
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "[3, 2]")]
    fn labels_that_are_too_few_are_refused() {
        let (g, _) = pair();
        let _ = g.forward_with(&Tensor::zeros([4, 2]), &[0, 1, 2].into(), Mode::Eval);
    }
}
