//! Valid and hostile NPY files.

use super::*;
use proptest::prelude::*;

/// A file with the given header text and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// The expected and the found part of the error, which must name the file.
fn fault(bytes: &[u8]) -> [String; 2] {
    parts(Npy::from_bytes(bytes, "some.npy").unwrap_err())
}

fn parts(error: DataError) -> [String; 2] {
    let DataError::Format {
        path,
        expected,
        found,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert!(path.ends_with("some.npy"));
    [expected, found]
}

#[test]
fn the_three_types() {
    let header = |kind: &str, shape: &str| {
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n")
    };
    let read = |kind: &str, shape: &str, data: &[u8]| {
        Npy::from_bytes(&file(&header(kind, shape), data), "a").unwrap()
    };
    let bytes = read("|u1", "(2, 2)", &[1, 2, 3, 4]);
    assert_eq!(
        (bytes.shape(), bytes.numbers()),
        ([2, 2].as_slice(), &Numbers::U8(vec![1, 2, 3, 4]))
    );
    let single = read("<f4", "(1,)", &1.5_f32.to_le_bytes());
    assert_eq!(single.numbers(), &Numbers::F32(vec![1.5]));
    let double = read("<f8", "()", &(-2.5_f64).to_le_bytes());
    assert_eq!(
        (double.shape(), double.numbers()),
        ([].as_slice(), &Numbers::F64(vec![-2.5]))
    );
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let numbers: Vec<f32> = (0..12).map(|i| i as f32 * 0.25).collect();
    write_npy(&path, &[3, 4], &numbers).unwrap();
    let found = Npy::open(&path).unwrap();
    assert_eq!(
        (found.shape(), found.numbers()),
        ([3, 4].as_slice(), &Numbers::F32(numbers))
    );
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(
        (bytes.len() - 48) % 64,
        0,
        "numpy wants the data at a multiple of 64 bytes"
    );
}

#[test]
fn claims_are_checked_before_anything_is_reserved() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (8589934592,), }\n";
    assert_eq!(fault(&file(header, &[0; 16]))[1], "16 bytes");
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }";
    assert_eq!(fault(&file(header, &[]))[1], "0 bytes");
}

/// More numbers than are converted at a time.
#[test]
fn large_arrays_are_read_whole() {
    let numbers: Vec<f64> = (0..20_001).map(|i| f64::from(i) - 0.5).collect();
    let data: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 6667), }\n";
    let bytes = file(header, &data);
    let found = Npy::from_bytes(&bytes, "a").unwrap();
    assert_eq!(
        (found.shape(), found.numbers()),
        ([3, 6667].as_slice(), &Numbers::F64(numbers))
    );

    // A file that became shorter after its length was read.
    let cut = &bytes[..bytes.len() - 5];
    let error = Npy::from_reader(cut, bytes.len() as u64, Path::new("some.npy")).unwrap_err();
    let _ = parts(error);
}

/// A sparse file, of which nothing is read.
#[test]
fn too_many_numbers_are_refused_by_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.npy");
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (134217729,), }\n";
    let start = file(header, &[]);
    std::fs::write(&path, &start).unwrap();
    let large = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    large.set_len(start.len() as u64 + (1 << 27) + 1).unwrap();
    let [expected, found] = parts(Npy::open(&path).unwrap_err());
    assert!(expected.contains("134217728") && found.contains("134217729"));
}

#[test]
#[cfg(unix)]
fn a_written_file_has_the_usual_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |name: &str| {
        let file = std::fs::metadata(folder.path().join(name)).unwrap();
        file.permissions().mode() & 0o777
    };
    std::fs::write(folder.path().join("usual"), "").unwrap();
    write_npy(folder.path().join("a.npy"), &[1], &[1.0]).unwrap();
    assert_eq!(mode("a.npy"), mode("usual"));
}

#[test]
fn other_files_are_named() {
    fault(b"PK\x03\x04 and more");
    assert!(fault(b"\x93NUMPY\x09\x00")[1].contains('9'));
    let header = |kind: &str, in_order: &str, shape: &str| {
        format!("{{'descr': '{kind}', 'fortran_order': {in_order}, 'shape': {shape}, }}")
    };
    let found = |header: String, bytes: usize| fault(&file(&header, &vec![0; bytes]))[1].clone();
    assert!(found(header("<f4", "True", "(2, 2)"), 16).contains("True"));
    assert!(found(header("|O", "False", "(1,)"), 8).contains("|O"));
    assert_eq!(found(header("<f4", "False", "(2,)"), 7), "7 bytes");
    assert_eq!(found(header("<f4", "False", "(2,)"), 9), "9 bytes");
    assert!(fault(b"")[0].contains('8'));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), header in "[ -~]{0,100}") {
        let _ = Npy::from_bytes(&bytes, "a");
        bytes.truncate(50);
        let _ = Npy::from_bytes(&file(&header, &bytes), "a");
    }
}
