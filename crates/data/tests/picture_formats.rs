//! Pictures in each format, whole and damaged, with several depths.

#![allow(clippy::unwrap_used)] // a test fails by it

use engraft_data::{Channels, Damaged, DataError, DataOptions, DataSource, Levels, Loaded, Treatment};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba};
use std::fs;
use std::io::Cursor;
use std::path::Path;

/// A progressive JPEG file with restart markers, 24x24, as written by libjpeg.
const PROGRESSIVE: &str = "\
    ffd8ffe000104a46494600010100000100010000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f13201513121213271c1e17202e\
    2931302e292d2c333a4a3e333646372c2d405741464c4e525352323e5a615a50604a51524fffdb0043010e0e0e13111326151526\
    4f352d354f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f\
    4f4fffc20011080018001803012200021101031101ffc40017000101010100000000000000000000000000040305ffc400190100\
    020301000000000000000000000000020500010306ffdd00040004ffda000c03010002100310000001e0d3bd41267496cf3acc79\
    bd80b3ffc4001810010101010100000000000000000000000200011112ffda0008010100010502c360b044dfffd022c3c89bcf2f\
    ffd122ffc4001811000301010000000000000000000000000002030111ffda0008010301013f019584b6f08b6f456de1ffc4001b\
    11010002020300000000000000000000000100020311132232ffda0008010201013f01af68f10e9656c98949e427ffc400151001\
    0100000000000000000000000000002000ffda0008010100063f021fffd01fffd1bfffc4001b1000020105000000000000000000\
    0000000001101120214161ffda0008010100013f21b3b7ffd0046998d50e9fffd13fffda000c030100020003000000109f2802ff\
    c40017110101010100000000000000000000000000011131ffda0008010301013f10c951442ee9ffc4001b110100020203000000\
    0000000000000000010011213171a1b1ffda0008010201013f103276970be11d2ce3b4259589ffc4001a10000301010101000000\
    0000000000000000112101315161ffda0008010100013f107a87387cc7a87fffd0e70d0ccaf03d416acae1ffd183dc3fffd9";

/// A JPEG file in CMYK, 16x16, as Pillow writes it for printers: red and green above, a mixed color and black below.
const CMYK: &str = "\
    ffd8ffee000e41646f626500640000000000ffdb004300080606070605080707070909080a0c140d0c0b0b0c1912130f141d1a1f\
    1e1d1a1c1c20242e2720222c231c1c2837292c30313434341f27393d38323c2e333432ffc000140800100010044311004d110059\
    11004b1100ffc40017000101010100000000000000000000000008070600ffc40014100100000000000000000000000000000000\
    ffda000e0443004d0059004b00003f00bf8fe3fafe001fee71ae83b6ec1b50bc1901e3ffd9";

fn progressive() -> Vec<u8> {
    from_digits(PROGRESSIVE)
}

