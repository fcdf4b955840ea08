//! Training of a classifier with few labels, with or without a generator, and its checkpoints.

use super::config::{Examples, SemiSupervisedConfig, identity};
use super::consensus::misclassified;
use super::labels::{LabeledBatches, pixels, setup_error};
use super::loss::{conditional_entropy, feature_matching, labeled_loss, pull_away, unlabeled_loss};
use super::networks::{LATENT, SemiSupervisedClassifier, generator};
use super::shift::shift_images;
use super::state::{
    AdversaryState, CLASSIFIER, EMA, GENERATOR, OPTIMIZERS, STATE, State, set_streams, streams,
};
use crate::error::TransferError;
use engraft_base::{batches, seeds};
use engraft_data::Dataset;
use engraft_gan::checkpoint::{Checkpoint, decode, encode};
use engraft_gan::{Ema, GanError};
use engraft_layers::{Adam, Init, Mode, Module, Optimizer, Schedule, Sequential, StateDict, gradients};
use engraft_tensor::{Tensor, concat, no_grad};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;

/// Half-life of the weights' EMA in images. It corresponds to the authors' rate of 1e-4 per step.
const HALF_LIFE: u64 = 693_147;
/// Standard deviation of the classifier's initial weights. Weight normalization uses only their direction.
const INITIAL: f64 = 0.1;
/// Adam's epsilon. The authors add 1e-8 under the root, which equals 1e-4 for gradients near 0. It limits the steps of weights
/// with small gradients, so it matters that the generator's loss is a mean over features.
const EPS: f64 = 1e-4;
/// Number of images per batch in evaluation.
const BATCH: usize = 500;

/// Losses of one training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLosses {
    /// [`labeled_loss`] of the labeled images.
    pub labeled: f64,
    /// Loss of unlabeled and generated images, and loss of the generator; `None` without a generator.
    pub adversarial: Option<[f64; 2]>,
}

/// The generator with its optimizer and random numbers, and the unlabeled images.
struct Adversary<'a> {
    unlabeled: LabeledBatches<'a>,
    generator: Sequential,
    optimizer: Adam,
    latent: Pcg64,
}

/// Training of a classifier on labeled images only, or also as the discriminator of a GAN.
///
/// With unlabeled images the discriminator minimizes [`labeled_loss`] plus [`unlabeled_loss`]. The generator minimizes
/// [`feature_matching`] divided by the number of features. Both step simultaneously. The same data, settings and seed give the
/// same bits with any number of threads. The [module](crate::semi_supervised) has an example.
///
/// *Source*: Salimans et al., "Improved techniques for training GANs", 2016.
pub struct SemiSupervised<'a> {
    settings: SemiSupervisedConfig,
    /// SHA-256 of data and settings.
    identity: String,
    /// Height, width and channels.
    image_size: [usize; 3],
    labeled: Vec<LabeledBatches<'a>>,
    classifier: SemiSupervisedClassifier,
    ema: SemiSupervisedClassifier,
    optimizer: Adam,
    adversary: Option<Adversary<'a>>,
    step: u64,
}

/// Purpose of a random stream.
#[derive(Clone, Copy)]
enum Purpose {
    Classifier = 1,
    Generator,
    Latent,
    Unlabeled,
    /// Batch order of the first labeled set; other sets have the following seeds.
    Labeled,
    /// Shifts of images. Each step has a stream of its own.
    Shift,
}

fn stream(seed: u64, purpose: Purpose) -> u64 {
    seeds::derive(seed, purpose as u8)
}

