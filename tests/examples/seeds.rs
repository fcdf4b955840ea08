//! Writes the seeds of the fuzz targets anew: `cargo run -p engraft-tests --example seeds`. Seeds of crashes stay.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/readers.rs"]
#[allow(dead_code)] // the readers themselves
mod readers;

use engraft_data::{Dataset, Provenance};
use engraft_gan::{CheckpointChoice, TrainConfig, Trainer};
use engraft_layers::{Adapter, StateDict, TorchLayout};
use engraft_tensor::Tensor;
use engraft_transfer::{AdapterFile, Recipe, Transfer, TransferConfig, open_source};
use flate2::{Compression, Crc, write::GzEncoder};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use readers::{NEXT_FILE, OWN_SOURCE, RUN_FILES, SOURCE_FILES, STEP, data, smallest};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn save(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

/// The files of a directory as one input; missing ones are empty.
fn joined(files: impl IntoIterator<Item = std::path::PathBuf>) -> Vec<u8> {
    let contents: Vec<Vec<u8>> = files
        .into_iter()
        .map(|file| fs::read(file).unwrap_or_default())
        .collect();
    contents.join(NEXT_FILE)
}

fn main() {
    arrays();
    weights();
    settings();
    sources_and_adapters();
    runs();
    pytorch();
    pictures();
    measures();
}

fn arrays() {
    let images: Vec<u8> = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3][..], &[7; 18]].concat();
    save("idx", "images", &images);
    save("idx", "labels", &[0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 9]);
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&images).unwrap();
    save("idx", "images.gz", &packed.finish().unwrap());
    let npy = |name: &str, kind: &str, shape: &str, data: &[u8]| {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        save(
            "npy",
            name,
            &[b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat(),
        );
    };
    npy("bytes", "|u1", "(2, 3, 4)", &[200; 24]);
    npy("color", "<f4", "(1, 2, 2, 3)", &0.5_f32.to_le_bytes().repeat(12));
    npy(
        "double",
        "<f8",
        "(2, 2, 2, 1)",
        &(-1.0_f64).to_le_bytes().repeat(8),
    );
}

fn small_state() -> StateDict {
    StateDict::from_tensors(BTreeMap::from([
        ("hidden.weight".into(), Tensor::full([2, 3], 0.5)),
        ("kernel.weight".into(), Tensor::full([1, 1, 2, 2], -0.25)),
        ("norm.running_mean".into(), Tensor::full([3], 1.5)),
        ("scalar".into(), Tensor::full([], 2.0)),
    ]))
}

fn weights() {
    let state = small_state().with_metadata("made by", "seeds");
    save("weights", "plain", &state.to_bytes().unwrap());
    save("weights", "sealed", &state.to_sealed_bytes().unwrap());
    save("weights", "half", &state.to_half_bytes().unwrap());
    save("weights", "double", &state.cast::<f64>().to_bytes().unwrap());
    let layout = TorchLayout::new().rename("hidden", "main.0");
    save("weights", "pytorch", &layout.to_torch_bytes(&state).unwrap());
    save("weights", "empty", &StateDict::<f32>::new().to_bytes().unwrap());
}

fn settings() {
    save(
        "settings",
        "standard",
        TrainConfig::standard(&data()).to_toml().as_bytes(),
    );
    save("settings", "smallest", smallest().to_toml().as_bytes());
    let mut config = smallest();
    config.classes = 3;
    config.pseudo_labels.clusters = 3;
    for change in [
        "regularize.r1_gamma=0.5",
        "augment.kinds=[\"translation\", \"cutout\"]",
    ] {
        config = config.changed(change).unwrap();
    }
    config.plan = Recipe::fine_tune(&OWN_SOURCE).unwrap().plan.to_table();
    save("settings", "much", config.to_toml().as_bytes());
    let plan = "[plan]\nsource_sha256 = \"00\"\nadapter = \"low-rank=2\"\nminer = 8\npatch_discriminator = true\n\
        regularizer = { ewc = 10.0 }\ndistillation = 0.5\n[[plan.phases]]\ngenerator = \"nothing\"\nsteps = 3\n\
        [[plan.phases]]\ngenerator = { except = [\"hidden1\"] }\ndiscriminator = { only = [\"head\"] }\n\
        [[plan.learning_rates]]\nunder = [\"hidden1\"]\nfactor = 0.1\n";
    save(
        "settings",
        "plan",
        format!("{}{plan}", smallest().to_toml()).as_bytes(),
    );
}

