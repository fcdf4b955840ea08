//! Training or evaluation.

/// Whether a forward pass belongs to training or to evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Batch norm uses the statistics of the batch and updates its running ones; dropout drops.
    Train,
    /// Batch norm uses its running statistics; dropout passes everything through.
    Eval,
}
