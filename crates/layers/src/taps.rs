//! What is asked of a forward pass beside its output: results of parts of the network, by dotted name.

use engraft_tensor::{Real, Tensor};

/// What is asked for, with the whole name, and what was found.
pub(crate) type Found<T> = [(String, Option<Tensor<T>>)];

/// Results of parts of a network that a forward pass is asked to hand out, by dotted name; see
/// [`Module::forward_taps`](crate::Module::forward_taps).
pub struct Taps<'a, T: Real = f32> {
    /// `None` where nothing is asked for.
    found: Option<&'a mut Found<T>>,
    /// The name of the module that runs, with a dot behind it.
    path: String,
}

impl<'a, T: Real> Taps<'a, T> {
    /// Nothing is asked for.
    pub const fn none() -> Self {
        Self {
            found: None,
            path: String::new(),
        }
    }

    /// Results of the parts of these names are asked for.
    pub(crate) fn of(found: &'a mut Found<T>) -> Self {
        Self {
            found: Some(found),
            path: String::new(),
        }
    }

    /// Whether the result of the part of this name is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.rests().any(|rest| rest == name)
    }

    /// Whether the result of something within the part of this name is asked for.
    pub fn wants_under(&self, name: &str) -> bool {
        self.rests().any(|rest| below(rest, name).is_some())
    }

    /// What is asked for, as seen from the module that runs.
    fn rests(&self) -> impl Iterator<Item = &str> {
        let wanted = self.found.iter().flat_map(|found| found.iter());
        wanted.filter_map(|(name, _)| name.strip_prefix(self.path.as_str()))
    }

    /// Hands out the result of the part of this name, if it is asked for.
    pub fn put(&mut self, name: &str, result: &Tensor<T>) {
        for (wanted, found) in self.found.iter_mut().flat_map(|found| found.iter_mut()) {
            if wanted.strip_prefix(self.path.as_str()) == Some(name) {
                *found = Some(result.clone());
            }
        }
    }

    /// What is asked of the part of this name.
    pub fn under(&mut self, name: &str) -> Taps<'_, T> {
        if self.wants_under(name) {
            Taps {
                found: self.found.as_deref_mut(),
                path: format!("{}{name}.", self.path),
            }
        } else {
            Taps::none()
        }
    }
}

/// What of a dotted name lies below a part.
fn below<'n>(name: &'n str, part: &str) -> Option<&'n str> {
    name.strip_prefix(part)?.strip_prefix('.')
}
