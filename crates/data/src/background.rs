//! The background of transparent pictures.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::shown::escaped;

/// A color that transparent pictures are shown on, the same for all pictures: `white`, `black` or `#rrggbb`.
///
/// ```
/// use engraft_data::Background;
/// assert_eq!("#ff8000".parse(), Ok(Background([255, 128, 0])));
/// assert_eq!(Background([0, 0, 0]).to_string(), "black");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Background(
    /// Red, green and blue.
    pub [u8; 3],
);

impl Background {
    /// White, the default.
    pub const WHITE: Self = Self([255; 3]);
    /// Black.
    pub const BLACK: Self = Self([0; 3]);
}

impl Default for Background {
    fn default() -> Self {
        Self::WHITE
    }
}

impl fmt::Display for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::WHITE => f.write_str("white"),
            Self::BLACK => f.write_str("black"),
            Self([r, g, b]) => write!(f, "#{r:02x}{g:02x}{b:02x}"),
        }
    }
}

impl FromStr for Background {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (
            text,
            digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()),
        ) {
            ("white", _) => Ok(Self::WHITE),
            ("black", _) => Ok(Self::BLACK),
            (_, Some(color)) => Ok(Self([16, 8, 0].map(|shift| (color >> shift) as u8))),
            _ => Err(format!(
                "expected white, black or a color such as #ff8000, got {:?}",
                escaped(text)
            )),
        }
    }
}

impl From<Background> for String {
    fn from(background: Background) -> Self {
        background.to_string()
    }
}

impl TryFrom<String> for Background {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_go_there_and_back() {
        for text in ["white", "black", "#0a0b0c"] {
            assert_eq!(text.parse::<Background>().unwrap().to_string(), text);
        }
        for wrong in ["", "red", "#fff", "#+12345", "#00000g", "ffffff"] {
            assert!(wrong.parse::<Background>().is_err(), "{wrong}");
        }
    }
}
