//! Tests of the codec: damage is detected, hostile payloads are errors.

use super::*;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct State {
    step: u64,
    rate: f32,
    name: String,
    window: Vec<f64>,
    cursor: Option<(u32, u64)>,
}

fn state() -> State {
    State {
        step: 7,
        rate: 2e-4,
        name: "adam".into(),
        window: vec![1.0, -2.5],
        cursor: Some((3, 4)),
    }
}

fn read(bytes: &[u8]) -> Result<State, GanError> {
    decode(bytes, Path::new("runs/a/state.bin"))
}

/// A container with a correct checksum around any payload.
fn fenced(payload: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(1u32.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(Sha256::digest(payload));
    bytes.extend(payload);
    bytes
}

#[test]
fn the_format_is_what_the_table_says() {
    let bytes = encode(&(1u16, true)).unwrap();
    assert_eq!(&bytes[..20], b"ENGRAFTS\x01\0\0\0\x03\0\0\0\0\0\0\0");
    assert_eq!(bytes[20..52], *Sha256::digest([1, 0, 1]));
    assert_eq!(bytes[52..], [1, 0, 1]);
    assert_eq!(bytes, fenced(&[1, 0, 1]));
}

#[test]
fn errors_have_the_file_the_offset_and_what_was_expected_and_found() {
    let good = encode(&state()).unwrap();
    let with = |at: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    let check = |bytes: &[u8], at: usize, parts: [&str; 2]| match read(bytes).unwrap_err() {
        GanError::Format {
            path,
            offset,
            expected,
            found,
            ..
        } => {
            assert!(path.ends_with("state.bin"), "{path:?}");
            assert_eq!(offset, Some(at as u64));
            assert!(expected.contains(parts[0]), "{expected}");
            assert!(found.contains(parts[1]), "{found}");
        }
        other => panic!("{other}"),
    };
    check(&with(0, b"\x89PNG"), 0, ["ENGRAFTS", "\\x89PNGAFTS"]);
    check(&with(8, &0u32.to_le_bytes()), 8, ["1 to 1", "0"]);
    let length = 1u64 << 63;
    check(
        &with(12, &length.to_le_bytes()),
        12,
        ["16777216", &length.to_string()],
    );
    let [payload, cut] = [good.len() - 52, good.len() - 53].map(|n| n.to_string());
    check(&good[..good.len() - 1], 12, [&payload, &cut]);
    check(&with(good.len() - 1, b"!"), 20, ["checksum", "checksum"]);
    check(&good[..30], 30, ["52", "30"]);
    check(b"", 0, ["52", "0"]);
    let newer = read(&with(8, &9u32.to_le_bytes())).unwrap_err();
    assert!(
        matches!(
            newer,
            GanError::NewerFormat {
                found: 9,
                supported: 1,
                ..
            }
        ),
        "{newer}"
    );
}

#[test]
fn every_truncation_and_every_flipped_bit_is_found() {
    let good = encode(&state()).unwrap();
    assert_eq!(read(&good).unwrap(), state());
    for length in 0..good.len() {
        assert!(read(&good[..length]).is_err(), "length {length}");
    }
    for bit in 0..8 * good.len() {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&bytes).is_err(), "bit {bit}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(read(&longer).is_err());
}

#[test]
fn hostile_payloads_with_a_right_checksum_are_errors() {
    for claim in [u64::MAX, 1 << 63, 1 << 40, 1 << 33, 17 << 20] {
        let claim = fenced(&claim.to_le_bytes());
        assert!(decode::<Vec<f32>>(&claim, Path::new("s")).is_err());
        assert!(decode::<String>(&claim, Path::new("s")).is_err());
        assert!(decode::<Vec<Vec<String>>>(&claim, Path::new("s")).is_err());
        assert!(decode::<std::collections::BTreeMap<String, u8>>(&claim, Path::new("s")).is_err());
    }
    // Trailing bytes behind a valid state.
    let mut payload = Bincode::encode(&state()).unwrap();
    payload.push(0);
    let error = read(&fenced(&payload)).unwrap_err();
    assert!(
        matches!(error, GanError::Format { offset: Some(52), .. }),
        "{error}"
    );
}

#[test]
fn a_state_beyond_the_limit_is_refused_when_written() {
    let fits = vec![0u8; MAX_STATE_BYTES as usize - 8];
    assert_eq!(
        decode::<Vec<u8>>(&encode(&fits).unwrap(), Path::new("s"))
            .unwrap()
            .len(),
        fits.len()
    );
    let error = encode(&vec![0u8; MAX_STATE_BYTES as usize - 7]).unwrap_err();
    assert!(matches!(error, GanError::Unsaveable { .. }), "{error}");
}

proptest! {
    #[test]
    fn states_read_back(
        step: u64, rate in any::<f32>().prop_filter("equal to itself", |x| !x.is_nan()), name: String,
        window in prop::collection::vec(-1e300..1e300f64, 0..20), cursor: Option<(u32, u64)>,
    ) {
        let state = State { step, rate, name, window, cursor };
        prop_assert_eq!(read(&encode(&state).unwrap()).unwrap(), state);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, payload: Vec<u8>) {
        let _ = read(&bytes);
        let _ = read(&fenced(&payload));
        let mut almost = encode(&state()).unwrap();
        almost.truncate(HEADER);
        almost.extend(&payload);
        let _ = read(&almost);
    }
}
