#![doc = include_str!("../README.md")]

pub mod adapt;
pub mod preserve;
pub mod semi_supervised;

mod adapter_file;
mod balance;
mod compare;
mod config;
mod error;
mod gradual;
mod labelled;
mod miner;
mod open;
mod parse;
mod patches;
mod plan;
mod proximity;
mod recipe;
mod source;
mod table;
mod trial;

pub use adapter_file::AdapterFile;
pub use balance::{Balance, balance};
pub use compare::Comparison;
pub use config::{Phase, Preserve, Rate, Trained, TransferConfig};
/// The crates whose types stand in this crate's signatures.
pub use engraft_gan::{rand, toml};
pub use engraft_layers::{Selection, freeze, train_only, unfreeze};
pub use error::TransferError;
pub use gradual::gradual;
pub use labelled::Labelled;
pub use miner::Miner;
pub use open::{open_run, open_source};
pub use patches::PatchHead;
pub use plan::Transfer;
pub use proximity::{Proximity, proximity};
pub use recipe::{Recipe, from_scratch};
pub use source::Source;
pub use table::{TrainingRow, TrainingTable, training_table};
pub use trial::{Method, Row, Trial, compare, copies, features_of, measure};