fn from_digits(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A picture in color without flat areas.
fn colorful(side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| {
        Rgb([(x * 7) as u8, (y * 9) as u8, (x * y + 5 * x) as u8])
    })
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn open(folder: &Path, options: &DataOptions) -> Result<Loaded, DataError> {
    DataSource::Folder(folder.into()).open(options)
}

/// The names of files that are left out because they are damaged.
fn damaged(loaded: &Loaded) -> Vec<String> {
    let is_damaged = |what: &Treatment| matches!(what, Treatment::LeftOut(note) if note.kind == "damaged");
    let files = loaded.report.files.iter().filter(|file| is_damaged(&file.what));
    files
        .map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn formats_are_recognized_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let picture = DynamicImage::from(colorful(16));
    let formats = [
        (ImageFormat::Png, "PNG"),
        (ImageFormat::Jpeg, "JPEG"),
        (ImageFormat::WebP, "WebP"),
        (ImageFormat::Bmp, "BMP"),
        (ImageFormat::Tiff, "TIFF"),
        (ImageFormat::Gif, "GIF"),
    ];
    for (i, (format, _)) in formats.into_iter().enumerate() {
        // Neither of the names says the format.
        let name = format!("{i}{}", if i % 2 == 0 { "" } else { ".png" });
        fs::write(folder.path().join(name), encoded(&picture, format)).unwrap();
    }
    let text = "BM is how these notes begin, and BMP files";
    fs::write(folder.path().join("BMX.txt"), text).unwrap();
    let loaded = open(folder.path(), &DataOptions::new()).unwrap();
    assert_eq!((loaded.train.len(), loaded.train.image_size()), (6, [16, 16, 3]));
    let files = loaded.report.files.iter();
    let left_out = files.filter(|file| matches!(file.what, Treatment::LeftOut(_)));
    assert_eq!(left_out.count(), 1, "{:?}", loaded.report.files);
    let mut lines = loaded.report.totals.iter();
    let line = lines.find(|line| line.starts_with("files: ")).unwrap();
    for (i, (_, name)) in formats.into_iter().enumerate() {
        assert!(line.contains(&format!("1 {name}")), "{line}");
        let error = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b));
        let pixels = loaded.train.image(i).iter().zip(picture.as_bytes());
        let total: u64 = pixels.map(error).sum();
        // JPEG and the palette of GIF lose a little.
        assert!(total / 768 <= [0, 20, 0, 0, 0, 12][i], "{name}: {total}");
    }
}

#[test]
fn files_that_are_cut_short_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let picture = DynamicImage::from(colorful(48));
    let formats = [
        ("a.bmp", ImageFormat::Bmp),
        ("b.gif", ImageFormat::Gif),
        ("c.jpg", ImageFormat::Jpeg),
        ("d.png", ImageFormat::Png),
        ("e.tiff", ImageFormat::Tiff),
        ("f.webp", ImageFormat::WebP),
    ];
    for percent in [60, 95] {
        for (name, format) in formats {
            let bytes = encoded(&picture, format);
            fs::write(folder.path().join(name), &bytes[..bytes.len() * percent / 100]).unwrap();
        }
        let bytes = progressive();
        let cut = &bytes[..bytes.len() * percent / 100];
        fs::write(folder.path().join("g.jpg"), cut).unwrap();
        fs::write(folder.path().join("h.png"), encoded(&picture, ImageFormat::Png)).unwrap();
        let loaded = open(folder.path(), &DataOptions::new()).unwrap();
        let expected = ["a.bmp", "b.gif", "c.jpg", "d.png", "e.tiff", "f.webp", "g.jpg"];
        assert_eq!(damaged(&loaded), expected, "{percent} %");
        assert_eq!(loaded.train.len(), 1);
    }
}

#[test]
fn fault_08_a_jpeg_without_its_end_or_with_a_gap_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let baseline = encoded(&colorful(48).into(), ImageFormat::Jpeg);
    for (kind, bytes) in [("a", &baseline), ("b", &progressive())] {
        write(&format!("{kind}-whole.jpg"), bytes);
        // A program that copies pictures may add something after the end.
        write(&format!("{kind}-more.jpg"), &[&bytes[..], b"trailer"].concat());
        let end = bytes.len() - 2;
        write(&format!("{kind}-no-end.jpg"), &bytes[..end]);
        let missing = [&bytes[..end - 8], &bytes[end..]].concat();
        write(&format!("{kind}-missing.jpg"), &missing);
    }
    let mut zeros = baseline;
    let middle = zeros.len() * 2 / 3;
    zeros[middle..middle + 40].fill(0);
    write("a-zeros.jpg", &zeros);
    let mut options = DataOptions::new();
    options.size = Some([24, 24]);
    let loaded = open(folder.path(), &options).unwrap();
    let expected = [
        "a-missing.jpg",
        "a-no-end.jpg",
        "a-zeros.jpg",
        "b-missing.jpg",
        "b-no-end.jpg",
    ];
    assert_eq!(
        (damaged(&loaded), loaded.train.len()),
        (expected.map(String::from).to_vec(), 4)
    );

    options.damaged = Damaged::Refuse;
    let error = open(folder.path(), &options).unwrap_err();
    assert!(
        matches!(&error, DataError::Unusable { found, .. } if found.contains("5 damaged") && found.contains("a-missing.jpg")),
        "{error}"
    );
    options.damaged = Damaged::Keep;
    let loaded = open(folder.path(), &options).unwrap();
    assert_eq!(loaded.train.len() + damaged(&loaded).len(), 9);
    assert!(loaded.train.len() > 4);
}

