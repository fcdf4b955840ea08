//! Threads, interruption by a signal, and exit codes of commands.

use super::advice::Advice;
use super::output::finish;
use anyhow::{Context, ensure};
use engraft_base::FileError;
use engraft_data::DataError;
use engraft_export::ExportError;
use engraft_gan::GanError;
use engraft_layers::LayersError;
use engraft_transfer::TransferError;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::fmt;
use std::io::ErrorKind::{QuotaExceeded, StorageFull};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// Signals that ask a command to save and stop.
const SIGNALS: &[i32] = &[
    SIGINT,
    SIGTERM,
    #[cfg(unix)]
    signal_hook::consts::SIGHUP,
];
/// Exit codes of signals are the signal's number plus this, as in shells.
const SIGNAL_CODE: i32 = 128;
/// Time until a signal is reported.
const NOTICED: Duration = Duration::from_millis(50);

/// Most threads.
pub(super) const MOST_THREADS: usize = 1024;

/// A thread pool for a command; one thread for each core if no number is given.
///
/// # Errors
/// If the number is 0 or above 1024, or the threads cannot be started.
pub fn pool(threads: Option<usize>) -> anyhow::Result<rayon::ThreadPool> {
    ensure!(
        threads.is_none_or(|threads| (1..=MOST_THREADS).contains(&threads)),
        "--threads: expected a number from 1 to {MOST_THREADS}; more threads than cores make nothing faster"
    );
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

static INTERRUPT: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// Exit code of the signal that set it.
static CODE: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// Makes the first SIGINT, SIGTERM or SIGHUP set [`interrupt`] and print what happens next. A second one ends the process
/// immediately, whatever it is doing. Later calls only change what is printed.
///
/// # Errors
/// If the system refuses.
pub fn catch_interrupts(next: &'static str) -> anyhow::Result<()> {
    static CAUGHT: AtomicBool = AtomicBool::new(false);
    static NEXT: Mutex<&str> = Mutex::new("");
    *NEXT.lock().unwrap_or_else(PoisonError::into_inner) = next;
    if CAUGHT.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    for &signal in SIGNALS {
        let code = SIGNAL_CODE + signal;
        // Actions run in the order of registration, in the signal handler: the first signal only sets code and flag.
        flag::register_conditional_shutdown(signal, code, Arc::clone(&INTERRUPT))
            .and_then(|_| flag::register_usize(signal, Arc::clone(&CODE), code as usize))
            .and_then(|_| flag::register(signal, Arc::clone(&INTERRUPT)))
            .context("cannot catch interrupts")?;
    }
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            while !interrupt().load(Ordering::SeqCst) {
                std::thread::sleep(NOTICED);
            }
            let next = *NEXT.lock().unwrap_or_else(PoisonError::into_inner);
            note!("\ninterrupted: {next}; interrupt again to stop immediately");
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// Whether a signal has asked the command to save and stop.
pub fn interrupt() -> &'static AtomicBool {
    &INTERRUPT
}

/// The answer to a training after each step: stop if a signal has arrived.
pub fn stop_or_continue() -> ControlFlow<()> {
    match interrupt().load(Ordering::SeqCst) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// [`Interrupted`] if a signal has arrived.
///
/// # Errors
/// That one.
pub(super) fn ensure_not_interrupted() -> Result<(), Interrupted> {
    match stop_or_continue() {
        ControlFlow::Break(()) => Err(Interrupted),
        ControlFlow::Continue(()) => Ok(()),
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
/// 0 done, 1 error, 2 invalid arguments or settings, 3 no usable data, 4 training diverged, 5 disk full, 130 interrupted
/// (SIGINT), 143 terminated (SIGTERM), 129 hung up (SIGHUP).
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = finish(result) else {
        return ExitCode::SUCCESS;
    };
    print_error(&error);
    ExitCode::from(code_of(&error))
}

/// Prints the error of a command; nothing for one that was interrupted.
pub(super) fn print_error(error: &anyhow::Error) {
    if !error.is::<Interrupted>() {
        note!("error: {}", message(error));
    }
}

/// The error and its causes, without causes whose text is part of the one before.
fn message(error: &anyhow::Error) -> String {
    let advice = error.downcast_ref::<Advice>().map(ToString::to_string);
    let mut texts: Vec<String> = Vec::new();
    // Advice is printed last.
    let causes = error.chain().map(ToString::to_string);
    for cause in causes.filter(|cause| Some(cause) != advice.as_ref()) {
        if texts.last().is_none_or(|last| !last.contains(&cause)) {
            texts.push(cause);
        }
    }
    let advice = advice.map_or(String::new(), |advice| format!("\n  to do: {advice}"));
    texts.join(": ") + &advice
}

/// The exit code of an error.
pub(super) fn code_of(error: &anyhow::Error) -> u8 {
    error.chain().find_map(known).unwrap_or(1)
}

/// The exit code of one error of a chain, if its type has one.
fn known(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if error.is::<Interrupted>() {
        let signal = CODE.load(Ordering::SeqCst);
        return Some(u8::try_from(signal).ok().filter(|code| *code > 0).unwrap_or(130));
    }
    if let Some(error) = error.downcast_ref() {
        return of_transfer(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_gan(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_data(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_layers(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_export(error);
    }
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        return u8::try_from(error.exit_code()).ok();
    }
    let of_files = match error.downcast_ref() {
        Some(FileError::Io { reason, .. }) => Some(reason),
        _ => error.downcast_ref::<std::io::Error>(),
    };
    of_files.and_then(if_full)
}

fn of_transfer(error: &TransferError) -> Option<u8> {
    match error {
        TransferError::Config { .. } => Some(2),
        TransferError::Diverged { .. } => Some(4),
        TransferError::Io { reason, .. } => if_full(reason),
        TransferError::Gan(error) => of_gan(error),
        TransferError::Layers(error) => of_layers(error),
        _ => None,
    }
}

fn of_gan(error: &GanError) -> Option<u8> {
    match error {
        GanError::Config { .. } => Some(2),
        GanError::ImageSize { .. } => Some(3),
        GanError::Data(error) => of_data(error),
        GanError::Diverged { .. } => Some(4),
        GanError::Io { reason, .. } => if_full(reason),
        GanError::Layers(error) => of_layers(error),
        _ => None,
    }
}

fn of_data(error: &DataError) -> Option<u8> {
    match error {
        DataError::File(FileError::Io { reason, .. }) => if_full(reason).or(Some(3)),
        _ => Some(3),
    }
}

fn of_export(error: &ExportError) -> Option<u8> {
    match error {
        ExportError::File { .. } => Some(3),
        ExportError::Io(FileError::Io { reason, .. }) => if_full(reason),
        ExportError::Gan(error) => of_gan(error),
        ExportError::Transfer(error) => of_transfer(error),
        ExportError::Layers(error) => of_layers(error),
        _ => None,
    }
}

fn of_layers(error: &LayersError) -> Option<u8> {
    match error {
        LayersError::Io { reason, .. } => if_full(reason),
        _ => None,
    }
}

/// The exit code of a full disk.
fn if_full(error: &std::io::Error) -> Option<u8> {
    is_full(error).then_some(5)
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
        let file = || FileError::Io {
            path: "a".into(),
            action: "writing",
            reason: full(),
        };
        let on_disk = GanError::Io {
            path: "a".into(),
            action: "writing".into(),
            reason: full(),
        };
        let transferred = TransferError::Io {
            path: "a".into(),
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
            (GanError::from(file()).into(), 5),
            (TransferError::from(GanError::from(file())).into(), 5),
            (transferred.into(), 5),
            (anyhow::Error::new(full()).context("writing a"), 5),
            (LayersError::from(file()).into(), 5),
            (TransferError::from(LayersError::from(file())).into(), 5),
            (GanError::from(LayersError::from(file())).into(), 5),
            (GanError::Data(DataError::File(file())).into(), 5),
            (file().into(), 5),
            (ExportError::Io(file()).into(), 5),
            (ExportError::from(config()).into(), 2),
            (Interrupted.into(), 130),
        ];
        for (error, expected) in cases {
            assert_eq!(code_of(&error), expected, "{error:?}");
        }
    }
}
