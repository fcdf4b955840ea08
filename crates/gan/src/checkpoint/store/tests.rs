//! Tests of the store: damage, crashes, full disks, clean-up.

use super::super::failpoint::{Fault, injected, without_room};
use super::*;
use proptest::prelude::*;
use std::io::{Seek, SeekFrom, Write};
use tempfile::TempDir;

type Files = BTreeMap<String, Vec<u8>>;

/// A small set of files that depends on `seed`.
fn files(seed: u8) -> Files {
    let weights = (0..20).map(|i| i ^ seed).collect();
    BTreeMap::from([
        ("state.bin".to_string(), vec![seed; 9]),
        ("g.safetensors".to_string(), weights),
    ])
}

fn opened(dir: &TempDir, keep: usize) -> CheckpointStore {
    CheckpointStore::open(dir.path(), keep).unwrap()
}

/// A run with the given steps, each with the files of that seed.
fn run(steps: &[u64], keep: usize) -> (TempDir, CheckpointStore) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = opened(&dir, keep);
    for &step in steps {
        let saved = store.save(step, "options", &files(step as u8)).unwrap();
        assert_eq!(saved.warnings, Vec::<String>::new());
    }
    (dir, store)
}

fn checkpoint(dir: &TempDir, step: u64) -> PathBuf {
    dir.path().join("checkpoints").join(layout::name(step))
}

/// Names in the folder of the checkpoints, sorted.
fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join("checkpoints")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The step of the newest intact checkpoint, which must hold the files of `seed(step)`, and the warnings.
fn newest(store: &CheckpointStore) -> (u64, Vec<String>) {
    let Loaded { checkpoint, warnings } = store.latest().unwrap().unwrap();
    assert_eq!(checkpoint.files, files(checkpoint.step as u8));
    (checkpoint.step, warnings)
}

#[test]
fn saves_and_loads() {
    let (dir, store) = run(&[100, 1_234_567], 3);
    assert_eq!(names(&dir), ["step-000100", "step-1234567"]);
    assert_eq!(store.reader().steps().unwrap(), [1_234_567, 100]);
    let checkpoint = store.load(100).unwrap();
    assert_eq!(
        (checkpoint.step, checkpoint.options_hash.as_str()),
        (100, "options")
    );
    assert_eq!(checkpoint.crate_version, env!("CARGO_PKG_VERSION"));
    assert_eq!(checkpoint.files, files(100));
    assert_eq!(checkpoint.file("state.bin").unwrap(), [100; 9]);
    match checkpoint.file("d.safetensors").unwrap_err() {
        GanError::MissingFile { name, available, .. } => {
            assert_eq!(name, "d.safetensors");
            assert_eq!(available, ["g.safetensors", "state.bin"]);
        }
        other => panic!("{other}"),
    }
    match store.load(7).unwrap_err() {
        GanError::NoSuchCheckpoint { step, available, .. } => {
            assert_eq!((step, available), (7, vec![1_234_567, 100]));
        }
        other => panic!("{other}"),
    }
    assert_eq!(newest(&store), (1_234_567, vec![]));
}

