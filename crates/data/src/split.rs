//! The training and test splits of a data set.

use std::fmt;

use crate::unknown_name::parsed;

/// A split of a data set: training or test.
///
/// ```
/// use engraft_data::Split;
/// assert_eq!("test".parse(), Ok(Split::Test));
/// assert_eq!(Split::ALL.map(Split::as_str), ["train", "test"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// The training images.
    Train,
    /// The test images, never used for training.
    Test,
}

impl Split {
    /// Both splits.
    pub const ALL: [Self; 2] = [Self::Train, Self::Test];

    /// The name in options: `train` or `test`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

parsed!(Split, "split");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_names_go_there_and_back() {
        for split in Split::ALL {
            assert_eq!(split.to_string().parse(), Ok(split));
        }
        let error = "tset".parse::<Split>().unwrap_err();
        assert_eq!(
            (error.name.as_str(), error.known),
            ("tset", vec!["train", "test"])
        );
    }
}
