//! Random features detect known changes of pictures: each change increases the distance to real pictures.
//!
//! The pictures come from `cifar10/test.zip` and `emoji/google.zip` in the directory of `ENGRAFT_DATA`. If they are
//! missing, nothing is tested. The numbers in the documentation of `RandomFeatures` come from
//! `cargo test --release -p engraft-metrics --test random_features -- --nocapture`.

use engraft_base::choose;
use engraft_data::{DataError, DataOptions, DataSource};
use engraft_metrics::{
    FeatureExtractor, RandomFeatures, frechet_distance, kernel_distance, memorized_share, prdc,
};
use engraft_tensor::Tensor;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// Pictures in all parts together. With 1200, weak changes are no longer certain.
const PICTURES: usize = 3000;

/// A picture as rows of pixels, modified in place.
struct Picture<'a> {
    size: usize,
    values: &'a mut [f32],
}

impl Picture<'_> {
    fn pixels(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(3)
    }

    /// `[1, 2, 1] / 4` along both axes.
    fn blur(&mut self) {
        for step in [3, 3 * self.size] {
            let old = self.values.to_vec();
            let length = step * self.size;
            for (i, value) in self.values.iter_mut().enumerate() {
                let place = i % length / step;
                let before = if place > 0 { old[i - step] } else { old[i] };
                let after = if place + 1 < self.size {
                    old[i + step]
                } else {
                    old[i]
                };
                *value = (before + 2.0 * old[i] + after) / 4.0;
            }
        }
    }

    fn add(&mut self, mut amount: impl FnMut(usize) -> f32) {
        for (i, value) in self.values.iter_mut().enumerate() {
            *value = (*value + amount(i)).clamp(-1.0, 1.0);
        }
    }

    /// Shuffles square parts of the picture.
    fn shuffle(&mut self, parts: usize, rng: &mut Pcg64) {
        let (old, side) = (self.values.to_vec(), self.size / parts);
        let mut order: Vec<usize> = (0..parts * parts).collect();
        order.shuffle(rng);
        for (to, from) in order.into_iter().enumerate() {
            for row in 0..side {
                let at = |p: usize| ((p / parts * side + row) * self.size + p % parts * side) * 3;
                self.values[at(to)..][..side * 3].copy_from_slice(&old[at(from)..][..side * 3]);
            }
        }
    }
}

