//! Fuzz target `measures`: see `../readers.rs`.
#![no_main]
#![allow(clippy::unwrap_used)]

#[path = "../readers.rs"]
#[allow(dead_code)] // each target uses one reader
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("measures", bytes));
