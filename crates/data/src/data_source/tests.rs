//! All kinds of data sources, with valid, damaged and hostile pictures.

use super::*;
use crate::report::Treatment;
use crate::{TrainingData, write_npy};
use image::{GrayImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use std::fs;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The treatment of a folder or file with the size `[h, w, c]`.
fn open(path: &Path, [h, w, c]: [usize; 3]) -> Result<Loaded, DataError> {
    let mut options = DataOptions::new();
    options.size = Some([h, w]);
    options.channels = if c == 1 { Channels::Gray } else { Channels::Rgb };
    DataSource::parse(path.to_str().unwrap())?.open(&options)
}

fn report(loaded: &Loaded, name: &str) -> Option<String> {
    let of = |r: &&FileReport| r.path.file_name().unwrap() == name;
    (loaded.report.files)
        .iter()
        .find(of)
        .map(|r| r.to_string().split_once(": ").unwrap().1.to_owned())
}

#[test]
fn pictures_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let sizes = || {
        DataSource::parse(folder.path().to_str().unwrap())
            .unwrap()
            .picture_sizes()
            .unwrap()
    };
    assert!(sizes().is_empty());
    GrayImage::from_fn(4, 4, |x, y| image::Luma([(60 * x + y) as u8]))
        .save(at("a.png"))
        .unwrap();
    RgbImage::from_pixel(8, 8, Rgb([255, 255, 255]))
        .save(at("b.png"))
        .unwrap();
    // The center of a wide picture is white, its ends are black.
    RgbImage::from_fn(12, 4, |x, _| Rgb([if (4..8).contains(&x) { 255 } else { 0 }; 3]))
        .save(at("c.png"))
        .unwrap();
    RgbaImage::from_pixel(4, 4, Rgba([0, 0, 0, 51]))
        .save(at("d.png"))
        .unwrap();
    // A JPEG named PNG.
    GrayImage::from_pixel(16, 16, image::Luma([200]))
        .save_with_format(at("e.png"), ImageFormat::Jpeg)
        .unwrap();
    fs::write(at("notes.txt"), "not a picture").unwrap();
    fs::write(at(".hidden"), "passed over in silence").unwrap();
    fs::create_dir(at("inner")).unwrap();
    fs::write(at("broken-palette.png"), png_with_broken_palette()).unwrap();

    let found = open(folder.path(), [4, 4, 1]).unwrap();
    assert_eq!((found.train.len(), found.files.len()), (5, 5));
    assert_eq!(found.train.image(0)[..5], [0, 60, 120, 180, 1]);
    assert_eq!(report(&found, "a.png"), None);
    assert_eq!(found.train.image(1), [255; 16]);
    assert_eq!(
        report(&found, "b.png").unwrap(),
        "scaled from 8x8 to 4x4, color to gray"
    );
    assert_eq!(found.train.image(2), [255; 16]);
    assert_eq!(
        report(&found, "c.png").unwrap(),
        "cropped from 12x4 to 4x4, color to gray"
    );
    assert_eq!(found.train.image(3), [255 - 51; 16]);
    assert_eq!(
        report(&found, "d.png").unwrap(),
        "transparency shown on white, color to gray"
    );
    assert!(found.train.image(4).iter().all(|&p| p.abs_diff(200) < 3));
    assert_eq!(
        report(&found, "notes.txt").unwrap(),
        "left out: not a PNG, JPEG, WebP, BMP, TIFF or GIF picture"
    );
    let text = report(&found, "broken-palette.png").unwrap();
    assert!(
        text.starts_with("left out: damaged, its decoder failed: "),
        "{text}"
    );
    // The white ones are equal.
    let is_copy = |file: &&FileReport| matches!(file.what, Treatment::Copy(_));
    assert_eq!(found.report.files.iter().filter(is_copy).count(), 1);
    assert_eq!(found.report.files.len(), 7);
    assert_eq!(
        found.report.totals[3..],
        [
            "color to gray: 3 files",
            "cropped: 1 file",
            "scaled: 2 files",
            "transparency shown on white: 1 file",
            "1 picture equals an earlier one; equal pictures stay on one side of a split",
            "left out, damaged: 1 file",
            "left out, not a picture in a supported format: 1 file"
        ]
    );

    let color = open(folder.path(), [4, 4, 3]).unwrap();
    assert_eq!(color.train.image(0)[..6], [0, 0, 0, 60, 60, 60]);
    assert_eq!(report(&color, "a.png").unwrap(), "gray to color");
}

/// A common background of all pictures, which can be chosen.
#[test]
fn transparency_is_shown_on_one_ground() {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, ink: u8| {
        // Ink in the left half, transparent in the right one, half opaque at the border.
        let picture = RgbaImage::from_fn(4, 4, |x, _| match x {
            0..2 => Rgba([ink, ink, ink, 255]),
            2 => Rgba([ink, ink, ink, 127]),
            _ => Rgba([0, 0, 0, 0]),
        });
        picture.save(folder.path().join(name)).unwrap();
    };
    save("dark.png", 20);
    save("light.png", 240);
    let mut options = DataOptions::new();
    let source = DataSource::Folder(folder.path().into());
    let half = |ink: u32, ground: u32| ((ink * 127 + ground * 128 + 127) / 255) as u8;
    let found = source.open(&options).unwrap();
    assert_eq!(found.train.image_size(), [4, 4, 1]);
    assert_eq!(found.train.image(0)[..4], [20, 20, half(20, 255), 255]);
    assert_eq!(found.train.image(1)[..4], [240, 240, half(240, 255), 255]);
    options.background = [0, 0, 90];
    let found = source.open(&options).unwrap();
    assert_eq!(found.train.image_size(), [4, 4, 3]);
    assert_eq!(
        found.train.image(0)[6..12],
        [half(20, 0), half(20, 0), half(20, 90), 0, 0, 90]
    );
    assert_eq!(
        report(&found, "dark.png").unwrap(),
        "transparency shown on #00005a"
    );
}

