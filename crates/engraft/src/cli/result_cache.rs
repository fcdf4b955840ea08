//! Cached results: a file per result, reused if the settings are the same.

use anyhow::ensure;
use engraft_base::{read_bounded, sha256_hex};
use engraft_data::{Dataset, Provenance};
use engraft_gan::checkpoint::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::Path;

/// Raised when the same settings give different numbers than before.
const VERSION: u32 = 3;
/// Largest file, in bytes.
const MOST: u64 = 1 << 20;

/// SHA-256 of the pixels and of the labels.
pub(super) fn fingerprint(data: &Dataset) -> anyhow::Result<[String; 2]> {
    // The labels are hashed as images of one pixel.
    let labels = data.labels().to_vec();
    let labels = Dataset::new("labels", Provenance::Memory, labels.clone(), [1, 1, 1], labels)?;
    Ok([data.sha256(), labels.sha256()])
}

/// The cached result of the same settings and version, or `None`.
pub(super) fn read<R: DeserializeOwned>(path: &Path, settings: &Value) -> Option<R> {
    let mut kept: Value = serde_json::from_slice(&read_bounded(path, MOST).ok()?).ok()?;
    if kept["version"] != json!(VERSION) || kept["settings"] != *settings {
        return None;
    }
    serde_json::from_value(kept["result"].take()).ok()
}

/// Checks that a file has no result, or one of these settings.
///
/// # Errors
/// If it has a result of other settings or of another version, which may have taken hours.
pub(super) fn ensure_free(path: &Path, settings: &Value) -> anyhow::Result<()> {
    ensure!(
        !path.exists() || read::<Value>(path, settings).is_some(),
        "{}: contains a result of other settings or of another version; choose another directory with --out, or move the file away",
        path.display()
    );
    Ok(())
}

/// Writes a result atomically.
pub(super) fn write(path: &Path, settings: &Value, result: &impl Serialize) -> anyhow::Result<()> {
    let text = json!({ "version": VERSION, "settings": settings, "result": result }).to_string();
    Ok(write_atomically(path, text.as_bytes())?)
}

/// A short hash of settings and version, for names of directories.
pub(super) fn tag(settings: &Value) -> String {
    let hash = sha256_hex(json!([VERSION, settings]).to_string().as_bytes());
    hash[..8].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_the_same_settings_give_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.json");
        assert_eq!(read::<f64>(&path, &json!(1)), None);
        ensure_free(&path, &json!(1)).unwrap();
        write(&path, &json!({ "seed": 1 }), &0.1_f64).unwrap();
        assert_eq!(read(&path, &json!({ "seed": 1 })), Some(0.1_f64));
        assert_eq!(read::<f64>(&path, &json!({ "seed": 2 })), None);
        ensure_free(&path, &json!({ "seed": 1 })).unwrap();
        let error = ensure_free(&path, &json!({ "seed": 2 })).unwrap_err().to_string();
        assert!(error.contains("one.json") && error.contains("--out"), "{error}");
        fs::write(&path, "{").unwrap();
        assert_eq!(read::<f64>(&path, &json!({ "seed": 1 })), None);
    }

    #[test]
    fn a_fingerprint_depends_on_pixels_and_labels() {
        let of = |pixel, label| {
            let data = Dataset::new("one", Provenance::Memory, vec![pixel], [1, 1, 1], vec![label]).unwrap();
            fingerprint(&data).unwrap()
        };
        assert_eq!(of(1, 2), of(1, 2));
        assert!(of(1, 2) != of(3, 2) && of(1, 2) != of(1, 3));
    }
}
