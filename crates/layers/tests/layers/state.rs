//! State dicts: round trips, strictness, partial loading, files.

use crate::configurations::configurations;
use engraft_layers::{
    BatchNorm, Dense, Dropout, Init, LayersError, ParamFilter, Sequential, SlotMut, StateDict, parameters,
    rng_states, set_rng_states, visit_mut,
};
use engraft_tensor::Tensor;
use proptest::prelude::*;
use std::path::Path as FilePath;

fn same(a: &StateDict<f32>, b: &StateDict<f32>) -> bool {
    a.tensors().len() == b.tensors().len()
        && a.tensors().iter().all(|(name, tensor)| {
            b.get(name)
                .is_some_and(|t| t.shape() == tensor.shape() && t.as_slice() == tensor.as_slice())
        })
}

fn net(seed: u64, classes: usize) -> Sequential<f32> {
    let init = &mut Init::glorot(seed);
    Sequential::new()
        .add("block1", Dense::new(3, 4, init))
        .add("block10", Dense::new(4, 4, init))
        .add("norm", BatchNorm::new(4))
        .add("drop", Dropout::new(0.5, init))
        .add("head", Dense::new(4, classes, init))
}

proptest! {
    #![proptest_config(crate::cases(48))]

    #[test]
    fn bytes_and_back(configuration in configurations(), other in any::<u64>(), text in any::<String>()) {
        let module = configuration.build::<f32>();
        let state = StateDict::of(module.as_ref())
            .with_metadata("text", text.clone())
            .with_metadata("step", "3")
            .with_metadata("\"\n", "");
        let bytes = state.to_bytes().unwrap();
        prop_assert_eq!(&bytes, &state.to_bytes().unwrap());
        let loaded = StateDict::from_bytes(&bytes, FilePath::new("x")).unwrap();
        prop_assert!(same(&state, &loaded));
        prop_assert_eq!(state.metadata(), loaded.metadata());
        // The crate that defines the format reads the same values.
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(theirs.len(), state.tensors().len());
        // A round trip through another precision loses nothing.
        let double = StateDict::<f64>::from_bytes(&bytes, FilePath::new("x")).unwrap();
        let back = StateDict::from_bytes(&double.to_bytes().unwrap(), FilePath::new("x")).unwrap();
        prop_assert!(same(&state, &back));
        // Apply to a module with other values.
        let mut target = configuration.clone();
        target.seed = other;
        let mut target = target.build::<f32>();
        loaded.apply(target.as_mut()).unwrap();
        prop_assert!(same(&state, &StateDict::of(target.as_ref())));
    }
}

