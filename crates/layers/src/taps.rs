//! Requests for results of parts of a network, by dotted name.

use engraft_tensor::{Real, Tensor};

/// The requested names with the results found so far.
pub(crate) type Found<T> = [(String, Option<Tensor<T>>)];

/// A request for results of parts of a network, by dotted name; see
/// [`Module::forward_taps`](crate::Module::forward_taps).
pub struct Taps<'a, T: Real = f32> {
    /// `None` if nothing is requested.
    found: Option<&'a mut Found<T>>,
    /// The name of the running module, followed by a dot.
    path: String,
}

impl<'a, T: Real> Taps<'a, T> {
    /// Requests nothing.
    pub const fn none() -> Self {
        Self {
            found: None,
            path: String::new(),
        }
    }

    /// Requests the results of the parts with these names.
    pub(crate) fn of(found: &'a mut Found<T>) -> Self {
        Self {
            found: Some(found),
            path: String::new(),
        }
    }

    /// Whether the result of the part with this name is requested.
    pub fn wants(&self, name: &str) -> bool {
        self.rests().any(|rest| rest == name)
    }

    /// Whether the result of something inside the part with this name is requested.
    pub fn wants_under(&self, name: &str) -> bool {
        self.rests().any(|rest| below(rest, name).is_some())
    }

    /// The requests, relative to the running module.
    fn rests(&self) -> impl Iterator<Item = &str> {
        let wanted = self.found.iter().flat_map(|found| found.iter());
        wanted.filter_map(|(name, _)| name.strip_prefix(self.path.as_str()))
    }

    /// Hands out the result of the part with this name, if it is requested.
    pub fn put(&mut self, name: &str, result: &Tensor<T>) {
        for (wanted, found) in self.found.iter_mut().flat_map(|found| found.iter_mut()) {
            if wanted.strip_prefix(self.path.as_str()) == Some(name) {
                *found = Some(result.clone());
            }
        }
    }

    /// The requests for the part with this name.
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

/// The rest of a dotted name below a part.
fn below<'n>(name: &'n str, part: &str) -> Option<&'n str> {
    name.strip_prefix(part)?.strip_prefix('.')
}
