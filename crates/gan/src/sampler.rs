//! A generator for sampling only.

use crate::class_prior::ClassPrior;
use crate::error::GanError;
use crate::latent::{as_image, fixed_labels, sampled_labels};
use crate::rng::{self, Purpose};
use engraft_layers::{Condition, Mode, Module, Sequential, SlotMut, first_part_not_finite, visit_mut};
use engraft_tensor::{Program, ProgramError, Real, Tensor, concat, no_grad};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// Images that decide whether a generator can be used.
const TRIED: usize = 2;

/// Generates images with fixed weights. Batch norms are [folded](Sequential::folded) into the preceding layers
/// once, which makes each batch faster.
///
/// ```
/// use engraft_gan::{Sampler, dcgan};
/// use engraft_layers::Init;
/// use rand::SeedableRng;
///
/// // To use saved weights, call `StateDict::load` and `apply` between these two lines.
/// let generator = dcgan::generator::<f32>(&mut Init::glorot(1));
/// let sampler = Sampler::new(generator, dcgan::LATENT);
/// let images = sampler.generate(2, &mut rand_pcg::Pcg64::seed_from_u64(1));
/// assert_eq!(images.shape(), [2, 28, 28, 1]);
/// ```
pub struct Sampler<T: Real = f32> {
    generator: Sequential<T>,
    latent: usize,
    classes: usize,
    prior: Option<ClassPrior>,
}

impl<T: Real> Sampler<T> {
    /// A sampler of a generator that maps latent vectors `[n, latent]` to images `[n, h, w, c]`.
    pub fn new(generator: Sequential<T>, latent: usize) -> Self {
        Self {
            generator: generator.folded(),
            latent,
            classes: 0,
            prior: None,
        }
    }

    /// Declares the generator class-conditional, with labels `0..classes`.
    #[must_use]
    pub fn classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Sets the distribution of the labels of generated images; `None` gives the classes equal shares. With a prior, only its
    /// classes count.
    #[must_use]
    pub fn prior(mut self, prior: Option<ClassPrior>) -> Self {
        if let Some(prior) = &prior {
            self.classes = prior.classes();
        }
        self.prior = prior;
        self
    }

    /// Distribution of the labels of generated images; `None` for equal shares.
    pub fn class_prior(&self) -> Option<&ClassPrior> {
        self.prior.as_ref()
    }

    /// Labels for `n` images, the same at each call: `0, 1, .., classes - 1, 0, ..`, or by the [prior](Sampler::prior) if there
    /// is one; [`Condition::None`] if the generator is unconditional.
    pub fn cyclic_labels(&self, n: usize) -> Condition<T> {
        fixed_labels(n, self.classes, self.prior.as_ref())
    }

    /// Label of the image of a seed: the seed modulo the number of classes, or a label by the [prior](Sampler::prior) that
    /// depends on the seed alone. 0 if the generator is unconditional.
    pub fn label_of_seed(&self, seed: u64) -> usize {
        match &self.prior {
            Some(prior) => prior.draw(&mut rng::stream(seed, Purpose::Label)),
            None => (seed % self.classes.max(1) as u64) as usize,
        }
    }

    /// Number of classes that the generator is conditioned on; 0 if it is unconditional.
    pub fn class_count(&self) -> usize {
        self.classes
    }

    /// The generator with its batch norms folded. Its output is not clipped.
    pub fn into_generator(self) -> Sequential<T> {
        self.generator
    }

    /// Length of the latent vectors.
    pub fn latent_dim(&self) -> usize {
        self.latent
    }