/// Images in two levels of gray, for clusters.
fn levels() -> Dataset {
    let pixels = (0..600 * 16)
        .map(|i: u32| {
            if (i / 16).is_multiple_of(3) {
                20
            } else {
                (200 + i % 7) as u8
            }
        })
        .collect();
    Dataset::unlabeled("levels", Provenance::Memory, pixels, [4, 4, 1]).unwrap()
}

fn train(config: TrainConfig, data: Dataset, folder: &Path) {
    let mut trainer = Trainer::open(config, data, folder).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
}

fn sources_and_adapters() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let files = |place: &Path| joined(SOURCE_FILES.map(|name| place.join(name)));
    OWN_SOURCE.save(&at("plain")).unwrap();
    save("source", "sealed", &files(&at("plain")));
    for name in &SOURCE_FILES[1..3] {
        let path = at("plain").join(name);
        let state: StateDict = StateDict::load(&path).unwrap();
        fs::write(&path, state.to_bytes().unwrap()).unwrap();
    }
    save("source", "plain", &files(&at("plain")));
    let mut config = TrainConfig::standard(&levels());
    (config.network, config.batch, config.steps) = (smallest().network, 4, 1);
    (config.validation_images, config.evaluation.every) = (0, 0);
    (config.pseudo_labels.clusters, config.pseudo_labels.components) = (2, 2);
    train(config, levels(), &at("run"));
    let clustered = open_source(&at("run"), CheckpointChoice::Last).unwrap();
    clustered.save(&at("clusters")).unwrap();
    for name in &SOURCE_FILES[1..] {
        let path = at("clusters").join(name);
        let state: StateDict = StateDict::load(&path).unwrap();
        fs::write(&path, state.to_bytes().unwrap()).unwrap();
    }
    save("source", "clusters", &files(&at("clusters")));
    for (name, adapter, miner) in [
        ("low-rank", Some(Adapter::LowRank { rank: 1 }), None),
        ("miner", None, Some(2)),
    ] {
        let source_sha256 = OWN_SOURCE.sha256().unwrap();
        let plan = TransferConfig {
            source_sha256,
            adapter,
            miner,
            ..TransferConfig::default()
        };
        let transfer = Transfer::new(OWN_SOURCE.clone(), plan).unwrap();
        let mut generator = transfer.initial_networks().unwrap().generator;
        let moved = StateDict::of(&generator).into_tensors();
        let moved = moved
            .into_iter()
            .map(|(name, tensor)| (name, tensor * 1.5))
            .collect();
        StateDict::from_tensors(moved).apply(&mut generator).unwrap();
        let path = at("adapter");
        AdapterFile::from_transfer(&transfer, &generator)
            .unwrap()
            .save(&path)
            .unwrap();
        save("adapter", &format!("{name}-sealed"), &fs::read(&path).unwrap());
        let state: StateDict = StateDict::load(&path).unwrap();
        let state = state.with_metadata("pseudo_label_counts", "3,1");
        save("adapter", name, &state.to_bytes().unwrap());
    }
}

fn runs() {
    let mut adaptive = smallest();
    for change in ["augment.kinds=[\"translation\"]", "augment.adaptive.target=0.6"] {
        adaptive = adaptive.changed(change).unwrap();
    }
    adaptive.ema_half_life = 0;
    for (name, config) in [("plain", smallest()), ("adaptive", adaptive)] {
        let folder = tempfile::tempdir().unwrap();
        train(config, data(), folder.path());
        let checkpoint = folder.path().join(format!("checkpoints/step-{STEP:06}"));
        save(
            "checkpoint",
            name,
            &joined(RUN_FILES.map(|file| match file {
                "run.toml" => folder.path().join(file),
                _ => checkpoint.join(file),
            })),
        );
    }
}

fn pytorch() {
    // Number, kernel and batch norm of each layer of the tutorial's networks with one channel everywhere.
    let state = |convolutions: &[usize], norms: &[usize]| {
        let mut tensors = BTreeMap::new();
        for at in convolutions {
            tensors.insert(
                format!("main.{at}.weight"),
                Tensor::<f32>::full([1, 1, 4, 4], 0.1),
            );
        }
        for at in norms {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                tensors.insert(format!("main.{at}.{part}"), Tensor::full([1], 0.5));
            }
        }
        StateDict::from_tensors(tensors).to_bytes().unwrap()
    };
    let generator = state(&[0, 3, 6, 9, 12], &[1, 4, 7, 10]);
    let discriminator = state(&[0, 2, 5, 8, 11], &[3, 6, 9]);
    save("pytorch", "generator", &generator);
    save(
        "pytorch",
        "both",
        &[&generator[..], &discriminator].join(NEXT_FILE),
    );
    save("pytorch", "pickle", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.");
}

