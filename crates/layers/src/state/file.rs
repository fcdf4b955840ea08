//! Reading a file up to a limit; writing one whole or not at all.

use crate::error::LayersError;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

fn io_error<'a>(path: &'a Path, action: &'static str) -> impl Fn(io::Error) -> LayersError + 'a {
    move |reason| LayersError::Io {
        path: path.into(),
        action,
        reason,
    }
}

/// Reads a file of at most `max_bytes`.
pub(crate) fn read_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, LayersError> {
    let refused = |reason| LayersError::Format {
        path: path.into(),
        reason,
    };
    // Before it is opened: a named pipe would wait for ever.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(refused("this is not a regular file".into()));
    }
    let file = File::open(path).map_err(io_error(path, "opening"))?;
    let about = file.metadata().map_err(io_error(path, "reading the size"))?;
    if !about.is_file() {
        return Err(refused("this is not a regular file".into()));
    }
    let too_long = |size: u64| {
        refused(format!(
            "the file has {size} bytes or more, the limit is {max_bytes}; if it is what it should be, load it with \
             a larger limit"
        ))
    };
    if about.len() > max_bytes {
        return Err(too_long(about.len()));
    }
    let mut bytes = Vec::new();
    usize::try_from(about.len())
        .ok()
        .and_then(|size| bytes.try_reserve_exact(size).ok())
        .ok_or_else(|| refused(format!("there is no memory for its {} bytes", about.len())))?;
    // The file may grow while it is read, so the limit holds for the reading too.
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io_error(path, "reading"))?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_long(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Writes a file aside, onto the disk, and renames it into place.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), LayersError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".engraft-").suffix(".tmp");
    // A temporary file is private by default; this one becomes an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder
        .tempfile_in(folder)
        .map_err(io_error(path, "creating a temporary file beside it"))?;
    file.write_all(bytes).map_err(io_error(path, "writing"))?;
    file.as_file().sync_all().map_err(io_error(path, "syncing"))?;
    file.persist(path)
        .map_err(|e| io_error(path, "renaming the temporary file to it")(e.error))?;
    // The rename is only safe from a power cut once the folder is on the disk too.
    #[cfg(unix)]
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error(path, "syncing its folder"))?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_named_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let text = read_file(&path, 10).unwrap_err().to_string();
        assert!(text.contains("not a regular file"), "{text}");
    }
}
