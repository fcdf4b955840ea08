//! What a run writes: sample grids, curves, its page, checkpoints.

use super::{COLUMNS, CURVES, Event, SAMPLE_FOLDER, SAMPLES, STANDING, Trainer};
use crate::checkpoint::write_atomically;
use crate::curves::loss_curves;
use crate::error::GanError;
use crate::grid::sample_grid;
use crate::report::{REPORT, report};
use crate::rng::{self, Purpose};
use crate::snapshot;
use crate::standing::standing_statistics;
use engraft_layers::{Mode, Module};
use engraft_tensor::no_grad;
use std::path::PathBuf;

impl Trainer {
    /// The sample grid and the curves; a warning if they cannot be written.
    pub(super) fn samples(&mut self) -> Event {
        self.take_standing_statistics();
        self.write_samples().unwrap_or_else(|error| {
            Event::Warning(format!(
                "step {}: no samples or curves: {error}",
                self.progress.step
            ))
        })
    }

    pub(super) fn samples_path(&self) -> PathBuf {
        let name = format!("step-{:06}.png", self.progress.step);
        self.directory.join(SAMPLE_FOLDER).join(name)
    }

    /// Writes the sample grid, of the same noise every time, the loss curves, and the page that shows it all.
    fn write_samples(&self) -> Result<Event, GanError> {
        let noise = self
            .progress
            .gan
            .noise(SAMPLES, &mut rng::stream(self.config.seed, Purpose::Samples));
        let images = no_grad(|| self.sampler().forward(&noise, Mode::Eval));
        let path = self.samples_path();
        let folder = self.directory.join(SAMPLE_FOLDER);
        std::fs::create_dir_all(&folder).map_err(|e| GanError::io(&folder, "creating", e))?;
        write_atomically(&path, &sample_grid(&images, COLUMNS))?;
        let curves = loss_curves(self.log.losses());
        write_atomically(&self.directory.join(CURVES), curves.as_bytes())?;
        let page = report(
            &self.config,
            self.log.losses(),
            &self.progress.state,
            self.progress.step,
            &folder,
        )?;
        write_atomically(&self.directory.join(REPORT), page.as_bytes())?;
        Ok(Event::Samples {
            step: self.progress.step,
            path,
        })
    }

    /// Takes the averaged generator's running statistics anew, of the same noise every time, if that is asked for and
    /// not done for these weights. The next step of the average puts those of the live one in their place.
    pub(super) fn take_standing_statistics(&mut self) {
        let batches = self.config.standing_batches;
        let progress = &mut self.progress;
        let Some((_, average)) = progress.average.as_mut().filter(|_| batches > 0) else {
            return;
        };
        if self.standing != Some(progress.step) {
            let mut noise = rng::stream(self.config.seed, Purpose::Standing);
            let gan = &progress.gan;
            standing_statistics(average, (0..batches).map(|_| gan.noise(STANDING, &mut noise)));
            self.standing = Some(progress.step);
        }
    }

    pub(super) fn save(&mut self) -> Result<Event, GanError> {
        self.take_standing_statistics();
        self.log.sync()?;
        let average = self.progress.average.as_ref().map(|(_, average)| average);
        let progress = &self.progress;
        let files = snapshot::to_files(
            progress.step,
            &progress.gan,
            average,
            &progress.latent,
            progress.batches.state(),
            &progress.state,
        )
        .inspect_err(|error| {
            if let GanError::Diverged { step, reason } = error {
                self.diverged = Some((*step, reason.clone()));
            }
        })?;
        let saved = self
            .store
            .save(progress.step, &self.config.fixed_hash(), &files)?;
        self.saved = self.progress.step;
        self.warnings.extend(saved.warnings);
        Ok(Event::Checkpoint {
            step: self.progress.step,
            path: saved.path,
        })
    }
}