/// The eight orientations of EXIF, on a picture with four different pixels.
#[test]
fn pictures_are_rotated_by_their_exif_data() {
    let cases = [
        (1, [1, 2, 3, 4], None),
        (2, [2, 1, 4, 3], Some("mirrored")),
        (3, [4, 3, 2, 1], Some("rotated")),
        (4, [3, 4, 1, 2], Some("mirrored")),
        (5, [1, 3, 2, 4], Some("rotated and mirrored")),
        (6, [3, 1, 4, 2], Some("rotated")),
        (7, [4, 2, 3, 1], Some("rotated and mirrored")),
        (8, [2, 4, 1, 3], Some("rotated")),
    ];
    let folder = tempfile::tempdir().unwrap();
    let png = encoded(
        &GrayImage::from_raw(2, 2, vec![1, 2, 3, 4]).unwrap(),
        ImageFormat::Png,
    );
    for (orientation, _, _) in cases {
        let turned = png_with_exif(&png, &exif(orientation));
        fs::write(folder.path().join(format!("{orientation}.png")), turned).unwrap();
    }
    let found = open(folder.path(), [2, 2, 1]).unwrap();
    for (i, (orientation, pixels, done)) in cases.into_iter().enumerate() {
        assert_eq!(found.train.image(i), pixels, "{orientation}");
        let done = done.map(|done| format!("{done} by its EXIF data"));
        assert_eq!(report(&found, &format!("{orientation}.png")), done);
    }
}

/// A photo taken upright, which the camera stores on its side.
#[test]
fn a_photo_is_rotated_before_it_is_cropped() {
    let folder = tempfile::tempdir().unwrap();
    let picture = GrayImage::from_fn(32, 16, |x, _| image::Luma([if x < 16 { 255 } else { 0 }]));
    let photo = jpeg_with_exif(&encoded(&picture, ImageFormat::Jpeg), &exif(6));
    fs::write(folder.path().join("photo.jpg"), photo).unwrap();

    let found = open(folder.path(), [32, 16, 1]).unwrap();
    assert_eq!(report(&found, "photo.jpg").unwrap(), "rotated by its EXIF data");
    let (top, bottom) = found.train.image(0).split_at(16 * 16);
    assert!(top.iter().all(|&p| p > 250) && bottom.iter().all(|&p| p < 5));

    let found = open(folder.path(), [8, 8, 1]).unwrap();
    assert_eq!(
        report(&found, "photo.jpg").unwrap(),
        "rotated by its EXIF data, cropped from 16x32 to 16x16, scaled from 16x16 to 8x8"
    );
}

#[test]
fn broken_exif_data_leave_the_picture_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let picture = GrayImage::from_fn(16, 8, |x, _| image::Luma([if x < 8 { 255 } else { 0 }]));
    let (png, jpeg) = (
        encoded(&picture, ImageFormat::Png),
        encoded(&picture, ImageFormat::Jpeg),
    );
    let whole = exif(6);
    let mut far = whole.clone();
    far[4..8].fill(0xff);
    let mut many = exif(9);
    many[8..10].fill(0xff);
    let kinds = [
        ("empty", vec![]),
        ("no_tiff", b"not the data of EXIF".to_vec()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("far_directory", far),
        ("many_entries", many),
        ("orientation_0", exif(0)),
        ("orientation_9", exif(9)),
    ];
    for (name, exif) in &kinds {
        let at = |extension: &str| folder.path().join(format!("{name}.{extension}"));
        fs::write(at("png"), png_with_exif(&png, exif)).unwrap();
        fs::write(at("jpg"), jpeg_with_exif(&jpeg, exif)).unwrap();
    }
    let mut damaged = png_with_exif(&png, &whole);
    damaged[33 + 8 + whole.len()] ^= 1;
    fs::write(folder.path().join("check_sum.png"), damaged).unwrap();

    let found = open(folder.path(), [8, 16, 1]).unwrap();
    assert_eq!(found.train.len(), 2 * kinds.len() + 1);
    let is_copy = |file: &FileReport| matches!(file.what, Treatment::Copy(_));
    assert!(found.report.files.iter().all(is_copy));
    for image in (0..found.train.len()).map(|i| found.train.image(i)) {
        assert!(image[0] > 250 && image[15] < 5, "{:?}", &image[..16]);
    }
}

/// The grids of a run that lies among the pictures are no pictures.
#[test]
fn folders_of_runs_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("runs/a");
    fs::create_dir_all(run.join("samples")).unwrap();
    fs::write(run.join("run.toml"), "").unwrap();
    let picture = GrayImage::from_pixel(8, 8, image::Luma([9]));
    for path in ["mine.png", "runs/a/reals.png", "runs/a/samples/1.png"] {
        picture.save(folder.path().join(path)).unwrap();
    }
    let found = open(folder.path(), [8, 8, 1]).unwrap();
    assert_eq!(found.train.len(), 1);
    let report = found.report.files.iter().map(FileReport::to_string);
    assert_eq!(report.filter(|line| line.contains("run.toml")).count(), 1);
}