impl<'a> SemiSupervised<'a> {
    /// A new training at step 0.
    ///
    /// # Errors
    /// [`TransferError::SemiSupervised`] for fewer than two classes of labeled images, different image sizes, no steps, a batch
    /// size below 2, or shifts as large as the images.
    pub fn new(examples: Examples<'a>, settings: SemiSupervisedConfig) -> Result<Self, TransferError> {
        let sets = &examples.labeled;
        let labels = sets
            .iter()
            .flat_map(|(data, indices)| indices.iter().map(|&i| data.label(i)));
        let classes = labels.max().map_or(0, |largest| usize::from(largest) + 1);
        // A class of the data without a labeled image has an output too.
        let outputs = sets.iter().map(|(data, _)| data.class_counts().len());
        let outputs = outputs.fold(classes, usize::max);
        let mut problems = Vec::new();
        if classes < 2 {
            problems.push(format!(
                "the labeled images have {classes} class(es); expected at least two"
            ));
        }
        if settings.batch < 2 || settings.steps == 0 {
            problems.push(format!(
                "{} steps with batches of {}; expected at least 1 step and batches of at least 2",
                settings.steps, settings.batch
            ));
        }
        let all = sets.iter().map(|(data, _)| *data).chain(examples.unlabeled);
        let sizes: Vec<[usize; 3]> = all.map(Dataset::image_size).collect();
        if sizes.windows(2).any(|pair| pair[0] != pair[1]) {
            problems.push(format!(
                "the images have different sizes: {sizes:?}; expected one size"
            ));
        }
        if let Some([height, width, _]) = sizes.first()
            && settings.shift > 0
            && settings.shift >= *height.min(width)
        {
            problems.push(format!(
                "shifts of up to {} pixels of images of {height}x{width} pixels; expected fewer than {}",
                settings.shift,
                height.min(width)
            ));
        }
        if !problems.is_empty() {
            return Err(setup_error(problems));
        }
        let identity = identity(&examples, &settings);
        let image_size = sizes[0];
        let pixels = image_size.iter().product();
        let SemiSupervisedConfig { batch, seed, .. } = settings;
        let mut labeled = Vec::new();
        for (i, (data, indices)) in examples.labeled.into_iter().enumerate() {
            let seed = stream(seed, Purpose::Labeled).wrapping_add(i as u64);
            labeled.push(LabeledBatches::new(data, indices, batch, seed)?);
        }
        let schedule = Schedule::LinearDecay {
            from: settings.steps - settings.steps / 3,
            to: settings.steps,
        };
        let adam = || {
            Adam::new(settings.learning_rate)
                .betas(0.5, 0.999)
                .eps(EPS)
                .schedule(schedule.clone())
        };
        let adversary = match examples.unlabeled {
            None => None,
            Some(data) => {
                let all = (0..data.len()).collect();
                Some(Adversary {
                    unlabeled: LabeledBatches::new(data, all, batch, stream(seed, Purpose::Unlabeled))?,
                    generator: generator(pixels, &mut Init::glorot(stream(seed, Purpose::Generator))),
                    optimizer: adam(),
                    latent: Pcg64::seed_from_u64(stream(seed, Purpose::Latent)),
                })
            }
        };
        let init = &mut Init::normal(stream(seed, Purpose::Classifier), INITIAL);
        let classifier =
            SemiSupervisedClassifier::<f32>::with_hidden(pixels, &settings.hidden, outputs, init);
        Ok(Self {
            optimizer: adam(),
            ema: classifier.clone(),
            settings,
            identity,
            image_size,
            labeled,
            classifier,
            adversary,
            step: 0,
        })
    }

    /// Runs one training step of both networks.
    ///
    /// # Errors
    /// [`TransferError::Diverged`] if a loss is not a finite number.
    pub fn step(&mut self) -> Result<StepLosses, TransferError> {
        let batch = self.settings.batch;
        let shift = self.settings.shift;
        let mut shifts = self.shifts();
        let mut tensor = |mut pixels: Vec<f32>| {
            shift_images(&mut pixels, self.image_size, shift, &mut shifts);
            Tensor::from_vec([batch, pixels.len() / batch], pixels)
        };
        let mut images = Vec::new();
        let mut labels = Vec::new();
        for supply in &mut self.labeled {
            let (pixels, of) = supply.next_batch();
            images.push(tensor(pixels));
            labels.extend(of);
        }
        if let Some(adversary) = &mut self.adversary {
            images.push(tensor(adversary.unlabeled.next_batch().0));
        }
        let images = concat(&images.iter().collect::<Vec<_>>(), 0);
        let [features, logits] = self.classifier.classify(&images, Mode::Train);
        let of_labeled = labeled_loss(&logits.narrow(0, 0, labels.len()), &labels);
        let losses = match &mut self.adversary {
            None => {
                let found = gradients(&of_labeled, &self.classifier);
                let labeled = f64::from(of_labeled.item());
                // Drop the graph, so that the weights change in place.
                drop((features, logits, of_labeled));
                self.optimizer.step(&mut self.classifier, &found);
                StepLosses {
                    labeled,
                    adversarial: None,
                }
            }
            Some(adversary) => {
                let terms = self.settings.extra_losses;
                let z = Tensor::uniform([batch, LATENT], 0.0, 1.0, &mut adversary.latent);
                let fake = adversary.generator.forward(&z, Mode::Train);
                let [fake_features, fake_logits] = self.classifier.classify(&fake, Mode::Train);
                let real_logits = logits.narrow(0, labels.len(), batch);
                let real_features = features.narrow(0, labels.len(), batch).detach();
                let mut of_unlabeled = unlabeled_loss(&real_logits, &fake_logits);
                if terms.conditional_entropy != 0.0 {
                    let term = conditional_entropy(&real_logits);
                    of_unlabeled = of_unlabeled + term * terms.conditional_entropy as f32;
                }
                let dimension = real_features.shape()[1] as f32;
                let mut of_generator = feature_matching(&real_features, &fake_features) / dimension;
                if terms.pull_away != 0.0 {
                    of_generator = of_generator + pull_away(&fake_features) * terms.pull_away as f32;
                }
                let of_generator_weights = gradients(&of_generator, &adversary.generator);
                let found = gradients(&(&of_labeled + &of_unlabeled), &self.classifier);
                let item = |loss: &Tensor| f64::from(loss.item());
                let losses = StepLosses {
                    labeled: item(&of_labeled),
                    adversarial: Some([item(&of_unlabeled), item(&of_generator)]),
                };
                drop((fake, fake_features, fake_logits, real_logits, real_features));
                drop((of_unlabeled, of_generator));
                drop((features, logits, of_labeled));
                self.optimizer.step(&mut self.classifier, &found);
                adversary
                    .optimizer
                    .step(&mut adversary.generator, &of_generator_weights);
                losses
            }
        };
        let seen = self.step * batch as u64;
        Ema::new(HALF_LIFE).update(&mut self.ema, &self.classifier, batch, seen);
        self.step += 1;
        let [d, g] = losses.adversarial.unwrap_or_default();
        if [losses.labeled, d, g].iter().all(|loss| loss.is_finite()) {
            Ok(losses)
        } else {
            Err(TransferError::Diverged { step: self.step })
        }
    }

