//! Steps of networks that are told the class.

use crate::{Gan, Network, Objective, RegularizeConfig};
use engraft_layers::{Adam, Init, Mode, Optimizer, Sequential, gradients, parameters};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;

const IMAGE: [usize; 3] = [8, 8, 1];
const LABELS: [usize; 4] = [2, 0, 1, 2];

fn adam() -> Adam<f64> {
    Adam::new(1e-2)
}

fn gan() -> Gan<f64> {
    let network = Network::Mlp;
    let init = |seed| Init::glorot(seed);
    let g = network.conditional_generator(IMAGE, 3, &mut init(1)).unwrap();
    let d = network.projection_discriminator(IMAGE, 3, &mut init(2)).unwrap();
    Gan::new(
        Sequential::new().add("conditional", g),
        Sequential::new().add("projection", d),
        network.latent(),
    )
    .classes(3)
    .optimizers(adam(), adam())
}

fn real() -> Tensor<f64> {
    Tensor::uniform([4, 8, 8, 1], -1.0, 1.0, &mut Pcg64::seed_from_u64(3))
}

#[test]
fn a_labelled_step_is_the_one_with_labels_spelt_out() {
    let mut found = gan();
    found.step(&real(), Some(&LABELS), &mut Pcg64::seed_from_u64(4));

    let network = Network::Mlp;
    let mut g = network
        .conditional_generator::<f64>(IMAGE, 3, &mut Init::glorot(1))
        .unwrap();
    let mut d = network
        .projection_discriminator::<f64>(IMAGE, 3, &mut Init::glorot(2))
        .unwrap();
    let z = Tensor::randn([4, network.latent()], &mut Pcg64::seed_from_u64(4));
    let fake = g.forward_labelled(&z, &LABELS, Mode::Train);
    let real_logits = d.forward_labelled(&real(), &LABELS, Mode::Train);
    let fake_logits = d.forward_labelled(&fake, &LABELS, Mode::Train);
    let dg = gradients(&Objective::NonSaturating.generator(&fake_logits, None), &g);
    let dd = gradients(
        &Objective::NonSaturating.discriminator(&real_logits, &fake_logits),
        &d,
    );
    adam().step(&mut g, &dg);
    adam().step(&mut d, &dd);
    for (spelt_out, taken) in [
        (parameters(&g), parameters(&found.generator)),
        (parameters(&d), parameters(&found.discriminator)),
    ] {
        assert_eq!(spelt_out.len(), taken.len());
        for ((_, a), (name, b)) in spelt_out.iter().zip(&taken) {
            let apart = (a.tensor() - b.tensor()).abs().sum().item();
            assert!(apart < 1e-9, "{name}: {apart}");
        }
    }
}

#[test]
fn the_class_of_an_image_decides_what_is_drawn() {
    let gan = gan();
    let draw = |labels: &[usize]| {
        let z = gan.labelled_noise(labels, &mut Pcg64::seed_from_u64(5));
        engraft_layers::Module::forward(&gan.generator, &z, Mode::Eval)
    };
    let (a, b) = (draw(&[0, 1, 2]), draw(&[1, 1, 2]));
    let first = |t: &Tensor<f64>| t.narrow(0, 0, 1).as_slice().to_vec();
    let last = |t: &Tensor<f64>| t.narrow(0, 2, 1).as_slice().to_vec();
    assert!(first(&a) != first(&b) && last(&a) == last(&b));
    // Without labels each class comes in turn.
    let noise = gan.noise(4, &mut Pcg64::seed_from_u64(5));
    let classes = noise.narrow(1, Network::Mlp.latent(), 3);
    assert_eq!(
        classes.as_slice(),
        [1., 0., 0., 0., 1., 0., 0., 0., 1., 1., 0., 0.]
    );
}

#[test]
fn penalties_and_pairs_are_told_the_class_too() {
    let penalised = RegularizeConfig {
        r1: 1.0,
        r2: 1.0,
        every: 2,
        ..RegularizeConfig::default()
    };
    let mut gan = gan().objective(Objective::Relativistic).regularize(penalised);
    // The fully connected discriminator has no batch norm.
    gan.check().unwrap();
    for seed in 0..3 {
        let report = gan.step(&real(), Some(&LABELS), &mut Pcg64::seed_from_u64(seed));
        assert!(report.is_finite());
    }
}

#[test]
#[should_panic(expected = "needs a label for each image where the networks are told the class")]
fn images_without_labels_are_refused() {
    gan().step(&real(), None, &mut Pcg64::seed_from_u64(1));
}