#[test]
fn broken_and_huge_files_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut png = Vec::new();
    let picture = GrayImage::from_pixel(50, 50, image::Luma([9]));
    picture
        .write_to(&mut std::io::Cursor::new(&mut png), ImageFormat::Png)
        .unwrap();
    fs::write(at("cut.png"), &png[..png.len() / 2]).unwrap();
    // The header's checksum matches its claim.
    let claim = |side: u32, depth_and_colors: [u8; 2]| {
        let mut file = png.clone();
        file[16..20].copy_from_slice(&side.to_be_bytes());
        file[20..24].copy_from_slice(&side.to_be_bytes());
        file[24..26].copy_from_slice(&depth_and_colors);
        let crc = crc32(&file[12..29]);
        file[29..33].copy_from_slice(&crc.to_be_bytes());
        file
    };
    fs::write(at("huge.png"), claim(60000, [8, 0])).unwrap();
    // Not too many pixels, but eight bytes per pixel.
    fs::write(at("deep.png"), claim(8192, [16, 6])).unwrap();

    let error = open(folder.path(), [28, 28, 1]).unwrap_err();
    assert!(matches!(error, DataError::NoPictures { .. }), "{error}");
    let error = error.to_string();
    assert!(
        error.contains("cut.png") && error.matches("16384").count() == 2,
        "{error}"
    );

    assert!(!error.contains("more files"), "{error}");
    for i in 0..4 {
        fs::write(at(&format!("cut-{i}.png")), &png[..40]).unwrap();
    }
    let error = open(folder.path(), [28, 28, 1]).unwrap_err().to_string();
    assert!(
        error.lines().count() == 7 && error.ends_with("and 2 more files"),
        "{error}"
    );
    for i in 0..4 {
        fs::remove_file(at(&format!("cut-{i}.png"))).unwrap();
    }

    fs::write(at("good.png"), &png).unwrap();
    let found = open(folder.path(), [28, 28, 1]).unwrap();
    assert_eq!((found.train.len(), found.report.files.len()), (1, 4));

    // Refused before a picture is resized.
    for size in [100_000, usize::MAX] {
        let error = open(folder.path(), [size, size, 1]).unwrap_err().to_string();
        assert!(error.contains("at most 8 GiB of pixels"), "{error}");
    }
}

/// The screen of a GIF file, in which its frames are, can be empty.
#[test]
fn a_picture_without_pixels_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut gif = Cursor::new(Vec::new());
    let picture = RgbaImage::from_pixel(8, 8, Rgba([9, 90, 200, 255]));
    picture.write_to(&mut gif, ImageFormat::Gif).unwrap();
    let gif = gif.into_inner();
    fs::write(folder.path().join("whole.gif"), &gif).unwrap();
    // Width and height.
    for (name, sides) in [("flat.gif", 8..10), ("none.gif", 6..10), ("thin.gif", 6..8)] {
        let mut empty = gif.clone();
        empty[sides].fill(0);
        fs::write(folder.path().join(name), empty).unwrap();
    }
    let source = DataSource::Folder(folder.path().into());
    assert_eq!(source.picture_sizes().unwrap(), [[8, 8]]);
    assert_eq!(source.picture_size_counts().unwrap(), [([8, 8], 1)]);
    for (size, fit) in [
        (None, Fit::Crop),
        (Some([4, 4]), Fit::Crop),
        (Some([4, 4]), Fit::Pad),
    ] {
        let mut options = DataOptions::new();
        (options.size, options.fit) = (size, fit);
        let loaded = source.open(&options).unwrap();
        assert_eq!(loaded.train.len(), 1, "{}", loaded.report);
        for name in ["flat.gif", "none.gif", "thin.gif"] {
            let text = report(&loaded, name).unwrap();
            assert!(text.starts_with("left out: damaged"), "{name}: {text}");
        }
        let lazy = source.open_lazily(&options).unwrap();
        assert_eq!(lazy.fingerprint(), loaded.train.sha256());
    }
}

#[test]
fn nothing_there() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none");
    let error = DataSource::parse(missing.to_str().unwrap()).unwrap_err();
    assert!(
        matches!(&error, DataError::Unusable { place, expected, .. } if *place == missing && expected.contains("mnist")),
        "{error}"
    );
    assert!(matches!(
        open(folder.path(), [4, 4, 1]),
        Err(DataError::NoPictures { .. })
    ));
    let error = DataSource::Folder(missing).open(&DataOptions::new()).unwrap_err();
    assert!(matches!(error, DataError::File(_)));
    archive(
        &folder.path().join("train.zip"),
        &["a.png"],
        CompressionMethod::Stored,
    );
    let error = open(folder.path(), [4, 4, 1]).unwrap_err().to_string();
    assert!(
        error.contains("train.zip") && error.contains("ZIP archive"),
        "{error}"
    );
    let text = folder.path().join("a.txt");
    fs::write(&text, "words").unwrap();
    let error = DataSource::parse(text.to_str().unwrap()).unwrap_err();
    assert!(
        matches!(&error, DataError::Unusable { place, .. } if *place == text),
        "{error}"
    );
}

#[test]
fn names_are_parsed_and_shown() {
    for text in ["mnist", "stacked-mnist"] {
        let source: DataSource = text.parse().unwrap();
        assert_eq!((source.to_string(), source.name()), (text.into(), text.into()));
    }
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("my pictures (1)");
    fs::create_dir(&inner).unwrap();
    for path in [inner.clone(), inner.join(".")] {
        let source = DataSource::parse(path.to_str().unwrap()).unwrap();
        assert_eq!(
            (source.name(), &source),
            ("my-pictures-1".into(), &DataSource::Folder(path))
        );
    }
}