    /// Random numbers of the shifts of the next step. They are a function of seed and step, so a checkpoint does not need them.
    fn shifts(&self) -> Pcg64 {
        let SemiSupervisedConfig { seed, steps, .. } = self.settings;
        let seed = stream(seed, Purpose::Shift);
        Pcg64::seed_from_u64(seeds::numbered(seed, steps, self.step))
    }

    /// Runs all remaining steps. `on_step` receives the training, the number of the step and its losses.
    ///
    /// # Errors
    /// Those of [`SemiSupervised::step`].
    pub fn train(&mut self, on_step: &mut dyn FnMut(&Self, u64, StepLosses)) -> Result<(), TransferError> {
        while self.step < self.settings.steps {
            let losses = self.step()?;
            on_step(self, self.step, losses);
        }
        Ok(())
    }

    /// Number of completed steps.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Class probabilities `[n, classes]` of images `[n, pixels]` with values between 0 and 1, by the EMA weights.
    pub fn probabilities(&self, images: &Tensor) -> Tensor {
        no_grad(|| self.ema.forward(images, Mode::Eval).softmax(1))
    }

    /// Class probabilities `[n, classes]` of the `n` images of a data set, by the EMA weights.
    ///
    /// # Panics
    /// If the image size is not that of the training images, or there are no images.
    #[must_use]
    #[track_caller]
    pub fn dataset_probabilities(&self, data: &Dataset) -> Tensor {
        let parts = batches(data.len(), BATCH).map(|part| {
            let part: Vec<usize> = part.collect();
            let pixels = pixels(data, &part);
            let images = Tensor::from_vec([part.len(), pixels.len() / part.len()], pixels);
            self.probabilities(&images)
        });
        let parts: Vec<Tensor> = parts.collect();
        concat(&parts.iter().collect::<Vec<_>>(), 0)
    }

    /// Number of images of a data set that the EMA weights misclassify.
    ///
    /// # Panics
    /// If the image size is not that of the training images.
    #[track_caller]
    pub fn error_count(&self, data: &Dataset) -> usize {
        match data.is_empty() {
            true => 0,
            false => misclassified(&self.dataset_probabilities(data), data.labels()),
        }
    }

