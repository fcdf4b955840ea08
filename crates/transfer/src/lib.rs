#![doc = include_str!("../README.md")]

mod error;
mod freeze;
mod table;

pub use error::TransferError;
pub use freeze::{Selection, freeze, train_only, unfreeze};
pub use table::{TrainingRow, TrainingTable, training_table};
