//! Names, tables and modes of whole networks.

use crate::configurations::configurations;
use engraft_layers::{
    Mode, Slot, SlotMut, StateDict, parameter_count, parameters, rng_states, set_rng_states, summary, visit,
    visit_mut,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(crate::cases(64))]

    /// Both visitors report the same slots with the same names in the same order, without duplicate names.
    #[test]
    fn both_visitors_agree(configuration in configurations()) {
        let mut module = configuration.build::<f32>();
        let (mut seen, mut seen_mut) = (Vec::new(), Vec::new());
        visit(module.as_ref(), |path, slot| {
            let kind = match slot { Slot::Parameter(_) => 'p', Slot::Buffer(_) => 'b', Slot::Rng(_) => 'g' };
            seen.push((path.to_string(), kind));
        });
        visit_mut(module.as_mut(), |path, slot| {
            let kind = match slot { SlotMut::Parameter(_) => 'p', SlotMut::Buffer(_) => 'b', SlotMut::Rng(_) => 'g' };
            seen_mut.push((path.to_string(), kind));
        });
        prop_assert_eq!(&seen, &seen_mut);
        let count = seen.len();
        seen.sort();
        seen.dedup_by(|a, b| a.0 == b.0);
        prop_assert_eq!(seen.len(), count);
        let state = StateDict::of(module.as_ref()).tensors().len();
        prop_assert_eq!(state + rng_states(module.as_ref()).len(), count);
    }

    /// The counts of the table are those of the module, and its last output is the output.
    #[test]
    fn the_table_is_the_network(configuration in configurations()) {
        let module = configuration.build::<f32>();
        let table = summary(module.as_ref(), &configuration.input[1..]);
        prop_assert_eq!(table.parameters(), parameter_count(module.as_ref()));
        prop_assert_eq!(table.trainable(), table.parameters());
        let y = module.forward(&configuration.input(), Mode::Eval);
        prop_assert_eq!(&table.rows.last().unwrap().output[..], &y.shape()[1..]);
        prop_assert!(table.rows.iter().all(|row| !row.layer.is_empty() && row.layer != "module"));
    }

    /// Evaluation changes nothing. Training with restored random streams computes the same again.
    #[test]
    fn modes_keep_their_promises(configuration in configurations()) {
        let mut module = configuration.build::<f32>();
        let x = configuration.input::<f32>();
        let before = StateDict::of(module.as_ref());
        let states = rng_states(module.as_ref());
        let y = module.forward(&x, Mode::Eval);
        let again = module.forward(&x, Mode::Eval);
        prop_assert_eq!(y.as_slice(), again.as_slice());
        for (name, tensor) in StateDict::of(module.as_ref()).tensors() {
            prop_assert_eq!(tensor.as_slice(), before.get(name).unwrap().as_slice());
        }
        let first = module.forward(&x, Mode::Train);
        set_rng_states(module.as_mut(), &states).unwrap();
        let second = module.forward(&x, Mode::Train);
        prop_assert_eq!(first.as_slice(), second.as_slice());
    }

    /// A frozen network has no gradients and keeps its running statistics, in both modes.
    #[test]
    fn frozen_means_frozen(configuration in configurations()) {
        let mut module = configuration.build::<f32>();
        visit_mut(module.as_mut(), |_, slot| match slot {
            SlotMut::Parameter(p) => p.freeze(),
            SlotMut::Buffer(b) => b.freeze(),
            SlotMut::Rng(_) => (),
        });
        let before = StateDict::of(module.as_ref());
        let y = module.forward(&configuration.input(), Mode::Train);
        prop_assert!(!y.requires_grad());
        prop_assert!(parameters(module.as_ref()).iter().all(|(_, p)| !p.is_trainable()));
        for (name, tensor) in StateDict::of(module.as_ref()).tensors() {
            prop_assert_eq!(tensor.as_slice(), before.get(name).unwrap().as_slice());
        }
    }
}
