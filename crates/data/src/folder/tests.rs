//! Folders of good, broken and hostile pictures.

use super::*;
use image::{GrayImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use std::fs;

fn report(folder: &Folder, name: &str) -> Option<String> {
    let of = |r: &&FileReport| r.path.file_name().unwrap() == name;
    folder
        .reports
        .iter()
        .find(of)
        .map(|r| r.to_string().split_once(": ").unwrap().1.to_owned())
}

#[test]
fn pictures_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    GrayImage::from_fn(4, 4, |x, y| image::Luma([(60 * x + y) as u8]))
        .save(at("a.png"))
        .unwrap();
    RgbImage::from_pixel(8, 8, Rgb([255, 255, 255]))
        .save(at("b.png"))
        .unwrap();
    // The middle of a wide picture is white, its ends black.
    RgbImage::from_fn(12, 4, |x, _| Rgb([if (4..8).contains(&x) { 255 } else { 0 }; 3]))
        .save(at("c.png"))
        .unwrap();
    RgbaImage::from_pixel(4, 4, Rgba([255, 255, 255, 51]))
        .save(at("d.png"))
        .unwrap();
    // A JPEG whose name says PNG.
    GrayImage::from_pixel(16, 16, image::Luma([200]))
        .save_with_format(at("e.png"), ImageFormat::Jpeg)
        .unwrap();
    fs::write(at("notes.txt"), "not a picture").unwrap();
    fs::write(at(".hidden"), "passed over in silence").unwrap();
    fs::create_dir(at("inner")).unwrap();

    let found = load_folder(folder.path(), [4, 4, 1]).unwrap();
    assert_eq!((found.data.len(), found.files.len()), (5, 5));
    assert_eq!(found.data.image(0)[..5], [0, 60, 120, 180, 1]);
    assert_eq!(report(&found, "a.png"), None);
    assert_eq!(found.data.image(1), [255; 16]);
    assert_eq!(
        report(&found, "b.png").unwrap(),
        "colour to grey, scaled from 8x8 to 4x4"
    );
    assert_eq!(found.data.image(2), [255; 16]);
    assert_eq!(
        report(&found, "c.png").unwrap(),
        "cut from 12x4 to 4x4, colour to grey"
    );
    assert_eq!(found.data.image(3), [51; 16]);
    assert_eq!(
        report(&found, "d.png").unwrap(),
        "transparency shown on black, colour to grey"
    );
    assert!(found.data.image(4).iter().all(|&p| p.abs_diff(200) < 3));
    assert_eq!(
        report(&found, "notes.txt").unwrap(),
        "left out: neither PNG nor JPEG"
    );
    assert_eq!(found.reports.len(), 5);

    let colour = load_folder(folder.path(), [4, 4, 3]).unwrap();
    assert_eq!(colour.data.image(0)[..6], [0, 0, 0, 60, 60, 60]);
    assert_eq!(report(&colour, "a.png").unwrap(), "grey to colour");
}

/// A drawing on transparent ground keeps its contrast, whatever its ink.
#[test]
fn ink_stays_visible() {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, ink: Rgba<u8>| {
        // Ink in the left half, and beside it nothing, half opaque ink at the border.
        let picture = RgbaImage::from_fn(4, 4, |x, _| match x {
            0..2 => ink,
            2 => Rgba([ink.0[0], ink.0[1], ink.0[2], 127]),
            _ => Rgba([0, 0, 0, 0]),
        });
        picture.save(folder.path().join(name)).unwrap();
    };
    save("dark.png", Rgba([20, 20, 20, 255]));
    save("light.png", Rgba([240, 240, 240, 255]));
    save("nothing.png", Rgba([0, 0, 0, 0]));
    let found = load_folder(folder.path(), [4, 4, 1]).unwrap();
    let half = |ink: u32, ground: u32| ((ink * 127 + ground * 128 + 127) / 255) as u8;
    assert_eq!(found.data.image(0)[..4], [20, 20, half(20, 255), 255]);
    assert_eq!(found.data.image(1)[..4], [240, 240, half(240, 0), 0]);
    let told = |name| report(&found, name).unwrap();
    assert!(told("dark.png").starts_with("transparency shown on white"));
    assert!(told("light.png").starts_with("transparency shown on black"));
    assert!(told("nothing.png").starts_with("transparency shown on"));
}