#[test]
fn color_is_kept_if_any_picture_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, color| {
        RgbImage::from_pixel(4, 4, Rgb(color))
            .save(folder.path().join(name))
            .unwrap()
    };
    let source = DataSource::Folder(folder.path().into());
    save("a.png", [7, 7, 7]);
    GrayImage::from_pixel(4, 4, image::Luma([9]))
        .save(folder.path().join("b.png"))
        .unwrap();
    // In a color format, but gray.
    let found = source.open(&DataOptions::new()).unwrap();
    assert_eq!(
        (
            found.train.image_size(),
            found.train.image(0),
            found.train.image(1)
        ),
        ([4, 4, 1], &[7; 16][..], &[9; 16][..])
    );
    let lazy = source.open_lazily(&DataOptions::new()).unwrap();
    assert_eq!(
        (lazy.shape(), lazy.fingerprint()),
        ([4, 4, 1], found.train.sha256())
    );
    save("c.png", [7, 8, 7]);
    let found = source.open(&DataOptions::new()).unwrap();
    assert_eq!(
        (found.train.image_size(), &found.train.image(1)[..3]),
        ([4, 4, 3], &[9; 3][..])
    );
    let lazy = source.open_lazily(&DataOptions::new()).unwrap();
    assert_eq!(
        (lazy.shape(), lazy.fingerprint()),
        ([4, 4, 3], found.train.sha256())
    );
}

#[test]
fn lazy_pictures_hold_out_the_same_ones() {
    let folder = tempfile::tempdir().unwrap();
    let source = DataSource::parse(folder.path().to_str().unwrap()).unwrap();
    let mut options = DataOptions::new();
    options.held_out = true;
    for i in 0..101_u8 {
        GrayImage::from_pixel(2, 2, image::Luma([i]))
            .save(folder.path().join(format!("{i:03}.png")))
            .unwrap();
        if i < 98 {
            continue;
        }
        let (found, lazy) = (
            source.open(&options).unwrap(),
            source.open_lazily(&options).unwrap(),
        );
        let expected = [99, 80, 81][usize::from(i) - 98];
        assert_eq!((lazy.len(), found.train.len()), (expected, expected));
        assert_eq!(lazy.fingerprint(), found.train.sha256());
        assert_eq!(lazy.image_hashes(), found.train.image_hashes());
        assert_eq!(
            lazy.batch(&[expected - 1]).unwrap(),
            found.train.batch_f32(&[expected - 1])
        );
    }
}

#[test]
fn pictures_of_several_sizes_need_one() {
    let folder = tempfile::tempdir().unwrap();
    for (name, w, h) in [("a.png", 8, 4), ("b.png", 8, 4), ("c.png", 4, 4)] {
        GrayImage::from_pixel(w, h, image::Luma([9]))
            .save(folder.path().join(name))
            .unwrap();
    }
    let source = DataSource::Folder(folder.path().into());
    let mut options = DataOptions::new();
    let error = source.open(&options).unwrap_err();
    let DataError::Unusable { expected, found, .. } = error else {
        panic!("{error}")
    };
    assert!(
        expected.contains("8x4") && expected.contains("a.png"),
        "{expected}"
    );
    assert!(found.contains("4x4") && found.contains("c.png"), "{found}");
    options.size = Some([4, 4]);
    let mut row = |fit| {
        options.fit = fit;
        let found = source.open(&options).unwrap();
        (
            found
                .train
                .image(0)
                .chunks(4)
                .map(|row| row[0])
                .collect::<Vec<u8>>(),
            report(&found, "a.png").unwrap(),
        )
    };
    assert_eq!(row(Fit::Crop), (vec![9; 4], "cropped from 8x4 to 4x4".into()));
    assert_eq!(
        row(Fit::Pad),
        (
            vec![255, 9, 9, 255],
            "scaled from 8x4 to 4x2, padded to 4x4".into()
        )
    );
    assert_eq!(row(Fit::Stretch), (vec![9; 4], "scaled from 8x4 to 4x4".into()));
}

/// Gray pictures of 4x4, whose values are their numbers, in an archive.
fn archive(path: &Path, names: &[&str], method: CompressionMethod) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(method);
    for (i, name) in names.iter().enumerate() {
        zip.start_file(*name, options).unwrap();
        let picture = GrayImage::from_pixel(4, 4, image::Luma([i as u8]));
        zip.write_all(&encoded(&picture, ImageFormat::Png)).unwrap();
    }
    zip.finish().unwrap();
}

/// The same pictures in a folder.
fn unpacked(folder: &Path, names: &[&str]) {
    for (i, name) in names.iter().enumerate() {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(4, 4, image::Luma([i as u8]))
            .save(path)
            .unwrap();
    }
}

#[test]
fn an_archive_is_read_as_the_folder_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "set/dog/z.png",
        "set/cat/a.png",
        "set/cat/old/b.png",
        "set/eel/c.png",
    ];
    unpacked(&folder.path().join("one"), &names);
    let loaded = |name: &str| open(&folder.path().join(name), [4, 4, 1]).unwrap();
    let files = loaded("one");
    assert_eq!(files.train.class_names(), ["cat", "dog", "eel"]);
    assert_eq!(
        (files.train.labels(), files.train.name()),
        (&[0, 0, 1, 2][..], "one")
    );
    let shades: Vec<u8> = (0..4).map(|i| files.train.image(i)[0]).collect();
    assert_eq!(shades, [1, 2, 0, 3]);
    let few = "warning: classes with fewer than 10 pictures: cat 2, dog 1";
    assert!(files.report.totals[2].starts_with(few));
    for (name, method) in [
        ("two.zip", CompressionMethod::Stored),
        ("three.zip", CompressionMethod::DEFLATE),
    ] {
        archive(&folder.path().join(name), &names, method);
        let packed = loaded(name);
        assert_eq!(packed.train.name(), name.trim_end_matches(".zip"));
        assert_eq!(
            (packed.train.images(), packed.train.labels()),
            (files.train.images(), files.train.labels())
        );
        assert_eq!(packed.files[0], Path::new("set/cat/a.png"));
        assert_eq!(
            packed.train.provenance(),
            &Provenance::File(folder.path().join(name))
        );
    }
}

