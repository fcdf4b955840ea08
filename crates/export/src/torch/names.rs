//! Names of layers that are valid attributes of a `torch.nn.Module`.

use std::collections::BTreeSet;

/// Words that cannot be attributes, or would hide a method of a module.
const TAKEN: &str = " False None True and as assert async await break class continue def del elif else except finally for from \
                     global if import in is lambda nonlocal not or pass raise return try while with yield add_module apply \
                     bfloat16 buffers call_super_init children compile cpu cuda double dump_patches eval extra_repr float \
                     forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict modules mtia \
                     named_buffers named_children named_modules named_parameters parameters register_buffer \
                     register_module register_parameter requires_grad_ set_extra_state set_submodule share_memory \
                     state_dict to to_empty train training type xpu zero_grad ";

/// Gives out dotted names, each once.
#[derive(Default)]
pub(super) struct Names {
    used: BTreeSet<String>,
}

impl Names {
    /// A name that is valid in Python and not in use, as similar as possible to a dotted name.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let parts: Vec<String> = name.split('.').map(valid).collect();
        let name = parts.join(".");
        let mut free = name.clone();
        for i in 2.. {
            if self.used.insert(free.clone()) {
                break;
            }
            free = format!("{name}_{i}");
        }
        free
    }
}

/// One component of a name as a valid attribute.
fn valid(part: &str) -> String {
    let mut valid: String = part
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if !valid.starts_with(|c: char| c.is_ascii_alphabetic()) {
        valid = format!("layer_{valid}");
    }
    if TAKEN.contains(&format!(" {valid} ")) {
        valid.push('_');
    }
    valid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_unique() {
        let mut names = Names::default();
        let mut name = |name: &str| names.unique(name);
        assert_eq!(name("block1.conv"), "block1.conv");
        assert_eq!(name("block1.conv"), "block1.conv_2");
        assert_eq!(name("0.train.a-b.in"), "layer_0.train_.a_b.in_");
        assert_eq!(name(""), "layer_");
    }
}
