//! Names of earlier versions keep working.

use engraft_data::{Channels, DataDirs, Dataset, LoadOptions, Places, Provenance};

#[test]
fn earlier_names_are_the_new_ones() {
    let places: Places = DataDirs::default();
    let _ = LoadOptions::new().places(places);
    assert_eq!(Channels::Grey, Channels::Gray);
    assert_eq!("grey".parse(), Ok(Channels::Gray));
    let [old, new] = [Dataset::unlabelled, Dataset::unlabeled]
        .map(|make| make("a", Provenance::Memory, vec![7], [1, 1, 1]));
    assert_eq!(old.unwrap(), new.unwrap());
}
