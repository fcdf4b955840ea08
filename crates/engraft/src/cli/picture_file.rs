//! Output files of images: the format by the file's extension, and files that are not replaced by accident.

use anyhow::{Context, bail, ensure};
use engraft_base::write_atomically;
use engraft_gan::animated_png;
use image::codecs::gif::{GifEncoder, Repeat};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{Delay, DynamicImage, Frame, ImageFormat};
use std::path::Path;
use std::time::Duration;

/// Quality of JPEG files, from 1 to 100.
const QUALITY: u8 = 95;
/// Duration of a frame of an animation, in hundredths of a second.
const DELAY: u16 = 8;

/// The format of an output file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputFormat {
    Png,
    Jpeg,
    /// Lossless WebP.
    WebP,
    /// An array of numbers.
    Npy,
    Gif,
    /// Animated PNG.
    Apng,
}

impl OutputFormat {
    const EXTENSIONS: [(&str, Self); 7] = [
        ("png", Self::Png),
        ("jpg", Self::Jpeg),
        ("jpeg", Self::Jpeg),
        ("webp", Self::WebP),
        ("npy", Self::Npy),
        ("gif", Self::Gif),
        ("apng", Self::Apng),
    ];

    /// The format that the extension of a file names, in either case.
    ///
    /// # Errors
    /// If there is no such format, with all formats.
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let found = Self::EXTENSIONS.iter().find(|(name, _)| *name == extension);
        found.map(|(_, format)| *format).with_context(|| {
            format!(
                "--out {}: the file name has no known extension; expected .png, .jpg, .webp, .npy, or for animations .gif or .apng",
                path.display()
            )
        })
    }

    /// Whether the format is an animation.
    pub(super) fn is_animation(self) -> bool {
        matches!(self, Self::Gif | Self::Apng)
    }
}

/// Refuses to replace a file, unless the user asked for it.
///
/// # Errors
/// If the file exists.
pub(super) fn ensure_new(path: &Path, overwrite: bool) -> anyhow::Result<()> {
    ensure!(
        overwrite || path.symlink_metadata().is_err(),
        "{} exists; choose another --out, or replace it with --overwrite",
        path.display()
    );
    Ok(())
}

/// Writes a file, and makes its folder if there is none.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    make_folder_of(path)?;
    write_atomically(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// Makes the folder of a file if there is none.
pub(super) fn make_folder_of(path: &Path) -> anyhow::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))
        }
        None => Ok(()),
    }
}

/// A picture, given as a PNG file, in another format.
///
/// # Errors
/// If the format does not hold such a picture.
pub(super) fn encode(png: Vec<u8>, format: OutputFormat) -> anyhow::Result<Vec<u8>> {
    let picture = |png: &[u8]| image::load_from_memory_with_format(png, ImageFormat::Png);
    let mut bytes = Vec::new();
    match format {
        OutputFormat::Png => return Ok(png),
        OutputFormat::Jpeg => {
            // JPEG has no transparency.
            let picture = match picture(&png)? {
                gray @ (DynamicImage::ImageLuma8(_) | DynamicImage::ImageLumaA8(_)) => gray.to_luma8().into(),
                color => DynamicImage::from(color.to_rgb8()),
            };
            picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))?;
        }
        OutputFormat::WebP => {
            let picture = DynamicImage::from(picture(&png)?.to_rgba8());
            picture.write_with_encoder(WebPEncoder::new_lossless(&mut bytes))?;
        }
        OutputFormat::Npy | OutputFormat::Gif | OutputFormat::Apng => bail!("one picture is no {format:?}"),
    }
    Ok(bytes)
}

/// An animation of frames of the same size, given as PNG files. It repeats without end.
///
/// # Errors
/// If the format is no animation.
pub(super) fn encode_animation(frames: &[Vec<u8>], format: OutputFormat) -> anyhow::Result<Vec<u8>> {
    match format {
        OutputFormat::Apng => animated_png(frames, [DELAY; 2]).context("there are no frames"),
        OutputFormat::Gif => {
            let mut bytes = Vec::new();
            {
                let mut encoder = GifEncoder::new(&mut bytes);
                encoder.set_repeat(Repeat::Infinite)?;
                let delay = Delay::from_saturating_duration(Duration::from_millis(u64::from(DELAY) * 10));
                for png in frames {
                    let picture = image::load_from_memory_with_format(png, ImageFormat::Png)?.to_rgba8();
                    encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay))?;
                }
            }
            Ok(bytes)
        }
        _ => bail!("{format:?} is no animation"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_gan::image_png;
    use engraft_tensor::Tensor;
    use image::AnimationDecoder;
    use image::codecs::gif::GifDecoder;
    use std::io::Cursor;

    fn png(value: f32, channels: usize) -> Vec<u8> {
        image_png(&Tensor::full([1, 8, 6, channels], value))
    }

    #[test]
    fn the_extension_decides_the_format() {
        let of = |name: &str| OutputFormat::of(Path::new(name));
        assert_eq!(of("a/b.JPG").unwrap(), OutputFormat::Jpeg);
        assert_eq!(of("a.apng").unwrap(), OutputFormat::Apng);
        for wrong in ["a", "a.tga", "png", ".png", "a.b/c"] {
            let error = of(wrong).unwrap_err().to_string();
            assert!(error.contains(".webp") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn pictures_and_animations_are_read_back() {
        for channels in 1..=4 {
            for (format, kind) in [
                (OutputFormat::Png, ImageFormat::Png),
                (OutputFormat::Jpeg, ImageFormat::Jpeg),
                (OutputFormat::WebP, ImageFormat::WebP),
            ] {
                let bytes = encode(png(1.0, channels), format).unwrap();
                assert_eq!(image::guess_format(&bytes).unwrap(), kind);
                let picture = image::load_from_memory(&bytes).unwrap();
                assert_eq!((picture.width(), picture.height()), (6, 8));
                assert!(
                    picture.to_luma8().pixels().all(|pixel| pixel.0[0] > 250),
                    "{format:?}"
                );
            }
        }
        let frames = [-1.0, 1.0, -1.0].map(|value| png(value, 3));
        let gif = encode_animation(&frames, OutputFormat::Gif).unwrap();
        let read = GifDecoder::new(Cursor::new(gif))
            .unwrap()
            .into_frames()
            .collect_frames()
            .unwrap();
        let corner: Vec<u8> = read
            .iter()
            .map(|frame| frame.buffer().get_pixel(0, 0).0[0])
            .collect();
        assert_eq!(corner, [0, 255, 0]);
        assert!(
            encode_animation(&frames, OutputFormat::Apng)
                .unwrap()
                .starts_with(b"\x89PNG")
        );
        assert!(encode_animation(&frames, OutputFormat::Png).is_err());
    }

    #[test]
    fn files_are_replaced_on_request_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.png");
        ensure_new(&path, false).unwrap();
        write(&path, b"1").unwrap();
        let error = ensure_new(&path, false).unwrap_err().to_string();
        assert!(
            error.contains("a.png") && error.contains("--overwrite"),
            "{error}"
        );
        ensure_new(&path, true).unwrap();
        write(&path, b"2").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"2");
    }
}
