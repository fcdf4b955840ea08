//! Names of earlier versions keep working.

use engraft_tensor::{vectorised, vectorized};

#[test]
fn earlier_names_are_the_new_ones() {
    assert_eq!(vectorised(|| 1 + 1), vectorized(|| 2));
}
