//! The training of a classifier on few labels, with or without a generator, and its checkpoints.

use super::extra_losses::ExtraLosses;
use super::labels::{LabeledBatches, pixels, unfit};
use super::loss::{conditional_entropy, feature_matching, labeled_loss, pull_away, unlabeled_loss};
use super::networks::{HIDDEN, LATENT, SemiSupervisedClassifier, generator};
use crate::error::TransferError;
use engraft_base::{argmax, batches, hex, seeds};
use engraft_data::{BatchState, Dataset};
use engraft_gan::checkpoint::{Checkpoint, decode, encode};
use engraft_gan::{Ema, GanError};
use engraft_layers::{
    Adam, Init, Mode, Module, Optimizer, OptimizerCounters, OptimizerState, Schedule, Sequential, StateDict,
    gradients, rng_states, set_rng_states,
};
use engraft_tensor::{Tensor, concat, no_grad};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Images after which an image's influence on the averaged weights has halved: the rate of 1e-4 a step of the authors.
const HALF_LIFE: u64 = 693_147;
/// Standard deviation of the classifier's initial weights, of which only the direction counts.
const INITIAL: f64 = 0.1;
/// What Adam adds to the root of the mean square of a gradient. The authors add 1e-8 under the root, which is this much for
/// gradients near 0: it decides how far weights move whose gradients have become small, and so it matters that the loss of
/// the generator is taken as the mean over the features.
const EPS: f64 = 1e-4;
/// Images that are classified at a time.
const AT_A_TIME: usize = 500;

/// The files of a checkpoint.
const CLASSIFIER: &str = "classifier.safetensors";
const AVERAGE: &str = "average.safetensors";
const GENERATOR: &str = "generator.safetensors";
const OPTIMIZERS: &str = "optimizers.safetensors";
const STATE: &str = "state.bin";

/// How a classifier is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct SemiSupervisedConfig {
    /// Training steps.
    pub steps: u64,
    /// Images of each kind in a step.
    pub batch: usize,
    /// Learning rate of both networks; it falls to 0 in a straight line over the last third of the steps.
    pub learning_rate: f64,
    /// Terms beside feature matching.
    pub extra_losses: ExtraLosses,
    /// Sizes of the classifier's hidden layers.
    pub hidden: Vec<usize>,
    /// Seed of weights, noise and order.
    pub seed: u64,
}

impl SemiSupervisedConfig {
    /// The authors' settings for MNIST: batches of 100, Adam with 0.003, a first decay of 0.5 and an eps of 1e-4, and the networks of
    /// [`HIDDEN`]. The fall of the learning rate is that of Dai et al., 2017.
    pub fn new(steps: u64, seed: u64) -> Self {
        Self {
            steps,
            batch: 100,
            learning_rate: 3e-3,
            extra_losses: ExtraLosses::default(),
            hidden: HIDDEN.to_vec(),
            seed,
        }
    }

    /// The text that enters a checkpoint's identity. It keeps the names of an earlier version, so that the checkpoints of
    /// that version still resume.
    fn identity_text(&self) -> String {
        let Self {
            steps,
            batch,
            learning_rate,
            extra_losses,
            hidden,
            seed,
        } = self;
        let ExtraLosses {
            pull_away,
            conditional_entropy,
        } = extra_losses;
        format!(
            "Settings {{ steps: {steps}, batch: {batch}, learning_rate: {learning_rate:?}, terms: Terms {{ pull_away: \
             {pull_away:?}, conditional_entropy: {conditional_entropy:?} }}, hidden: {hidden:?}, seed: {seed} }}"
        )
    }
}

/// What a classifier is trained on.
#[derive(Clone, Debug)]
pub struct Examples<'a> {
    /// Labeled images: of each data set those at the indices. Each set is served in batches of its own, and all count the
    /// same.
    pub labeled: Vec<(&'a Dataset, Vec<usize>)>,
    /// Images without labels, whose labels are not read; with them a generator takes part.
    pub unlabeled: Option<&'a Dataset>,
}

/// StepLosses of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLosses {
    /// Of the labeled images.
    pub labeled: f64,
    /// Of unlabeled and generated images, and the generator's.
    pub adversarial: Option<[f64; 2]>,
}

/// What the generator is and draws from.
struct Adversary<'a> {
    unlabeled: LabeledBatches<'a>,
    generator: Sequential,
    optimizer: Adam,
    latent: Pcg64,
}

