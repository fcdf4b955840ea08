//! Names of earlier versions keep working.

use engraft_layers::{Names, ParamFilter};

#[test]
fn earlier_names_are_the_new_ones() {
    let names: ParamFilter = Names::under(["head"]);
    assert!(names.matches("head.weight"));
}
