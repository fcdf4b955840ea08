//! Adds the name of the layer to panics inside a network.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

thread_local! {
    /// Current nesting depth of named parts on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// A panic that is propagating out of a network.
struct Named {
    /// The dotted name so far.
    path: String,
    message: String,
}

fn message(payload: &(dyn Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
}

/// Runs a part of a network's forward pass. If it panics, for example because of a wrong shape, the name of the part is
/// put in front of the message: `block2.conv: ..`. [`Sequential`](crate::Sequential) uses it for its layers. Modules that
/// call their children directly can use it too.
///
/// ```
/// use engraft_layers::{Dense, Init, Mode, Module, Sequential};
/// use engraft_tensor::Tensor;
///
/// let block = Sequential::<f32>::new().add("dense", Dense::new(3, 2, &mut Init::glorot(1)));
/// let net = Sequential::new().add("block1", block);
/// let run = std::panic::AssertUnwindSafe(|| net.forward(&Tensor::zeros([1, 4]), Mode::Eval));
/// let panic = std::panic::catch_unwind(run).unwrap_err();
/// let message = panic.downcast_ref::<String>().unwrap();
/// assert!(message.starts_with("block1.dense: "), "{message}");
/// ```
///
/// # Panics
/// If `run` does.
pub fn named<R>(name: &str, run: impl FnOnce() -> R) -> R {
    DEPTH.set(DEPTH.get() + 1);
    // Results of an interrupted pass are discarded, and buffers are always replaced as a whole.
    let result = catch_unwind(AssertUnwindSafe(run));
    DEPTH.set(DEPTH.get() - 1);
    let payload = match result {
        Ok(result) => return result,
        Err(payload) => payload,
    };
    let Named { path, message } = match payload.downcast::<Named>() {
        Ok(inner) => Named {
            path: format!("{name}.{}", inner.path),
            message: inner.message,
        },
        Err(payload) => match message(payload.as_ref()) {
            Some(message) => Named {
                path: name.into(),
                message,
            },
            None => resume_unwind(payload),
        },
    };
    if DEPTH.get() == 0 {
        panic!("{path}: {message}");
    }
    resume_unwind(Box::new(Named { path, message }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "a.b: 7 is too many")]
    fn the_whole_path_is_named() {
        named("a", || named("b", || panic!("{} is too many", 7)));
    }

    #[test]
    fn after_a_panic_the_next_name_starts_empty() {
        for _ in 0..2 {
            let payload = catch_unwind(|| named("a", || panic!("no"))).unwrap_err();
            assert_eq!(message(payload.as_ref()).unwrap(), "a: no");
        }
        let other = catch_unwind(|| named("a", || std::panic::panic_any(5_i32))).unwrap_err();
        assert_eq!(other.downcast_ref::<i32>(), Some(&5));
    }
}