#[test]
fn lazy_pictures_are_those_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    archive(
        &path,
        &["dog/z.png", "cat/a.png", "cat/b.png"],
        CompressionMethod::DEFLATE,
    );
    let source = DataSource::parse(path.to_str().unwrap()).unwrap();
    let whole = source.open(&DataOptions::new()).unwrap().train;
    // With a cache for everything, for one picture, and for none; each twice, from the file and from the cache.
    for room in [1 << 20, 16, 0] {
        let lazy = source.open_lazily(&DataOptions::new()).unwrap().with_cache(room);
        for _ in 0..2 {
            assert_eq!(lazy.batch(&[2, 0, 2, 1]).unwrap(), whole.batch_f32(&[2, 0, 2, 1]));
        }
        assert_eq!(
            (lazy.fingerprint(), lazy.labels_fingerprint()),
            (whole.sha256(), whole.labels_sha256())
        );
        assert_eq!(
            (lazy.len(), lazy.label(2), lazy.class_names()),
            (3, Some(1), whole.class_names())
        );
        assert_eq!(lazy.file(2), Path::new("dog/z.png"));
    }
}

#[test]
fn a_picture_that_changed_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    unpacked(folder.path(), &["a.png", "b.png"]);
    let lazy = DataSource::Folder(folder.path().into())
        .open_lazily(&DataOptions::new())
        .unwrap()
        .with_cache(0);
    fs::copy(folder.path().join("a.png"), folder.path().join("b.png")).unwrap();
    assert!(lazy.batch(&[0]).is_ok());
    let error = lazy.batch(&[0, 1]).unwrap_err();
    assert!(
        matches!(&error, DataError::Unusable { place, .. } if place.ends_with("b.png")),
        "{error}"
    );
    fs::remove_file(folder.path().join("b.png")).unwrap();
    assert!(matches!(lazy.batch(&[1]), Err(DataError::Unusable { .. })));
}

#[test]
fn a_part_of_their_own_is_held_out() {
    let folder = tempfile::tempdir().unwrap();
    unpacked(
        folder.path(),
        &[
            "test/cat/t.png",
            "test/eel/u.png",
            "train/cat/a.png",
            "train/dog/b.png",
        ],
    );
    let source = DataSource::Folder(folder.path().into());
    let mut options = DataOptions::new();
    let loaded = source.open(&options).unwrap();
    assert!(loaded.test.is_none() && loaded.train.len() == 2);
    options.held_out = true;
    let loaded = source.open(&options).unwrap();
    assert_eq!((loaded.train.labels(), loaded.has_own_test), (&[0, 1][..], true));
    let test = loaded.test.as_ref().unwrap();
    assert_eq!(
        (test.labels(), test.image(0)[0], test.class_names()),
        (&[0][..], 0, loaded.train.class_names())
    );
    assert_eq!(
        report(&loaded, "u.png").unwrap(),
        "left out: its folder is not a class of the training pictures"
    );
}

#[test]
fn every_fifth_picture_is_held_out_if_there_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..100).map(|i| format!("{i:03}.png")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    unpacked(folder.path(), &names);
    let source = DataSource::Folder(folder.path().into());
    let mut options = DataOptions::new();
    options.held_out = true;
    let loaded = source.open(&options).unwrap();
    let test = loaded.test.unwrap();
    assert_eq!(
        (loaded.train.len(), test.len(), loaded.has_own_test),
        (80, 20, false)
    );
    assert_eq!((test.image(0)[0], loaded.train.image(4)[0]), (4, 5));
    assert_eq!(
        (loaded.files.len(), loaded.files[4].file_name().unwrap()),
        (80, "005.png".as_ref())
    );
    assert_eq!(
        loaded.report.totals[2],
        "for training: 80; for testing: 20, every fifth"
    );
    fs::remove_file(folder.path().join("007.png")).unwrap();
    let loaded = source.open(&options).unwrap();
    assert!(loaded.test.is_none() && loaded.train.len() == 99);
    assert_eq!(
        loaded.report.totals[2],
        "no images held out: 99 are fewer than 100"
    );
}

