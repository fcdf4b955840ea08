//! The time of a training step.

use crate::build::{DefaultPlan, gan_of_phase};
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

/// Times a training step of the last phase of a run, in which usually most layers train, on the threads of the current pool: the
/// fastest of two steps on random images.
///
/// Without a plan, both networks train from random weights. Reading images, evaluations, sample grids and lazy penalties are not
/// part of it.
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
/// Those of [`check_planned`](crate::check_planned).
pub fn step_time(config: &TrainConfig, plan: Option<&dyn TrainingPlan>) -> Result<Duration, GanError> {
    let plan = plan.unwrap_or(&DefaultPlan);
    let mut gan = gan_of_phase(config, plan, plan.phases().saturating_sub(1))?;
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