/// The eight orientations of EXIF, on a picture whose four pixels differ.
#[test]
fn pictures_are_turned_as_their_exif_data_say() {
    let cases = [
        (1, [1, 2, 3, 4], None),
        (2, [2, 1, 4, 3], Some("mirrored")),
        (3, [4, 3, 2, 1], Some("turned")),
        (4, [3, 4, 1, 2], Some("mirrored")),
        (5, [1, 3, 2, 4], Some("turned and mirrored")),
        (6, [3, 1, 4, 2], Some("turned")),
        (7, [4, 2, 3, 1], Some("turned and mirrored")),
        (8, [2, 4, 1, 3], Some("turned")),
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
    let found = load_folder(folder.path(), [2, 2, 1]).unwrap();
    for (i, (orientation, pixels, done)) in cases.into_iter().enumerate() {
        assert_eq!(found.data.image(i), pixels, "{orientation}");
        let done = done.map(|done| format!("{done} as its EXIF data say"));
        assert_eq!(report(&found, &format!("{orientation}.png")), done);
    }
}

/// A photo taken upright: the camera stores it lying on its side.
#[test]
fn a_photo_is_turned_before_it_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let picture = GrayImage::from_fn(32, 16, |x, _| image::Luma([if x < 16 { 255 } else { 0 }]));
    let photo = jpeg_with_exif(&encoded(&picture, ImageFormat::Jpeg), &exif(6));
    fs::write(folder.path().join("photo.jpg"), photo).unwrap();

    let found = load_folder(folder.path(), [32, 16, 1]).unwrap();
    assert_eq!(
        report(&found, "photo.jpg").unwrap(),
        "turned as its EXIF data say"
    );
    let (top, bottom) = found.data.image(0).split_at(16 * 16);
    assert!(top.iter().all(|&p| p > 250) && bottom.iter().all(|&p| p < 5));

    let found = load_folder(folder.path(), [8, 8, 1]).unwrap();
    assert_eq!(
        report(&found, "photo.jpg").unwrap(),
        "turned as its EXIF data say, cut from 16x32 to 16x16, scaled from 16x16 to 8x8"
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

    let found = load_folder(folder.path(), [8, 16, 1]).unwrap();
    assert_eq!(
        (found.data.len(), &found.reports[..]),
        (2 * kinds.len() + 1, &[][..])
    );
    for image in (0..found.data.len()).map(|i| found.data.image(i)) {
        assert!(image[0] > 250 && image[15] < 5, "{:?}", &image[..16]);
    }
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
    // A header's checksum is made to fit what it claims.
    let claim = |side: u32, depth_and_colours: [u8; 2]| {
        let mut file = png.clone();
        file[16..20].copy_from_slice(&side.to_be_bytes());
        file[20..24].copy_from_slice(&side.to_be_bytes());
        file[24..26].copy_from_slice(&depth_and_colours);
        let crc = crc32(&file[12..29]);
        file[29..33].copy_from_slice(&crc.to_be_bytes());
        file
    };
    fs::write(at("huge.png"), claim(60000, [8, 0])).unwrap();
    // Not too many pixels, but eight bytes for each.
    fs::write(at("deep.png"), claim(4096, [16, 6])).unwrap();

    let error = load_folder(folder.path(), [28, 28, 1]).unwrap_err().to_string();
    assert!(error.contains("no PNG or JPEG picture"), "{error}");
    assert!(
        error.contains("cut.png: left out") && error.matches("larger than 4096").count() == 2,
        "{error}"
    );

    fs::write(at("good.png"), &png).unwrap();
    let found = load_folder(folder.path(), [28, 28, 1]).unwrap();
    assert_eq!((found.data.len(), found.reports.len()), (1, 4));
}

#[test]
fn what_lies_beyond_the_limit_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png", "c.png"] {
        let picture = GrayImage::from_pixel(4, 4, image::Luma([9]));
        picture.save(folder.path().join(name)).unwrap();
    }
    let all = load_at_most(3, folder.path(), [4, 4, 1]).unwrap();
    assert_eq!((all.data.len(), all.reports.len()), (3, 0));
    let some = load_at_most(2, folder.path(), [4, 4, 1]).unwrap();
    assert_eq!((some.data.len(), some.reports.len()), (2, 1));
    let text = some.reports[0].to_string();
    assert!(text.contains("left out: all but 2 of its entries"), "{text}");
}

#[test]
fn no_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        load_folder(folder.path().join("none"), [4, 4, 1]),
        Err(DataError::Io { .. })
    ));
    assert!(matches!(
        load_folder(folder.path(), [4, 4, 1]),
        Err(DataError::NoPictures { .. })
    ));
}

fn encoded(picture: &GrayImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// EXIF data that hold an orientation and nothing else.
fn exif(orientation: u8) -> Vec<u8> {
    // Most significant bytes first; at byte 8 a directory of one entry.
    let mut bytes = b"MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    // Tag 0x112, one 16-bit number; no other directory.
    bytes.extend([1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    bytes.extend([0; 4]);
    bytes
}

/// Puts EXIF data behind the header of a PNG file.
fn png_with_exif(png: &[u8], exif: &[u8]) -> Vec<u8> {
    let chunk = [b"eXIf", exif].concat();
    let (length, crc) = ((exif.len() as u32).to_be_bytes(), crc32(&chunk).to_be_bytes());
    [&png[..33], &length, &chunk, &crc, &png[33..]].concat()
}

/// Puts EXIF data behind the first marker of a JPEG file.
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
