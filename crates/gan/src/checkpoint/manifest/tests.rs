//! Hostile manifests: correct checksums, wrong content.

use super::*;
use proptest::prelude::*;

const LIMIT: u64 = 1 << 30;

fn parse(bytes: &[u8]) -> Result<Manifest, GanError> {
    Manifest::parse(bytes, Path::new("manifest.json"), 7, LIMIT)
}

/// Fills the correct checksum into a manifest that contains `SIGNATURE`.
fn signed(text: &str) -> Vec<u8> {
    let mut bytes = text.replace("SIGNATURE", UNSIGNED).into_bytes();
    let (at, checksum) = own_checksum(&bytes, UNSIGNED).unwrap();
    bytes[at..at + 64].copy_from_slice(checksum.as_bytes());
    bytes
}

fn with(version: u32, step: u64, files: &str, more: &str) -> String {
    let bytes = signed(&format!(
        r#"{{"manifest_sha256":"SIGNATURE","format_version":{version},"crate_version":"0.1.0","step":{step},
        "options_hash":"h","files":[{files}]{more}}}"#
    ));
    match parse(&bytes) {
        Ok(_) => "ok".to_string(),
        Err(error) => error.to_string(),
    }
}

fn file(name: &str, size: u64) -> String {
    format!(
        r#"{{"name":{},"size":{size},"sha256":"00"}}"#,
        serde_json::to_string(name).unwrap()
    )
}

#[test]
fn a_manifest_reads_back() {
    let files = BTreeMap::from([("a".to_string(), vec![1, 2]), ("b.bin".to_string(), vec![])]);
    let bytes = Manifest::describe(7, "h", &files, LIMIT)
        .unwrap()
        .to_bytes()
        .unwrap();
    let manifest = parse(&bytes).unwrap();
    assert_eq!(manifest.step, 7);
    assert_eq!(manifest.options_hash, "h");
    assert_eq!(manifest.files[0].name, "a");
    assert_eq!(manifest.files[0].size, 2);
    assert_eq!(
        manifest.files[1].sha256,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("{\n  \"manifest_sha256\": \""), "{text}");
}

#[test]
fn names_that_could_leave_the_directory_are_refused() {
    assert_eq!(with(1, 7, &file("g.safetensors", 1), ""), "ok");
    let long = "x".repeat(101);
    for name in [
        "",
        ".",
        "..",
        "...",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:x",
        ".hidden",
        "x.",
        "a b",
        "é",
        "a\0b",
        "\u{1b}[31m",
        "manifest.json",
        "Manifest.JSON",
        &long,
    ] {
        let message = with(1, 7, &file(name, 1), "");
        assert!(message.contains("file name"), "{name:?}: {message}");
        assert!(!message.contains('\u{1b}'));
        let files = BTreeMap::from([(name.to_string(), vec![])]);
        let error = Manifest::describe(7, "", &files, LIMIT).unwrap_err();
        assert!(matches!(error, GanError::Unsaveable { .. }));
    }
}

#[test]
fn absurd_sizes_counts_and_duplicates_are_refused() {
    let two = |a: &str, b: &str| format!("{},{}", file(a, 1), file(b, 1));
    assert!(with(1, 7, &two("x", "x"), "").contains("\"x\" twice"));
    assert!(with(1, 7, &two("x", "X"), "").contains("\"X\" twice"));
    assert!(with(1, 7, &file("x", LIMIT + 1), "").contains("1073741825"));
    let overflow = format!("{},{}", file("a", u64::MAX), file("b", u64::MAX));
    assert!(with(1, 7, &overflow, "").contains("1073741824"));
    let many: Vec<String> = (0..257).map(|i| file(&format!("f{i}"), 0)).collect();
    assert!(with(1, 7, &many.join(","), "").contains("257"));
    assert!(with(1, 7, r#"{"name":"x","size":-1,"sha256":""}"#, "").contains("expected u64"));
    assert!(with(1, 7, r#"{"name":"x","size":1e3,"sha256":""}"#, "").contains("expected u64"));
}

#[test]
fn unknown_and_doubled_fields_and_deep_nesting_are_refused() {
    assert!(with(1, 7, "", r#","more":1"#).contains("unknown field `more`"));
    assert!(with(1, 7, "", r#","step":7"#).contains("duplicate field `step`"));
    assert!(with(1, 7, "", r#","step":8"#).contains("duplicate field `step`"));
    let deep = format!(r#","deep":{}{}"#, "[".repeat(30_000), "]".repeat(30_000));
    let message = with(1, 7, "", &deep);
    assert!(
        message.contains("expected a checkpoint manifest in JSON"),
        "{message}"
    );
    let message = with(1, 7, &deep[8..], "");
    assert!(
        message.contains("expected a checkpoint manifest in JSON"),
        "{message}"
    );
    let escape = with(1, 7, "", ",\"\\u001b[31m\":1");
    assert!(
        escape.contains("unknown field") && !escape.contains('\u{1b}'),
        "{escape}"
    );
    let huge = with(1, 7, "", &format!(",\"{}\":1", "k".repeat(100_000)));
    assert!(huge.len() < 500, "{}", huge.len());
}

#[test]
fn versions_and_steps_are_distinguished_from_damage() {
    assert!(with(0, 7, "", "").contains("format_version"));
    let later = with(2, 7, "", r#","anything":[1]"#);
    assert!(later.contains("format 2"), "{later}");
    let step = with(1, 8, "", "");
    assert!(step.contains("step 7") && step.contains("step 8"), "{step}");
    let message = parse(b"{\n  \"manifest_sha256\": 7}").unwrap_err().to_string();
    assert!(
        message.contains("manifest.json") && message.contains("byte 23"),
        "{message}"
    );
    assert!(parse(b"").is_err());
    assert!(parse(b"\xff\xfe").is_err());
}

#[test]
fn the_largest_allowed_set_fits_into_a_manifest() {
    let name = |i: usize| format!("{i:03}{}", "x".repeat(97));
    let files: BTreeMap<_, _> = (0..MAX_FILES).map(|i| (name(i), vec![])).collect();
    let manifest = Manifest::describe(u64::MAX, &"h".repeat(256), &files, LIMIT).unwrap();
    assert!((manifest.to_bytes().unwrap().len() as u64) < MAX_MANIFEST_BYTES);
    assert!(Manifest::describe(1, &"h".repeat(257), &files, LIMIT).is_err());
}

proptest! {
    #[test]
    fn any_single_changed_byte_is_found(at: prop::sample::Index, flip in 1..=255u8) {
        let files = BTreeMap::from([("a".to_string(), vec![1, 2])]);
        let mut bytes = Manifest::describe(7, "options", &files, LIMIT).unwrap().to_bytes().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(parse(&bytes).is_err());
    }

    #[test]
    fn arbitrary_text_never_panics(text: String, bytes: Vec<u8>) {
        let _ = parse(text.as_bytes());
        let _ = parse(&bytes);
        let _ = with(1, 7, &text, "");
        let _ = with(1, 7, "", &text);
        prop_assert!(!printable(&text).chars().any(char::is_control));
    }
}
