//! Properties of all network families, and of each one.

use super::*;
use crate::config::TrainConfig;
use crate::objective::Objective;
use engraft_data::{Dataset, Provenance, Split, drawn_digits};
use engraft_layers::{
    Adam, BatchNorm, Condition, Conv2d, ConvTranspose2d, Dense, Embedding, Flatten, Init, LeakyReLU, Mode,
    Module, Optimizer, Reshape, Slot, StateDict, Summary, Tanh, gradients, parameter_count, parameters,
    summary, visit,
};
use engraft_tensor::{Tensor, grad_with_graph, no_grad};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// The built-in families.
fn built_in() -> Vec<Arc<dyn NetworkFamily>> {
    families().into_iter().take(BUILT_IN).collect()
}

/// The pair of a specification.
fn pair(family: &dyn NetworkFamily, spec: &NetworkSpec) -> [Sequential; 2] {
    family.check(spec).unwrap();
    [
        family.generator(spec, &mut Init::glorot(1)),
        family.discriminator(spec, &mut Init::glorot(2)),
    ]
}

/// The images that a test builds each network for: each size with each number of channels.
fn images(family: &dyn NetworkFamily) -> Vec<[usize; 3]> {
    let sides: &[[usize; 2]] = match family.name() {
        "mlp" => &[[16, 16], [5, 3], [1, 1]],
        "light" => &[[16, 16], [28, 24], [32, 32]],
        "dcgan64" => &[[64, 64]],
        _ => &[[28, 28], [32, 32]],
    };
    let of_side = |&[h, w]: &[usize; 2]| (1..=4).map(move |c| [h, w, c]);
    sides.iter().flat_map(of_side).collect()
}

/// The smallest square image that all tests can build the family for.
fn usual(family: &dyn NetworkFamily) -> [usize; 3] {
    match family.name() {
        "dcgan64" => [64, 64, 1],
        _ => dcgan::IMAGE,
    }
}

#[test]
fn every_pair_fits_together() {
    for family in built_in() {
        for image in images(family.as_ref()) {
            let ([h, w, c], spec) = (image, NetworkSpec::new(image).packing(2));
            let [g, d] = pair(family.as_ref(), &spec);
            let z = Tensor::randn([4, family.latent_dim(&spec)], &mut Pcg64::seed_from_u64(3));
            let generated = no_grad(|| g.forward(&z, Mode::Train));
            assert_eq!(generated.shape(), [4, h, w, c], "{}", family.name());
            // The residual generator has no tanh at its end.
            let bounded = family.name() != "residual";
            let within = |v: &f32| if bounded { v.abs() <= 1.0 } else { v.is_finite() };
            assert!(generated.as_slice().iter().all(within), "{}", family.name());
            let pairs = Tensor::randn([2, h, w, 2 * c], &mut Pcg64::seed_from_u64(4));
            assert_eq!(d.forward(&pairs, Mode::Eval).shape(), [2, 1], "{}", family.name());
        }
    }
}

/// Widths and latent length come from the specification and do not change the names of layers.
#[test]
fn sizes_are_parameters() {
    for (family, widths) in built_in()
        .iter()
        .zip([&[24, 12, 6][..], &[12, 8, 4], &[20, 10], &[12, 8, 4]])
    {
        let plain = NetworkSpec::new(dcgan::IMAGE);
        let spec = plain.clone().widths(widths).latent_dim(7);
        assert_eq!(family.latent_dim(&spec), 7);
        let [g, d] = pair(family.as_ref(), &spec);
        let z = Tensor::randn([2, 7], &mut Pcg64::seed_from_u64(3));
        let logits = d.forward(&g.forward(&z, Mode::Eval), Mode::Eval);
        assert_eq!(logits.shape(), [2, 1]);
        for (small, usual) in [g, d].iter().zip(&pair(family.as_ref(), &plain)) {
            let names = |net: &Sequential| -> Vec<String> {
                parameters(net).into_iter().map(|(name, _)| name).collect()
            };
            assert_eq!(names(small), names(usual));
            assert!(parameter_count(small) < parameter_count(usual));
        }
        let error = family.check(&plain.widths([1, 2, 3, 4])).unwrap_err();
        assert!(error.contains("network.widths"), "{error}");
    }
}

