//! Options of `engraft doctor`.

use std::path::PathBuf;

/// Check this machine: CPU, kernels, memory, disk, data sets, and the speed of a convolution. Its output belongs in a bug report
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Directory for runs, which is checked for free space and permission to write
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Print one line of JSON instead of the list
    #[arg(long)]
    pub(crate) json: bool,
}
