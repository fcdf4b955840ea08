//! Whether operations are recorded: a flag of the thread.

use std::cell::Cell;

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

/// Whether operations on this thread are recorded at the moment.
pub fn is_recording() -> bool {
    RECORDING.get()
}

/// Sets the flag for a scope and puts the old value back, also when the scope panics.
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

/// Runs the parallel work of a kernel, or of an optimizer.
///
/// A thread that waits for the pieces of its work may take up another task of the pool meanwhile. That task
/// must not find recording switched off because this one is inside a sweep or [`no_grad`]: its operations
/// would silently leave the graph. So the flag has its initial value for as long as a thread may wait.
pub fn parallel<R>(work: impl FnOnce() -> R) -> R {
    let _recording = Recording::set(true);
    work()
}

/// Runs `f` without recording: its results are constants and keep no graph alive.
///
/// This holds for the calling thread. Tasks that `f` hands to other threads record unless they switch it off
/// themselves.
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