#[test]
fn all_differences_are_in_one_message_and_nothing_is_applied() {
    let source = StateDict::of(&net(1, 2))
        .with_prefix("g")
        .merge(StateDict::of(&net(1, 2)))
        .unwrap();
    let (_, mut source) = source.split_prefix("g");
    source = StateDict::from_tensors({
        let mut tensors = source.into_tensors();
        tensors.remove("norm.running_var");
        tensors.insert("extra\u{1b}[2J".into(), Tensor::ones([1]));
        tensors
    });
    let mut target = net(2, 5);
    let before = StateDict::of(&target);
    let error = source.apply(&mut target).unwrap_err();
    let text = error.to_string();
    for part in [
        "norm.running_var",
        "extra",
        "head.weight",
        "head.bias",
        "[4, 5]",
        "[4, 2]",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        !text.contains('\u{1b}'),
        "a name must not steer the terminal: {text:?}"
    );
    let LayersError::Mismatch {
        missing,
        unexpected,
        shapes,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((missing.len(), unexpected.len(), shapes.len()), (1, 1, 2));
    assert!(same(&before, &StateDict::of(&target)));
}

#[test]
fn frozen_stays_frozen_and_gets_its_values() {
    let (source, mut target) = (net(1, 2), net(2, 2));
    visit_mut(&mut target, |path, slot| match slot {
        SlotMut::Parameter(p) if path.starts_with("block1.") => p.freeze(),
        SlotMut::Buffer(b) => b.freeze(),
        _ => (),
    });
    StateDict::of(&source).apply(&mut target).unwrap();
    assert!(same(&StateDict::of(&source), &StateDict::of(&target)));
    for (name, parameter) in parameters(&target) {
        assert_eq!(parameter.is_trainable(), !name.starts_with("block1."), "{name}");
    }
}

#[test]
fn a_part_is_applied_and_reported() {
    let (source, mut target) = (StateDict::of(&net(1, 2)), net(2, 5));
    let report = source
        .apply_matching(&mut target, &ParamFilter::all().except(["head"]))
        .unwrap();
    assert_eq!(
        (report.applied.len(), report.kept.len(), report.unused.len()),
        (8, 2, 0)
    );
    let now = StateDict::of(&target);
    assert_eq!(
        now.get("block1.weight").unwrap().as_slice(),
        source.get("block1.weight").unwrap().as_slice()
    );
    assert_eq!(now.get("head.weight").unwrap().shape(), [4, 5]);

    let report = source
        .apply_matching(&mut target, &ParamFilter::under(["block1"]))
        .unwrap();
    assert_eq!(report.applied, ["block1.bias", "block1.weight"]);
    assert!(source.apply_matching(&mut target, &ParamFilter::all()).is_err());
    let error = source
        .apply_matching(&mut target, &ParamFilter::under(["blok1"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("blok1") && error.contains("block1.weight"),
        "{error}"
    );
}

#[test]
fn modules_share_one_state() {
    let both = StateDict::of(&net(1, 2))
        .with_prefix("g")
        .with_metadata("step", "1");
    let both = both
        .merge(
            StateDict::of(&net(2, 2))
                .with_prefix("d")
                .with_metadata("step", "1"),
        )
        .unwrap();
    let clash = both
        .clone()
        .merge(StateDict::of(&net(2, 2)).with_prefix("d"))
        .unwrap_err()
        .to_string();
    assert!(clash.contains("d.block1.weight"), "{clash}");
    assert!(
        both.clone()
            .merge(StateDict::new().with_metadata("step", "2"))
            .is_err()
    );
    let (g, rest) = both.split_prefix("g");
    let (d, rest) = rest.split_prefix("d");
    assert!(rest.tensors().is_empty());
    assert!(same(&g, &StateDict::of(&net(1, 2))) && same(&d, &StateDict::of(&net(2, 2))));
}

#[test]
fn generators_are_saved_apart() {
    let (a, mut b) = (net(1, 2), net(2, 2));
    let states = rng_states(&a);
    assert_eq!(states.keys().collect::<Vec<_>>(), ["drop.generator"]);
    set_rng_states(&mut b, &states).unwrap();
    assert_eq!(rng_states(&b), states);
    let wrong = [("dorp.generator".to_string(), states["drop.generator"].clone())].into();
    let error = set_rng_states(&mut b, &wrong).unwrap_err().to_string();
    assert!(
        error.contains("drop.generator") && error.contains("dorp.generator"),
        "{error}"
    );
}

#[test]
fn files_are_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let (first, second) = (StateDict::of(&net(1, 2)), StateDict::of(&net(2, 2)));
    first.save(&path).unwrap();
    second.save(&path).unwrap();
    assert!(same(&StateDict::load(&path).unwrap(), &second));
    let diverged =
        StateDict::from_tensors([("w".to_string(), Tensor::from_vec([2], vec![0.0, f32::NAN]))].into());
    let error = diverged.save(&path).unwrap_err().to_string();
    assert!(error.contains("\"w\"") && error.contains("index 1"), "{error}");
    assert!(same(&StateDict::load(&path).unwrap(), &second));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );

    let error = StateDict::<f32>::load_at_most(&path, 100)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("net.safetensors") && error.contains("100"),
        "{error}"
    );
    for missing in [folder.path().join("none"), folder.path().to_path_buf()] {
        let error = StateDict::<f32>::load(&missing).unwrap_err().to_string();
        assert!(error.contains(&missing.display().to_string()), "{error}");
    }
    let error = first
        .save(folder.path().join("no/such/folder"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no/such/folder"), "{error}");
}
