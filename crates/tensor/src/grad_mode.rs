//! Gradient mode: a flag of each thread that switches recording on and off.

use std::cell::Cell;

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

/// Whether operations on this thread are currently recorded.
///
/// Never in a build with `--cfg engraft_inference`, which leaves the derivative rules out of a small program that only runs
/// networks.
pub fn is_recording() -> bool {
    !cfg!(engraft_inference) && RECORDING.get()
}

/// Sets the flag for a scope. Restores the old value at its end, also after a panic.
pub(crate) struct Recording(bool);

impl Recording {
    pub(crate) fn set(on: bool) -> Self {
        Self(RECORDING.replace(on))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        RECORDING.set(self.0);
    }
}

/// Runs the parallel work of a kernel or of an optimizer.
///
/// A thread that waits for parallel work may run another task of the pool. That task must not inherit the
/// flag of this one. If recording were off there, its operations would be missing from the graph. So the flag
/// has its initial value while `work` runs.
pub fn parallel<R>(work: impl FnOnce() -> R) -> R {
    let _recording = Recording::set(true);
    work()
}

/// Runs `f` without recording. The results are constants and keep no graph alive.
///
/// This applies to the calling thread only. Tasks that `f` starts on other threads still record, unless they call
/// `no_grad` themselves.
///
/// ```
/// use engraft_tensor::{Tensor, no_grad};
/// let x = Tensor::<f32>::ones([2]).as_leaf();
/// assert!(!no_grad(|| &x * &x).requires_grad());
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    let _recording = Recording::set(false);
    f()
}