    /// The files of a [checkpoint](engraft_gan::checkpoint::CheckpointStore), for [`SemiSupervised::resume`].
    ///
    /// They hold both networks, the EMA weights, the optimizers, the random states and the batch order.
    ///
    /// # Errors
    /// If a weight is not finite.
    pub fn checkpoint_files(&self) -> Result<BTreeMap<String, Vec<u8>>, TransferError> {
        let (classifier, moments) = streams(&self.classifier, &self.optimizer);
        let mut moments = moments.with_prefix("classifier");
        let mut files = BTreeMap::from([
            (CLASSIFIER.into(), StateDict::of(&self.classifier).to_bytes()?),
            (EMA.into(), StateDict::of(&self.ema).to_bytes()?),
        ]);
        let mut adversary = None;
        if let Some(of) = &self.adversary {
            files.insert(GENERATOR.into(), StateDict::of(&of.generator).to_bytes()?);
            let (generator, its_moments) = streams(&of.generator, &of.optimizer);
            moments = moments.merge(its_moments.with_prefix("generator"))?;
            adversary = Some(AdversaryState {
                unlabeled: of.unlabeled.state(),
                latent: of.latent.clone(),
                generator,
            });
        }
        let state = State {
            identity: self.identity.clone(),
            step: self.step,
            labeled: self.labeled.iter().map(|supply| supply.state()).collect(),
            classifier,
            adversary,
        };
        files.insert(OPTIMIZERS.into(), moments.to_bytes()?);
        files.insert(STATE.into(), encode(&state)?);
        Ok(files)
    }

    /// Resumes from a checkpoint of the same training. On the same CPU the result is the same bit for bit as without an
    /// interruption.
    ///
    /// ```
    /// use engraft_data::{Split, drawn_digits};
    /// use engraft_gan::checkpoint::CheckpointStore;
    /// use engraft_transfer::semi_supervised::{Examples, SemiSupervised, SemiSupervisedConfig, select_labeled};
    ///
    /// let train = drawn_digits(Split::Train, 40, 1);
    /// let new = || -> Result<_, Box<dyn std::error::Error>> {
    ///     let labeled = vec![(&train, select_labeled(train.labels(), 20, 1)?)];
    ///     let mut settings = SemiSupervisedConfig::new(3, 1);
    ///     (settings.batch, settings.hidden) = (20, vec![16]);
    ///     Ok(SemiSupervised::new(Examples { labeled, unlabeled: None }, settings)?)
    /// };
    /// let run = tempfile::tempdir()?;
    /// let mut store = CheckpointStore::open(run.path(), 1)?;
    /// let mut task = new()?;
    /// task.step()?;
    /// store.save(task.steps_done(), "", &task.checkpoint_files()?)?;
    ///
    /// let saved = store.latest()?.expect("one was saved").checkpoint;
    /// let mut again = new()?.resume(&saved)?;
    /// assert_eq!(again.step()?, task.step()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If files are missing or damaged. [`TransferError::OtherTraining`] if images, labels or settings differ.
    pub fn resume(mut self, checkpoint: &Checkpoint) -> Result<Self, TransferError> {
        let dict = |name: &str| -> Result<StateDict, TransferError> {
            let path = checkpoint.file_path(name);
            Ok(StateDict::from_bytes(checkpoint.file(name)?, &path)?)
        };
        let path = checkpoint.file_path(STATE);
        let state: State = decode(checkpoint.file(STATE)?, &path)?;
        if state.identity != self.identity || state.step > self.settings.steps {
            return Err(TransferError::OtherTraining {
                path: checkpoint.path.clone(),
            });
        }
        let damaged = || GanError::Format {
            path: path.clone(),
            offset: None,
            expected: format!("the state of this training at step {}", checkpoint.step),
            found: format!("a state of step {}", state.step),
            advice: "remove the checkpoint or restore it from a copy",
        };
        let is_consistent = state.labeled.len() == self.labeled.len()
            && state.adversary.is_some() == self.adversary.is_some()
            && state.step == checkpoint.step
            && state.classifier.counters.steps == state.step
            && (state.adversary.as_ref()).is_none_or(|of| of.generator.counters.steps == state.step);
        if !is_consistent {
            return Err(damaged().into());
        }
        for (supply, at) in self.labeled.iter_mut().zip(state.labeled) {
            supply.resume(at)?;
        }
        dict(CLASSIFIER)?.apply(&mut self.classifier)?;
        dict(EMA)?.apply(&mut self.ema)?;
        let (moments, mut remaining) = dict(OPTIMIZERS)?.split_prefix("classifier");
        set_streams(
            &mut self.classifier,
            &mut self.optimizer,
            state.classifier,
            moments,
        )?;
        if let (Some(of), Some(saved)) = (&mut self.adversary, state.adversary) {
            let Adversary {
                unlabeled,
                generator,
                optimizer,
                latent,
            } = of;
            unlabeled.resume(saved.unlabeled)?;
            *latent = saved.latent;
            dict(GENERATOR)?.apply(generator)?;
            let (moments, others) = remaining.split_prefix("generator");
            remaining = others;
            set_streams(generator, optimizer, saved.generator, moments)?;
        }
        if !remaining.tensors().is_empty() {
            return Err(damaged().into());
        }
        self.step = state.step;
        Ok(self)
    }
}
