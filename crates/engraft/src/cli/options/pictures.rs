//! Options for reading picture files, the same in all commands.

use super::one_of;
use crate::cli::progress::reading_pictures;
use engraft_data::{Background, Damaged, DataDirs, DataOptions, Fit, Levels};
use engraft_gan::PictureConfig;

/// Folder of decoded pictures in the cache directory.
const CACHE: &str = "pixels";

/// How picture files are read. What is not given is as in the run of `--from` or `--config`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PictureOptions {
    /// Fit of pictures with another aspect ratio: crop to the center, pad with the background, or stretch [default: crop]
    #[arg(long, value_name = "FIT", value_parser = one_of(&Fit::ALL), help_heading = "Pictures")]
    pub(crate) fit: Option<Fit>,
    /// Background of transparent pictures: white, black or #rrggbb [default: white]
    #[arg(long, value_name = "COLOR", help_heading = "Pictures")]
    pub(crate) background: Option<Background>,
    /// White of pictures with more than 8 bits. auto: by the bits that all pictures use; full: by the bits of the file
    /// [default: auto]
    #[arg(long, value_name = "LEVELS", value_parser = one_of(&Levels::ALL), help_heading = "Pictures")]
    pub(crate) levels: Option<Levels>,
    /// Damaged pictures. skip: left out; refuse: an error; keep: what can be decoded is used [default: skip]
    #[arg(long, value_name = "CHOICE", value_parser = one_of(&Damaged::ALL), help_heading = "Pictures")]
    pub(crate) damaged: Option<Damaged>,
    /// Do not keep decoded pictures in the cache directory. Otherwise a second start with the same files and settings is quick
    #[arg(long, help_heading = "Pictures")]
    pub(crate) no_cache: bool,
}

impl PictureOptions {
    /// The settings with these changes, as a run records them.
    pub(crate) fn over(&self, base: PictureConfig) -> PictureConfig {
        let mut config = base;
        config.fit = self.fit.unwrap_or(config.fit);
        config.background = self.background.unwrap_or(config.background);
        config.levels = self.levels.unwrap_or(config.levels);
        config.damaged = match self.damaged {
            // A run reads the same pictures whether damaged ones are refused or left out.
            Some(Damaged::Refuse) => Damaged::Skip,
            other => other.unwrap_or(config.damaged),
        };
        config
    }

    /// Sets the options for reading data, with the cache of decoded pictures and a progress bar.
    pub(crate) fn apply(&self, base: PictureConfig, options: &mut DataOptions) {
        self.over(base).apply(options);
        options.damaged = self.damaged.unwrap_or(options.damaged);
        let directory = DataDirs::from_env().cache_dir.filter(|_| !self.no_cache);
        options.cache = directory.map(|directory| directory.join(CACHE));
        options.progress = Some(reading_pictures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_change_the_settings_of_a_run() {
        let mut base = PictureConfig::default();
        (base.fit, base.mirror) = (Fit::Stretch, true);
        let options = PictureOptions {
            background: Some(Background::BLACK),
            damaged: Some(Damaged::Refuse),
            ..PictureOptions::default()
        };
        let config = options.over(base);
        let found = (config.fit, config.background, config.damaged, config.mirror);
        assert_eq!(found, (Fit::Stretch, Background::BLACK, Damaged::Skip, true));
        let mut read = DataOptions::new();
        options.apply(base, &mut read);
        assert_eq!((read.fit, read.damaged), (Fit::Stretch, Damaged::Refuse));
    }
}
