//! Download of a pinned file from the first mirror that has it.
//!
//! Plain HTTP, on purpose. All usable TLS stacks for Rust compile C or assembler (ring, aws-lc) or bind to a system
//! library. This project needs only a Rust compiler. Plain HTTP is safe here: the source code contains the size and
//! SHA-256 of every file, and a file gets its name only after both match. An attacker can see or block a download, but
//! cannot change the data.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use engraft_base::files::read_open;
use engraft_base::{AtomicFile, FileError, hex, open_regular, sha256_hex};
use sha2::{Digest, Sha256};
use ureq::Agent;

use crate::error::{DataError, Tried, io_error};
use crate::registry::Pinned;

#[cfg(test)]
mod tests;

const MAX_REDIRECTS: usize = 5;

/// Timeouts of a mirror.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For name resolution, and again for the connection.
    pub(crate) connect: Duration,
    /// For the next byte.
    pub(crate) stall: Duration,
    /// For the whole file.
    pub(crate) total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(10),
            stall: seconds(30),
            total: seconds(1800),
        }
    }
}

/// Why a download failed.
#[derive(Debug)]
pub(crate) enum FetchError {
    /// No mirror has the file. Contains the reason of each.
    Mirrors(Vec<Tried>),
    /// The file cannot be stored. Another mirror would not help.
    Local(DataError),
}

enum Failure {
    Remote(String),
    Local(DataError),
}

/// Downloads `file` into `dir` from the first of `mirrors` that has it.
///
/// The bytes are written to a temporary file in `dir`, which is renamed if size and SHA-256 match. `notify`
/// is called with a line of text before each attempt.
pub(crate) fn fetch(
    file: Pinned<'_>,
    mirrors: &[String],
    dir: &Path,
    patience: Patience,
    notify: Option<fn(&str)>,
) -> Result<(), FetchError> {
    let agent = agent(patience);
    let mut tried = Vec::new();
    for mirror in mirrors {
        let url = format!("{}/{}", mirror.trim_end_matches('/'), file.name);
        if let Some(notify) = notify {
            notify(&format!("fetching {url} ({} bytes)", file.size));
        }
        match fetch_one(&agent, &url, file, dir, patience) {
            Ok(()) => return Ok(()),
            Err(Failure::Remote(reason)) => tried.push(Tried { place: url, reason }),
            Err(Failure::Local(error)) => return Err(FetchError::Local(error)),
        }
    }
    Err(FetchError::Mirrors(tried))
}

/// The contents of a file that must equal `file`.
///
/// # Errors
/// [`DataError::File`]. [`DataError::Checksum`] for other contents. A file of another size is not read.
pub(crate) fn read_pinned(path: &Path, file: Pinned<'_>) -> Result<Vec<u8>, DataError> {
    let (opened, len) = open_regular(path)?;
    let checksum = |found| DataError::Checksum {
        path: path.to_owned(),
        expected: file.sha256.to_owned(),
        found,
    };
    if len != file.size {
        return Err(checksum(format!("{len} bytes, expected {}", file.size)));
    }
    let bytes = read_open(path, opened, len, len)?;
    let found = sha256_hex(&bytes);
    if found == file.sha256 {
        Ok(bytes)
    } else {
        Err(checksum(found))
    }
}

fn agent(patience: Patience) -> Agent {
    let config = Agent::config_builder()
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_per_read(Some(patience.stall))
        .timeout_per_write(Some(patience.stall))
        // Redirects are followed here, because a redirect to https must be refused.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .accept_encoding("identity")
        .user_agent(concat!("engraft-data/", env!("CARGO_PKG_VERSION")));
    // Tests connect to this machine, whatever proxy is configured.
    let config = if cfg!(test) { config.proxy(None) } else { config };
    config.build().into()
}

fn fetch_one(
    agent: &Agent,
    url: &str,
    file: Pinned<'_>,
    dir: &Path,
    patience: Patience,
) -> Result<(), Failure> {
    let mut body = request(agent, url, Instant::now() + patience.total)?;
    if let Some(len) = body.content_length().filter(|len| *len != file.size) {
        return Err(Failure::Remote(format!(
            "the server announces {len} bytes, expected {}",
            file.size
        )));
    }
    let local = |reason| Failure::Local(io_error(dir, "creating the directory", reason));
    fs::create_dir_all(dir).map_err(local)?;
    let path = dir.join(file.name);
    let fault = |error: FileError| Failure::Local(error.into());
    let mut whole = AtomicFile::create(&path).map_err(fault)?;
    receive(&mut body.as_reader(), file, &mut whole, &path)?;
    whole.commit().map_err(fault)
}

/// Copies the body into the file that will be at `path`, and checks it against the pin.
fn receive(
    body: &mut impl Read,
    file: Pinned<'_>,
    whole: &mut AtomicFile,
    path: &Path,
) -> Result<(), Failure> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Failure::Remote(format!(
                    "{error} after {received} of {} bytes",
                    file.size
                )));
            }
        };
        received += read as u64;
        if received > file.size {
            return Err(Failure::Remote(format!(
                "more than the {} bytes expected",
                file.size
            )));
        }
        hash.update(&buffer[..read]);
        let written = whole.write_all(&buffer[..read]);
        written.map_err(|reason| Failure::Local(io_error(path, "writing", reason)))?;
    }
    if received < file.size {
        return Err(Failure::Remote(format!("only {received} of {} bytes", file.size)));
    }
    let found = hex(&hash.finalize());
    if found == file.sha256 {
        Ok(())
    } else {
        Err(Failure::Remote(format!(
            "expected SHA-256 {}, found {found}",
            file.sha256
        )))
    }
}

/// The body of the response to GET `url`, after at most [`MAX_REDIRECTS`] redirects.
fn request(agent: &Agent, url: &str, deadline: Instant) -> Result<ureq::Body, Failure> {
    let mut url = url.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        let left = deadline.saturating_duration_since(Instant::now());
        let response = agent.get(&url).config().timeout_global(Some(left)).build().call();
        let response = response.map_err(|error| Failure::Remote(error.to_string()))?;
        let status = response.status();
        if status.is_redirection() {
            let location = response
                .headers()
                .get("location")
                .and_then(|value| value.to_str().ok());
            url = redirect(&url, location)?;
        } else if status.as_u16() == 200 {
            return Ok(response.into_body());
        } else {
            return Err(Failure::Remote(format!("the server responds {status}")));
        }
    }
    Err(Failure::Remote(format!(
        "more than {MAX_REDIRECTS} redirects, the last one to {url}"
    )))
}

/// The target of a redirect from `url` to `location`.
fn redirect(url: &str, location: Option<&str>) -> Result<String, Failure> {
    let Some(location) = location else {
        return Err(Failure::Remote("a redirect without a target".to_owned()));
    };
    let scheme = location
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http") => Ok(location.to_owned()),
        Some(_) => Err(Failure::Remote(format!(
            "redirected to {location}, but only plain http is supported"
        ))),
        None if location.starts_with('/') && !location.starts_with("//") => {
            let host = url.find("://").map_or(0, |at| at + 3);
            let host_end = url[host..].find('/').map_or(url.len(), |at| host + at);
            Ok(format!("{}{location}", &url[..host_end]))
        }
        None => Err(Failure::Remote(format!(
            "redirected to {location}, which is not an address"
        ))),
    }
}
