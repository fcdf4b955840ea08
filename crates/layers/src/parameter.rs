//! The contents of a module: parameters, buffers and random streams.

use engraft_tensor::{Real, Tensor};
use rand_pcg::Pcg64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A learned tensor. A frozen parameter is a constant of the graph, so no gradient is computed for it.
#[derive(Clone, Debug)]
pub struct Parameter<T: Real = f32> {
    tensor: Tensor<T>,
}

impl<T: Real> Parameter<T> {
    /// A trainable parameter with the given initial values.
    pub fn new(value: Tensor<T>) -> Self {
        Self {
            tensor: value.as_leaf(),
        }
    }

    /// The current values: a leaf of the graph if trainable, a constant if frozen.
    pub fn tensor(&self) -> &Tensor<T> {
        &self.tensor
    }

    /// Whether optimizers change the parameter.
    pub fn is_trainable(&self) -> bool {
        self.tensor.requires_grad()
    }

    /// Makes the parameter a constant.
    pub fn freeze(&mut self) {
        self.tensor = self.tensor.detach();
    }

    /// Makes the parameter trainable again.
    pub fn unfreeze(&mut self) {
        self.tensor = self.tensor.as_leaf();
    }

    /// Replaces the values.
    ///
    /// # Panics
    /// If the shape differs.
    #[track_caller]
    pub fn set(&mut self, value: &Tensor<T>) {
        assert!(
            value.shape() == self.tensor.shape(),
            "parameter: expected shape {:?}, but the new value has {:?}",
            self.tensor.shape(),
            value.shape()
        );
        self.tensor = if self.is_trainable() {
            value.as_leaf()
        } else {
            value.detach()
        };
    }

    /// Changes the values, in place unless a graph or another tensor shares them.
    pub fn update(&mut self, change: impl FnOnce(&mut [T])) {
        let trainable = self.is_trainable();
        let mut array = std::mem::replace(&mut self.tensor, Tensor::zeros([0])).into_array();
        change(
            array
                .as_slice_mut()
                .expect("a tensor is always in row-major order"),
        );
        let value = Tensor::from_array(array);
        self.tensor = if trainable { value.as_leaf() } else { value };
    }
}

/// A tensor that the forward pass updates, for example the running statistics of batch norm.
///
/// A forward pass takes `&self`, so the tensor is behind a lock. The lock is held only while the tensor is read or
/// replaced.
#[derive(Debug)]
pub struct Buffer<T: Real = f32> {
    tensor: Mutex<Tensor<T>>,
    frozen: bool,
    /// Number of forward passes in the plain mean. `None` while the buffer follows a moving average.
    gathered: Option<AtomicU64>,
}

impl<T: Real> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self {
            tensor: Mutex::new(self.tensor()),
            frozen: self.frozen,
            gathered: self.gathered.as_ref().map(|n| AtomicU64::new(n.load(Relaxed))),
        }
    }
}

impl<T: Real> Buffer<T> {
    /// A buffer with the given initial values.
    pub fn new(value: Tensor<T>) -> Self {
        Self {
            tensor: Mutex::new(value.detach()),
            frozen: false,
            gathered: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tensor<T>> {
        // A panic elsewhere cannot leave a partial tensor here, because it is replaced as a whole.
        self.tensor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current values.
    pub fn tensor(&self) -> Tensor<T> {
        self.lock().clone()
    }

    /// Replaces the values, whether frozen or not.
    ///
    /// # Panics
    /// If the shape differs.
    #[track_caller]
    pub fn set(&self, value: &Tensor<T>) {
        let mut tensor = self.lock();
        assert!(
            value.shape() == tensor.shape(),
            "buffer: expected shape {:?}, but the new value has {:?}",
            tensor.shape(),
            value.shape()
        );
        *tensor = value.detach();
    }

    /// Whether forward passes do not update the buffer.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Stops updates by forward passes. Batch norm then uses the buffer in both modes.
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Allows updates by forward passes again.
    pub fn unfreeze(&mut self) {
        self.frozen = false;
    }

    /// Restarts a running statistic as a plain mean. Until [`Buffer::end_mean`] it is the mean over all following forward
    /// passes in training mode, with equal weights.
    pub fn begin_mean(&mut self) {
        self.gathered = Some(AtomicU64::new(0));
        let zeros = Tensor::zeros(self.tensor().shape());
        self.set(&zeros);
    }

    /// Returns to the moving average, starting from the current mean.
    pub fn end_mean(&mut self) {
        self.gathered = None;
    }

    /// The share of its value that a running statistic keeps in a forward pass: the given momentum, or the share that gives a
    /// plain mean.
    pub(crate) fn kept_share(&self, momentum: f64) -> f64 {
        match &self.gathered {
            Some(count) => {
                let before = count.fetch_add(1, Relaxed) as f64;
                before / (before + 1.0)
            }
            None => momentum,
        }
    }
}

/// The state of a random stream that a module advances. Checkpoints store it.
#[derive(Debug)]
pub struct RngState {
    state: Mutex<Pcg64>,
}

impl Clone for RngState {
    fn clone(&self) -> Self {
        Self::new(self.state())
    }
}

impl RngState {
    /// A random stream in the given state.
    pub fn new(state: Pcg64) -> Self {
        Self {
            state: Mutex::new(state),
        }
    }

    /// The current state.
    pub fn state(&self) -> Pcg64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets a saved state.
    pub fn set(&self, state: Pcg64) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Draws from the random stream.
    pub fn with<R>(&self, draw: impl FnOnce(&mut Pcg64) -> R) -> R {
        draw(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A parameter, buffer or random stream, as passed by [`visit`](crate::visit).
pub enum Slot<'a, T: Real> {
    /// Trained by an optimizer.
    Parameter(&'a Parameter<T>),
    /// Updated by the forward pass.
    Buffer(&'a Buffer<T>),
    /// Advanced by the forward pass.
    Rng(&'a RngState),
}

/// A parameter, buffer or random stream, as passed by [`visit_mut`](crate::visit_mut).
pub enum SlotMut<'a, T: Real> {
    /// Trained by an optimizer.
    Parameter(&'a mut Parameter<T>),
    /// Updated by the forward pass.
    Buffer(&'a mut Buffer<T>),
    /// Advanced by the forward pass.
    Rng(&'a mut RngState),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_happens_in_place_unless_the_values_are_held() {
        let mut p = Parameter::new(Tensor::<f32>::zeros([64]));
        let address = p.tensor().as_slice().as_ptr();
        p.update(|v| v[0] = 1.0);
        assert_eq!(p.tensor().as_slice().as_ptr(), address);
        let held = p.tensor().clone();
        p.update(|v| v[0] = 2.0);
        assert_eq!((held.as_slice()[0], p.tensor().as_slice()[0]), (1.0, 2.0));
        assert!(p.is_trainable());
    }

    #[test]
    fn frozen_means_constant() {
        let mut p = Parameter::new(Tensor::<f32>::ones([1]));
        p.freeze();
        assert!(!(p.tensor() * 2.0).requires_grad());
        p.update(|v| v[0] = 3.0);
        assert!(!p.is_trainable());
        p.unfreeze();
        assert!((p.tensor() * 2.0).requires_grad());
    }
}
