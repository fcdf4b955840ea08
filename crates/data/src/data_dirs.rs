//! Directories of data sets on this machine.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// Directories that [`load`](crate::load) searches when no directory is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataDirs {
    /// The user's directory of data sets, with a subdirectory per data set: `$ENGRAFT_DATA`.
    pub data_dir: Option<PathBuf>,
    /// The directory of downloads, with a subdirectory per data set: `engraft` in the user's cache.
    pub cache_dir: Option<PathBuf>,
}

/// The conventions for cache directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Windows,
    Mac,
    Other,
}

impl DataDirs {
    /// The directories that the environment of this process names.
    ///
    /// The cache directory is `$LOCALAPPDATA/engraft` on Windows, `~/Library/Caches/engraft` on macOS, and
    /// `$XDG_CACHE_HOME/engraft` or `~/.cache/engraft` elsewhere. An empty variable counts as not set.
    pub fn from_env() -> Self {
        let system = match env::consts::OS {
            "windows" => System::Windows,
            "macos" | "ios" => System::Mac,
            _ => System::Other,
        };
        Self::from_variables(system, |name| env::var_os(name))
    }

    fn from_variables(system: System, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let directory = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let cache = match system {
            System::Windows => directory("LOCALAPPDATA"),
            System::Mac => directory("HOME").map(|home| home.join("Library").join("Caches")),
            // XDG requires that relative paths are ignored.
            System::Other => directory("XDG_CACHE_HOME")
                .filter(|path| path.is_absolute())
                .or_else(|| directory("HOME").map(|home| home.join(".cache"))),
        };
        Self {
            data_dir: directory("ENGRAFT_DATA"),
            cache_dir: cache.map(|path| path.join("engraft")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_keeps_its_cache_where_it_is_used_to() {
        let variable = |name: &str| match name {
            "HOME" => Some("/home/ada".into()),
            "LOCALAPPDATA" => Some("/local".into()),
            "XDG_CACHE_HOME" => Some("relative".into()),
            _ => None,
        };
        let cache = |system| DataDirs::from_variables(system, variable).cache_dir;
        assert_eq!(cache(System::Windows), Some("/local/engraft".into()));
        assert_eq!(
            cache(System::Mac),
            Some("/home/ada/Library/Caches/engraft".into())
        );
        assert_eq!(cache(System::Other), Some("/home/ada/.cache/engraft".into()));
        assert_eq!(
            DataDirs::from_variables(System::Other, |_| None),
            DataDirs::default()
        );
    }

    #[test]
    fn a_set_variable_wins_and_an_empty_one_is_none() {
        let dirs = DataDirs::from_variables(System::Other, |name| match name {
            "ENGRAFT_DATA" => Some("".into()),
            "XDG_CACHE_HOME" if cfg!(unix) => Some("/cache".into()),
            "HOME" => Some("/cache".into()),
            _ => None,
        });
        assert_eq!(dirs.data_dir, None);
        let expected = if cfg!(unix) {
            "/cache/engraft"
        } else {
            "/cache/.cache/engraft"
        };
        assert_eq!(dirs.cache_dir, Some(expected.into()));
    }
}
