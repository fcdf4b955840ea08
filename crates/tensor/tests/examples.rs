//! The example programs run to their end.

#[path = "../examples/own_operation.rs"]
mod own_operation;

#[test]
fn own_operation_passes_its_checks() {
    own_operation::main().unwrap();
}
