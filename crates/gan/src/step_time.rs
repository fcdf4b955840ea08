//! The time of a training step.

use crate::build::{DefaultPlan, planned_gan};
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::training_plan::TrainingPlan;
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::time::{Duration, Instant};

/// Timed steps, behind one that allocates memory.
const TIMED: usize = 2;
/// Standard deviation of the pixels.
const CONTRAST: f32 = 0.5;

/// Times a training step of the first phase of a run, on the threads of the current pool: the fastest of two steps on random
/// images. Without a plan, both networks train from random weights. Evaluations, sample grids and lazy penalties are not part of it, nor is reading images.
///
/// ```no_run
/// use engraft_data::{Split, drawn_digits};
/// use engraft_gan::{TrainConfig, step_time};
///
/// let config = TrainConfig::standard(&drawn_digits(Split::Train, 300, 1));
/// let seconds = step_time(&config, None)?.as_secs_f64();
/// println!("{} steps take {:.0} s", config.steps, seconds * config.steps as f64);
/// # Ok::<(), engraft_gan::GanError>(())
/// ```
///
/// # Errors
/// If the networks of the settings cannot be built, or the settings do not fit together.
pub fn step_time(config: &TrainConfig, plan: Option<&dyn TrainingPlan>) -> Result<Duration, GanError> {
    let plan = plan.unwrap_or(&DefaultPlan);
    let mut gan = planned_gan(config, plan)?;
    plan.begin_phase(0, &mut gan);
    gan.check()?;
    let n = config.images_per_step();
    let [height, width, channels] = config.image;
    let rng = &mut Pcg64::seed_from_u64(1);
    let real = Tensor::randn([n, height, width, channels], rng) * CONTRAST;
    let labels = gan.cyclic_labels(n);
    let mut step = || {
        let start = Instant::now();
        gan.step(&real, labels.clone(), rng);
        start.elapsed()
    };
    step();
    let times = [(); TIMED].map(|()| step());
    Ok(times.into_iter().min().unwrap_or_default())
}
