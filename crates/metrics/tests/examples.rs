//! The example programs run to their end.

#[path = "../examples/compare.rs"]
mod compare;

#[test]
fn two_sets_of_images_are_compared() {
    compare::main().unwrap();
}
