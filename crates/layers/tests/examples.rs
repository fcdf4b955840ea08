//! The example programs run to their end.

#[path = "../examples/own_module.rs"]
mod own_module;

#[test]
fn own_module_learns() {
    own_module::main().unwrap();
}
