//! Runs another program with a time limit and captures its output.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time between two checks of a running program: long enough not to slow it down.
const PAUSE: Duration = Duration::from_millis(20);
/// Number of bytes that are read from the end of each stream.
const KEPT_BYTES: u64 = 1 << 16;

/// Why a program gave no result.
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    /// The user stopped the command.
    Interrupted,
    /// It exceeded the time limit.
    TooSlow(Duration),
    /// It could not be started, ended with an error, or printed something else.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => write!(f, "interrupted"),
            Self::TooSlow(limit) => write!(f, "stopped after the limit of {} s", limit.as_secs_f64()),
            Self::Broken(why) => write!(f, "{why}"),
        }
    }
}

/// Output of a successful program.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) stdout: String,
    /// Its last line on stderr that is not blank.
    pub(super) last_words: Option<String>,
}

/// Runs a program until it ends, `limit` is over, or `stop` is set.
///
/// The streams go to files: a pipe would stay open, and be waited for, as long as any grandchild lives.
pub(super) fn output(command: &mut Command, limit: Duration, stop: &AtomicBool) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let broken = |what: &str, error: &io::Error| Failure::Broken(format!("{name} {what}: {error}"));
    let streams = || -> io::Result<[File; 4]> {
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        Ok([out.try_clone()?, err.try_clone()?, out, err])
    };
    let [theirs_out, theirs_err, out, err] =
        streams().map_err(|e| broken("has no file for what it prints", &e))?;
    command.stdin(Stdio::null()).stdout(theirs_out).stderr(theirs_err);
    // A group of its own, so that the limit ends what it has started as well.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut child = command.spawn().map_err(|e| broken("cannot be started", &e))?;
    let status = wait(&mut child, limit, stop).map_err(|e| broken("cannot be waited for", &e))??;
    let last_words = tail(err)
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_string);
    if !status.success() {
        let words = last_words.map_or(String::new(), |line| format!(": {line}"));
        return Err(Failure::Broken(format!("{status}{words}")));
    }
    Ok(Output {
        stdout: tail(out),
        last_words,
    })
}

fn wait(child: &mut Child, limit: Duration, stop: &AtomicBool) -> io::Result<Result<ExitStatus, Failure>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ok(status));
        }
        let failure = if stop.load(Ordering::SeqCst) {
            Failure::Interrupted
        } else if start.elapsed() >= limit {
            Failure::TooSlow(limit)
        } else {
            std::thread::sleep(PAUSE);
            continue;
        };
        kill(child);
        child.wait()?;
        return Ok(Err(failure));
    }
}

/// Kills a child and its process group. Errors are ignored: they mean that it has already ended.
fn kill(child: &mut Child) {
    // The standard library can end a single process only; every shell can end a group.
    #[cfg(unix)]
    let _ = Command::new("/bin/sh")
        .args(["-c", "kill -s KILL -- \"-$0\""])
        .arg(child.id().to_string())
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
}

/// The end of a file, with replacement characters for invalid UTF-8.
fn tail(mut file: File) -> String {
    let mut bytes = Vec::new();
    let read = file
        .seek(SeekFrom::End(0))
        .and_then(|length| file.seek(SeekFrom::Start(length.saturating_sub(KEPT_BYTES))))
        .and_then(|_| file.take(KEPT_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("what was printed cannot be read: {error}"),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn shell(script: &str, limit: Duration, stop: bool) -> Result<Output, Failure> {
        let mut command = Command::new("/bin/sh");
        output(command.args(["-c", script]), limit, &AtomicBool::new(stop))
    }

    #[test]
    fn both_streams_are_kept() {
        let output = shell("echo one; echo two; echo three >&2; echo >&2", HOUR, false).unwrap();
        assert_eq!(output.stdout, "one\ntwo\n");
        assert_eq!(output.last_words.as_deref(), Some("three"));
    }

    #[test]
    fn an_error_comes_with_its_last_line() {
        let failure = shell("echo first >&2; echo no such module >&2; exit 3", HOUR, false).unwrap_err();
        assert_eq!(failure, Failure::Broken("exit status: 3: no such module".into()));
        let silent = shell("exit 4", HOUR, false).unwrap_err();
        assert_eq!(silent, Failure::Broken("exit status: 4".into()));
        let missing = output(
            &mut Command::new("/no/such/program"),
            HOUR,
            &AtomicBool::new(false),
        );
        let Failure::Broken(why) = missing.unwrap_err() else {
            panic!("not started is broken");
        };
        assert!(why.starts_with("/no/such/program cannot be started: "), "{why}");
    }

    #[test]
    fn a_program_without_end_is_ended() {
        let limit = Duration::from_millis(100);
        // The sleeper is a child of the shell and holds its streams.
        let endless = "sleep 3600; echo done";
        assert_eq!(shell(endless, limit, false).unwrap_err(), Failure::TooSlow(limit));
        assert_eq!(shell(endless, HOUR, true).unwrap_err(), Failure::Interrupted);
    }

    #[test]
    fn only_the_end_of_a_flood_is_read() {
        let script = "i=0; while [ $i -lt 9000 ]; do echo 0123456789; i=$((i+1)); done; echo end";
        let output = shell(script, HOUR, false).unwrap();
        assert_eq!(output.stdout.len() as u64, KEPT_BYTES);
        assert!(output.stdout.ends_with("9\nend\n"));
    }
}
