//! A progress bar.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar with `count` steps.
pub(super) fn bar(what: &str, count: usize) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg:<30} {bar:30} {pos}/{len}  {elapsed}")?;
    Ok(ProgressBar::new(count as u64)
        .with_style(style)
        .with_message(what.to_owned()))
}
