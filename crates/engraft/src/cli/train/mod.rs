//! `engraft train`: trains a GAN on images and shows its progress.

mod augmentation;
mod data;
mod display;
mod run_state;
mod scale;
mod settings;

use super::advice;
use super::data_source::write_report;
use super::options::{Preset, Train};
use super::output_dir::{ensure_not_data, ensure_usable};
use super::process::{Interrupted, catch_interrupts, pool, stop_or_continue};
use super::program::program;
use super::ranks::Ranks;
use super::tensorboard::EventFile;
use display::{Display, Style};
use engraft_data::{Report, TrainingData};
use engraft_gan::{Event, GanError, TrainConfig, Trainer, TrainingOutcome};
use std::sync::Arc;
use std::time::Instant;

/// Trains a run, or resumes it.
///
/// # Errors
/// Those of the run, and [`Interrupted`] after a signal.
pub fn run(options: &Train) -> anyhow::Result<()> {
    run_on(options, None)
}

/// [`run`] on the ranks of a distributed run, each of which calls this.
pub(super) fn run_on(options: &Train, ranks: Option<&Ranks>) -> anyhow::Result<()> {
    let pool = pool(options.threads.or(ranks.map(|ranks| ranks.threads)))?;
    if is_first(ranks) {
        ensure_usable(options.out.as_deref())?;
        if let Some(data) = &options.data {
            ensure_not_data(options.out.as_deref(), data)?;
        }
    }
    catch_interrupts("finishing this step, then saving")?;
    let mut display = Display::new(Style::choose(options.quiet, options.json));
    let what = match settings::named_network(options) {
        _ if options.config.is_some() => "the settings of another run".to_string(),
        Some(other) if other != "dcgan" => format!("the networks {other}"),
        None if options.preset == Preset::R3gan => "the networks residual (R3GAN)".into(),
        None if options.preset == Preset::Light => "the networks light".into(),
        None if settings::chooses_by_size(options) && settings::is_own_data(options) => {
            "networks for the size of the images".into()
        }
        _ => "the networks dcgan".into(),
    };
    display.say(&format!("engraft: training a GAN with {what}"));
    let result = pool.install(|| train(options, ranks, &mut display));
    display.clear();
    result.map_err(|error| match advice::gan_error(&error) {
        Some(GanError::ImageSize { network, found, .. }) => {
            let text = data::advice_on_size(network, *found);
            advice::with(error, text)
        }
        _ => advice::on_training(error),
    })
}

/// The images of a training, and the settings that its options start from.
pub(super) struct Prepared {
    pub(super) data: Arc<dyn TrainingData>,
    other: Option<TrainConfig>,
    report: Report,
    held_out: Option<usize>,
}

/// Finds the images of a training.
///
/// # Errors
/// If there are none, or the networks do not support their size.
pub(super) fn prepare(options: &Train) -> anyhow::Result<Prepared> {
    let mut display = Display::new(Style::choose(options.quiet, options.json));
    find_images(options, &mut display)
}

fn find_images(options: &Train, display: &mut Display) -> anyhow::Result<Prepared> {
    settings::ensure_one_kind_of_classes(options)?;
    let other = options
        .config
        .as_deref()
        .map(engraft_gan::read_settings)
        .transpose()?;
    if let Some(other) = &other {
        data::ensure_possible(other)?;
    }
    let network = settings::network(options, other.as_ref());
    let data::Found {
        data,
        report,
        held_out,
    } = data::find(options, other.as_ref(), &network, display)?;
    Ok(Prepared {
        data,
        other,
        report,
        held_out,
    })
}

impl Prepared {
    /// Whether pictures are held out for `evaluate`.
    pub(super) fn holds_out(&self) -> bool {
        self.held_out.is_some_and(|count| count > 0)
    }

    /// The settings of a training on these images.
    ///
    /// # Errors
    /// If they are invalid, or do not fit the images.
    pub(super) fn config(&self, options: &Train, has_ranks: bool) -> anyhow::Result<TrainConfig> {
        let data = self.data.as_ref();
        let config = settings::settings(options, self.other.clone(), data, has_ranks)?;
        config.check()?;
        config.check_data(data)?;
        Ok(config)
    }
}

