//! Files of more than 8 bits per channel: which value is white.

use std::fmt;

use image::DynamicImage;
use serde::{Deserialize, Serialize};

use crate::unknown_name::parsed;

/// How values of more than 8 bits are scaled to bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Levels {
    /// By the number of bits that all pictures use together: the largest value of 12 bits becomes white if no picture has a
    /// larger one. All pictures are scaled alike.
    #[default]
    Auto,
    /// By the number of bits of the files: the largest value of 16 bits becomes white.
    Full,
}

impl Levels {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::Auto, Self::Full];

    /// The name in options, for example `auto`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

parsed!(Levels, "choice of levels");

/// The white of files that use the whole range.
pub(crate) const WHOLE: u16 = u16::MAX;

/// Fewest bits that pictures of 16 bits are taken to have. Dark pictures of 8 bits stay dark.
const FEWEST_BITS: u32 = 9;

/// The largest value of a picture with 16 bits per channel, without its opacity. `None` for other pictures.
pub(crate) fn largest(picture: &DynamicImage) -> Option<u16> {
    let of = |values: &[u16]| values.iter().copied().max();
    match picture {
        DynamicImage::ImageLuma16(p) => of(p),
        DynamicImage::ImageRgb16(p) => of(p),
        DynamicImage::ImageLumaA16(p) => p.pixels().map(|pixel| pixel.0[0]).max(),
        DynamicImage::ImageRgba16(p) => p.pixels().filter_map(|pixel| of(&pixel.0[..3])).max(),
        _ => None,
    }
}

/// The largest number with as many bits as `value`.
pub(crate) fn white(value: u16) -> u16 {
    let bits = (u16::BITS - value.leading_zeros()).max(FEWEST_BITS);
    ((1_u32 << bits) - 1) as u16
}

/// Scales the values of a picture with 16 bits per channel, so that `white` becomes the largest one.
pub(crate) fn stretch(picture: &mut DynamicImage, white: u16) {
    if white == WHOLE {
        return;
    }
    let white = u32::from(white);
    let scale = |value: &mut u16| {
        let scaled = (u32::from(*value) * u32::from(WHOLE) + white / 2) / white;
        *value = scaled.min(WHOLE.into()) as u16;
    };
    match picture {
        DynamicImage::ImageLuma16(p) => p.iter_mut().for_each(scale),
        DynamicImage::ImageRgb16(p) => p.iter_mut().for_each(scale),
        DynamicImage::ImageLumaA16(p) => p.pixels_mut().for_each(|pixel| scale(&mut pixel.0[0])),
        DynamicImage::ImageRgba16(p) => p
            .pixels_mut()
            .for_each(|pixel| pixel.0[..3].iter_mut().for_each(scale)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_has_the_bits_of_the_largest_value() {
        let cases = [
            (0, 511),
            (255, 511),
            (1000, 1023),
            (4080, 4095),
            (4096, 8191),
            (u16::MAX, u16::MAX),
        ];
        for (value, expected) in cases {
            assert_eq!(white(value), expected, "{value}");
        }
    }

    #[test]
    fn values_are_stretched_and_opacity_is_not() {
        let mut picture = DynamicImage::new_rgba16(1, 1);
        let DynamicImage::ImageRgba16(pixels) = &mut picture else {
            unreachable!()
        };
        pixels[(0, 0)].0 = [0, 4095, 5000, 900];
        assert_eq!(largest(&picture), Some(5000));
        stretch(&mut picture, 4095);
        assert_eq!(
            picture.as_rgba16().unwrap()[(0, 0)].0,
            [0, u16::MAX, u16::MAX, 900]
        );
    }
}