#[test]
fn an_empty_run_has_no_checkpoint_and_a_missing_one_is_an_error() {
    let (dir, store) = run(&[], 3);
    assert!(store.latest().unwrap().is_none());
    let reader = CheckpointReader::new(&dir.path().join("mistyped"));
    match reader.latest().unwrap_err() {
        GanError::Io { path, .. } => assert!(path.ends_with("mistyped")),
        other => panic!("{other}"),
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(CheckpointReader::new(empty.path()).latest().unwrap().is_none());
}

#[test]
fn a_second_store_is_refused_and_a_reader_is_not() {
    let (dir, store) = run(&[1], 3);
    let error = CheckpointStore::open(dir.path(), 3).unwrap_err();
    assert!(matches!(error, GanError::Locked { .. }), "{error}");
    assert_eq!(
        CheckpointReader::new(dir.path())
            .latest()
            .unwrap()
            .unwrap()
            .checkpoint
            .step,
        1
    );
    drop(store);
    assert_eq!(newest(&opened(&dir, 3)).0, 1);
    assert!(CheckpointStore::open(dir.path(), 0).is_err());
}

#[test]
fn every_truncation_falls_back_with_a_warning() {
    let (dir, store) = run(&[1, 2], 3);
    for file in ["g.safetensors", "state.bin", MANIFEST] {
        let path = checkpoint(&dir, 2).join(file);
        let good = fs::read(&path).unwrap();
        for length in (0..good.len()).rev() {
            fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(length as u64)
                .unwrap();
            let (step, warnings) = newest(&store);
            assert_eq!((step, warnings.len()), (1, 1), "{file}, length {length}");
            assert!(warnings[0].contains(file), "{}", warnings[0]);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(newest(&store).0, 1);
        fs::write(&path, [&good[..], b" "].concat()).unwrap();
        assert_eq!(newest(&store).0, 1, "{file} with a byte more");
        fs::write(&path, &good).unwrap();
        assert_eq!(newest(&store), (2, vec![]));
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let (dir, store) = run(&[1, 2], 3);
    for file in ["g.safetensors", "state.bin", MANIFEST] {
        let path = checkpoint(&dir, 2).join(file);
        let good = fs::read(&path).unwrap();
        for bit in 0..8 * good.len() {
            overwrite(&path, bit / 8, good[bit / 8] ^ (1 << (bit % 8)));
            assert_eq!(newest(&store).0, 1, "{file}, bit {bit}");
            assert!(store.load(2).is_err());
            overwrite(&path, bit / 8, good[bit / 8]);
        }
        assert_eq!(newest(&store), (2, vec![]));
    }
}

/// Replaces one byte in place, which is much faster than rewriting the file.
fn overwrite(path: &Path, at: usize, byte: u8) {
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

#[test]
fn when_all_are_damaged_the_error_has_every_reason() {
    let (dir, mut store) = run(&[1, 2], 3);
    fs::remove_file(checkpoint(&dir, 1).join(MANIFEST)).unwrap();
    fs::write(checkpoint(&dir, 2).join("state.bin"), "short").unwrap();
    match store.latest().unwrap_err() {
        GanError::NoIntactCheckpoint { reasons, .. } => {
            assert!(
                reasons[0].contains("state.bin") && reasons[0].contains("byte 5"),
                "{reasons:?}"
            );
            assert!(reasons[1].contains("manifest.json"), "{reasons:?}");
        }
        other => panic!("{other}"),
    }
    // The run can continue: the damaged one is replaced.
    store.save(2, "options", &files(2)).unwrap();
    assert_eq!(newest(&store), (2, vec![]));
    assert_eq!(names(&dir), ["step-000001", "step-000002"]);
}

#[test]
fn a_newer_format_is_not_skipped() {
    let (dir, store) = run(&[1, 2], 3);
    let path = checkpoint(&dir, 2).join(MANIFEST);
    let text = fs::read_to_string(&path).unwrap();
    let start = text.find(": \"").unwrap() + 3;
    let zeros = text.replace(&text[start..start + 64], &"0".repeat(64));
    let later = zeros.replace("\"format_version\": 1", "\"format_version\": 2");
    let sum = engraft_base::sha256_hex(later.as_bytes());
    fs::write(&path, later.replace(&"0".repeat(64), &sum)).unwrap();
    let error = store.latest().unwrap_err();
    assert!(matches!(error, GanError::NewerFormat { found: 2, .. }), "{error}");
}

#[test]
fn the_newest_intact_ones_are_kept() {
    let (dir, store) = run(&[1, 2, 3, 4, 5], 2);
    assert_eq!(store.reader().steps().unwrap(), [5, 4]);
    drop(store);
    // A damaged one does not count: 4 is kept although 5 and 6 are newer.
    fs::write(checkpoint(&dir, 5).join("state.bin"), "xxxxxxxxx").unwrap();
    let mut store = opened(&dir, 2);
    store.save(6, "options", &files(6)).unwrap();
    assert_eq!(store.reader().steps().unwrap(), [6, 5, 4]);
    store.save(7, "options", &files(7)).unwrap();
    assert_eq!(store.reader().steps().unwrap(), [7, 6]);
    // The one just saved is kept even if newer ones fill the quota.
    store.save(3, "options", &files(3)).unwrap();
    assert_eq!(store.reader().steps().unwrap(), [7, 6, 3]);
    assert_eq!(names(&dir), ["step-000003", "step-000006", "step-000007"]);
}

#[test]
fn leftovers_are_removed_and_other_files_are_kept() {
    let (dir, store) = run(&[1], 2);
    drop(store);
    let folder = dir.path().join("checkpoints");
    fs::create_dir_all(folder.join(".step-000002.77.tmp/deep")).unwrap();
    fs::write(folder.join(".step-000003.77-pruned.tmp"), "").unwrap();
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    fs::create_dir(folder.join("step-best")).unwrap();
    let store = opened(&dir, 2);
    assert_eq!(names(&dir), ["notes.txt", "step-000001", "step-best"]);
    assert_eq!(newest(&store), (1, vec![]));
    fs::write(checkpoint(&dir, 1).join("extra"), "ignored").unwrap();
    assert_eq!(newest(&store), (1, vec![]));
}

/// The state after every crash and error: an intact newest checkpoint, old or new, before and after recovery.
fn survives(dir: &TempDir, allowed: &[(u64, u8)]) {
    let found = CheckpointReader::new(dir.path()).latest().unwrap().unwrap();
    let holds = |step, seed| found.checkpoint.step == step && found.checkpoint.files == files(seed);
    assert!(
        allowed.iter().any(|&(step, seed)| holds(step, seed)),
        "step {}",
        found.checkpoint.step
    );
    assert_eq!(found.warnings, Vec::<String>::new());
}

/// Fails at point 0, 1, 2, ... of saving `step` after `before`, until a save passes no faulty point.
fn at_every_point(fault: Fault, before: &[u64], step: u64, keep: usize) {
    for n in 0.. {
        let (dir, mut store) = run(before, keep);
        let old = *before.last().unwrap();
        let (result, reached) = injected(n, fault, || store.save(step, "options", &files(200)));
        if !reached {
            let expected = [(step, 200)];
            survives(&dir, &expected);
            assert!(n > 10, "only {n} fail points");
            return;
        }
        match result {
            None | Some(Err(_)) => survives(&dir, &[(old, old as u8), (step, 200)]),
            Some(Ok(saved)) => {
                assert!(!saved.warnings.is_empty(), "point {n}: the fault went unnoticed");
                survives(&dir, &[(step, 200)]);
            }
        }
        if fault == Fault::Full {
            assert!(
                !names(&dir)
                    .iter()
                    .any(|name| name.ends_with(".tmp") && !name.contains("pruned")),
                "{n}"
            );
        }
        drop(store);
        let mut store = opened(&dir, keep);
        survives(&dir, &[(old, old as u8), (step, 200)]);
        assert!(
            !names(&dir).iter().any(|name| name.starts_with('.')),
            "point {n}: {:?}",
            names(&dir)
        );
        store.save(step + 1, "options", &files(201)).unwrap();
        survives(&dir, &[(step + 1, 201)]);
        assert!(names(&dir).len() <= keep, "point {n}: {:?}", names(&dir));
    }
}

#[test]
fn a_crash_at_any_point_leaves_an_intact_checkpoint() {
    at_every_point(Fault::Crash, &[1], 2, 1);
    at_every_point(Fault::Crash, &[1, 2], 3, 2);
}

#[test]
fn a_crash_while_the_only_checkpoint_is_replaced_leaves_an_intact_one() {
    at_every_point(Fault::Crash, &[2], 2, 1);
}

#[test]
fn a_full_disk_at_any_point_leaves_an_intact_checkpoint_and_no_leftovers() {
    at_every_point(Fault::Full, &[1], 2, 1);
    at_every_point(Fault::Full, &[2], 2, 1);
}

#[cfg(unix)]
#[test]
fn fault_15_a_checkpoint_without_room_is_refused_before_anything_is_written() {
    let (dir, mut store) = run(&[1], 1);
    // A new step, and one that would replace the only checkpoint.
    for step in [2, 1] {
        let saved = without_room(|| store.save(step, "options", &files(200)));
        let error = saved.expect("refused before the disk is touched").unwrap_err();
        assert!(
            matches!(&error, GanError::Io { path, reason, .. }
                if *path == checkpoint(&dir, step) && reason.kind() == std::io::ErrorKind::StorageFull),
            "{error}"
        );
        assert_eq!(names(&dir), ["step-000001"]);
        assert_eq!(newest(&store), (1, vec![]));
    }
    store.save(2, "options", &files(2)).unwrap();
    assert_eq!(newest(&store), (2, vec![]));
}

#[test]
fn a_full_disk_is_an_error_with_file_size_and_remedy() {
    let (_dir, mut store) = run(&[1], 1);
    let (result, _) = injected(2, Fault::Full, || store.save(2, "options", &files(2)));
    let message = result.unwrap().unwrap_err().to_string();
    assert!(
        message.contains("g.safetensors") && message.contains("20 bytes") && message.contains("directory"),
        "{message}"
    );
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let (dir, store) = run(&[1, 2], 3);
    let secret = dir.path().join("secret");
    let path = checkpoint(&dir, 2).join("state.bin");
    fs::rename(&path, &secret).unwrap();
    symlink(&secret, &path).unwrap();
    let (step, warnings) = newest(&store);
    assert_eq!(step, 1);
    assert!(warnings[0].contains("state.bin") && warnings[0].contains("symbolic link"));
    // A complete checkpoint as a link, and a directory in place of a file.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    symlink(checkpoint(&dir, 1), checkpoint(&dir, 3)).unwrap();
    let (step, warnings) = newest(&store);
    assert_eq!((step, warnings.len()), (1, 2));
    assert!(warnings[0].contains("symbolic link") && warnings[1].contains("directory"));
}

#[cfg(unix)]
#[test]
fn a_read_only_directory_fails_at_once() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(dir.path().join("probe"), "").is_ok() {
        return; // the superuser may write anywhere
    }
    let error = CheckpointStore::open(dir.path(), 1).unwrap_err();
    assert!(matches!(error, GanError::Io { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_set_of_files_reads_back(
        set in prop::collection::btree_map("[A-Za-z0-9_-][A-Za-z0-9._-]{0,8}[A-Za-z0-9]", any::<Vec<u8>>(), 0..6),
        step: u64, hash in "[a-f0-9]{0,64}",
    ) {
        let (_dir, mut store) = run(&[], 1);
        let folded: BTreeSet<_> = set.keys().map(|name| name.to_ascii_lowercase()).collect();
        prop_assume!(folded.len() == set.len());
        store.save(step, &hash, &set).unwrap();
        let checkpoint = store.load(step).unwrap();
        prop_assert_eq!(checkpoint.files, set);
        prop_assert_eq!(checkpoint.options_hash, hash);
    }

    /// Against a model: after saves that may die at any point, the newest intact one is the last that returned, or
    /// the one that was under way.
    #[test]
    fn the_newest_is_the_last_saved_or_the_one_under_way(
        saves in prop::collection::vec((1..6u64, any::<u8>(), prop::option::of(0..24usize)), 1..7), keep in 1..4usize,
    ) {
        let (dir, mut store) = run(&[9], keep);
        let mut contents = BTreeMap::from([(9, 9u8)]);
        for (step, seed, death) in saves {
            let step = step * 3;
            let (result, _) =
                injected(death.unwrap_or(usize::MAX), Fault::Crash, || store.save(step, "o", &files(seed)));
            let held = store.reader().latest().unwrap().unwrap();
            let newest = contents.last_key_value().map(|(step, seed)| (*step, *seed)).unwrap();
            let found = |(step, seed): (u64, u8)| held.checkpoint.step == step && held.checkpoint.files == files(seed);
            let expected = if step >= newest.0 { (step, seed) } else { newest };
            prop_assert!(found(expected) || (result.is_none() && found(newest)));
            prop_assert!(held.warnings.is_empty());
            drop(store);
            store = opened(&dir, keep);
            contents.clear();
            for step in store.reader().steps().unwrap() {
                contents.insert(step, store.load(step).unwrap().files["state.bin"][0]);
            }
        }
    }
}