#[test]
fn idx_files_and_arrays_are_data_too() {
    let folder = tempfile::tempdir().unwrap();
    let letters = folder.path().join("letters");
    fs::create_dir(&letters).unwrap();
    let images = [
        &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2][..],
        &[1, 2, 3, 4, 5, 6, 7, 8],
    ]
    .concat();
    fs::write(letters.join("train-images-idx3-ubyte"), images).unwrap();
    fs::write(
        letters.join("train-labels-idx1-ubyte"),
        [0, 0, 8, 1, 0, 0, 0, 2, 0, 1],
    )
    .unwrap();
    let source = DataSource::parse(letters.to_str().unwrap()).unwrap();
    assert_eq!(source, DataSource::Idx(letters));
    let mut options = DataOptions::new();
    (options.held_out, options.channels) = (true, Channels::Rgb);
    let loaded = source.open(&options).unwrap();
    assert_eq!(
        (
            loaded.train.name(),
            loaded.train.image_size(),
            loaded.train.classes()
        ),
        ("letters", [2, 2, 3], 2)
    );
    assert_eq!(
        (loaded.test.is_none(), &loaded.train.image(1)[..4]),
        (true, &[5, 5, 5, 6][..])
    );
    options.idx_name = Some(DatasetName::Mnist);
    assert_eq!(source.open(&options).unwrap().train.name(), "mnist");

    let array = folder.path().join("some.npy");
    write_npy(&array, &[2, 2, 2, 3], &[-1.0; 24]).unwrap();
    let source = DataSource::parse(array.to_str().unwrap()).unwrap();
    let loaded = source.open(&DataOptions::new()).unwrap();
    assert_eq!((loaded.train.len(), loaded.train.images()), (2, &[0; 24][..]));
    assert_eq!(loaded.report.totals[1], "numbers from -1 to 1");
    assert!(matches!(
        source.open_lazily(&options),
        Err(DataError::Unusable { .. })
    ));
}

#[test]
fn entries_that_cannot_be_trusted_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    let picture = encoded(&GrayImage::from_pixel(4, 4, image::Luma([3])), ImageFormat::Png);
    let mut zip = ZipWriter::new(fs::File::create(&path).unwrap());
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for name in [
        "good.png",
        "../out.png",
        "/root.png",
        "__MACOSX/good.png",
        ".hidden.png",
        "damaged.png",
    ] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(&picture).unwrap();
    }
    zip.add_symlink("link.png", "/etc/passwd", stored).unwrap();
    zip.start_file("dataset.json", stored).unwrap();
    zip.write_all(b"{}").unwrap();
    zip.finish().unwrap();
    // Flip a bit of the last picture's pixels, so that the checksum of the archive is wrong.
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(11).position(|name| name == b"damaged.png").unwrap() + 11 + picture.len() - 20;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = open(&path, [4, 4, 1]).unwrap();
    assert_eq!(
        (found.train.len(), &found.files[..]),
        (1, &[PathBuf::from("good.png")][..])
    );
    let mut left_out: Vec<String> = found.report.files.iter().map(FileReport::to_string).collect();
    left_out.sort();
    let starts = [
        "../out.png: left out: its path",
        "/root.png: left out: its path",
        "damaged.png: left out: damaged",
        "dataset.json: left out: not a PNG",
        "link.png: left out: a link",
    ];
    assert_eq!(left_out.len(), starts.len(), "{left_out:?}");
    for (line, start) in left_out.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

/// Archives with several files of one name: the last is used, as after unpacking, and the report has a line.
#[test]
fn of_several_files_of_one_name_in_an_archive_one_is_used_and_the_others_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    let opened = |names: &[&str], renamed: Option<[&[u8]; 2]>| {
        archive(&path, names, CompressionMethod::Stored);
        if let Some([from, to]) = renamed {
            // The name is in the header of the file, and in the directory at the end.
            let mut bytes = fs::read(&path).unwrap();
            while let Some(at) = bytes.windows(from.len()).position(|part| part == from) {
                bytes[at..at + from.len()].copy_from_slice(to);
            }
            fs::write(&path, bytes).unwrap();
        }
        let source = DataSource::Zip(path.clone());
        let loaded = source.open(&DataOptions::new()).unwrap();
        let lazy = source.open_lazily(&DataOptions::new()).unwrap();
        assert_eq!(lazy.fingerprint(), loaded.train.sha256(), "{names:?}");
        assert_eq!(loaded.train.len(), loaded.files.len(), "{names:?}");
        let mut files: Vec<(String, u8)> = (loaded.files.iter().enumerate())
            .map(|(i, file)| (file.display().to_string(), loaded.train.image(i)[0]))
            .collect();
        files.sort();
        (files, loaded.report)
    };
    let expected = |files: &[(&str, u8)]| -> Vec<(String, u8)> {
        files.iter().map(|&(name, value)| (name.into(), value)).collect()
    };
    let total = "left out, of a repeated name: 1 file".to_string();

    // The same bytes. The archive's reader has only the last of them, so that no line can name the others.
    let (files, report) = opened(
        &["one.png", "two.png", "three.png"],
        Some([b"two.png", b"one.png"]),
    );
    assert_eq!(files, expected(&[("one.png", 1), ("three.png", 2)]), "{report}");
    assert!(report.totals.contains(&total), "{report}");
    assert!(
        report.to_string().contains("a.zip: left out: earlier files"),
        "{report}"
    );

    // Other bytes, but the same path.
    for other in ["x//a.png", "x\\a.png", "x/./a.png", "./x/a.png"] {
        let (files, report) = opened(&["x/a.png", other, "x/b.png"], None);
        assert_eq!(
            files,
            expected(&[("x/a.png", 1), ("x/b.png", 2)]),
            "{other}: {report}"
        );
        assert!(report.totals.contains(&total), "{other}: {report}");
        assert!(
            report.to_string().contains("x/a.png: left out: a later file"),
            "{other}: {report}"
        );
    }

    // Different names are different files, also if they differ in case only.
    let (files, report) = opened(&["a.png", "A.png", "./b.png"], None);
    assert_eq!(
        files,
        expected(&[("A.png", 1), ("a.png", 0), ("b.png", 2)]),
        "{report}"
    );
    assert!(report.files.is_empty(), "{report}");
}

