//! Damaged and hostile safetensors files give an error that names the file, never a panic.

use engraft_layers::{LayersError, StateDict, TorchLayout};
use engraft_tensor::Tensor;
use proptest::prelude::*;
use std::path::Path;

fn load(bytes: &[u8]) -> Result<StateDict<f32>, String> {
    let torch = TorchLayout::new().from_torch_bytes::<f32>(bytes, Path::new("some/file.safetensors"));
    let plain = StateDict::from_bytes(bytes, Path::new("some/file.safetensors")).map_err(|e| e.to_string());
    assert!(torch.is_ok() || plain.is_err(), "what loads here loads there");
    if let Err(text) = &plain {
        assert!(text.starts_with("some/file.safetensors: "), "{text}");
    }
    plain
}

fn small() -> Vec<u8> {
    let tensors = [
        ("a.weight", [2, 2].as_slice()),
        ("b.bias", &[3]),
        ("empty", &[0, 4]),
        ("one", &[]),
    ];
    let named = tensors.map(|(name, shape)| (name.to_string(), Tensor::<f32>::ones(shape)));
    StateDict::from_tensors(named.into())
        .with_metadata("step", "1")
        .to_bytes()
        .expect("ones can be saved")
}

/// A file with this header and the given number of zero bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn cut_off_anywhere_or_too_long() {
    let whole = small();
    load(&whole).unwrap();
    for length in 0..whole.len() {
        assert!(load(&whole[..length]).is_err(), "{length}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert!(load(&longer).unwrap_err().contains("bytes were added"));
}

#[test]
fn every_bit_of_header_flipped() {
    let whole = small();
    let header = 8 + usize::try_from(u64::from_le_bytes(whole[..8].try_into().unwrap())).unwrap();
    for i in 0..header {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[i] ^= 1 << bit;
            // A flip inside a name or the metadata gives another valid file.
            let _ = load(&damaged);
        }
    }
}

#[test]
fn huge_claims_are_refused_before_anything_is_allocated() {
    for claim in [1_u64 << 20, 1 << 33, 1 << 40, 1 << 63, u64::MAX] {
        let text = load(&[claim.to_le_bytes().as_slice(), b"{}"].concat()).unwrap_err();
        assert!(text.contains(&claim.to_string()), "{text}");
    }
    for (shape, end) in [
        ("[4294967296,4294967296,4294967296]", "16"),
        ("[0,9223372036854775808]", "0"),
        ("[0,9223372036854775807,4]", "0"),
        ("[4611686018427387904]", "18446744073709551612"),
        ("[1,1,1,1,1,1,1,1,1]", "4"),
        ("[-1]", "0"),
        ("[1e3]", "4000"),
    ] {
        let header = format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
        let text = load(&file(&header, 16)).unwrap_err();
        assert!(text.contains("\"w\""), "{shape}: {text}");
        let text = load(&file(&header, 0)).unwrap_err();
        assert!(text.contains("\"w\""), "{shape}: {text}");
    }
}

#[test]
fn every_rule_of_the_format_has_its_message() {
    let entry = |name: &str, dtype: &str, shape: &str, from: usize, to: usize| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let header = |entries: &[String]| format!("{{{}}}", entries.join(","));
    let (a, b) = (entry("a", "F32", "[1]", 0, 4), entry("b", "F32", "[1]", 4, 8));
    assert_eq!(
        load(&file(&header(&[b.clone(), a.clone()]), 8))
            .unwrap()
            .tensors()
            .len(),
        2
    );
    let cases = [
        (vec![entry("a", "I32", "[1]", 0, 4)], 4, "I32"),
        (
            vec![entry("a", "F8_E5M2", "[4]", 0, 4)],
            4,
            "expected F16, BF16, F32 or F64",
        ),
        (vec![entry("a", "F16", "[4]", 0, 4)], 4, "shape [4] of F16"),
        (vec![entry("a", "BF16", "[1]", 0, 4)], 4, "shape [1] of BF16"),
        (vec![entry("a", "I64", "[]", 0, 8)], 8, "I64"),
        (vec![entry("a", "F4", "[2]", 0, 1)], 1, "F4"),
        (vec![entry("a", "F99", "[1]", 0, 4)], 4, "\"a\""),
        (vec![a.clone(), entry("b", "F32", "[1]", 5, 9)], 9, "expected 4"),
        (
            vec![a.clone(), entry("b", "F32", "[1]", 0, 4)],
            4,
            "gap or overlap",
        ),
        (vec![a.clone(), entry("a", "F32", "[1]", 4, 8)], 8, "twice"),
        (vec![entry("a", "F32", "[2]", 0, 4)], 4, "shape [2]"),
        (vec![entry("a", "F32", "[1]", 4, 0)], 4, "claims bytes 4 to 0"),
        (vec![b.clone()], 8, "expected 0"),
        (vec![a.clone()], 8, "end at offset 4"),
        (
            vec![r#""__metadata__":{"k":1}"#.into(), a.clone()],
            4,
            "__metadata__",
        ),
        (
            vec![
                r#""__metadata__":{}"#.into(),
                r#""__metadata__":{}"#.into(),
                a.clone(),
            ],
            4,
            "__metadata__",
        ),
        (
            vec![r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}"#.into()],
            4,
            "more",
        ),
    ];
    for (entries, data, expected) in cases {
        let text = load(&file(&header(&entries), data)).unwrap_err();
        assert!(text.contains(expected), "{entries:?}: {text}");
    }
    assert!(
        load(&file(&"[".repeat(100_000), 0))
            .unwrap_err()
            .contains("damaged")
    );
    assert!(load(&file("{}", 0)).unwrap().tensors().is_empty());
}

#[test]
fn values_that_are_not_finite_are_located() {
    let whole = small();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut damaged = whole.clone();
        let last = damaged.len() - 4;
        damaged[last - 8..last - 4].copy_from_slice(&value.to_le_bytes());
        let text = load(&damaged).unwrap_err();
        assert!(text.contains("at index 1") && text.contains("b.bias"), "{text}");
    }
    let large = StateDict::from_tensors([("w".to_string(), Tensor::full([1], 1e300_f64))].into());
    assert!(
        load(&large.to_bytes().unwrap())
            .unwrap_err()
            .contains("finite f32")
    );
}

