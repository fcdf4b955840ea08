//! What a module holds: learned parameters, running buffers, states of random generators.

use engraft_tensor::{Real, Tensor};
use rand_pcg::Pcg64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A learned tensor. A frozen one is a constant of the graph, so that no gradient is computed for it.
#[derive(Clone, Debug)]
pub struct Parameter<T: Real = f32> {
    tensor: Tensor<T>,
}

impl<T: Real> Parameter<T> {
    /// A trainable parameter that starts with the given values.
    pub fn new(value: Tensor<T>) -> Self {
        Self {
            tensor: value.as_leaf(),
        }
    }

    /// The current values: a leaf of the graph if trainable, a constant if frozen.
    pub fn tensor(&self) -> &Tensor<T> {
        &self.tensor
    }

    /// Whether optimizers change it.
    pub fn is_trainable(&self) -> bool {
        self.tensor.requires_grad()
    }

    /// Makes it a constant.
    pub fn freeze(&mut self) {
        self.tensor = self.tensor.detach();
    }

    /// Makes it trainable again.
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
            "parameter: its shape is {:?}, the new value has {:?}",
            self.tensor.shape(),
            value.shape()
        );
        self.tensor = if self.is_trainable() {
            value.as_leaf()
        } else {
            value.detach()
        };
    }

    /// Changes the values, without a copy if no graph or other tensor holds them.
    pub fn update(&mut self, change: impl FnOnce(&mut [T])) {
        let trainable = self.is_trainable();
        let mut array = std::mem::replace(&mut self.tensor, Tensor::zeros([0])).into_array();
        change(array.as_slice_mut().expect("a tensor is in row-major order"));
        let value = Tensor::from_array(array);
        self.tensor = if trainable { value.as_leaf() } else { value };
    }
}

/// A tensor that the forward pass updates, as the running statistics of batch norm.
///
/// Forward passes take `&self`, so the tensor stands behind a lock, which is held only to read or replace
/// it.
#[derive(Debug)]
pub struct Buffer<T: Real = f32> {
    tensor: Mutex<Tensor<T>>,
    frozen: bool,
    /// Forward passes that have gone into the plain mean; `None` while the buffer follows a moving average.
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
    /// A buffer that starts with the given values.
    pub fn new(value: Tensor<T>) -> Self {
        Self {
            tensor: Mutex::new(value.detach()),
            frozen: false,
            gathered: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tensor<T>> {
        // A panic elsewhere cannot leave half a tensor here: it is replaced as a whole.
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
            "buffer: its shape is {:?}, the new value has {:?}",
            tensor.shape(),
            value.shape()
        );
        *tensor = value.detach();
    }

    /// Whether forward passes must leave it alone.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Keeps forward passes from updating it; batch norm then uses it in either mode.
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Lets forward passes update it again.
    pub fn unfreeze(&mut self) {
        self.frozen = false;
    }

    /// Makes a running statistic forget what it is: until [`Buffer::end_mean`] it is the plain mean over the forward
    /// passes in training that follow, each with the same weight.
    pub fn begin_mean(&mut self) {
        self.gathered = Some(AtomicU64::new(0));
        let zeros = Tensor::zeros(self.tensor().shape());
        self.set(&zeros);
    }

    /// Lets a running statistic follow its moving average again, from the mean it is now.
    pub fn end_mean(&mut self) {
        self.gathered = None;
    }

    /// Share of its value that a running statistic keeps in a forward pass: the given momentum, or what makes it a
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

/// A seeded random generator that a module advances; its state belongs to a checkpoint.
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
    /// A generator in the given state.
    pub fn new(state: Pcg64) -> Self {
        Self {
            state: Mutex::new(state),
        }
    }

    /// The current state.
    pub fn state(&self) -> Pcg64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes to a saved state.
    pub fn set(&self, state: Pcg64) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Draws from the generator.
    pub fn with<R>(&self, draw: impl FnOnce(&mut Pcg64) -> R) -> R {
        draw(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a module holds, as seen by [`visit`](crate::visit).
pub enum Slot<'a, T: Real> {
    /// Learned by an optimizer.
    Parameter(&'a Parameter<T>),
    /// Updated by the forward pass.
    Buffer(&'a Buffer<T>),
    /// Advanced by the forward pass.
    Rng(&'a RngState),
}

/// What a module holds, as seen by [`visit_mut`](crate::visit_mut).
pub enum SlotMut<'a, T: Real> {
    /// Learned by an optimizer.
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
