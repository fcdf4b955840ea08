//! `--tensorboard`: event files beside those of a run.

use engraft_gan::{Event, GanError, TensorBoard};
use std::path::Path;

/// An event file, if the option asks for one. A failure to write it ends no training.
pub(super) struct EventFile(Option<TensorBoard>);

impl EventFile {
    /// Creates the file in the run directory, if `wanted`.
    ///
    /// # Errors
    /// If it cannot be created.
    pub(super) fn create(wanted: bool, run: &Path) -> Result<Self, GanError> {
        Ok(Self(match wanted {
            true => Some(TensorBoard::create(run)?),
            false => None,
        }))
    }

    /// Writes an event. After a failure nothing more is written, and a warning is returned.
    pub(super) fn record(&mut self, event: &Event) -> Option<String> {
        let error = self.0.as_mut()?.record(event).err()?;
        self.0 = None;
        Some(format!("{error}; nothing more is written for TensorBoard"))
    }
}
