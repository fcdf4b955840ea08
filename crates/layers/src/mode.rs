//! Training or evaluation mode.

/// Mode of a forward pass: training or evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Batch norm uses the statistics of the batch and updates its running statistics. Dropout is active.
    Train,
    /// Batch norm uses its running statistics. Dropout is the identity.
    Eval,
}