/// Below this number of pictures, a transfer is worth a try.
const FEW: usize = 200;

/// Whether this process writes the run: the only one, or rank 0.
fn is_first(ranks: Option<&Ranks>) -> bool {
    ranks.is_none_or(|ranks| ranks.communicator.rank() == 0)
}

fn train(options: &Train, ranks: Option<&Ranks>, display: &mut Display) -> anyhow::Result<()> {
    let prepared = find_images(options, display)?;
    let config = prepared.config(options, ranks.is_some())?;
    let Prepared {
        data,
        report,
        held_out,
        ..
    } = prepared;
    let threads = rayon::current_num_threads();
    if let Some(reason) = settings::reason(options, config.image) {
        display.say(&reason);
    }
    if held_out.is_some() && config.images < FEW {
        display.say(&format!(
            "  few pictures   {} images overfit soon; `{} transfer` starts from a trained GAN, and tells how close the images are to its own",
            config.images,
            program()
        ));
    }
    if let Some(held_out) = held_out {
        display.say(&format!(
            "  split          {} for training, {} for validation, {held_out} held out for evaluate",
            config.trained_on(),
            config.validation_images
        ));
    }
    let mut builder =
        Trainer::builder(config.clone(), data.clone()).accept_changed_data(options.accept_changed_data);
    let out = match &options.out {
        Some(out) => out.clone(),
        None => settings::default_directory(options, &config, |directory| builder.fits(directory)),
    };
    display.plan(
        &config,
        data.as_ref(),
        &out,
        threads,
        options.dry_run && ranks.is_none(),
    )?;
    if let Some(ranks) = ranks {
        display.say(&ranks.plan(threads));
    }
    if options.dry_run {
        if !options.fresh && !builder.fits(&out) {
            display.warn(&format!(
                "{} has a run of other settings or images, which this training would not replace; --out chooses another directory, \
                 --fresh moves that run aside",
                out.display()
            ));
        } else if let Some(state) = run_state::line(options, &config, &out) {
            display.say(&state);
        }
        return Ok(());
    }
    if let Some(ranks) = ranks {
        builder = builder.communicator(ranks.communicator.clone());
    }
    if !is_first(ranks) {
        return Ok(builder.follow()?);
    }
    if options.fresh
        && let Some(old) = Trainer::set_aside(&out)?
    {
        display.say(&format!("moved the earlier run to {}", old.display()));
    }
    let mut trainer = builder.open(&out)?;
    write_report(&out, &report)?;
    if let Some(clusters) = trainer.pseudo_labels() {
        display.clusters(clusters);
    }
    let board = EventFile::create(options.tensorboard, &out)?;
    let (begin, sent) = (trainer.step(), ranks.map(Ranks::traffic));
    let start = Instant::now();
    let outcome = follow(&mut trainer, data.as_ref(), display, board)?;
    display.end(&trainer, &out, outcome);
    if let (Some(ranks), Some(sent)) = (ranks, sent) {
        display.say(&ranks.summary(sent, trainer.step() - begin, start.elapsed()));
    }
    match outcome {
        TrainingOutcome::Finished | TrainingOutcome::Plateau | TrainingOutcome::Complete => Ok(()),
        TrainingOutcome::Stopped => Err(Interrupted.into()),
    }
}

/// Trains, shows all events, and writes them for TensorBoard.
fn follow(
    trainer: &mut Trainer,
    data: &dyn TrainingData,
    display: &mut Display,
    mut board: EventFile,
) -> anyhow::Result<TrainingOutcome> {
    let config: TrainConfig = trainer.config().clone();
    display.begin(trainer.step(), &config);
    let start = Instant::now();
    // A run that goes on has shown it.
    let mut has_scale = trainer.step() > 0 || !display.shows_text();
    let outcome = trainer.train(&mut |event: Event| {
        display.event(&event, start);
        if matches!(event, Event::Measured { .. }) && !std::mem::replace(&mut has_scale, true) {
            scale::show(&config, data, display);
        }
        if let Some(problem) = board.record(&event) {
            display.event(&Event::Warning(problem), start);
        }
        stop_or_continue()
    });
    display.clear();
    Ok(outcome?)
}
