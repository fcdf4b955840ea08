//! What is done with damaged pictures.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::unknown_name::parsed;

/// What is done with pictures that are damaged: cut short, or with data that are not valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Damaged {
    /// They are left out and reported.
    #[default]
    Skip,
    /// They are an error.
    Refuse,
    /// What a decoder makes of them is used: the missing part is gray. A picture without any result is left out.
    Keep,
}

impl Damaged {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::Skip, Self::Refuse, Self::Keep];

    /// The name in options, for example `skip`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Refuse => "refuse",
            Self::Keep => "keep",
        }
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

parsed!(Damaged, "treatment of damaged pictures");