fn picture(side: u32) -> DynamicImage {
    RgbImage::from_fn(side, side, |x, y| {
        Rgb([(x * 31) as u8, (y * 47) as u8, (x * y + 5 * x) as u8])
    })
    .into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A PNG file of four pixels with a palette.
fn with_palette() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 2);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(vec![0, 0, 0, 255, 0, 0, 0, 255, 0]);
    encoder.set_trns(vec![0, 128]);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&[0, 1, 2, 1])
        .unwrap();
    bytes
}

/// A PNG file of one pixel whose palette has an invalid length, on which a decoder panics.
fn with_broken_palette() -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let chunk = [kind, data].concat();
        let mut crc = Crc::new();
        crc.update(&chunk);
        let (length, crc) = ((data.len() as u32).to_be_bytes(), crc.sum().to_be_bytes());
        [&length[..], &chunk, &crc].concat()
    };
    // One row: no filter, color 0.
    let pixels = [0x78, 1, 1, 2, 0, 0xfd, 0xff, 0, 0, 0, 2, 0, 1];
    let chunks = [
        chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 3, 0, 0, 0]),
        chunk(b"PLTE", &[0; 4]),
        chunk(b"IDAT", &pixels),
        chunk(b"IEND", &[]),
    ];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat()
}

/// An archive of these files.
fn zipped(method: CompressionMethod, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, contents) in entries {
        zip.start_file(*name, options).unwrap();
        zip.write_all(contents).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn pictures() {
    let small = picture(9);
    let second = encoded(&picture(5), ImageFormat::Png);
    let labels = br#"{"labels": [["one/a", 0], ["two/b", 1], ["two/c", 1]]}"#;
    let formats = [
        ("png", ImageFormat::Png, small.clone()),
        ("png-gray-alpha", ImageFormat::Png, small.to_luma_alpha8().into()),
        ("png-16", ImageFormat::Png, small.to_rgb16().into()),
        ("jpeg", ImageFormat::Jpeg, small.clone()),
        ("jpeg-gray", ImageFormat::Jpeg, small.to_luma8().into()),
        ("webp", ImageFormat::WebP, small.to_rgba8().into()),
        ("bmp", ImageFormat::Bmp, small.clone()),
        ("tiff", ImageFormat::Tiff, small.clone()),
        ("tiff-16", ImageFormat::Tiff, small.to_luma16().into()),
        ("gif", ImageFormat::Gif, small.to_rgba8().into()),
    ];
    for (choice, (name, format, picture)) in (0..).zip(formats) {
        let first = [&[choice], &encoded(&picture, format)[..]].concat();
        save("pictures", name, &[&first[..], &second].join(NEXT_FILE));
    }
    let palette = with_palette();
    save("pictures", "png-palette", &[&[1], &palette[..]].concat());
    let first = [&[128], &palette[..]].concat();
    save(
        "pictures",
        "labels",
        &[&first[..], &second, &second, labels].join(NEXT_FILE),
    );
    for (name, method) in [
        ("stored", CompressionMethod::Stored),
        ("deflated", CompressionMethod::DEFLATE),
    ] {
        let entries = [
            ("one/a.png", &palette[..]),
            ("two/b.png", &second),
            ("../c.png", &second),
            ("dataset.json", labels),
        ];
        save("archive", name, &zipped(method, &entries));
    }
    let broken = with_broken_palette();
    let first = [&[0], &broken[..]].concat();
    save(
        "pictures",
        "png-broken-palette",
        &[&first[..], &second].join(NEXT_FILE),
    );
    let entries = [("one/a.png", &broken[..]), ("two/b.png", &second)];
    save(
        "archive",
        "broken-palette",
        &zipped(CompressionMethod::Stored, &entries),
    );
}

/// Lines of `measures.jsonl`, as a run writes them.
fn measures() {
    let line = |step: u32, kid: &str, rest: &str| {
        format!(
            "{{\"step\":{step},\"kid\":{kid},\"kid_se\":0.0125,\"coverage\":0.5,\"spread\":0.9375,\
             \"memorised\":0.0625,\"overfitting\":0.25{rest}}}\n"
        )
    };
    let plain = line(1000, "0.25", "") + &line(2000, "0.125", "");
    save("measures", "plain", plain.as_bytes());
    // With second features, and with a line that a kill cut short.
    let second = line(1000, "-0.5", ",\"second_kid\":0.75") + &line(1500, "1e-7", "")[..40] + "\n";
    let second = second + &line(2000, "0.0625", ",\"second_kid\":-0.001");
    save("measures", "second", second.as_bytes());
}
