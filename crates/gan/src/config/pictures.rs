//! The section `[pictures]` of a run: how picture files are read.

use engraft_data::{Background, Damaged, DataOptions, Fit, Levels};
use serde::{Deserialize, Serialize};

/// How picture files are read, and whether training images are mirrored.
///
/// A run keeps these settings, so that it resumes with the same pixels. The size is the setting `image`.
///
/// ```toml
/// [pictures]
/// fit = "pad"
/// background = "black"
/// mirror = true
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PictureConfig {
    /// How pictures with another aspect ratio are fitted to the size.
    pub fit: Fit,
    /// Background of transparent pictures: `white`, `black`, or a color such as `#ff8000`.
    pub background: Background,
    /// How values of more than 8 bits are scaled to bytes.
    pub levels: Levels,
    /// What is done with damaged pictures.
    pub damaged: Damaged,
    /// Whether each training image is mirrored (left and right exchanged) with probability 1/2 whenever it is trained on.
    pub mirror: bool,
}

impl PictureConfig {
    /// Sets the options for reading data. The size and the channels stay.
    pub fn apply(&self, options: &mut DataOptions) {
        options.fit = self.fit;
        options.background = self.background.0;
        options.levels = self.levels;
        options.damaged = self.damaged;
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainConfig;
    use engraft_data::{Split, drawn_digits};

    #[test]
    fn settings_of_pictures_are_written_and_read() {
        let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 200, 1));
        let text = config.to_toml();
        assert!(!text.contains("pictures"), "{text}");
        let hash = config.fixed_hash();
        config.pictures.fit = Fit::Pad;
        config.pictures.background = Background([1, 2, 3]);
        config.pictures.mirror = true;
        assert_ne!(config.fixed_hash(), hash);
        let read = TrainConfig::from_toml(&config.to_toml(), "run.toml".as_ref()).unwrap();
        assert_eq!(read, config);
        let mut options = DataOptions::new();
        read.pictures.apply(&mut options);
        assert_eq!((options.fit, options.background), (Fit::Pad, [1, 2, 3]));
        assert!(config.changed("pictures.background=pink").is_err());
    }
}
