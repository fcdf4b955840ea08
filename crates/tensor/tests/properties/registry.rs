//! The registry is complete, and all its samples are valid.

use crate::strategies::registry;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Public functions whose rule is not the derivative of their value, or that have none. Their own modules test them.
const NO_DERIVATIVES: [&str; 6] = [
    "reverse_gradient",
    "greater",
    "less",
    "equals",
    "argmax",
    "argmin",
];

/// A new operation without an entry fails here, because no test would check its derivatives.
#[test]
fn every_public_operation_is_registered() {
    let names: BTreeSet<&str> = registry().iter().map(|e| e.name).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops");
    let mut found = 0;
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines() {
            let Some(rest) = line.trim_start().strip_prefix("pub fn ") else {
                continue;
            };
            let name = rest.split(['(', '<']).next().unwrap();
            assert!(
                names.contains(name) || NO_DERIVATIVES.contains(&name),
                "`{name}` has no entry in strategies.rs"
            );
            found += 1;
        }
    }
    assert!(
        found > 25,
        "only {found} public functions found: has the layout of src/ops changed?"
    );
}
