//! Names from an earlier version still work until the first release.

#![allow(clippy::unwrap_used)] // a test fails by it

use engraft_data::{Dataset, Split, drawn_digits};
use engraft_gan::{CheckpointChoice, Networks, PhaseProgress, Sampler, TrainConfig, untrained_networks};
use engraft_layers::{Init, ParamFilter};
use engraft_metrics::{FeatureNetwork, Training, Variation};
use engraft_tensor::Tensor;
use engraft_transfer::adapt::{
    AdaptConfig, Adapted, DomainGap, Domains, Look, Measured, Method as AdaptationMethod, Model, Protocol,
    Validators, adapt, divergence, neighbourhood_density,
};
use engraft_transfer::preserve::{CrossDomain, ElasticWeights, FeatureDistillation, ImportanceSamples, L2Sp};
use engraft_transfer::semi_supervised::{
    Classifier, Examples, Losses, SemiSupervised, Settings, Term, Terms, choose_labels, labelled_loss,
    pseudo_labelled, unlabelled_loss,
};
use engraft_transfer::{
    AdapterFile, Balance, Comparison, Labelled, Method, Phase, Preserve, Proximity, Rate, Recipe, Row,
    Source, Trained, TrainingRow, TrainingTable, Transfer, Trial, balance, compare, copies, features_of,
    from_scratch, gradual, measure, proximity, training_table,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::ops::ControlFlow;

fn digits(n: usize) -> Dataset {
    drawn_digits(Split::Train, n, 1)
}

fn source() -> Source {
    let mut config = TrainConfig::standard(&digits(40));
    (config.network, config.batch) = ("mlp".into(), 8);
    let Networks {
        generator,
        discriminator,
        ..
    } = untrained_networks(&config).unwrap();
    Source::new(config, &generator, &discriminator)
}

#[test]
fn transfer() {
    let (source, target) = (source(), digits(24));
    let trial = Trial {
        source: &source,
        target: &target,
        steps: 2,
        seed: 1,
    };
    let network = FeatureNetwork::mnist();
    let folder = tempfile::tempdir().unwrap();
    let train = |method: &Method| {
        let directory = folder.path().join(method.name());
        let trained = trial.train(method, &directory, &mut |_| ControlFlow::Continue(()));
        trained.unwrap().unwrap()
    };
    let (sampler, steps): (Sampler, u64) = train(&Method::SourceAsIs);
    let [real, drawn] = [
        features_of(&network, &target).unwrap(),
        trial.draw(&network, &sampler, 30).unwrap(),
    ];
    let row: Row = measure("untuned", steps, [&real, &real, &drawn]).unwrap();
    assert_eq!(row.copies, copies(&real, &drawn));
    let comparison: Comparison = compare(&real, &[&drawn], 1);
    assert_eq!(comparison.interval(0).len(), 2);
    let found: Proximity = proximity(&real, &drawn).unwrap();

    let mut recipe = Recipe::choose(&source, target.len(), &found, 20).unwrap();
    assert_eq!(Recipe::warm_up(20), 2);
    assert_eq!(recipe.settings(&source, &target, 20, 1).steps, 20);
    assert_eq!(from_scratch(&source, &target, 20, 1).steps, 20);
    recipe.plan.regularizer = Preserve::Nothing.into();
    recipe.plan.learning_rates = vec![Rate {
        under: vec!["head".into()],
        factor: 0.5,
    }];
    recipe.plan.phases = vec![Phase {
        generator: Trained::BatchNorm,
        ..Phase::default()
    }];
    assert!(recipe.plan.trains_little());
    let transfer = Transfer::new(source.clone(), recipe.plan.clone()).unwrap();
    let networks = transfer.begin().unwrap();
    let roles = source.roles().unwrap().generator;
    let trained: ParamFilter = Trained::All.names(None, &roles);
    assert!(trained.matches("head.weight"));
    let file = AdapterFile::of(&transfer, &networks.generator).unwrap();
    assert!(file.changed().tensors().is_empty());
    let method = Method::Recipe(Box::new(recipe));
    train(&method);
    AdapterFile::of_run(&folder.path().join(method.name()), CheckpointChoice::Last).unwrap();

    let table: TrainingTable = training_table(&networks.generator, |_| 1e-3);
    let rows: &[TrainingRow] = &table.rows;
    assert!(!rows.is_empty());
    let layers = ["a", "b"].map(String::from);
    assert_eq!(gradual(&layers, 3, &Phase::default()).unwrap().len(), 2);
    let progress = PhaseProgress {
        phase: 0,
        steps: 0,
        accuracy: &[],
        real_sign: &[],
        measurements: &[],
    };
    let found: Option<Balance> = balance(&progress);
    assert!(found.is_none());
}

#[test]
fn regularizers() {
    let Networks {
        generator,
        discriminator,
        latent_dim,
    } = source().networks().unwrap();
    let samples = ImportanceSamples {
        images: 1,
        latent_dim,
        classes: 0,
        seed: 1,
    };
    let _ = ElasticWeights::new(&generator, &discriminator, 1.0, samples);
    let _ = L2Sp::new(&generator, 1.0);
    let _ = CrossDomain::new(generator, vec!["hidden1".into()], 1.0);
    let _ = FeatureDistillation::new(discriminator, "hidden1", 1.0);
}

#[test]
fn classification_score() {
    let images = Labelled::of(&digits(20), &(0..20).collect::<Vec<_>>());
    let training = Training {
        epochs: 1,
        seed: 1,
        variation: Variation::Shift,
    };
    let score = images.score(&images, &training, &mut |_, _| ()).unwrap();
    assert!((0.0..=1.0).contains(&score));
    let sampler = source().sampler().unwrap();
    assert!(Labelled::drawn(&sampler, 2, &[0], &mut Pcg64::seed_from_u64(1)).is_none());
}

#[test]
fn adaptation() {
    let data = digits(24);
    let domains = Domains {
        source: &data,
        target: &data,
        source_test: &data,
        target_test: Some(&data),
    };
    let config = AdaptConfig {
        steps: 1,
        batch: 12,
        ..AdaptConfig::new(AdaptationMethod::SourceOnly)
    };
    assert!(config.method.is_control() && !config.method.about().is_empty());
    let found: Adapted = adapt(&domains, &config, &mut |_: &Measured| ()).unwrap();
    assert!(found.last() <= found.oracle());
    assert_eq!(Protocol::Small.count("usps"), 1800);
    assert_eq!(Protocol::Full.choose(&data, 1).len(), 24);
    assert!(Protocol::Full.rest(&data, 1).is_none());
    let gap = DomainGap::between(&data, &data);
    assert_eq!(gap.source, Look::of(&data));
    let model = Model::new([28, 28, 1], 10, 1, 1).unwrap();
    assert_eq!((model.image(), model.width()), ([28, 28, 1], 768));
    let logits = Tensor::zeros([4, 2]);
    assert_eq!(Validators::of(&logits, 0.5).source, 0.5);
    assert!(neighbourhood_density(&logits.cast::<f64>()) > 0.0);
    assert_eq!(divergence(&logits, &logits).item(), 0.0);
}

#[test]
fn semi_supervised() {
    let data = digits(40);
    let labeled = vec![(&data, choose_labels(data.labels(), 20, 1).unwrap())];
    let mut settings = Settings::new(1, 1);
    (settings.batch, settings.hidden) = (20, vec![8]);
    settings.extra_losses = [Term::PullAway(1.0)].into_iter().collect::<Terms>();
    let examples = Examples {
        labeled,
        unlabeled: None,
    };
    let mut task = SemiSupervised::new(examples, settings).unwrap();
    let losses: Losses = task.step().unwrap();
    assert!(losses.labeled.is_finite());
    assert!(task.wrong(&data) <= 40 && !task.save().unwrap().is_empty());
    let sampler = source().sampler().unwrap();
    let generated = pseudo_labelled(&task, [28, 28, 1], &sampler, 2, 0.0, 1).unwrap();
    assert_eq!(generated.len(), 2);
    let logits = Tensor::<f32>::zeros([2, 3]);
    assert!(labelled_loss(&logits, &[0, 1]).item() > 0.0);
    assert!(unlabelled_loss(&logits, &logits).item() > 0.0);
    let _ = Classifier::<f32>::with_hidden(4, &[3], 2, &mut Init::glorot(1));
}
