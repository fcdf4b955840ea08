//! Images in grey or in colour.

use std::fmt;

use crate::unknown_name::parsed;

/// Which channels images have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Channels {
    /// Red, green and blue if any of the images is in colour, else one.
    #[default]
    Keep,
    /// One; colours become grey by their luminance (ITU-R BT.709).
    Gray,
    /// Red, green and blue; grey is repeated.
    Rgb,
}

impl Channels {
    /// Every choice there is.
    pub const ALL: [Self; 3] = [Self::Keep, Self::Gray, Self::Rgb];

    /// The name as users type it: `grey`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Gray => "grey",
            Self::Rgb => "rgb",
        }
    }
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

parsed!(Channels, "choice of channels");

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
        let error = "blue".parse::<Channels>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no choice of channels \"blue\"; the names are keep, grey, rgb"
        );
    }
}
