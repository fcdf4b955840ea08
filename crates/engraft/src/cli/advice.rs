//! What to do about an error, by the options of the command. Errors of the libraries name no options.

use super::program::{self, program};
use anyhow::{Context, bail};
use engraft_gan::{CheckpointChoice, GanError, RunLayout};
use engraft_metrics::MetricsError;
use engraft_transfer::{PretrainedGan, ShippedSource, TransferError, open_source};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Most runs that are listed when a run is missing.
const MOST_LISTED: usize = 5;

const GIVE_WEIGHTS: &str = "--weights FILE.safetensors names the file";
const REMOVE_WEIGHTS: &str = "remove --weights";

/// Advice that is printed after an error, as its context.
#[derive(Debug)]
pub(super) struct Advice(String);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds advice on the run directory to an error of `train` or `transfer`, which have `--out` and `--fresh`.
pub(super) fn on_run(error: anyhow::Error) -> anyhow::Error {
    let changed: String;
    let advice = match gan_error(&error) {
        Some(GanError::Locked { .. } | GanError::NoIntactCheckpoint { .. } | GanError::NotARun { .. }) => {
            "--out chooses another directory"
        }
        Some(GanError::OtherSettings { .. } | GanError::Occupied { .. }) => {
            "--out chooses another directory; --fresh moves the earlier run aside and starts again"
        }
        Some(GanError::ChangedData { path, .. }) => {
            changed = on_changed_data(path);
            &changed
        }
        Some(GanError::OtherData { .. } | GanError::OtherLabels { .. }) => {
            "--out chooses another directory; --fresh moves the earlier run aside and starts again with these images"
        }
        Some(GanError::Metrics(MetricsError::NoWeights { .. })) => GIVE_WEIGHTS,
        Some(GanError::Metrics(MetricsError::UnusedWeights { .. })) => REMOVE_WEIGHTS,
        Some(GanError::Io { reason, .. })
            if matches!(
                reason.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::NotADirectory
            ) =>
        {
            "--out chooses another directory"
        }
        _ => return error,
    };
    error.context(Advice(advice.into()))
}

/// [`on_run`] for `train`, which can also take the settings of another run.
pub(super) fn on_training(error: anyhow::Error) -> anyhow::Error {
    match gan_error(&error) {
        Some(GanError::OtherSettings { path, .. }) => {
            let text = format!(
                "--config {} continues the run with its own settings, which the presets of another version may not have; --out chooses another \
                 directory; --fresh moves the earlier run aside and starts again",
                program::path(&path.join("run.toml"))
            );
            with(error, text)
        }
        Some(GanError::OtherData { .. } | GanError::OtherLabels { .. }) => with(
            error,
            "--out chooses another directory; --fresh moves the earlier run aside and starts again with these images; settings of \
             another run (--config) need its images: the same --data and --train-on-all",
        ),
        _ => on_run(error),
    }
}

fn on_changed_data(run: &Path) -> String {
    format!(
        "--accept-changed-data continues this run with the present images; {} transfer --from {} --data IMAGES --out OTHER starts a \
         transfer from the run with the present images; --fresh moves the earlier run aside and starts again",
        program(),
        program::path(run)
    )
}

/// Adds advice on `--weights` to an error of a feature extractor.
pub(super) fn on_weights(error: MetricsError) -> anyhow::Error {
    let advice = match &error {
        MetricsError::NoWeights { .. } => GIVE_WEIGHTS,
        MetricsError::UnusedWeights { .. } => REMOVE_WEIGHTS,
        _ => return error.into(),
    };
    with(error.into(), advice)
}

/// Adds advice to an error: the words of the caller.
pub(super) fn with(error: anyhow::Error, advice: impl Into<String>) -> anyhow::Error {
    error.context(Advice(advice.into()))
}

/// The error of a run in a chain, also inside an error of a transfer.
pub(super) fn gan_error(error: &anyhow::Error) -> Option<&GanError> {
    error.chain().find_map(|error| match error.downcast_ref() {
        Some(TransferError::Gan(error)) => Some(error),
        _ => error.downcast_ref(),
    })
}