/// A classifier in training: on labeled images alone, or as the discriminator of a generator too.
///
/// With unlabeled images, the discriminator minimizes [`labeled_loss`] and [`unlabeled_loss`], the generator
/// [`feature_matching`] over the number of features, both in one simultaneous step. The same examples, settings and seed give the same bits, on any number
/// of threads.
///
/// *Source*: Salimans et al., "Improved techniques for training GANs", 2016.
pub struct SemiSupervised<'a> {
    settings: SemiSupervisedConfig,
    /// Tells this training from those with other examples or settings.
    identity: String,
    labeled: Vec<LabeledBatches<'a>>,
    classifier: SemiSupervisedClassifier,
    average: SemiSupervisedClassifier,
    optimizer: Adam,
    adversary: Option<Adversary<'a>>,
    step: u64,
}

/// What random numbers are drawn for.
#[derive(Clone, Copy)]
enum Purpose {
    Classifier = 1,
    Generator,
    Latent,
    Unlabeled,
    /// The first set of labeled images; the others follow.
    Labeled,
}

fn stream(seed: u64, purpose: Purpose) -> u64 {
    seeds::derive(seed, purpose as u8)
}

impl<'a> SemiSupervised<'a> {
    /// A classifier that has learned nothing yet.
    ///
    /// # Errors
    /// [`TransferError::SemiSupervised`] if there are no labeled images, their labels are of fewer than two classes, sizes
    /// of images differ, or there are no steps.
    pub fn new(examples: Examples<'a>, settings: SemiSupervisedConfig) -> Result<Self, TransferError> {
        let sets = &examples.labeled;
        let labels = sets
            .iter()
            .flat_map(|(data, of)| of.iter().map(|&i| data.label(i)));
        let classes = labels.max().map_or(0, |most| usize::from(most) + 1);
        let mut problems = Vec::new();
        if classes < 2 {
            problems.push(format!(
                "labeled images of {classes} class(es): expected at least two"
            ));
        }
        if settings.batch < 2 || settings.steps == 0 {
            problems.push(format!(
                "{} steps of {} images: expected at least one step of two images",
                settings.steps, settings.batch
            ));
        }
        let all = sets.iter().map(|(data, _)| *data).chain(examples.unlabeled);
        let sizes: Vec<[usize; 3]> = all.map(Dataset::image_size).collect();
        if sizes.windows(2).any(|pair| pair[0] != pair[1]) {
            problems.push(format!("images of different sizes: {sizes:?}"));
        }
        if !problems.is_empty() {
            return Err(unfit(problems));
        }
        let identity = identity(&examples, &settings);
        let pixels = sizes[0].iter().product();
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
            SemiSupervisedClassifier::<f32>::with_hidden(pixels, &settings.hidden, classes, init);
        Ok(Self {
            optimizer: adam(),
            average: classifier.clone(),
            settings,
            identity,
            labeled,
            classifier,
            adversary,
            step: 0,
        })
    }

    /// One step of both networks.
    ///
    /// # Errors
    /// [`TransferError::Diverged`] if a loss is not a finite number.
    pub fn step(&mut self) -> Result<StepLosses, TransferError> {
        let batch = self.settings.batch;
        let tensor = |pixels: Vec<f32>| Tensor::from_vec([batch, pixels.len() / batch], pixels);
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
                // The graph holds the weights; without it they change in place.
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
        Ema::new(HALF_LIFE).update(&mut self.average, &self.classifier, batch, seen);
        self.step += 1;
        let [d, g] = losses.adversarial.unwrap_or_default();
        if [losses.labeled, d, g].iter().all(|loss| loss.is_finite()) {
            Ok(losses)
        } else {
            Err(TransferError::Diverged { step: self.step })
        }
    }

    /// All steps that are left; tells each with its number.
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

    /// Steps that are done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Probabilities of the classes, `[n, classes]`, of images `[n, pixels]` between 0 and 1, by the averaged weights.
    pub fn probabilities(&self, images: &Tensor) -> Tensor {
        no_grad(|| self.average.forward(images, Mode::Eval).softmax(1))
    }

    /// How many images of a data set the averaged weights put into another class than their label's.
    ///
    /// # Panics
    /// If the images have another size than those trained on.
    #[track_caller]
    pub fn error_count(&self, data: &Dataset) -> usize {
        let wrong = batches(data.len(), AT_A_TIME).map(|part| {
            let part: Vec<usize> = part.collect();
            let pixels = pixels(data, &part);
            let images = Tensor::from_vec([part.len(), pixels.len() / part.len()], pixels);
            let found = self.probabilities(&images);
            let classes = found.shape()[1];
            let rows = found.as_slice().chunks_exact(classes).zip(&part);
            rows.filter(|(row, i)| argmax(row) != usize::from(data.label(**i)))
                .count()
        });
        wrong.sum()
    }

