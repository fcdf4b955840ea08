//! Channels of images: gray or color.

use std::fmt;
use std::str::FromStr;

use crate::unknown_name::{UnknownName, find};

/// Which channels images have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Channels {
    /// Red, green and blue if any of the images is in color; otherwise one channel.
    #[default]
    Keep,
    /// One channel. Colors become gray by their luminance (ITU-R BT.709).
    Gray,
    /// Red, green and blue. Gray is repeated in all three.
    Rgb,
}

impl Channels {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::Keep, Self::Gray, Self::Rgb];
    /// The name that [`Gray`](Self::Gray) had in earlier versions.
    #[doc(hidden)]
    #[allow(non_upper_case_globals)]
    pub const Grey: Self = Self::Gray;

    /// The name of the choice in options: `keep`, `gray` or `rgb`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Gray => "gray",
            Self::Rgb => "rgb",
        }
    }
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channels {
    type Err = UnknownName;

    /// Parses a name. `grey`, the spelling of earlier versions, is accepted.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "grey" => Ok(Self::Gray),
            _ => find("choice of channels", name, &Self::ALL, Self::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fit;

    #[test]
    fn choices_go_there_and_back() {
        for channels in Channels::ALL {
            assert_eq!(channels.to_string().parse(), Ok(channels));
        }
        for fit in Fit::ALL {
            assert_eq!(fit.to_string().parse(), Ok(fit));
        }
        let error = "blue".parse::<Channels>().unwrap_err();
        assert_eq!(error.name, "blue");
        assert_eq!(error.known, ["keep", "gray", "rgb"]);
    }
}
