//! Networks that are told the class: a generator with an embedding, a discriminator with a projection.
//!
//! Both have a pass that takes labels. As [`Module`]s, which read one tensor, they take the labels as rows of
//! [`one_hot`](engraft_layers::one_hot) behind the other numbers of an example: so names, gradients, optimisers and
//! state dicts are those of any module.

use engraft_layers::{Dense, Embedding, Mode, Module, Sequential, children};
use engraft_tensor::{Real, Tensor, concat};

/// A generator of images of a class: `body([z, embed(y)])`.
///
/// The vector of the class stands beside the latent vector. Multiplying the two instead would tie the class to
/// the length of the noise, and a small component of the class would silence a component of the noise; side by
/// side the first layer adds what the class says to what the noise says, with a weight for each.
///
/// *Shapes*: latent vectors `[n, latent]` and `n` labels to what the body makes; as a module
/// `[n, latent + classes]`, the latent vector first.
///
/// *Source*: Mirza and Osindero, "Conditional generative adversarial nets", 2014, section 3.2, with a learned
/// vector in place of the label's own.
pub struct ConditionalGenerator<T: Real = f32> {
    embedding: Embedding<T>,
    body: Sequential<T>,
    latent: usize,
}

impl<T: Real> ConditionalGenerator<T> {
    /// A generator whose body reads `latent` numbers and the vector of a class behind them.
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

    /// The images of latent vectors `z [n, latent]` and their labels.
    ///
    /// # Panics
    /// If there are not as many labels as latent vectors, one is no class, or the vectors have another length.
    #[must_use]
    #[track_caller]
    pub fn forward_labelled(&self, z: &Tensor<T>, labels: &[usize], mode: Mode) -> Tensor<T> {
        assert!(
            z.shape() == [labels.len(), self.latent],
            "ConditionalGenerator: latent vectors must be [{}, {}] for so many labels, got {:?}",
            labels.len(),
            self.latent,
            z.shape()
        );
        self.join(z, &self.embedding.of(labels), mode)
    }

    fn join(&self, z: &Tensor<T>, class: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.body.forward(&concat(&[z, class], 1), mode)
    }
}

impl<T: Real> Module<T> for ConditionalGenerator<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let [z, classes] = split("ConditionalGenerator", x, self.latent, self.classes());
        self.join(&z, &self.embedding.forward(&classes, mode), mode)
    }

    children!(T; embedding, body);

    fn describe(&self) -> String {
        let (latent, classes, size) = (self.latent, self.classes(), self.embedding.size());
        format!("ConditionalGenerator {latent} + {classes} classes of {size}")
    }
}

/// A discriminator of images with their class: `head(h) + <embed(y), h>` with `h = features(x)`.
///
/// The head judges the image, the product how well it goes with its label.
///
/// *Shapes*: images `[n, h, w, c]` and `n` labels to logits `[n, 1]`; as a module `[n, h · w · c + classes]`, the
/// numbers of the image first.
///
/// *Source*: Miyato and Koyama, "cGANs with projection discriminator", 2018, equation 4.
pub struct ProjectionDiscriminator<T: Real = f32> {
    features: Sequential<T>,
    head: Dense<T>,
    embedding: Embedding<T>,
    image: [usize; 3],
}

impl<T: Real> ProjectionDiscriminator<T> {
    /// A discriminator of images `[h, w, c]` whose features are vectors, `[n, size]`: the head reads those, and the
    /// vectors of the classes are as long.
    pub fn new(features: Sequential<T>, head: Dense<T>, embedding: Embedding<T>, image: [usize; 3]) -> Self {
        Self {
            features,
            head,
            embedding,
            image,
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.embedding.classes()
    }

    /// The logits of images `[n, h, w, c]` with their labels.
    ///
    /// # Panics
    /// If there are not as many labels as images, one is no class, or the images have another size.
    #[must_use]
    #[track_caller]
    pub fn forward_labelled(&self, images: &Tensor<T>, labels: &[usize], mode: Mode) -> Tensor<T> {
        let [h, w, c] = self.image;
        assert!(
            images.shape() == [labels.len(), h, w, c],
            "ProjectionDiscriminator: images must be [{}, {h}, {w}, {c}] for so many labels, got {:?}",
            labels.len(),
            images.shape()
        );
        self.project(images, &self.embedding.of(labels), mode)
    }

    fn project(&self, images: &Tensor<T>, class: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let h = self.features.forward(images, mode);
        self.head.forward(&h, mode) + (class * &h).sum_keep(&[1])
    }
}

impl<T: Real> Module<T> for ProjectionDiscriminator<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let [h, w, c] = self.image;
        let [pixels, classes] = split("ProjectionDiscriminator", x, h * w * c, self.classes());
        let images = pixels.reshape([pixels.shape()[0], h, w, c]);
        self.project(&images, &self.embedding.forward(&classes, mode), mode)
    }

    children!(T; features, head, embedding);

    fn describe(&self) -> String {
        let ([h, w, c], classes) = (self.image, self.classes());
        format!("ProjectionDiscriminator {h}x{w}x{c}, {classes} classes")
    }
}

