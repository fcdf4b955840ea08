//! Protocols of the published digit benchmarks: the number of training images of each domain.

use crate::TransferError;
use crate::parse::by_name;
use engraft_data::Dataset;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Number of training images of a domain. Results of different protocols are not comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AdaptationProtocol {
    /// 1800 random images of USPS, 2000 of any other data set. The test images are the target's whole test split.
    ///
    /// *Source*: Long et al., "Transfer feature learning with joint distribution adaptation", 2013, as used by Tzeng et
    /// al., 2017, and Saito et al., 2018.
    #[default]
    Small,
    /// All training images.
    Full,
}

impl AdaptationProtocol {
    /// All protocols.
    pub const ALL: [Self; 2] = [Self::Small, Self::Full];

    /// Maximum number of training images of the data set with this name.
    pub fn max_images(self, name: &str) -> usize {
        match self {
            Self::Small if name == "usps" => 1800,
            Self::Small => 2000,
            Self::Full => usize::MAX,
        }
    }

    /// Randomly selects the training images of a domain.
    #[must_use]
    pub fn select(self, train: &Dataset, seed: u64) -> Dataset {
        train.subset(&self.indices(train, seed))
    }

    /// The images that [`AdaptationProtocol::select`] does not select with the same seed; `None` if there are none.
    ///
    /// They are useful where the test split has another distribution. USPS's test images are harder to classify than its
    /// training images, and published tables often use a new split of all images.
    #[must_use]
    pub fn unselected(self, train: &Dataset, seed: u64) -> Option<Dataset> {
        let mut is_unselected = vec![true; train.len()];
        for i in self.indices(train, seed) {
            is_unselected[i] = false;
        }
        let indices: Vec<usize> = (0..train.len()).filter(|&i| is_unselected[i]).collect();
        (!indices.is_empty()).then(|| train.subset(&indices))
    }

    fn indices(self, train: &Dataset, seed: u64) -> Vec<usize> {
        engraft_base::choose(train.len(), self.max_images(train.name()), seed)
    }
}

impl fmt::Display for AdaptationProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "small",
            Self::Full => "full",
        })
    }
}

impl FromStr for AdaptationProtocol {
    type Err = TransferError;

    /// # Errors
    /// [`TransferError::Unknown`], which lists every valid name.
    fn from_str(name: &str) -> Result<Self, TransferError> {
        by_name(&Self::ALL, "protocol", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};

    #[test]
    fn selection_depends_on_the_seed() {
        let digits = drawn_digits(Split::Train, 2100, 1);
        let [a, b, c] = [1, 1, 2].map(|seed| AdaptationProtocol::Small.select(&digits, seed));
        assert!(a.len() == 2000 && a == b && a != c);
        assert_eq!(AdaptationProtocol::Full.select(&digits, 1).len(), 2100);
        assert_eq!(AdaptationProtocol::Small.max_images("usps"), 1800);
        let unselected = AdaptationProtocol::Small.unselected(&digits, 2).unwrap();
        assert_eq!(unselected.len(), 100);
        let all =
            |data: &Dataset| -> Vec<Vec<u8>> { (0..data.len()).map(|i| data.image(i).to_vec()).collect() };
        let mut together = [all(&c), all(&unselected)].concat();
        let mut expected = all(&digits);
        together.sort();
        expected.sort();
        assert_eq!(together, expected);
        assert!(AdaptationProtocol::Full.unselected(&digits, 1).is_none());
    }
}
