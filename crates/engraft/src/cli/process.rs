//! Threads, interruption by a signal, and exit codes of commands.

use super::advice::Advice;
use anyhow::{Context, ensure};
use engraft_base::FileError;
use engraft_data::DataError;
use engraft_gan::GanError;
use engraft_transfer::TransferError;
use std::fmt;
use std::io::ErrorKind::{QuotaExceeded, StorageFull};
use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a command that a signal stopped and that saved its work.
const INTERRUPTED_CODE: u8 = 130;

/// A thread pool for a command; one thread for each core if no number is given.
///
/// # Errors
/// If the number is 0, or the threads cannot be started.
pub fn pool(threads: Option<usize>) -> anyhow::Result<rayon::ThreadPool> {
    ensure!(threads != Some(0), "--threads must be at least 1");
    let threads = threads.unwrap_or_else(cores);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .with_context(|| format!("cannot start {threads} threads"))
}

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// Makes the first SIGINT or SIGTERM set [`interrupt`] and print what happens next; a second one ends the process
/// immediately.
///
/// # Errors
/// If the system refuses, or the process has another handler.
pub fn catch_interrupts(next: &'static str) -> anyhow::Result<()> {
    ctrlc::set_handler(move || {
        if INTERRUPT.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED_CODE.into());
        }
        // A closed standard error must not end the process before it has saved.
        let _ = writeln!(
            std::io::stderr(),
            "\ninterrupted: {next}; interrupt again to stop immediately"
        );
    })
    .context("cannot catch interrupts")
}

/// Whether a signal has asked the command to save and stop.
pub fn interrupt() -> &'static AtomicBool {
    &INTERRUPT
}

/// The answer to a training after each step: stop if a signal has arrived.
pub(super) fn stop_or_continue() -> ControlFlow<()> {
    match INTERRUPT.load(Ordering::SeqCst) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// The error of a command that was interrupted and has saved its work. Nothing is printed for it.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Prints the error of a command, if it has one, and gives the exit code of the process.
///
/// 0 done, 1 error, 2 invalid arguments or settings, 3 no usable data, 4 training diverged, 5 disk full, 130 interrupted.
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let code = code(&error);
    if code != INTERRUPTED_CODE {
        let _ = writeln!(std::io::stderr(), "error: {}", message(&error));
    }
    ExitCode::from(code)
}

/// The error and its causes, without causes whose text is part of the one before.
fn message(error: &anyhow::Error) -> String {
    let advice = error.downcast_ref::<Advice>().map(ToString::to_string);
    let mut texts: Vec<String> = Vec::new();
    // Advice is the outermost context, and printed last.
    for cause in error
        .chain()
        .skip(usize::from(advice.is_some()))
        .map(ToString::to_string)
    {
        if texts.last().is_none_or(|last| !last.contains(&cause)) {
            texts.push(cause);
        }
    }
    let advice = advice.map_or(String::new(), |advice| format!("\n  to do: {advice}"));
    texts.join(": ") + &advice
}

fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(known).unwrap_or(1)
}

/// The exit code of one error of a chain, if its type has one.
fn known(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if error.is::<Interrupted>() {
        return Some(INTERRUPTED_CODE);
    }
    match error.downcast_ref::<DataError>() {
        Some(DataError::File(FileError::Io { reason, .. })) if is_full(reason) => return Some(5),
        Some(_) => return Some(3),
        None => {}
    }
    if let Some(TransferError::Gan(error)) = error.downcast_ref() {
        return of_gan(error);
    }
    match error.downcast_ref::<TransferError>() {
        Some(TransferError::Config { .. }) => return Some(2),
        Some(TransferError::Diverged { .. }) => return Some(4),
        _ => {}
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return is_full(error).then_some(5);
    }
    of_gan(error.downcast_ref()?)
}

fn of_gan(error: &GanError) -> Option<u8> {
    match error {
        GanError::Config { .. } => Some(2),
        GanError::Data(_) | GanError::ImageSize { .. } => Some(3),
        GanError::Diverged { .. } => Some(4),
        GanError::Io { reason, .. } => is_full(reason).then_some(5),
        _ => None,
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn no_cause_is_printed_twice() {
        let error = anyhow!("no such file")
            .context("a: no such file")
            .context("reading");
        assert_eq!(message(&error), "reading: a: no such file");
        let advised = super::super::advice::with(error, "this");
        let lines = message(&advised);
        let (first, last) = lines.split_once('\n').unwrap();
        assert_eq!(
            (first, last.ends_with("this")),
            ("reading: a: no such file", true)
        );
    }

    #[test]
    fn every_kind_of_error_has_its_exit_code() {
        let config = || GanError::Config { problems: Vec::new() };
        let diverged = || GanError::Diverged {
            step: 1,
            reason: String::new(),
        };
        let batch = || DataError::BatchSize {
            batch_size: 9,
            len: 3,
        };
        let full = || std::io::Error::from(StorageFull);
        let on_disk = GanError::Io {
            path: "a".into(),
            action: "writing".into(),
            reason: full(),
        };
        let cases = [
            (anyhow!("anything else"), 1),
            (config().into(), 2),
            (anyhow::Error::new(config()).context("around it"), 2),
            (TransferError::Gan(diverged()).into(), 4),
            (GanError::Data(batch()).into(), 3),
            (batch().into(), 3),
            (diverged().into(), 4),
            (on_disk.into(), 5),
            (anyhow::Error::new(full()).context("writing a"), 5),
            (Interrupted.into(), 130),
        ];
        for (error, expected) in cases {
            assert_eq!(code(&error), expected, "{error:?}");
        }
    }
}