/// An example's own numbers, and the row of its label behind them.
fn split<T: Real>(name: &str, x: &Tensor<T>, own: usize, classes: usize) -> [Tensor<T>; 2] {
    assert!(
        x.rank() == 2 && x.shape()[1] == own + classes,
        "{name}: the input must be [n, {own} + {classes} classes], got {:?}",
        x.shape()
    );
    [x.narrow(1, 0, own), x.narrow(1, own, classes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{
        BatchNorm, Flatten, Init, Reshape, SlotMut, Tanh, gradients, one_hot, parameters, visit_mut,
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
            ProjectionDiscriminator::new(features, head, embedding, [2, 1, 2]),
        )
    }

    #[test]
    fn the_logit_by_hand() {
        let (_, d) = pair();
        let x = Tensor::randn([2, 2, 1, 2], &mut Pcg64::seed_from_u64(1));
        let logits = d.forward_labelled(&x, &[2, 0], Mode::Eval);
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
    fn labels_matter_and_are_one_hot_rows_to_a_module() {
        let (g, d) = pair();
        let z = Tensor::randn([4, 2], &mut Pcg64::seed_from_u64(2));
        let labels = [0, 1, 2, 1];
        let images = g.forward_labelled(&z, &labels, Mode::Eval);
        assert_eq!(images.shape(), [4, 2, 1, 2]);
        let others = g.forward_labelled(&z, &[1, 1, 2, 1], Mode::Eval);
        let differ = |i: usize| images.as_slice()[4 * i..][..4] != others.as_slice()[4 * i..][..4];
        assert_eq!([0, 1, 2, 3].map(differ), [true, false, false, false]);

        let rows = one_hot(&labels, 3);
        let as_module = g.forward(&concat(&[&z, &rows], 1), Mode::Eval);
        assert_eq!(as_module.as_slice(), images.as_slice());
        let logits = d.forward_labelled(&images, &labels, Mode::Eval);
        let as_module = d.forward(&concat(&[&images.reshape([4, 4]), &rows], 1), Mode::Eval);
        assert_eq!(as_module.as_slice(), logits.as_slice());
        assert_ne!(
            d.forward_labelled(&images, &[1, 1, 2, 1], Mode::Eval).as_slice(),
            logits.as_slice()
        );
        assert_eq!((g.classes(), g.latent(), d.classes()), (3, 2, 3));
        assert_eq!(
            Module::<f64>::describe(&g),
            "ConditionalGenerator 2 + 3 classes of 2"
        );
    }

    /// In what they read, at both orders: a gradient penalty goes through the projection.
    #[test]
    fn gradients_are_right_at_both_orders() {
        let (g, d) = pair();
        let rng = &mut Pcg64::seed_from_u64(3);
        let (z, x) = (Tensor::randn([4, 2], rng), Tensor::randn([4, 2, 1, 2], rng));
        let labels = [0, 1, 2, 1];
        let drawn = |z: &[Tensor<f64>]| g.forward_labelled(&z[0], &labels, Mode::Eval);
        let judged = |x: &[Tensor<f64>]| d.forward_labelled(&x[0], &labels, Mode::Eval);
        let game = |z: &[Tensor<f64>]| judged(&[drawn(z)]);
        gradcheck(drawn, from_ref(&z)).unwrap();
        gradgradcheck(drawn, from_ref(&z)).unwrap();
        gradcheck(judged, from_ref(&x)).unwrap();
        gradgradcheck(judged, &[x]).unwrap();
        gradgradcheck(game, &[z]).unwrap();
    }

    /// In every parameter, against central differences along one direction.
    #[test]
    fn every_parameter_learns() {
        let (mut g, mut d) = pair();
        let rng = &mut Pcg64::seed_from_u64(4);
        let z = Tensor::randn([4, 2], rng);
        let labels = [0, 1, 2, 1];
        fn loss(
            g: &ConditionalGenerator<f64>,
            d: &ProjectionDiscriminator<f64>,
            z: &Tensor<f64>,
            labels: &[usize],
        ) -> Tensor<f64> {
            let images = g.forward_labelled(z, labels, Mode::Train);
            d.forward_labelled(&images, labels, Mode::Train).softplus().mean()
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
                            && path.to_string() == *name
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
    #[should_panic(expected = "latent vectors must be [3, 2] for so many labels, got [4, 2]")]
    fn labels_that_are_too_few_are_refused() {
        let (g, _) = pair();
        let _ = g.forward_labelled(&Tensor::zeros([4, 2]), &[0, 1, 2], Mode::Eval);
    }
}
