//! Names of earlier versions still work: each public name of this crate that was renamed is used here once.

#![allow(clippy::unwrap_used)]

use engraft_data::{Dataset, Provenance};
use engraft_gan::networks::NetworkSpec;
use engraft_gan::{
    Alarm, Ema, Gan, GanError, Networks, TrainConfig, Trainer, dcgan, penalty, untrained_networks,
};
use engraft_gan::{Outcome, PhaseSeen, Plan, Term, WatchConfig};
use engraft_layers::{Condition, Init, Sequential};
use engraft_tensor::Tensor;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Adds nothing.
struct Nothing;

impl Term for Nothing {
    fn for_generator(&self, _: &Sequential, _: &Tensor, _: &Condition<f32>, _: &Tensor) -> Option<Tensor> {
        None
    }
}

/// Two phases of one step each, with the methods under their earlier names; counts the calls of `enter`.
struct TwoPhases(AtomicU32);

impl Plan for TwoPhases {
    fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError> {
        untrained_networks(config)
    }
    fn prepare(&self, _: &TrainConfig, gan: Gan) -> Gan {
        gan.term(Nothing)
    }
    fn phases(&self) -> u32 {
        2
    }
    fn enter(&self, _phase: u32, _gan: &mut Gan) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn over(&self, seen: &PhaseSeen<'_>) -> Option<String> {
        (seen.steps >= 1).then(|| format!("phase {} is over", seen.phase))
    }
}

#[test]
fn earlier_names() {
    let pixels = vec![7; 8 * 28 * 28];
    let data = Dataset::new("dots", Provenance::Memory, pixels, dcgan::IMAGE, vec![0; 8]).unwrap();
    let mut config = TrainConfig::standard(&data);
    (config.network, config.batch, config.steps) = ("mlp".into(), 4, 9);
    (config.validation_images, config.evaluation) = (
        0,
        WatchConfig {
            every: 0,
            ..WatchConfig::default()
        },
    );
    let plan = Arc::new(TwoPhases(AtomicU32::new(0)));
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::builder(config, data)
        .plan(plan.clone())
        .open(folder.path())
        .unwrap();
    let outcome = trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((outcome, trainer.step()), (Outcome::Complete, 2));
    // At the start and for both changes of the phase.
    assert_eq!(plan.0.load(Ordering::Relaxed), 3);

    let init = &mut Init::glorot(1);
    let gan = Gan::<f32>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT).classes(3);
    assert_eq!(gan.classes_in_turn(5).len(), gan.cyclic_labels(5).len());
    assert_eq!(Ema::new(100).keep(4, 50), Ema::new(100).decay(4, 50));
    assert_eq!(NetworkSpec::new([28, 28, 3]).packing(2).stack(), [28, 28, 6]);
    assert_eq!(Alarm::Memorisation, Alarm::Memorization);
    let x = Tensor::from_vec([2, 1], vec![0.5f32, -1.0]).as_leaf();
    assert_eq!(penalty::zero_centred(&(&x * 3.0), &x).item(), 9.0);
    assert_eq!(penalty::one_centred(&(&x * 1.0), &x).item(), 0.0);
}