/// The number of blocks is fixed by the header, so that this is always found.
#[test]
fn fault_08_a_jpeg_cut_at_any_place_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let baseline = encoded(&colorful(16).into(), ImageFormat::Jpeg);
    let mut names = Vec::new();
    for (kind, bytes) in [("a", &baseline), ("b", &progressive())] {
        // From the first bytes by which the format is recognized to all but the last.
        for len in (3..bytes.len()).rev().step_by(7) {
            let name = format!("{kind}-{len:04}.jpg");
            fs::write(folder.path().join(&name), &bytes[..len]).unwrap();
            names.push(name);
        }
    }
    fs::write(folder.path().join("whole.jpg"), baseline).unwrap();
    let mut options = DataOptions::new();
    options.size = Some([16, 16]);
    let loaded = open(folder.path(), &options).unwrap();
    let used: Vec<&str> = (loaded.files.iter())
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(used, ["whole.jpg"]);
    let mut left_out: Vec<String> = (loaded.report.files.iter())
        .filter(|file| matches!(file.what, Treatment::LeftOut(_)))
        .map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    left_out.sort();
    names.sort();
    assert_eq!(left_out, names);
}

/// Printers' colors are read as colors of a screen, both as they are (0) and with luminance and chroma (2).
#[test]
fn a_jpeg_in_cmyk_has_its_colors() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = from_digits(CMYK);
    let transform = bytes.windows(5).position(|part| part == b"Adobe").unwrap() + 11;
    assert_eq!(bytes[transform], 0);
    fs::write(folder.path().join("cmyk.jpg"), &bytes).unwrap();
    bytes[transform] = 2;
    fs::write(folder.path().join("ycck.jpg"), &bytes).unwrap();
    let loaded = open(folder.path(), &DataOptions::new()).unwrap();
    assert_eq!(
        (loaded.train.len(), loaded.train.image_size()),
        (2, [16, 16, 3]),
        "{}",
        loaded.report
    );
    // What Pillow reads from these bytes.
    let expected: [[[u8; 3]; 4]; 2] = [
        [[255, 0, 0], [0, 255, 0], [164, 103, 42], [0, 0, 0]],
        [[179, 0, 227], [255, 207, 30], [109, 0, 21], [0, 0, 0]],
    ];
    for (image, expected) in expected.iter().enumerate() {
        let pixels = loaded.train.image(image);
        for (place, expected) in expected.iter().enumerate() {
            let at = 3 * ((4 + 8 * (place / 2)) * 16 + 4 + 8 * (place % 2));
            let found = &pixels[at..at + 3];
            assert!(
                found.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 4),
                "{:?}, part {place}: {found:?} instead of {expected:?}",
                loaded.files[image]
            );
        }
    }
}

/// Changed bytes can leave a valid file behind, but mostly do not.
#[test]
fn most_changed_bytes_of_a_jpeg_are_found() {
    let whole = encoded(&colorful(64).into(), ImageFormat::Jpeg);
    let folder = tempfile::tempdir().unwrap();
    let scan = whole.windows(2).position(|pair| pair == [0xff, 0xda]);
    let start = scan.unwrap() + 14;
    let step = (whole.len() - start - 30) / 100;
    for i in 0..100 {
        let mut bytes = whole.clone();
        for place in [0, 7, 20] {
            bytes[start + i * step + place] ^= 0x5a;
        }
        fs::write(folder.path().join(format!("{i:03}.jpg")), bytes).unwrap();
    }
    fs::write(folder.path().join("whole.jpg"), &whole).unwrap();
    let loaded = open(folder.path(), &DataOptions::new()).unwrap();
    let found = damaged(&loaded);
    assert!(found.len() >= 50, "{} of 100", found.len());
    // Each of the others is used: none is lost.
    let is_left_out = |what: &Treatment| matches!(what, Treatment::LeftOut(_));
    let left_out = loaded.report.files.iter().filter(|file| is_left_out(&file.what));
    assert_eq!(loaded.train.len() + left_out.count(), 101, "{}", loaded.report);
    assert!(!found.contains(&"whole.jpg".to_string()));
}