    /// Images `[n, h, w, c]` of latent vectors `z` `[n, latent]`, clipped to `[-1, 1]`; [`Condition::None`] if the generator is
    /// unconditional.
    ///
    /// ```
    /// use engraft_gan::{Sampler, dcgan};
    /// use engraft_layers::{Condition, Init, rand::SeedableRng, rand_pcg::Pcg64};
    /// use engraft_tensor::Tensor;
    ///
    /// let sampler = Sampler::new(dcgan::generator::<f32>(&mut Init::glorot(1)), dcgan::LATENT);
    /// // The truncation trick on the latent vector: smaller vectors give more typical and less diverse images.
    /// let z = Tensor::randn([2, sampler.latent_dim()], &mut Pcg64::seed_from_u64(1)) * 0.7;
    /// assert_eq!(sampler.generate_from(&z, &Condition::None).shape(), [2, 28, 28, 1]);
    /// ```
    ///
    /// # Panics
    /// If `z` has another shape, or the number of labels differs from `n`, or a label is not below the number of classes.
    #[track_caller]
    pub fn generate_from(&self, z: &Tensor<T>, condition: &Condition<T>) -> Tensor<T> {
        assert!(
            z.shape().len() == 2 && z.shape()[1] == self.latent,
            "generate_from: expected latent vectors [n, {}], got {:?}",
            self.latent,
            z.shape()
        );
        self.images(z, condition)
    }

    /// [`generate_from`](Self::generate_from) that checks the images.
    ///
    /// # Errors
    /// [`GanError::NotFinite`] with the layer if a value of an image is not finite. Finite weights can give such images.
    ///
    /// # Panics
    /// As [`generate_from`](Self::generate_from).
    #[track_caller]
    pub fn try_generate_from(&self, z: &Tensor<T>, condition: &Condition<T>) -> Result<Tensor<T>, GanError> {
        self.finite(self.generate_from(z, condition), z, condition)
    }

    /// The sampler, if a few images are finite.
    ///
    /// # Errors
    /// As [`try_generate_from`](Self::try_generate_from).
    pub fn checked(self) -> Result<Self, GanError> {
        let z = Tensor::randn([TRIED, self.latent], &mut Pcg64::seed_from_u64(1));
        self.try_generate_from(&z, &self.cyclic_labels(TRIED))?;
        Ok(self)
    }

    /// `n` images `[n, h, w, c]` from standard normal latent vectors, with labels `0, 1, .., classes - 1, 0, ..` if
    /// the generator is class-conditional, or random ones by its [prior](Sampler::prior). Equal to [`Gan::generate`](crate::Gan::generate) up to rounding.
    pub fn generate(&self, n: usize, rng: &mut impl Rng) -> Tensor<T> {
        let z = Tensor::randn([n, self.latent], rng);
        let condition = sampled_labels(n, self.classes, self.prior.as_ref(), rng);
        self.images(&z, &condition)
    }

    /// [`generate`](Self::generate) that checks the images. As bytes, values that are not a number would be black, and the features
    /// of black images are finite.
    ///
    /// # Errors
    /// As [`try_generate_from`](Self::try_generate_from).
    pub fn try_generate(&self, n: usize, rng: &mut impl Rng) -> Result<Tensor<T>, GanError> {
        let z = Tensor::randn([n, self.latent], rng);
        let condition = sampled_labels(n, self.classes, self.prior.as_ref(), rng);
        self.finite(self.images(&z, &condition), &z, &condition)
    }

    /// One image for each label, for example `&[3, 3, 7][..]`: `[labels, h, w, c]`.
    ///
    /// # Panics
    /// If the generator is unconditional, or a label is not below the number of classes.
    #[track_caller]
    pub fn generate_with(&self, condition: impl Into<Condition<T>>, rng: &mut impl Rng) -> Tensor<T> {
        let condition = condition.into();
        assert!(
            self.classes > 0 || matches!(condition, Condition::Classes(_) | Condition::Embedding(_)),
            "generate_with: the generator is not class-conditional"
        );
        self.images(&Tensor::randn([condition.len(), self.latent], rng), &condition)
    }

