//! Lines that commands print, to streams that may be closed or full.
//!
//! A failure to print does not end a command: its files are more important than its lines. [`finish`] reports it at the end.
//! Control characters are escaped, because names and messages of files and arguments are part of the lines.

use anyhow::Context;
use engraft_base::escaped_lines;
use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Prints a line to standard output.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::output::out_line(format_args!($($text)*)) };
}

/// Prints a line to standard error.
macro_rules! note {
    ($($text:tt)*) => { $crate::cli::output::note_line(format_args!($($text)*)) };
}

/// The first failure of standard output.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Whether nothing is printed: ranks other than 0 of a distributed run have nothing to add.
static IS_MUTE: AtomicBool = AtomicBool::new(false);

/// Prints nothing from here on, or again.
pub(super) fn mute(is_mute: bool) {
    IS_MUTE.store(is_mute, Ordering::SeqCst);
}

/// Prints a line to standard output, as every command does. A failure ends nothing; [`exit`](super::exit) reports it, unless the
/// reader went away (`| head`). Control characters are escaped.
pub fn out_line(text: Arguments<'_>) {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        *failed = line(&mut io::stdout(), text).err();
    }
}

/// Prints a line to standard error, as every command does. Failures are ignored: there is no place to report them.
pub fn note_line(text: Arguments<'_>) {
    let _ = line(&mut io::stderr(), text);
}

fn line(stream: &mut impl Write, text: Arguments<'_>) -> io::Result<()> {
    if IS_MUTE.load(Ordering::SeqCst) {
        return Ok(());
    }
    let text = escaped_lines(&text.to_string());
    stream.write_all(format!("{text}\n").as_bytes())?;
    stream.flush()
}

/// The result of a command, with the failure of its standard output. A closed pipe (`| head`) is no failure: the reader wants
/// no more.
pub(super) fn finish(result: anyhow::Result<()>) -> anyhow::Result<()> {
    result?;
    let failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner).take();
    match failed {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("writing to standard output failed; files were written")
        }
        _ => Ok(()),
    }
}