#[test]
fn invalid_archives_and_archive_bombs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    fs::write(&path, b"PK\x03\x04 and no more").unwrap();
    let error = open(&path, [4, 4, 1]).unwrap_err();
    assert!(
        matches!(&error, DataError::Unusable { place, .. } if *place == path),
        "{error}"
    );
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(
        "a.png",
        SimpleFileOptions::default().compression_method(CompressionMethod::DEFLATE),
    )
    .unwrap();
    for _ in 0..65 {
        zip.write_all(&vec![0; 1 << 20]).unwrap();
    }
    fs::write(&path, zip.finish().unwrap().into_inner()).unwrap();
    let error = open(&path, [4, 4, 1]).unwrap_err();
    assert!(
        matches!(&error, DataError::Unusable { found, .. } if found.contains("68157440")),
        "{error}"
    );
    archive(&path, &[], CompressionMethod::Stored);
    assert!(matches!(
        open(&path, [4, 4, 1]),
        Err(DataError::NoPictures { .. })
    ));
}

/// One bit of each byte, so that every header field is wrong once.
#[test]
fn no_archive_makes_it_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    archive(&path, &["a.png", "b.png"], CompressionMethod::DEFLATE);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        let _ = DataSource::Zip(path.clone()).open(&DataOptions::new());
    }
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(DataSource::Zip(path.clone()).open(&DataOptions::new()).is_err());
    }
}

#[test]
fn links_between_folders_end() {
    let folder = tempfile::tempdir().unwrap();
    unpacked(folder.path(), &["cat/a.png", "dog/b.png"]);
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path(), folder.path().join("cat/again")).unwrap();
    let found = open(folder.path(), [4, 4, 1]).unwrap();
    assert_eq!((found.train.len(), found.train.class_names().len()), (2, 2));
    assert!(
        found
            .report
            .files
            .iter()
            .all(|file| !matches!(file.what, Treatment::LeftOut(_)))
    );
}

/// A PNG file whose palette has an invalid length, on which a decoder panics.
#[test]
fn fault_01_a_panic_of_a_decoder_leaves_out_one_file_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..3_u8 {
        let picture = GrayImage::from_pixel(4, 4, image::Luma([i]));
        picture.save(folder.path().join(format!("{i}.png"))).unwrap();
    }
    fs::write(
        folder.path().join("broken-palette.png"),
        png_with_broken_palette(),
    )
    .unwrap();
    let found = open(folder.path(), [4, 4, 1]).unwrap();
    assert_eq!(found.train.len(), 3);
    assert!(report(&found, "broken-palette.png").is_some());
}

/// The same in an archive, and for pictures that are read on demand.
#[test]
fn fault_01_a_panic_of_a_decoder_leaves_out_one_file_of_an_archive_and_of_lazy_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, path) = (folder.path().join("pictures"), folder.path().join("a.zip"));
    fs::create_dir(&pictures).unwrap();
    let mut zip = ZipWriter::new(fs::File::create(&path).unwrap());
    let whole = |value: u8| {
        encoded(
            &GrayImage::from_pixel(4, 4, image::Luma([value])),
            ImageFormat::Png,
        )
    };
    for (name, contents) in [
        ("a.png", whole(1)),
        ("broken-palette.png", png_with_broken_palette()),
        ("c.png", whole(2)),
    ] {
        fs::write(pictures.join(name), &contents).unwrap();
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&contents).unwrap();
    }
    zip.finish().unwrap();
    for source in [DataSource::Folder(pictures), DataSource::Zip(path)] {
        let loaded = source.open(&DataOptions::new()).unwrap();
        let lazy = source.open_lazily(&DataOptions::new()).unwrap();
        assert_eq!((loaded.train.len(), lazy.len()), (2, 2), "{source}");
        assert_eq!(lazy.fingerprint(), loaded.train.sha256(), "{source}");
        assert_eq!(
            lazy.batch(&[0, 1]).unwrap(),
            loaded.train.batch_f32(&[0, 1]),
            "{source}"
        );
        for report in [&loaded.report, lazy.report()] {
            let [file] = &report.files[..] else {
                panic!("{source}: {report}")
            };
            assert!(file.path.ends_with("broken-palette.png"), "{source}: {file}");
            assert!(
                matches!(&file.what, Treatment::LeftOut(note) if note.text.contains("its decoder failed")),
                "{source}: {file}"
            );
        }
    }
}

fn png_with_broken_palette() -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let chunk = [kind, data].concat();
        let (length, crc) = ((data.len() as u32).to_be_bytes(), crc32(&chunk).to_be_bytes());
        [&length[..], &chunk, &crc].concat()
    };
    let header = [0, 0, 0, 1, 0, 0, 0, 1, 8, 3, 0, 0, 0];
    // One row: no filter, color 0.
    let pixels = [0x78, 1, 1, 2, 0, 0xfd, 0xff, 0, 0, 0, 2, 0, 1];
    let chunks = [
        chunk(b"IHDR", &header),
        chunk(b"PLTE", &[0; 4]),
        chunk(b"IDAT", &pixels),
        chunk(b"IEND", &[]),
    ];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat()
}

fn encoded(picture: &GrayImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// EXIF data that contain only an orientation.
fn exif(orientation: u8) -> Vec<u8> {
    // Big-endian. A directory with one entry at byte 8.
    let mut bytes = b"MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    // Tag 0x112, one 16-bit number, no other directory.
    bytes.extend([1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    bytes.extend([0; 4]);
    bytes
}

/// Inserts EXIF data after the header of a PNG file.
fn png_with_exif(png: &[u8], exif: &[u8]) -> Vec<u8> {
    let chunk = [b"eXIf", exif].concat();
    let (length, crc) = ((exif.len() as u32).to_be_bytes(), crc32(&chunk).to_be_bytes());
    [&png[..33], &length, &chunk, &crc, &png[33..]].concat()
}

/// Inserts EXIF data after the first marker of a JPEG file.
fn jpeg_with_exif(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let length = (2 + 6 + exif.len() as u16).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, b"Exif\0\0", exif, &jpeg[2..]].concat()
}

/// The checksum of PNG's chunks, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xedb8_8320
        } else {
            crc >> 1
        }
    };
    let of = |crc: u32, &byte: &u8| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, of)
}