    /// Everything that the next step depends on, for [`SemiSupervised::resume`], as the files of a [checkpoint](engraft_gan::checkpoint::CheckpointStore):
    /// both networks, the averaged weights, the optimizers, random numbers and the order of the images.
    ///
    /// # Errors
    /// If weights are no longer finite numbers.
    pub fn checkpoint_files(&self) -> Result<BTreeMap<String, Vec<u8>>, TransferError> {
        let (classifier, moments) = streams(&self.classifier, &self.optimizer);
        let mut moments = moments.with_prefix("classifier");
        let mut files = BTreeMap::from([
            (CLASSIFIER.into(), StateDict::of(&self.classifier).to_bytes()?),
            (AVERAGE.into(), StateDict::of(&self.average).to_bytes()?),
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

    /// Goes on from a checkpoint of the same training: on the same CPU bit for bit as if it had not been interrupted.
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
    /// If files are missing or damaged, or the checkpoint is that of a training with other images, labels or settings.
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
            found: format!("another one, of step {}", state.step),
            advice: "remove the checkpoint, or restore it from a copy",
        };
        let whole = state.labeled.len() == self.labeled.len()
            && state.adversary.is_some() == self.adversary.is_some()
            && state.step == checkpoint.step
            && state.classifier.counters.steps == state.step
            && (state.adversary.as_ref()).is_none_or(|of| of.generator.counters.steps == state.step);
        if !whole {
            return Err(damaged().into());
        }
        for (supply, at) in self.labeled.iter_mut().zip(state.labeled) {
            supply.resume(at)?;
        }
        dict(CLASSIFIER)?.apply(&mut self.classifier)?;
        dict(AVERAGE)?.apply(&mut self.average)?;
        let (moments, mut rest) = dict(OPTIMIZERS)?.split_prefix("classifier");
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
            let (moments, left) = rest.split_prefix("generator");
            rest = left;
            set_streams(generator, optimizer, saved.generator, moments)?;
        }
        if !rest.tensors().is_empty() {
            return Err(damaged().into());
        }
        self.step = state.step;
        Ok(self)
    }
}

/// Everything beside tensors that the next step depends on.
#[derive(Serialize, Deserialize)]
struct State {
    /// SHA-256 of what is trained on and how.
    identity: String,
    step: u64,
    labeled: Vec<BatchState>,
    classifier: Streams,
    adversary: Option<AdversaryState>,
}

/// What a network's training depends on beside tensors.
#[derive(Serialize, Deserialize)]
struct Streams {
    counters: OptimizerCounters,
    noise: BTreeMap<String, Pcg64>,
}

#[derive(Serialize, Deserialize)]
struct AdversaryState {
    unlabeled: BatchState,
    latent: Pcg64,
    generator: Streams,
}

/// SHA-256 of the settings, the images, which of them are labeled, and their labels.
fn identity(examples: &Examples<'_>, settings: &SemiSupervisedConfig) -> String {
    let mut hash = Sha256::new();
    hash.update(settings.identity_text());
    let mut data = |data: &Dataset, indices: &[usize]| {
        hash.update(format!(
            "{} {:?} {}",
            data.sha256(),
            data.image_size(),
            indices.len()
        ));
        for &i in indices {
            hash.update((i as u64).to_le_bytes());
            hash.update([data.label(i)]);
        }
    };
    for (labeled, indices) in &examples.labeled {
        data(labeled, indices);
    }
    if let Some(unlabeled) = examples.unlabeled {
        data(unlabeled, &[]);
    }
    hex(&hash.finalize())
}

fn streams(network: &dyn Module, optimizer: &Adam) -> (Streams, StateDict) {
    let OptimizerState { counters, tensors } = optimizer.state();
    let noise = rng_states(network);
    (Streams { counters, noise }, StateDict::from_tensors(tensors))
}

fn set_streams(
    network: &mut dyn Module,
    optimizer: &mut Adam,
    streams: Streams,
    moments: StateDict,
) -> Result<(), TransferError> {
    let state = OptimizerState {
        counters: streams.counters,
        tensors: moments.into_tensors(),
    };
    optimizer.load_state(state, network)?;
    Ok(set_rng_states(network, &streams.noise)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that the derived `Debug` of an earlier version gave.
    #[test]
    fn identity_text_is_that_of_an_earlier_version() {
        let mut config = SemiSupervisedConfig::new(7, 3);
        config.extra_losses.pull_away = 0.5;
        config.hidden = vec![16, 8];
        assert_eq!(
            config.identity_text(),
            "Settings { steps: 7, batch: 100, learning_rate: 0.003, terms: Terms { pull_away: 0.5, conditional_entropy: \
             0.0 }, hidden: [16, 8], seed: 3 }"
        );
    }
}
