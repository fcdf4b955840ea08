//! The commands that train classifiers, as their users see them.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

mod adapt;
mod files;
mod semi_supervised;
mod sweep;