/// A folder with five copies of each of 30 pictures, one copy in another format.
fn folder_of_copies(folder: &Path) {
    for i in 0..30_u8 {
        let picture = GrayImage::from_fn(4, 4, |x, y| image::Luma([7 * i + (4 * y + x) as u8]));
        for copy in 0..5 {
            let ending = if copy == 3 { "bmp" } else { "png" };
            picture
                .save(folder.join(format!("{i:03}_{copy}.{ending}")))
                .unwrap();
        }
    }
}

#[test]
fn copies_are_found_and_stay_on_one_side() {
    let folder = tempfile::tempdir().unwrap();
    folder_of_copies(folder.path());
    let source = DataSource::Folder(folder.path().into());
    let mut options = DataOptions::new();
    options.held_out = true;
    let loaded = source.open(&options).unwrap();
    let test = loaded.test.unwrap();
    assert_eq!((loaded.train.len(), test.len()), (120, 30));
    let hashes = loaded.train.image_hashes();
    assert!(test.image_hashes().iter().all(|hash| !hashes.contains(hash)));
    let copies = |report: &Report| {
        let is_copy = |file: &&FileReport| matches!(file.what, Treatment::Copy(_));
        report.files.iter().filter(is_copy).count()
    };
    let totals = |report: &Report| {
        report
            .totals
            .iter()
            .filter(|line| line.starts_with("120 pictures equal"))
            .count()
    };
    assert_eq!((copies(&loaded.report), totals(&loaded.report)), (120, 1));
    let lazy = source.open_lazily(&options).unwrap();
    assert_eq!(lazy.fingerprint(), loaded.train.fingerprint());
    assert_eq!((lazy.image_hashes(), copies(lazy.report())), (hashes, 120));
    assert_eq!(lazy.image_names().len(), 120);
}

#[test]
fn test_pictures_that_are_trained_on_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    unpacked(folder.path(), &["train/a.png", "train/b.png", "test/c.png"]);
    fs::copy(
        folder.path().join("train/a.png"),
        folder.path().join("test/d.png"),
    )
    .unwrap();
    let mut options = DataOptions::new();
    options.held_out = true;
    let loaded = DataSource::Folder(folder.path().into()).open(&options).unwrap();
    let line = |line: &&String| line.starts_with("1 of 2 test images");
    assert!(loaded.report.totals.iter().find(line).is_some());
}

#[test]
fn decoded_pictures_are_kept_in_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, cache) = (folder.path().join("pictures"), folder.path().join("cache"));
    fs::create_dir(&pictures).unwrap();
    folder_of_copies(&pictures);
    fs::write(
        pictures.join("damaged.png"),
        &fs::read(pictures.join("000_0.png")).unwrap()[..60],
    )
    .unwrap();
    RgbaImage::from_pixel(8, 6, Rgba([9, 8, 7, 40]))
        .save(pictures.join("color.png"))
        .unwrap();
    let age = |seconds| {
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
        for entry in fs::read_dir(&pictures).unwrap() {
            let file = fs::File::options()
                .append(true)
                .open(entry.unwrap().path())
                .unwrap();
            file.set_modified(time).unwrap();
        }
    };
    let source = DataSource::Folder(pictures.clone());
    let mut options = DataOptions::new();
    (options.size, options.cache, options.held_out) = (Some([4, 4]), Some(cache.clone()), true);
    let kept = || fs::read_dir(&cache).map_or(0, Iterator::count);
    let open = |options: &DataOptions| {
        let loaded = source.open(options).unwrap();
        let lazy = source.open_lazily(options).unwrap();
        assert_eq!(lazy.fingerprint(), loaded.train.fingerprint());
        (
            loaded.train.images().to_vec(),
            loaded.test.unwrap().images().to_vec(),
            loaded.report,
        )
    };
    let fresh = open(&options);
    // Files that were just written may change again without a trace.
    assert_eq!(kept(), 0);
    age(100);
    assert_eq!((open(&options) == fresh, kept()), (true, 1));
    // From the cache, also under another name of the folder.
    let file = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let written = fs::read(&file).unwrap();
    assert_eq!((open(&options) == fresh, kept()), (true, 1));
    let moved = folder.path().join("moved");
    fs::rename(&pictures, &moved).unwrap();
    let again = DataSource::Folder(moved.clone()).open(&options).unwrap();
    assert_eq!((again.train.images() == fresh.0, kept()), (true, 1));
    fs::rename(&moved, &pictures).unwrap();
    // Other settings are other pixels; a damaged file is not used.
    options.size = Some([8, 8]);
    open(&options);
    assert_eq!(kept(), 2);
    options.size = Some([4, 4]);
    fs::write(&file, &written[..written.len() - 1]).unwrap();
    assert!(open(&options) == fresh);
    assert_eq!(fs::read(&file).unwrap().len(), written.len());
    // A changed picture is decoded again.
    GrayImage::from_pixel(4, 4, image::Luma([77]))
        .save(pictures.join("000_0.png"))
        .unwrap();
    age(50);
    assert!(open(&options).0 != fresh.0);
}