/// Opens the source of `--OPTION`.
///
/// # Errors
/// If it does not exist, with the runs that do; if it cannot be read.
pub(super) fn source_at(option: &str, path: &Path, which: CheckpointChoice) -> anyhow::Result<PretrainedGan> {
    ensure_run(option, path)?;
    let named = || format!("--{option} {}", path.display());
    let source = open_source(path, which).with_context(named)?;
    source.sampler()?.checked().with_context(named)?;
    Ok(source)
}

/// Refuses a run directory that does not exist.
pub(super) fn ensure_run(option: &str, path: &Path) -> anyhow::Result<()> {
    let shipped = ShippedSource::ALL.iter().map(|source| source.name);
    if path.is_dir() || shipped.clone().any(|name| path.as_os_str() == name) {
        return Ok(());
    }
    let shipped: Vec<&str> = shipped.collect();
    let found = if path.exists() {
        "found a file"
    } else {
        "there is no such directory"
    };
    let runs = runs_near(path);
    let runs = match runs.as_slice() {
        [] => "engraft train makes one in runs/".into(),
        runs => format!(
            "the runs there are {}",
            runs.iter()
                .map(|run| run.display().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    bail!(
        "--{option} {}: {found}; expected a run directory of train or transfer, or a source that is part of the program: {}; {runs}",
        path.display(),
        shipped.join(", ")
    )
}

/// Runs next to a missing one, or in `runs`; the most similar names first.
fn runs_near(path: &Path) -> Vec<PathBuf> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let runs = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let is_run = |path: &PathBuf| RunLayout::new(path).settings().is_file();
        entries.map(|entry| entry.path()).filter(is_run).collect()
    };
    let mut found = runs(parent.unwrap_or(Path::new("runs")));
    if found.is_empty() {
        found = runs(Path::new("runs"));
    }
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let wanted = name(path);
    found.sort_by_cached_key(|run| (strsim::damerau_levenshtein(&name(run), &wanted), run.clone()));
    found.truncate(MOST_LISTED);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_on_a_run_directory_names_the_options() {
        let other = || GanError::OtherSettings {
            path: "runs/a".into(),
            differences: Vec::new(),
        };
        let advised = on_training(other().into())
            .downcast_ref::<Advice>()
            .unwrap()
            .to_string();
        assert!(advised.contains("--config runs/a/run.toml"), "{advised}");
        let changed = GanError::ChangedData {
            path: "runs/a".into(),
            expected: 2,
            found: 3,
            changes: Vec::new(),
            source_of_data: String::new(),
        };
        let advised = on_run(TransferError::Gan(changed).into());
        let advice = advised.downcast_ref::<Advice>().unwrap().to_string();
        assert!(
            advice.contains("--accept-changed-data") && advice.contains("--fresh"),
            "{advice}"
        );
        for error in [other().into(), TransferError::Gan(other()).into()] {
            let advised = on_run(error);
            let advice = advised.downcast_ref::<Advice>().unwrap().to_string();
            assert!(advice.contains("--out") && advice.contains("--fresh"), "{advice}");
        }
        assert!(
            on_run(anyhow::anyhow!("anything else"))
                .downcast_ref::<Advice>()
                .is_none()
        );
    }

    #[test]
    fn a_missing_run_lists_the_others() {
        let folder = tempfile::tempdir().unwrap();
        for run in ["mnist", "usps"] {
            let run = folder.path().join(run);
            std::fs::create_dir(&run).unwrap();
            std::fs::write(RunLayout::new(&run).settings(), "").unwrap();
        }
        let near = runs_near(&folder.path().join("mnits"));
        assert_eq!(near, ["mnist", "usps"].map(|name| folder.path().join(name)));
        let error = ensure_run("from", &folder.path().join("mnits"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("mnits") && error.contains("usps"), "{error}");
        assert!(ensure_run("from", folder.path()).is_ok());
    }
}
