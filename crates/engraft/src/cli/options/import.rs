//! Options of `engraft import`.

use super::one_of_described;
use std::fmt;
use std::path::PathBuf;

/// Read a GAN that another program trained, as a source for transfer, generate and evaluate.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Program and networks
    #[arg(long, value_parser = formats(), default_value_t = ImportFormat::PyTorchDcgan)]
    pub(crate) format: ImportFormat,
    /// State dict of the generator (netG), a safetensors file
    #[arg(long, value_name = "FILE")]
    pub(crate) generator: PathBuf,
    /// State dict of the discriminator (netD), a safetensors file. Without it, a transfer begins with an untrained discriminator
    #[arg(long, value_name = "FILE")]
    pub(crate) discriminator: Option<PathBuf>,
    /// Directory to write
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Replace an earlier import in this directory
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// A format of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportFormat {
    PyTorchDcgan,
}

impl fmt::Display for ImportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PyTorchDcgan => "pytorch-dcgan",
        })
    }
}

fn formats() -> impl clap::builder::TypedValueParser<Value = ImportFormat> {
    one_of_described(vec![(
        ImportFormat::PyTorchDcgan,
        "PyTorch's DCGAN tutorial, images of 64x64",
    )])
}