/// Every role names a layer of the network, and the learned layers contain all its parameters.
#[test]
fn roles_name_existing_layers() {
    for family in built_in() {
        for classes in [0, 3] {
            let spec = NetworkSpec::new(usual(family.as_ref())).classes(classes);
            let LayerRoles {
                generator,
                discriminator,
            } = family.roles(&spec);
            for (net, roles) in pair(family.as_ref(), &spec)
                .iter()
                .zip([&generator, &discriminator])
            {
                let under = |name: &str, layer: &str| name.starts_with(&format!("{layer}."));
                let all: Vec<String> = parameters(net).into_iter().map(|(name, _)| name).collect();
                let mut learned = roles.learned();
                learned.extend(roles.embedding.as_deref());
                for layer in learned
                    .iter()
                    .copied()
                    .chain(roles.norms.iter().map(String::as_str))
                {
                    assert!(all.iter().any(|name| under(name, layer)), "{layer}");
                }
                for name in &all {
                    assert!(learned.iter().any(|layer| under(name, layer)), "{name}");
                }
                assert_eq!(roles.embedding.is_some(), classes > 0);
                let norms = all.iter().filter(|name| name.ends_with("norm.weight"));
                assert_eq!(norms.count(), roles.norms.len());
            }
            let [_, d] = pair(family.as_ref(), &spec);
            let labels = match classes {
                0 => Condition::None,
                _ => [0, 1].into(),
            };
            let [h, w, c] = spec.image;
            let x = Tensor::zeros([2, h, w, c]);
            let rank = |layer: &str| d.forward_through(&x, &labels, Mode::Eval, layer)[0].rank();
            assert_eq!(rank(discriminator.features.as_deref().unwrap()), 2);
            let map = discriminator.feature_map.as_deref().map(rank);
            assert_eq!(map, (family.name() != "mlp").then_some(4));
        }
    }
}

/// An untrained generator makes images that are neither uniform nor saturated; an untrained logit is near 0.
#[test]
fn untrained_networks_have_outputs_of_normal_size() {
    for family in built_in() {
        let spec = NetworkSpec::new(usual(family.as_ref()));
        let [g, d] = pair(family.as_ref(), &spec);
        let z = Tensor::randn([16, family.latent_dim(&spec)], &mut Pcg64::seed_from_u64(3));
        let (generated, logits) = no_grad(|| {
            let generated = g.forward(&z, Mode::Train);
            let logits = d.forward(&generated, Mode::Train);
            (generated, logits)
        });
        let spread = generated.square().mean().item().sqrt();
        assert!((0.1..0.8).contains(&spread), "{}: {spread}", family.name());
        let logit = logits.square().mean().item().sqrt();
        assert!(logit < 3.0, "{}: {logit}", family.name());
    }
}

#[test]
fn unsupported_sizes_are_refused_with_alternatives() {
    // Reason and alternatives, the same with and without classes.
    let refused = |name: &str, image| {
        let [first, second] = [0, 10].map(|classes| {
            let spec = NetworkSpec::new(image).classes(classes);
            match find_for(name, &spec, "given").err() {
                Some(GanError::ImageSize {
                    reason,
                    fitting,
                    found,
                    ..
                }) if found == image => (reason, fitting),
                other => panic!("{name} {image:?}: {other:?}"),
            }
        });
        assert_eq!(first, second);
        first
    };
    for name in ["dcgan", "residual"] {
        for image in [[16, 16, 1], [28, 32, 1]] {
            let (reason, fitting) = refused(name, image);
            assert!(reason.contains("28x28"), "{reason}");
            assert!(fitting.iter().any(|name| name == "mlp"), "{fitting:?}");
        }
        for image in [[28, 28, 5], [28, 28, 0]] {
            let (reason, _) = refused(name, image);
            assert!(reason.contains(&image[2].to_string()), "{reason}");
        }
    }
    for image in [[128, 129, 1], [0, 3, 1], [usize::MAX, 2, 1]] {
        let (reason, _) = refused("mlp", image);
        assert!(reason.contains("16384"), "{reason}");
    }
    refused("mlp", [2, 2, 5]);
    assert!(find_for("mlp", &NetworkSpec::new([128, 128, 1]), "x").is_ok());
}

