//! The protocols of the published tables of digits: how many images of each domain.

use crate::TransferError;
use crate::parse::by_name;
use engraft_data::Dataset;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How many training images of a domain are used. Figures of different protocols do not compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AdaptationProtocol {
    /// 1800 images of USPS, 2000 of any other data set, chosen by the seed. The test images are all of the target's test
    /// split, none of which is trained on.
    ///
    /// *Source*: Long et al., "Transfer feature learning with joint distribution adaptation", 2013, as used by Tzeng et
    /// al., 2017, and Saito et al., 2018.
    #[default]
    Small,
    /// All training images.
    Full,
}

impl AdaptationProtocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Small, Self::Full];

    /// Training images of a data set of this name, at most.
    pub fn max_images(self, name: &str) -> usize {
        match self {
            Self::Small if name == "usps" => 1800,
            Self::Small => 2000,
            Self::Full => usize::MAX,
        }
    }

    /// The training images of a domain; the seed chooses.
    #[must_use]
    pub fn select(self, train: &Dataset, seed: u64) -> Dataset {
        train.subset(&self.indices(train, seed))
    }

    /// The images that [`AdaptationProtocol::select`] leaves with the same seed, if any: images of the same kind on which nothing was
    /// trained.
    ///
    /// They are of interest where the test images are of another kind: USPS's are harder to read than its training images,
    /// and published tables often divide all of them anew.
    #[must_use]
    pub fn unselected(self, train: &Dataset, seed: u64) -> Option<Dataset> {
        let mut left = vec![true; train.len()];
        for i in self.indices(train, seed) {
            left[i] = false;
        }
        let indices: Vec<usize> = (0..train.len()).filter(|&i| left[i]).collect();
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
    /// [`TransferError::Unknown`], with every name there is.
    fn from_str(name: &str) -> Result<Self, TransferError> {
        by_name(&Self::ALL, "protocol", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};

    #[test]
    fn the_seed_chooses() {
        let digits = drawn_digits(Split::Train, 2100, 1);
        let [a, b, c] = [1, 1, 2].map(|seed| AdaptationProtocol::Small.select(&digits, seed));
        assert!(a.len() == 2000 && a == b && a != c);
        assert_eq!(AdaptationProtocol::Full.select(&digits, 1).len(), 2100);
        assert_eq!(AdaptationProtocol::Small.max_images("usps"), 1800);
        let rest = AdaptationProtocol::Small.unselected(&digits, 2).unwrap();
        assert_eq!(rest.len(), 100);
        let all =
            |data: &Dataset| -> Vec<Vec<u8>> { (0..data.len()).map(|i| data.image(i).to_vec()).collect() };
        let mut together = [all(&c), all(&rest)].concat();
        let mut expected = all(&digits);
        together.sort();
        expected.sort();
        assert_eq!(together, expected);
        assert!(AdaptationProtocol::Full.unselected(&digits, 1).is_none());
    }
}
