//! Finite weights that give no finite images: for all latent vectors, or only for some.

use super::{bad, digits, ends_with, good, pictures, save_with_huge_weights, source, text};
use engraft::data::{Split, drawn_digits};
use engraft::gan::{TrainConfig, untrained_networks};
use engraft::layers::StateDict;
use engraft::tensor::Tensor;
use engraft::transfer::PretrainedGan;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::path::Path;

/// Saves a source whose images are finite for the latent vectors that are tried when it is opened, but not for that of seed 2
/// and many others: the difference of two numbers that overflow.
fn overflowing_source(folder: &Path) {
    let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 40, 1));
    (config.network, config.batch) = ("mlp".into(), 8);
    config.network.widths = vec![2, 2];
    let mut networks = untrained_networks(&config).unwrap();
    let latent = networks.latent_dim;
    let drawn = |n: usize, seed: u64| {
        let z = Tensor::<f32>::randn([n, latent], &mut Pcg64::seed_from_u64(seed));
        z.as_slice().to_vec()
    };
    let (tried, harmful) = (drawn(2, 1), drawn(1, 2));
    let harmless = |at: usize| tried[at].abs().max(tried[latent + at].abs());
    let ratio = |at: usize| harmful[at].abs() / harmless(at);
    let at = (0..latent)
        .max_by(|&a, &b| ratio(a).total_cmp(&ratio(b)))
        .unwrap();
    assert!(ratio(at) > 4.0, "{}", ratio(at));
    let limit = (harmless(at) * harmful[at].abs()).sqrt();
    let mut first = vec![0.0; latent * 2];
    first[2 * at] = 1e19_f32.copysign(harmful[at]);
    let beyond = f32::MAX / 1e19 / limit;
    let pixels = 28 * 28;
    let weights = [
        ("hidden1.dense.weight", [latent, 2], first),
        ("hidden2.dense.weight", [2, 2], vec![beyond, beyond, 0.0, 0.0]),
        (
            "to_image.weight",
            [2, pixels],
            [vec![1.0; pixels], vec![-1.0; pixels]].concat(),
        ),
    ];
    let mut tensors = StateDict::of(&networks.generator).into_tensors();
    for (name, shape, values) in weights {
        let before = tensors.insert(name.into(), Tensor::from_vec(shape, values));
        assert_eq!(before.unwrap().shape(), shape, "{name}");
    }
    StateDict::from_tensors(tensors)
        .apply(&mut networks.generator)
        .unwrap();
    PretrainedGan::new(config, &networks.generator, &networks.discriminator)
        .save(folder)
        .unwrap();
}

#[test]
fn fault_11_images_that_are_finite_for_some_latent_vectors_only_are_neither_measured_nor_shown() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (source, array, page) = (at("source"), at("images.npy"), at("page.html"));
    overflowing_source(source.as_ref());
    // It can be opened: seed 1 is harmless.
    good(&["generate", "--from", &source, "--seeds", "1", "--out", &array]);
    std::fs::remove_file(&array).unwrap();
    let data = pictures(&folder.path().join("pictures"), 24);
    let named = ["--from", "hidden2"];
    bad(
        &["evaluate", "--from", &source, "--data", &data, "--count", "100"],
        &named,
    );
    bad(&["playground", "--from", &source, "--out", &page], &named);
    bad(
        &["generate", "--from", &source, "--seeds", "2", "--out", &array],
        &["hidden2"],
    );
    assert!(!Path::new(&page).exists() && !Path::new(&array).exists());
}

/// Its images as bytes would be black, and labeled.
#[test]
fn fault_11_a_generator_without_finite_images_labels_nothing() {
    let data = digits();
    let (from, config) = source(&data.path(""));
    save_with_huge_weights(config, from.as_ref());
    let mut arguments: Vec<&str> =
        "semi-supervised --data mnist --labels 20 --seeds 1 --epochs 1 --out kept --from"
            .split(' ')
            .collect();
    arguments.push(&from);
    let found = data.run(&arguments);
    let errors = ends_with(&found, 1);
    assert!(
        errors.contains("--from") && errors.contains("hidden1"),
        "{errors}"
    );
    assert_eq!(text(&found.stdout), "");
    assert!(!data.path("kept").exists(), "nothing was trained");
}