    /// `rows` latent interpolations of `steps` images each, `[rows · steps, h, w, c]`. Each goes along the sphere
    /// from one latent vector to another (slerp), with one label for each row if the generator is
    /// class-conditional.
    ///
    /// *Source*: White, "Sampling generative networks", 2016, section 2.1.
    ///
    /// # Panics
    /// If there are no rows or no steps.
    #[track_caller]
    pub fn interpolate(&self, rows: usize, steps: usize, rng: &mut impl Rng) -> Tensor<T> {
        assert!(
            rows > 0 && steps > 0,
            "interpolate: {rows} rows of {steps} images"
        );
        let [ends, others] = [0, 1].map(|_| Tensor::<T>::randn([rows, self.latent], rng));
        let walks: Vec<Tensor<T>> = (0..rows)
            .flat_map(|row| {
                let [a, b] = [&ends, &others].map(|v| v.narrow(0, row, 1));
                (0..steps).map(move |i| slerp(&a, &b, i as f64 / (steps.max(2) - 1) as f64))
            })
            .collect();
        let condition = match self.cyclic_labels(rows).labels() {
            None => Condition::None,
            Some(labels) => (0..rows * steps)
                .map(|i| labels[i / steps])
                .collect::<Vec<_>>()
                .into(),
        };
        self.images(&concat(&walks.iter().collect::<Vec<_>>(), 0), &condition)
    }

    /// The generator as [programs](Program) from one latent vector `[1, latent]` to one image `[1, h, w, c]`: one for each
    /// class, or a single one. They run without the layers of the generator and contain its weights.
    ///
    /// ```
    /// use engraft_gan::{Sampler, dcgan};
    /// use engraft_layers::{Condition, Init, rand::SeedableRng, rand_pcg::Pcg64};
    /// use engraft_tensor::Tensor;
    ///
    /// let sampler = || Sampler::new(dcgan::generator::<f32>(&mut Init::glorot(1)), dcgan::LATENT);
    /// let programs = sampler().into_programs()?;
    /// let z = Tensor::randn([1, dcgan::LATENT], &mut Pcg64::seed_from_u64(1));
    /// let image = sampler().generate_from(&z, &Condition::None);
    /// assert_eq!(programs[0].run(&[&z]).as_slice(), image.as_slice());
    /// # Ok::<(), engraft_tensor::ProgramError>(())
    /// ```
    ///
    /// # Errors
    /// If the generator has an operation that cannot be stored, such as one that is defined elsewhere.
    pub fn into_programs(mut self) -> Result<Vec<Program<T>>, ProgramError> {
        // What is computed from frozen weights alone is not recorded, and some of it is larger than the weights.
        visit_mut(&mut self.generator, |_, slot| {
            if let SlotMut::Parameter(parameter) = slot {
                parameter.unfreeze();
            }
        });
        let z = Tensor::zeros([1, self.latent]).as_leaf();
        let program = |label: usize| {
            let condition = match self.classes {
                0 => Condition::None,
                _ => Condition::from([label]),
            };
            let image = as_image(&self.generator.forward_with(&z, &condition, Mode::Eval));
            Program::record(&[&z], &image)
        };
        (0..self.classes.max(1)).map(program).collect()
    }

    /// Images of latent vectors with random labels, recorded for derivatives and not clipped.
    pub(crate) fn recorded(&self, z: &Tensor<T>, rng: &mut impl Rng) -> Tensor<T> {
        let labels: Vec<usize> = match self.classes {
            0 => Vec::new(),
            classes => (0..z.shape()[0])
                .map(|_| (rng.next_u64() % classes as u64) as usize)
                .collect(),
        };
        let condition = match labels.as_slice() {
            [] => Condition::None,
            labels => labels.into(),
        };
        self.generator.forward_with(z, &condition, Mode::Eval)
    }

    /// These images of latent vectors, if all values are finite.
    fn finite(
        &self,
        images: Tensor<T>,
        z: &Tensor<T>,
        condition: &Condition<T>,
    ) -> Result<Tensor<T>, GanError> {
        if images.is_finite() {
            return Ok(images);
        }
        let layer = no_grad(|| first_part_not_finite(&self.generator, z, condition, Mode::Eval));
        Err(GanError::NotFinite {
            layer: layer.unwrap_or_else(|| "unknown".into()),
        })
    }

