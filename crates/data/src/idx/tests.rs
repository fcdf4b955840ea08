//! Valid files in both forms, and every kind of invalid file.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn idx(sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

fn images() -> Vec<u8> {
    idx(&[3, 2, 4], &(0..24).collect::<Vec<u8>>())
}

fn fault(bytes: &[u8]) -> String {
    Idx::from_bytes(bytes, "file").unwrap_err().to_string()
}

#[test]
fn both_forms_read_alike_whatever_their_name() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [("raw.gz", images()), ("packed", gzip(&images()))] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let read = Idx::open(&path).unwrap();
        assert_eq!(
            (read.shape(), read.elements()),
            (&[3, 2, 4][..], &(0..24).collect::<Vec<u8>>()[..])
        );
    }
    let labels = Idx::from_bytes(&idx(&[3], &[7, 8, 9]), "").unwrap();
    assert_eq!(labels.shape(), [3]);
    assert_eq!(labels.into_elements(), [7, 8, 9]);
}

#[test]
fn empty_arrays_and_joined_gzip_members_are_legal() {
    assert_eq!(Idx::from_bytes(&idx(&[0], &[]), "").unwrap().shape(), [0]);
    assert_eq!(
        Idx::from_bytes(&gzip(&idx(&[4, 0, 9], &[])), "")
            .unwrap()
            .elements(),
        [0; 0]
    );
    // Parallel packers write several members, which together are one stream.
    let joined = [gzip(&images()[..9]), gzip(&[]), gzip(&images()[9..])].concat();
    assert_eq!(Idx::from_bytes(&joined, "").unwrap().elements().len(), 24);
}

#[test]
fn each_fault_has_its_own_message() {
    use Offset::{File, Unpacked};
    let table: Vec<(Vec<u8>, Offset, &str)> = vec![
        (vec![], File(0), "the end"),
        (b"<!DOCTYPE html>".to_vec(), File(0), "3c 21 44 4f"),
        (vec![0, 0, 0x0d, 1, 0, 0, 0, 0], File(2), "0d (32-bit float)"),
        (vec![0, 0, 0x77, 1, 0, 0, 0, 0], File(2), "77"),
        (idx(&[1, 1], &[1]), File(3), "rank 2"),
        (idx(&[], &[1]), File(3), "rank 0"),
        (vec![0, 0, 8, 3, 0, 0, 0, 1, 9], File(9), "the end"),
        (idx(&[u32::MAX; 3], &[]), File(4), "[4294967295]"),
        (idx(&[1 << 16, 1 << 16, 0], &[]), File(8), "[65536, 65536]"),
        (idx(&[2, 3, 4], &[0; 20]), File(36), "36"),
        (idx(&[2], &[1, 2, 3]), File(10), "1 more"),
        (gzip(&idx(&[1 << 30], &[0; 100])), Unpacked(4), "1073741824"),
        (gzip(&idx(&[2, 3, 4], &[0; 20])), Unpacked(36), "the end"),
        (gzip(&idx(&[2], &[1, 2, 3])), Unpacked(10), "2 elements"),
        (vec![0x1f, 0x8b], Unpacked(0), "the end"),
        ([gzip(&images()), vec![9, 9]].concat(), Unpacked(40), ""),
    ];
    for (bytes, place, datum) in table {
        let error = Idx::from_bytes(&bytes, "file").unwrap_err();
        assert!(
            matches!(&error, DataError::Format { offset, found, .. } if *offset == place && found.contains(datum)),
            "{error}, expected {place} and {datum}"
        );
    }
}

#[test]
fn a_file_cut_at_any_length_is_an_error() {
    for whole in [
        images(),
        gzip(&images()),
        idx(&[3], &[1, 2, 3]),
        gzip(&idx(&[3], &[1, 2, 3])),
    ] {
        for len in 0..whole.len() {
            let message = fault(&whole[..len]);
            assert!(
                message.contains("fetch it again") || message.contains("is this an idx"),
                "{len}: {message}"
            );
        }
        Idx::from_bytes(&whole, "").unwrap();
    }
}

#[test]
fn no_flipped_bit_of_a_header_passes() {
    let whole = images();
    for bit in 0..16 * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(fault(&bytes).starts_with("file: byte "));
        assert!(fault(&gzip(&bytes)).starts_with("file: byte "));
    }
}

#[test]
fn a_flipped_bit_of_a_gzip_file_never_changes_an_element() {
    let (right, whole) = (Idx::from_bytes(&images(), "").unwrap(), gzip(&images()));
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // Some bits of a gzip header (time, system) carry no information; the checksum protects the rest.
        match Idx::from_bytes(&bytes, "file") {
            Ok(read) => assert_eq!(read, right),
            Err(error) => assert!(matches!(error, DataError::Format { .. }), "{error}"),
        }
    }
}

#[test]
fn a_bomb_stops_at_the_size_it_claims() {
    // 16 MiB of zeros after a header that claims 10 elements: reading ends after one extra byte.
    let bomb = gzip(&idx(&[10], &vec![0; 16 << 20]));
    assert!(bomb.len() < 20_000);
    assert!(fault(&bomb).contains("byte 18 of the unpacked data"));
}

#[test]
fn only_regular_files_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let message = Idx::open(dir.path()).unwrap_err().to_string();
    assert!(
        message.ends_with(": expected a regular file, found a directory"),
        "{message}"
    );
    let message = Idx::open(dir.path().join("none")).unwrap_err().to_string();
    assert!(message.contains("none: opening failed: "), "{message}");
    #[cfg(unix)]
    assert!(
        Idx::open("/dev/zero")
            .unwrap_err()
            .to_string()
            .contains("expected a regular file")
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Idx::from_bytes(&bytes, "file");
        let _ = Idx::from_bytes(&gzip(&bytes), "file");
        let _ = Idx::from_bytes(&[&[0x1f, 0x8b, 8, 0][..], &bytes].concat(), "file");
    }

    #[test]
    fn no_header_makes_it_panic(rank in 0_u8..5, sizes: [u32; 3], small in 0_u32..9, rest in 0_usize..99) {
        for sizes in [sizes, sizes.map(|size| size % (small + 1))] {
            let mut bytes = idx(&sizes, &vec![1; rest]);
            bytes[3] = rank;
            for form in [gzip(&bytes), bytes] {
                if let Ok(read) = Idx::from_bytes(&form, "file") {
                    prop_assert_eq!(read.shape().iter().product::<usize>(), read.elements().len());
                }
            }
        }
    }

    #[test]
    fn every_array_comes_back(h in 0_u32..9, w in 0_u32..9, elements in proptest::collection::vec(any::<u8>(), 0..300)) {
        let count = elements.len() as u32 / (h * w).max(1);
        let elements = &elements[..(count * h * w) as usize];
        for form in [idx(&[count, h, w], elements), gzip(&idx(&[count, h, w], elements))] {
            prop_assert_eq!(Idx::from_bytes(&form, "").unwrap().into_elements(), elements);
        }
    }
}