#[test]
fn sixteen_bits_are_scaled_alike_for_all_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let deep = |name: &str, most: u16| {
        let value = |x, y| Luma([most / 15 * (4 * y + x) as u16]);
        let picture = ImageBuffer::<Luma<u16>, Vec<u16>>::from_fn(4, 4, value);
        picture.save(folder.path().join(name)).unwrap();
    };
    deep("bright.png", 4095);
    deep("dark.png", 1005);
    // 8 bits are never stretched.
    let shallow = GrayImage::from_pixel(4, 4, Luma([80]));
    shallow.save(folder.path().join("shallow.png")).unwrap();
    let mut options = DataOptions::new();
    let last = |options: &DataOptions, deep: &str| {
        let source = DataSource::Folder(folder.path().into());
        let loaded = source.open(options).unwrap();
        let lazy = source.open_lazily(options).unwrap();
        assert_eq!(
            engraft_data::TrainingData::fingerprint(&lazy),
            loaded.train.sha256()
        );
        let reported = loaded.report.totals.iter().any(|line| line.contains(deep));
        assert!(reported, "{:?}", loaded.report.totals);
        [0, 1, 2].map(|i| loaded.train.image(i)[15])
    };
    assert_eq!(last(&options, "16 bits in 2"), [255, 63, 80]);
    options.levels = Levels::Full;
    assert_eq!(last(&options, "16 bits in 2"), [16, 4, 80]);
    options.levels = Levels::Auto;
    deep("whole.png", 65535);
    assert_eq!(last(&options, "16 bits in 3"), [16, 4, 80]);
}

#[test]
fn of_several_frames_the_first_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.gif");
    let mut encoder = image::codecs::gif::GifEncoder::new(fs::File::create(&path).unwrap());
    for value in [200, 10] {
        let frame = ImageBuffer::from_pixel(4, 4, Rgba([value, value, value, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let loaded = open(folder.path(), &DataOptions::new()).unwrap();
    assert_eq!(loaded.train.images(), [200; 16]);
    let mut lines = loaded.report.totals.iter();
    assert!(lines.any(|line| line == "only the first frame: 1 file"));
}

#[test]
fn transparency_of_every_format_is_shown_on_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let color = |x, _| Rgba(if x < 4 { [200, 0, 0, 255] } else { [0, 0, 0, 0] });
    let picture = DynamicImage::ImageRgba8(ImageBuffer::from_fn(8, 8, color));
    for (name, format) in [
        ("a.png", ImageFormat::Png),
        ("b.webp", ImageFormat::WebP),
        ("c.tiff", ImageFormat::Tiff),
        ("d.gif", ImageFormat::Gif),
    ] {
        fs::write(folder.path().join(name), encoded(&picture, format)).unwrap();
    }
    let mut options = DataOptions::new();
    options.background = [9, 90, 200];
    let loaded = open(folder.path(), &options).unwrap();
    for i in 0..4 {
        assert_eq!(loaded.train.image(i)[9..15], [200, 0, 0, 9, 90, 200], "{i}");
    }
}

/// 24 megapixels, as cameras write them.
#[test]
fn photos_of_many_megapixels_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let photo = GrayImage::from_fn(6000, 4000, |x, _| Luma([if x < 3000 { 250 } else { 5 }]));
    let bytes = encoded(&photo.into(), ImageFormat::Png);
    fs::write(folder.path().join("photo.png"), bytes).unwrap();
    let mut options = DataOptions::new();
    (options.size, options.channels) = (Some([16, 16]), Channels::Gray);
    let loaded = open(folder.path(), &options).unwrap();
    let row = loaded.train.image(0);
    assert_eq!((row[0], row[15]), (250, 5));
}
