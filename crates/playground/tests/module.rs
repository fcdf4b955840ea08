//! The committed module: it is current, and its images are those of this crate.

#![allow(clippy::unwrap_used)]

use engraft_playground::{Generator, MODULE, Model, Page, noise, sources_hash};
use engraft_tensor::{
    Geometry, Padding, Program, Tensor, affine_leaky_relu, bias_leaky_relu, concat, conv2d, conv2d_input,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::process::Command;

const LATENT: usize = 7;

/// A class-conditional generator of images of 8x12 pixels with the operations of the networks of this project.
fn generator(channels: usize, classes: usize) -> Generator {
    let rng = &mut Pcg64::seed_from_u64(3);
    let mut weight = |shape: &[usize]| {
        let fan_in: usize = shape[..shape.len() - 1].iter().product();
        (Tensor::randn(shape, rng) * (1.5 / fan_in as f32).sqrt()).as_leaf()
    };
    let embedding = weight(&[classes.max(1), 3]);
    let dense = weight(&[LATENT + 3, 2 * 3 * 32]);
    let (up, bias) = (weight(&[4, 4, 24, 32]), weight(&[24]));
    let (scale, shift) = (weight(&[24]), weight(&[24]));
    let (gate, last) = (weight(&[32, 24]), weight(&[3, 3, 24, channels]));
    let z = Tensor::zeros([1, LATENT]).as_leaf();
    let programs = (0..classes.max(1)).map(|class| {
        let label = (0..classes.max(1)).map(|i| if i == class { 1.0 } else { 0.0 });
        let class = Tensor::from_vec([1, classes.max(1)], label.collect()).matmul(&embedding);
        let x = concat(&[&z, &class], 1).matmul(&dense).reshape([1, 2, 3, 32]);
        let x = &x * (x.square().mean_keep(&[3]) + 1e-8).powf(-0.5);
        let gates = (x.mean_axes(&[1, 2]).matmul(&gate))
            .sigmoid()
            .reshape([1, 1, 1, 24]);
        let double = |size| Geometry::transposed(size, [4, 4], [2, 2], [1, 1], Padding::Same, [0, 0]);
        let x = bias_leaky_relu(&conv2d_input(&x, &up, &double([2, 3])).blur(), &bias, 0.2);
        let x = affine_leaky_relu(&x, &scale, &shift, 0.1).upsample_nearest(2) * gates;
        let same = Geometry::forward([8, 12], [3, 3], [1, 1], [1, 1], Padding::Same);
        Program::record(&[&z], &conv2d(&x, &last, &same).tanh()).unwrap()
    });
    Generator::new(programs.collect(), LATENT).unwrap()
}

fn page(models: &[&Generator]) -> Page {
    let model = |(i, generator): (usize, &&Generator)| Model::new(format!("model {i}"), "", generator, true);
    Page {
        title: "a test".into(),
        models: models.iter().enumerate().map(model).collect(),
        latent: LATENT,
        class_names: Vec::new(),
        directions: Vec::new(),
    }
}

#[test]
fn it_is_made_from_the_present_sources() {
    let recorded = include_str!("../module/sources.sha256").trim();
    assert_eq!(
        recorded,
        sources_hash(),
        "run `cargo xtask wasm` and commit crates/playground/module"
    );
    assert!(MODULE.starts_with(b"\0asm") && MODULE.len() <= 700_000);
}

/// Rounding to 16 bits changes the images little, and classes and seeds change them much.
#[test]
fn a_stored_generator_draws_the_same_images() {
    for (channels, classes) in [(1, 3), (3, 0), (4, 1)] {
        let generator = generator(channels, classes);
        let again = |is_rounded| Generator::from_bytes(&generator.to_bytes(is_rounded)).unwrap();
        let (exact, rounded) = (again(false), again(true).folded());
        assert_eq!(exact.class_count(), if classes > 1 { classes } else { 0 });
        let draw = |from: &Generator, seed, label| from.generate(&noise(seed, LATENT), label);
        let apart = |a: &Tensor, b: &Tensor| {
            let differences = (a - b).abs();
            differences
                .as_slice()
                .iter()
                .fold(0.0_f32, |most, &x| most.max(x))
        };
        let first = draw(&generator, 1, 0);
        assert_eq!(first.shape(), [1, 8, 12, channels]);
        assert_eq!(first.as_slice(), draw(&exact, 1, 0).as_slice());
        assert!(apart(&first, &draw(&rounded, 1, 0)) < 5e-3);
        assert!(apart(&first, &draw(&generator, 2, 0)) > 0.1);
        assert!(classes < 2 || apart(&first, &draw(&generator, 1, 2)) > 0.02);
        let pixels = generator.pixels(&noise(1, LATENT), 0);
        assert_eq!(pixels.len(), 8 * 12 * 4);
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let bytes = generator(1, 2).to_bytes(true);
    for length in 0..bytes.len().min(400) {
        assert!(Generator::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
    assert!(Generator::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    assert!(Generator::from_bytes(&[bytes.as_slice(), b"x"].concat()).is_err());
    for (at, found) in [(0, b'X'), (4, 9), (16, 0xff), (20, 7)] {
        let mut bytes = bytes.clone();
        bytes[at] = found;
        assert!(Generator::from_bytes(&bytes).is_err(), "{at}");
    }
    let other = generator(1, 0);
    assert!(Generator::new(Vec::new(), 1).is_err());
    let not_an_image = Program::record(&[], &Tensor::zeros([2, 2])).unwrap();
    let error = Generator::new(vec![not_an_image], 1).err().unwrap().to_string();
    assert!(error.contains("[2, 2]"), "{error}");
    assert_eq!(other.image(), [8, 12, 1]);
}

/// Runs where node is installed. There is no other WebAssembly engine among the dependencies.
#[test]
fn the_module_draws_the_same_images() {
    let (first, second) = (generator(3, 3), generator(1, 0));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    std::fs::write(&file, page(&[&first, &second]).to_html()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/draw.js");
    let wanted = [(1_u64, 0_usize), (2, 2), (4_294_967_299, 1)];
    let arguments = wanted
        .iter()
        .flat_map(|(seed, label)| [seed.to_string(), label.to_string()]);
    let output = match Command::new("node")
        .arg(script)
        .arg(&file)
        .args(arguments)
        .output()
    {
        Ok(output) => output,
        Err(error) => return println!("not tested, because node cannot be run: {error}"),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["damaged"], -1);
    let images: Vec<Vec<u8>> = serde_json::from_value(found["images"].clone()).unwrap();
    let expected = wanted.iter().flat_map(|&(seed, label)| {
        [(&first, label), (&second, 0)]
            .map(|(generator, label)| generator.pixels(&noise(seed, LATENT), label))
    });
    let expected: Vec<Vec<u8>> = expected.collect();
    assert_eq!(images.len(), expected.len());
    for (image, expected) in images.iter().zip(&expected) {
        assert_eq!(image.len(), expected.len());
        let largest = image.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(largest.unwrap() <= 1, "{largest:?}");
    }
}
