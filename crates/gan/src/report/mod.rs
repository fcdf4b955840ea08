//! Reports of runs: `report.html` and its pictures.
//!
//! [`run_report`] reads a run directory into a [`Report`], which can be extended before [`to_html`] makes the file.

mod animation;
mod columns;
mod curve;
mod diagram;
mod embedded;
mod html;
pub(crate) mod image_grid;
mod interpolation;
mod nearest;
mod page;
pub(crate) mod plots;
mod run;

pub use animation::animated_png;
pub use html::{STYLE, escaped as escaped_html, to_html, to_html_part};
pub use interpolation::{interpolation_png, interpolation_size};
pub use nearest::nearest_training_images;
pub use page::{Block, Picture, Plot, Report, Section, Table};
pub(crate) use run::report;
pub use run::{RunSummary, grid_steps, picture_of, run_report, run_summary};
