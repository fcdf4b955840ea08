//! What a run does beside the usual: where its networks come from, and what trains when.

use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::monitor::Measurement;
use crate::networks::Networks;

/// How a run goes, in phases; the usual run begins with random networks and has one phase in which all of both trains.
///
/// It must be a function of the settings alone: a run that is resumed is handed a plan anew, and
/// [`TrainConfig::plan`] is how it is known to be the same.
pub trait TrainingPlan: Send + Sync {
    /// The networks that the run begins with. Called whenever the run's networks are built, also to draw images from a
    /// checkpoint.
    ///
    /// # Errors
    /// If the settings ask for what cannot be made.
    fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError>;

    /// The GAN of the settings with what the plan adds for training: [terms](crate::LossTerm), optimizers of its own. Called
    /// for the GAN that trains, when a run is begun or resumed.
    fn prepare(&self, _config: &TrainConfig, gan: Gan) -> Gan {
        gan
    }

    /// Number of phases.
    fn phases(&self) -> u32 {
        1
    }

    /// Configures `gan` for a phase, for example which layers are frozen. The trainer calls this when the phase begins
    /// and when it resumes a run in the middle of the phase.
    fn begin_phase(&self, phase: u32, gan: &mut Gan) {
        self.enter(phase, gan);
    }

    /// The reason why the current phase ends after this step, as text for the user. `None` continues the phase.
    ///
    /// After the last phase the run ends, even if fewer steps are done than the settings ask for.
    fn phase_end(&self, progress: &PhaseProgress<'_>) -> Option<String> {
        self.over(progress)
    }

    #[doc(hidden)] // earlier name of `begin_phase`
    fn enter(&self, _phase: u32, _gan: &mut Gan) {}

    #[doc(hidden)] // earlier name of `phase_end`
    fn over(&self, _progress: &PhaseProgress<'_>) -> Option<String> {
        None
    }
}

/// What is known of a phase after a step.
#[derive(Clone, Debug)]
pub struct PhaseProgress<'a> {
    /// Its number, from 0.
    pub phase: u32,
    /// Steps done in it.
    pub steps: u64,
    /// The discriminator's accuracy in each of these, the last at the end; of a long phase only the last ones.
    pub accuracy: &'a [f64],
    /// The mean sign of the discriminator's logits on real images, `r_t`, in the same steps.
    pub real_sign: &'a [f64],
    /// Measurements taken in it.
    pub measurements: &'a [Measurement],
}

/// Steps whose accuracy a plan is shown at most.
pub(crate) const MAX_PHASE_HISTORY: usize = 200;
