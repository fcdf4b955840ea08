//! A folder of pictures as training data: classes from subfolders, a common size, held-out images, batches.
//!
//! `cargo run -p engraft-data --example folder`

use engraft_data::{Batches, DataOptions, DataSource, TrainingData};
use image::{Rgb, RgbImage};
use std::error::Error;
use std::path::Path;

/// Writes 60 pictures of each of two classes: red ones and blue ones, of 20x16 pixels.
fn write_pictures(folder: &Path) -> Result<(), Box<dyn Error>> {
    for (class, color) in [("red", [1, 0, 0]), ("blue", [0, 0, 1])] {
        std::fs::create_dir(folder.join(class))?;
        for i in 0..60_u8 {
            let value = 100 + 2 * i;
            let picture = RgbImage::from_pixel(20, 16, Rgb(color.map(|channel: u8| channel * value)));
            picture.save(folder.join(class).join(format!("{i:02}.png")))?;
        }
    }
    Ok(())
}

/// Runs the example.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    write_pictures(folder.path())?;

    // Every picture is cropped to a square and scaled to 8x8. Every fifth one is held out for testing.
    let mut options = DataOptions::new();
    options.size = Some([8, 8]);
    options.held_out = true;
    let source: DataSource = folder.path().to_str().ok_or("the path is not UTF-8")?.parse()?;
    let loaded = source.open(&options)?;
    for line in &loaded.report.totals {
        println!("{line}");
    }
    let train = &loaded.train;
    assert_eq!((train.len(), train.image_size()), (96, [8, 8, 3]));
    assert_eq!(train.class_names(), ["blue", "red"]);
    assert_eq!(loaded.test.as_ref().map(TrainingData::len), Some(24));

    // The order of batches depends on a seed and can be resumed.
    let mut batches = Batches::new(train.len(), 16, 42)?;
    let indices = batches.next_batch();
    let pixels = train.batch(&indices)?; // [16, 8, 8, 3], from -1 to 1
    let labels: Vec<_> = indices.iter().map(|&i| train.label(i)).collect();
    println!("{} numbers, labels {labels:?}", pixels.len());
    assert_eq!(pixels.len(), 16 * 8 * 8 * 3);

    // The same data without loading them: pictures are decoded when a batch needs them.
    let lazy = source.open_lazily(&options)?;
    assert_eq!(lazy.fingerprint(), train.fingerprint());
    assert_eq!(lazy.batch(&indices)?, pixels);
    Ok(())
}
