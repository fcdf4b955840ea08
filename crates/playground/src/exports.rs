//! The functions that the page calls: the whole interface of the WebAssembly module.
//!
//! The page writes into the buffers that [`input`] and [`latent`] return, and reads from those that [`noise`] and [`generate`]
//! return. A call may move all buffers. There is one thread, so a lock is never held by another.

// SAFETY: the attribute `no_mangle` is unsafe because two functions of a name would be one. These names occur once.
#![allow(unsafe_code)]

use crate::generator::Generator;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is between two calls.
struct State {
    input: Vec<u8>,
    latent: Vec<f32>,
    pixels: Vec<u8>,
    generators: Vec<Generator>,
}

static STATE: Mutex<State> = Mutex::new(State {
    input: Vec::new(),
    latent: Vec::new(),
    pixels: Vec::new(),
    generators: Vec::new(),
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer of `bytes` bytes for the bytes of a generator.
#[unsafe(no_mangle)]
extern "C" fn input(bytes: usize) -> *mut u8 {
    let mut state = state();
    state.input.resize(bytes, 0);
    state.input.as_mut_ptr()
}

/// Reads the generator in the buffer of [`input`]. Returns its number, counted from 0, or -1 if it is not valid.
#[unsafe(no_mangle)]
extern "C" fn load() -> i32 {
    let mut state = state();
    let bytes = std::mem::take(&mut state.input);
    match Generator::from_bytes(&bytes) {
        Ok(generator) => {
            state.generators.push(generator.folded());
            state.generators.len() as i32 - 1
        }
        Err(_) => -1,
    }
}

/// The buffer of `length` numbers from which [`generate`] reads a latent vector.
#[unsafe(no_mangle)]
extern "C" fn latent(length: usize) -> *mut f32 {
    let mut state = state();
    state.latent.resize(length, 0.0);
    state.latent.as_mut_ptr()
}

/// Writes the latent vector of a seed into the buffer of [`latent`] and returns it.
#[unsafe(no_mangle)]
extern "C" fn noise(seed: u64, length: usize) -> *const f32 {
    let mut state = state();
    state.latent = crate::generator::noise(seed, length);
    state.latent.as_ptr()
}

/// The image of the vector in the buffer of [`latent`], from a generator by number: four bytes for each pixel.
#[unsafe(no_mangle)]
extern "C" fn generate(generator: usize, label: usize) -> *const u8 {
    let state = &mut *state();
    state.pixels = state.generators[generator].pixels(&state.latent, label);
    state.pixels.as_ptr()
}