    /// Images of latent vectors, clipped to `[-1, 1]`.
    fn images(&self, z: &Tensor<T>, condition: &Condition<T>) -> Tensor<T> {
        no_grad(|| as_image(&self.generator.forward_with(z, condition, Mode::Eval)))
    }
}

/// Spherical linear interpolation (slerp) between two vectors of the same shape: `a` at `t = 0`, `b` at `t = 1`.
///
/// Unlike linear interpolation, it keeps the norm of latent vectors near that of the training. Parallel vectors are interpolated
/// linearly.
///
/// *Source*: White, "Sampling generative networks", 2016, section 2.1.
///
/// ```
/// use engraft_gan::slerp;
/// use engraft_tensor::Tensor;
/// let [a, b] = [[1.0_f64, 0.0], [0.0, 1.0]].map(|v| Tensor::from_vec([1, 2], v.to_vec()));
/// let half = slerp(&a, &b, 0.5);
/// assert!((half.square().sum().item() - 1.0).abs() < 1e-12);
/// ```
pub fn slerp<T: Real>(a: &Tensor<T>, b: &Tensor<T>, t: f64) -> Tensor<T> {
    const PARALLEL: f64 = 1e-6;
    let norm = |v: &Tensor<T>| v.square().sum().item().into_f64().sqrt();
    let cosine = (a * b).sum().item().into_f64() / (norm(a) * norm(b));
    let angle = cosine.clamp(-1.0, 1.0).acos();
    // The angle with a vector of zeros is NaN.
    if angle.is_nan() || angle.sin() <= PARALLEL {
        return a * T::from_f64(1.0 - t) + b * T::from_f64(t);
    }
    let share = |x: f64| T::from_f64((x * angle).sin() / angle.sin());
    a * share(1.0 - t) + b * share(t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gan, dcgan};
    use engraft_layers::{Dense, Init, Slot, SlotMut, StateDict, visit, visit_mut};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    /// Largest difference between images of the reference generator with random statistics, scales and
    /// shifts, and those of its folded form, relative to the largest pixel.
    fn distance<T: Real>() -> f64 {
        let init = &mut Init::glorot(1);
        let mut gan = Gan::<T>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT);
        let rng = &mut Pcg64::seed_from_u64(2);
        visit_mut(&mut gan.generator, |path, slot| {
            let mut draw = |shape: &[usize], low| Tensor::uniform(shape, low, 1.5, rng);
            match slot {
                SlotMut::Parameter(p) if path.contains("norm") => {
                    p.set(&draw(p.tensor().shape(), -1.0));
                }
                SlotMut::Buffer(b) if path.ends_with("var") => {
                    b.set(&draw(b.tensor().shape(), 0.2));
                }
                SlotMut::Buffer(b) => b.set(&draw(b.tensor().shape(), -1.0)),
                _ => (),
            }
        });
        let expected = gan.generate(3, &mut Pcg64::seed_from_u64(3));
        let sampler = gan.into_sampler();
        let generated = sampler.generate(3, &mut Pcg64::seed_from_u64(3));
        let names: Vec<_> = StateDict::of(&sampler.generator)
            .into_tensors()
            .into_keys()
            .collect();
        let convolutions = [
            "block1.conv.bias",
            "block1.conv.weight",
            "block2.conv.bias",
            "block2.conv.weight",
        ];
        assert_eq!(names[..4], convolutions);
        assert_eq!(
            names[4..],
            ["stem.dense.bias", "stem.dense.weight", "to_image.weight"]
        );
        visit(&sampler.generator, |path, slot| {
            assert!(matches!(slot, Slot::Parameter(p) if !p.is_trainable()), "{path}");
        });
        let largest = |t: &Tensor<T>| {
            t.as_slice()
                .iter()
                .fold(0.0, |m: f64, v| m.max(v.abs().into_f64()))
        };
        let size = largest(&expected);
        assert!(0.05 < size && size < 0.9999, "the test would see nothing: {size}");
        largest(&(generated - expected)) / size
    }

    #[test]
    fn a_walk_begins_and_ends_at_its_latent_vectors() {
        let generator = || dcgan::generator::<f64>(&mut Init::glorot(1));
        let sampler = Sampler::new(generator(), dcgan::LATENT);
        let walk = sampler.interpolate(1, 3, &mut Pcg64::seed_from_u64(4));
        let rng = &mut Pcg64::seed_from_u64(4);
        for at in [0, 2] {
            let z = Tensor::randn([1, dcgan::LATENT], rng);
            let end = no_grad(|| generator().forward(&z, Mode::Eval));
            let apart = (walk.narrow(0, at, 1) - end).abs().sum().item();
            assert!(apart < 1e-6, "{apart}");
        }
    }

    #[test]
    fn interpolation_between_equal_vectors_is_finite() {
        let a = Tensor::from_vec([1, 2], vec![3.0_f32, 4.0]);
        let halfway = slerp(&a, &a, 0.5);
        assert!((halfway - &a).abs().sum().item() < 1e-5);
        let zero = Tensor::<f32>::zeros([1, 2]);
        assert_eq!(slerp(&zero, &a, 1.0).as_slice(), a.as_slice());
    }

    /// A generator whose images are 0, or not a number if the latent vector times `weight` overflows: infinity minus infinity.
    fn overflowing(weight: f32) -> Sequential<f32> {
        let init = &mut Init::glorot(1);
        let mut generator = Sequential::<f32>::new()
            .add("first", Dense::new(1, 2, init).no_bias())
            .add("second", Dense::new(2, 1, init).no_bias());
        let weights = [
            ("first.weight", Tensor::full([1, 2], weight)),
            ("second.weight", Tensor::from_vec([2, 1], vec![1.0, -1.0])),
        ];
        let weights = weights.map(|(name, values)| (name.to_string(), values));
        StateDict::from_tensors(weights.into())
            .apply(&mut generator)
            .unwrap();
        generator
    }

    #[test]
    fn fault_11_latent_vectors_for_which_finite_weights_overflow_are_refused_with_the_layer() {
        // It overflows beyond 5.67.
        let generator = overflowing(6e37);
        // The latent vectors that are tried when a run is opened are among the harmless ones.
        let sampler = Sampler::new(generator, 1).checked().unwrap();
        let generated = |z: &[f32]| {
            sampler.try_generate_from(&Tensor::from_vec([z.len(), 1], z.to_vec()), &Condition::None)
        };
        for harmless in [&[0.0, 1.0, -5.0][..], &[5.6]] {
            assert!(generated(harmless).unwrap().as_slice().iter().all(|x| *x == 0.0));
        }
        for harmful in [&[6.0][..], &[-6.0], &[0.0, 1.0, 6.0, 1.0]] {
            match generated(harmful) {
                Err(GanError::NotFinite { layer }) => assert_eq!(layer, "first", "{harmful:?}"),
                Err(other) => panic!("{harmful:?}: {other}"),
                Ok(images) => panic!("{harmful:?}: {:?}", images.as_slice()),
            }
        }
        // The same for random ones, of which a large number has a harmful one.
        let draw = || Pcg64::seed_from_u64(1);
        let (one, expected) = (
            sampler.try_generate(1, &mut draw()),
            sampler.generate(1, &mut draw()),
        );
        assert_eq!(one.unwrap().as_slice(), expected.as_slice());
        match Sampler::new(overflowing(3e38), 1).try_generate(100, &mut draw()) {
            Err(GanError::NotFinite { layer }) => assert_eq!(layer, "first"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sampler_generates_the_images_of_the_gan() {
        let (single, double) = (distance::<f32>(), distance::<f64>());
        assert!(single < 1e-5 && double < 1e-12, "{single:e}, {double:e}");
    }
}