fn changed(images: &Tensor, mut change: impl FnMut(&mut Picture<'_>, &mut Pcg64)) -> Tensor {
    let size = images.shape()[1];
    let mut rng = Pcg64::seed_from_u64(3);
    let mut values = images.as_slice().to_vec();
    for values in values.chunks_exact_mut(3 * size * size) {
        change(&mut Picture { size, values }, &mut rng);
    }
    Tensor::from_vec(images.shape(), values)
}

/// Pictures `[n, size, size, 3]` in three parts of equal size. `None` if the archive is missing.
fn parts(archive: &str, size: usize) -> Result<Option<[Tensor; 3]>, DataError> {
    let path = std::env::var_os("ENGRAFT_DATA").map(|directory| Path::new(&directory).join(archive));
    let Some(path) = path.filter(|path| path.exists()) else {
        return Ok(None);
    };
    let mut options = DataOptions::new();
    options.size = Some([size, size]);
    let data = DataSource::parse(&path.to_string_lossy())?.open(&options)?.train;
    let mut chosen = choose(data.len(), PICTURES, 1);
    chosen.shuffle(&mut Pcg64::seed_from_u64(1));
    let part = chosen.len() / 3;
    Ok(Some([0, 1, 2].map(|i| {
        let indices = &chosen[i * part..(i + 1) * part];
        Tensor::from_vec([part, size, size, 3], data.batch_f32(indices))
    })))
}

fn noise(strength: f32) -> impl FnMut(&mut Picture<'_>, &mut Pcg64) {
    move |picture, rng| picture.add(|_| strength * rng.random_range(-1.7..1.7))
}

fn gray(pixel: &mut [f32]) {
    let light = 0.2126 * pixel[0] + 0.7152 * pixel[1] + 0.0722 * pixel[2];
    pixel.fill(light);
}

fn ordered(archive: &str, size: usize) -> Result<(), Box<dyn Error>> {
    let Some([real, train, fresh]) = parts(archive, size)? else {
        println!("{archive}: not there, nothing tested");
        return Ok(());
    };
    let extractor = RandomFeatures::for_size(size);
    let read = |images: &Tensor| extractor.read(images).map(|output| output.features);
    let start = Instant::now();
    let of_real = read(&real)?;
    let milliseconds = start.elapsed().as_secs_f64() * 1000.0 / of_real.len() as f64;
    let of_train = read(&train)?;
    println!(
        "{archive}: {} ({}..), {} features, {} images a side, {milliseconds:.2} ms an image",
        extractor.name(),
        &extractor.hash()[..12],
        extractor.dimension(),
        of_real.len()
    );
    let collapsed: Vec<Tensor> = (0..fresh.shape()[0])
        .map(|i| fresh.narrow(0, i % 50, 1))
        .collect();
    let collapsed = engraft_tensor::concat(&collapsed.iter().collect::<Vec<_>>(), 0);
    let cases = [
        ("real", fresh.clone()),
        ("blurred", changed(&fresh, |picture, _| picture.blur())),
        ("noise 0.05", changed(&fresh, noise(0.05))),
        ("noise 0.2", changed(&fresh, noise(0.2))),
        (
            "checkerboard",
            changed(&fresh, |picture, _| {
                let size = picture.size;
                picture.add(|i| {
                    if (i / 3 % size + i / 3 / size) % 2 == 0 {
                        0.1
                    } else {
                        -0.1
                    }
                });
            }),
        ),
        (
            "gray",
            changed(&fresh, |picture, _| picture.pixels().for_each(gray)),
        ),
        (
            "other hues",
            changed(&fresh, |picture, _| {
                picture.pixels().for_each(|p| p.rotate_left(1))
            }),
        ),
        (
            "shuffled 2x2",
            changed(&fresh, |picture, rng| picture.shuffle(2, rng)),
        ),
        (
            "shuffled 4x4",
            changed(&fresh, |picture, rng| picture.shuffle(4, rng)),
        ),
        (
            "one color",
            changed(&fresh, |picture, _| {
                picture
                    .pixels()
                    .for_each(|p| p.copy_from_slice(&[0.2, 0.0, -0.2]))
            }),
        ),
        ("50 images", collapsed),
        ("copies", train.clone()),
        ("noisy copies", changed(&train, noise(0.02))),
    ];
    let mut found = std::collections::BTreeMap::new();
    for (name, images) in cases {
        let features = read(&images)?;
        let kid = kernel_distance(&of_real, &features)?;
        let overlap = prdc(&of_real, &features)?;
        let memorized = memorized_share(&of_train, &of_real, &features)?;
        // Nothing is asserted of it, and without optimization it takes most of the time.
        let fid = match cfg!(debug_assertions) {
            true => "-".into(),
            false => format!("{:.3}", frechet_distance(&of_real, &features)?),
        };
        println!(
            "{name:<13} KID {:>9.4} ± {:.4}  FID {fid:>8}  precision {:.2}  recall {:.2}  coverage {:.2}  memorized {memorized:.2}",
            kid.value, kid.standard_error, overlap.precision, overlap.recall, overlap.coverage
        );
        found.insert(name, (kid, overlap.coverage, memorized));
    }
    let (floor, coverage, memorized) = found["real"];
    assert!(floor.value < 3.0 * floor.standard_error && coverage > 0.9 && memorized < 0.1);
    for name in [
        "blurred",
        "noise 0.2",
        "checkerboard",
        "gray",
        "other hues",
        "shuffled 2x2",
        "shuffled 4x4",
        "one color",
    ] {
        let (kid, ..) = found[name];
        let error = kid.standard_error.hypot(floor.standard_error);
        assert!(
            kid.value - floor.value > 4.0 * error,
            "{name}: {kid:?} is no more than {floor:?}"
        );
    }
    let distance = |name: &str| found[name].0.value;
    assert!(distance("noise 0.05") < distance("noise 0.2") && distance("noise 0.2") < distance("one color"));
    assert!(distance("shuffled 2x2") < distance("shuffled 4x4"));
    assert!(found["50 images"].1 < 0.5, "a collapsed generator covers little");
    for name in ["copies", "noisy copies"] {
        assert!(found[name].2 > 0.9, "{name}: {:?}", found[name]);
    }
    Ok(())
}

#[test]
fn photos_are_ordered() -> Result<(), Box<dyn Error>> {
    ordered("cifar10/test.zip", 32)
}

#[test]
fn drawings_are_ordered() -> Result<(), Box<dyn Error>> {
    ordered("emoji/google.zip", 64)
}
