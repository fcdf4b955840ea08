//! Cached results: a file per result, reused if the settings are the same.

use anyhow::{bail, ensure};
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
    if !is_of(&kept(path)?, settings) {
        return None;
    }
    serde_json::from_value(kept(path)?["result"].take()).ok()
}

/// The contents of a file, if they are not damaged.
fn kept(path: &Path) -> Option<Value> {
    let kept: Value = serde_json::from_slice(&read_bounded(path, MOST).ok()?).ok()?;
    // Files of an earlier version have no hash.
    let is_intact =
        kept["sha256"].is_null() || kept["sha256"] == json!(hash(&kept["settings"], &kept["result"]));
    is_intact.then_some(kept)
}

fn is_of(kept: &Value, settings: &Value) -> bool {
    kept["version"] == json!(VERSION) && kept["settings"] == *settings
}

fn hash(settings: &Value, result: &Value) -> String {
    sha256_hex(json!([settings, result]).to_string().as_bytes())
}

/// Checks that a file has no result, or one of these settings that is plausible: `problem` returns what is wrong with it.
///
/// # Errors
/// If it has a result of other settings or of another version, which may have taken hours. If it was damaged or changed.
pub(super) fn ensure_free<R: DeserializeOwned>(
    path: &Path,
    settings: &Value,
    problem: impl Fn(&R) -> Option<String>,
) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let shown = path.display();
    let Some(mut found) = kept(path) else {
        bail!("{shown}: the result was damaged or changed; move the file away, and the training is repeated");
    };
    ensure!(
        is_of(&found, settings),
        "{shown}: contains a result of other settings or of another version; choose another directory with --out, or move the \
         file away",
    );
    let problem = match serde_json::from_value(found["result"].take()) {
        Ok(result) => problem(&result),
        Err(error) => Some(error.to_string()),
    };
    match problem {
        None => Ok(()),
        Some(problem) => {
            bail!("{shown}: the result is wrong: {problem}; move the file away, and the training is repeated")
        }
    }
}

/// Writes a result atomically.
pub(super) fn write(path: &Path, settings: &Value, result: &impl Serialize) -> anyhow::Result<()> {
    // Numbers are hashed as they are read back.
    let result: Value = serde_json::from_str(&serde_json::to_string(result)?)?;
    let text = json!({
        "version": VERSION, "settings": settings, "sha256": hash(settings, &result), "result": result,
    })
    .to_string();
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
        let free = |settings: &Value| ensure_free(&path, settings, |_: &f64| None);
        let wrong = |_: &f64| Some("too large".to_string());
        free(&json!(1)).unwrap();
        write(&path, &json!({ "seed": 1 }), &0.1_f64).unwrap();
        assert_eq!(read(&path, &json!({ "seed": 1 })), Some(0.1_f64));
        assert_eq!(read::<f64>(&path, &json!({ "seed": 2 })), None);
        free(&json!({ "seed": 1 })).unwrap();
        assert!(ensure_free(&path, &json!({ "seed": 1 }), wrong).is_err());
        let error = free(&json!({ "seed": 2 })).unwrap_err().to_string();
        assert!(error.contains("one.json") && error.contains("--out"), "{error}");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("0.1", "0.2")).unwrap();
        assert_eq!(read::<f64>(&path, &json!({ "seed": 1 })), None);
        assert!(free(&json!({ "seed": 1 })).is_err());
        // A file of an earlier version.
        let earlier = json!({ "version": VERSION, "settings": { "seed": 1 }, "result": 0.3 });
        fs::write(&path, earlier.to_string()).unwrap();
        assert_eq!(read::<f64>(&path, &json!({ "seed": 1 })), Some(0.3));
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
