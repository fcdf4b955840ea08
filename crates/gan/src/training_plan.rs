//! Training plans: initial networks, extra loss terms and phases of a run.

use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::monitor::Measurement;
use crate::networks::Networks;
use crate::pseudo_labels::PseudoLabels;

/// The plan of a run: which networks it starts with, and which layers train in each phase.
///
/// The default plan starts with untrained networks and has one phase, in which all layers train. Transfer
/// learning uses a plan that starts with pretrained networks and may freeze layers.
///
/// A plan must depend on the settings only. A resumed run receives the plan again, and [`TrainConfig::plan`]
/// records which one it was.
///
/// ```
/// use engraft_gan::{Gan, GanError, Networks, PhaseProgress, TrainConfig, TrainingPlan, untrained_networks};
/// use engraft_layers::{ParamFilter, freeze, unfreeze};
///
/// /// Trains the discriminator alone for 100 steps, then both networks.
/// struct Warmup;
///
/// impl TrainingPlan for Warmup {
///     fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError> {
///         untrained_networks(config)
///     }
///     fn phases(&self) -> u32 {
///         2
///     }
///     fn begin_phase(&self, phase: u32, gan: &mut Gan) {
///         let all = ParamFilter::all();
///         let changed = match phase {
///             0 => freeze(&mut gan.generator, &all),
///             _ => unfreeze(&mut gan.generator, &all),
///         };
///         changed.expect("a filter of all names");
///     }
///     fn phase_end(&self, progress: &PhaseProgress<'_>) -> Option<String> {
///         (progress.phase == 0 && progress.steps >= 100).then(|| "the warm-up is done".into())
///     }
/// }
/// ```
pub trait TrainingPlan: Send + Sync {
    /// The networks that the run starts with. Called whenever the networks of the run are built, also to read
    /// a checkpoint.
    ///
    /// # Errors
    /// If networks for these settings cannot be built.
    fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError>;

    /// Adds what the plan needs for training to a GAN: [loss terms](crate::LossTerm) or other optimizers.
    /// Called when a run starts or resumes, not when a run is only read.
    fn prepare(&self, _config: &TrainConfig, gan: Gan) -> Gan {
        gan
    }

    /// The clusters of the networks that the run starts with, for a run with [pseudo-labels](TrainConfig::pseudo_labels). The
    /// clusters stay, the shares become those of the run's images. `None` clusters the run's images.
    fn pseudo_labels(&self) -> Option<&PseudoLabels> {
        None
    }

    /// Number of phases, at least 1.
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

/// Statistics of the current phase after a step.
#[derive(Clone, Debug)]
pub struct PhaseProgress<'a> {
    /// Number of the phase, from 0.
    pub phase: u32,
    /// Steps done in this phase.
    pub steps: u64,
    /// Discriminator accuracy in each of these steps, the latest last; at most the latest 200 steps.
    pub accuracy: &'a [f64],
    /// `r_t` of the same steps: the mean sign of the discriminator's logits on real images.
    pub real_sign: &'a [f64],
    /// Measurements taken in this phase.
    pub measurements: &'a [Measurement],
}

/// Maximum number of steps in [`PhaseProgress::accuracy`].
pub(crate) const MAX_PHASE_HISTORY: usize = 200;
