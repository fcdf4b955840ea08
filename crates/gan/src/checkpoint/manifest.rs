//! The manifest of a checkpoint: names, sizes and SHA-256 of its files. Written last, read first.
//!
//! Its first two fields keep their meaning in every format: `manifest_sha256`, the SHA-256 of the manifest with
//! these 64 digits replaced by zeros, and `format_version`. So a damaged manifest is distinguishable from one of a
//! newer format.

use crate::GanError;
use engraft_base::{hex, sha256_hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Name of the manifest within a checkpoint.
pub(super) const MANIFEST: &str = "manifest.json";
/// Longest manifest that is read, in bytes. Parsing needs several times as much memory, which stays below 1 MiB.
pub(super) const MAX_MANIFEST_BYTES: u64 = 128 << 10;
/// Maximum number of files; with the longest names they still fit in a manifest.
const MAX_FILES: usize = 256;
const MAX_NAME_BYTES: usize = 100;
const MAX_OPTIONS_HASH_BYTES: usize = 256;
/// Newest format that this build reads, and the one that it writes.
const FORMAT: u32 = 1;
const UNSIGNED: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const DAMAGED: &str = "the checkpoint is damaged: resume from an older one or copy it again";

/// One file of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// The content of a manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    manifest_sha256: String,
    format_version: u32,
    pub(super) crate_version: String,
    pub(super) step: u64,
    pub(super) options_hash: String,
    pub(super) files: Vec<Entry>,
}

/// The fields that all formats share.
#[derive(Deserialize)]
struct Head {
    manifest_sha256: String,
    format_version: u32,
}

impl Manifest {
    /// Describes `files`, or returns why they cannot be saved.
    pub(super) fn describe(
        step: u64,
        options_hash: &str,
        files: &BTreeMap<String, Vec<u8>>,
        max_total: u64,
    ) -> Result<Self, GanError> {
        let entry = |(name, bytes): (&String, &Vec<u8>)| Entry {
            name: name.clone(),
            size: bytes.len() as u64,
            sha256: sha256_hex(bytes),
        };
        let manifest = Self {
            manifest_sha256: UNSIGNED.to_string(),
            format_version: FORMAT,
            crate_version: env!("CARGO_PKG_VERSION").to_string(),
            step,
            options_hash: options_hash.to_string(),
            files: files.iter().map(entry).collect(),
        };
        match manifest.check(max_total) {
            Ok(()) => Ok(manifest),
            Err((_, reason)) => Err(GanError::Unsaveable { reason }),
        }
    }

    /// The manifest as bytes, with its own checksum filled in.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, GanError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| GanError::Unsaveable {
            reason: format!("manifest: {error}"),
        })?;
        bytes.push(b'\n');
        let signature = own_checksum(&bytes, UNSIGNED);
        if let Some((at, checksum)) = signature {
            bytes[at..at + checksum.len()].copy_from_slice(checksum.as_bytes());
        }
        Ok(bytes)
    }

    /// Parses and validates the manifest of the checkpoint of `step`; `path` is used in messages.
    pub(super) fn parse(bytes: &[u8], path: &Path, step: u64, max_total: u64) -> Result<Self, GanError> {
        let wrong = |offset: Option<u64>, expected: &str, found: String| GanError::Format {
            path: path.to_path_buf(),
            offset,
            expected: expected.to_string(),
            found,
            advice: DAMAGED,
        };
        let not_json = |error: serde_json::Error| {
            let offset = offset_of(bytes, error.line(), error.column());
            wrong(
                Some(offset),
                "a checkpoint manifest in JSON",
                printable(&error.to_string()),
            )
        };

        let head: Head = serde_json::from_slice(bytes).map_err(not_json)?;
        match own_checksum(bytes, &head.manifest_sha256) {
            Some((_, checksum)) if checksum == head.manifest_sha256 => {}
            _ => {
                let expected = "the checksum of this manifest in manifest_sha256";
                return Err(wrong(
                    None,
                    expected,
                    printable(&format!("{:?}", head.manifest_sha256)),
                ));
            }
        }
        if head.format_version > FORMAT {
            return Err(GanError::NewerFormat {
                path: path.to_path_buf(),
                found: head.format_version,
                supported: FORMAT,
            });
        }
        if head.format_version == 0 {
            return Err(wrong(None, "a format_version of at least 1", "0".to_string()));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(not_json)?;
        if manifest.step != step {
            let expected = format!("step {step}, as in the directory's name");
            return Err(wrong(None, &expected, format!("step {}", manifest.step)));
        }
        manifest
            .check(max_total)
            .map_err(|(expected, found)| wrong(None, expected, found))?;
        Ok(manifest)
    }

    /// Checks limits and names, for writing and reading; the error is (expected, found).
    fn check(&self, max_total: u64) -> Result<(), (&'static str, String)> {
        if self.options_hash.len() > MAX_OPTIONS_HASH_BYTES {
            return Err((
                "a short options hash",
                format!("an options hash of {} bytes", self.options_hash.len()),
            ));
        }
        if self.files.len() > MAX_FILES {
            return Err(("at most 256 files", format!("{} files", self.files.len())));
        }
        let mut names = BTreeSet::new();
        let mut total = 0u64;
        for file in &self.files {
            if !is_plain_name(&file.name) {
                return Err((
                    "plain file names (letters, digits, dot, dash, underscore)",
                    format!("the file name {}", printable(&format!("{:?}", file.name))),
                ));
            }
            // Some file systems ignore case.
            if !names.insert(file.name.to_ascii_lowercase()) {
                return Err((
                    "different file names",
                    format!("the file name {:?} twice", file.name),
                ));
            }
            total = total.saturating_add(file.size);
        }
        if total > max_total {
            return Err((
                "a total size within the limit",
                format!("{total} bytes, the limit is {max_total}"),
            ));
        }
        Ok(())
    }
}

/// Whether `name` is a valid file name on every system: one visible component of safe characters.
fn is_plain_name(name: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.chars().all(harmless)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.eq_ignore_ascii_case(MANIFEST)
}

/// Position of `signature` in `bytes`, and the SHA-256 of `bytes` with zeros in its place.
fn own_checksum(bytes: &[u8], signature: &str) -> Option<(usize, String)> {
    if signature.len() != UNSIGNED.len() {
        return None;
    }
    let at = bytes
        .windows(signature.len())
        .position(|window| window == signature.as_bytes())?;
    let checksum = Sha256::new()
        .chain_update(&bytes[..at])
        .chain_update(UNSIGNED)
        .chain_update(&bytes[at + signature.len()..])
        .finalize();
    Some((at, hex(&checksum)))
}

/// Byte offset of a line and column, both counted from 1.
fn offset_of(bytes: &[u8], line: usize, column: usize) -> u64 {
    let before: usize = bytes
        .split_inclusive(|&byte| byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + column.saturating_sub(1)) as u64
}

/// Text from a file, made safe for a terminal: shortened, with control characters escaped.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut short: String = text
        .chars()
        .take(LONGEST)
        .flat_map(|c| {
            let (plain, escaped) = if c.is_control() {
                (None, Some(c.escape_default()))
            } else {
                (Some(c), None)
            };
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests;
