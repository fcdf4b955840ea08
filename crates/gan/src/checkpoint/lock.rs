//! The lock of a run directory, which allows one writer.

use super::atomic::remove_leftovers;
use crate::GanError;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// Name of the lock file, the first file that a run writes.
pub(crate) const FILE: &str = "run.lock";
const LONGEST: u64 = 256;

/// What a run, a transfer or their baselines write through, by appending or inside a directory. A link in place of it would
/// let a directory from elsewhere choose which file is overwritten.
const WRITTEN_THROUGH: [&str; 5] = ["metrics.jsonl", "samples", "checkpoints", "source", "controls"];

/// Refuses a run directory in which a symbolic link is in place of one of the run's files or directories.
///
/// # Errors
/// [`GanError::Format`] with the link.
pub fn refuse_links(dir: &Path) -> Result<(), GanError> {
    for path in WRITTEN_THROUGH.map(|name| dir.join(name)) {
        if let Ok(found) = fs::symlink_metadata(&path)
            && found.is_symlink()
        {
            return Err(super::bounded_read::not_regular(&path, &found));
        }
    }
    Ok(())
}

/// An exclusive lock on a run directory, released when dropped.
///
/// This is a kernel lock on the file `run.lock`. It ends with the process, so there are no stale locks. The file
/// stays, because removing it would race with another process that is about to lock it. Its text, process id and
/// host name, is only for the error message of a second run. The lock is advisory on Unix; readers need none.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that another thread is starting shares it until its
        // program begins. If unlocking fails, closing has to suffice.
        let _ = self.file.unlock();
    }
}

impl RunLock {
    /// Locks `dir`, which is created if it does not exist. Removes temporary files of an earlier owner that was killed.
    ///
    /// # Errors
    /// [`GanError::Locked`] if another run, in this or another process, holds the lock. [`GanError::Format`] if a symbolic
    /// link is in place of a file or directory of the run. [`GanError::Io`] if the
    /// directory cannot be created or written, or its file system does not support locks.
    pub fn acquire(dir: &Path) -> Result<Self, GanError> {
        fs::create_dir_all(dir).map_err(|error| GanError::io(dir, "creating the directory", error))?;
        refuse_links(dir)?;
        let path = dir.join(FILE);
        // The file is overwritten, so a link could make this run overwrite any file.
        if let Ok(found) = fs::symlink_metadata(&path)
            && !found.is_file()
        {
            return Err(super::bounded_read::not_regular(&path, &found));
        }
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| GanError::io(&path, "opening for writing", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(GanError::Locked {
                    dir: dir.to_path_buf(),
                    owner: owner(&file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(GanError::io(&path, "locking", error)),
        }
        let text = format!("pid {} host {}\n", std::process::id(), host());
        file.set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(|error| GanError::io(&path, "writing", error))?;
        for folder in [dir.to_path_buf(), dir.join("samples"), dir.join("source")] {
            // A link may lead out of the run.
            if folder.is_dir() && !folder.is_symlink() {
                remove_leftovers(&folder)?;
            }
        }
        Ok(Self { file })
    }
}

/// The owner according to the lock file; empty if it has not been written yet.
fn owner(file: &File) -> String {
    let mut bytes = Vec::new();
    let _ = file.take(LONGEST).read_to_end(&mut bytes);
    describe(&String::from_utf8_lossy(&bytes)).unwrap_or_default()
}

/// The text of a lock file as ` (pid 1234 on host)`; the host is omitted if it is this machine.
fn describe(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let ["pid", pid, host @ ..] = words.as_slice() else {
        return None;
    };
    let pid: u32 = pid.parse().ok()?;
    Some(match host {
        ["host", host] if is_host(host) && *host != self::host() => format!(" (pid {pid} on {host})"),
        _ => format!(" (pid {pid})"),
    })
}

/// Name of this machine. On a shared file system the other run may be on another one.
fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .map(|name| name.trim().to_string())
        .ok()
        .filter(|name| is_host(name))
        .unwrap_or_else(|| "unknown".to_string())
}

fn is_host(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_by_name_and_the_third_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("runs/a");
        let first = RunLock::acquire(&run).unwrap();
        match RunLock::acquire(&run).unwrap_err() {
            GanError::Locked { dir, owner } => {
                assert_eq!(dir, run);
                assert_eq!(owner, format!(" (pid {})", std::process::id()));
            }
            other => panic!("{other}"),
        }
        drop(first);
        RunLock::acquire(&run).unwrap();
    }

    #[test]
    fn what_a_killed_owner_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["samples", "source", "mine"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join(".engraft-a.pngX1.tmp"), "part").unwrap();
            fs::write(dir.path().join(folder).join("a.png"), "whole").unwrap();
        }
        let _lock = RunLock::acquire(dir.path()).unwrap();
        let count = |folder: &str| fs::read_dir(dir.path().join(folder)).unwrap().count();
        assert_eq!(["samples", "source", "mine"].map(count), [1, 1, 2]);
    }

    #[test]
    fn stale_text_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join(FILE),
            "pid 1 host a-machine-with-a-longer-name-than-ours.example.org\n",
        )
        .unwrap();
        let _lock = RunLock::acquire(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(text, format!("pid {} host {}\n", std::process::id(), host()));
    }

    #[test]
    fn the_owner_comes_from_a_valid_text_only() {
        assert_eq!(
            describe("pid 12 host elsewhere.example\n").unwrap(),
            " (pid 12 on elsewhere.example)"
        );
        assert_eq!(
            describe(&format!("pid 12 host {}\n", host())).unwrap(),
            " (pid 12)"
        );
        assert_eq!(describe("pid 12").unwrap(), " (pid 12)");
        assert_eq!(describe("pid 12 host \x1b[31mred\n").unwrap(), " (pid 12)");
        for text in ["", "pid", "pid x", "12", "pid -1"] {
            assert_eq!(describe(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_file_instead_of_a_directory_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::write(&path, "").unwrap();
        for path in [path.clone(), path.join("deeper")] {
            let error = RunLock::acquire(&path).unwrap_err();
            assert!(matches!(error, GanError::Io { .. }), "{error}");
            assert!(error.to_string().contains("taken"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_that_is_dropped_is_free_while_a_child_still_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let lock = RunLock::acquire(dir.path()).unwrap();
        let of_child = lock.file.try_clone().unwrap();
        drop(lock);
        RunLock::acquire(dir.path()).unwrap();
        drop(of_child);
    }

    #[cfg(unix)]
    #[test]
    fn fault_12_links_in_place_of_files_and_directories_of_a_run_are_refused() {
        // Not the constant above: a name that is missing there must be noticed.
        for name in ["metrics.jsonl", "samples", "checkpoints", "source", "controls"] {
            let dir = tempfile::tempdir().unwrap();
            let (run, target) = (dir.path().join("run"), dir.path().join("precious"));
            fs::create_dir(&run).unwrap();
            fs::write(&target, "kept").unwrap();
            std::os::unix::fs::symlink(&target, run.join(name)).unwrap();
            match RunLock::acquire(&run).unwrap_err() {
                GanError::Format { path, .. } => assert_eq!(path, run.join(name)),
                other => panic!("{other}"),
            }
            assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
            assert_eq!(fs::read_dir(&run).unwrap().count(), 1);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_place_of_the_lock_is_refused_and_its_target_kept() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("precious");
        fs::write(&target, "content").unwrap();
        std::os::unix::fs::symlink(&target, dir.path().join(FILE)).unwrap();
        let message = RunLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(message.contains("symbolic link"), "{message}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "content");
    }
}
