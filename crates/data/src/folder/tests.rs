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
    // The header claims 60000 x 60000; its checksum is made to fit.
    let mut huge = png.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let crc = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.to_be_bytes());
    fs::write(at("huge.png"), &huge).unwrap();

    let error = load_folder(folder.path(), [28, 28, 1]).unwrap_err().to_string();
    assert!(error.contains("no PNG or JPEG picture"), "{error}");
    assert!(
        error.contains("cut.png: left out") && error.contains("larger than 4096"),
        "{error}"
    );

    fs::write(at("good.png"), &png).unwrap();
    let found = load_folder(folder.path(), [28, 28, 1]).unwrap();
    assert_eq!((found.data.len(), found.reports.len()), (1, 3));
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
