//! Options of `engraft watch`.

use std::path::PathBuf;

/// Show runs on a page of the browser while they train: curves, sample grids, measures, alarms, settings
///
/// The page is served on this machine only and changes nothing. It also shows runs that have ended. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// Run directories
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Port of the page; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 8686)]
    pub(crate) port: u16,
}