#[test]
fn families_are_known_by_their_names() {
    assert_eq!(
        names()[..BUILT_IN],
        ["dcgan", "residual", "mlp", "light", "dcgan64"]
    );
    for name in &names()[..BUILT_IN] {
        assert_eq!(find(name).unwrap().name(), name);
    }
    let error = find("vgg").err().unwrap().to_string();
    assert!(
        error.contains("vgg") && error.contains("dcgan, residual, mlp"),
        "{error}"
    );
}

/// A table and a name are two forms of the same setting.
#[test]
fn a_network_is_a_name_or_a_table() {
    let data = Dataset::new(
        "dots",
        Provenance::Memory,
        vec![7; 6 * 784],
        dcgan::IMAGE,
        vec![0; 6],
    )
    .unwrap();
    let config = TrainConfig::standard(&data);
    let path = std::path::Path::new("run.toml");
    let changed = config.changed("network.latent=32").unwrap();
    let changed = changed.changed("network.widths=[32, 16, 8]").unwrap();
    assert_eq!(
        (changed.network.kind.as_str(), changed.latent_dim().unwrap()),
        ("dcgan", 32)
    );
    assert_eq!(changed.network_spec().widths, [32, 16, 8]);
    let text = changed.to_toml();
    assert!(text.contains("[network]\nkind = \"dcgan\""), "{text}");
    assert_eq!(TrainConfig::from_toml(&text, path).unwrap(), changed);
    assert_ne!(changed.fixed_hash(), config.fixed_hash());
    for (change, said) in [
        ("network=vgg", "vgg"),
        ("network.widths=[0]", "network.widths"),
        ("network.latent=100000", "network.latent"),
        // Each within its limit, but gigabytes together.
        ("network.widths=[4096, 64, 32]", "gigabytes"),
        ("network.widths=[2048, 2000, 2000]", "gigabytes"),
    ] {
        let error = config.changed(change).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert!(config.changed("network.depth=3").is_err());
}

/// Weights of the default networks are sampled in exactly this order, under these names: saved runs and reference
/// values depend on it.
#[test]
fn the_reference_pair_is_what_it_was() {
    fn act() -> LeakyReLU {
        LeakyReLU::new(0.3)
    }
    let init = &mut Init::glorot(9);
    let stem = Dense::<f32>::new(100, 12544, init).no_bias();
    let to_128 = ConvTranspose2d::new(256, 128, 5, init).same().no_bias();
    let to_64 = ConvTranspose2d::new(128, 64, 5, init).stride(2).same().no_bias();
    let to_image = ConvTranspose2d::new(64, 1, 5, init).stride(2).same().no_bias();
    let block = |name: &str, layer: ConvTranspose2d, channels| {
        Sequential::new()
            .add(name, layer)
            .add("norm", BatchNorm::new(channels))
            .add("act", act())
    };
    let stem = Sequential::new()
        .add("dense", stem)
        .add("norm", BatchNorm::new(12544))
        .add("act", act());
    let g = Sequential::new()
        .add("stem", stem)
        .add("grid", Reshape::new([7, 7, 256]))
        .add("block1", block("conv", to_128, 128))
        .add("block2", block("conv", to_64, 64))
        .add("to_image", to_image)
        .add("tanh", Tanh);
    let to_64 = Conv2d::new(1, 64, 5, init).stride(2).same();
    let to_128 = Conv2d::new(64, 128, 5, init).stride(2).same();
    let block1 = Sequential::new().add("conv", to_64).add("act", act());
    let block2 = Sequential::new()
        .add("conv", to_128)
        .add("norm", BatchNorm::new(128))
        .add("act", act());
    let d = Sequential::new()
        .add("block1", block1)
        .add("block2", block2)
        .add("flat", Flatten)
        .add("head", Dense::<f32>::new(6272, 1, init));
    let init = &mut Init::glorot(9);
    let built = [
        dcgan::Dcgan.generator(&NetworkSpec::new(dcgan::IMAGE), init),
        dcgan::Dcgan.discriminator(&NetworkSpec::new(dcgan::IMAGE), init),
    ];
    let init = &mut Init::glorot(9);
    let direct = [dcgan::generator(init), dcgan::discriminator(init)];
    for pair in [built, direct] {
        for ((reference, network), example) in [&g, &d]
            .into_iter()
            .zip(&pair)
            .zip([&[2, 100][..], &[2, 28, 28, 1]])
        {
            let (expected, found) = (parameters(reference), parameters(network));
            assert_eq!(expected.len(), found.len());
            for ((name, expected), (found_name, found)) in expected.iter().zip(&found) {
                assert_eq!(name, found_name);
                assert!(
                    expected.tensor().as_slice() == found.tensor().as_slice(),
                    "{name} starts otherwise"
                );
            }
            let x = Tensor::randn(example, &mut Pcg64::seed_from_u64(1));
            let run = |m: &Sequential| no_grad(|| m.forward(&x, Mode::Train));
            assert_eq!(run(reference).as_slice(), run(network).as_slice());
        }
    }
}

/// Packing of one image changes nothing; more images enlarge only the first weight.
#[test]
fn packing_changes_the_first_layer_only() {
    for family in built_in() {
        let network = family.name();
        let [h, w, _] = usual(family.as_ref());
        let build = |pack| {
            let spec = NetworkSpec::new([h, w, 3]).packing(pack);
            family.discriminator(&spec, &mut Init::glorot(1))
        };
        let plain = family.discriminator(&NetworkSpec::new([h, w, 3]), &mut Init::glorot(1));
        let (plain, one, three) = (
            StateDict::of(&plain),
            StateDict::of(&build(1)),
            StateDict::of(&build(3)),
        );
        let mut changed = Vec::new();
        for (name, tensor) in plain.tensors() {
            assert_eq!(tensor.as_slice(), one.get(name).unwrap().as_slice());
            let packed = three.get(name).unwrap();
            if packed.shape() != tensor.shape() {
                assert_eq!(packed.len(), 3 * tensor.len(), "{network}, {name}");
                changed.push(name.as_str());
            }
        }
        assert_eq!(changed.len(), 1, "{network}: {changed:?}");
    }
}

/// Multiply-adds for one image: each weight value is used once for each position of the smaller side.
fn multiply_adds(table: &Summary) -> usize {
    let places = |shape: &[usize]| match *shape {
        [h, w, _] => h * w,
        _ => 1,
    };
    let norms = ["BatchNorm", "ScaleShift"];
    let rows = table
        .rows
        .iter()
        .filter(|r| norms.iter().all(|n| !r.layer.starts_with(n)));
    rows.map(|r| r.parameters * places(&r.input).min(places(&r.output)))
        .sum()
}

/// The numbers in the documentation. A step of the residual networks costs about the same as one of the reference.
#[test]
fn steps_cost_what_the_documentation_says() {
    let costs = |name: &str| {
        let (family, spec) = (find(name).unwrap(), NetworkSpec::new(dcgan::IMAGE));
        let [g, d] = pair(family.as_ref(), &spec);
        let tables = [summary(&g, &[family.latent_dim(&spec)]), summary(&d, &spec.image)];
        let [of_g, of_d] = tables.each_ref().map(multiply_adds);
        let tenths = |v: usize| (v as f64 / 1e5).round() / 10.0;
        let hundredths = |v: usize| (v as f64 / 1e4).round() / 100.0;
        let step = ((3 * of_g + 7 * of_d) as f64 / 1e6).round();
        let counts = [parameter_count(&g), parameter_count(&d)];
        assert_eq!(tables.map(|t| t.parameters()), counts);
        (tenths(of_g), tenths(of_d), step, counts.map(hundredths))
    };
    assert_eq!(costs("dcgan"), (51.7, 10.4, 228.0, [2.31, 0.21]));
    assert_eq!(costs("residual"), (25.5, 25.1, 252.0, [0.70, 0.23]));
    assert_eq!(costs("mlp"), (0.7, 0.5, 6.0, [0.69, 0.52]));
}

/// No running statistics, branches that start at zero, and an R1 penalty that reaches every weight after one step.
#[test]
fn the_residual_networks_have_no_norms_and_start_as_their_skip_paths() {
    let [g, d] = pair(&residual::ResidualFamily, &NetworkSpec::new([28, 28, 1]));
    let mut zeros = 0;
    for module in [&g, &d] {
        visit(module, |path, slot| match slot {
            Slot::Parameter(p) if path.ends_with("conv2.weight") => {
                zeros += 1;
                assert!(p.tensor().as_slice().iter().all(|v| *v == 0.0), "{path}");
            }
            Slot::Parameter(_) => (),
            _ => panic!("{path} is no parameter"),
        });
    }
    assert_eq!(zeros, 6);
    // The step makes every branch differ from zero.
    let mut d = d;
    let rng = &mut Pcg64::seed_from_u64(2);
    let x = Tensor::randn([4, 28, 28, 1], rng);
    let mut adam = Adam::new(1e-3);
    let found = gradients(&d.forward(&x, Mode::Train).softplus().mean(), &d);
    adam.step(&mut d, &found);
    let x = x.as_leaf();
    let [dx] = grad_with_graph(&d.forward(&x, Mode::Train).sum(), [&x]);
    let penalty = dx.square().sum() / 4.0;
    let found = gradients(&penalty, &d);
    let reached = |name: &str| {
        found
            .get(name)
            .is_some_and(|g| g.is_finite() && g.abs().sum().item() > 0.0)
    };
    for (name, _) in parameters(&d) {
        // A bias moves no slope of a piecewise linear function.
        assert!(name.ends_with("bias") || reached(&name), "{name}");
    }
}

/// Ten images of ten classes: the generator soon makes the image of the requested class.
#[test]
fn class_conditional_networks_learn_the_image_of_each_label() {
    let digits = drawn_digits(Split::Train, 10, 3);
    let real = digits.batch_f32(&(0..10).collect::<Vec<_>>());
    let batch = Tensor::from_vec([30, 28, 28, 1], real.repeat(3));
    let own: Vec<usize> = digits.labels().iter().map(|&label| label.into()).collect();
    let labels = Condition::from(own.repeat(3));
    let spec = NetworkSpec::new(digits.image_size()).classes(10);
    let [mut g, mut d] = pair(&mlp::Mlp, &spec);
    let adam = || Adam::new(1e-3).betas(0.5, 0.999);
    let (mut g_adam, mut d_adam) = (adam(), adam());
    let (objective, rng) = (Objective::NonSaturating, &mut Pcg64::seed_from_u64(4));
    for _ in 0..200 {
        let z = Tensor::randn([30, mlp::LATENT], rng);
        let fake = g.forward_with(&z, &labels, Mode::Train);
        let real_logits = d.forward_with(&batch, &labels, Mode::Train);
        let fake_logits = d.forward_with(&fake, &labels, Mode::Train);
        let dg = gradients(&objective.generator(&fake_logits, None), &g);
        let dd = gradients(&objective.discriminator(&real_logits, &fake_logits), &d);
        drop((fake, real_logits, fake_logits));
        g_adam.step(&mut g, &dg);
        d_adam.step(&mut d, &dd);
    }
    let asked: Vec<usize> = (0..60).map(|_| rng.random_range(0..10)).collect();
    let z = Tensor::randn([60, mlp::LATENT], rng);
    let generated = no_grad(|| g.forward_with(&z, &asked.as_slice().into(), Mode::Train));
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    let obeyed = generated
        .as_slice()
        .chunks_exact(784)
        .zip(&asked)
        .filter(|(image, asked)| {
            let to = |i: &usize| distance(image, &real[784 * i..][..784]);
            let nearest = (0..10).min_by(|a, b| to(a).total_cmp(&to(b))).unwrap();
            own[nearest] == **asked
        });
    let obeyed = obeyed.count();
    assert!(obeyed >= 50, "{obeyed} of 60 are of the class that was asked for");
}

/// Otherwise, with batch norm, the class suppresses the noise, and each class becomes one image.
#[test]
fn before_a_batch_norm_noise_has_more_weight_than_the_class() {
    type Build = fn(&NetworkSpec, &mut Init) -> Sequential<f64>;
    for (network, build, image, at_most) in [
        ("dcgan", dcgan::build_generator as Build, [28, 28, 1], 0.02),
        ("mlp", mlp::build_generator, [5, 3, 1], 0.02),
        ("residual", residual::build_generator, [28, 28, 1], 1.0),
        ("light", light::build_generator, [16, 16, 1], 0.02),
        ("dcgan64", dcgan64::build_generator, [64, 64, 1], 0.02),
    ] {
        let g = build(&NetworkSpec::new(image).classes(10), &mut Init::glorot(1));
        let stem = Embedding::<f64>::with_weight(
            StateDict::of(&g)
                .get("conditional.embedding.weight")
                .unwrap()
                .clone(),
        );
        // The first layer weights all its inputs equally at initialization.
        let of_class = stem.of(&(0..10).collect::<Vec<_>>()).square().sum().item() / 10.0;
        let of_noise = 100.0;
        assert!(
            of_class < at_most * of_noise,
            "{network}: {of_class} and {of_noise}"
        );
    }
}

#[test]
fn settings_without_a_network_are_those_of_the_reference() {
    let data = Dataset::new(
        "dots",
        Provenance::Memory,
        vec![7; 6 * 784],
        dcgan::IMAGE,
        vec![0; 6],
    )
    .unwrap();
    let mut config = TrainConfig::standard(&data);
    config.batch = 3;
    assert!(!config.to_toml().contains("network"));
    let mut other = config.clone();
    other.network = "residual".into();
    let path = std::path::Path::new("run.toml");
    for config in [&config, &other] {
        assert_eq!(&TrainConfig::from_toml(&config.to_toml(), path).unwrap(), config);
    }
    let differences = ["network: the run has the default, the new settings have \"residual\""];
    assert_eq!(config.fixed_differences(&other), differences);
    assert_ne!(other.fixed_hash(), config.fixed_hash());
    // The hash from before the setting existed.
    assert_eq!(config.fixed_hash(), HASH_WITHOUT_A_NETWORK);
}

const HASH_WITHOUT_A_NETWORK: &str = "ea20dffc33accfc01b8171cfd002894b7a949d96b9b2a598bfed4ff3a2e553b7";

/// The error names a family that supports the images.
#[test]
fn data_of_another_size_takes_another_network() {
    let small = Dataset::new("usps", Provenance::Memory, vec![0; 512], [16, 16, 1], vec![0; 2]).unwrap();
    let mut config = TrainConfig::standard(&small);
    match config.check_data(&small).unwrap_err() {
        GanError::ImageSize {
            data,
            network,
            fitting,
            found,
            ..
        } => {
            assert_eq!(
                (data.as_str(), network.as_str(), found),
                ("usps", "dcgan", [16, 16, 1])
            );
            assert!(fitting.iter().any(|name| name == "mlp"), "{fitting:?}");
        }
        other => panic!("{other}"),
    }
    config.network = "mlp".into();
    config.check_data(&small).unwrap();
}