#[test]
fn what_could_not_be_loaded_is_not_saved() {
    let one = |name: &str, tensor: Tensor<f32>| StateDict::from_tensors([(name.to_string(), tensor)].into());
    let refused = |state: StateDict<f32>| state.to_bytes().unwrap_err().to_string();
    assert!(refused(one("__metadata__", Tensor::ones([1]))).contains("reserved"));
    assert!(refused(one("w", Tensor::ones([1; 9]))).contains("axes"));
    assert!(refused(one(&"n".repeat(2 << 20), Tensor::ones([1]))).contains("limit"));
    assert!(refused(one("w", Tensor::ones([1])).with_metadata("k", "v".repeat(2 << 20))).contains("limit"));
}

proptest! {
    #![proptest_config(crate::cases(256))]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(&bytes);
    }

    #[test]
    fn any_damage(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = small();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = load(&bytes);
    }

    #[test]
    fn any_header(header in "[{}\\[\\]:,\"a-f0-9]{0,80}") {
        let _ = load(&file(&header, 8));
    }
}

/// `[1, -2, 0.25]` in each supported element type.
#[test]
fn halves_are_read_exactly_and_must_be_finite() {
    let of = |dtype: &str, elements: &[u16]| {
        let end = 2 * elements.len();
        let header = format!(
            r#"{{"w":{{"dtype":"{dtype}","shape":[{}],"data_offsets":[0,{end}]}}}}"#,
            elements.len()
        );
        let mut bytes = file(&header, 0);
        bytes.extend(elements.iter().flat_map(|x| x.to_le_bytes()));
        load(&bytes)
    };
    for (dtype, elements) in [
        ("F16", [0x3c00, 0xc000, 0x3400]),
        ("BF16", [0x3f80, 0xc000, 0x3e80]),
    ] {
        let state = of(dtype, &elements).unwrap();
        assert_eq!(state.get("w").unwrap().as_slice(), [1.0, -2.0, 0.25], "{dtype}");
    }
    for (dtype, infinite) in [
        ("F16", 0x7c00),
        ("F16", 0xfe00),
        ("BF16", 0xff80),
        ("BF16", 0x7fc0),
    ] {
        let text = of(dtype, &[infinite]).unwrap_err();
        assert!(text.contains("\"w\"") && text.contains("index 0"), "{text}");
    }
}

/// Every bit of a saved file: it is an error, or the tensors are the saved ones because the bit has no meaning.
#[test]
fn fault_09_a_flipped_bit_in_a_saved_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let saved = StateDict::<f32>::from_bytes(&small(), Path::new("small")).unwrap();
    saved.save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let read = StateDict::<f32>::load(&path).unwrap();
    assert_eq!(read.metadata(), saved.metadata());
    let values = |state: &StateDict<f32>| {
        let tensors = state.tensors().iter();
        tensors
            .map(|(name, tensor)| (name.clone(), tensor.shape().to_vec(), tensor.as_slice().to_vec()))
            .collect::<Vec<_>>()
    };
    let mut unnoticed = 0;
    for bit in 0..8 * good.len() {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = load(&bytes) {
            assert_eq!(values(&read), values(&saved), "bit {bit}");
            unnoticed += 1;
        }
    }
    // Those of the name of the hash.
    assert!(unnoticed <= 8 * "engraft_sha256".len(), "{unnoticed}");
    // A file without the hash, as earlier versions wrote it.
    assert!(load(&small()).is_ok());
    for state in [
        StateDict::<f32>::new(),
        StateDict::from_tensors([("a".into(), Tensor::ones([2]))].into()),
    ] {
        state.save(&path).unwrap();
        assert_eq!(values(&StateDict::load(&path).unwrap()), values(&state));
        state.save_half(&path).unwrap();
        assert_eq!(values(&StateDict::load(&path).unwrap()), values(&state));
    }
}

/// The lowest bit of the last number, which stays an ordinary one: only the SHA-256 in the file tells.
#[test]
fn fault_09_every_way_to_save_a_file_puts_its_hash_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let state = StateDict::<f32>::from_tensors([("a".into(), Tensor::ones([2, 2]))].into());
    let torch = TorchLayout::new();
    type Save<'a> = &'a dyn Fn() -> Result<(), LayersError>;
    let ways: [(&str, Save<'_>); 4] = [
        ("StateDict::save", &|| state.save(&path)),
        ("StateDict::save_half", &|| state.save_half(&path)),
        ("StateDict::to_sealed_bytes", &|| {
            std::fs::write(&path, state.to_sealed_bytes()?).unwrap();
            Ok(())
        }),
        ("TorchLayout::save", &|| torch.save(&state, &path)),
    ];
    for (name, save) in ways {
        save().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        load(&bytes).unwrap();
        let at = bytes.len() - 4;
        bytes[at] ^= 1;
        let text = load(&bytes).expect_err(name);
        assert!(text.contains("SHA-256"), "{name}: {text}");
    }
}
